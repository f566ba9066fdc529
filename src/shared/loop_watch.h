/*
** loop_watch.h - whether a thread of coroutines comes for its work
**
**   lua     turned: each time it takes a record, or looks for work
**   any     wanted: there is work that it was told of
**   lua     due: when a handler's sleep is over
**   owner   blocked: one of these was so long ago, and it has not come
**
** Thread: any, by atomics: a moment too early or too late does no harm.
*/
#ifndef STRAND_LOOP_WATCH_H
#define STRAND_LOOP_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* So long it may be away with work waiting. */
#define STRAND_LOOP_BLOCKED_US 1000000

typedef struct strand_loop_watch {
  /* Written by the thread of the coroutines, read by owners. */
  _Atomic int64_t turned_us;
  /* That one handler went on without waiting; under a loop: that work waited
  ** for its turn. */
  _Atomic int64_t longest_us;
  /* Written by who finds work, read by owners. */
  _Atomic int64_t wanted_us; /* 0: none */
  /* Written by the thread of the coroutines, read by owners. */
  _Atomic int64_t due_us; /* 0: none */
  /* Taken by the owner that reports it, given back by that thread when it
  ** turns. */
  atomic_bool reported;
} strand_loop_watch;

/* Thread: lua. */
void strand_loop_watch_turned (strand_loop_watch *w, int64_t now_us);
/* Thread: lua. A handler went on for so long. */
static inline void strand_loop_watch_ran (strand_loop_watch *w, int64_t us) {
  if (us > atomic_load_explicit(&w->longest_us, memory_order_relaxed))
    atomic_store_explicit(&w->longest_us, us, memory_order_relaxed);
}
/* Thread: lua. The loop has come for its work, which may have waited. */
void strand_loop_watch_late (strand_loop_watch *w, int64_t now_us);
void strand_loop_watch_wanted (strand_loop_watch *w, int64_t now_us);
/* Thread: owner. For how long, or 0; more than 0 once until it turns. Something
** else waits for it since 'since_us'; INT64_MAX: nothing. */
int64_t strand_loop_watch_blocked (strand_loop_watch *w, int64_t since_us,
                                   int64_t now_us);

#endif
