/*
** member.c - group members: partitions come and go, processes die
*/
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/*
** What the engine says
*/

static part *part_of (world *w, const strand_partition *partition) {
  return &w->parts[(intptr_t)strand_partition_opaque(partition)];
}

static void on_notice (void *arg, const strand_notice *notice) {
  world *w = arg;
  w->notices[notice->type]++;
  if (notice->type == STRAND_NOTICE_FAILED) {
    w->last_delay_us = notice->delay_us;
  }
  if (notice->type == STRAND_NOTICE_UNWRITABLE) {
    part *p = part_of(w, notice->partition);
    CHECK(!p->unwritable, "I16: it was said before");
    CHECK(p->overflows, "I5: a payload does not fit although records started");
    p->unwritable = true;
  }
  else if (notice->type == STRAND_NOTICE_WRITABLE) {
    part *p = part_of(w, notice->partition);
    CHECK(p->unwritable, "I16: it was never said that it is not");
    p->unwritable = false;
  }
}

/* A handler of an epoch that has ended returned. The table forgets it at
** once; the member that has the partition now hears of it later. */
static void on_release (void *arg, const strand_orphan *orphan) {
  world *w = arg;
  pending_release *r;
  int m;
  if (w->crashing) return;
  CHECK(strand_ownership_remove(&w->ownership, orphan),
        "released, but was not held");
  m = strand_ownership_member(&w->ownership, orphan->topic, orphan->index);
  if (m < 0) return;
  if (w->release_count == w->release_capacity) {
    w->release_capacity = w->release_capacity == 0 ? 16
                                                   : w->release_capacity * 2;
    w->releases = realloc(w->releases,
                          (size_t)w->release_capacity * sizeof(*w->releases));
  }
  r = &w->releases[w->release_count++];
  *r = (pending_release){ .orphan = *orphan, .member = m };
  r->orphan.topic = TOPIC;
  if (orphan->key_length > 0) memcpy(r->key, orphan->key, orphan->key_length);
}

/* In the order in which they came: of one member, or (-1) of all. */
static void hand_out (world *w, int m, int most) {
  int kept = 0;
  for (int i = 0; i < w->release_count; i++) {
    pending_release *r = &w->releases[i];
    if ((m >= 0 && r->member != m) || most == 0) {
      w->releases[kept++] = *r;
      continue;
    }
    most--;
    r->orphan.key = r->key;
    sim_note(w, "release", r->member, r->orphan.index, r->orphan.offset,
             r->orphan.kind);
    strand_engine_release(w->members[r->member].engine, &r->orphan);
  }
  w->release_count = kept;
}

void member_release (world *w, int most) {
  hand_out(w, -1, most);
}

void member_open (world *w, int m) {
  strand_engine_config config = w->config;
  config.seed[0] = sim_random(w);
  config.seed[1] = sim_random(w);
  config.arg = w;
  config.notice = on_notice;
  config.release = on_release;
  if (!w->faults[FAULT_NO_DEAD_LETTERS]) config.dead_letter = waiting_wanted;
  w->members[m] = (member){ .engine = strand_engine_new(&config) };
  w->members[m].joined = true;
  throttle_open(w, m);
}

/*
** Assign and restore
*/

void member_assign (world *w, int index, int m) {
  part *p = &w->parts[index];
  strand_orphan *orphans;
  size_t count;
  hand_out(w, m, -1); /* an owner reads its mail before it takes on more */
  orphans = strand_ownership_of(&w->ownership, TOPIC, index, &count);
  p->epoch = strand_ownership_assign(&w->ownership, TOPIC, index, (unsigned)m);
  p->live = strand_engine_assign(w->members[m].engine, TOPIC, index, p->epoch,
                                 (size_t)p->route, orphans, count);
  free(orphans);
  CHECK(p->live != NULL, "memory");
  strand_partition_set_opaque(p->live, (void *)(intptr_t)index);
  p->owner = m;
  p->restored = p->paused = p->revoking = p->uncertain = p->failed = false;
  p->overflows = p->unwritable = p->drained = false;
  p->skipped = 0;
  p->resolved = 0;
  p->inside = 0;
  p->passed = 0;
  sim_note(w, "assign", m, index, p->epoch, (int64_t)count);
}

/* The epoch begins at 'committed' with what the payload says. */
static void begin_epoch (world *w, part *p, int64_t committed,
                         const strand_payload *payload) {
  int from = committed < 0 ? 0 : log_slot(p, committed);
  size_t r = 0;
  p->high = -1;
  if (payload != NULL && payload->highest >= committed) {
    p->high = payload->highest;
  }
  for (int i = 0; i < p->count; i++) {
    slot *s = &p->slots[i];
    int64_t o = p->base + i;
    bool open = payload != NULL && r < payload->run_count
                && payload->runs[r].first <= o;
    if (open && payload->runs[r].last == o) r++;
    s->marked = i >= from && o <= p->high && !open;
    s->state = i < from || s->marked ? SLOT_DONE : SLOT_AWAY;
    s->attempt = s->failures = 0;
    s->alone = s->detached = false;
    CHECK(s->state == SLOT_AWAY || !s->exists || s->finished,
          "I1: the broker says that %lld is done", (long long)o);
  }
  p->next = p->checked = from;
  p->restored = true;
  p->covered = payload == NULL ? committed : commit_covers(committed, payload);
  (void)w;
}

/* Does what is done fit, however what runs ends, and the lowest after it? */
static bool fits (const world *w, const part *p) {
  strand_partition_stats s;
  strand_partition_stats_read(w->members[p->owner].engine, p->live, w->now_us,
                              &s);
  return s.payload_bound == 0
         || s.payload_bound + STRAND_OFFSETS_LOWEST <= s.metadata_limit;
}

void member_overflow (world *w, int m) {
  for (int i = 0; i < w->partition_count; i++) {
    part *p = &w->parts[i];
    if (p->live != NULL && (m < 0 || p->owner == m)) p->overflows = true;
  }
}

void member_restore (world *w, int index) {
  part *p = &w->parts[index];
  strand_payload payload;
  const char *problem;
  const char *text = p->metadata == NULL ? "" : p->metadata;
  bool readable;
  if (p->live == NULL || p->restored || p->revoking) return;
  readable = p->committed >= 0
             && strand_payload_decode(p->committed, text, strlen(text),
                                      &payload, &problem)
                  == STRAND_OK;
  if (!readable && p->metadata != NULL) p->metadata[0] = '\0';
  begin_epoch(w, p, p->committed, readable ? &payload : NULL);
  CHECK(strand_engine_restored(w->members[p->owner].engine, p->live,
                               p->committed, readable ? &payload : NULL)
          == STRAND_OK,
        "memory");
  p->backwards = false;
  p->overflows = !fits(w, p);
  sim_note(w, "restored", p->owner, index, p->committed,
           readable ? payload.highest : -1);
  if (readable) strand_payload_free(&payload);
}

/*
** Revoke
*/

typedef struct visitor {
  world *w;
  int count;
} visitor;

static void on_visit (void *arg, const strand_orphan *orphan) {
  visitor *v = arg;
  v->count++;
  CHECK(strand_ownership_add(&v->w->ownership, orphan) == STRAND_OK, "memory");
}

static void revoke (world *w, int index) {
  part *p = &w->parts[index];
  visitor v = { w, 0 };
  int stale;
  if (p->live == NULL) return;
  sim_note(w, "revoke", p->owner, index, p->epoch, 0);
  stale = worker_revoked(w, index);
  waiting_revoked(w, index);
  sending_revoked(w, index);
  strand_engine_revoke(w->members[p->owner].engine, p->live, on_visit, &v);
  CHECK(v.count == stale, "%d shards are held, not %d", stale, v.count);
  strand_ownership_unassign(&w->ownership, TOPIC, index, (unsigned)p->owner);
  p->live = NULL;
  p->owner = -1;
  p->restored = false;
}

/* Back to some record, which is then the base, in a new epoch. */
void member_seek (world *w, int index) {
  part *p = &w->parts[index];
  int m = p->owner;
  int64_t target = p->base + sim_pick(w, p->next + 1);
  if (p->live == NULL || !p->restored || p->revoking) return;
  for (int i = 0; i < log_slot(p, target); i++) {
    if (p->slots[i].exists && !p->slots[i].finished) return; /* skips it */
  }
  sim_note(w, "seek", m, index, target, 0);
  revoke(w, index);
  member_assign(w, index, m);
  begin_epoch(w, p, target, NULL);
  CHECK(strand_engine_restored(w->members[m].engine, p->live, target, NULL)
          == STRAND_OK,
        "memory");
  p->backwards = true;
}

/*
** Rebalance
*/

static void pick_members (world *w) {
  int joined = 0;
  for (int m = 0; m < w->member_count; m++) {
    w->members[m].joined = sim_chance(w, 70);
    joined += w->members[m].joined;
  }
  if (joined == 0) w->members[sim_pick(w, w->member_count)].joined = true;
}

static int pick_owner (world *w) {
  for (;;) {
    int m = sim_pick(w, w->member_count);
    if (w->members[m].joined) return m;
  }
}

static bool leaves (const world *w, fault kind, int lost, int index,
                    const int *to) {
  int owner = w->parts[index].owner;
  if (owner < 0) return false;
  if (kind == FAULT_LOST) return owner == lost;
  return kind == FAULT_EAGER || to[index] != owner;
}

/* Nothing new starts, what runs may end, and then what is done is told. */
static void say_goodbye (world *w, const bool *gone) {
  int grace = sim_pick(w, 40);
  for (int i = 0; i < w->partition_count; i++) {
    if (!gone[i]) continue;
    w->parts[i].revoking = w->parts[i].restored;
    strand_engine_revoking(w->members[w->parts[i].owner].engine,
                           w->parts[i].live);
    worker_recall(w, w->parts[i].owner, i, 80);
  }
  for (; grace > 0; grace--) {
    worker_step(w);
    waiting_dead_letter(w);
    sending_step(w);
    worker_lease(w, sim_pick(w, w->member_count));
  }
  for (int m = 0; m < w->member_count; m++) {
    if (sim_chance(w, 70)) commit_answer(w, m);
    if (!w->members[m].unanswered) commit_now(w, m);
    if (sim_chance(w, 70)) commit_answer(w, m);
  }
}

void member_rebalance (world *w, fault kind) {
  int to[PARTITIONS_MAX], lost = sim_pick(w, w->member_count);
  bool gone[PARTITIONS_MAX];
  if (w->dying) return;
  pick_members(w);
  for (int i = 0; i < w->partition_count; i++) {
    to[i] = pick_owner(w);
    if (kind == FAULT_COOPERATIVE && w->parts[i].owner >= 0
        && w->members[w->parts[i].owner].joined && sim_chance(w, 70)) {
      to[i] = w->parts[i].owner;
    }
    gone[i] = leaves(w, kind, lost, i, to);
  }
  sim_note(w, "rebalance", lost, -1, kind, 0);
  if (kind != FAULT_LOST) say_goodbye(w, gone);
  if (w->dying) return;
  for (int i = 0; i < w->partition_count; i++) {
    if (gone[i]) revoke(w, i);
  }
  w->generation++;
  for (int i = 0; i < w->partition_count; i++) {
    if (w->parts[i].owner < 0) member_assign(w, i, to[i]);
  }
}

/* The process dies; what the broker has, stays. */
void member_crash (world *w) {
  sim_note(w, "crash", -1, -1, w->lease_count, 0);
  w->crashing = true;
  worker_drop(w);
  waiting_revoked(w, -1);
  sending_revoked(w, -1);
  for (int m = 0; m < w->member_count; m++) {
    commit_drop(w, &w->members[m]);
    strand_engine_free(w->members[m].engine);
    w->members[m].engine = NULL;
  }
  w->crashing = w->dying = false;
  commit_forget(w, 50);
  w->generation++;
  w->release_count = 0;
  strand_ownership_free(&w->ownership);
  for (int i = 0; i < w->partition_count; i++) {
    w->parts[i].live = NULL;
    w->parts[i].owner = -1;
    w->parts[i].restored = false;
  }
}

void member_configure (world *w) {
  strand_engine_config *c = &w->config;
  size_t metadata = c->max_metadata;
  c->max_metadata = (size_t)sim_pick(w, 3) * 300 + (size_t)sim_pick(w, 200);
  c->max_buffered_records = (size_t)(1 + sim_pick(w, 500));
  c->max_buffered_bytes = (size_t)(1000 + sim_pick(w, 200000));
  c->max_waiting_records = (size_t)(1 + sim_pick(w, 500));
  c->max_waiting_bytes = (size_t)(1000 + sim_pick(w, 200000));
  if (c->max_metadata < metadata) member_overflow(w, -1);
  for (int i = 0; i < w->route_count; i++) {
    size_t *calls = &w->routes[i].max_in_flight;
    if (*calls > 0) *calls = (size_t)(1 + sim_pick(w, 5));
  }
  for (int m = 0; m < w->member_count; m++) {
    strand_engine_configure(w->members[m].engine, c);
    if (c->max_metadata != metadata) w->members[m].refused = 0;
  }
  sim_note(w, "configure", -1, -1, (int64_t)c->max_metadata,
           (int64_t)c->max_buffered_records);
}

/*
** The invariants of all members, and what the model knows of them
*/

static void check_retries (world *w, int m) {
  size_t waiting = 0;
  int64_t first = INT64_MAX, next;
  strand_engine_stats stats;
  next = strand_engine_tick(w->members[m].engine, w->now_us);
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    if (p->owner != m || !p->restored) continue;
    for (int k = 0; k < p->next; k++) {
      const slot *s = &p->slots[k];
      if (s->state != SLOT_IN || s->attempt == 0) continue;
      if (s->due_us <= w->now_us) continue;
      waiting++;
      if (s->due_us < first) first = s->due_us;
    }
  }
  strand_engine_stats_read(w->members[m].engine, &stats);
  CHECK(stats.retries == waiting, "%zu wait for a retry, not %zu", waiting,
        stats.retries);
  CHECK(throttle_any(w) ? next <= first : next == first,
        "the next retry is due at %lld, not %lld", (long long)first,
        (long long)next);
}

void member_check (world *w) {
  strand_ownership_check(&w->ownership);
  for (int m = 0; m < w->member_count; m++) {
    strand_engine_check(w->members[m].engine);
    strand_engine_maintain(w->members[m].engine, w->now_us);
    check_retries(w, m);
    waiting_check(w, m);
    sending_check(w, m);
  }
  for (int i = 0; i < w->partition_count; i++) {
    part *p = &w->parts[i];
    if (p->live != NULL && p->restored && fits(w, p)) p->overflows = false;
    log_check_intake(w, i);
    commit_check_clean(w, i);
  }
}
