/*
** waiting.c - dead letters on their way, and what is said of parked records
*/
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/*
** The producer of dead letters
*/

/* Inside an outcome, or a lease (what was resolved so). */
bool waiting_wanted (void *arg, strand_partition *partition,
                     strand_record *record) {
  world *w = arg;
  int index = (int)(intptr_t)strand_partition_opaque(partition);
  part *p = &w->parts[index];
  slot *s = &p->slots[log_slot(p, record->offset)];
  dead_letter *l;
  CHECK(s == w->wanted
          || (s->state == SLOT_RESOLVED
              && s->resolution == STRAND_RESOLVE_DEAD_LETTER),
        "I11: a dead letter of %lld, which nobody wants",
        (long long)record->offset);
  w->wanted = NULL;
  if (s->state == SLOT_RESOLVED) {
    s->state = SLOT_DEAD_LETTER;
    p->resolved--;
  }
  if (w->dead_letter_count == w->dead_letter_capacity) {
    w->dead_letter_capacity = w->dead_letter_capacity == 0
                                ? 16
                                : w->dead_letter_capacity * 2;
    w->dead_letters = realloc(w->dead_letters, (size_t)w->dead_letter_capacity
                                                 * sizeof(*w->dead_letters));
  }
  l = &w->dead_letters[w->dead_letter_count++];
  *l = (dead_letter){ record, index, w->now_us };
  if (sim_fault(w, FAULT_DEAD_LETTER_LATE, 50)) {
    l->due_us += sim_pick(w, 1000000);
  }
  sim_note(w, "letter", p->owner, index, record->offset, l->due_us);
  return true;
}

static void refuse (world *w, const dead_letter *l, slot *s) {
  strand_engine *e = w->members[w->parts[l->part].owner].engine;
  CHECK(
    strand_engine_dead_letter_refused(e, l->record, "too large", 9, w->now_us)
      == STRAND_OK,
    "memory");
  s->state = SLOT_PARKED;
  s->detached = s->detached || (w->config.park_alone && log_keyed(w, s));
  s->alone = s->alone || s->detached;
}

bool waiting_dead_letter (world *w) {
  int i = w->dead_letter_count == 0 ? 0 : sim_pick(w, w->dead_letter_count);
  bool refused;
  dead_letter l;
  part *p;
  slot *s;
  if (w->dead_letter_count == 0 || w->dead_letters[i].due_us > w->now_us)
    return false;
  l = w->dead_letters[i];
  w->dead_letters[i] = w->dead_letters[--w->dead_letter_count];
  p = &w->parts[l.part];
  s = &p->slots[log_slot(p, l.record->offset)];
  refused = sim_fault(w, FAULT_DEAD_LETTER_REFUSED, 30);
  sim_note(w, refused ? "refused" : "lettered", p->owner, l.part,
           l.record->offset, 0);
  CHECK(s->state == SLOT_DEAD_LETTER, "I11: the record did not wait");
  memset(w->notices, 0, sizeof(w->notices));
  if (refused) refuse(w, &l, s);
  else {
    log_done(p, s);
    CHECK(strand_engine_dead_letter_acked(w->members[p->owner].engine,
                                          l.record, w->now_us)
            == STRAND_OK,
          "memory");
  }
  CHECK(w->notices[STRAND_NOTICE_DEAD_LETTERED] == !refused
          && w->notices[STRAND_NOTICE_PARKED] == refused,
        "I11: not told");
  return true;
}

int64_t waiting_next (const world *w) {
  int64_t next = INT64_MAX;
  for (int i = 0; i < w->dead_letter_count; i++) {
    int64_t due = w->dead_letters[i].due_us;
    if (due > w->now_us && due < next) next = due;
  }
  return next;
}

/* Whether they were taken or not: nobody is there who would hear of it. */
void waiting_revoked (world *w, int index) {
  int kept = 0;
  for (int i = 0; i < w->dead_letter_count; i++) {
    if (index < 0 || w->dead_letters[i].part == index) continue;
    w->dead_letters[kept++] = w->dead_letters[i];
  }
  w->dead_letter_count = kept;
}

/*
** What is said of parked records
*/

static void resolve (world *w, int index, int64_t offset) {
  part *p = &w->parts[index];
  slot *s = &p->slots[log_slot(p, offset)];
  strand_engine *e = w->members[p->owner].engine;
  int how = sim_pick(w, w->faults[FAULT_NO_DEAD_LETTERS] ? 2 : 3);
  sim_note(w, "resolve", p->owner, index, offset, how);
  CHECK(s->state == SLOT_PARKED, "I12: %lld is not parked", (long long)offset);
  CHECK(strand_engine_resolve(e, p->live, offset, (strand_resolution)how)
          == STRAND_OK,
        "I12: %lld cannot be resolved", (long long)offset);
  CHECK(strand_engine_resolve(e, p->live, offset, STRAND_RESOLVE_RETRY)
          == STRAND_ENOTOPEN,
        "I12: resolved twice");
  s->resolution = (uint8_t)how;
  s->state = SLOT_IN;
  if (how == STRAND_RESOLVE_RETRY) {
    s->failures = 0;
    return;
  }
  s->state = SLOT_RESOLVED;
  p->resolved++;
}

bool waiting_resolve (world *w, int index) {
  part *p = &w->parts[index];
  const strand_record *r;
  if (p->live == NULL || !p->restored) return false;
  r = strand_partition_parked(p->live, p->base + sim_pick(w, p->next + 1));
  if (r == NULL) r = strand_partition_parked(p->live, p->base);
  if (r == NULL) return false;
  resolve(w, index, r->offset);
  return true;
}

bool waiting_resolve_all (world *w) {
  bool any = false;
  for (int i = 0; i < w->partition_count; i++) {
    while (waiting_resolve(w, i)) any = true;
  }
  return any;
}

static bool is_open (const part *p, int64_t offset) {
  const strand_record *r = NULL;
  while ((r = strand_partition_next(p->live, r)) != NULL) {
    if (r->offset >= offset) return r->offset == offset;
  }
  return false;
}

static void sync_part (world *w, part *p) {
  strand_partition_stats now;
  strand_partition_stats_read(w->members[p->owner].engine, p->live, w->now_us,
                              &now);
  for (int i = 0; i < p->next && p->skipped < now.skipped; i++) {
    slot *s = &p->slots[i];
    if (s->state != SLOT_RESOLVED || is_open(p, p->base + i)) continue;
    CHECK(s->resolution == STRAND_RESOLVE_DISCARD, "I12: %lld was to be sent",
          (long long)(p->base + i));
    log_done(p, s);
    p->skipped++;
    p->resolved--;
  }
  CHECK(p->skipped == now.skipped, "%llu were skipped, not %llu",
        (unsigned long long)p->skipped, (unsigned long long)now.skipped);
}

void waiting_sync (world *w, int m) {
  for (int i = 0; i < w->partition_count; i++) {
    part *p = &w->parts[i];
    if (p->owner == m && p->resolved > 0) sync_part(w, p);
  }
}

/* The engine and the model count the same. */
void waiting_check (world *w, int m) {
  size_t parked = 0, dead_letters = 0;
  strand_engine_stats stats;
  strand_engine_stats_read(w->members[m].engine, &stats);
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    int64_t from = p->base;
    if (p->owner != m || !p->restored) continue;
    for (int k = 0; k < p->next; k++) {
      const strand_record *r;
      dead_letters += p->slots[k].state == SLOT_DEAD_LETTER;
      if (p->slots[k].state != SLOT_PARKED) continue;
      parked++;
      r = strand_partition_parked(p->live, from);
      CHECK(r != NULL && r->offset == p->base + k, "I12: %lld is not listed",
            (long long)(p->base + k));
      from = r->offset + 1;
    }
  }
  CHECK(stats.parked == parked, "I12: %zu are parked, not %zu", parked,
        stats.parked);
  CHECK(stats.dead_letters == dead_letters, "I11: %zu dead letters, not %zu",
        dead_letters, stats.dead_letters);
}
