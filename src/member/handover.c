/*
** handover.c - leases out to the workers in batches, outcomes back
*/
#include "member/handover.h"

#include <assert.h>
#include <stdlib.h>

#include "shared/mailbox.h"

#define HARVEST_FIRST_US 1000
#define SPREAD_US 1000
#define SPARE_MAX 8 /* batches that are kept for the next */
#define HARVEST_MOST_US 1000000
/* Between two looks, where no record has a deadline or is slow: a day. */
#define SCAN_MOST_US INT64_C(86400000000)

void strand_handover_init (strand_handover *h, const strand_owner *owner,
                           strand_assignment *assignment,
                           strand_snapshot *snapshot,
                           strand_watchdog *watchdog, strand_outputs *outputs,
                           strand_waker *waker, strand_progress *progress) {
  *h = (strand_handover){ .owner = owner,
                          .harvest = { owner, assignment, watchdog, outputs },
                          .snapshot = snapshot,
                          .waker = waker,
                          .progress = progress,
                          .harvest_us = INT64_MAX,
                          .spread_us = INT64_MAX,
                          .scan_us = INT64_MAX };
}

void strand_handover_limit (strand_handover *h, size_t max_ready) {
  h->max_ready = max_ready;
  if (h->progress != NULL) h->scan_us = 0; /* by the watchdog's new limits */
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
  if (batch == NULL) {
    batch = strand_batch_new(h->progress != NULL ? STRAND_LOCAL_BATCH_SLOTS
                                                 : STRAND_LEASE_BATCH_SLOTS);
  }
  if (batch == NULL) return NULL;
  batch->waker = h->waker;
  batch->progress = h->progress;
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

/* Those that are out, by their age: so one goes without a search. */
static void link_batch (strand_handover *h, strand_lease_batch *batch) {
  batch->older = h->batches;
  batch->newer = NULL;
  if (batch->older != NULL) batch->older->newer = batch;
  h->batches = batch;
}

/* All its slots are over. */
static void unlink_batch (strand_handover *h, strand_lease_batch *batch) {
  if (batch->newer != NULL) batch->newer->older = batch->older;
  else h->batches = batch->older;
  if (batch->older != NULL) batch->older->newer = batch->newer;
  retire_batch(h, batch);
}

/* Workers wrote to it last. */
static void prepare_slot (strand_lease_batch *batch, uint32_t i) {
  if (i >= batch->capacity) return;
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
  slot->deadline_us = strand_watchdog_deadline(h->harvest.watchdog,
                                               assigned->route);
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

/* They are claimed in order: before one that is, all are. */
static size_t unstarted (const strand_handover *h) {
  size_t records = 0;
  for (const strand_lease_batch *b = h->batches; b != NULL; b = b->older) {
    uint32_t at = b->count - strand_lease_batch_unclaimed(b);
    if (at == b->count) break;
    if (at == 0) records += b->records;
    else
      for (; at < b->count; at++) records += b->slots[at].count;
  }
  return records;
}

/* So that the watchdog sees what is out. */
static void expect_scan (strand_handover *h, int64_t now_us) {
  if (h->progress == NULL || h->scan_us < INT64_MAX) return;
  h->scan_us = strand_watchdog_due(h->harvest.watchdog, SCAN_MOST_US, now_us);
}

/* It is in the workers' reach. */
static void post_batch (strand_handover *h, strand_lease_batch *batch,
                        int64_t now_us) {
  strand_consumer *c = h->owner->consumer;
  batch->open = batch->count;
  link_batch(h, batch);
  batch->spread_us = now_us + SPREAD_US;
  strand_snapshot_change(h->snapshot);
  if (h->progress == NULL) {
    h->harvest_wait_us = HARVEST_FIRST_US;
    h->harvest_us = now_us + HARVEST_FIRST_US;
  }
  expect_scan(h, now_us);
  strand_mailbox_post(&c->mailbox, batch);
  if (c->settings.has_loops && h->spread_us == INT64_MAX)
    h->spread_us = batch->spread_us;
}

void strand_handover_post (strand_handover *h, int64_t now_us) {
  size_t out = unstarted(h), room;
  strand_lease_batch *batch;
  if (h->owner->phase > STRAND_ENDING || out > h->max_ready / 2
      || strand_staging_is_full(&h->owner->consumer->staging)
      || strand_outputs_is_full(h->harvest.outputs))
    return;
  room = h->max_ready - out;
  (void)strand_engine_throttle(h->owner->engine,
                               now_us); /* what was just read counts */
  while (room > 0) {
    batch = new_batch(h);
    if (batch == NULL) return;
    while (room > 0 && batch->count < batch->capacity) {
      uint32_t records = fill_next(h, batch, room, now_us);
      if (records == 0) break;
      prepare_slot(batch, batch->count + 2);
      room -= records < room ? records : room;
    }
    if (batch->count == 0) {
      retire_batch(h, batch);
      return;
    }
    post_batch(h, batch, now_us);
  }
}

/*
** Back
*/

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
    if (!slot->settled
        && !strand_harvest_slot(&h->harvest, batch, slot, now_us, found))
      return;
  }
}

static void harvest_all (strand_handover *h, int64_t now_us) {
  strand_lease_batch *batch, *older;
  bool found = false;
  strand_watchdog_begin(h->harvest.watchdog);
  for (batch = h->batches; batch != NULL; batch = older) {
    older = batch->older;
    harvest_batch(h, batch, now_us, &found);
    if (batch->open > 0) spread_batch(h, batch, now_us);
    else unlink_batch(h, batch);
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
                    : strand_watchdog_due(h->harvest.watchdog,
                                          h->harvest_wait_us, now_us);
}

/*
** Back, where handlers are coroutines
*/

/* What memory ran out for is marked again. */
static void take_mark (strand_handover *h, const strand_mark *mark,
                       int64_t now_us, bool *found) {
  strand_lease_batch *batch = mark->batch;
  bool ended, went;
  strand_slot *slot = strand_mark_slot(mark, &ended);
  went = strand_harvest_slot(&h->harvest, batch, slot, now_us, found);
  if (!went) strand_slot_mark(batch, slot, ended);
  else if (batch->open == 0) unlink_batch(h, batch);
}

static bool take_marks (strand_handover *h, int64_t now_us) {
  strand_mark *mark = strand_progress_take(h->progress), *next;
  bool found = false;
  for (; mark != NULL; mark = next) {
    next = mark->next; /* before it may be added again */
    take_mark(h, mark, now_us, &found);
  }
  return found;
}

static void scan_batch (strand_handover *h, strand_lease_batch *batch,
                        int64_t now_us) {
  uint32_t claimed = batch->count - strand_lease_batch_unclaimed(batch);
  for (uint32_t i = 0; i < claimed; i++) {
    strand_slot *slot = &batch->slots[i];
    if (slot->settled || slot->lease.count == 0
        || atomic_load_explicit(&slot->state, memory_order_acquire)
             & STRAND_SLOT_ENDED)
      continue;
    strand_watchdog_inspect(h->harvest.watchdog, batch, slot, now_us);
  }
}

static void scan_all (strand_handover *h, int64_t now_us) {
  strand_watchdog_begin(h->harvest.watchdog);
  for (strand_lease_batch *b = h->batches; b != NULL; b = b->older) {
    scan_batch(h, b, now_us);
  }
  h->scan_us = h->batches == NULL ? INT64_MAX
                                  : strand_watchdog_due(h->harvest.watchdog,
                                                        SCAN_MOST_US, now_us);
}

int64_t strand_handover_watch (strand_handover *h, int64_t now_us) {
  scan_all(h, now_us);
  return strand_watchdog_late_us(h->harvest.watchdog);
}

/* The oldest batch that nobody has claimed all of: they are in their order. */
static const strand_lease_batch *oldest_unclaimed (const strand_handover *h) {
  const strand_lease_batch *oldest = NULL;
  for (const strand_lease_batch *b = h->batches;
       b != NULL && strand_lease_batch_unclaimed(b) > 0; b = b->older) {
    oldest = b;
  }
  return oldest;
}

/* The worker that was woken for it may be kept by a handler: then all others
** are. */
static void spread_oldest (strand_handover *h, int64_t now_us) {
  const strand_lease_batch *oldest = oldest_unclaimed(h);
  h->spread_us = INT64_MAX;
  if (oldest == NULL) return;
  if (now_us < oldest->spread_us) h->spread_us = oldest->spread_us;
  else strand_mailbox_spread(&h->owner->consumer->mailbox);
}

/* Since when something that may start does not, in local mode. */
static int64_t waiting_since (const strand_handover *h) {
  strand_consumer *c = h->owner->consumer;
  const strand_lease_batch *oldest = oldest_unclaimed(h);
  if (oldest == NULL
      || strand_pool_busy(&c->pool)
           >= strand_settings_limits(&c->settings).max_in_flight)
    return INT64_MAX;
  return oldest->spread_us - SPREAD_US;
}

/* After something was found it looks again by itself, so that the lua thread
** need not wake it for each record; what comes after a look in vain does. */
static void harvest_marked (strand_handover *h, int64_t now_us) {
  bool found = take_marks(h, now_us);
  if (found) strand_snapshot_change(h->snapshot);
  if (now_us >= h->scan_us) scan_all(h, now_us);
  if (now_us >= h->spread_us) spread_oldest(h, now_us);
  if (h->owner->consumer->settings.is_local) {
    strand_watchdog_report_loop(h->harvest.watchdog, waiting_since(h), now_us);
  }
  if (found) h->harvest_us = now_us + HARVEST_FIRST_US;
  else if (now_us >= h->harvest_us) h->harvest_us = INT64_MAX;
  if (!strand_progress_set_polling(h->progress, h->harvest_us < INT64_MAX)) {
    h->harvest_us = now_us;
  }
}

void strand_handover_harvest (strand_handover *h, int64_t now_us) {
  if (h->progress == NULL) harvest_all(h, now_us);
  else harvest_marked(h, now_us);
}

/* No memory: it ends as if a worker had found it stopped. */
static void stop_slot (strand_handover *h, strand_lease_batch *batch,
                       strand_slot *slot) {
  if (h->progress == NULL) atomic_store(&slot->state, STRAND_SLOT_ENDED);
  else strand_slot_mark(batch, slot, true);
}

static void recall_batch (strand_handover *h, strand_lease_batch *batch) {
  uint32_t first = strand_lease_batch_recall(batch);
  for (uint32_t i = batch->count; i-- > first;) {
    strand_slot *slot = &batch->slots[i];
    if (strand_harvest_give_back(&h->harvest, slot) == STRAND_OK) {
      strand_harvest_end(&h->harvest, batch, slot);
    }
    else stop_slot(h, batch, slot);
  }
}

/* No mark comes of a batch that came back whole. */
void strand_handover_recall (strand_handover *h) {
  strand_lease_batch *batch, *older;
  for (batch = h->batches; batch != NULL; batch = older) {
    older = batch->older;
    recall_batch(h, batch);
    if (h->progress != NULL && batch->open == 0) unlink_batch(h, batch);
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
  int64_t due_us = h->harvest_us < h->scan_us ? h->harvest_us : h->scan_us;
  return due_us < h->spread_us ? due_us : h->spread_us;
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
