/*
** outcome.c - leases out and back
**
** The only file that starts, finishes or unstarts an offset. A lease whose
** epoch is not its partition's live one is stale: its records are freed, its
** shard is released, and nothing of it is counted or committed.
*/
#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"
#include "core/state.h"

/*
** Out
*/

static bool start (strand_partition *p, const strand_record *r) {
  const strand_engine *e = p->engine;
  size_t limit = MUTANT(start_forgets_what_was_refused)
                   ? e->config.max_metadata
                   : e->metadata_limit;
  if (strand_record_resolved(r) && strand_aside_started(r)) return true;
  return strand_offsets_start(p->offsets, r->offset, limit) == STRAND_OK;
}

/* The payload is full: only records below the frontier may start, and of
** those the lowest always. */
static strand_shard *look_low (strand_partition *p) {
  int looked = 0;
  for (strand_link *l = p->records.next;
       l != &p->records && looked < STRAND_FULL_LOOK; l = l->next, looked++) {
    strand_record *r = strand_list_entry(l, strand_record, link);
    strand_shard *s = r->shard;
    if ((s->state == SHARD_READY || s->state == SHARD_LINGERING)
        && s->head == r && start(p, r))
      return s;
  }
  return NULL;
}

static strand_shard *next_shard (strand_partition *p) {
  strand_shard *s = strand_list_entry(p->ready.next, strand_shard, ready);
  bool starts = start(p, s->head);
  if (s->head->attempt == 1) p->full = !starts;
  return starts ? s : look_low(p);
}

static bool goes_along (const strand_record *first,
                        const strand_record *next) {
  if (next == NULL) return false;
  if (next->attempt > 1 || first->attempt > 1) {
    return MUTANT(retried_record_takes_others_along);
  }
  return next->offset - first->offset
         < STRAND_LEASE_SPAN + MUTANT(lease_span_off_by_one);
}

/* How many records a lease of 'p' may have. */
static size_t lease_most (const strand_partition *p, size_t most) {
  const strand_route_limits *limits = &p->gate->limits;
  bool one = limits->by == STRAND_BATCH_MIXED
             && !MUTANT(mixed_batch_has_two_of_a_key);
  size_t lease = limits->by == STRAND_BATCH_NONE ? STRAND_LEASE_RECORDS
                 : one                           ? 1
                                                 : limits->batch_size;
  return most < lease ? most : lease;
}

static uint32_t take_keyed (strand_shard *s, size_t most) {
  strand_record *first = s->head, *last = first;
  uint32_t count = 1;
  first->flags |= STRAND_RECORD_LEASED;
  while (count < most && goes_along(first, last->behind)
         && start(s->partition, last->behind)) {
    last = last->behind;
    last->flags |= STRAND_RECORD_LEASED;
    count++;
  }
  s->leased = count;
  strand_shard_unready(s, SHARD_LEASED);
  return count;
}

static uint32_t take_unordered (strand_shard *s) {
  strand_record *r;
  if (s->head->behind == NULL) strand_shard_unready(s, SHARD_EMPTY);
  else strand_shard_yield(s);
  r = strand_shard_pop(s);
  r->behind = NULL;
  r->flags |= STRAND_RECORD_LEASED;
  return 1;
}

static void take (strand_shard *s, size_t most, strand_lease *out) {
  strand_partition *p = s->partition;
  out->partition = p;
  out->shard = s;
  out->record = s->head;
  out->epoch = p->epoch;
  out->further = out->expired = out->told = false;
  out->count = strand_shard_keyed(s) ? take_keyed(s, lease_most(p, most))
                                     : take_unordered(s);
  p->leases++;
  p->in_flight += out->count;
  p->engine->in_flight += out->count;
}

/* Partitions take turns of some leases: what each of them takes to the caches
** is used more than once. */
static void rotate (strand_partition *p) {
  strand_engine *e = p->engine;
  bool over = ++e->turn >= STRAND_TURN_LEASES;
  if (strand_list_empty(&p->runnable)) e->turn = 0;
  else if (over && !MUTANT(partition_keeps_its_turn)) {
    e->turn = 0;
    strand_list_remove(&p->runnable);
    strand_list_push(&e->runnable, &p->runnable);
  }
}

/* Shard and record were put down some hundred records ago, and are not in the
** nearest cache any more. By the next lease they are. */
static void fetch_ahead (const strand_partition *p) {
  const strand_shard *s;
  if (strand_list_empty(&p->ready)) return;
  s = strand_list_entry(p->ready.next, strand_shard, ready);
  __builtin_prefetch(s->head);
  __builtin_prefetch(s->ready.next);
}

/* The next shard of a runnable partition that is to be handled. NULL: there
** is none for now, and 'p' is not runnable, or what was resolved is dealt
** with. */
static strand_shard *choose (strand_partition *p, int64_t now_us) {
  strand_shard *s = next_shard(p);
  if (s != NULL
      && (!strand_record_resolved(s->head)
          || MUTANT(discarded_record_is_handled)))
    return s;
  if (s != NULL && strand_aside_carry_out(s, now_us)) return NULL;
  p->stalled = true; /* until strand_partition_unstall */
  strand_partition_runnable(p);
  return NULL;
}

bool strand_engine_lease (strand_engine *e, size_t most, int64_t now_us,
                          strand_lease *out) {
  most = strand_gate_tokens(e, most, now_us);
  while (most > 0 && !strand_list_empty(&e->runnable)) {
    strand_partition *p = strand_list_entry(e->runnable.next, strand_partition,
                                            runnable);
    size_t room = strand_gate_room(p, most, now_us);
    strand_shard *s = room > 0 ? choose(p, now_us) : NULL;
    if (room == 0 && !p->closed) return false; /* its tokens come first */
    if (s == NULL) continue;
    take(s, room, out);
    strand_gate_leased(p, out);
    fetch_ahead(p);
    rotate(p);
    return true;
  }
  return false;
}

/* The next partition for a mixed batch of that gate. */
static strand_partition *same_gate (const strand_engine *e,
                                    const strand_gate *gate) {
  for (strand_link *l = e->runnable.next; l != &e->runnable; l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, runnable);
    if (p->gate == gate || MUTANT(batch_crosses_routes)) return p;
  }
  return NULL;
}

/* What failed before comes alone, in the next call. */
static bool may_join (const strand_record *r) {
  return r->attempt == 1 || MUTANT(failed_record_joins_a_batch);
}

bool strand_engine_lease_more (strand_engine *e, const strand_lease *first,
                               size_t most, int64_t now_us,
                               strand_lease *out) {
  strand_partition *p = first->partition;
  strand_gate *gate = p->gate;
  strand_shard *s;
  if (gate->limits.by == STRAND_BATCH_MIXED) {
    strand_gate_join(gate);
    p = same_gate(e, gate);
  }
  else if (gate->limits.by != STRAND_BATCH_PARTITION) return false;
  if (p == NULL || p->closed || strand_list_empty(&p->runnable)) return false;
  most = strand_gate_tokens(e, most, now_us);
  most = strand_gate_more(gate, most, now_us);
  s = strand_list_entry(p->ready.next, strand_shard, ready);
  if (most == 0 || !may_join(first->record) || !may_join(s->head)
      || !start(p, s->head))
    return false;
  take(s, most, out);
  out->further = true;
  strand_gate_leased(p, out);
  rotate(p);
  return true;
}

/*
** Back
*/

static bool is_stale (const strand_lease *lease) {
  if (MUTANT(epoch_is_not_compared)) return false;
  return lease->partition->state == PARTITION_GONE
         || lease->epoch != lease->partition->epoch;
}

/* 'count' records have left the lease. */
static void account (strand_lease *lease, uint32_t count, bool stale) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  lease->count -= count;
  p->in_flight -= count;
  if (stale && !MUTANT(stale_work_drifts_the_counters)) e->stale -= count;
  else e->in_flight -= count;
}

/* The handler of a stale lease returned: who waits for its shard hears of
** it. */
static void end_stale (strand_lease *lease, const strand_held *held) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  e->config.release(e->config.arg, held); /* borrows the shard's key */
  if (strand_shard_keyed(lease->shard)) {
    lease->shard->head = NULL;
    strand_shard_free(lease->shard);
  }
  p->leases--;
  if (!MUTANT(stale_call_never_ends)) strand_gate_left(p, lease, 0);
  strand_partition_drop(p);
}

/* Records of a stale lease are thrown away, whatever became of them. */
static void drop_stale (strand_lease *lease, uint32_t count) {
  strand_held held;
  strand_shard_describe(lease->shard, lease->record, &held);
  for (uint32_t i = 0; i < count; i++) {
    strand_record *r = lease->record;
    lease->record = lease->count > 1 ? r->behind : NULL;
    strand_record_free(lease->partition, r);
    account(lease, 1, true);
    lease->partition->engine->stale_dropped++;
  }
  if (lease->count == 0
      || MUTANT(shard_is_released_before_its_handler_returned)) {
    end_stale(lease, &held);
  }
}

void strand_lease_leave (strand_lease *lease, uint32_t unstarted) {
  strand_partition *p = lease->partition;
  account(lease, lease->count, false);
  p->leases--;
  strand_gate_left(p, lease, unstarted);
  strand_partition_unstall(p);
}

static void end_lease (strand_lease *lease) {
  strand_shard *s = lease->shard;
  strand_lease_leave(lease, 0);
  if (!strand_shard_keyed(s)) return;
  s->leased = 0;
  strand_shard_go_on(s);
}

strand_err strand_lease_finish_first (strand_lease *lease, int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_record *r = lease->record;
  strand_err err = strand_offsets_finish(p->offsets, r->offset);
  if (err != STRAND_OK) return err;
  if (strand_shard_keyed(lease->shard)) {
    assert(lease->shard->head == r);
    strand_shard_pop(lease->shard);
    lease->shard->leased--;
  }
  lease->record = lease->count > 1 ? r->behind : NULL;
  strand_record_free(p, r);
  account(lease, 1, false);
  lease->expired = lease->told = false;
  p->engine->active_us = now_us;
  p->engine->maybe_dirty = true;
  strand_partition_unstall(p);
  if (lease->count == 0) end_lease(lease);
  return STRAND_OK;
}

strand_err strand_engine_done (strand_engine *e, strand_lease *lease,
                               uint32_t count, int64_t now_us) {
  assert(count <= lease->count && lease->count > 0);
  if (is_stale(lease)) {
    drop_stale(lease, count);
    return STRAND_OK;
  }
  assert(!lease->expired || count == 0);
  for (; count > 0; count--) {
    strand_partition *p = lease->partition;
    strand_err err = strand_lease_finish_first(lease, now_us);
    if (err != STRAND_OK) return err;
    p->done++;
    e->done++;
  }
  return STRAND_OK;
}

bool strand_lease_drop (strand_lease *lease) {
  if (!is_stale(lease)) return false;
  drop_stale(lease, lease->count);
  return true;
}

strand_err strand_lease_unstart (strand_lease *lease, bool but_first) {
  strand_record *r = lease->record;
  for (uint32_t i = 0; i < lease->count; i++, r = r->behind) {
    strand_err err;
    if (i == 0 && but_first) continue;
    if (!(r->flags & STRAND_RECORD_LEASED)) continue; /* by an earlier call */
    err = strand_offsets_unstart(lease->partition->offsets, r->offset);
    if (err != STRAND_OK) return err;
    r->flags &= (uint8_t)~STRAND_RECORD_LEASED;
  }
  return STRAND_OK;
}

strand_err strand_engine_give_back (strand_engine *e, strand_lease *lease) {
  strand_shard *s = lease->shard;
  strand_err err;
  (void)e;
  if (strand_lease_drop(lease)) return STRAND_OK;
  err = strand_lease_unstart(lease, false);
  if (err != STRAND_OK) return err;
  strand_lease_leave(lease, lease->count);
  if (strand_shard_keyed(s)) {
    s->leased = 0;
    strand_shard_ready(s, true);
  }
  else {
    strand_shard_insert(s, lease->record);
    if (s->state == SHARD_EMPTY) strand_shard_ready(s, true);
  }
  return STRAND_OK;
}
