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

#include "worker/handling.h"

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
