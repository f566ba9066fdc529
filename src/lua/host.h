/*
** host.h - a program that has several Lua states, and ends them in its own time
**
** That is nginx: with lua_code_cache off it makes a state for each request, and
** at a stop it kills a worker that has not ended within 3 s.
**
** Thread: any.
*/
#ifndef STRAND_LUA_HOST_H
#define STRAND_LUA_HOST_H

#include <lua.h>

/* Adds to the table on top of the stack:
**
**   is_first_state()      -> boolean   no other state of this process has said
**                            own_process() before
**   own_process()         this state opens objects: none but it does
**   finalize_within(seconds)           finalizers.h: no more than so many, in
**                            all, for the objects of this state */
void strand_open_host (lua_State *L);

#endif
