/*
** handler.h - handlers in Lua: what a worker calls (shared/handler.h)
**
**   open    a Lua state: libraries, modules, setup(args)
**   handle  handler(record, context), under lua_pcall; its results, or what
**           it raised, become the outcome; then the retry function, if any
**   close   teardown(), lua_close
**
** Protocol:
**   (1) Lua is entered under lua_pcall only, and nothing that may raise is
**       done outside of it. A state that panics ends the process.
**
** Invariants (between two calls of serve):
**   (2) The stack of a state that is open holds its fixed slots, and nothing
**       else.
**   (3) No record is handled: the userdata of each is worth nothing.
**
** Thread: worker.
*/
#ifndef STRAND_LUA_HANDLER_H
#define STRAND_LUA_HANDLER_H

#include <lua.h>

#include "lua/worker/sources.h"
#include "worker/worker.h"

/* Keeps 'sources' until it is released. Thread: lua. */
strand_handler strand_handler_of (lua_State *L, strand_sources *sources);

/* 'what' ("strand.producer") was opened in this state. Is it a worker's, and
** done in call after call, its consumer is warned, once. Never raises; in any
** state, thread: its own. */
void strand_handler_opened (lua_State *L, const char *what);

#endif
