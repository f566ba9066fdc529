/*
** handling.h - a lease that is worked on: which record of it is handled, and
** what becomes of that one
**
**   begin -> (the handler is called) -> next -> ... -> next: false
**
** Whoever works on leases claims the slot before, and ends it after: a worker's
** thread does one at a time, the lua thread of local mode as many as there are
** handlers.
**
** Protocol:
**   (1) What was produced for a record crosses before it counts as done, or is
**       gone: none of what failed is sent.
**
** Thread: worker; in local mode lua.
*/
#ifndef STRAND_HANDLING_H
#define STRAND_HANDLING_H

#include "shared/handler.h"
#include "shared/shared.h"

typedef struct strand_handling {
  strand_consumer *consumer; /* borrows; the same for its life */
  strand_lease_batch *batch; /* of the slot: borrows until the slot ends */
  /* Written by who works, and read there by a signal handler, between two of
  ** its steps: the record that runs, or ran a moment ago. */
  strand_slot *volatile slot;  /* the lease that runs, or NULL */
  volatile uint32_t at;        /* records of it that are done */
  const strand_record *behind; /* its next record, read while it may be */
  strand_task task;
} strand_handling;

/* The slot that was claimed, at 'now_us' (coarse). True: the task has its
** first record, or its call. False: nothing of it may start, and it is to be
** ended. */
bool strand_handling_begin (strand_handling *h, strand_lease_batch *batch,
                            strand_slot *slot, int64_t now_us);
/* The outcome of the task counts. True: the task has the lease's next record;
** false: the slot is to be ended. */
bool strand_handling_next (strand_handling *h);

/* 'reason' is the task's outcome: of a batch, each record's. */
void strand_handling_fail (strand_handling *h, strand_outcome_kind kind,
                           const char *reason);

/* The call of the task has passed its deadline: what its handler says is
** ignored, it has failed. */
bool strand_task_is_late (const strand_task *task);
static inline bool strand_task_expired (const strand_task *task) {
  return task->deadline_us > 0 && strand_task_is_late(task);
}
/* Microseconds that are left until then; with a deadline. */
int64_t strand_task_left_us (const strand_task *task);

/* What handlers may produce, and have. */
strand_staging *strand_task_staging (const strand_task *task);

/* A warning in the consumer's log. */
void strand_task_warn (const strand_task *task, const char *text);

#endif
