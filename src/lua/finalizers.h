/*
** finalizers.h - how long the finalizers of a Lua state hold it up
**
** An object that nobody closed closes when it is collected, and waits: for
** reports, for its threads. All objects of a state share the seconds for
** that, so that neither the end of a state nor an allocation in an event loop
** waits for one after another. What was spent comes back within a minute.
**
** Invariant: 0 <= left <= STRAND_FINALIZERS_SECONDS.
** Thread: lua.
*/
#ifndef STRAND_LUA_FINALIZERS_H
#define STRAND_LUA_FINALIZERS_H

#include <lua.h>

#define STRAND_FINALIZERS_SECONDS 5.0

typedef struct strand_finalizers {
  double left;    /* seconds, at 'since' */
  double since;   /* by strand_clock_now */
  unsigned count; /* of objects that may still have to wait */
} strand_finalizers;

void strand_finalizers_init (strand_finalizers *f, double now);

/* The one of this state, which counts an object more. It outlives the
** finalizers of all objects. Raises when memory runs out. */
strand_finalizers *strand_finalizers_join (lua_State *L);

/* The object is closed: it will not wait. Accepts a pointer to NULL, and
** leaves one. */
void strand_finalizers_leave (strand_finalizers **f);

/* The seconds that a finalizer may take now: what is left, but for a little
** that is kept for each of the others. */
double strand_finalizers_share (strand_finalizers *f, double now);

/* A finalizer waited until 'now', since the last strand_finalizers_share. */
void strand_finalizers_spend (strand_finalizers *f, double now);

#endif
