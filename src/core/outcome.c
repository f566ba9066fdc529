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
  return strand_offsets_start(p->offsets, r->offset,
                              p->engine->config.max_metadata) == STRAND_OK;
}

/* The payload is full: only records below the frontier may start, and of
** those the lowest always. */
static strand_shard *look_low (strand_partition *p) {
  int looked = 0;
  for (strand_link *l = p->records.next;
       l != &p->records && looked < STRAND_FULL_LOOK; l = l->next, looked++) {
    strand_record *r = strand_list_entry(l, strand_record, link);
    strand_shard *s = r->shard;
    if (s->state == SHARD_READY && s->head == r && start(p, r)) return s;
  }
  return NULL;
}

static strand_shard *next_shard (strand_partition *p) {
  strand_shard *s = strand_list_entry(p->ready.next, strand_shard, ready);
  return start(p, s->head) ? s : look_low(p);
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

static uint32_t take_keyed (strand_shard *s, size_t most) {
  strand_record *first = s->head, *last = first;
  uint32_t count = 1;
  first->flags |= STRAND_RECORD_LEASED;
  while (count < most && count < STRAND_LEASE_RECORDS
         && goes_along(first, last->behind)
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
  out->count = strand_shard_keyed(s) ? take_keyed(s, most)
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

bool strand_engine_lease (strand_engine *e, size_t most, strand_lease *out) {
  while (most > 0 && !strand_list_empty(&e->runnable)) {
    strand_partition *p = strand_list_entry(e->runnable.next,
                                            strand_partition, runnable);
    strand_shard *s = next_shard(p);
    if (s != NULL) {
      take(s, most, out);
      fetch_ahead(p);
      rotate(p);
      return true;
    }
    p->stalled = true; /* until strand_partition_unstall */
    strand_partition_runnable(p);
  }
  return false;
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

static void end_lease (strand_lease *lease) {
  strand_shard *s = lease->shard;
  strand_partition *p = lease->partition;
  p->leases--;
  strand_partition_unstall(p);
  if (!strand_shard_keyed(s)) return;
  s->leased = 0;
  s->failing = false;
  s->state = SHARD_EMPTY;
  if (s->head != NULL) strand_shard_ready(s, false);
  else strand_shard_free(s);
}

static strand_err finish_first (strand_lease *lease, int64_t now_us) {
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
  p->done++;
  p->engine->done++;
  p->engine->active_us = now_us;
  p->engine->maybe_dirty = true;
  strand_partition_unstall(p);
  return STRAND_OK;
}

strand_err strand_engine_done (strand_engine *e, strand_lease *lease,
                               uint32_t count, int64_t now_us) {
  assert(count <= lease->count && lease->count > 0);
  (void)e;
  if (is_stale(lease)) {
    drop_stale(lease, count);
    return STRAND_OK;
  }
  for (; count > 0; count--) {
    strand_err err = finish_first(lease, now_us);
    if (err != STRAND_OK) return err;
  }
  if (lease->count == 0) end_lease(lease);
  return STRAND_OK;
}

static strand_err unstart_all (strand_lease *lease) {
  strand_record *r = lease->record;
  for (uint32_t i = 0; i < lease->count; i++, r = r->behind) {
    strand_err err;
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
  if (is_stale(lease)) {
    drop_stale(lease, lease->count);
    return STRAND_OK;
  }
  err = unstart_all(lease);
  if (err != STRAND_OK) return err;
  account(lease, lease->count, false);
  lease->partition->leases--;
  if (strand_shard_keyed(s)) {
    s->leased = 0;
    strand_shard_ready(s, true);
  }
  else {
    strand_shard_insert(s, lease->record);
    if (s->state == SHARD_EMPTY) strand_shard_ready(s, true);
  }
  strand_partition_unstall(lease->partition);
  return STRAND_OK;
}

/*
** Failure
*/

static double random_unit (strand_engine *e) { /* xorshift64*, [0, 1) */
  uint64_t x = e->random;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  e->random = x;
  return (double)((x * UINT64_C(0x2545f4914f6cdd1d)) >> 11)
         / 9007199254740992.0;
}

static int64_t policy_delay (strand_engine *e, const strand_policy *policy,
                             uint16_t attempt) {
  double delay = (double)policy->delay_us;
  double most = (double)policy->max_delay_us;
  for (uint16_t i = 1; i < attempt && delay < most; i++) {
    if (policy->factor <= 1) break;
    delay *= policy->factor;
  }
  if (delay > most && !MUTANT(delay_passes_its_limit)) delay = most;
  return (int64_t)(delay * (1 - policy->jitter * random_unit(e)));
}

static void keep_reason (strand_record *r, const char *text, size_t length) {
  strand_reason *reason;
  if (length > STRAND_REASON_MAX) length = STRAND_REASON_MAX;
  reason = malloc(sizeof(*reason) + length);
  if (reason == NULL) return; /* an old reason is better than none */
  reason->length = (uint32_t)length;
  memcpy(reason->text, text, length);
  free(r->in.reason);
  r->in.reason = reason;
}

/* The failed record leaves its chunk and waits, with all behind it. */
static strand_record *set_aside (strand_lease *lease) {
  strand_shard *s = lease->shard;
  strand_record *r = lease->record, *before;
  if (!(r->flags & STRAND_RECORD_OWN)) {
    r = strand_record_move(lease->partition, r, NULL);
    if (r == NULL) return NULL;
    lease->record = r;
  }
  strand_shard_wait(s, NULL, r);
  if (!strand_shard_keyed(s)) return r;
  for (before = r; !s->failing && before->behind != NULL;
       before = before->behind) {
    strand_shard_wait(s, before, before->behind);
  }
  s->failing = true;
  return r;
}

static void tell_failed (strand_partition *p, const strand_record *r,
                         int64_t delay_us, const char *reason,
                         size_t length) {
  const strand_engine_config *c = &p->engine->config;
  strand_notice notice = { STRAND_NOTICE_FAILED, p, r, reason, length,
                           delay_us };
  c->notice(c->arg, &notice);
}

strand_err strand_engine_fail (strand_engine *e, strand_lease *lease,
                               int64_t delay_us, const char *reason,
                               size_t reason_length, int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_shard *s = lease->shard;
  strand_record *r;
  if (is_stale(lease)) {
    drop_stale(lease, lease->count);
    return STRAND_OK;
  }
  if (strand_retry_reserve(&e->retry) != STRAND_OK
      || unstart_all(lease) != STRAND_OK
      || (r = set_aside(lease)) == NULL) return STRAND_ENOMEM;
  if (delay_us < 0) delay_us = policy_delay(e, p->policy, r->attempt);
  keep_reason(r, reason, reason_length);
  tell_failed(p, r, delay_us, reason, reason_length);
  if (r->attempt < UINT16_MAX) r->attempt++;
  account(lease, lease->count, false);
  p->leases--;
  p->failed++;
  e->failed++;
  r->flags |= STRAND_RECORD_BACKOFF;
  if (strand_shard_keyed(s)) {
    s->leased = 0;
    s->state = SHARD_BACKOFF;
  }
  strand_retry_push(&e->retry, now_us + delay_us, r);
  strand_partition_unstall(p);
  return STRAND_OK;
}

int64_t strand_engine_tick (strand_engine *e, int64_t now_us) {
  strand_record *r;
  while ((r = strand_retry_pop(&e->retry, now_us)) != NULL) {
    strand_shard *s = r->shard;
    r->flags &= (uint8_t)~STRAND_RECORD_BACKOFF;
    if (strand_shard_keyed(s)) {
      assert(s->state == SHARD_BACKOFF && s->head == r);
      if (MUTANT(retried_record_loses_its_place)) {
        strand_shard_append(s, strand_shard_pop(s));
      }
      strand_shard_ready(s, false);
    }
    else {
      strand_shard_insert(s, r);
      if (s->state == SHARD_EMPTY) strand_shard_ready(s, false);
    }
    strand_partition_unstall(s->partition);
  }
  return strand_retry_next(&e->retry);
}
