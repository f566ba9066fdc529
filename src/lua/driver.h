/*
** driver.h - the driver without a broker, as lua/strand/consume.lua calls it
**
**   driver(flat, group, wall) -> driver | nil, message, code
**
** Methods: consume.lua has them.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_DRIVER_H
#define STRAND_LUA_DRIVER_H

#include <lua.h>

/* Adds the function to the table on top of the stack. */
void strand_open_driver (lua_State *L);

#endif
