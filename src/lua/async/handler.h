/*
** handler.h - workers that have an event loop each: what a worker calls
** (shared/handler.h)
**
**   open   a Lua state; its loop (lua/strand/async.lua) runs until the modules
**          are loaded and set up
**   run    handlers are coroutines of the loop (lua/local), until the worker
**          should end; then teardown
**   close  lua_close
**
** Thread: worker, except where a function says so.
*/
#ifndef STRAND_LUA_ASYNC_HANDLER_H
#define STRAND_LUA_ASYNC_HANDLER_H

#include <lua.h>

#include "lua/worker/sources.h"
#include "shared/handler.h"

/* Keeps 'sources', which name the loop, until it is released. Raises; then
** nothing is owned. Thread: lua. */
strand_handler strand_async_handler_of (lua_State *L, strand_sources *sources);

#endif
