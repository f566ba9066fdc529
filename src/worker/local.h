/*
** local.h - who works on many leases at once: the lua thread in local mode,
** whose only worker it is, and each worker that has an event loop
**
**   begin: claims a lease -> strand_handling_next ... -> end
**
** Nothing here waits. An owner is woken when something has ended that it does
** not look for by itself (progress.h), when a batch has no slot left to claim,
** and when there is nothing more to begin (strand_local_flush).
**
** Invariants:
**   (1) No more leases run than max_in_flight, at the time each began: of
**       several workers each has its share of that.
**   (2) In local mode the consumer counts it as one worker from its start until
**       it closes and nothing runs.
**
** Thread: lua in local mode; else worker.
*/
#ifndef STRAND_LOCAL_H
#define STRAND_LOCAL_H

#include "worker/handling.h"

typedef struct strand_local {
  strand_consumer *consumer; /* counted; NULL: not open */
  strand_worker_slot *worker_slot;
  strand_loop_watch *watch; /* whether its thread comes for its work */
  size_t max_in_flight;
  size_t running;      /* leases */
  uint64_t begun;      /* leases, ever */
  unsigned generation; /* of the limits that it knows */
  bool is_worker; /* with a thread, and a place in the mailbox, of its own */
  bool dirty;     /* something ended, and its owner was not woken for it */
  bool hired;     /* the consumer counts it as a worker */
  bool halted;    /* nothing begins any more */
  bool
    obeys; /* nothing begins once the consumer is to end; else its owner sees
                 to that, who cannot where it is this thread */
} strand_local;

/* For the worker whose place that is, and whose bell is open; NULL: in local
** mode. False: memory ran out. */
bool strand_local_open (strand_local *l, strand_consumer *c,
                        strand_worker_slot *worker_slot);
/* Nothing runs. Accepts one that is not open. */
void strand_local_close (strand_local *l);
/* In local mode, before the members start. */
void strand_local_start (strand_local *l);
void strand_local_limit (strand_local *l, size_t max_in_flight);

/* Nothing begins from now on; owners, who take it back, hear of a close
** later. */
void strand_local_halt (strand_local *l);

/* May one more begin? */
static inline bool strand_local_has_room (const strand_local *l) {
  return l->running < l->max_in_flight;
}
/* Is there one that could? */
bool strand_local_want_work (const strand_local *l);
/* Its thread is called, to come for what there is to do. */
void strand_local_call (const strand_local *l);
/* In local mode, in its thread: the same, and whoever calls has it come, or
** calls strand_local_recall. False: it is called already. */
bool strand_local_note_work (const strand_local *l);
void strand_local_recall (const strand_local *l);
/* It comes now. */
void strand_local_answer (strand_local *l);
/* The same as a call, then; 0: no more. */
void strand_local_remind (strand_local *l, int64_t due_us);
/* Of a worker: it begins no more, and nothing runs. */
static inline bool strand_local_has_ended (const strand_local *l) {
  return l->worker_slot->ends && l->running == 0;
}
/* True: 'h', which had none, has a lease, and its task a record. */
bool strand_local_begin (strand_local *l, strand_handling *h);
/* strand_handling_next, and the lease's end when that says so. */
bool strand_local_next (strand_local *l, strand_handling *h);
/* The lease ends, whatever is left of it: that goes back unstarted. */
void strand_local_end (strand_local *l, strand_handling *h);
/* Owners hear now of what has ended. */
void strand_local_flush (strand_local *l);
/* In each turn: whether it is still a worker (2). Once it is to be none, the
** end of what ran last has called its thread. */
void strand_local_advance (strand_local *l);

void strand_local_check (const strand_local *l);

#endif
