/*
** consumer.h - core.consumer(flat) -> userdata, or nil, message, code
**
** lua/strand/consumer.lua lists the userdata's methods, which are its only
** user. No method waits but start.
**
** A consumer of another process (after fork) is never touched: methods give
** nil, message, "FORKED", and collecting it frees nothing.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_CONSUMER_H
#define STRAND_LUA_CONSUMER_H

#include <lua.h>

/* Adds 'consumer' to the table on top of the stack. */
void strand_open_consumer (lua_State *L);

#endif
