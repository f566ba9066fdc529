/*
** handover.c - leases out to the workers in batches, outcomes back
*/
#include <stdlib.h>

#include "core/mutant.h"
#include "kafka/bundle.h"
#include "kafka/clock.h"
#include "kafka/member.h"

#define LOOK_FIRST_US 1000
#define SPREAD_US 1000
#define SPARE_MAX 8 /* batches that are kept for the next */
#define LOOK_MOST_US 1000000

/*
** Out
*/

/* One that is over, once neither mailbox nor worker holds it any more. */
static strand_batch *take_spare (strand_member *m) {
  for (strand_batch **at = &m->handover.spare; *at != NULL;
       at = &(*at)->older) {
    strand_batch *batch = *at;
    if (atomic_load_explicit(&batch->refs, memory_order_acquire) > 1) continue;
    *at = batch->older;
    m->handover.spare_count--;
    return batch;
  }
  return NULL;
}

static strand_batch *new_batch (strand_member *m) {
  strand_batch *batch = take_spare(m);
  if (batch == NULL) {
    batch = aligned_alloc(64, (sizeof(*batch) + 63) & ~(size_t)63);
  }
  if (batch == NULL) return NULL;
  batch->waker = m->waker;
  batch->count = batch->records = batch->open = batch->first_open = 0;
  atomic_store_explicit(&batch->refs, 1, memory_order_relaxed);
  atomic_store_explicit(&batch->cursor, 0, memory_order_relaxed);
  return batch;
}

static void retire_batch (strand_member *m, strand_batch *batch) {
  if (m->handover.spare_count == SPARE_MAX) {
    strand_batch_unref(batch);
    return;
  }
  batch->older = m->handover.spare;
  m->handover.spare = batch;
  m->handover.spare_count++;
}

/* Workers wrote to it last. */
static void prepare_slot (strand_batch *batch, uint32_t i) {
  if (i >= STRAND_BATCH_SLOTS) return;
  __builtin_prefetch(&batch->slots[i], 1);
  __builtin_prefetch(&batch->slots[i].harvested, 1);
}

static void fill_slot (strand_member *m, strand_slot *slot,
                       const strand_lease *lease) {
  strand_tag *tag = strand_partition_tag(lease->partition);
  slot->lease = *lease;
  slot->tag = tag;
  slot->first = lease->record;
  slot->bundle = NULL;
  slot->count = lease->count;
  slot->stop = &tag->stop;
  slot->route = tag->route;
  slot->deadline_us = strand_watchdog_deadline(m, tag->route);
  slot->judged = slot->over = false;
  slot->harvested = 0;
  slot->since_us = 0;
  atomic_store_explicit(&slot->began_us, 0, memory_order_relaxed);
  atomic_store_explicit(&slot->done, 0, memory_order_relaxed);
  atomic_store_explicit(&slot->state, STRAND_SLOT_READY, memory_order_relaxed);
  tag->leases++;
}

/* The bundle is there before the lease: nothing fails in between. */
static void fill_bundle (strand_member *m, strand_slot *slot,
                         const strand_lease *first, int64_t now_us) {
  fill_slot(m, slot, first);
  slot->tag->leases--; /* each part counts */
  slot->bundle = m->handover.bundle;
  m->handover.bundle = NULL;
  strand_bundle_fill(m, slot->bundle, first, now_us);
  slot->count = slot->bundle->many.count;
}

static bool reserve_bundle (strand_member *m) {
  if (m->handover.batch_most == 0 || m->handover.bundle != NULL) return true;
  m->handover.bundle = strand_bundle_new(m->handover.batch_most);
  return m->handover.bundle != NULL;
}

/* The next slot of the batch. 0: nothing may start, or no memory for it. */
static uint32_t fill_next (strand_member *m, strand_batch *batch, size_t room,
                           int64_t now_us) {
  strand_slot *slot = &batch->slots[batch->count];
  size_t most = room > m->handover.batch_most ? room : m->handover.batch_most;
  strand_lease lease;
  if (!reserve_bundle(m)
      || !strand_engine_lease(m->owner.engine, most, now_us, &lease))
    return 0;
  if (strand_partition_limits(lease.partition)->by == STRAND_BATCH_NONE) {
    fill_slot(m, slot, &lease);
  }
  else fill_bundle(m, slot, &lease, now_us);
  batch->count++;
  batch->records += slot->count;
  return slot->count;
}

static size_t unstarted (const strand_member *m) {
  size_t records = 0;
  for (const strand_batch *b = m->handover.batches; b != NULL; b = b->older) {
    uint32_t at = b->count - strand_batch_unclaimed(b);
    if (at == 0) records += b->records;
    else
      for (; at < b->count; at++) records += b->slots[at].count;
  }
  return records;
}

void strand_handover_post (strand_member *m, int64_t now_us) {
  size_t out = unstarted(m), room;
  strand_batch *batch;
  if (m->owner.phase > STRAND_ENDING || out > m->handover.max_ready / 2)
    return;
  room = m->handover.max_ready - out;
  (void)strand_engine_gates(m->owner.engine,
                            now_us); /* what was just read counts */
  while (room > 0) {
    batch = new_batch(m);
    if (batch == NULL) return;
    while (room > 0 && batch->count < STRAND_BATCH_SLOTS) {
      uint32_t records = fill_next(m, batch, room, now_us);
      if (records == 0) break;
      prepare_slot(batch, batch->count + 2);
      room -= records < room ? records : room;
    }
    if (batch->count == 0) {
      retire_batch(m, batch);
      return;
    }
    batch->open = batch->count;
    batch->older = m->handover.batches;
    m->handover.batches = batch;
    batch->spread_us = now_us + SPREAD_US;
    m->handover.look_wait_us = LOOK_FIRST_US;
    m->handover.look_us = now_us + LOOK_FIRST_US;
    strand_snapshot_change(&m->snapshot);
    strand_mailbox_post(&m->owner.consumer->mailbox, batch);
  }
}

/*
** Back
*/

static void end_slot (strand_member *m, strand_batch *batch,
                      strand_slot *slot) {
  strand_tag *tag = slot->tag;
  if (m->watchdog.overdue != NULL) strand_watchdog_forget(m, slot);
  slot->over = true;
  batch->open--;
  if (slot->bundle != NULL) {
    strand_bundle_free(slot->bundle);
    return;
  }
  if (--tag->leases == 0 && tag->partition == NULL)
    strand_assignment_drop(&m->assignment, tag);
}

static void clear_verdict (strand_verdict *v) {
  free(v->reason);
  free(v->policy_problem);
}

/* Its partition may be gone: the lease knows its name. */
void strand_handover_policy (strand_member *m, const strand_lease *lease,
                             strand_verdict *v) {
  const strand_partition *p = lease->partition;
  const strand_record *r = lease->record;
  strand_event event = strand_event_of("policy_failed", (int)m->owner.index);
  if (v->policy_problem == NULL) return;
  strand_event_set_topic(&event, strand_partition_topic(p),
                         strand_partition_index(p));
  event.epoch = lease->epoch;
  event.offset = r->offset;
  event.attempt = r->attempt;
  if (r->flags & STRAND_RECORD_KEY) {
    strand_event_set_key(&event, strand_record_key(r), r->key_length);
  }
  strand_event_set_reason(&event, v->policy_problem,
                          strlen(v->policy_problem));
  strand_owner_emit(&m->owner, &event);
  if (MUTANT(policy_is_told_again_without_memory)) return;
  free(v->policy_problem);
  v->policy_problem = NULL;
}

/* The lease ends with what its verdict says; without one, what is left goes
** back unstarted (recalled, stopped). */
static strand_err judge (strand_member *m, strand_slot *slot,
                         strand_verdict *v, int64_t now_us) {
  strand_ending ending = { v->kind, v->delay_us,
                           v->reason != NULL ? v->reason : "",
                           v->reason != NULL ? v->reason_length : 0 };
  strand_err err;
  if (slot->lease.count == 0) return STRAND_OK;
  if (!slot->judged || v->kind == STRAND_VERDICT_DONE) {
    return strand_engine_give_back(m->owner.engine, &slot->lease);
  }
  strand_handover_policy(m, &slot->lease, v);
  err = strand_engine_end(m->owner.engine, &slot->lease, &ending, now_us);
  if (err != STRAND_OK || slot->lease.count == 0) return err;
  clear_verdict(v); /* what is left of the lease has none */
  slot->judged = false;
  return strand_engine_give_back(m->owner.engine, &slot->lease);
}

/* False: memory ran out; the slot is looked at again. */
static bool harvest_bundle (strand_member *m, strand_batch *batch,
                            strand_slot *slot, int64_t now_us, bool *found) {
  if (atomic_load_explicit(&slot->state, memory_order_acquire)
      != STRAND_SLOT_ENDED) {
    strand_watchdog_look(m, batch, slot, now_us);
    return true;
  }
  *found = true;
  if (strand_bundle_harvest(m, slot->bundle, slot->judged, now_us)
      != STRAND_OK)
    return false;
  end_slot(m, batch, slot);
  return true;
}

static bool harvest_lease (strand_member *m, strand_batch *batch,
                           strand_slot *slot, int64_t now_us, bool *found) {
  uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
  uint32_t done = atomic_load_explicit(&slot->done, memory_order_acquire)
                  & ~STRAND_SLOT_EXPIRED;
  strand_verdict *verdict;
  if (done > slot->harvested) {
    uint32_t before = slot->lease.count, count = done - slot->harvested;
    strand_err err = strand_engine_done(m->owner.engine, &slot->lease, count,
                                        now_us);
    slot->harvested += before - slot->lease.count;
    slot->since_us = now_us;
    if (m->watchdog.overdue != NULL) strand_watchdog_forget(m, slot);
    *found = true;
    if (err != STRAND_OK) return false;
  }
  if (state != STRAND_SLOT_ENDED) { /* with none left it is about to */
    if (slot->lease.count > 0) strand_watchdog_look(m, batch, slot, now_us);
    return true;
  }
  *found = true;
  verdict = strand_slot_verdict(batch, slot);
  if (judge(m, slot, verdict, now_us) != STRAND_OK) return false;
  if (slot->judged) clear_verdict(verdict);
  end_slot(m, batch, slot);
  return true;
}

static bool harvest_slot (strand_member *m, strand_batch *batch,
                          strand_slot *slot, int64_t now_us, bool *found) {
  return slot->bundle != NULL ? harvest_bundle(m, batch, slot, now_us, found)
                              : harvest_lease(m, batch, slot, now_us, found);
}

/* What was posted a while ago and is not claimed: those who were woken for
** it are in slow handlers. */
static void spread_batch (strand_member *m, strand_batch *batch,
                          int64_t now_us) {
  if (now_us < batch->spread_us) return;
  batch->spread_us = INT64_MAX;
  if (strand_batch_unclaimed(batch) > 0) {
    strand_mailbox_spread(&m->owner.consumer->mailbox);
  }
}

/* What ending the slot will touch. */
static void fetch_ahead (const strand_batch *batch, uint32_t i) {
  const strand_slot *slot;
  if (i >= batch->count) return;
  slot = &batch->slots[i];
  __builtin_prefetch(slot->lease.record, 1);
  __builtin_prefetch(slot->lease.shard, 1);
}

static void harvest_batch (strand_member *m, strand_batch *batch,
                           int64_t now_us, bool *found) {
  uint32_t claimed = batch->count - strand_batch_unclaimed(batch);
  while (batch->first_open < claimed && batch->slots[batch->first_open].over)
    batch->first_open++;
  for (uint32_t i = batch->first_open; i < claimed; i++) {
    strand_slot *slot = &batch->slots[i];
    fetch_ahead(batch, i + 2);
    if (!slot->over && !harvest_slot(m, batch, slot, now_us, found)) return;
  }
}

void strand_handover_harvest (strand_member *m, int64_t now_us) {
  strand_batch **at = &m->handover.batches, *batch;
  bool found = false;
  m->watchdog.due_us = INT64_MAX;
  while ((batch = *at) != NULL) {
    harvest_batch(m, batch, now_us, &found);
    if (batch->open > 0) {
      spread_batch(m, batch, now_us);
      at = &batch->older;
      continue;
    }
    *at = batch->older;
    retire_batch(m, batch);
  }
  if (found) {
    m->handover.look_wait_us = LOOK_FIRST_US;
    strand_snapshot_change(&m->snapshot);
  }
  else if (now_us >= m->handover.look_us) m->handover.look_wait_us *= 2;
  if (m->handover.look_wait_us > LOOK_MOST_US)
    m->handover.look_wait_us = LOOK_MOST_US;
  m->handover.look_us = m->handover.batches == NULL
                          ? INT64_MAX
                          : strand_watchdog_due(m, now_us);
}

static strand_err give_back (strand_member *m, strand_slot *slot) {
  if (slot->bundle == NULL) {
    return strand_engine_give_back(m->owner.engine, &slot->lease);
  }
  return strand_bundle_harvest(m, slot->bundle, false, 0);
}

void strand_handover_recall (strand_member *m) {
  for (strand_batch *b = m->handover.batches; b != NULL; b = b->older) {
    uint32_t first = strand_batch_recall(b) + MUTANT(recall_forgets_a_slot);
    for (uint32_t i = b->count; i-- > first;) {
      strand_slot *slot = &b->slots[i];
      if (give_back(m, slot) != STRAND_OK) {
        /* no memory: it ends as if a worker had found it stopped */
        atomic_store(&slot->state, STRAND_SLOT_ENDED);
        continue;
      }
      end_slot(m, b, slot);
    }
  }
}

void strand_handover_free (strand_member *m) {
  if (m->handover.bundle != NULL) strand_bundle_free(m->handover.bundle);
  while (m->handover.spare != NULL) {
    strand_batch *batch = m->handover.spare;
    m->handover.spare = batch->older;
    strand_batch_unref(batch);
  }
}

bool strand_handover_out (const strand_member *m) {
  return m->handover.batches != NULL;
}
