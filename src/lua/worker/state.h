/*
** state.h - what all Lua states of workers have in common: how they fail
**
** Thread: worker, except where a function says so.
*/
#ifndef STRAND_LUA_STATE_H
#define STRAND_LUA_STATE_H

#include <stddef.h>

#include <lua.h>

#include "base/err.h"

/* For lua_atpanic. */
int strand_state_panic (lua_State *L);
/* It could not be opened: for want of memory, with a limit or without (0); or
** for the error on top of the stack. */
void strand_state_fail_memory (strand_failure *failure, size_t limit);
void strand_state_fail_load (lua_State *L, strand_failure *failure);
/* That a worker's thread needs, for handlers in the Lua that runs. Raises.
** Thread: lua. */
size_t strand_state_stack_bytes (lua_State *L);

#endif
