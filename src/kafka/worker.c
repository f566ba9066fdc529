#include "kafka/worker.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/mutant.h"
#include "kafka/clock.h"
#include "kafka/member.h"
#include "kafka/thread.h"

#define SLOW_US 4000 /* a tick of the coarse clock */

typedef struct worker {
  strand_consumer *consumer; /* counted */
  unsigned index;            /* from 1 */
  void *state;               /* NULL: it could not be opened */
  strand_taker taker;
  strand_member *owner;      /* of the slot that ended last, to be woken */
} worker;

static void tell_worker (strand_consumer *c, const char *type,
                         const worker *w, const char *reason) {
  strand_event event = strand_event_of(type, -1);
  char text[STRAND_EVENT_REASON_MAX];
  snprintf(text, sizeof(text), "worker %u: %s", w->index, reason);
  strand_event_set_reason(&event, text, strlen(text));
  strand_shared_event(c, &event);
}

static void replace_state (worker *w) {
  strand_consumer *c = w->consumer;
  strand_failure failure = { "", "" };
  if (w->state != NULL) c->handler.close(w->state);
  w->state = c->handler.open(c->handler.config, w->index, &failure);
  if (w->state != NULL) {
    tell_worker(c, "worker_replaced", w, "its Lua state was broken");
  }
  else tell_worker(c, "worker_lost", w, failure.message);
}

static void handle (worker *w, const strand_record *record, unsigned route,
                    strand_verdict *verdict) {
  static const char no_state[] = "the worker's Lua state cannot be opened";
  strand_consumer *c = w->consumer;
  memset(verdict, 0, sizeof(*verdict));
  if (w->state == NULL) replace_state(w);
  if (w->state == NULL) {
    verdict->kind = STRAND_VERDICT_FAILED;
    verdict->delay_us = -1;
    verdict->reason = malloc(sizeof(no_state));
    if (verdict->reason == NULL) return;
    memcpy(verdict->reason, no_state, sizeof(no_state));
    verdict->reason_length = sizeof(no_state) - 1;
    return;
  }
  c->handler.handle(w->state, record, route, verdict);
  if (verdict->broken) replace_state(w);
}

static void obey_verdict (strand_consumer *c, const strand_verdict *v) {
  if (v->kind == STRAND_VERDICT_STOP) {
    char reason[sizeof(((strand_failure *)0)->message)];
    snprintf(reason, sizeof(reason), "%.*s", (int)v->reason_length,
             v->reason != NULL ? v->reason : "");
    strand_shared_end(c, STRAND_CLOSE_FINISH, "STOPPED_BY_HANDLER",
                      reason[0] != '\0' ? reason : "stopped by a handler");
  }
  else if (v->stop_consumer) {
    strand_shared_end(c, STRAND_CLOSE_FINISH, "STOPPED",
                      "context:stop_consumer() was called");
  }
}

/* Invariant (2) of mailbox.h: ENDED is the last word on a slot, and a record
** that is done may be freed at once. True when a verdict was left. */
static bool run_slot (worker *w, strand_slot *slot) {
  const strand_record *r = slot->first, *behind;
  uint32_t count = slot->count;
  strand_verdict verdict;
  bool judged = false;
  for (uint32_t i = 0; i < count; i++, r = behind) {
    if (atomic_load_explicit(slot->stop, memory_order_acquire)
        && !MUTANT(revoked_lease_goes_on)) break;
    behind = i + 1 < count ? r->behind : NULL;
    if (MUTANT(done_is_told_before_the_handler_returns)) {
      atomic_store(&slot->done, i + 1);
    }
    handle(w, r, slot->route, &verdict);
    if (verdict.kind != STRAND_VERDICT_DONE || verdict.stop_consumer) {
      obey_verdict(w->consumer, &verdict);
    }
    if (verdict.kind != STRAND_VERDICT_DONE) {
      slot->verdict = verdict;
      slot->judged = judged = true;
      break;
    }
    atomic_store_explicit(&slot->done, i + 1, memory_order_release);
  }
  atomic_store_explicit(&slot->state, STRAND_SLOT_ENDED,
                        memory_order_release);
  return judged;
}

static void become_idle (void *arg) {
  worker *w = arg;
  if (w->owner != NULL) strand_member_wake(w->owner);
  w->owner = NULL;
}

/* The batch is held, but a slot that has ended is the owner's alone. */
static void serve_batch (worker *w) {
  strand_mailbox *mailbox = &w->consumer->mailbox;
  strand_batch *batch = w->taker.batch;
  int64_t started = strand_clock_coarse_us(), ended;
  int64_t begun = strand_clock_us();
  uint32_t slots = 0;
  strand_slot *slot;
  if (w->owner != batch->member) become_idle(w);
  w->owner = batch->member;
  if (atomic_fetch_add(&w->consumer->busy, 1) == 0) {
    atomic_store_explicit(&w->consumer->began_us, started,
                          memory_order_relaxed);
  }
  while ((slot = strand_mailbox_claim(mailbox, &w->taker)) != NULL) {
    bool last = slot == &batch->slots[batch->count - 1], judged;
    if (last) strand_member_wake(batch->member);
    judged = run_slot(w, slot);
    ended = strand_clock_coarse_us();
    if (ended - started >= SLOW_US || judged) {
      strand_member_wake(batch->member);
    }
    if (ended != started) { /* once a tick */
      atomic_store_explicit(&w->consumer->ended_us, ended,
                            memory_order_relaxed);
    }
    started = ended;
    slots++;
  }
  strand_mailbox_took(mailbox, slots, strand_clock_us() - begun);
  atomic_fetch_sub(&w->consumer->busy, 1);
}

static bool load (worker *w) {
  strand_consumer *c = w->consumer;
  strand_failure failure = { "", "" };
  w->state = c->handler.open(c->handler.config, w->index, &failure);
  pthread_mutex_lock(&c->lock);
  c->loading--;
  if (w->state == NULL && c->load_failure.code[0] == '\0') {
    c->load_failure = failure;
  }
  pthread_cond_broadcast(&c->changed);
  pthread_mutex_unlock(&c->lock);
  if (w->state == NULL) tell_worker(c, "worker_lost", w, failure.message);
  return w->state != NULL;
}

static void leave_mailbox (strand_mailbox *m) {
  pthread_mutex_lock(&m->lock);
  m->serving--;
  pthread_mutex_unlock(&m->lock);
}

static void *run_worker (void *arg) {
  worker *w = arg;
  strand_consumer *c = w->consumer;
  if (!load(w)) leave_mailbox(&c->mailbox);
  else {
    while (strand_mailbox_take(&c->mailbox, &w->taker, become_idle, w)) {
      serve_batch(w);
    }
    become_idle(w);
  }
  if (w->state != NULL) c->handler.close(w->state);
  pthread_mutex_lock(&c->lock);
  c->workers_alive--;
  strand_shared_closed_locked(c);
  pthread_mutex_unlock(&c->lock);
  free(w);
  strand_shared_unref(c);
  return NULL;
}

static bool start_one_locked (strand_consumer *c) {
  worker *w = calloc(1, sizeof(*w));
  pthread_t thread;
  if (w == NULL) return false;
  w->consumer = strand_shared_ref(c);
  w->index = c->workers_made + 1;
  pthread_mutex_lock(&c->mailbox.lock);
  c->mailbox.serving++;
  pthread_mutex_unlock(&c->mailbox.lock);
  if (!strand_thread_start_deep(&thread, run_worker, w,
                                c->handler.stack_bytes)) {
    leave_mailbox(&c->mailbox);
    free(w);
    atomic_fetch_sub(&c->refs, 1); /* the caller holds one more */
    return false;
  }
  pthread_detach(thread);
  c->workers_made++;
  c->workers_alive++;
  c->loading++;
  return true;
}

unsigned strand_workers_start_locked (strand_consumer *c, unsigned count) {
  unsigned made = 0;
  while (made < count && start_one_locked(c)) made++;
  return made;
}
