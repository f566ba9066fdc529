/*
** retry.h - what is tried again, and when: a heap by time
**
** Holds shards (key and partition order: the head failed) and single records
** (unordered). The engine asks for the next due time to know how long it may
** wait, so a delay of 10 ms is 10 ms, idle or not.
**
** Invariants (strand_retry_check):
**   (1) None is due before the one above it in the heap.
**   (2) There is room for those there are.
**
** Thread: owner.
*/
#ifndef STRAND_RETRY_H
#define STRAND_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct strand_record;

typedef struct strand_due {
  int64_t at_us;
  struct strand_record *record; /* the one that failed */
} strand_due;

typedef struct strand_retry {
  strand_due *heap;
  size_t count;
  size_t capacity;
} strand_retry;

/* Makes sure that the next strand_retry_push cannot fail. */
strand_err strand_retry_reserve (strand_retry *r);
void strand_retry_push (strand_retry *r, int64_t at_us,
                        struct strand_record *record);
/* The earliest, if it is due at 'now_us'; NULL otherwise. */
struct strand_record *strand_retry_pop (strand_retry *r, int64_t now_us);
/* INT64_MAX when nothing waits. */
int64_t strand_retry_next (const strand_retry *r);
/* Drops every entry for which 'drop' says so: a partition was revoked. */
void strand_retry_filter (strand_retry *r,
                          bool (*drop)(const struct strand_record *, void *),
                          void *arg);
void strand_retry_free (strand_retry *r);

void strand_retry_check (const strand_retry *r);

#endif
