/*
** run.h - what the coroutine of a body runs: handlers, one after another
**
** In C, where a function of C's can be gone on with after a yield: in Lua 5.3
** and later. It has no frame but the handler's own then, and takes as little of
** a coroutine's memory as can be, which thousands of them are read from again
** and again. Else in Lua (lua/strand/body.lua), which calls for each record
**
**   next(body, ok, results...) -> handler, record, context
**                                 nil    it parks, until it is woken
**                                 false  it ends
**
** Thread: lua in local mode; else worker.
*/
#ifndef STRAND_LUA_RUN_H
#define STRAND_LUA_RUN_H

#include <lua.h>

#define STRAND_RUNS_IN_C (LUA_VERSION_NUM >= 503)

/* With STRAND_NEXT_COUNT upvalues (body.h), each of them. */

/* ok false: an error; ok nil: it has yielded for nobody, if it had a record. */
int strand_body_next (lua_State *L);

#if STRAND_RUNS_IN_C
/* Body, park, outer or nil: until it ends. park(number, waiter | nil) -> waiter
** returns when it was woken. What that raises is raised. 'outer' is kept. */
int strand_body_run (lua_State *L);
/* Body, marker, park, coroutines, run: pushes a function that does the same in
** an inner coroutine, which becomes coroutines[number]; it passes on what that
** yields with the marker first. One that yields anything else has yielded for
** nobody, and is left for another. Called once. */
int strand_body_relay (lua_State *L);
#endif

#endif
