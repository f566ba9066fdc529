/*
** context.h - the second argument of handlers that are coroutines
**
** As that of worker threads (lua/worker/context.h), but one for each call,
** because many run at once: it knows its handling as a record does, and is
** worth nothing when that is over. And it has
**
**   context:sleep(seconds)     others go on meanwhile
**   context:defer() -> done    the record ends when done(...) is called, with
**                              what a handler may return
**
** Thread: lua in local mode; else worker.
*/
#ifndef STRAND_LUA_LOCAL_CONTEXT_H
#define STRAND_LUA_LOCAL_CONTEXT_H

#include <lua.h>

#include "lua/local/seats.h"

/* Pushes the metatable of contexts, which are names of handlings (seats.h). It
** keeps what is at 'anchor'; the args of the handlers are at 'args';
** context.worker. */
void strand_local_context_open (lua_State *L, strand_seats *p, int anchor,
                                int args, unsigned worker);

/* Upvalues: the metatable, the seats. Argument: a context. Marks its handling
** as deferred: -> its number and serial. */
int strand_local_context_defer (lua_State *L);
/* The same upvalues. Arguments: a context, seconds. Raises where that is no
** time, or the handler does not run in this coroutine. */
int strand_local_context_check (lua_State *L);

#endif
