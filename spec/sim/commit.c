/*
** commit.c - the group coordinator: what it is told, takes, and answers
*/
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/*
** What a commit says is true
*/

/* I1: everything below the offset is done, and nothing done is kept back. */
static void check_offset (part *p, const strand_commit_item *item) {
  int to = log_slot(p, item->offset);
  CHECK(to >= p->checked, "commits go back from %lld to %lld",
        (long long)(p->base + p->checked), (long long)item->offset);
  CHECK(to <= p->count, "I1: beyond the log");
  for (; p->checked < to; p->checked++) {
    const slot *s = &p->slots[p->checked];
    CHECK(!s->exists || (s->state == SLOT_DONE && s->finished),
          "I1: commit %lld passes %lld", (long long)item->offset,
          (long long)(p->base + p->checked));
  }
  CHECK(to >= p->next || p->slots[to].state != SLOT_DONE,
        "commit of %lld, which is done", (long long)item->offset);
}

int64_t commit_covers (int64_t offset, const strand_payload *payload) {
  int64_t covered = payload->highest + 1;
  for (size_t r = 0; r < payload->run_count; r++) {
    covered -= payload->runs[r].last - payload->runs[r].first + 1;
  }
  return payload->highest < offset ? offset : covered;
}

/* I5: the text says which records above it are done; of those higher up it
** says nothing where it is not whole. Returns what it covers. */
static int64_t check_metadata (const part *p, int64_t offset, const char *text,
                               bool whole) {
  strand_payload payload;
  int64_t covered;
  const char *problem = "";
  size_t r = 0;
  CHECK(strand_payload_decode(offset, text, strlen(text), &payload, &problem)
          == STRAND_OK,
        "I5: %s", problem);
  CHECK(whole ? payload.highest == (p->high >= offset ? p->high : offset - 1)
              : payload.highest < p->high,
        "I5: highest %lld, not %lld", (long long)payload.highest,
        (long long)p->high);
  for (int64_t o = offset; o <= payload.highest; o++) {
    int i = log_slot(p, o);
    bool open = r < payload.run_count && payload.runs[r].first <= o;
    if (open && payload.runs[r].last == o) r++;
    if (i >= p->count || !p->slots[i].exists) continue;
    CHECK(open == (p->slots[i].state != SLOT_DONE), "I5: offset %lld",
          (long long)o);
  }
  covered = commit_covers(offset, &payload);
  strand_payload_free(&payload);
  return covered;
}

/* I16 */
static void check_part (const world *w, const part *p, const member *me,
                        const strand_commit_item *item, int64_t covered) {
  CHECK(item->covered == covered, "I16: %lld are told, not %lld",
        (long long)covered, (long long)item->covered);
  CHECK(item->whole || p->unwritable, "I16: a part is told without a word");
  CHECK(item->whole || covered >= p->covered, "I16: %lld are told, after %lld",
        (long long)covered, (long long)p->covered);
  CHECK(me->refused == 0 || strlen(item->metadata) < me->refused
          || w->now_us >= me->refused_us + STRAND_METADATA_AGAIN_US,
        "I16: %zu characters, after %zu were refused", strlen(item->metadata),
        me->refused);
}

static void check_item (world *w, int m, const strand_commit_item *item) {
  int index = (int)(intptr_t)strand_partition_opaque(item->partition);
  part *p = &w->parts[index];
  strand_partition_stats s;
  CHECK(p->live == item->partition && p->owner == m && p->epoch == item->epoch,
        "I7: a commit of a dead epoch");
  CHECK(p->restored, "I7: a commit before the offsets are known");
  CHECK(strlen(item->metadata) <= w->config.max_metadata,
        "I5: %zu characters of %zu", strlen(item->metadata),
        w->config.max_metadata);
  strand_partition_stats_read(w->members[m].engine, p->live, w->now_us, &s);
  CHECK(strlen(item->metadata) <= s.metadata_limit
          && s.metadata_limit <= w->config.max_metadata,
        "I16: the limit");
  CHECK(strlen(item->metadata) <= s.payload_bound,
        "I5: %zu characters, bound to %zu", strlen(item->metadata),
        s.payload_bound);
  check_offset(p, item);
  check_part(w, p, &w->members[m], item,
             check_metadata(p, item->offset, item->metadata, item->whole));
  sim_note(w, "commit", m, index, item->offset,
           (int64_t)strlen(item->metadata));
}

/*
** The broker
*/

static void free_request (request *r) {
  for (size_t i = 0; i < r->count; i++) free(r->items[i].metadata);
  *r = (request){ 0 };
}

/* The process dies at this step of a commit. */
static bool dies (world *w, fault at) {
  if (!sim_fault(w, at, 2)) return false;
  sim_note(w, "dies", -1, -1, at, 0);
  return w->dying = true;
}

void commit_limit (world *w) {
  static const size_t takes[] = { 0, 1, 30, 60, 100, 200, 400, 800, 4096 };
  size_t count = sizeof(takes) / sizeof(takes[0]);
  w->broker_takes = takes[sim_pick(w, (int)count)];
  sim_note(w, "takes", -1, -1, (int64_t)w->broker_takes, 0);
}

/* Takes each item with this chance, if the group is still the same. */
static void take (world *w, request *r, int percent, bool late) {
  if (r->generation != w->generation) return;
  for (size_t i = 0; i < r->count; i++) {
    part *p = &w->parts[r->items[i].part];
    if (!sim_chance(w, percent)) continue;
    if (strlen(r->items[i].metadata) > w->broker_takes) {
      r->refused = true;
      w->fault_counts[FAULT_REFUSE]++;
      continue;
    }
    p->backwards = late;
    p->committed = r->items[i].offset;
    free(p->metadata);
    p->metadata = r->items[i].metadata;
    r->items[i].metadata = NULL;
    sim_note(w, "taken", p->owner, r->items[i].part, p->committed, 0);
  }
  r->taken = percent == 100 && !r->refused;
}

/* It stays on its way although its sender will not wait for it. */
static void to_limbo (world *w, const request *r) {
  request *z;
  if (w->limbo_count == LIMBO_MAX) return;
  z = &w->limbo[w->limbo_count++];
  *z = *r;
  z->commit = NULL;
  for (size_t i = 0; i < r->count; i++) {
    z->items[i].metadata = strdup(r->items[i].metadata);
  }
}

static void from_limbo (world *w, int i, int percent) {
  request r = w->limbo[i];
  w->limbo[i] = w->limbo[--w->limbo_count];
  take(w, &r, percent, true);
  free_request(&r);
}

void commit_overtaken (world *w) {
  if (w->limbo_count > 0) from_limbo(w, sim_pick(w, w->limbo_count), 100);
}

void commit_forget (world *w, int percent) {
  while (w->limbo_count > 0) {
    from_limbo(w, sim_pick(w, w->limbo_count),
               sim_chance(w, percent) ? 100 : 0);
  }
}

/* What becomes of a request is settled when it is sent. */
static void send (world *w, request *r) {
  r->generation = w->generation;
  r->answer = STRAND_COMMITTED;
  if (sim_fault(w, FAULT_ANSWER_LATE, 20)) {
    r->answer_us = w->now_us + sim_pick(w, 2000000);
  }
  if (sim_fault(w, FAULT_COMMIT_LOST, 30)) {
    r->answer = sim_chance(w, 50) ? STRAND_COMMIT_LATER
                                  : STRAND_COMMIT_UNKNOWN;
    return;
  }
  if (sim_fault(w, FAULT_COMMIT_UNKNOWN, 30)) {
    r->answer = STRAND_COMMIT_UNKNOWN;
    take(w, r, sim_chance(w, 50) ? 50 : 100, false);
    return;
  }
  if (sim_fault(w, FAULT_COMMIT_ZOMBIE, 20)) {
    r->answer = sim_chance(w, 50) ? STRAND_COMMIT_LATER
                                  : STRAND_COMMIT_UNKNOWN;
    to_limbo(w, r);
    return;
  }
  if (sim_fault(w, FAULT_COMMIT_TWICE, 20)) to_limbo(w, r);
  take(w, r, 100, false);
  if (r->refused) r->answer = STRAND_COMMIT_REFUSED;
  else if (!r->taken) r->answer = STRAND_COMMIT_UNKNOWN;
}

static void request_new (world *w, int m, strand_commit *commit) {
  member *me = &w->members[m];
  request *r = &me->request;
  CHECK(!me->unanswered, "I9: a second commit in flight");
  CHECK(commit->count > 0 && commit->count <= PARTITIONS_MAX, "I9");
  *r = (request){ .commit = commit,
                  .count = commit->count,
                  .several = commit->count > 1 };
  for (size_t i = 0; i < commit->count; i++) {
    const strand_commit_item *item = &commit->items[i];
    check_item(w, m, item);
    r->items[i].part = (int)(intptr_t)strand_partition_opaque(item->partition);
    CHECK(!w->parts[r->items[i].part].uncertain || commit->count == 1,
          "partition %d is not committed alone", r->items[i].part);
    r->items[i].offset = item->offset;
    r->items[i].metadata = strdup(item->metadata);
  }
  me->unanswered = true;
  if (dies(w, FAULT_CRASH_PLANNED)) return;
  if (dies(w, FAULT_CRASH_SENT)) {
    r->generation = w->generation;
    to_limbo(w, r);
    return;
  }
  send(w, r);
  dies(w, FAULT_CRASH_TAKEN);
}

/* After an unknown end of several they are committed one by one; so is what
** was refused, until it is short enough. */
static void mark_suspects (world *w, int m, const request *r) {
  for (size_t i = 0; i < r->commit->count; i++) {
    const strand_commit_item *item = &r->commit->items[i];
    for (int k = 0; k < w->partition_count; k++) {
      part *p = &w->parts[k];
      if (p->owner != m || p->live != item->partition) continue;
      if (r->answer == STRAND_COMMIT_UNKNOWN) p->uncertain = r->several;
      else if (r->answer == STRAND_COMMIT_REFUSED) p->uncertain = true;
      else if (r->answer == STRAND_COMMITTED) {
        p->uncertain = false;
        p->covered = item->covered;
      }
    }
  }
}

static void mark_refused (world *w, int m, const request *r) {
  member *me = &w->members[m];
  if (r->answer != STRAND_COMMIT_REFUSED || r->several) return;
  me->refused = strlen(r->commit->items[0].metadata);
  me->refused_us = w->now_us;
  member_overflow(w, m);
}

void commit_answer (world *w, int m) {
  member *me = &w->members[m];
  request *r = &me->request;
  if (!me->unanswered || w->dying) return;
  if (r->answer_us > w->now_us && !w->ending) return;
  if (dies(w, FAULT_CRASH_ANSWERED)) return;
  me->unanswered = false;
  sim_note(w, "answer", m, -1, r->answer, (int64_t)r->count);
  mark_suspects(w, m, r);
  mark_refused(w, m, r);
  strand_engine_commit_answer(me->engine, r->commit, r->answer, w->now_us);
  free_request(r);
}

void commit_drop (world *w, member *m) {
  if (!m->unanswered) return;
  m->unanswered = false;
  strand_engine_commit_answer(m->engine, m->request.commit,
                              STRAND_COMMIT_UNKNOWN, w->now_us);
  free_request(&m->request);
}

/*
** The owner
*/

void commit_now (world *w, int m) {
  member *me = &w->members[m];
  const strand_partition *only = NULL;
  strand_commit *commit;
  int index = sim_pick(w, w->partition_count);
  if (w->dying) return;
  CHECK(strand_engine_committing(me->engine) == me->unanswered, "I9");
  if (strand_engine_commit_due(me->engine, w->now_us) != INT64_MAX
      && dies(w, FAULT_CRASH_UNPLANNED))
    return;
  if (!w->ending && sim_chance(w, 20) && w->parts[index].owner == m) {
    only = w->parts[index].live;
  }
  commit = strand_engine_commit(me->engine, w->now_us, only);
  if (commit != NULL) request_new(w, m, commit);
  else if (only == NULL) {
    CHECK(strand_engine_commit_due(me->engine, w->now_us) > w->now_us,
          "a commit is due, but there is none");
  }
}

void commit_step (world *w, int m) {
  member *me = &w->members[m];
  int64_t due;
  if (me->unanswered) {
    if (w->ending || sim_chance(w, 30)) commit_answer(w, m);
    else commit_now(w, m);
    return;
  }
  due = strand_engine_commit_due(me->engine, w->now_us);
  if (due <= w->now_us) commit_now(w, m);
}

/* Clean means that the broker has it all. */
void commit_check_clean (world *w, int index) {
  part *p = &w->parts[index];
  const member *m;
  strand_partition_stats s;
  if (p->live == NULL || !p->restored || p->backwards) return;
  m = &w->members[p->owner];
  if (m->unanswered || strand_engine_dirty(m->engine, p->live)) return;
  strand_partition_stats_read(m->engine, p->live, w->now_us, &s);
  CHECK(s.committed == p->committed, "clean at %lld, the broker has %lld",
        (long long)s.committed, (long long)p->committed);
  if (p->committed < 0) return;
  CHECK(s.committable == p->committed, "clean at %lld, but %lld may go",
        (long long)p->committed, (long long)s.committable);
  check_metadata(p, p->committed, p->metadata == NULL ? "" : p->metadata,
                 !p->unwritable);
}
