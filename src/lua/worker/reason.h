/*
** reason.h - what an error value says, as text
**
** Handlers fail with any value, and text is what events, reports and dead
** letters need. A __tostring may raise, and a text may be a gigabyte.
**
** Thread: any (works on the state that it is given).
*/
#ifndef STRAND_REASON_H
#define STRAND_REASON_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

/* Pushes the value's text, cut to 'max' bytes. Raises only when memory runs
** out. */
void strand_push_reason (lua_State *L, int index, size_t max);

/* Pushes a message handler for lua_pcall: text and traceback, or the outcome
** that was thrown. debug.traceback must be there still. With a coroutine as
** second argument, that one's. 'ends_hooks': as strand_end_hook does. */
void strand_push_traceback (lua_State *L, bool ends_hooks);
/* In a message handler: a hook that has raised goes, or it would raise again in
** whatever follows. 'gethook': where debug.gethook is. */
void strand_end_hook (lua_State *L, int gethook);

#endif
