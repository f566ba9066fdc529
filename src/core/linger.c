/*
** linger.c - batches: how large one is by now, and what it waits for
**
** A batch is full when it has its size, or as many records as its rates could
** ever start at once. One that is not full waits for others, until its oldest
** record has lingered, or until none can come: the partition may not be read
** (its budgets are full, it drains), or its payload lets nothing more start.
**
** Where a rate is near its end, a batch waits for as many tokens as it has
** records, or else it would turn into single ones: but for no more than come
** in a second. A batch that is full waits its linger for them, if that is
** longer; one that is not has lingered already.
**
** Batches of one key fill beside each other, in their shards: these wait in
** the partition's 'lingering', the oldest first.
*/
#include <assert.h>

#include "core/engine.h"
#include "core/state.h"

#define TOKENS_SECONDS 1.0

/* What the next batch has by now. */
typedef struct pile {
  size_t count;
  uint32_t oldest_ms; /* when its oldest record was read */
  bool ends;          /* what is next cannot join: it failed, or is too far */
} pile;

/*
** How large a batch gets
*/

static size_t within (size_t most, double records) {
  if (records >= (double)most) return most;
  return records < 1 ? 1 : (size_t)records;
}

static size_t burst_of (size_t most, const strand_rate *rate) {
  return rate->per_second > 0 ? within(most, rate->burst) : most;
}

/* Records of a batch that is full. */
static size_t full_size (const strand_throttle *t, const strand_engine *e) {
  size_t size = burst_of(t->limits.batch_size, &t->limits.rate);
  return burst_of(size, &e->config.rate);
}

static size_t soon_of (size_t most, const strand_rate *rate, double seconds) {
  if (rate->per_second <= 0) return most;
  return within(most, rate->per_second * seconds);
}

/* Tokens that a batch of 'count' records, of at most 'size', waits for. */
static size_t worth (const strand_throttle *t, const strand_engine *e,
                     size_t count, size_t size) {
  double seconds = (double)t->limits.linger_us / 1e6;
  if (count == 0) return 1;
  if (seconds < TOKENS_SECONDS || count < size) seconds = TOKENS_SECONDS;
  if (count > size) count = size;
  count = soon_of(count, &t->limits.rate, seconds);
  return soon_of(count, &e->config.rate, seconds);
}

/*
** What there is
*/

static void add_age (pile *to, const strand_record *r) {
  if (to->count == 0 || (int32_t)(r->polled_ms - to->oldest_ms) < 0) {
    to->oldest_ms = r->polled_ms;
  }
}

/* One lease does not take it with the head. Those without an order are leases
** of their own. */
static bool is_far (const strand_shard *s, const strand_record *r) {
  return strand_shard_keyed(s)
         && r->offset - s->head->offset >= STRAND_LEASE_SPAN;
}

/* Consecutive records that may go together. Where a partition is one shard, no
** other may join what is before one that is too far. */
static void add_shard (pile *to, const strand_shard *s, size_t most) {
  const strand_record *r = s->head;
  add_age(to, r);
  for (; r != NULL && to->count < most; r = r->behind, to->count++) {
    bool far = is_far(s, r);
    if (r->attempt > 1 || (far && s->kind == STRAND_SHARD_PARTITION)) {
      to->ends = true;
    }
    if (far || to->ends) return;
  }
}

static void add_partition (pile *to, const strand_partition *p, size_t most) {
  bool mixed = p->throttle->limits.by == STRAND_BATCH_MIXED;
  const strand_link *l = p->ready.next;
  for (; l != &p->ready && to->count < most && !to->ends; l = l->next) {
    const strand_shard *s = strand_list_entry(l, strand_shard, ready);
    bool one = mixed && strand_shard_keyed(s);
    add_shard(to, s, one ? to->count + 1 : most);
  }
}

/* Of all partitions of that route that may lease. */
static void add_route (pile *to, const strand_engine *e,
                       const strand_throttle *t, size_t most) {
  const strand_link *l = e->partitions.next;
  for (; l != &e->partitions && to->count < most && !to->ends; l = l->next) {
    const strand_partition *p = strand_list_entry(l, strand_partition, link);
    if (p->throttle == t && !strand_list_empty(&p->runnable)) {
      add_partition(to, p, most);
    }
  }
}

static pile pile_of (const strand_partition *p, size_t most) {
  pile to = { 0 };
  const strand_link *first = strand_list_empty(&p->ready) ? p->lingering.next
                                                          : p->ready.next;
  switch (p->throttle->limits.by) {
    case STRAND_BATCH_MIXED:
      add_route(&to, p->engine, p->throttle, most);
      break;
    case STRAND_BATCH_PARTITION: add_partition(&to, p, most); break;
    default: {
      const strand_shard *s = strand_list_entry(first, strand_shard, ready);
      add_shard(&to, s, strand_shard_keyed(s) ? most : 1);
      to.ends = to.ends || !strand_shard_keyed(s);
    }
  }
  return to;
}

/*
** What may come
*/

/* What was read last may not start. */
static bool is_shut (const strand_partition *p) {
  const strand_record *last;
  if (p->full) return true;
  if (strand_list_empty(&p->records)) return false;
  last = strand_list_entry(p->records.prev, strand_record, link);
  if (last->flags & (STRAND_RECORD_LEASED | STRAND_RECORD_WAITING))
    return false;
  return !strand_offsets_may_start(p->offsets, last->offset,
                                   p->engine->metadata.limit);
}

static bool gives_more (const strand_partition *p) {
  return strand_engine_may_read(p->engine, p) && !is_shut(p);
}

/* Of a mixed batch's partitions one that has nothing to read for now does not
** make those wait whose budgets are full. */
static bool route_gives_more (const strand_engine *e,
                              const strand_throttle *t) {
  bool stops = false;
  const strand_link *l = e->partitions.next;
  for (; l != &e->partitions; l = l->next) {
    const strand_partition *p = strand_list_entry(l, strand_partition, link);
    if (p->throttle != t) continue;
    if (!gives_more(p)) stops = stops || !strand_list_empty(&p->runnable);
    else if (!p->drained) return true;
  }
  return !stops;
}

static bool may_grow (const strand_partition *p) {
  if (p->throttle->limits.by == STRAND_BATCH_MIXED) {
    return route_gives_more(p->engine, p->throttle);
  }
  return gives_more(p);
}

static bool lingers (const strand_throttle *t) {
  return t->limits.linger_us > 0 && t->limits.by != STRAND_BATCH_NONE;
}

/*
** When it starts
*/

/* When what was read at 'polled_ms' has lingered; 0: it has. */
static int64_t age_due (const strand_throttle *t, uint32_t polled_ms,
                        int64_t now_us) {
  int64_t linger_ms = (t->limits.linger_us + 999) / 1000, age_ms;
  age_ms = (uint32_t)(now_us / 1000) - polled_ms;
  return age_ms >= linger_ms ? 0 : (now_us / 1000 + linger_ms - age_ms) * 1000;
}

static bool has_rate (const strand_throttle *t, const strand_engine *e) {
  return t->limits.rate.per_second > 0 || e->config.rate.per_second > 0;
}

strand_start strand_linger_start (const strand_partition *p, int64_t now_us) {
  const strand_throttle *t = p->throttle;
  const strand_engine *e = p->engine;
  bool waits = lingers(t);
  size_t size;
  pile now;
  if (t->limits.by == STRAND_BATCH_NONE || (!waits && !has_rate(t, e))) {
    return (strand_start){ 0, 1 };
  }
  size = full_size(t, e);
  now = pile_of(p, size);
  if (now.ends || now.count >= size || !may_grow(p)) {
    waits = false;
  }
  if (t->limits.by == STRAND_BATCH_KEY && !strand_list_empty(&p->ready)) {
    waits = false; /* it has waited */
  }
  return (strand_start){ waits ? age_due(t, now.oldest_ms, now_us) : 0,
                         worth(t, e, now.count, size) };
}

bool strand_linger_full (const strand_partition *p) {
  size_t size = full_size(p->throttle, p->engine);
  pile now;
  if (p->throttle->limits.by == STRAND_BATCH_KEY) {
    return !strand_list_empty(&p->ready);
  }
  now = pile_of(p, size);
  return now.ends || now.count >= size;
}

bool strand_engine_short (const strand_engine *e, const strand_partition *p) {
  (void)e;
  return p->closed && p->throttle->limits.by != STRAND_BATCH_NONE
         && !strand_linger_full(p);
}

/*
** Batches of one key
*/

static bool is_full (const strand_shard *s) {
  const strand_partition *p = s->partition;
  return s->head->attempt > 1 || s->count >= full_size(p->throttle, p->engine)
         || s->tail->offset - s->head->offset >= STRAND_LEASE_SPAN;
}

/* Behind its head is one that failed before, and has come back. */
static bool ends (const strand_shard *s) {
  const strand_partition *p = s->partition;
  pile now = { 0 };
  if (!p->reentered) return false;
  add_shard(&now, s, full_size(p->throttle, p->engine));
  return now.ends;
}

bool strand_linger_wants (const strand_shard *s) {
  const strand_partition *p = s->partition;
  return p->throttle->limits.by == STRAND_BATCH_KEY && strand_shard_keyed(s)
         && lingers(p->throttle) && !is_full(s) && !ends(s);
}

static strand_shard *first_lingering (const strand_partition *p) {
  if (strand_list_empty(&p->lingering)) return NULL;
  return strand_list_entry(p->lingering.next, strand_shard, ready);
}

void strand_linger_enter (strand_shard *s) {
  strand_partition *p = s->partition;
  strand_link *at = p->lingering.prev;
  while (at != &p->lingering) {
    const strand_shard *before = strand_list_entry(at, strand_shard, ready);
    if ((int32_t)(s->head->polled_ms - before->head->polled_ms) >= 0) break;
    at = at->prev;
  }
  strand_list_push_front(at, &s->ready);
  s->state = SHARD_LINGERING;
  strand_partition_runnable(p);
}

void strand_linger_leave (strand_shard *s) {
  if (s->state != SHARD_LINGERING) return;
  strand_list_remove(&s->ready);
  strand_shard_enlist(s, false);
}

void strand_linger_record_entered (strand_shard *s) {
  if (s->state == SHARD_LINGERING && is_full(s)) strand_linger_leave(s);
}

void strand_linger_due (strand_partition *p, int64_t now_us) {
  strand_shard *s;
  while ((s = first_lingering(p)) != NULL
         && age_due(p->throttle, s->head->polled_ms, now_us) == 0) {
    strand_linger_leave(s);
  }
  if (s != NULL && strand_list_empty(&p->ready) && !may_grow(p)) {
    strand_linger_leave(s);
  }
}

void strand_linger_again (strand_partition *p) {
  strand_link *l = p->lingering.next, *after;
  for (; l != &p->lingering; l = after) {
    strand_shard *s = strand_list_entry(l, strand_shard, ready);
    after = l->next;
    if (!strand_linger_wants(s)) strand_linger_leave(s);
  }
}
