/*
** lease.c - leases come back
**
** The only file that finishes or unstarts an offset. A lease whose
** epoch is not its partition's live one is stale: its records are freed, its
** shard is released, and nothing of it is counted or committed.
*/
#include <assert.h>
#include <stdlib.h>

#include "core/engine.h"
#include "core/state.h"

static bool is_stale (const strand_lease *lease) {
  return lease->partition->state == PARTITION_GONE
         || lease->epoch != lease->partition->epoch;
}

/* 'count' records have left the lease. */
static void account (strand_lease *lease, uint32_t count, bool stale) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  lease->count -= count;
  p->in_flight -= count;
  if (stale) e->stale -= count;
  else e->in_flight -= count;
}

/* The handler of a stale lease returned: who waits for its shard hears of
** it. */
static void end_stale (strand_lease *lease, const strand_orphan *orphan) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  e->config.release(e->config.arg, orphan); /* borrows the shard's key */
  if (strand_shard_keyed(lease->shard)) {
    lease->shard->head = NULL;
    strand_shard_free(lease->shard);
  }
  p->leases--;
  strand_throttle_left(p, lease, 0);
  strand_partition_drop(p);
}

/* Records of a stale lease are thrown away, whatever became of them. */
static void drop_stale (strand_lease *lease, uint32_t count) {
  strand_orphan orphan;
  strand_shard_describe(lease->shard, lease->record, &orphan);
  for (uint32_t i = 0; i < count; i++) {
    strand_record *r = lease->record;
    lease->record = lease->count > 1 ? r->behind : NULL;
    strand_record_free(lease->partition, r);
    account(lease, 1, true);
    lease->partition->engine->stale_dropped++;
  }
  if (lease->count == 0) end_stale(lease, &orphan);
}

void strand_lease_leave (strand_lease *lease, uint32_t unstarted) {
  strand_partition *p = lease->partition;
  account(lease, lease->count, false);
  p->unstarted -= lease->unstarted;
  lease->unstarted = 0;
  p->leases--;
  strand_throttle_left(p, lease, unstarted);
  strand_partition_unstall(p);
}

static void end_lease (strand_lease *lease) {
  strand_shard *s = lease->shard;
  strand_lease_leave(lease, 0);
  if (!strand_shard_keyed(s)) return;
  s->leased = 0;
  strand_shard_go_on(s);
}

/* The first record leaves its shard: the lease's next is the first. */
static void leave_shard (strand_lease *lease) {
  strand_record *r = lease->record;
  if (strand_shard_keyed(lease->shard)) {
    assert(lease->shard->head == r);
    strand_shard_pop(lease->shard);
    lease->shard->leased--;
  }
  lease->record = lease->count > 1 ? r->behind : NULL;
}

/* It has left the lease too. */
static void leave_first (strand_lease *lease) {
  account(lease, 1, false);
  lease->expired = lease->reported = false;
  strand_partition_unstall(lease->partition);
  if (lease->count == 0) end_lease(lease);
}

void strand_lease_part_first (strand_lease *lease) {
  leave_shard(lease);
  leave_first(lease);
}

strand_err strand_lease_finish_first (strand_lease *lease, int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_record *r = lease->record;
  strand_err err = strand_offsets_finish(p->offsets, r->offset);
  if (err != STRAND_OK) return err;
  leave_shard(lease);
  strand_windows_left(p, r->offset);
  strand_record_free(p, r);
  strand_commit_left(p->engine, now_us);
  leave_first(lease);
  return STRAND_OK;
}

/* Its offset stays in flight, its bytes where they are: they are wanted again
** should an output be refused. */
strand_err strand_engine_sent (strand_engine *e, strand_lease *lease) {
  strand_partition *p = lease->partition;
  strand_record *r = lease->record;
  bool keyed = strand_shard_keyed(lease->shard);
  (void)e;
  assert(!is_stale(lease) && !lease->expired);
  assert(r->flags & STRAND_RECORD_LEASED);
  if (keyed && strand_shard_detached(p) == NULL) return STRAND_ENOMEM;
  leave_shard(lease);
  r->behind = NULL;
  if (keyed) r->shard = p->detached;
  r->flags &= (uint8_t)~STRAND_RECORD_LEASED;
  r->flags |= STRAND_RECORD_SENDING;
  strand_partition_count_sending(p, 1);
  leave_first(lease);
  return STRAND_OK;
}

bool strand_engine_is_stale (const strand_lease *lease) {
  return is_stale(lease);
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

strand_err strand_lease_unstart (strand_lease *lease, uint32_t from) {
  strand_record *r = lease->record;
  for (uint32_t i = 0; i < lease->count; i++, r = r->behind) {
    strand_err err;
    if (i < from) continue;
    if (!(r->flags & STRAND_RECORD_LEASED)) continue; /* by an earlier call */
    err = strand_offsets_unstart(lease->partition->offsets, r->offset);
    if (err != STRAND_OK) return err;
    r->flags &= (uint8_t)~STRAND_RECORD_LEASED;
    lease->unstarted++;
    lease->partition->unstarted++;
    strand_windows_returned(lease->partition);
  }
  return STRAND_OK;
}

void strand_engine_cut (strand_engine *e, strand_lease *lease,
                        uint32_t started) {
  (void)e;
  if (!is_stale(lease)) (void)strand_lease_unstart(lease, started);
}

strand_err strand_engine_give_back (strand_engine *e, strand_lease *lease) {
  strand_shard *s = lease->shard;
  strand_err err;
  (void)e;
  if (strand_lease_drop(lease)) return STRAND_OK;
  err = strand_lease_unstart(lease, 0);
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
