/*
** consumer_requests.h - what the owners are asked for: commit, seek, parked,
** resolve
**
** Methods of a consumer's userdata: X_begin(...) gives a ticket, X_done(ticket)
** the answer when it has come, drop(ticket) says that nobody waits for it.
** lua/strand/consumer.lua lists them. A ticket that is collected is dropped.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_CONSUMER_REQUESTS_H
#define STRAND_LUA_CONSUMER_REQUESTS_H

#include <lua.h>

/* Adds the methods to the type of the consumers, which is there. */
void strand_open_consumer_requests (lua_State *L);

#endif
