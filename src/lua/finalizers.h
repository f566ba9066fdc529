/*
** finalizers.h - how long the finalizers of a Lua state hold it up
**
** An object that nobody closed closes when it is collected, and waits: for
** reports, for its threads. All objects of a state share the seconds for
** that, so that neither the end of a state nor an allocation in an event loop
** waits for one after another. What was spent comes back within a minute.
**
** Invariant: 0 <= left <= most.
** Thread: lua.
*/
#ifndef STRAND_LUA_FINALIZERS_H
#define STRAND_LUA_FINALIZERS_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#define STRAND_FINALIZERS_SECONDS 5.0
/* After so many lines about records that were lost there is one a second. */
#define STRAND_FINALIZERS_LINES 8

typedef struct strand_finalizers {
  double most;    /* seconds, in all, */
  double left;    /* and what is left of them, at 'since' */
  double since;   /* by strand_clock_now */
  unsigned count; /* of objects that may still have to wait */
  bool hopeless;  /* the last one asked for a broker in vain */
  unsigned said;  /* lines about what was lost */
  double said_at;
  unsigned unsaid; /* objects that lost records since then, */
  int64_t lost;    /* and how many */
} strand_finalizers;

void strand_finalizers_init (strand_finalizers *f, double now);

/* The one of this state, which counts an object more. It outlives the
** finalizers of all objects. Raises when memory runs out. */
strand_finalizers *strand_finalizers_join (lua_State *L);

/* No more than so many seconds for this state, from now on. Raises when memory
** runs out. */
void strand_finalizers_limit (lua_State *L, double seconds);

/* The object is closed: it will not wait. Accepts a pointer to NULL, and
** leaves one. The last one says what was not said yet. */
void strand_finalizers_leave (strand_finalizers **f);

/* A finalizer begins. The seconds that it may take: what is left, but for a
** little that is kept for each of the others. */
double strand_finalizers_begin (strand_finalizers *f, double now);

/* The seconds in which a broker has to prove that it is there, where all were
** down: few after one that found none. */
double strand_finalizers_patience (const strand_finalizers *f);

/* It waited until 'now'. */
void strand_finalizers_end (strand_finalizers *f, double now);

/* An object that nobody closed has lost '*records', or none. True: to be said
** now, of '*objects' that lost '*records' in all. What is not said now is said
** with a later one, or by the last object that leaves. */
bool strand_finalizers_count_lost (strand_finalizers *f, double now,
                                   int64_t *records, unsigned *objects);
/* The same, and says it: a line on stderr. */
void strand_finalizers_say_lost (strand_finalizers *f, int64_t records);

#endif
