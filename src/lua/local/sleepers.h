/*
** sleepers.h - bodies that sleep until a time, where no loop has timers
**
** A heap by time; of one time the first that slept comes first.
**
** Invariants:
**   (1) Nobody wakes before its parent in the heap.
**   (2) A sleeper knows where it is.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_SLEEPERS_H
#define STRAND_LUA_SLEEPERS_H

#include <stdbool.h>
#include <stdint.h>

/* Part of who sleeps. */
typedef struct strand_sleeper {
  int64_t due_us;
  uint64_t order;
  uint32_t at; /* in the heap, from 1; 0: it does not sleep */
} strand_sleeper;

typedef struct strand_sleepers {
  strand_sleeper **heap; /* from 1 on */
  uint32_t count;
  uint32_t capacity;
  uint64_t order; /* of the next */
} strand_sleepers;

/* Room for so many, so that strand_sleepers_add needs no memory. False: there
** is none. */
bool strand_sleepers_reserve (strand_sleepers *s, uint32_t count);
void strand_sleepers_free (strand_sleepers *s);
void strand_sleepers_add (strand_sleepers *s, strand_sleeper *sleeper,
                          int64_t due_us);
/* Accepts one that does not sleep. */
void strand_sleepers_remove (strand_sleepers *s, strand_sleeper *sleeper);
/* Who wakes first; NULL: nobody sleeps. */
static inline strand_sleeper *
strand_sleepers_first (const strand_sleepers *s) {
  return s->count > 0 ? s->heap[1] : (strand_sleeper *)0;
}
void strand_sleepers_check (const strand_sleepers *s);

#endif
