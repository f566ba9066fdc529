/*
** outcome.h - what a handler returns or throws in place of nothing
**
**   strand.retry(seconds?, reason?)   tried again, then or by the policy
**   strand.skip(reason?)              done, and counted as skipped
**   strand.dead_letter(reason?)       done when a dead letter is acknowledged
**   strand.park(reason?)              not done, set aside for a person
**   strand.stop(reason?)              the consumer finishes; not done
**
** The same as methods of the context, so that a handler needs no upvalue. An
** outcome is a value that never changes, and may be used again and again.
**
** Thread: any (works on the state that it is given).
*/
#ifndef STRAND_LUA_OUTCOME_H
#define STRAND_LUA_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "core/engine.h"

/* The longest delay: ten years. */
#define STRAND_DELAY_MAX 316224000 /* seconds */
#define STRAND_DELAY_SHAPE "seconds expected, from 0 to 316224000 (ten years)"

typedef struct strand_outcome_object {
  const void *tag; /* outcome.c's own: what the type is known by */
  strand_outcome_kind kind;
  bool has_reason;
  int64_t delay_us; /* of RETRY; -1: by the policy */
  size_t length;
  char reason[]; /* not terminated, at most STRAND_REASON_MAX */
} strand_outcome_object;

/* False for what is no such time: negative, NaN, longer. 'delay_us' stays as
** it was then. */
bool strand_delay_of (double seconds, int64_t *delay_us);

/* Adds them to the table on top of the stack. */
void strand_open_outcomes (lua_State *L);
/* The same as methods of 'type' (compat.h). */
void strand_open_outcome_methods (lua_State *L, const char *type);
/* The same of the type whose metatable is at 'metatable'. */
void strand_open_outcome_methods_of (lua_State *L, int metatable);

/* NULL for anything else. Never raises, allocates nothing, and looks into no
** table that Lua code might have changed. */
const strand_outcome_object *strand_to_outcome (lua_State *L, int index);

/* An outcome of another copy of this module (a second strand/core.so that was
** loaded under another path): what it holds must not be looked at. Never
** raises. */
#define STRAND_ALIEN_OUTCOME                                                  \
  "an outcome of another copy of strand.core: "                               \
  "two different core.so are loaded in this Lua state"
bool strand_is_alien_outcome (lua_State *L, int index);
/* The name of the function that makes outcomes, of strand or of a context, that
** the value is; NULL for anything else. */
const char *strand_outcome_maker (lua_State *L, int index);

/* From now on '*made' becomes the name of each outcome that is made in this
** state. 'made' must live until another is set, or NULL for none. Returns the
** one before. Raises only the first time, when memory runs out. */
const char **strand_outcome_watch (lua_State *L, const char **made);

/* The same for outcomes that the coroutine at 'thread' makes, which come before
** those: the userdata at 'watcher' begins with such a pointer. It is kept as
** long as the coroutine lives. Raises when memory runs out. */
void strand_outcome_watch_thread (lua_State *L, int thread, int watcher);
/* The watcher of the coroutine that runs, or NULL. Raises when memory runs
** out. */
void *strand_outcome_watcher (lua_State *L);

#endif
