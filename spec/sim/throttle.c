/*
** throttle.c - routes: what a seed picks for them, and what they may lease
**
** The buckets are counted here as the engine counts them, from the leases that
** were seen: one that goes below nothing was overdrawn.
*/
#include "sim.h"

#define NEARLY 1e-6

static strand_rate pick_rate (world *w, int percent) {
  strand_rate none = { 0, 0 };
  if (!sim_fault(w, FAULT_RATE, percent)) return none;
  if (sim_chance(w, 20)) return (strand_rate){ 2 + sim_pick(w, 20), 60 };
  return (strand_rate){ 20 + sim_pick(w, 5000), 1 + sim_pick(w, 60) };
}

static strand_policy pick_policy (world *w) {
  static const strand_outcome_kind kinds[] = {
    STRAND_OUTCOME_DEAD_LETTER, STRAND_OUTCOME_DEAD_LETTER,
    STRAND_OUTCOME_PARK, STRAND_OUTCOME_SKIP, STRAND_OUTCOME_STOP
  };
  strand_policy policy = { 1 + sim_pick(w, 50000),
                           100000 + sim_pick(w, 1000000),
                           1 + sim_pick(w, 3),
                           sim_pick(w, 3) / 2.0,
                           0,
                           kinds[sim_pick(w, 5)] };
  if (w->faults[FAULT_EXPIRE]) policy.jitter = 0; /* see check_delay */
  if (sim_fault(w, FAULT_ATTEMPTS, 70)) {
    policy.attempts = (uint32_t)(1 + sim_pick(w, 5));
  }
  return policy;
}

static void pick_batch (world *w, strand_route_limits *r) {
  if (!sim_fault(w, FAULT_BATCH, 70)) return;
  r->by = (strand_batch_by)(1 + sim_pick(w, 3));
  r->batch_size = (size_t)(sim_chance(w, 20) ? 100 : 1 + sim_pick(w, 12));
  if (sim_fault(w, FAULT_LINGER, 60)) r->linger_us = sim_pick(w, 300000);
}

void throttle_make (world *w) {
  w->route_count = 1 + sim_pick(w, ROUTES_MAX);
  for (int i = 0; i < w->route_count; i++) {
    strand_route_limits *r = &w->routes[i];
    r->policy = pick_policy(w);
    r->rate = pick_rate(w, 50);
    pick_batch(w, r);
    if (sim_fault(w, FAULT_CALLS, 50)) {
      r->max_in_flight = (size_t)(1 + sim_pick(w, 5));
    }
  }
  w->config.rate = pick_rate(w, 50);
  w->config.routes = w->routes;
  w->config.route_count = (size_t)w->route_count;
}

bool throttle_any (const world *w) {
  return w->faults[FAULT_BATCH] || w->faults[FAULT_RATE]
         || w->faults[FAULT_CALLS];
}

/*
** Buckets and calls (I13)
*/

static void fill (bucket *b, const strand_rate *rate, int64_t now_us) {
  b->tokens += (double)(now_us - b->filled_us) / 1e6 * rate->per_second;
  b->filled_us = now_us;
  if (b->tokens > rate->burst) b->tokens = rate->burst;
}

void throttle_open (world *w, int m) {
  member *me = &w->members[m];
  me->bucket = (bucket){ w->config.rate.burst, w->now_us };
  for (int i = 0; i < w->route_count; i++) {
    me->buckets[i] = (bucket){ w->routes[i].rate.burst, w->now_us };
    me->calls[i] = 0;
  }
}

static void spend (world *w, bucket *b, const strand_rate *rate,
                   uint32_t count) {
  if (rate->per_second <= 0) return;
  fill(b, rate, w->now_us);
  b->tokens -= count;
  CHECK(b->tokens >= -NEARLY, "I13: %u records, and then %f tokens", count,
        b->tokens);
}

static void refund (world *w, bucket *b, const strand_rate *rate,
                    uint32_t count) {
  fill(b, rate, w->now_us);
  b->tokens += count;
  if (b->tokens > rate->burst) b->tokens = rate->burst;
}

void throttle_fill (world *w, int m) {
  member *me = &w->members[m];
  fill(&me->bucket, &w->config.rate, w->now_us);
  for (int i = 0; i < w->route_count; i++) {
    fill(&me->buckets[i], &w->routes[i].rate, w->now_us);
  }
}

void throttle_leased (world *w, const mlease *l) {
  member *me = &w->members[l->member];
  int route = w->parts[l->part].route;
  const strand_route_limits *r = &w->routes[route];
  spend(w, &me->bucket, &w->config.rate, l->lease.count);
  spend(w, &me->buckets[route], &r->rate, l->lease.count);
  if (l->nth > 0) return;
  CHECK(r->max_in_flight == 0 || me->calls[route] < r->max_in_flight,
        "I13: %zu calls of route %d", me->calls[route] + 1, route);
  me->calls[route]++;
}

void throttle_left (world *w, const mlease *l, uint32_t unstarted) {
  member *me = &w->members[l->member];
  int route = w->parts[l->part].route;
  if (l->stale || unstarted == 0) return;
  refund(w, &me->bucket, &w->config.rate, unstarted);
  refund(w, &me->buckets[route], &w->routes[route].rate, unstarted);
}

void throttle_ended (world *w, const mlease *l) {
  if (l->nth == 0) w->members[l->member].calls[w->parts[l->part].route]--;
}

/*
** Batches (I14)
*/

static const slot *first_of (const world *w, const mlease *l) {
  const part *p = &w->parts[l->part];
  return &p->slots[log_slot(p, l->lease.record->offset)];
}

void throttle_batch (world *w, int first, size_t count) {
  const mlease *l = &w->leases[first];
  int route = w->parts[l->part].route, leases = w->lease_count - first;
  const strand_route_limits *r = &w->routes[route];
  bool alone = first_of(w, l)->attempt == 0;
  CHECK(count <= r->batch_size, "I14: a batch of %zu", count);
  for (int i = first; i < w->lease_count; i++) {
    const mlease *m = &w->leases[i];
    CHECK(w->parts[m->part].route == route, "I14: of two routes");
    CHECK(leases == 1 || (alone && first_of(w, m)->attempt == 0),
          "I14: what failed comes alone");
    CHECK(r->by != STRAND_BATCH_MIXED || m->lease.count == 1,
          "I14: two records of one shard");
    CHECK(r->by != STRAND_BATCH_PARTITION || m->part == l->part,
          "I14: of two partitions");
  }
  CHECK(r->by != STRAND_BATCH_KEY || leases == 1, "I14: of two shards");
  linger_batch(w, first, count);
}
