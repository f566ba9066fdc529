/*
** handover.h - batches to the workers, and outcomes back
**
** Invariants:
**   (1) Batches that are kept for the next are counted, and few.
**   (2) A batch that is out has as many open slots as are not over.
**   (3) Of a slot that is over nothing is left of what its records produced.
**
** With worker threads each slot that is out is looked at, from time to time.
** Where handlers are coroutines there may be a hundred thousand: those that
** went on are in a list (progress.h), and all are looked at for the watchdog
** alone.
**
** Thread: owner.
*/
#ifndef STRAND_HANDOVER_H
#define STRAND_HANDOVER_H

#include "member/harvest.h"

typedef struct strand_handover {
  /* set by init, and only read */
  const strand_owner *owner;
  strand_harvest harvest;
  strand_snapshot *snapshot;
  strand_waker *waker;
  strand_progress *progress; /* where handlers are coroutines; else NULL */

  strand_lease_batch *batches; /* out, newest first */
  strand_lease_batch *spare;
  unsigned spare_count;
  size_t max_ready;
  size_t batch_most;             /* records of the largest batch of a route */
  strand_batch_call *batch_call; /* for the next one; or NULL */
  bool halted;                   /* what was not claimed came back */
  int64_t harvest_us;            /* next look at the outcomes */
  int64_t harvest_wait_us;
  int64_t scan_us; /* with 'progress': the watchdog's next look at all */
  /* Workers with event loops: when all are woken for what is not claimed. */
  int64_t spread_us;
} strand_handover;

/* Borrows all; 'waker' is the owner's, and 'progress' where handlers are
** coroutines; else that is NULL. */
void strand_handover_init (strand_handover *h, const strand_owner *owner,
                           strand_assignment *assignment,
                           strand_snapshot *snapshot,
                           strand_watchdog *watchdog, strand_outputs *outputs,
                           strand_waker *waker, strand_progress *progress);
/* Batches that were kept. */
void strand_handover_free (strand_handover *h);
/* At most so many records are out and not started. The watchdog's limits may
** have changed with that. */
void strand_handover_limit (strand_handover *h, size_t max_ready);
/* A route has batches of so many records. */
void strand_handover_widen (strand_handover *h, size_t batch_size);

void strand_handover_harvest (strand_handover *h, int64_t now_us);
void strand_handover_post (strand_handover *h, int64_t now_us);
/* In local mode. All that is out is looked at now. When one of them will be
** late; INT64_MAX: never. */
int64_t strand_handover_watch (strand_handover *h, int64_t now_us);
/* All that no worker has claimed comes back into the engine. */
void strand_handover_recall (strand_handover *h);
/* Of what is out and stopped, what has not begun: the engine knows. */
void strand_handover_cut (strand_handover *h);
/* Recall once, for good: nothing is posted any more. */
void strand_handover_halt (strand_handover *h);
bool strand_handover_out (const strand_handover *h);
int64_t strand_handover_due (const strand_handover *h);
/* Between two turns, in debug builds. */
void strand_handover_check (const strand_handover *h);

#endif
