#include "worker/worker.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/system.h"
#include "base/thread.h"

#define SLOW_US 4000 /* a tick of the coarse clock */

typedef struct worker {
  strand_consumer *consumer; /* counted */
  strand_gate gate;
  unsigned index; /* from 1 */
  void *state;    /* NULL: it could not be opened */
  strand_worker_slot *worker_slot;
  /* Written by the worker's thread, and read there by its signal handler,
  ** between two of its steps: the record that runs, or ran a moment ago. */
  strand_slot *volatile slot;  /* the lease that runs, or NULL */
  volatile uint32_t at;        /* records of it that are done */
  const strand_record *behind; /* its next record, read while it may be */
  uint32_t slots;              /* of this batch, that have ended */
  int64_t since_us;            /* when this lease began; coarse */
  strand_task task;
  /* Written by the signal handler, read by the thread that it is on. */
  strand_slot *volatile traced; /* a traceback is wanted of its record */
  volatile uint32_t traced_at;
  strand_waker *owner; /* of the slot that ended last, to be woken */
} worker;

static worker *worker_of (const strand_task *task) {
  char *self = (char *)(uintptr_t)task;
  return (worker *)(void *)(self - offsetof(worker, task));
}

static void free_worker (worker *w) {
  strand_mailbox_leave(&w->consumer->mailbox, w->worker_slot);
  free(w);
}

static void tell_worker (strand_consumer *c, const char *type, const worker *w,
                         const char *reason) {
  strand_event event = strand_event_of(type, -1);
  char text[STRAND_EVENT_REASON_MAX];
  snprintf(text, sizeof(text), "worker %u: %s", w->index, reason);
  strand_event_set_reason(&event, text, strlen(text));
  strand_shared_event(c, &event);
}

static void replace_state (worker *w) {
  strand_consumer *c = w->consumer;
  strand_failure failure = { "", "" };
  if (w->state != NULL) c->pool.handler.close(w->state);
  w->state = c->pool.handler.open(c->pool.handler.config, w->index, &failure);
  if (w->state != NULL) {
    tell_worker(c, "worker_replaced", w, "its Lua state was broken");
  }
  else tell_worker(c, "worker_lost", w, failure.message);
}

static void fail (strand_outcome *outcome, const char *reason) {
  outcome->kind = STRAND_OUTCOME_FAILED;
  outcome->delay_us = -1;
  free(outcome->reason);
  outcome->reason = strdup(reason);
  outcome->reason_length = outcome->reason != NULL ? strlen(reason) : 0;
}

static void refuse_task (strand_task *task) {
  static const char no_state[] = "the worker's Lua state cannot be opened";
  if (task->many == NULL) fail(&task->outcome, no_state);
  for (uint32_t i = 0; task->many != NULL && i < task->many->count; i++) {
    fail(&task->many->outcomes[i], no_state);
  }
}

/* The handler's own words; where it has none, which record it had. */
static void stop_for (strand_consumer *c, const strand_outcome *v,
                      const strand_record *r) {
  char reason[sizeof(((strand_failure *)0)->message)];
  if (v->reason != NULL && v->reason_length > 0) {
    snprintf(reason, sizeof(reason), "%.*s", (int)v->reason_length, v->reason);
  }
  else {
    const strand_partition *p = strand_record_partition(r);
    snprintf(reason, sizeof(reason), "stopped by a handler at %s/%d/%lld",
             strand_partition_topic(p), (int)strand_partition_index(p),
             (long long)r->offset);
  }
  strand_shared_end(c, STRAND_CLOSE_FINISH, "STOPPED_BY_HANDLER", reason);
}

static void obey_outcome (strand_consumer *c, const strand_outcome *v,
                          const strand_record *r) {
  if (v->kind == STRAND_OUTCOME_STOP) stop_for(c, v, r);
  else if (v->stop_consumer) {
    strand_shared_end(c, STRAND_CLOSE_FINISH, "STOPPED",
                      "context:stop_consumer() was called");
  }
}

/* Some slot has ended at 'since_us'. */
static void tell_ended (const worker *w) {
  strand_pool_ended(&w->consumer->pool, w->since_us);
}

/* Invariant (2) of lease_batch.h: ENDED is the last word on a slot. */
static void end_slot (worker *w) {
  strand_slot *slot = w->slot;
  bool has_outcome = slot->has_outcome;
  int64_t now_us;
  atomic_store_explicit(&slot->state, STRAND_SLOT_ENDED, memory_order_release);
  w->slot = NULL;
  w->slots++;
  now_us = strand_clock_coarse_us();
  if (has_outcome || now_us - w->since_us >= SLOW_US) {
    strand_waker_wake(w->worker_slot->batch->waker);
  }
  if (now_us == w->since_us) return;
  w->since_us = now_us; /* once a tick */
  tell_ended(w);
}

/* The record is not done when it has expired in this moment. With a deadline
** the time of the next one's begin is there first: who sees it does not take
** it for the time of this one. */
static bool finish_record (worker *w) {
  strand_slot *slot = w->slot;
  uint32_t at = w->at;
  if (w->task.deadline_us == 0) {
    atomic_store_explicit(&slot->done, at + 1, memory_order_release);
    return true;
  }
  if (w->behind != NULL) {
    atomic_store_explicit(&slot->began_us, strand_clock_coarse_us(),
                          memory_order_release);
  }
  return atomic_compare_exchange_strong_explicit(
    &slot->done, &at, at + 1, memory_order_acq_rel, memory_order_acquire);
}

/* What a record that is done has produced is the owner's, before 'done' says
** so: the owner drops it, should the record have expired. Nothing of what
** failed is sent. */
static void pass_staged (worker *w) {
  strand_outcome *v = &w->task.outcome;
  if (v->staged == NULL) return;
  if (v->kind != STRAND_OUTCOME_DONE) {
    strand_shared_unstage(w->consumer, v->staged);
  }
  else {
    v->staged->index = w->at;
    strand_staged_put(strand_slot_staged(w->worker_slot->batch, w->slot),
                      v->staged);
  }
  v->staged = NULL;
}

static void fail_late (worker *w) {
  char text[STRAND_DEADLINE_TEXT];
  strand_deadline_text(text, w->task.deadline_us);
  fail(&w->task.outcome, text);
}

/* Too much was produced that is not acknowledged: what has not started goes
** back, and its owner hands nothing over until that is less. */
static bool is_full (const worker *w) {
  return strand_staging_is_full(&w->consumer->staging);
}

/* See strand_slot.started. */
static bool is_stopped (const worker *w) {
  strand_slot *slot = w->slot;
  if (!slot->exact) {
    return atomic_load_explicit(slot->stop, memory_order_acquire);
  }
  atomic_store(&slot->started, (uint8_t)(w->at + 1));
  return atomic_load(slot->stop);
}

/* False when the lease has ended. */
static bool begin_record (worker *w, const strand_record *r) {
  strand_slot *slot = w->slot;
  if (r == NULL || is_full(w) || is_stopped(w)) {
    end_slot(w);
    return false;
  }
  w->behind = w->at + 1 < slot->count ? r->behind : NULL;
  w->task.record = r;
  w->task.many = NULL;
  w->task.route = slot->route;
  w->task.outcome = (strand_outcome){ .kind = STRAND_OUTCOME_DONE };
  return true;
}

/* False: it may not start. */
static bool begin_call (worker *w) {
  strand_slot *slot = w->slot;
  if (strand_slot_call_stopped(slot->call) || is_full(w)) {
    end_slot(w);
    return false;
  }
  w->task.many = &slot->call->records;
  w->task.record = w->task.many->records[0];
  w->task.route = slot->route;
  w->task.outcome = (strand_outcome){ .kind = STRAND_OUTCOME_DONE };
  return true;
}

/* What records of a batch that are done have produced stays with their
** outcomes. */
static void drop_staged (worker *w, strand_outcome *v) {
  if (v->kind == STRAND_OUTCOME_DONE) return;
  strand_shared_unstage(w->consumer, v->staged);
  v->staged = NULL;
}

static bool end_call (worker *w) {
  const strand_records *many = w->task.many;
  obey_outcome(w->consumer, &w->task.outcome, many->records[0]);
  for (uint32_t i = 0; i < many->count; i++) {
    obey_outcome(w->consumer, &many->outcomes[i], many->records[i]);
    drop_staged(w, &many->outcomes[i]);
  }
  w->slot->has_outcome = true;
  end_slot(w);
  return false;
}

/* A record that is done may be freed at once. */
static bool end_record (worker *w) {
  strand_outcome *v = &w->task.outcome;
  if (w->task.many != NULL) return end_call(w);
  pass_staged(w);
  if (v->kind == STRAND_OUTCOME_DONE && !finish_record(w)) fail_late(w);
  if (v->kind != STRAND_OUTCOME_DONE || v->stop_consumer) {
    obey_outcome(w->consumer, v, w->task.record);
  }
  if (v->kind != STRAND_OUTCOME_DONE) {
    *strand_slot_outcome(w->worker_slot->batch, w->slot) = *v;
    w->slot->has_outcome = true;
    end_slot(w);
    return false;
  }
  w->at++;
  return begin_record(w, w->behind);
}

static bool begin_slot (worker *w) {
  strand_lease_batch *batch = w->worker_slot->batch;
  strand_slot *slot = strand_mailbox_claim(&w->consumer->mailbox,
                                           w->worker_slot);
  if (slot == NULL) return false;
  if (slot == &batch->slots[batch->count - 1]) {
    strand_waker_wake(batch->waker);
  }
  w->slot = slot;
  w->at = 0;
  w->task.deadline_us = slot->deadline_us;
  slot->worker_slot = w->worker_slot;
  atomic_store_explicit(&slot->began_us, w->since_us, memory_order_release);
  return true;
}

/* The record of the task, if any, is over; the next of the batch is put
** there. The batch is held, but a slot that has ended is the owner's alone. */
static bool next_record (void *arg) {
  worker *w = arg;
  if (w->slot != NULL && end_record(w)) return true;
  while (begin_slot(w)) {
    if (w->slot->call != NULL ? begin_call(w)
                              : begin_record(w, w->slot->first))
      return true;
  }
  return false;
}

static void become_idle (void *arg) {
  worker *w = arg;
  if (w->owner != NULL) strand_waker_wake(w->owner);
  w->owner = NULL;
}

static void serve_batch (worker *w) {
  strand_consumer *c = w->consumer;
  strand_lease_batch *batch = w->worker_slot->batch;
  int64_t begun = strand_clock_us();
  if (w->owner != batch->waker) become_idle(w);
  w->owner = batch->waker;
  w->slots = 0;
  w->since_us = strand_clock_coarse_us();
  strand_pool_begin(&c->pool, w->since_us);
  while (next_record(w)) {
    if (w->state == NULL) {
      replace_state(w);
      atomic_store_explicit(&w->slot->began_us, strand_clock_coarse_us(),
                            memory_order_release);
    }
    if (w->state == NULL) refuse_task(&w->task);
    else c->pool.handler.serve(w->state, &w->task, next_record, w);
    if (w->task.outcome.broken) replace_state(w);
  }
  if (w->slots > 0) tell_ended(w);
  strand_mailbox_took(&c->mailbox, w->slots, strand_clock_us() - begun);
  strand_pool_end(&c->pool);
}

static bool load (worker *w) {
  strand_consumer *c = w->consumer;
  strand_failure failure = { "", "" };
  bool untold;
  w->state = c->pool.handler.open(c->pool.handler.config, w->index, &failure);
  untold = strand_pool_loaded(&c->pool, w->state == NULL ? &failure : NULL);
  if (untold) tell_worker(c, "worker_lost", w, failure.message);
  return w->state != NULL;
}

/*
** Interrupts
*/

bool strand_task_is_late (const strand_task *task) {
  const strand_slot *slot = worker_of(task)->slot;
  return slot != NULL
         && (atomic_load_explicit(&slot->done, memory_order_relaxed)
             & STRAND_SLOT_EXPIRED);
}

int64_t strand_task_left_us (const strand_task *task) {
  const strand_slot *slot = worker_of(task)->slot;
  return atomic_load_explicit(&slot->began_us, memory_order_relaxed)
         + slot->deadline_us - strand_clock_us();
}

strand_staging *strand_task_staging (const strand_task *task) {
  return &worker_of(task)->consumer->staging;
}

void strand_task_warn (const strand_task *task, const char *text) {
  strand_log_push(worker_of(task)->consumer->notifier.log, STRAND_LOG_WARNING,
                  "strand", text);
}

void strand_task_trace (const strand_task *task) {
  worker *w = worker_of(task);
  w->traced = w->slot;
  w->traced_at = w->at;
}

bool strand_task_traceable (const strand_task *task) {
  const worker *w = worker_of(task);
  return w->slot != NULL && w->traced == w->slot && w->traced_at == w->at;
}

void strand_task_traced (strand_task *task, const char *text, size_t length) {
  worker *w = worker_of(task);
  char *copy = malloc(length + 1);
  if (copy == NULL) return;
  memcpy(copy, text, length);
  copy[length] = '\0';
  free(atomic_exchange(&w->worker_slot->traceback, copy));
  strand_waker_wake(w->worker_slot->batch->waker);
}

/*
** The thread
*/

static void work (worker *w) {
  strand_consumer *c = w->consumer;
  strand_interrupt_open(&w->worker_slot->interrupt);
  if (!load(w)) strand_mailbox_unserve(&c->mailbox);
  else {
    while (strand_mailbox_take(&c->mailbox, w->worker_slot, become_idle, w)) {
      serve_batch(w);
    }
    become_idle(w);
  }
  strand_interrupt_close();
  if (w->state != NULL) c->pool.handler.close(w->state);
}

static void *run_worker (void *arg) {
  worker *w = arg;
  strand_consumer *c = w->consumer;
  if (strand_pool_pass(&c->pool, &w->gate)) work(w);
  strand_shared_end_workers(c, 1);
  free_worker(w);
  strand_shared_leave(c);
  return NULL;
}

/*
** Starting
*/

/* NULL and errno. */
static worker *new_worker (strand_consumer *c, unsigned index) {
  worker *w = calloc(1, sizeof(*w));
  if (w == NULL
      || (w->worker_slot = strand_mailbox_enter(&c->mailbox)) == NULL) {
    free(w);
    errno = ENOMEM;
    return NULL;
  }
  w->consumer = c;
  w->index = w->worker_slot->index = index;
  return w;
}

/* Its thread, which waits at the gate. NULL and errno. */
static worker *start_one (strand_consumer *c, unsigned index) {
  worker *w = new_worker(c, index);
  pthread_t thread;
  if (w == NULL) return NULL;
  strand_shared_enter(c);
  if (!strand_thread_start_deep(&thread, run_worker, w,
                                c->pool.handler.stack_bytes)) {
    int error = errno;
    free_worker(w);
    strand_shared_leave(c);
    errno = error;
    return NULL;
  }
  pthread_detach(thread);
  return w;
}

static void fail_start (unsigned started, unsigned count,
                        strand_failure *failure) {
  int error = errno;
  char what[64];
  snprintf(what, sizeof(what), "worker %u of %u could not start", started + 1,
           count);
  strand_fail_thread(failure, what, error);
}

bool strand_workers_start (strand_consumer *c, unsigned count,
                           strand_failure *failure) {
  unsigned first = strand_pool_reserve(&c->pool, count), started = 0;
  strand_gate *gates = NULL;
  while (started < count) {
    worker *w = start_one(c, first + started);
    if (w == NULL) break;
    w->gate.next = gates;
    gates = &w->gate;
    started++;
  }
  if (started == count) {
    strand_mailbox_serve(&c->mailbox, count);
    strand_pool_tell(&c->pool, gates, true);
    return true;
  }
  fail_start(started, count, failure);
  strand_pool_cancel(&c->pool, first, count);
  strand_pool_tell(&c->pool, gates, false);
  strand_shared_end_workers(c, count - started);
  return false;
}

const char *strand_workers_spare (strand_consumer *c, unsigned lost,
                                  strand_failure *failure) {
  if (lost > strand_settings_limits(&c->settings).workers) {
    return "no spare is left";
  }
  if (!strand_life_hire(&c->life, 1)) return "the consumer closes";
  return strand_workers_start(c, 1, failure) ? "a spare takes over"
                                             : failure->message;
}
