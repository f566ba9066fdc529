/*
** binding.h - local mode, as lua/strand/bodies.lua calls it
**
** Thread: lua.
*/
#ifndef STRAND_LUA_LOCAL_BINDING_H
#define STRAND_LUA_LOCAL_BINDING_H

#include <lua.h>

#include "lua/local/seats.h"

/* Pushes a table of functions (bodies.lua has them) for a consumer whose
** handlers, by route, are at 'handlers', retry functions at 'retries', and args
** at 'args'. The registry keeps what it returns until that is forgotten.
** Raises; then nothing is owned. */
strand_seats *strand_local_push (lua_State *L, strand_consumer *c,
                                 int handlers, int retries, int args,
                                 double max_slice);
/* After strand_seats_end. Never raises. */
void strand_local_forget (lua_State *L, strand_seats *p);

#endif
