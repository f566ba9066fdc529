/*
** snapshot.h - what an owner publishes for others to look at
**
** A copy is immutable once it is published, and counted: who has taken one
** reads it without a lock. What was unfinished is told once, and stays as
** long as the snapshot.
**
** Invariants:
**   (1) What is published is counted by the snapshot itself.
**   (2) A copy shows no more blockers than were wanted, now or before.
**   (3) Of the unfinished so many are named as may be, and all are counted.
**
** Thread: owner, where nothing else is said.
*/
#ifndef STRAND_SNAPSHOT_H
#define STRAND_SNAPSHOT_H

#include <stdatomic.h>

#include "base/lock.h"
#include "member/assignment.h"
#include "member/owner.h"
#include "shared/stats.h"

#define STRAND_SNAPSHOT_BLOCKERS 32
#define STRAND_SNAPSHOT_EVERY_US 250000
#define STRAND_SNAPSHOT_PART 10 /* of the owner's time, one in so many */
#define STRAND_SNAPSHOT_LEAST_US 5000000 /* but at least one in 5 s */

typedef struct strand_snapshot_copy {
  /* Counted by any thread; who is last frees it. */
  atomic_int refs;
  strand_partition_snapshot *partitions;
  size_t partition_count;
  strand_blocker *blockers;
  size_t blocker_count;
} strand_snapshot_copy;

/* What the report calls so. */
typedef struct strand_unfinished {
  strand_place *places;
  size_t count;
  uint64_t total;
  uint64_t parked;
} strand_unfinished;

typedef struct strand_snapshot {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;

  strand_lock lock;           /* of what says so */
  strand_engine_stats stats;  /* lock */
  int64_t published_us;       /* lock */
  strand_snapshot_copy *copy; /* lock; NULL: none yet */
  bool stopped;           /* lock; 'unfinished' is told, and only read now */
  size_t blockers_wanted; /* lock; only grows */

  strand_unfinished unfinished;
  int64_t due_us;       /* the next copy, not before */
  size_t blockers_most; /* of the last copy */
  bool changed;         /* since the last copy */
} strand_snapshot;

/* Thread: lua. Borrows both. */
void strand_snapshot_init (strand_snapshot *s, const strand_owner *owner,
                           const strand_assignment *assignment);
/* Thread: whoever is last. */
void strand_snapshot_free (strand_snapshot *s);

/* Something has changed: the next copy says so. */
void strand_snapshot_change (strand_snapshot *s);
/* The client is asked for the ends of partitions. */
void strand_snapshot_publish (strand_snapshot *s, int64_t now_us);
/* At once, whatever the last one has cost. */
void strand_snapshot_publish_now (strand_snapshot *s, int64_t now_us);
/* INT64_MAX: nothing has changed. */
int64_t strand_snapshot_due (const strand_snapshot *s);
/* Once, when the member stops: what is not done now. */
void strand_snapshot_stop (strand_snapshot *s);

/* What was published last. */
typedef struct strand_published {
  strand_engine_stats stats;
  int64_t at_us;
  const strand_snapshot_copy *copy;    /* or NULL */
  const strand_unfinished *unfinished; /* NULL: the member has not stopped */
} strand_published;

/* Thread: any. For strand_published_release. */
void strand_snapshot_take (strand_snapshot *s, strand_published *to);
void strand_published_release (strand_published *p);
/* Between two turns, in debug builds. */
void strand_snapshot_check (const strand_snapshot *s);
/* Thread: any. False: the next copy has as many blockers anyway. */
bool strand_snapshot_want (strand_snapshot *s, size_t blockers);

#endif
