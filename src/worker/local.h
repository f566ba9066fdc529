/*
** local.h - local mode: the lua thread is the only worker, and works on as
** many leases at once as there may be handlers
**
**   begin: claims a lease -> strand_handling_next ... -> end
**
** Nothing here waits. An owner is woken when something has ended that it does
** not look for by itself (progress.h), when a batch has no slot left to claim,
** and when there is nothing more to begin (strand_local_flush).
**
** Invariants:
**   (1) No more leases run than max_in_flight, at the time each began.
**   (2) The consumer counts it as one worker from its start until it closes
**       and nothing runs.
**
** Thread: lua.
*/
#ifndef STRAND_LOCAL_H
#define STRAND_LOCAL_H

#include "worker/handling.h"

typedef struct strand_local {
  strand_consumer *consumer; /* counted; NULL: not open */
  strand_worker_slot *worker_slot;
  size_t max_in_flight;
  size_t running; /* leases */
  bool dirty;     /* something ended, and its owner was not woken for it */
  bool hired;     /* the consumer counts it as a worker */
} strand_local;

/* False: memory ran out. */
bool strand_local_open (strand_local *l, strand_consumer *c);
/* Nothing runs. Accepts one that is not open. */
void strand_local_close (strand_local *l);
/* Before the members start. */
void strand_local_start (strand_local *l);
void strand_local_limit (strand_local *l, size_t max_in_flight);

/* May one more begin? */
static inline bool strand_local_has_room (const strand_local *l) {
  return l->running < l->max_in_flight;
}
/* Is there one that could? If only a lease is missing, an owner tells when it
** has one. */
bool strand_local_want_work (strand_local *l);
/* True: 'h', which had none, has a lease, and its task a record. */
bool strand_local_begin (strand_local *l, strand_handling *h);
/* strand_handling_next, and the lease's end when that says so. */
bool strand_local_next (strand_local *l, strand_handling *h);
/* The lease ends, whatever is left of it: that goes back unstarted. */
void strand_local_end (strand_local *l, strand_handling *h);
/* Owners hear now of what has ended. */
void strand_local_flush (strand_local *l);
/* After each of these: whether it is still a worker (2). */
void strand_local_advance (strand_local *l);

void strand_local_check (const strand_local *l);

#endif
