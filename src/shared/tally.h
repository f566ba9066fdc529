/*
** tally.h - what a consumer has done so far, of all its members
**
** Invariants:
**   (1) What is committed of a partition is there once, and found by its topic
**       and number.
**   (2) Entries are only added, and keep their topics.
**
** Thread: owner counts, any reads. A leaf lock of its own, under which nothing
** is allocated.
*/
#ifndef STRAND_TALLY_H
#define STRAND_TALLY_H

#include "base/lock.h"
#include "core/engine.h"
#include "core/places.h"
#include "shared/stats.h"

typedef struct strand_counts {
  uint64_t commits; /* acknowledged */
  uint64_t commits_failed;
  uint64_t rebalances;
  uint64_t lost;          /* partitions' records cut off without a commit */
  unsigned joined;        /* members of the group */
  strand_failure failure; /* of a last commit; code "": none */
} strand_counts;

/* The offset that was acknowledged last. */
typedef struct strand_committed strand_committed;

typedef struct strand_tally {
  strand_lock lock;
  strand_counts counts;    /* lock */
  strand_committed *first; /* lock; in the order they came */
  strand_committed **end;  /* lock; where the next goes */
  strand_places committed; /* lock; finds them */
} strand_tally;

void strand_tally_init (strand_tally *t);
/* Thread: whoever is last. */
void strand_tally_free (strand_tally *t);

/* A member has an assignment; 'first': it had none before. */
void strand_tally_join (strand_tally *t, bool first);
void strand_tally_leave (strand_tally *t);
/* Without memory for a partition that was never committed it is not kept. */
void strand_tally_commit (strand_tally *t, const strand_commit *commit);
void strand_tally_commit_failed (strand_tally *t);
/* A member's last commit did. */
void strand_tally_fail (strand_tally *t, const strand_failure *failure);
void strand_tally_lose (strand_tally *t, uint64_t records);

/* Thread: any. */
void strand_tally_read (strand_tally *t, strand_counts *to);
/* Thread: any. Of each partition that was ever committed; the topics are the
** tally's, the rest is for free(). NULL when memory runs out. */
strand_place *strand_tally_committed (strand_tally *t, size_t *count);
/* Between two turns, in debug builds. */
void strand_tally_check (strand_tally *t);

#endif
