/*
** worker.c - model workers: leases handed over, handlers that begin and end
*/
#include <stdlib.h>

#include "sim.h"

static slot *slot_of (world *w, const mlease *l) {
  return &w->parts[l->part].slots[l->slot];
}

/* The record before it in its shard is done, or does not exist (I2). */
static void check_before (const part *p, const slot *s) {
  int i = s->before;
  while (i >= 0 && !p->slots[i].exists && p->slots[i].state == SLOT_AWAY) {
    i = p->slots[i].before;
  }
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
    CHECK(r->attempt == s->attempt + 1, "attempt %d of %lld",
          (int)r->attempt, (long long)r->offset);
    CHECK(s->due_us <= w->now_us, "%lld runs before it is due",
          (long long)r->offset);
    CHECK(k == 0 || (s->attempt == 0 && last->attempt == 0),
          "a retried record comes alone");
    CHECK(k == 0 || s - p->slots - l->slot < STRAND_LEASE_SPAN, "span");
    if (k == 0) check_before(p, s);
    else {
      int before = s->before; /* what was marked done is in between */
      while (before >= 0 && p->slots[before].state == SLOT_DONE) {
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

/* By key, where no payload can be full: what can start gets its turn. */
static void check_turns (world *w, int m, int leased) {
  if (w->config.ordering != STRAND_BY_KEY || w->faults[FAULT_TINY]
      || w->faults[FAULT_CONFIGURE]) return;
  for (int i = 0; i < w->partition_count; i++) {
    part *p = &w->parts[i];
    if (i == leased || p->owner != m || !p->restored || p->paused
        || p->revoking
        || strand_engine_startable(w->members[m].engine, p->live) == 0) {
      p->passed = 0;
    }
    else CHECK(++p->passed <= w->partition_count * STRAND_TURN_LEASES,
               "%d is passed over", i);
  }
}

bool worker_lease (world *w, int m) {
  strand_lease lease;
  mlease *l;
  part *p;
  bool *busy;
  size_t most = (size_t)(sim_chance(w, 50) ? 64 : 1 + sim_pick(w, 8));
  if (w->lease_count - w->running >= w->max_handed) return false;
  if (!strand_engine_lease(w->members[m].engine, most, w->now_us,
                           &lease)) return false;
  l = add_lease(w);
  *l = (mlease){ .lease = lease, .member = m, .epoch = lease.epoch };
  l->part = (int)(intptr_t)strand_partition_tag(lease.partition);
  p = &w->parts[l->part];
  CHECK(p->live == lease.partition && p->owner == m
        && p->epoch == lease.epoch, "I7: a lease of a dead epoch");
  CHECK(p->restored && !p->paused && !p->revoking, "I7: partition %d may not",
        l->part);
  CHECK(lease.count > 0 && lease.count <= most
        && lease.count <= STRAND_LEASE_RECORDS, "size of a lease");
  l->slot = log_slot(p, lease.record->offset);
  busy = log_busy(w, p, &p->slots[l->slot]);
  CHECK(!*busy, "I2: a second lease of the shard of %lld",
        (long long)lease.record->offset);
  *busy = true;
  take_records(w, l);
  check_turns(w, m, l->part);
  sim_note(w, "lease", m, l->part, lease.record->offset, lease.count);
  return true;
}

/*
** Outcomes
*/

static void forget (world *w, int index) {
  mlease *l = &w->leases[index];
  *log_busy(w, &w->parts[l->part], slot_of(w, l)) = false;
  if (l->running) w->running--;
  *l = w->leases[--w->lease_count];
}

/* The first 'count' handlers have returned; of a stale lease the epoch knows
** nothing. */
static void mark_done (world *w, mlease *l, uint32_t count) {
  part *p = &w->parts[l->part];
  const strand_record *r = l->lease.record;
  for (uint32_t k = 0; k < count; k++, r = r->behind) {
    slot *s = &p->slots[log_slot(p, r->offset)];
    s->finished = true;
    if (l->stale) continue;
    s->state = SLOT_DONE;
    p->inside--;
    if (r->offset > p->high) p->high = r->offset;
  }
}

static void mark_back (world *w, mlease *l) {
  part *p = &w->parts[l->part];
  const strand_record *r = l->lease.record;
  if (l->stale) return;
  for (uint32_t k = 0; k < l->lease.count; k++, r = r->behind) {
    p->slots[log_slot(p, r->offset)].state = SLOT_IN;
  }
}

static void end_done (world *w, mlease *l, uint32_t count) {
  sim_note(w, l->stale ? "done (stale)" : "done", l->member, l->part,
           l->lease.record->offset, count);
  w->events += count - 1;
  mark_done(w, l, count);
  CHECK(strand_engine_done(w->members[l->member].engine, &l->lease, count,
                           w->now_us) == STRAND_OK, "memory");
}

static void end_back (world *w, mlease *l) {
  sim_note(w, l->stale ? "back (stale)" : "back", l->member, l->part,
           l->lease.record->offset, l->lease.count);
  mark_back(w, l);
  CHECK(strand_engine_give_back(w->members[l->member].engine, &l->lease)
          == STRAND_OK, "memory");
}

static void end_fail (world *w, mlease *l) {
  part *p = &w->parts[l->part];
  slot *s = &p->slots[log_slot(p, l->lease.record->offset)];
  int64_t delay = -1;
  if (sim_fault(w, FAULT_DELAY, 50)) {
    delay = sim_chance(w, 20) ? 0 : sim_pick(w, 200000);
  }
  sim_note(w, l->stale ? "fail (stale)" : "fail", l->member, l->part,
           l->lease.record->offset, delay);
  mark_back(w, l);
  w->last_delay_us = -1;
  CHECK(strand_engine_end(w->members[l->member].engine, &l->lease,
                          &(strand_ending){ STRAND_VERDICT_FAILED, delay,
                                            "because", 7 }, w->now_us)
          == STRAND_OK, "memory");
  if (l->stale) return;
  CHECK(delay < 0 || delay == w->last_delay_us, "delay");
  CHECK(w->last_delay_us >= 0
        && w->last_delay_us <= (delay < 0 ? w->policy.max_delay_us : delay),
        "delay %lld", (long long)w->last_delay_us);
  s->attempt++;
  s->due_us = w->now_us + w->last_delay_us;
}

/* Also at the end, but then not for ever. */
static bool fails (world *w, const slot *s) {
  if (s->attempt > 12) return false;
  if (w->ending) {
    return w->faults[FAULT_FAIL] && s->attempt < 2
           && sim_chance(w, (int)w->fail_percent);
  }
  return sim_fault(w, FAULT_FAIL, (int)w->fail_percent);
}

/* A handler of the lease returns; or several in a row, as a harvest sees. */
static void finish (world *w, int index) {
  mlease *l = &w->leases[index];
  uint32_t count = 1 + (uint32_t)sim_pick(w, (int)l->lease.count);
  part *p = &w->parts[l->part];
  if (fails(w, &p->slots[log_slot(p, l->lease.record->offset)])) {
    end_fail(w, l);
    forget(w, index);
    return;
  }
  end_done(w, l, count);
  if (l->lease.count == 0) {
    forget(w, index);
    return;
  }
  if (sim_fault(w, FAULT_RECALL, 30)) { /* its stop flag was seen */
    end_back(w, l);
    forget(w, index);
  }
}

static void begin (world *w, mlease *l) {
  l->running = true;
  w->running++;
  if (sim_fault(w, FAULT_SLOW, 2)) {
    l->until_us = w->now_us + sim_pick(w, 3000000);
  }
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
  if (l->until_us > w->now_us) return false;
  finish(w, index);
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

/* What no worker has begun comes back; index -1: of any partition. */
void worker_recall (world *w, int m, int index, int percent) {
  for (int i = w->lease_count - 1; i >= 0; i--) {
    mlease *l = &w->leases[i];
    if (l->running || l->stale || l->member != m) continue;
    if (index >= 0 && l->part != index) continue;
    if (!sim_chance(w, percent)) continue;
    end_back(w, l);
    forget(w, i);
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
            == STRAND_OK, "memory");
    forget(w, w->lease_count - 1);
  }
}
