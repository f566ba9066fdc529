/*
** handling.c - a lease that is worked on
*/
#include "worker/handling.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static const strand_handling *handling_of (const strand_task *task) {
  const char *self = (const char *)task;
  return (const void *)(self - offsetof(strand_handling, task));
}

/*
** Outcomes
*/

static void fail (strand_outcome *outcome, strand_outcome_kind kind,
                  const char *reason) {
  outcome->kind = kind;
  outcome->delay_us = -1;
  free(outcome->reason);
  outcome->reason = strdup(reason);
  outcome->reason_length = outcome->reason != NULL ? strlen(reason) : 0;
}

void strand_handling_fail (strand_handling *h, strand_outcome_kind kind,
                           const char *reason) {
  strand_records *many = h->task.many;
  if (many == NULL) fail(&h->task.outcome, kind, reason);
  for (uint32_t i = 0; many != NULL && i < many->count; i++) {
    fail(&many->outcomes[i], kind, reason);
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

/* The record is not done when it has expired in this moment. With a deadline
** the time of the next one's begin is there first: who sees it does not take
** it for the time of this one. */
static bool finish_record (strand_handling *h) {
  strand_slot *slot = h->slot;
  uint32_t at = h->at;
  if (h->task.deadline_us == 0) {
    atomic_store_explicit(&slot->done, at + 1, memory_order_release);
    return true;
  }
  if (h->behind != NULL) {
    atomic_store_explicit(&slot->began_us,
                          strand_time_coarse_us(&h->consumer->time),
                          memory_order_release);
  }
  return atomic_compare_exchange_strong_explicit(
    &slot->done, &at, at + 1, memory_order_acq_rel, memory_order_acquire);
}

/* What a record that is done has produced is the owner's, before 'done' says
** so: the owner drops it, should the record have expired. Nothing of what
** failed is sent. */
static void pass_staged (strand_handling *h) {
  strand_outcome *v = &h->task.outcome;
  if (v->staged == NULL) return;
  if (v->kind != STRAND_OUTCOME_DONE) {
    strand_shared_unstage(h->consumer, v->staged);
  }
  else {
    v->staged->index = h->at;
    strand_staged_put(strand_slot_staged(h->batch, h->slot), v->staged);
  }
  v->staged = NULL;
}

static void fail_late (strand_handling *h) {
  char text[STRAND_DEADLINE_TEXT];
  strand_deadline_text(text, h->task.deadline_us);
  fail(&h->task.outcome, STRAND_OUTCOME_FAILED, text);
}

/*
** Records of the lease
*/

/* Too much was produced that is not acknowledged: what has not started goes
** back, and its owner hands nothing over until that is less. */
static bool is_full (const strand_handling *h) {
  return strand_staging_is_full(&h->consumer->staging);
}

/* See strand_slot.started. */
static bool is_stopped (const strand_handling *h) {
  strand_slot *slot = h->slot;
  if (!slot->exact) {
    return atomic_load_explicit(slot->stop, memory_order_acquire);
  }
  atomic_store(&slot->started, (uint8_t)(h->at + 1));
  return atomic_load(slot->stop);
}

static bool begin_record (strand_handling *h, const strand_record *r) {
  strand_slot *slot = h->slot;
  if (r == NULL || is_full(h) || is_stopped(h)) return false;
  h->behind = h->at + 1 < slot->count ? r->behind : NULL;
  h->task.record = r;
  h->task.many = NULL;
  h->task.route = slot->route;
  h->task.outcome = (strand_outcome){ .kind = STRAND_OUTCOME_DONE };
  return true;
}

static bool begin_call (strand_handling *h) {
  strand_slot *slot = h->slot;
  if (strand_slot_call_stopped(slot->call) || is_full(h)) return false;
  h->task.many = &slot->call->records;
  h->task.record = h->task.many->records[0];
  h->task.route = slot->route;
  h->task.outcome = (strand_outcome){ .kind = STRAND_OUTCOME_DONE };
  return true;
}

/* What records of a batch that are done have produced stays with their
** outcomes. */
static void drop_staged (strand_handling *h, strand_outcome *v) {
  if (v->kind == STRAND_OUTCOME_DONE) return;
  strand_shared_unstage(h->consumer, v->staged);
  v->staged = NULL;
}

static void end_call (strand_handling *h) {
  const strand_records *many = h->task.many;
  obey_outcome(h->consumer, &h->task.outcome, many->records[0]);
  for (uint32_t i = 0; i < many->count; i++) {
    obey_outcome(h->consumer, &many->outcomes[i], many->records[i]);
    drop_staged(h, &many->outcomes[i]);
  }
  h->slot->has_outcome = true;
}

bool strand_handling_begin (strand_handling *h, strand_lease_batch *batch,
                            strand_slot *slot, int64_t now_us) {
  h->batch = batch;
  h->slot = slot;
  h->at = 0;
  h->task.deadline_us = slot->deadline_us;
  atomic_store_explicit(&slot->began_us, now_us, memory_order_release);
  return slot->call != NULL ? begin_call(h) : begin_record(h, slot->first);
}

/* A record that is done may be freed at once. */
bool strand_handling_next (strand_handling *h) {
  strand_outcome *v = &h->task.outcome;
  if (h->task.many != NULL) {
    end_call(h);
    return false;
  }
  pass_staged(h);
  if (v->kind == STRAND_OUTCOME_DONE && !finish_record(h)) fail_late(h);
  if (v->kind != STRAND_OUTCOME_DONE || v->stop_consumer) {
    obey_outcome(h->consumer, v, h->task.record);
  }
  if (v->kind != STRAND_OUTCOME_DONE) {
    *strand_slot_outcome(h->batch, h->slot) = *v;
    h->slot->has_outcome = true;
    return false;
  }
  h->at++;
  return begin_record(h, h->behind);
}

/*
** The task
*/

bool strand_task_is_late (const strand_task *task) {
  const strand_slot *slot = handling_of(task)->slot;
  return slot != NULL
         && (atomic_load_explicit(&slot->done, memory_order_relaxed)
             & STRAND_SLOT_EXPIRED);
}

int64_t strand_task_left_us (const strand_task *task) {
  const strand_handling *h = handling_of(task);
  return atomic_load_explicit(&h->slot->began_us, memory_order_relaxed)
         + h->slot->deadline_us - strand_time_us(&h->consumer->time);
}

strand_staging *strand_task_staging (const strand_task *task) {
  return &handling_of(task)->consumer->staging;
}

void strand_task_warn (const strand_task *task, const char *text) {
  strand_log_push(handling_of(task)->consumer->notifier.log,
                  STRAND_LOG_WARNING, "strand", text);
}
