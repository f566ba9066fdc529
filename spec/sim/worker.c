/*
** worker.c - model workers: leases handed over, handlers that begin and end
*/
#include <stdlib.h>

#include "sim.h"

static slot *slot_of (world *w, const mlease *l) {
  return &w->parts[l->part].slots[l->slot];
}

/* It never came, or has left its shard's order; but one that is parked after
** it came back holds the shard as any other. */
static bool is_out_of_order (const slot *s) {
  if (s->alone) {
    return s->state != SLOT_LEASED && (s->state != SLOT_PARKED || s->detached);
  }
  return s->state == SLOT_SENDING || (!s->exists && s->state == SLOT_AWAY);
}

/* It is not in the way of those behind it. */
static bool is_gone (const slot *s) {
  return s->state == SLOT_DONE || s->state == SLOT_SENDING
         || (s->detached && s->state == SLOT_PARKED)
         || (!s->exists && s->state == SLOT_AWAY);
}

bool worker_is_next (const part *p, const slot *s) {
  int i = s->before;
  while (i >= p->checked && is_gone(&p->slots[i])) i = p->slots[i].before;
  return i < p->checked;
}

/* The record before it in its shard is done, or does not exist (I2). */
static void check_before (const part *p, const slot *s) {
  int i = s->before;
  while (i >= 0 && is_out_of_order(&p->slots[i])) i = p->slots[i].before;
  CHECK(i < 0 || p->slots[i].state == SLOT_DONE, "I2: %lld before %lld",
        (long long)(p->base + (s - p->slots)), (long long)(p->base + i));
}

/* Every record of a new lease may run now, and they follow each other. */
static void take_records (world *w, const mlease *l) {
  part *p = &w->parts[l->part];
  const strand_record *r = l->lease.record;
  const slot *last = NULL;
  for (uint32_t k = 0; k < l->lease.count; k++, r = r->behind) {
    int i = log_slot(p, r->offset);
    slot *s = &p->slots[i];
    CHECK(i >= 0 && i < p->visible && s->state == SLOT_IN,
          "I3: lease of %lld, which is not waiting", (long long)r->offset);
    CHECK(r->attempt == s->attempt + 1, "attempt %d of %lld", (int)r->attempt,
          (long long)r->offset);
    CHECK(s->due_us <= w->now_us, "%lld runs before it is due",
          (long long)r->offset);
    CHECK(k == 0 || (s->attempt == 0 && last->attempt == 0),
          "a retried record comes alone");
    CHECK(k == 0 || s - p->slots - l->slot < STRAND_LEASE_SPAN, "span");
    if (k == 0) check_before(p, s);
    else {
      int before = s->before; /* what was marked done is in between */
      while (before >= 0
             && (p->slots[before].state == SLOT_DONE
                 || is_out_of_order(&p->slots[before]))) {
        before = p->slots[before].before;
      }
      CHECK(before == last - p->slots, "I2: a lease jumps");
    }
    s->state = SLOT_LEASED;
    last = s;
  }
}

static mlease *add_lease (world *w) {
  if (w->lease_count == w->lease_capacity) {
    w->lease_capacity = w->lease_capacity == 0 ? 64 : w->lease_capacity * 2;
    w->leases = realloc(w->leases,
                        (size_t)w->lease_capacity * sizeof(*w->leases));
  }
  return &w->leases[w->lease_count++];
}

/* By key, where no payload can be full and no throttle closes: what can start
** gets its turn. */
static void check_turns (world *w, int m, int leased) {
  if (w->config.ordering != STRAND_BY_KEY || w->faults[FAULT_TINY]
      || w->faults[FAULT_CONFIGURE] || w->faults[FAULT_REFUSE]
      || throttle_any(w))
    return;
  for (int i = 0; i < w->partition_count; i++) {
    part *p = &w->parts[i];
    if (i == leased || p->owner != m || !p->restored || p->paused
        || p->revoking
        || strand_engine_startable(w->members[m].engine, p->live) == 0) {
      p->passed = 0;
    }
    else
      CHECK(++p->passed <= w->partition_count * STRAND_TURN_LEASES,
            "%d is passed over", i);
  }
}

/* 'nth' of its call, of at most 'most' records. */
static void take (world *w, int m, const strand_lease *lease, int nth,
                  size_t most) {
  mlease *l = add_lease(w);
  part *p;
  bool *busy;
  *l = (mlease){ .lease = *lease,
                 .member = m,
                 .epoch = lease->epoch,
                 .call = w->calls,
                 .nth = nth,
                 .leases = 1 };
  l->part = (int)(intptr_t)strand_partition_opaque(lease->partition);
  p = &w->parts[l->part];
  CHECK(p->live == lease->partition && p->owner == m
          && p->epoch == lease->epoch,
        "I7: a lease of a dead epoch");
  CHECK(p->restored && !p->paused && !p->revoking, "I7: partition %d may not",
        l->part);
  CHECK(lease->count > 0 && lease->count <= most, "size of a lease");
  l->slot = log_slot(p, lease->record->offset);
  busy = log_busy(w, p, &p->slots[l->slot]);
  CHECK(!*busy, "I2: a second lease of the shard of %lld",
        (long long)lease->record->offset);
  *busy = true;
  take_records(w, l);
  throttle_leased(w, l);
  check_turns(w, m, l->part);
  w->handed++;
  sim_note(w, "lease", m, l->part, lease->record->offset, lease->count);
}

/* Other leases for the call that 'first' began. */
static void take_more (world *w, int m, int first, size_t most) {
  size_t count = w->leases[first].lease.count;
  strand_lease lease, begun = w->leases[first].lease;
  while (count < most
         && strand_engine_lease_more(w->members[m].engine, &begun,
                                     most - count, w->now_us, &lease)) {
    take(w, m, &lease, w->lease_count - first, most - count);
    count += lease.count;
  }
  for (int i = first; i < w->lease_count; i++) {
    w->leases[i].leases = w->lease_count - first;
  }
  throttle_batch(w, first, count);
}

bool worker_lease (world *w, int m) {
  strand_lease lease;
  const strand_route_limits *r;
  bool leased, asked = sim_chance(w, 2);
  size_t most = (size_t)(sim_chance(w, 50) ? 100 : 1 + sim_pick(w, 8));
  if (w->handed >= w->max_handed) return false;
  if (asked) strand_engine_tick(w->members[m].engine, w->now_us);
  leased = strand_engine_lease(w->members[m].engine, most, w->now_us, &lease);
  waiting_sync(w, m);
  if (!leased) {
    if (asked) linger_refused(w, m);
    return false;
  }
  w->calls++;
  take(w, m, &lease, 0, most);
  r = &w->routes[w->parts[w->leases[w->lease_count - 1].part].route];
  if (r->by == STRAND_BATCH_NONE) {
    CHECK(lease.count <= STRAND_LEASE_RECORDS, "size of a lease");
  }
  else take_more(w, m, w->lease_count - 1, r->batch_size);
  return true;
}

/*
** Outcomes
*/

static void forget (world *w, int index) {
  mlease *l = &w->leases[index];
  *log_busy(w, &w->parts[l->part], slot_of(w, l)) = false;
  if (!l->running) w->handed--;
  else if (l->nth == 0) w->running--;
  throttle_ended(w, l);
  *l = w->leases[--w->lease_count];
}

/* The first lease of a call that is left; -1 for none. */
static int first_left (const world *w, uint64_t call) {
  int found = -1;
  for (int i = 0; i < w->lease_count; i++) {
    if (w->leases[i].call != call) continue;
    if (found < 0 || w->leases[i].nth < w->leases[found].nth) found = i;
  }
  return found;
}

/* A handler with a batch returns: each record has ended somehow. */
static void finish_batch (world *w, uint64_t call) {
  int i;
  while ((i = first_left(w, call)) >= 0) {
    while (w->leases[i].lease.count > 0) outcome_end(w, &w->leases[i]);
    forget(w, i);
  }
}

/* A handler of the lease returns; or several in a row, as a harvest sees. */
static void finish (world *w, int index) {
  mlease *l = &w->leases[index];
  uint32_t count = (uint32_t)sim_pick(w, (int)l->lease.count);
  outcome_end(w, l);
  if (count > l->lease.count) count = l->lease.count;
  if (count > 0) outcome_done(w, l, count);
  if (l->lease.count == 0) {
    forget(w, index);
    return;
  }
  if (sim_fault(w, FAULT_RECALL, 30)) { /* its stop flag was seen */
    outcome_back(w, l);
    forget(w, index);
  }
}

static bool is_batch (const world *w, const mlease *l) {
  return w->routes[w->parts[l->part].route].by != STRAND_BATCH_NONE;
}

static void begin (world *w, mlease *l) {
  int64_t until = sim_fault(w, FAULT_SLOW, 2)
                    ? w->now_us + sim_pick(w, 3000000)
                    : 0;
  int left = l->leases;
  uint64_t call = l->call;
  for (int i = 0; left > 0; i++) {
    l = &w->leases[i];
    if (l->call != call) continue;
    l->running = true;
    l->until_us = until;
    w->handed--;
    left--;
  }
  w->running++;
}

bool worker_step (world *w) {
  int index;
  mlease *l;
  if (w->lease_count == 0) return false;
  index = sim_pick(w, w->lease_count);
  l = &w->leases[index];
  if (!l->running) {
    if (w->running >= w->workers) return false;
    begin(w, l);
    if (l->until_us > 0) return true;
  }
  if (sim_fault(w, FAULT_EXPIRE, 5)) outcome_expire(w, l);
  if (l->until_us > w->now_us) return false;
  if (is_batch(w, l)) finish_batch(w, l->call);
  else finish(w, index);
  return true;
}

int64_t worker_next (const world *w) {
  int64_t next = INT64_MAX;
  for (int i = 0; i < w->lease_count; i++) {
    int64_t until = w->leases[i].until_us;
    if (until > w->now_us && until < next) next = until;
  }
  return next;
}

/*
** Recall and revoke
*/

/* What no worker has begun comes back, calls as a whole; index -1: of any
** partition. */
void worker_recall (world *w, int m, int index, int percent) {
  for (int i = w->lease_count - 1; i >= 0; i--) {
    const mlease *l;
    uint64_t call;
    int next;
    if (i >= w->lease_count) continue;
    l = &w->leases[i];
    call = l->call;
    if (l->running || l->stale || l->member != m) continue;
    if (index >= 0 && l->part != index) continue;
    if (!sim_chance(w, percent)) continue;
    while ((next = first_left(w, call)) >= 0) {
      outcome_back(w, &w->leases[next]);
      forget(w, next);
    }
  }
}

int worker_revoked (world *w, int index) {
  int count = 0;
  for (int i = 0; i < w->lease_count; i++) {
    mlease *l = &w->leases[i];
    if (l->part != index || l->stale) continue;
    l->stale = true;
    count++;
  }
  return count;
}

void worker_drop (world *w) {
  while (w->lease_count > 0) {
    mlease *l = &w->leases[w->lease_count - 1];
    CHECK(strand_engine_give_back(w->members[l->member].engine, &l->lease)
            == STRAND_OK,
          "memory");
    forget(w, w->lease_count - 1);
  }
}
