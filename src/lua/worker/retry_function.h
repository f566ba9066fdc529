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
  strand_sources *sources; /* borrows, as 'owner'; NULL in local mode: who has
                              the functions changes them */
  const strand_currents *owner;
  const strand_current *current; /* it is asked about these */
  unsigned consumer;             /* its function's place, behind the routes' */
  unsigned version;      /* of the consumer's function that is loaded */
  strand_outcome *asked; /* what it is asked about now */
  uint32_t index;        /* of its record, */
  unsigned route;        /* and that one's route */
} strand_retry_function;

/* Loads all of them, and pushes what calls one. 'r' must live as long as the
** state does; the metatable of records is at 'metatable'. Raises. */
void strand_retry_function_open (lua_State *L, strand_retry_function *r,
                                 strand_sources *sources,
                                 const strand_currents *owner, int metatable);
/* The same in local mode: of 'routes' routes, the list of functions is at
** 'functions', as strand_load_policies gives it. */
void strand_retry_function_use (lua_State *L, strand_retry_function *r,
                                unsigned routes, const strand_currents *owner,
                                int functions, int metatable);

/* Asks it about a record of 'current', unless the outcome says when. What was
** pushed is at 'function', a message handler at 'traceback'. Never raises;
** what lua_pcall gave, whose error is on the stack. */
int strand_retry_function_ask (lua_State *L, strand_retry_function *r,
                               const strand_current *current, unsigned route,
                               strand_outcome *v, uint32_t index, int function,
                               int traceback);

#endif
