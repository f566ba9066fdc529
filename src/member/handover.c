/*
** handover.c - leases out to the workers in batches, outcomes back
*/
#include "member/handover.h"

#include <assert.h>
#include <stdlib.h>

#include "member/outcome.h"
#include "shared/mailbox.h"

#define HARVEST_FIRST_US 1000
#define SPREAD_US 1000
#define SPARE_MAX 8 /* batches that are kept for the next */
#define HARVEST_MOST_US 1000000

void strand_handover_init (strand_handover *h, const strand_owner *owner,
                           strand_assignment *assignment,
                           strand_snapshot *snapshot,
                           strand_watchdog *watchdog, strand_outputs *outputs,
                           strand_waker *waker) {
  *h = (strand_handover){ .owner = owner,
                          .assignment = assignment,
                          .snapshot = snapshot,
                          .watchdog = watchdog,
                          .outputs = outputs,
                          .waker = waker,
                          .harvest_us = INT64_MAX };
}

void strand_handover_limit (strand_handover *h, size_t max_ready) {
  h->max_ready = max_ready;
}

void strand_handover_widen (strand_handover *h, size_t batch_size) {
  if (batch_size > h->batch_most) h->batch_most = batch_size;
}

/*
** Out
*/

/* One that is over, once neither mailbox nor worker holds it any more. */
static strand_lease_batch *take_spare (strand_handover *h) {
  for (strand_lease_batch **at = &h->spare; *at != NULL; at = &(*at)->older) {
    strand_lease_batch *batch = *at;
    if (atomic_load_explicit(&batch->refs, memory_order_acquire) > 1) continue;
    *at = batch->older;
    h->spare_count--;
    return batch;
  }
  return NULL;
}

static strand_lease_batch *new_batch (strand_handover *h) {
  strand_lease_batch *batch = take_spare(h);
  if (batch == NULL) batch = strand_batch_new();
  if (batch == NULL) return NULL;
  batch->waker = h->waker;
  batch->count = batch->records = batch->open = batch->first_open = 0;
  atomic_store_explicit(&batch->refs, 1, memory_order_relaxed);
  atomic_store_explicit(&batch->cursor, 0, memory_order_relaxed);
  return batch;
}

static void retire_batch (strand_handover *h, strand_lease_batch *batch) {
  if (h->spare_count == SPARE_MAX) {
    strand_lease_batch_unref(batch);
    return;
  }
  batch->older = h->spare;
  h->spare = batch;
  h->spare_count++;
}

/* Workers wrote to it last. */
static void prepare_slot (strand_lease_batch *batch, uint32_t i) {
  if (i >= STRAND_LEASE_BATCH_SLOTS) return;
  __builtin_prefetch(&batch->slots[i], 1);
  __builtin_prefetch(&batch->slots[i].harvested, 1);
}

static void fill_slot (strand_handover *h, strand_slot *slot,
                       const strand_lease *lease) {
  strand_assigned *assigned = strand_partition_opaque(lease->partition);
  slot->lease = *lease;
  slot->assigned = assigned;
  slot->first = lease->record;
  slot->call = NULL;
  slot->count = lease->count;
  slot->stop = &assigned->stop;
  slot->route = assigned->route & INT32_MAX;
  slot->exact = h->owner->consumer->settings.delivery == STRAND_AT_MOST_ONCE;
  slot->deadline_us = strand_watchdog_deadline(h->watchdog, assigned->route);
  slot->has_outcome = slot->settled = false;
  slot->harvested = 0;
  slot->since_us = 0;
  atomic_store_explicit(&slot->began_us, 0, memory_order_relaxed);
  atomic_store_explicit(&slot->done, 0, memory_order_relaxed);
  atomic_store_explicit(&slot->started, 0, memory_order_relaxed);
  atomic_store_explicit(&slot->state, STRAND_SLOT_READY, memory_order_relaxed);
  assigned->leases++;
}

/* The batch call is there before the lease: nothing fails in between. */
static void fill_batch_call (strand_handover *h, strand_slot *slot,
                             const strand_lease *first, int64_t now_us) {
  strand_batch_call *batch_call = h->batch_call;
  fill_slot(h, slot, first);
  slot->assigned->leases--; /* each part counts */
  h->batch_call = NULL;
  strand_batch_call_fill(h->owner->engine, batch_call, first, now_us);
  slot->call = &batch_call->call;
  slot->count = batch_call->call.records.count;
}

static bool reserve_batch_call (strand_handover *h) {
  if (h->batch_most == 0 || h->batch_call != NULL) return true;
  h->batch_call = strand_batch_call_new(h->batch_most);
  return h->batch_call != NULL;
}

/* The next slot of the batch. 0: nothing may start, or no memory for it. */
static uint32_t fill_next (strand_handover *h, strand_lease_batch *batch,
                           size_t room, int64_t now_us) {
  strand_slot *slot = &batch->slots[batch->count];
  size_t most = room > h->batch_most ? room : h->batch_most;
  strand_lease lease;
  if (!reserve_batch_call(h)
      || !strand_engine_lease(h->owner->engine, most, now_us, &lease))
    return 0;
  if (strand_partition_limits(lease.partition)->by == STRAND_BATCH_NONE) {
    fill_slot(h, slot, &lease);
  }
  else fill_batch_call(h, slot, &lease, now_us);
  batch->count++;
  batch->records += slot->count;
  return slot->count;
}

static size_t unstarted (const strand_handover *h) {
  size_t records = 0;
  for (const strand_lease_batch *b = h->batches; b != NULL; b = b->older) {
    uint32_t at = b->count - strand_lease_batch_unclaimed(b);
    if (at == 0) records += b->records;
    else
      for (; at < b->count; at++) records += b->slots[at].count;
  }
  return records;
}

void strand_handover_post (strand_handover *h, int64_t now_us) {
  size_t out = unstarted(h), room;
  strand_lease_batch *batch;
  if (h->owner->phase > STRAND_ENDING || out > h->max_ready / 2
      || strand_staging_is_full(&h->owner->consumer->staging)
      || strand_outputs_is_full(h->outputs))
    return;
  room = h->max_ready - out;
  (void)strand_engine_throttle(h->owner->engine,
                               now_us); /* what was just read counts */
  while (room > 0) {
    batch = new_batch(h);
    if (batch == NULL) return;
    while (room > 0 && batch->count < STRAND_LEASE_BATCH_SLOTS) {
      uint32_t records = fill_next(h, batch, room, now_us);
      if (records == 0) break;
      prepare_slot(batch, batch->count + 2);
      room -= records < room ? records : room;
    }
    if (batch->count == 0) {
      retire_batch(h, batch);
      return;
    }
    batch->open = batch->count;
    batch->older = h->batches;
    h->batches = batch;
    batch->spread_us = now_us + SPREAD_US;
    h->harvest_wait_us = HARVEST_FIRST_US;
    h->harvest_us = now_us + HARVEST_FIRST_US;
    strand_snapshot_change(h->snapshot);
    strand_mailbox_post(&h->owner->consumer->mailbox, batch);
  }
}

/*
** Back
*/

/* What is left of it is of records that are not done after all. */
static void drop_staged (strand_handover *h, strand_lease_batch *batch,
                         const strand_slot *slot) {
  strand_staged **taken = strand_slot_taken(batch, slot), *s;
  strand_staged_take(strand_slot_staged(batch, slot), taken);
  while ((s = *taken) != NULL) {
    *taken = s->next;
    strand_shared_unstage(h->owner->consumer, s);
  }
}

static void end_slot (strand_handover *h, strand_lease_batch *batch,
                      strand_slot *slot) {
  strand_assigned *assigned = slot->assigned;
  strand_watchdog_forget(h->watchdog, slot);
  slot->settled = true;
  batch->open--;
  if (slot->call != NULL) {
    strand_batch_call_free(strand_batch_call_of(slot), h->owner->consumer);
    return;
  }
  drop_staged(h, batch, slot);
  if (--assigned->leases == 0 && assigned->partition == NULL)
    strand_assignment_drop(h->assignment, assigned);
}

static void clear_outcome (strand_outcome *v) {
  free(v->reason);
  free(v->policy_problem);
}

/* The lease ends with what its outcome says; without one, what is left goes
** back unstarted (recalled, stopped). */
static strand_err judge (strand_handover *h, strand_slot *slot,
                         strand_outcome *v, int64_t now_us) {
  strand_err err;
  if (slot->lease.count == 0) return STRAND_OK;
  if (!slot->has_outcome || v->kind == STRAND_OUTCOME_DONE) {
    return strand_engine_give_back(h->owner->engine, &slot->lease);
  }
  err = strand_outcome_end(h->owner, &slot->lease, v, now_us);
  if (err != STRAND_OK || slot->lease.count == 0) return err;
  clear_outcome(v); /* what is left of the lease has none */
  slot->has_outcome = false;
  return strand_engine_give_back(h->owner->engine, &slot->lease);
}

/* False: memory ran out; the slot is looked at again. */
static bool harvest_batch_call (strand_handover *h, strand_lease_batch *batch,
                                strand_slot *slot, int64_t now_us,
                                bool *found) {
  if (atomic_load_explicit(&slot->state, memory_order_acquire)
      != STRAND_SLOT_ENDED) {
    strand_watchdog_inspect(h->watchdog, batch, slot, now_us);
    return true;
  }
  *found = true;
  if (strand_batch_call_harvest(h->owner, h->assignment, h->outputs,
                                strand_batch_call_of(slot), slot->has_outcome,
                                now_us)
      != STRAND_OK)
    return false;
  end_slot(h, batch, slot);
  return true;
}

/* The first of them produced that: it is done when that is acknowledged. Of a
** stale lease nothing is sent. */
static strand_err take_staged (strand_handover *h, strand_slot *slot,
                               strand_staged **taken, int64_t now_us) {
  strand_staged *s = *taken;
  strand_err err = STRAND_OK;
  if (strand_engine_is_stale(&slot->lease)) {
    *taken = s->next;
    strand_shared_unstage(h->owner->consumer, s);
    return strand_engine_done(h->owner->engine, &slot->lease, 1, now_us);
  }
  err = strand_outputs_take(h->outputs, slot->assigned, &slot->lease, s);
  if (err == STRAND_OK) *taken = s->next;
  return err;
}

/* So many more records are done, or handled and have produced something. */
static strand_err end_done (strand_handover *h, strand_lease_batch *batch,
                            strand_slot *slot, uint32_t done, int64_t now_us) {
  strand_staged **taken = strand_slot_taken(batch, slot);
  strand_err err = STRAND_OK;
  if (strand_staging_is_open(&h->owner->consumer->staging)) {
    strand_staged_take(strand_slot_staged(batch, slot), taken);
  }
  while (err == STRAND_OK && slot->harvested < done) {
    uint32_t before = slot->lease.count;
    uint32_t next = *taken != NULL && (*taken)->index < done ? (*taken)->index
                                                             : done;
    if (next == slot->harvested) err = take_staged(h, slot, taken, now_us);
    else {
      err = strand_engine_done(h->owner->engine, &slot->lease,
                               next - slot->harvested, now_us);
    }
    slot->harvested += before - slot->lease.count;
  }
  return err;
}

static bool harvest_lease (strand_handover *h, strand_lease_batch *batch,
                           strand_slot *slot, int64_t now_us, bool *found) {
  uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
  uint32_t done = atomic_load_explicit(&slot->done, memory_order_acquire)
                  & ~STRAND_SLOT_EXPIRED;
  strand_outcome *outcome;
  if (done > slot->harvested) {
    strand_err err = end_done(h, batch, slot, done, now_us);
    slot->since_us = now_us;
    strand_watchdog_forget(h->watchdog, slot);
    *found = true;
    if (err != STRAND_OK) return false;
  }
  if (state != STRAND_SLOT_ENDED) { /* with none left it is about to */
    if (slot->lease.count > 0)
      strand_watchdog_inspect(h->watchdog, batch, slot, now_us);
    return true;
  }
  *found = true;
  outcome = strand_slot_outcome(batch, slot);
  if (judge(h, slot, outcome, now_us) != STRAND_OK) return false;
  if (slot->has_outcome) clear_outcome(outcome);
  end_slot(h, batch, slot);
  return true;
}

static bool harvest_slot (strand_handover *h, strand_lease_batch *batch,
                          strand_slot *slot, int64_t now_us, bool *found) {
  return slot->call != NULL ? harvest_batch_call(h, batch, slot, now_us, found)
                            : harvest_lease(h, batch, slot, now_us, found);
}

/* What was posted a while ago and is not claimed: those who were woken for
** it are in slow handlers. */
static void spread_batch (strand_handover *h, strand_lease_batch *batch,
                          int64_t now_us) {
  if (now_us < batch->spread_us) return;
  batch->spread_us = INT64_MAX;
  if (strand_lease_batch_unclaimed(batch) > 0) {
    strand_mailbox_spread(&h->owner->consumer->mailbox);
  }
}

/* What ending the slot will touch. */
static void fetch_ahead (const strand_lease_batch *batch, uint32_t i) {
  const strand_slot *slot;
  if (i >= batch->count) return;
  slot = &batch->slots[i];
  __builtin_prefetch(slot->lease.record, 1);
  __builtin_prefetch(slot->lease.shard, 1);
}

static void harvest_batch (strand_handover *h, strand_lease_batch *batch,
                           int64_t now_us, bool *found) {
  uint32_t claimed = batch->count - strand_lease_batch_unclaimed(batch);
  while (batch->first_open < claimed
         && batch->slots[batch->first_open].settled)
    batch->first_open++;
  for (uint32_t i = batch->first_open; i < claimed; i++) {
    strand_slot *slot = &batch->slots[i];
    fetch_ahead(batch, i + 2);
    if (!slot->settled && !harvest_slot(h, batch, slot, now_us, found)) return;
  }
}

void strand_handover_harvest (strand_handover *h, int64_t now_us) {
  strand_lease_batch **at = &h->batches, *batch;
  bool found = false;
  strand_watchdog_begin(h->watchdog);
  while ((batch = *at) != NULL) {
    harvest_batch(h, batch, now_us, &found);
    if (batch->open > 0) {
      spread_batch(h, batch, now_us);
      at = &batch->older;
      continue;
    }
    *at = batch->older;
    retire_batch(h, batch);
  }
  if (found) {
    h->harvest_wait_us = HARVEST_FIRST_US;
    strand_snapshot_change(h->snapshot);
  }
  else if (now_us >= h->harvest_us) h->harvest_wait_us *= 2;
  if (h->harvest_wait_us > HARVEST_MOST_US)
    h->harvest_wait_us = HARVEST_MOST_US;
  h->harvest_us = h->batches == NULL
                    ? INT64_MAX
                    : strand_watchdog_due(h->watchdog, h->harvest_wait_us,
                                          now_us);
}

static strand_err give_back (strand_handover *h, strand_slot *slot) {
  if (slot->call == NULL) {
    return strand_engine_give_back(h->owner->engine, &slot->lease);
  }
  return strand_batch_call_harvest(h->owner, h->assignment, h->outputs,
                                   strand_batch_call_of(slot), false, 0);
}

void strand_handover_recall (strand_handover *h) {
  for (strand_lease_batch *b = h->batches; b != NULL; b = b->older) {
    uint32_t first = strand_lease_batch_recall(b);
    for (uint32_t i = b->count; i-- > first;) {
      strand_slot *slot = &b->slots[i];
      if (give_back(h, slot) != STRAND_OK) {
        /* no memory: it ends as if a worker had found it stopped */
        atomic_store(&slot->state, STRAND_SLOT_ENDED);
        continue;
      }
      end_slot(h, b, slot);
    }
  }
}

static void cut_slot (strand_handover *h, strand_slot *slot) {
  uint32_t started;
  if (slot->settled || !slot->exact || slot->call != NULL
      || !atomic_load(slot->stop))
    return;
  started = atomic_load(&slot->started);
  if (started < slot->harvested) started = slot->harvested;
  strand_engine_cut(h->owner->engine, &slot->lease, started - slot->harvested);
}

void strand_handover_cut (strand_handover *h) {
  for (strand_lease_batch *b = h->batches; b != NULL; b = b->older) {
    for (uint32_t i = b->first_open; i < b->count; i++) {
      cut_slot(h, &b->slots[i]);
    }
  }
}

void strand_handover_free (strand_handover *h) {
  if (h->batch_call != NULL)
    strand_batch_call_free(h->batch_call, h->owner->consumer);
  while (h->spare != NULL) {
    strand_lease_batch *batch = h->spare;
    h->spare = batch->older;
    strand_lease_batch_unref(batch);
  }
}

void strand_handover_halt (strand_handover *h) {
  if (!h->halted) strand_handover_recall(h);
  h->halted = true;
}

int64_t strand_handover_due (const strand_handover *h) {
  return h->harvest_us;
}

bool strand_handover_out (const strand_handover *h) {
  return h->batches != NULL;
}

/* Of the batches the newest alone: there may be many. */
void strand_handover_check (const strand_handover *h) {
  const strand_lease_batch *newest = h->batches;
  uint32_t open = 0;
  unsigned spares = 0;
  for (const strand_lease_batch *b = h->spare; b != NULL; b = b->older)
    spares++;
  assert(spares == h->spare_count && spares <= SPARE_MAX); /* (1) */
  for (uint32_t i = 0; newest != NULL && i < newest->count; i++) {
    if (!newest->slots[i].settled) open++;
    else
      assert(newest->taken[i] == NULL
             && atomic_load(&newest->staged[i]) == NULL); /* (3) */
  }
  assert(newest == NULL || newest->open == open); /* (2) */
  (void)spares;
  (void)open;
}
