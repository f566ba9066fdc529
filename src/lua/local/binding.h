/*
** binding.h - handlers that are coroutines, as lua/strand/bodies.lua runs them
**
** Thread: lua in local mode; else worker.
*/
#ifndef STRAND_LUA_LOCAL_BINDING_H
#define STRAND_LUA_LOCAL_BINDING_H

#include <lua.h>

#include "lua/local/seats.h"

/* What is on the stack is named by its index. */
typedef struct strand_local_options {
  strand_consumer *consumer;
  strand_worker_slot *worker_slot; /* as for strand_local_open */
  int handlers;                    /* by route */
  int args;
  int retries;             /* retry functions by route, or 0: */
  strand_sources *sources; /* has them; borrows */
  double max_slice;        /* seconds */
} strand_local_options;

/* Pushes a table of functions (bodies.lua has them). The registry keeps what it
** returns until that is forgotten. Raises; then nothing is owned. */
strand_seats *strand_local_push (lua_State *L,
                                 const strand_local_options *options);
/* After strand_seats_end. Never raises. */
void strand_local_forget (lua_State *L, strand_seats *p);

#endif
