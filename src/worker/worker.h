/*
** worker.h - the threads that call the handler
**
** A worker takes one lease at a time from the consumer's mailbox, has each of
** its records handled in order, and leaves the outcome in the lease's slot.
** A handler that never returns keeps its thread: at
** close the thread is left behind, and ends itself when the handler returns.
** So everything a worker touches is counted (strand_shared, config).
**
** Thread: worker, except where a function says so.
*/
#ifndef STRAND_WORKER_H
#define STRAND_WORKER_H

#include "shared/handler.h"
#include "shared/shared.h"

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

/* A traceback is wanted of the record that runs now: said in a signal handler
** of its thread (STRAND_INTERRUPT_TRACE). */
void strand_task_trace (const strand_task *task);
/* It is wanted of the call that runs now. */
bool strand_task_traceable (const strand_task *task);
void strand_task_traced (strand_task *task, const char *text, size_t length);

/* Makes 'count' more workers, of whom the consumer's life knows
** (strand_life_hire), or none: false and a failure. Thread: any. */
bool strand_workers_start (strand_consumer *c, unsigned count,
                           strand_failure *failure);
/* So many are lost: a spare is started for one of them, while one is left.
** What became of that; 'failure' is room for it. Thread: owner. */
const char *strand_workers_spare (strand_consumer *c, unsigned lost,
                                  strand_failure *failure);

#endif
