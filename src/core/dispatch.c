/*
** dispatch.c - leases go out: which partition, which shard, how many records
**
** The only file that starts an offset.
*/
#include <assert.h>

#include "core/engine.h"
#include "core/state.h"
#include "core/waiting.h"

static bool start (strand_partition *p, const strand_record *r) {
  const strand_engine *e = p->engine;
  size_t limit = e->metadata.limit;
  if (strand_record_resolved(r) && strand_waiting_started(r)) return true;
  return strand_offsets_start(p->offsets, r->offset, limit) == STRAND_OK;
}

/* The payload is full: only records below the frontier may start, and of
** those the lowest always. */
static strand_shard *scan_low (strand_partition *p) {
  int examined = 0;
  for (strand_link *l = p->records.next;
       l != &p->records && examined < STRAND_FULL_SCAN;
       l = l->next, examined++) {
    strand_record *r = strand_list_entry(l, strand_record, link);
    strand_shard *s = r->shard;
    if (s == NULL) break; /* no commit covers it, nor those behind it */
    if ((s->state == SHARD_READY || s->state == SHARD_LINGERING)
        && s->head == r && start(p, r))
      return s;
  }
  return NULL;
}

static strand_shard *next_shard (strand_partition *p) {
  strand_shard *s = strand_list_entry(p->ready.next, strand_shard, ready);
  bool starts;
  assert(!strand_list_empty(&p->ready)); /* what lingers has no room */
  starts = start(p, s->head);
  if (s->head->attempt == 1) p->full = !starts;
  return starts ? s : scan_low(p);
}

static bool goes_along (const strand_record *first,
                        const strand_record *next) {
  if (next == NULL) return false;
  if (next->attempt > 1 || first->attempt > 1) return false;
  return next->offset - first->offset < STRAND_LEASE_SPAN;
}

/* How many records a lease of 'p' may have. */
static size_t lease_most (const strand_partition *p, size_t most) {
  const strand_route_limits *limits = &p->throttle->limits;
  bool one = limits->by == STRAND_BATCH_MIXED;
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
  else strand_shard_give_way(s);
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
  out->unstarted = 0;
  out->continuation = out->expired = out->reported = false;
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
  bool ended = ++e->turn >= STRAND_TURN_LEASES;
  if (strand_list_empty(&p->runnable)) e->turn = 0;
  else if (ended) {
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

/* What has ended without a lease made no turn: 'p', the first, may have left in
** the meantime. */
static void keep_turn (strand_partition *p) {
  if (strand_list_empty(&p->runnable)) return;
  strand_list_remove(&p->runnable);
  strand_list_push_front(&p->engine->runnable, &p->runnable);
}

/* The next shard of the first runnable partition that is to be handled. NULL:
** there is none for now, and 'p' is not runnable, or what was resolved is
** dealt with. */
static strand_shard *choose (strand_partition *p, int64_t now_us) {
  strand_shard *s = next_shard(p);
  if (s != NULL && !strand_record_resolved(s->head)) return s;
  if (s != NULL && strand_waiting_carry_out(s, now_us)) {
    keep_turn(p);
    return NULL;
  }
  p->stalled = true; /* until strand_partition_unstall */
  strand_partition_runnable(p);
  return NULL;
}

bool strand_engine_lease (strand_engine *e, size_t most, int64_t now_us,
                          strand_lease *out) {
  most = strand_throttle_tokens(e, most, now_us);
  while (most > 0 && !strand_list_empty(&e->runnable)) {
    strand_partition *p = strand_list_entry(e->runnable.next, strand_partition,
                                            runnable);
    size_t room = strand_throttle_room(p, most, now_us);
    strand_shard *s = room > 0 ? choose(p, now_us) : NULL;
    if (room == 0 && !p->closed) return false; /* its tokens come first */
    if (s == NULL) continue;
    take(s, room, out);
    strand_throttle_leased(p, out);
    fetch_ahead(p);
    rotate(p);
    return true;
  }
  return false;
}

/* The next partition for a mixed batch of that route. */
static strand_partition *same_route (const strand_engine *e,
                                     const strand_throttle *throttle) {
  for (strand_link *l = e->runnable.next; l != &e->runnable; l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, runnable);
    if (p->throttle == throttle) return p;
  }
  return NULL;
}

/* What failed before comes alone, in the next call. */
static bool may_join (const strand_record *r) {
  return r->attempt == 1;
}

bool strand_engine_lease_more (strand_engine *e, const strand_lease *first,
                               size_t most, int64_t now_us,
                               strand_lease *out) {
  strand_partition *p = first->partition;
  strand_throttle *throttle = p->throttle;
  strand_shard *s;
  if (throttle->limits.by == STRAND_BATCH_MIXED) {
    strand_throttle_join(throttle);
    p = same_route(e, throttle);
  }
  else if (throttle->limits.by != STRAND_BATCH_PARTITION) return false;
  if (p == NULL || p->closed || strand_list_empty(&p->runnable)) return false;
  most = strand_throttle_tokens(e, most, now_us);
  most = strand_throttle_more(throttle, most, now_us);
  s = strand_list_entry(p->ready.next, strand_shard, ready);
  if (most == 0 || !may_join(first->record) || !may_join(s->head)
      || !start(p, s->head))
    return false;
  take(s, most, out);
  out->continuation = true;
  strand_throttle_leased(p, out);
  rotate(p);
  return true;
}
