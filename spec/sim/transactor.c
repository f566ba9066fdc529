/*
** transactor.c - exactly once: what sends, by the rules that it has to follow;
** see exactly.h
**
**             list closed        all written        taken
**   IDLE ----------------> WRITING -------> OFFSETS ------> ENDING ---> IDLE
**                             | a failure      | refused      | not known
**                             +------> ABORTING <+            |
**                                         |                   v
**                    IDLE <---------------+-----------> RENEWING --> READING
**                     ^                                                 |
**                     +-------------------------------------------------+
**
** The list: what was handled, in order. The plan of the commit is made before
** anything is written, and what it has no room for stays out. After an end that
** is not known another producer takes the id, and only then the committed
** offsets are read: they say whether it was taken.
*/
#include <stdlib.h>
#include <string.h>

#include "exactly.h"

static x_transactor *of (int m) {
  return &x.members[m].transactor;
}

/*
** The list
*/

void transactor_stage (int m, int index, strand_record *record, made what) {
  x_transactor *t = of(m);
  x_entry *e = &x.parts[index].log[record->offset];
  if (t->count == t->capacity) {
    t->capacity = t->capacity == 0 ? 64 : t->capacity * 2;
    t->list = realloc(t->list, (size_t)t->capacity * sizeof(*t->list));
  }
  t->list[t->count++] = (x_staged){
    .record = record, .index = index, .offset = record->offset, .what = what
  };
  e->made[m] = (uint8_t)what;
  e->held[m] = true;
  sim_note(x.w, "staged", m, index, record->offset, what);
}

static void forget_if (x_transactor *t, int index, bool in) {
  int kept = 0;
  for (int i = 0; i < t->count; i++) {
    if (in ? t->list[i].in : t->list[i].index == index) continue;
    t->list[kept++] = t->list[i];
  }
  t->count = kept;
}

void transactor_forget (int m, int index) {
  x_transactor *t = of(m);
  for (int i = 0; i < t->count; i++) {
    if (t->list[i].index != index) continue;
    x.parts[index].log[t->list[i].offset].held[m] = false;
  }
  forget_if(t, index, false);
}

/*
** Its ends
*/

static void acknowledge (int m, x_staged *s) {
  strand_engine *e = x.members[m].engine;
  strand_err err = s->what == MADE_DEAD_LETTER
                     ? strand_engine_dead_letter_acked(e, s->record,
                                                       x.w->now_us)
                     : strand_engine_output_acked(e, s->record, x.w->now_us);
  x.parts[s->index].log[s->offset].held[m] = false;
  CHECK(err == STRAND_OK, "memory");
}

static void answer (int m, strand_answer a) {
  x_transactor *t = of(m);
  sim_note(x.w, "answer", m, -1, a, t->count);
  if (t->commit != NULL) {
    strand_engine_commit_answer(x.members[m].engine, t->commit, a,
                                x.w->now_us);
  }
  t->commit = NULL;
  t->step = X_IDLE;
}

static void finish_committed (int m) {
  x_transactor *t = of(m);
  answer(m, STRAND_COMMITTED);
  for (int i = 0; i < t->count; i++) {
    if (t->list[i].in) acknowledge(m, &t->list[i]);
  }
  forget_if(t, -1, true);
}

/* It ends by its policy: skipped, or as a dead letter, which joins the list. */
static void refuse (int m, x_staged s) {
  x_entry *e = &x.parts[s.index].log[s.offset];
  x_count(EXACTLY_REFUSED);
  sim_note(x.w, "refused", m, s.index, s.offset, 0);
  e->made[m] = MADE_NONE;
  e->held[m] = false;
  e->refused = true;
  CHECK(strand_engine_output_refused(x.members[m].engine, &s.record, "large",
                                     5, x.w->now_us)
          == STRAND_OK,
        "memory");
}

static void refuse_all (int m) {
  x_transactor *t = of(m);
  for (int i = t->count - 1; i >= 0; i--) {
    x_staged s = t->list[i];
    if (!s.refused) continue;
    memmove(&t->list[i], &t->list[i + 1],
            (size_t)(--t->count - i) * sizeof(*t->list));
    refuse(m, s);
  }
}

static void finish_aborted (int m, strand_answer a) {
  x_transactor *t = of(m);
  answer(m, a);
  for (int i = 0; i < t->count; i++) {
    x_staged *s = &t->list[i];
    if (!s->in) continue;
    strand_engine_untransact(x.members[m].engine, s->record);
    s->in = false;
    s->written = 0;
  }
  refuse_all(m);
}

static void renew (int m) {
  x_count(EXACTLY_RENEWED);
  of(m)->step = X_RENEWING;
}

static void abort_it (int m, strand_answer a, bool renews) {
  x_transactor *t = of(m);
  t->answer = a;
  t->renews = renews;
  t->step = X_ABORTING;
}

/* Nobody knows: the same again, or another producer. */
static void on_none (int m) {
  if (x.dying == m) return;
  x_count(EXACTLY_UNKNOWN);
  if (x_happens(60)) renew(m);
  else broker_hurry(m); /* in its order with what is asked again */
}

/*
** The list is closed
*/

static int transact (int m) {
  x_transactor *t = of(m);
  int taken = 0;
  for (int i = 0; i < t->count && taken < x.limit; i++, taken++) {
    strand_engine_transact(x.members[m].engine, t->list[i].record);
    t->list[i].in = true;
  }
  return taken;
}

static void leave_out (x_transactor *t) {
  for (int i = 0; i < t->count; i++) {
    x_staged *s = &t->list[i];
    if (!s->in || strand_record_is_transacted(s->record)) continue;
    s->in = false;
    x_count(EXACTLY_LEFT_OUT);
  }
}

static void close_list (int m) {
  x_transactor *t = of(m);
  strand_engine *e = x.members[m].engine;
  int taken = transact(m);
  t->commit = strand_engine_commit(e, x.w->now_us, NULL);
  leave_out(t);
  if (t->commit == NULL) return;
  sim_note(x.w, "closed", m, -1, taken, (int64_t)t->commit->count);
  t->generation = x.members[m].generation;
  t->begun = false;
  t->step = X_WRITING;
}

/*
** Steps
*/

static x_staged *next_to_write (x_transactor *t) {
  for (int i = 0; i < t->count; i++) {
    x_staged *s = &t->list[i];
    if (s->in && s->written < (s->what == MADE_TWO ? 2 : 1)) return s;
  }
  return NULL;
}

static void write_step (int m) {
  x_transactor *t = of(m);
  x_staged *s = next_to_write(t);
  reply r;
  if (s == NULL) {
    t->step = X_OFFSETS;
    return;
  }
  if (s->what != MADE_DEAD_LETTER && x_happens(x.fails)) {
    s->refused = true; /* for good */
    abort_it(m, STRAND_COMMIT_ABORTED, true);
    return;
  }
  r = broker_write(m, t->epoch, s->index, s->offset,
                   s->what == MADE_DEAD_LETTER ? X_OUTPUTS : s->written);
  if (x_dies(m)) return;
  if (r == REPLY_FENCED) renew(m);
  else if (r == REPLY_OK) {
    s->written++;
    t->begun = true;
  }
  if (r == REPLY_OK && x_happens(x.fails)) /* written, and not acknowledged */
    abort_it(m, STRAND_COMMIT_ABORTED, true);
}

/* A request is taken late, or it is lost, or its answer is. */
static bool is_answered (void) {
  return !x_happens(x.unknown);
}

static reply ask_offsets (int m) {
  x_transactor *t = of(m);
  bool answered = is_answered();
  int fate = answered ? 0 : sim_pick(x.w, 3);
  reply r = REPLY_NONE;
  if (x_dies(m) && sim_chance(x.w, 50)) return REPLY_NONE;
  if (fate == 0) r = broker_offsets(m, t->epoch, t->generation, t->commit);
  else if (fate == 1)
    broker_offsets_late(m, t->epoch, t->generation, t->commit);
  return answered && !x_dies(m) ? r : REPLY_NONE;
}

static void offsets_step (int m) {
  reply r = ask_offsets(m);
  if (r != REPLY_BUSY) of(m)->begun = true;
  switch (r) {
    case REPLY_OK: of(m)->step = X_ENDING; break;
    case REPLY_GENERATION: abort_it(m, STRAND_COMMIT_ABORTED, false); break;
    case REPLY_TOO_LARGE: abort_it(m, STRAND_COMMIT_REFUSED, false); break;
    case REPLY_FENCED: renew(m); break;
    case REPLY_NONE: on_none(m); break;
    default: break;
  }
}

static reply ask_end (int m, bool commits) {
  x_transactor *t = of(m);
  bool answered = is_answered();
  int fate = answered ? 0 : sim_pick(x.w, 3);
  reply r = REPLY_NONE;
  if (x_dies(m) && sim_chance(x.w, 50)) return REPLY_NONE;
  if (fate == 0) r = broker_end(m, t->epoch, commits);
  else if (fate == 1) broker_end_late(m, t->epoch, commits);
  return answered && !x_dies(m) ? r : REPLY_NONE;
}

static void end_step (int m) {
  switch (ask_end(m, true)) {
    case REPLY_OK: finish_committed(m); break;
    case REPLY_FENCED: renew(m); break;
    case REPLY_NONE: on_none(m); break;
    default: break;
  }
}

static void abort_step (int m) {
  x_transactor *t = of(m);
  reply r = t->begun ? ask_end(m, false) : REPLY_OK;
  if (x.dying == m) return;
  if (r != REPLY_OK) {
    renew(m);
    return;
  }
  finish_aborted(m, t->answer);
  if (t->renews) renew(m);
}

static void renew_step (int m) {
  x_transactor *t = of(m);
  if (broker_init(m, &t->epoch) != REPLY_OK || x_dies(m)) return;
  t->step = t->commit != NULL ? X_READING : X_IDLE;
  sim_note(x.w, "renewed", m, -1, t->epoch, t->count);
}

/* Of the partition: 1 it was taken, 0 not, -1 nothing says so. */
static int was_taken (int m, const strand_commit_item *item, int64_t committed,
                      const char *metadata) {
  const x_transactor *t = of(m);
  int index = (int)(intptr_t)strand_partition_opaque(item->partition)
              % X_PARTS;
  int taken = -1;
  for (int i = 0; i < t->count; i++) {
    const x_staged *s = &t->list[i];
    int covered = broker_covers(committed, metadata, s->offset);
    if (!s->in || s->index != index) continue;
    CHECK(taken < 0 || taken == covered || x.members[m].expelled,
          "half of a transaction was taken");
    taken = taken < 0 ? covered : taken && covered;
  }
  if (taken >= 0) return taken;
  return committed == item->offset && strcmp(metadata, item->metadata) == 0;
}

/* Only of partitions that it still has. */
static void read_step (int m) {
  x_transactor *t = of(m);
  int taken = -1;
  for (size_t i = 0; i < t->commit->count; i++) {
    const strand_commit_item *item = &t->commit->items[i];
    int index = (int)(intptr_t)strand_partition_opaque(item->partition)
                % X_PARTS;
    int64_t committed;
    const char *metadata;
    if (x.parts[index].holds[m].live != item->partition) continue;
    if (broker_read(index, &committed, &metadata) != REPLY_OK) return;
    taken = was_taken(m, item, committed, metadata) != 0 && taken != 0;
  }
  if (taken == 1) finish_committed(m);
  else finish_aborted(m, STRAND_COMMIT_ABORTED);
}

void transactor_step (int m) {
  switch (of(m)->step) {
    case X_IDLE: close_list(m); break;
    case X_WRITING: write_step(m); break;
    case X_OFFSETS: offsets_step(m); break;
    case X_ENDING: end_step(m); break;
    case X_ABORTING: abort_step(m); break;
    case X_RENEWING: renew_step(m); break;
    case X_READING: read_step(m); break;
  }
}

bool transactor_is_idle (int m) {
  return of(m)->step == X_IDLE;
}

/*
** Its life
*/

/* In a call it hears of that only later, or not before its end. */
void transactor_abandon (int m) {
  x_transactor *t = of(m);
  bool calls = t->step == X_OFFSETS || t->step == X_ENDING;
  if (t->commit == NULL || t->step == X_RENEWING) return;
  x_count(EXACTLY_ABANDONED);
  if (!calls || x_happens(50)) t->step = X_RENEWING;
}

void transactor_open (int m) {
  of(m)->step = X_RENEWING;
  of(m)->epoch = 0;
}

void transactor_drop (int m) {
  x_transactor *t = of(m);
  if (t->commit != NULL) answer(m, STRAND_COMMIT_UNKNOWN);
  for (int i = 0; i < t->count; i++) {
    x.parts[t->list[i].index].log[t->list[i].offset].held[m] = false;
  }
  t->count = 0;
}
