/*
** linger.c - what a batch may wait for, and what it may not (I17)
**
** Counted from the records that the engine was given and not from its lists:
** where a lease was refused, there is nothing that should have been one; and
** a batch that went has what it could have.
*/
#include "sim.h"

#define ROUNDING_US 2000 /* ages are kept in milliseconds */
#define SECONDS 1.0      /* a batch waits for its tokens, at least */

/* What the next call of a route could take. */
typedef struct pile {
  size_t count;
  int64_t oldest_us;
  bool ends;
  bool unsure; /* one that was parked by itself may be among them, or not */
} pile;

static bool leases (const world *w, const part *p, int m) {
  (void)w;
  return p->owner == m && p->restored && !p->paused && !p->revoking;
}

/* One that was parked alone may be behind another that waits. */
static bool is_head (world *w, const part *p, int i) {
  slot *s = &p->slots[i];
  return s->state == SLOT_IN && s->due_us <= w->now_us && !s->alone
         && !*log_busy(w, p, s) && worker_is_next(p, s);
}

/* Those behind the head that one lease could take with it. Of a partition in
** order no other may join those before one that is too far. */
static size_t behind (world *w, const part *p, int head, size_t most,
                      bool *ends) {
  const bool *shard = log_busy(w, p, &p->slots[head]);
  size_t count = 0;
  if (!log_keyed(w, &p->slots[head])) return 0;
  for (int i = head + 1; i < p->next && count < most; i++) {
    slot *s = &p->slots[i];
    bool far = i - head >= STRAND_LEASE_SPAN;
    if (far && w->config.ordering != STRAND_BY_PARTITION) break;
    if (log_busy(w, p, s) != shard || s->state != SLOT_IN) continue;
    *ends = *ends || far;
    if (far) break;
    if (s->attempt > 0) break;
    count++;
  }
  return count;
}

static void add_head (world *w, pile *to, const part *p, int i, bool whole,
                      size_t most) {
  const slot *s = &p->slots[i];
  if (to->count == 0 || s->polled_us < to->oldest_us) {
    to->oldest_us = s->polled_us;
  }
  to->ends = to->ends || s->attempt > 0;
  to->count++;
  if (whole && to->count < most) {
    to->count += behind(w, p, i, most - to->count, &to->ends);
  }
}

static void add_part (world *w, pile *to, int index, bool whole, size_t most) {
  const part *p = &w->parts[index];
  for (int i = p->checked; i < p->next && to->count < most; i++) {
    const slot *s = &p->slots[i];
    to->unsure = to->unsure || s->alone || s->state == SLOT_RESOLVED;
    if (is_head(w, p, i)) add_head(w, to, p, i, whole, most);
  }
}

/*
** Limits
*/

static size_t within (size_t most, double records) {
  if (records >= (double)most) return most;
  return records < 1 ? 1 : (size_t)records;
}

static size_t rate_within (size_t most, const strand_rate *rate,
                           double records) {
  return rate->per_second > 0 ? within(most, records) : most;
}

static size_t size_of (const world *w, int route) {
  const strand_route_limits *r = &w->routes[route];
  size_t size = r->by == STRAND_BATCH_NONE ? 1 : r->batch_size;
  size = rate_within(size, &r->rate, r->rate.burst);
  return rate_within(size, &w->config.rate, w->config.rate.burst);
}

/* Tokens that a batch of 'count' may wait for. */
static size_t worth (const world *w, int route, size_t count) {
  const strand_route_limits *r = &w->routes[route];
  double seconds = (double)r->linger_us / 1e6;
  size_t size = size_of(w, route);
  if (seconds < SECONDS || count < size) seconds = SECONDS;
  if (count < size) size = count > 0 ? count : 1;
  size = rate_within(size, &r->rate, r->rate.per_second * seconds);
  return rate_within(size, &w->config.rate,
                     w->config.rate.per_second * seconds);
}

static bool has_tokens (const bucket *b, const strand_rate *rate,
                        size_t count) {
  return rate->per_second <= 0 || b->tokens >= (double)count;
}

/*
** What may come
*/

static bool may_read (const world *w, const part *p) {
  return strand_engine_may_read(w->members[p->owner].engine, p->live);
}

/* Something may come for a call of 'index', or (mixed) of its route. */
static bool may_grow (world *w, int m, int index) {
  int route = w->parts[index].route;
  bool stops = false;
  if (w->routes[route].by != STRAND_BATCH_MIXED) {
    return may_read(w, &w->parts[index]);
  }
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    pile there = { 0 };
    if (p->route != route || !leases(w, p, m)) continue;
    if (may_read(w, p)) {
      if (!p->drained) return true;
      continue;
    }
    add_part(w, &there, i, false, 1);
    stops = stops || there.count > 0;
  }
  return !stops;
}

/*
** A lease was refused
*/

/* The consumer's tokens are for whoever is first. */
static size_t most_worth (const world *w) {
  size_t most = 1;
  for (int i = 0; i < w->route_count; i++) {
    size_t its = worth(w, i, SIZE_MAX);
    if (its > most) most = its;
  }
  return most;
}

/* Records of the call, as far as is known: by key another may be before it, and
** one that failed before ends it, but how many are before that one is the
** engine's own order. */
static size_t known_count (const strand_route_limits *r, const pile *there) {
  return r->by == STRAND_BATCH_KEY || there->ends || there->unsure
           ? SIZE_MAX
           : there->count;
}

/* The call that these records are for has nothing to wait for. */
static void check_waits (world *w, int m, int index, const pile *there) {
  const member *me = &w->members[m];
  int route = w->parts[index].route;
  const strand_route_limits *r = &w->routes[route];
  bool whole, aged;
  if (there->count == 0) return;
  whole = r->by == STRAND_BATCH_NONE || there->ends || me->stopped
          || there->count >= size_of(w, route) || !may_grow(w, m, index);
  aged = w->now_us - there->oldest_us
         >= r->linger_us + (r->linger_us > 0 ? ROUNDING_US : 0);
  if (!whole && !aged) return;
  if (!has_tokens(&me->buckets[route], &r->rate,
                  worth(w, route, known_count(r, there)))) {
    return;
  }
  CHECK(false,
        "I17: %zu of %zu records of partition %d wait for nothing%s%s%s"
        "; %lld of %lld us",
        there->count, size_of(w, route), index,
        there->ends ? ": no other may join" : "",
        me->stopped ? ": no intake" : "",
        may_grow(w, m, index) ? "" : ": no more may come",
        (long long)(w->now_us - there->oldest_us), (long long)r->linger_us);
}

static void check_heads (world *w, int m, int index) {
  const part *p = &w->parts[index];
  size_t size = size_of(w, p->route);
  int left = 20;
  for (int i = p->checked; i < p->next && left > 0; i++) {
    pile there = { 0 };
    if (!is_head(w, p, i)) continue;
    add_head(w, &there, p, i, true, size);
    if (!log_keyed(w, &p->slots[i])) there.ends = true;
    check_waits(w, m, index, &there);
    left--;
  }
}

static void check_mixed (world *w, int m, int route) {
  pile there = { 0 };
  int first = -1;
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    if (p->route != route || !leases(w, p, m)) continue;
    add_part(w, &there, i, false, size_of(w, route));
    if (first < 0) first = i;
  }
  if (first >= 0) check_waits(w, m, first, &there);
}

static void check_route (world *w, int m, int route) {
  const strand_route_limits *r = &w->routes[route];
  if (r->max_in_flight > 0 && w->members[m].calls[route] >= r->max_in_flight)
    return;
  if (r->by == STRAND_BATCH_MIXED) {
    check_mixed(w, m, route);
    return;
  }
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    pile there = { 0 };
    if (p->route != route || !leases(w, p, m)) continue;
    if (r->by == STRAND_BATCH_KEY) check_heads(w, m, i);
    else {
      add_part(w, &there, i, r->by == STRAND_BATCH_PARTITION,
               size_of(w, route));
      check_waits(w, m, i, &there);
    }
  }
}

/* Payloads are not modelled, nor shards that are orphans until their release
** was heard of. */
static bool is_simple (const world *w) {
  return !w->faults[FAULT_TINY] && !w->faults[FAULT_CONFIGURE]
         && !w->faults[FAULT_REFUSE] && w->release_count == 0;
}

void linger_refused (world *w, int m) {
  member *me = &w->members[m];
  if (!is_simple(w)) return;
  throttle_fill(w, m);
  if (!has_tokens(&me->bucket, &w->config.rate, most_worth(w))) return;
  for (int i = 0; i < w->route_count; i++) check_route(w, m, i);
}

/*
** A batch went
*/

static bool any_retry (world *w, int route, int m) {
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    if (p->route != route || p->owner != m || !p->failed) continue;
    for (int k = p->checked; k < p->next; k++) {
      const slot *s = &p->slots[k];
      if (s->attempt == 0 || s->due_us > w->now_us) continue;
      if (s->state == SLOT_IN || s->state == SLOT_RESOLVED) return true;
    }
  }
  return false;
}

static bool all_may_be_read (const world *w, int route, int m) {
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    if (p->route == route && leases(w, p, m) && !may_read(w, p)) return false;
  }
  return true;
}

/* Records that could have gone with it. */
static size_t left_behind (world *w, int route, int m, size_t most) {
  pile there = { 0 };
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    if (p->route == route && leases(w, p, m)) {
      add_part(w, &there, i, false, most);
    }
  }
  return there.count;
}

/* What ended it, if nothing else did, was a rate. */
static void check_cut (world *w, int route, int m, size_t count) {
  size_t size = size_of(w, route);
  size_t there = count + left_behind(w, route, m, size);
  CHECK(count >= worth(w, route, there), "I17: a rate made %zu records of %zu",
        count, there);
}

static int64_t oldest_of (const world *w, int first) {
  int64_t oldest = INT64_MAX;
  for (int i = first; i < w->lease_count; i++) {
    const mlease *l = &w->leases[i];
    const slot *s = &w->parts[l->part].slots[l->slot];
    if (s->polled_us < oldest) oldest = s->polled_us;
  }
  return oldest;
}

void linger_batch (world *w, int first, size_t count) {
  const mlease *l = &w->leases[first];
  int m = l->member, route = w->parts[l->part].route;
  const strand_route_limits *r = &w->routes[route];
  const member *me = &w->members[m];
  int64_t age = w->now_us - oldest_of(w, first);
  if (r->by != STRAND_BATCH_MIXED || !is_simple(w)
      || w->parts[l->part].slots[l->slot].attempt > 0
      || any_retry(w, route, m))
    return;
  throttle_fill(w, m);
  check_cut(w, route, m, count);
  if (r->linger_us == 0 || me->stopped || count >= size_of(w, route)
      || age > r->linger_us - 1000 || !all_may_be_read(w, route, m)
      || !has_tokens(&me->bucket, &w->config.rate, 1)
      || !has_tokens(&me->buckets[route], &r->rate, 1))
    return;
  CHECK(false, "I17: %zu records of %zu go after %lld of %lld us", count,
        size_of(w, route), (long long)age, (long long)r->linger_us);
}
