/*
** admin.h - core.admin(flat) -> userdata, or nil, message, code
**
** The methods are described in lua/strand/admin.lua, their only user. Each
** waits for the brokers' answer, at most for its timeout.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_ADMIN_H
#define STRAND_LUA_ADMIN_H

#include <lua.h>

/* Adds 'admin' to the table on top of the stack. */
void strand_open_admin (lua_State *L);

#endif
