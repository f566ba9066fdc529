/*
** sending.c - what handlers produced, on its way: acknowledged late, or refused
**
** Draws from a stream of its own: what the seeds before it found, they find
** still.
*/
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* As sim_pick, of that stream. */
static int pick (world *w, int below) {
  uint64_t others = w->random;
  int n;
  w->random = w->send_random;
  n = sim_pick(w, below);
  w->send_random = w->random;
  w->random = others;
  return n;
}

static bool happens (world *w, fault f, int percent) {
  if (!w->faults[f] || pick(w, 100) >= percent) return false;
  w->fault_counts[f]++;
  return true;
}

bool sending_wanted (world *w, const mlease *l) {
  return !l->stale && !l->expired && happens(w, FAULT_SEND, 60);
}

static sending *add_sending (world *w) {
  if (w->sending_count == w->sending_capacity) {
    w->sending_capacity = w->sending_capacity == 0 ? 16
                                                   : w->sending_capacity * 2;
    w->sendings = realloc(w->sendings,
                          (size_t)w->sending_capacity * sizeof(*w->sendings));
  }
  return &w->sendings[w->sending_count++];
}

void sending_begin (world *w, mlease *l) {
  part *p = &w->parts[l->part];
  strand_record *r = l->lease.record;
  slot *s = &p->slots[log_slot(p, r->offset)];
  uint32_t left = l->lease.count - 1;
  sending *to = add_sending(w);
  *to = (sending){ r, l->part, w->now_us };
  if (happens(w, FAULT_ACK_LATE, 50)) to->due_us += pick(w, 1000000);
  sim_note(w, "sent", l->member, l->part, r->offset, to->due_us);
  s->state = SLOT_SENDING;
  CHECK(strand_engine_sent(w->members[l->member].engine, &l->lease)
          == STRAND_OK,
        "memory");
  CHECK(l->lease.count == left, "the lease has %u records, not %u",
        l->lease.count, left);
}

/*
** What became of it
*/

static void check_notices (const world *w, strand_outcome_kind kind) {
  const int *n = w->notices;
  bool fails = kind != STRAND_OUTCOME_DONE;
  CHECK(n[STRAND_NOTICE_FAILED] == fails, "I18: told %d times as failed",
        n[STRAND_NOTICE_FAILED]);
  CHECK(n[STRAND_NOTICE_PARKED] == (kind == STRAND_OUTCOME_PARK),
        "I18: told %d times as parked", n[STRAND_NOTICE_PARKED]);
  CHECK(n[STRAND_NOTICE_STOP] == (kind == STRAND_OUTCOME_STOP),
        "I18: told %d times to stop", n[STRAND_NOTICE_STOP]);
  CHECK(w->wanted == NULL, "I11: no dead letter was wanted");
}

static strand_outcome_kind exhausted (const world *w, const part *p) {
  strand_outcome_kind kind = w->routes[p->route].policy.exhausted;
  if (kind == STRAND_OUTCOME_DEAD_LETTER && w->faults[FAULT_NO_DEAD_LETTERS]) {
    kind = STRAND_OUTCOME_PARK;
  }
  return kind;
}

/* Later records of its shard may have run by now: it has left their order. */
static void mark_refused (world *w, part *p, slot *s,
                          strand_outcome_kind kind) {
  p->failed = true;
  if (kind == STRAND_OUTCOME_SKIP) {
    log_done(p, s);
    p->skipped++;
    return;
  }
  s->alone = log_keyed(w, s);
  s->due_us = 0;
  s->attempt++;
  if (kind == STRAND_OUTCOME_STOP) {
    s->state = SLOT_IN;
    return;
  }
  s->state = kind == STRAND_OUTCOME_PARK ? SLOT_PARKED : SLOT_DEAD_LETTER;
  s->detached = s->alone;
  s->failures++;
}

static void refuse (world *w, sending *l, part *p, slot *s) {
  strand_engine *e = w->members[p->owner].engine;
  strand_outcome_kind kind = exhausted(w, p);
  w->wanted = kind == STRAND_OUTCOME_DEAD_LETTER ? s : NULL;
  CHECK(strand_engine_output_refused(e, &l->record, "too large", 9, w->now_us)
          == STRAND_OK,
        "memory");
  check_notices(w, kind);
  mark_refused(w, p, s, kind);
}

static void acknowledge (world *w, const sending *l, part *p, slot *s) {
  log_done(p, s);
  CHECK(strand_engine_output_acked(w->members[p->owner].engine, l->record,
                                   w->now_us)
          == STRAND_OK,
        "memory");
  check_notices(w, STRAND_OUTCOME_DONE);
}

bool sending_step (world *w) {
  int i = w->sending_count == 0 ? 0 : pick(w, w->sending_count);
  bool refused;
  sending l;
  part *p;
  slot *s;
  if (w->sending_count == 0 || w->sendings[i].due_us > w->now_us) return false;
  l = w->sendings[i];
  w->sendings[i] = w->sendings[--w->sending_count];
  p = &w->parts[l.part];
  s = &p->slots[log_slot(p, l.record->offset)];
  refused = !w->ending && happens(w, FAULT_OUTPUT_REFUSED, 10);
  sim_note(w, refused ? "output refused" : "acked", p->owner, l.part,
           l.record->offset, 0);
  CHECK(s->state == SLOT_SENDING, "I18: %lld has no outputs under way",
        (long long)l.record->offset);
  memset(w->notices, 0, sizeof(w->notices));
  if (refused) refuse(w, &l, p, s);
  else acknowledge(w, &l, p, s);
  return true;
}

int64_t sending_next (const world *w) {
  int64_t next = INT64_MAX;
  for (int i = 0; i < w->sending_count; i++) {
    int64_t due = w->sendings[i].due_us;
    if (due > w->now_us && due < next) next = due;
  }
  return next;
}

/* Late acknowledgements are nobody's. */
void sending_revoked (world *w, int index) {
  int kept = 0;
  for (int i = 0; i < w->sending_count; i++) {
    if (index < 0 || w->sendings[i].part == index) continue;
    w->sendings[kept++] = w->sendings[i];
  }
  w->sending_count = kept;
}

void sending_check (world *w, int m) {
  size_t sent = 0;
  strand_engine_stats stats;
  strand_engine_stats_read(w->members[m].engine, &stats);
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    if (p->owner != m || !p->restored) continue;
    for (int k = 0; k < p->next; k++) {
      sent += p->slots[k].state == SLOT_SENDING;
    }
  }
  CHECK(stats.sending == sent, "I18: %zu are under way, not %zu", sent,
        stats.sending);
}
