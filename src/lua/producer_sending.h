/*
** producer_sending.h - records out: from a table that is plain, or from checked
** arguments
**
** lua/strand/producer.lua has what each of these is called with.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_PRODUCER_SENDING_H
#define STRAND_LUA_PRODUCER_SENDING_H

#include <lua.h>

/* Adds methods to the type of the producers, which is there; and functions to
** the table on top. */
void strand_open_producer_sending (lua_State *L);

#endif
