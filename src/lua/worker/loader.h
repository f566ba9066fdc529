/*
** loader.h - from the sources of a handler to functions in a worker's state
**
** 'require' in a worker holds one lock of the process: C modules fill static
** tables when they are opened, and would race. It is recursive, because
** modules require modules, and held around a protected call only: never
** around a setup or a handler.
**
** Everything here raises its failure, a message for the user, unless it says
** otherwise; call it under lua_pcall.
**
** Thread: worker.
*/
#ifndef STRAND_LOADER_H
#define STRAND_LOADER_H

#include <stdbool.h>

#include <lua.h>

#include "lua/worker/sources.h"

/* Lua's own libraries, with what is different in a worker: the paths, require,
** os.exit. */
void strand_load_libraries (lua_State *L, const strand_sources *s);

/* Pushes the value of handler_args, or nil. */
void strand_load_args (lua_State *L, const strand_sources *s);

/* Pushes the list of the routes' handlers. Each module is loaded and set up
** once, with the value at 'args'; its teardown is then added to the list at
** 'teardowns'. */
void strand_load_handlers (lua_State *L, strand_sources *s, int args,
                           int teardowns);

/* Pushes a list of retry functions, by route; false: the route's policy is
** no function, nil: the consumer's applies. */
void strand_load_policies (lua_State *L, strand_sources *s);

/* Pushes the function of string.dump's bytes, or a message, and false. Does
** not raise. */
bool strand_load_code (lua_State *L, const strand_text *code,
                       const char *name);

#endif
