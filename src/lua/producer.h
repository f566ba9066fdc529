/*
** producer.h - core.producer(flat) -> userdata, or nil, message, code
**
** 'flat' is described in lua/strand/options/producer.lua, the methods in
** lua/strand/producer.lua, which is their only user. None waits but close()
** and the constructor (for 'topics' under a partitioner in Lua, 2 s at most).
**
** A producer that is collected unclosed is flushed for up to 5 s, and says on
** stderr what it could not send.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_PRODUCER_H
#define STRAND_LUA_PRODUCER_H

#include <lua.h>

/* Adds 'producer' to the table on top of the stack. */
void strand_open_producer (lua_State *L);

#endif
