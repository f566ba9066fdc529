/*
** outcome.c - how handlers end, and what the engine has to make of it
*/
#include <string.h>

#include "sim.h"

static slot *first_of (world *w, const mlease *l) {
  part *p = &w->parts[l->part];
  return &p->slots[log_slot(p, l->lease.record->offset)];
}

/* Records of a lease come back. */
static void mark_back (world *w, mlease *l) {
  part *p = &w->parts[l->part];
  const strand_record *r = l->lease.record;
  if (l->stale) return;
  for (uint32_t k = 0; k < l->lease.count; k++, r = r->behind) {
    p->slots[log_slot(p, r->offset)].state = SLOT_IN;
  }
}

/* The first 'count' handlers have returned; of a stale lease the epoch knows
** nothing. */
void outcome_done (world *w, mlease *l, uint32_t count) {
  part *p = &w->parts[l->part];
  const strand_record *r = l->lease.record;
  sim_note(w, l->stale ? "done (stale)" : "done", l->member, l->part,
           r->offset, count);
  w->events += count - 1;
  for (uint32_t k = 0; k < count; k++, r = r->behind) {
    slot *s = &p->slots[log_slot(p, r->offset)];
    if (l->stale) s->finished = true;
    else log_done(p, s);
  }
  CHECK(strand_engine_done(w->members[l->member].engine, &l->lease, count,
                           w->now_us)
          == STRAND_OK,
        "memory");
}

void outcome_back (world *w, mlease *l) {
  sim_note(w, l->stale ? "back (stale)" : "back", l->member, l->part,
           l->lease.record->offset, l->lease.count);
  mark_back(w, l);
  throttle_left(w, l, l->lease.count);
  CHECK(strand_engine_give_back(w->members[l->member].engine, &l->lease)
          == STRAND_OK,
        "memory");
}

/*
** What a handler says
*/

/* Also at the end, but then not for ever. */
static bool happens (world *w, fault f, const slot *s) {
  if (!w->faults[f] || (w->ending && s->attempt >= 2)) return false;
  w->fault_counts[f]++;
  return true;
}

static strand_outcome_kind pick_kind (world *w, const slot *s) {
  static const struct {
    fault f;
    strand_outcome_kind kind;
  } others[] = { { FAULT_SKIP, STRAND_OUTCOME_SKIP },
                 { FAULT_ASK, STRAND_OUTCOME_RETRY },
                 { FAULT_EXHAUST, STRAND_OUTCOME_EXHAUSTED },
                 { FAULT_DEAD_LETTER, STRAND_OUTCOME_DEAD_LETTER },
                 { FAULT_PARK, STRAND_OUTCOME_PARK },
                 { FAULT_HALT, STRAND_OUTCOME_STOP } };
  int n = sim_pick(w, 120); /* each of them in a record of 120 */
  if (s->attempt > 12) return STRAND_OUTCOME_DONE;
  if (n < 6 && happens(w, others[n].f, s)) return others[n].kind;
  return sim_chance(w, (int)w->fail_percent) && happens(w, FAULT_FAIL, s)
           ? STRAND_OUTCOME_FAILED
           : STRAND_OUTCOME_DONE;
}

static int64_t pick_delay (world *w, strand_outcome_kind kind) {
  if (kind != STRAND_OUTCOME_FAILED && kind != STRAND_OUTCOME_RETRY) return 0;
  if (!sim_fault(w, FAULT_DELAY, 50)) return -1;
  return sim_chance(w, 20) ? 0 : sim_pick(w, 200000);
}

/*
** What comes of it
*/

static const strand_policy *policy_of (const world *w, const mlease *l) {
  return &w->routes[w->parts[l->part].route].policy;
}

/* RETRY, DEAD_LETTER, PARK, SKIP, STOP or DONE. */
static strand_outcome_kind expected (const world *w, const mlease *l,
                                     const slot *s, strand_outcome_kind kind) {
  const strand_policy *policy = policy_of(w, l);
  if (l->expired && kind != STRAND_OUTCOME_EXHAUSTED) {
    kind = STRAND_OUTCOME_FAILED;
  }
  if (kind == STRAND_OUTCOME_FAILED) {
    bool over = policy->attempts > 0 && s->failures + 1u >= policy->attempts;
    kind = over ? STRAND_OUTCOME_EXHAUSTED : STRAND_OUTCOME_RETRY;
  }
  if (kind == STRAND_OUTCOME_EXHAUSTED) kind = policy->exhausted;
  if (kind == STRAND_OUTCOME_DEAD_LETTER && w->faults[FAULT_NO_DEAD_LETTERS]) {
    kind = STRAND_OUTCOME_PARK;
  }
  return kind;
}

static double policy_delay (const strand_policy *policy, int failures) {
  double delay = (double)policy->delay_us;
  for (int i = 1; i < failures && delay < (double)policy->max_delay_us; i++) {
    delay *= policy->factor;
  }
  return delay < (double)policy->max_delay_us ? delay
                                              : (double)policy->max_delay_us;
}

/* By the policy the delay is known to within its jitter; one whose failure
** was told before is not told, and worlds with deadlines have no jitter. */
static int64_t check_delay (const world *w, const mlease *l, const slot *s,
                            const strand_ending *e, bool told) {
  const strand_policy *policy = policy_of(w, l);
  double most = policy_delay(policy, s->failures + 1);
  bool own = e->delay_us >= 0
             && (e->kind == STRAND_OUTCOME_FAILED || !l->expired);
  int64_t delay = told ? w->last_delay_us : own ? e->delay_us : (int64_t)most;
  if (own) CHECK(delay == e->delay_us, "delay %lld", (long long)delay);
  else
    CHECK((double)delay <= most
            && (double)delay >= most * (1 - policy->jitter) - 1,
          "delay %lld of %f", (long long)delay, most);
  return delay;
}

static void check_notices (const world *w, strand_outcome_kind said,
                           strand_outcome_kind kind, bool told) {
  const int *n = w->notices;
  bool stops = kind == STRAND_OUTCOME_STOP && said != STRAND_OUTCOME_STOP;
  CHECK(n[STRAND_NOTICE_FAILED] == told, "told %d times as failed",
        n[STRAND_NOTICE_FAILED]);
  CHECK(n[STRAND_NOTICE_PARKED] == (kind == STRAND_OUTCOME_PARK),
        "told %d times as parked", n[STRAND_NOTICE_PARKED]);
  CHECK(n[STRAND_NOTICE_STOP] == stops, "told %d times to stop",
        n[STRAND_NOTICE_STOP]);
  CHECK(n[STRAND_NOTICE_DEAD_LETTERED] == 0, "a dead letter was not sent yet");
  CHECK(w->wanted == NULL, "I11: no dead letter was wanted");
}

static void set_waiting (world *w, mlease *l, slot *s,
                         strand_outcome_kind kind, const strand_ending *e,
                         bool told) {
  w->parts[l->part].failed = true;
  s->due_us = 0;
  if (kind == STRAND_OUTCOME_PARK) s->state = SLOT_PARKED;
  else if (kind == STRAND_OUTCOME_DEAD_LETTER) s->state = SLOT_DEAD_LETTER;
  else s->due_us = w->now_us + check_delay(w, l, s, e, told);
  s->detached = kind == STRAND_OUTCOME_PARK && w->config.park_alone
                && log_keyed(w, s);
  s->alone = s->alone || s->detached;
  s->attempt++;
  if (e->kind != STRAND_OUTCOME_RETRY || l->expired) s->failures++;
}

/* What the handler said of a record whose lease is stale is not heard. */
static void end_stale (world *w, mlease *l, const strand_ending *e) {
  if (e->kind == STRAND_OUTCOME_DONE) first_of(w, l)->finished = true;
  CHECK(
    strand_engine_end(w->members[l->member].engine, &l->lease, e, w->now_us)
      == STRAND_OK,
    "memory");
  CHECK(l->lease.count == 0, "a stale lease goes on");
  check_notices(w, e->kind, STRAND_OUTCOME_DONE, false);
}

static void end_live (world *w, mlease *l, const strand_ending *e) {
  slot *s = first_of(w, l);
  strand_outcome_kind kind = expected(w, l, s, e->kind);
  bool skips = kind == STRAND_OUTCOME_SKIP || kind == STRAND_OUTCOME_DONE;
  bool told = !l->expired
              && (e->kind == STRAND_OUTCOME_FAILED
                  || e->kind == STRAND_OUTCOME_EXHAUSTED
                  || e->kind == STRAND_OUTCOME_RETRY);
  uint32_t left = l->lease.count - 1;
  if (!skips) {
    mark_back(w, l);
    throttle_left(w, l, left + (kind == STRAND_OUTCOME_STOP));
    left = 0;
  }
  if (kind == STRAND_OUTCOME_DEAD_LETTER) w->wanted = s;
  CHECK(
    strand_engine_end(w->members[l->member].engine, &l->lease, e, w->now_us)
      == STRAND_OK,
    "memory");
  CHECK(l->lease.count == left, "the lease has %u records, not %u",
        l->lease.count, left);
  check_notices(w, e->kind, kind, told);
  if (skips) {
    log_done(&w->parts[l->part], s);
    w->parts[l->part].skipped += kind == STRAND_OUTCOME_SKIP;
  }
  else if (kind != STRAND_OUTCOME_STOP) set_waiting(w, l, s, kind, e, told);
  l->expired = false;
}

void outcome_end (world *w, mlease *l) {
  strand_ending e = { STRAND_OUTCOME_DONE, 0, "because", 7 };
  e.kind = pick_kind(w, first_of(w, l));
  if (e.kind == STRAND_OUTCOME_DONE && !l->expired) {
    if (sending_wanted(w, l)) sending_begin(w, l);
    else outcome_done(w, l, 1);
    return;
  }
  e.delay_us = pick_delay(w, e.kind);
  sim_note(w, l->stale ? "end (stale)" : "end", l->member, l->part,
           l->lease.record->offset, e.kind);
  memset(w->notices, 0, sizeof(w->notices));
  w->wanted = NULL;
  if (l->stale) end_stale(w, l, &e);
  else end_live(w, l, &e);
}

/* Its first record is told as failed now, once. */
void outcome_expire (world *w, mlease *l) {
  bool first = !l->stale && !l->expired;
  sim_note(w, "expire", l->member, l->part, l->lease.record->offset, first);
  memset(w->notices, 0, sizeof(w->notices));
  strand_engine_expire(w->members[l->member].engine, &l->lease, "late", 4);
  CHECK(w->notices[STRAND_NOTICE_FAILED] == first, "a deadline is told once");
  if (!l->stale) l->expired = true;
}
