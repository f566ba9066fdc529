/*
** callbacks.h - what callbacks of luv raise, in a loop that is a worker's own
**
** luv ends the process for that (luv_cfpcall), unless it is told how to call
** instead: luv_set_callback, of luv 1.30 and newer.
**
** Thread: worker.
*/
#ifndef STRAND_LUA_ASYNC_CALLBACKS_H
#define STRAND_LUA_ASYNC_CALLBACKS_H

#include <lua.h>

/* Arguments: a function of the luv that is meant, a message handler, and what
** gets its result; this raises nothing. From now on an error ends its callback
** alone. Whether this luv can be told so. */
int strand_callbacks_contain (lua_State *L);

#endif
