/*
** retry_function.h - when a record that failed is tried again, by a function
** of the user's
**
** A route has its own, or else the consumer's applies, which may be changed
** (configure): then the next record that fails loads the new one. Where it
** fails itself, or gives what is no time, the default policy applies, and its
** limit: there is none beside a function.
**
** Thread: worker.
*/
#ifndef STRAND_LUA_RETRY_FUNCTION_H
#define STRAND_LUA_RETRY_FUNCTION_H

#include <stdint.h>

#include <lua.h>

#include "lua/worker/record.h"
#include "lua/worker/sources.h"
#include "shared/handler.h"

typedef struct strand_retry_function {
  strand_sources *sources; /* borrows, as 'current' */
  strand_current *current; /* it may be asked about these */
  unsigned version;        /* of the consumer's function that is loaded */
  strand_outcome *asked;   /* what it is asked about now */
  uint32_t index;          /* of its record, */
  unsigned route;          /* and that one's route */
} strand_retry_function;

/* Loads all of them, and pushes what calls one. 'r' must live as long as the
** state does; the metatable of records is at 'metatable'. Raises. */
void strand_retry_function_open (lua_State *L, strand_retry_function *r,
                                 strand_sources *sources,
                                 strand_current *current, int metatable);

/* Asks it, unless the outcome says when. What strand_retry_function_open has
** pushed is at 'function', a message handler at 'traceback'. Never raises;
** what lua_pcall gave, whose error is on the stack. */
int strand_retry_function_ask (lua_State *L, strand_retry_function *r,
                               unsigned route, strand_outcome *v,
                               uint32_t index, int function, int traceback);

#endif
