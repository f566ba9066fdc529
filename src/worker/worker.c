#include "worker/worker.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/system.h"
#include "base/thread.h"
#include "worker/handling.h"

#define SLOW_US 4000 /* a tick of the coarse clock */

typedef struct worker {
  strand_consumer *consumer; /* counted */
  strand_start_latch latch;
  unsigned index; /* from 1 */
  void *state;    /* NULL: it could not be opened */
  strand_worker_slot *worker_slot;
  strand_handling handling;
  uint32_t slots;   /* of this batch, that have ended */
  int64_t since_us; /* when this lease began; coarse */
  /* Written by the signal handler, read by the thread that it is on. */
  strand_slot *volatile traced; /* a traceback is wanted of its record */
  volatile uint32_t traced_at;
  strand_waker *owner; /* of the slot that ended last, to be woken */
} worker;

static worker *worker_of (const strand_task *task) {
  char *self = (char *)(uintptr_t)task;
  return (worker *)(void *)(self - offsetof(worker, handling.task));
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

static void open_state (worker *w, strand_failure *failure) {
  strand_consumer *c = w->consumer;
  w->state = c->pool.handler.open(c->pool.handler.config, c, w->worker_slot,
                                  failure);
}

static void replace_state (worker *w, const char *why) {
  strand_consumer *c = w->consumer;
  strand_failure failure = { "", "" };
  if (w->state != NULL) c->pool.handler.close(w->state);
  open_state(w, &failure);
  if (w->state != NULL) tell_worker(c, "worker_replaced", w, why);
  else tell_worker(c, "worker_lost", w, failure.message);
}

/* Some slot has ended at 'since_us'. */
static void tell_ended (const worker *w) {
  strand_pool_ended(&w->consumer->pool, w->since_us);
}

/* Invariant (2) of lease_batch.h: ENDED is the last word on a slot. */
static void end_slot (worker *w) {
  strand_slot *slot = w->handling.slot;
  bool has_outcome = slot->has_outcome;
  int64_t now_us;
  atomic_store_explicit(&slot->state, STRAND_SLOT_ENDED, memory_order_release);
  w->handling.slot = NULL;
  w->slots++;
  now_us = strand_clock_coarse_us();
  if (has_outcome || now_us - w->since_us >= SLOW_US) {
    strand_waker_wake(w->worker_slot->batch->waker);
  }
  if (now_us == w->since_us) return;
  w->since_us = now_us; /* once a tick */
  tell_ended(w);
}

/* The next slot of the batch. False: there is none. */
static bool claim_slot (worker *w, strand_slot **slot) {
  strand_lease_batch *batch = w->worker_slot->batch;
  *slot = strand_mailbox_claim(&w->consumer->mailbox, w->worker_slot);
  if (*slot == NULL) return false;
  if (*slot == &batch->slots[batch->count - 1]) {
    strand_waker_wake(batch->waker);
  }
  (*slot)->worker_slot = w->worker_slot;
  return true;
}

/* The record of the task, if any, is over; the next of the batch is put
** there. The batch is held, but a slot that has ended is the owner's alone. */
static bool next_record (void *arg) {
  worker *w = arg;
  strand_slot *slot;
  if (w->handling.slot != NULL) {
    if (strand_handling_next(&w->handling)) return true;
    end_slot(w);
  }
  while (claim_slot(w, &slot)) {
    if (strand_handling_begin(&w->handling, w->worker_slot->batch, slot,
                              w->since_us))
      return true;
    end_slot(w);
  }
  return false;
}

static void become_idle (worker *w) {
  if (w->owner != NULL) strand_waker_wake(w->owner);
  w->owner = NULL;
}

static const char broken[] = "its Lua state was broken";

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
      replace_state(w, broken);
      atomic_store_explicit(&w->handling.slot->began_us,
                            strand_clock_coarse_us(), memory_order_release);
    }
    if (w->state == NULL) {
      strand_handling_fail(&w->handling, STRAND_OUTCOME_FAILED,
                           "the worker's Lua state cannot be opened");
    }
    else c->pool.handler.serve(w->state, &w->handling.task, next_record, w);
    if (w->handling.task.outcome.broken) replace_state(w, broken);
  }
  if (w->slots > 0) tell_ended(w);
  strand_mailbox_took(&c->mailbox, w->slots, strand_clock_us() - begun);
  strand_pool_end(&c->pool);
}

static bool load (worker *w) {
  strand_consumer *c = w->consumer;
  strand_failure failure = { "", "" };
  bool unreported;
  if (!c->settings.has_loops
      || strand_bell_open(&w->worker_slot->bell, &failure))
    open_state(w, &failure);
  unreported = strand_pool_loaded(&c->pool,
                                  w->state == NULL ? &failure : NULL);
  if (unreported) tell_worker(c, "worker_lost", w, failure.message);
  strand_notifier_signal(&c->notifier); /* who waits for the start */
  return w->state != NULL;
}

/*
** Interrupts
*/

void strand_task_trace (const strand_task *task) {
  worker *w = worker_of(task);
  w->traced = w->handling.slot;
  w->traced_at = w->handling.at;
}

bool strand_task_traceable (const strand_task *task) {
  const worker *w = worker_of(task);
  const strand_handling *h = &w->handling;
  return h->slot != NULL && w->traced == h->slot && w->traced_at == h->at;
}

void strand_task_traced (strand_task *task, const char *text, size_t length) {
  worker *w = worker_of(task);
  strand_worker_leave_traceback(w->worker_slot, w->handling.slot, text,
                                length);
  strand_waker_wake(w->worker_slot->batch->waker);
}

/*
** The thread
*/

static bool take_batch (worker *w) {
  strand_mailbox *m = &w->consumer->mailbox;
  if (strand_mailbox_take_now(m, w->worker_slot)) return true;
  become_idle(w);
  return strand_mailbox_take(m, w->worker_slot);
}

static void work (worker *w) {
  strand_consumer *c = w->consumer;
  strand_interrupt_open(&w->worker_slot->interrupt);
  if (!load(w)) strand_mailbox_unserve(&c->mailbox);
  else {
    while (take_batch(w)) serve_batch(w);
  }
  strand_interrupt_close();
  if (w->state != NULL) c->pool.handler.close(w->state);
}

/* No other takes its place: what one cannot do, none can. */
static void give_up (worker *w, const char *why) {
  strand_consumer *c = w->consumer;
  if (w->worker_slot->ends || strand_mailbox_unserve(&c->mailbox) > 0) return;
  strand_shared_end(c, STRAND_CLOSE_NOW, "HANDLER", why);
}

/* A loop that has ended is made anew, as long as it has worked on something.
** Its state is closed before the worker counts no more: what it held goes back
** with that, and one that was lost comes back. */
static bool run_anew (worker *w, strand_failure *failure) {
  strand_consumer *c = w->consumer;
  bool barren = false;
  if (c->pool.handler.run(w->state, &barren, failure)) return false;
  if (!barren && !w->worker_slot->ends) {
    replace_state(w, failure->message);
    if (w->state != NULL) return true;
  }
  else {
    c->pool.handler.close(w->state);
    w->state = NULL;
    tell_worker(c, "worker_lost", w, failure->message);
  }
  give_up(w, failure->message);
  return false;
}

/* No signal comes to its thread: libraries of a loop may not expect one. */
static void work_in_loop (worker *w) {
  strand_consumer *c = w->consumer;
  strand_failure failure = { "", "" };
  if (!load(w)) strand_mailbox_unserve(&c->mailbox);
  else
    while (run_anew(w, &failure)) {
    }
  if (w->state != NULL) c->pool.handler.close(w->state);
}

static void *run_worker (void *arg) {
  worker *w = arg;
  strand_consumer *c = w->consumer;
  if (strand_pool_pass(&c->pool, &w->latch)) {
    if (c->settings.has_loops) work_in_loop(w);
    else work(w);
  }
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
  w->consumer = w->handling.consumer = c;
  w->index = w->worker_slot->index = index;
  return w;
}

/* Its thread, which waits at the latch. NULL and errno. */
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
  strand_start_latch *latches = NULL;
  while (started < count) {
    worker *w = start_one(c, first + started);
    if (w == NULL) break;
    w->latch.next = latches;
    latches = &w->latch;
    started++;
  }
  if (started == count) {
    strand_mailbox_serve(&c->mailbox, count);
    strand_pool_tell(&c->pool, latches, true);
    return true;
  }
  fail_start(started, count, failure);
  strand_pool_cancel(&c->pool, first, count);
  strand_pool_tell(&c->pool, latches, false);
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
