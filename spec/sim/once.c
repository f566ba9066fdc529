/*
** once.c - at most once: seeded schedules through the real engine, and crashes
**
**   log --read--> engine of a member --lease--> worker: starts, ends
**                      |        ^                             |
**                      +-commit-+                          outputs, out:
**                        taken or not, answered or not     acknowledged or not
**
** What is checked:
**   O1  a record starts when the broker's commit covers it, so that no later
**       life starts it: once, over crashes, rebalances and closes
**   O2  what the broker's commit covers and has not ended is at most two
**       windows of a partition: that a crash loses
**   O3  an end whose commit back is acknowledged loses what it says, which is
**       nothing but what was cut off, what was produced and not acknowledged,
**       and (where metadata shrank) what could not be told
**   O4  records of a key start in their order
**   O5  all that is not lost is started in the end
**
** Not modelled: a commit that is taken after a later one was acknowledged.
** One is in flight at a time, and the group's generation fences those of an
** owner before; the broker alone can then turn them round (docs/delivery.md).
*/
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define PARTS 3
#define OWNERS 2
#define LEASES 64
#define KEYS 12
#define ORPHANS 512
#define DEAD_LETTERS 4096
#define OUTPUTS (2 * PARTS * STRAND_WINDOW_RECORDS)

typedef struct entry {
  bool exists;
  bool read; /* in this epoch */
  bool started;
  bool ended;
  bool lost;
  uint8_t key;
} entry;

typedef struct topic_part {
  entry *log;
  int count;
  int next;
  int owner;
  uint32_t epoch;
  bool restored;
  bool leaving;
  strand_partition *live;
  int64_t committed; /* at the broker; -1 */
  char metadata[4200];
  int64_t last[KEYS]; /* that started */
} topic_part;

typedef struct handed {
  strand_lease lease;
  int owner;
  int part;
  uint32_t epoch;
  bool running; /* its first record */
} handed;

typedef struct sent {
  strand_commit *commit; /* NULL: none is out */
  strand_answer answer;
} sent;

typedef struct pending_dead_letter {
  strand_record *record;
  int part;
} pending_dead_letter;

/* Handled, and what it produced is not acknowledged. */
typedef struct pending_outputs {
  strand_record *record;
  int part;
} pending_outputs;

typedef struct orphan_key {
  strand_orphan orphan;
  char key[8];
} orphan_key;

typedef struct once {
  world *w;
  bool faults;
  bool fast; /* windows grow */
  bool crashing;
  int64_t lost;
  int64_t crashes;
  strand_engine *engines[OWNERS];
  strand_engine_config config;
  strand_route_limits route;
  topic_part parts[PARTS];
  sent out[OWNERS];
  handed leases[LEASES];
  int lease_count;
  pending_dead_letter dead_letters[DEAD_LETTERS];
  int dead_letter_count;
  pending_outputs outputs[OUTPUTS];
  int output_count;
  orphan_key orphans[ORPHANS];
  int orphan_count;
} once;

static once o;

/*
** What the engine says
*/

static void on_notice (void *arg, const strand_notice *n) {
  (void)arg;
  CHECK(n->type != STRAND_NOTICE_PARKED, "at most once nothing is parked");
  CHECK(n->delay_us < 0 || n->type != STRAND_NOTICE_FAILED, "tried again");
}

static void keep_orphan (void *arg, const strand_orphan *orphan) {
  orphan_key *h = &o.orphans[o.orphan_count++];
  (void)arg;
  CHECK(o.orphan_count < ORPHANS, "orphans");
  h->orphan = *orphan;
  h->orphan.topic = TOPIC;
  if (orphan->key_length > 0) memcpy(h->key, orphan->key, orphan->key_length);
}

static bool is_same (const strand_orphan *a, const strand_orphan *b) {
  if (a->kind != b->kind || a->index != b->index) return false;
  if (a->kind == STRAND_SHARD_RECORD) return a->offset == b->offset;
  return a->key_length == b->key_length
         && (a->key_length == 0 || memcmp(a->key, b->key, a->key_length) == 0);
}

static void on_release (void *arg, const strand_orphan *orphan) {
  (void)arg;
  if (o.crashing) return;
  for (int i = 0; i < o.orphan_count; i++) {
    orphan_key h = o.orphans[i];
    h.orphan.key = h.key;
    if (!is_same(&h.orphan, orphan)) continue;
    o.orphans[i] = o.orphans[--o.orphan_count];
    if (o.parts[orphan->index].live == NULL) return;
    strand_engine_release(o.engines[o.parts[orphan->index].owner], &h.orphan);
    return;
  }
}

static bool on_dead_letter (void *arg, strand_partition *p, strand_record *r) {
  (void)arg;
  CHECK(o.dead_letter_count < DEAD_LETTERS, "letters");
  o.dead_letters[o.dead_letter_count++] = (pending_dead_letter){
    r, (int)(intptr_t)strand_partition_opaque(p)
  };
  return true;
}

/*
** The broker
*/

/* Its commit says that 'offset' is done. */
static bool covers_at (int64_t committed, const strand_payload *payload,
                       int64_t offset) {
  if (offset < committed) return true;
  if (payload == NULL || offset > payload->highest) return false;
  for (size_t i = 0; i < payload->run_count; i++) {
    if (payload->runs[i].first <= offset && offset <= payload->runs[i].last)
      return false;
  }
  return true;
}

static bool read_commit (const topic_part *p, strand_payload *payload) {
  const char *problem;
  if (p->committed < 0) return false;
  CHECK(strand_payload_decode(p->committed, p->metadata, strlen(p->metadata),
                              payload, &problem)
          == STRAND_OK,
        "metadata");
  return true;
}

static bool covers (const topic_part *p, int64_t offset) {
  strand_payload payload;
  bool yes;
  if (offset < p->committed) return true;
  if (p->metadata[0] == '\0' || !read_commit(p, &payload)) return false;
  yes = covers_at(p->committed, &payload, offset);
  strand_payload_free(&payload);
  return yes;
}

/* What it covers and has not ended; marks it as lost, if asked. */
static int uncovered_by_a_crash (topic_part *p, bool lose) {
  strand_payload payload;
  bool some = read_commit(p, &payload);
  int count = 0;
  for (int i = 0; some && i < p->count; i++) {
    entry *e = &p->log[i];
    if (!e->exists || e->ended || e->lost) continue;
    if (!covers_at(p->committed, &payload, i)) continue;
    count++;
    e->lost = lose;
  }
  if (some) strand_payload_free(&payload);
  return count;
}

static void take_item (const strand_commit_item *item) {
  topic_part *p = &o.parts[(intptr_t)strand_partition_opaque(item->partition)];
  int left;
  if (p->live != item->partition) return; /* fenced */
  CHECK(strlen(item->metadata) <= o.config.max_metadata, "metadata");
  CHECK(item->back == p->leaving, "the way of a commit");
  p->committed = item->offset;
  snprintf(p->metadata, sizeof(p->metadata), "%s", item->metadata);
  left = uncovered_by_a_crash(p, false);
  CHECK(left <= 2 * STRAND_WINDOW_RECORDS, "O2: a crash would lose %d", left);
}

/*
** Commits
*/

static bool crash_now (int percent) {
  if (!o.faults || !sim_chance(o.w, percent)) return false;
  o.w->dying = true;
  return true;
}

static void send_commit (int owner) {
  sent *s = &o.out[owner];
  bool some = o.faults && sim_chance(o.w, 10);
  s->answer = STRAND_COMMITTED;
  if (some) {
    s->answer = sim_chance(o.w, 50) ? STRAND_COMMIT_LATER
                                    : STRAND_COMMIT_UNKNOWN;
  }
  if (crash_now(1)) return;
  for (size_t i = 0; i < s->commit->count; i++) {
    const strand_commit_item *item = &s->commit->items[i];
    sim_note(o.w, item->back ? "back" : "commit", owner,
             (int)(intptr_t)strand_partition_opaque(item->partition),
             item->offset, s->answer);
    if (s->answer == STRAND_COMMIT_LATER) continue;
    if (s->answer == STRAND_COMMIT_UNKNOWN && sim_chance(o.w, 50)) continue;
    take_item(item);
  }
  crash_now(1);
}

static void answer_commit (int owner) {
  sent *s = &o.out[owner];
  strand_commit *c = s->commit;
  if (c == NULL || o.w->dying || crash_now(1)) return;
  s->commit = NULL;
  strand_engine_commit_answer(o.engines[owner], c, s->answer, o.w->now_us);
}

static void plan_commit (int owner) {
  sent *s = &o.out[owner];
  if (s->commit != NULL || o.w->dying) return;
  s->commit = strand_engine_commit(o.engines[owner], o.w->now_us, NULL);
  if (s->commit != NULL) send_commit(owner);
}

static void commit_step_once (int owner) {
  if (o.out[owner].commit != NULL) {
    if (!o.faults || sim_chance(o.w, 50)) answer_commit(owner);
  }
  else if (strand_engine_commit_due(o.engines[owner], o.w->now_us)
           <= o.w->now_us)
    plan_commit(owner);
}

/*
** Epochs
*/

static void assign (int index, int owner) {
  topic_part *p = &o.parts[index];
  strand_orphan list[ORPHANS];
  size_t count = 0;
  for (int i = 0; i < o.orphan_count; i++) {
    if (o.orphans[i].orphan.index != index) continue;
    list[count] = o.orphans[i].orphan;
    list[count++].key = o.orphans[i].key;
  }
  p->owner = owner;
  p->live = strand_engine_assign(o.engines[owner], TOPIC, index, ++p->epoch, 0,
                                 list, count);
  strand_partition_set_opaque(p->live, (void *)(intptr_t)index);
  p->restored = p->leaving = false;
}

static void restore (int index) {
  topic_part *p = &o.parts[index];
  strand_payload payload;
  bool some = read_commit(p, &payload);
  if (p->restored || p->leaving) {
    if (some) strand_payload_free(&payload);
    return;
  }
  CHECK(strand_engine_restored(o.engines[p->owner], p->live, p->committed,
                               some ? &payload : NULL)
          == STRAND_OK,
        "memory");
  if (some) strand_payload_free(&payload);
  p->next = p->committed < 0 ? 0 : (int)p->committed;
  p->restored = true;
  sim_note(o.w, "restored", p->owner, index, p->committed, p->epoch);
}

static void forget_dead_letters (int index) {
  for (int i = o.dead_letter_count - 1; i >= 0; i--) {
    if (index >= 0 && o.dead_letters[i].part != index) continue;
    o.dead_letters[i] = o.dead_letters[--o.dead_letter_count];
  }
}

static void forget_outputs (int index) {
  for (int i = o.output_count - 1; i >= 0; i--) {
    if (index >= 0 && o.outputs[i].part != index) continue;
    o.outputs[i] = o.outputs[--o.output_count];
  }
}

static void forget_lease (int i) {
  o.leases[i] = o.leases[--o.lease_count];
}

static void give_back (int i) {
  handed *h = &o.leases[i];
  CHECK(strand_engine_give_back(o.engines[h->owner], &h->lease) == STRAND_OK,
        "memory");
  forget_lease(i);
}

/* What no worker has begun; of a partition, or (-1) of all. */
static void recall (int index) {
  for (int i = o.lease_count - 1; i >= 0; i--) {
    if (i >= o.lease_count || o.leases[i].running) continue;
    if (index >= 0 && o.leases[i].part != index) continue;
    give_back(i);
  }
}

static bool is_live (const handed *h) {
  return o.parts[h->part].epoch == h->epoch && o.parts[h->part].live != NULL;
}

/*
** Workers
*/

static entry *entry_of (const handed *h) {
  return &o.parts[h->part].log[h->lease.record->offset];
}

static void start (handed *h) {
  topic_part *p = &o.parts[h->part];
  int64_t offset = h->lease.record->offset;
  entry *e = entry_of(h);
  CHECK(!e->started && !e->lost, "O1: %lld starts twice", (long long)offset);
  CHECK(covers(p, offset), "O1: %lld starts before its commit",
        (long long)offset);
  CHECK(o.config.ordering == STRAND_UNORDERED || p->last[e->key] < offset,
        "O4: %lld", (long long)offset);
  p->last[e->key] = offset;
  e->started = h->running = true;
  sim_note(o.w, "start", h->owner, h->part, offset, h->lease.count);
}

/* False: it may not, and has come back. */
static bool begin (int i) {
  handed *h = &o.leases[i];
  if (!is_live(h) || o.parts[h->part].leaving) {
    give_back(i);
    return false;
  }
  start(h);
  return true;
}

/* The first record has produced something. */
static void send_first (handed *h) {
  uint32_t left = h->lease.count - 1;
  CHECK(o.output_count < OUTPUTS, "outputs");
  o.w->fault_counts[FAULT_SEND]++;
  sim_note(o.w, "sent", h->owner, h->part, h->lease.record->offset, 0);
  o.outputs[o.output_count++] = (pending_outputs){ h->lease.record, h->part };
  CHECK(strand_engine_sent(o.engines[h->owner], &h->lease) == STRAND_OK,
        "memory");
  CHECK(h->lease.count == left, "the lease has %u, not %u", h->lease.count,
        left);
  h->running = false;
}

static void end_first (handed *h) {
  static const strand_outcome_kind kinds[] = {
    STRAND_OUTCOME_FAILED, STRAND_OUTCOME_RETRY,       STRAND_OUTCOME_PARK,
    STRAND_OUTCOME_SKIP,   STRAND_OUTCOME_DEAD_LETTER, STRAND_OUTCOME_STOP
  };
  strand_engine *e = o.engines[h->owner];
  strand_ending ending = { kinds[sim_pick(o.w, 6)], -1, "no", 2 };
  uint32_t left = h->lease.count - 1;
  entry_of(h)->ended = is_live(h);
  if (sim_chance(o.w, 3)) strand_engine_expire(e, &h->lease, "late", 4);
  if (sim_chance(o.w, 85)) ending.kind = STRAND_OUTCOME_DONE;
  CHECK(strand_engine_end(e, &h->lease, &ending, o.w->now_us) == STRAND_OK,
        "memory");
  CHECK(!is_live(h) || h->lease.count == left, "the lease has %u, not %u",
        h->lease.count, left);
  h->running = false;
}

static void worker_step_once (int i) {
  handed *h = &o.leases[i];
  if (!h->running) {
    begin(i);
    return;
  }
  if (is_live(h) && sim_chance(o.w, 30)) send_first(h);
  else end_first(h);
  if (h->lease.count == 0) forget_lease(i);
  else if (!begin(i)) return;
}

static void lease_step (int owner) {
  handed h = { .owner = owner };
  if (o.lease_count == LEASES) return;
  if (!strand_engine_lease(o.engines[owner], sim_chance(o.w, 50) ? 64 : 1,
                           o.w->now_us, &h.lease))
    return;
  h.part = (int)(intptr_t)strand_partition_opaque(h.lease.partition);
  h.epoch = h.lease.epoch;
  CHECK(!o.parts[h.part].leaving, "a lease of one that goes");
  o.leases[o.lease_count++] = h;
}

static void dead_letter_step (void) {
  pending_dead_letter l;
  strand_engine *e;
  int i = o.dead_letter_count == 0 ? -1 : sim_pick(o.w, o.dead_letter_count);
  if (i < 0) return;
  l = o.dead_letters[i];
  e = o.engines[o.parts[l.part].owner];
  o.dead_letters[i] = o.dead_letters[--o.dead_letter_count];
  CHECK(
    (sim_chance(o.w, 70)
       ? strand_engine_dead_letter_acked(e, l.record, o.w->now_us)
       : strand_engine_dead_letter_refused(e, l.record, "no", 2, o.w->now_us))
      == STRAND_OK,
    "memory");
}

/* An end of it is final too, and tells what the policy says. */
static void end_output (int i) {
  pending_outputs out = o.outputs[i];
  topic_part *p = &o.parts[out.part];
  strand_engine *e = o.engines[p->owner];
  bool acked = sim_chance(o.w, 85);
  strand_err err;
  o.outputs[i] = o.outputs[--o.output_count];
  sim_note(o.w, acked ? "acked" : "refused", p->owner, out.part,
           out.record->offset, 0);
  p->log[out.record->offset].ended = true;
  err = acked ? strand_engine_output_acked(e, out.record, o.w->now_us)
              : strand_engine_output_refused(e, &out.record, "large", 5,
                                             o.w->now_us);
  CHECK(err == STRAND_OK, "memory");
}

static void output_step (void) {
  if (o.output_count > 0) end_output(sim_pick(o.w, o.output_count));
}

/*
** Ends
*/

/* Its running records end, or are cut off. */
static void grace (int index, int percent) {
  for (int i = o.lease_count - 1; i >= 0; i--) {
    if (i >= o.lease_count || o.leases[i].part != index) continue;
    if (o.leases[i].running && sim_chance(o.w, percent)) {
      worker_step_once(i);
    }
  }
  for (int i = o.output_count - 1; i >= 0; i--) {
    if (o.outputs[i].part == index && sim_chance(o.w, percent)) end_output(i);
  }
}

static size_t sending_of (int index) {
  size_t count = 0;
  for (int i = 0; i < o.output_count; i++) count += o.outputs[i].part == index;
  return count;
}

/* Every record that is not lost and has not started is left to the next. */
static void check_end (int index) {
  topic_part *p = &o.parts[index];
  strand_engine *e = o.engines[p->owner];
  strand_losses losses;
  size_t unstarted = 0, cut_off = 0;
  bool clean = !strand_engine_dirty(e, p->live);
  strand_engine_losses(e, p->live, &losses);
  for (int i = 0; i < p->count; i++) {
    entry *at = &p->log[i];
    if (!at->exists || at->ended || at->lost || !covers(p, i)) continue;
    at->lost = true;
    if (at->started) cut_off++;
    else unstarted++;
  }
  CHECK(clean ? losses.unstarted == unstarted : losses.unstarted >= unstarted,
        "O3: %zu are lost, not %zu", unstarted, losses.unstarted);
  CHECK(!clean || unstarted == 0 || o.config.max_metadata < 4096,
        "O3: an orderly end loses %zu", unstarted);
  CHECK(losses.sending == sending_of(index), "O3: %zu are sent, not %zu",
        sending_of(index), losses.sending);
  CHECK(losses.cut_off + losses.sending >= cut_off,
        "O3: %zu are cut off, not %zu", cut_off,
        losses.cut_off + losses.sending);
  o.lost += (int64_t)(unstarted + cut_off);
}

static void leave (int index, int percent) {
  topic_part *p = &o.parts[index];
  int owner = p->owner;
  if (!p->restored) return;
  strand_engine_revoking(o.engines[owner], p->live);
  p->leaving = true;
  recall(index);
  grace(index, percent);
  for (int i = 0; i < o.lease_count; i++) {
    handed *h = &o.leases[i];
    if (h->part == index && is_live(h)) {
      strand_engine_cut(o.engines[owner], &h->lease, 1);
    }
  }
  for (int tries = 0; tries < 4; tries++) {
    answer_commit(owner);
    if (o.w->dying || !strand_engine_dirty(o.engines[owner], p->live)) break;
    plan_commit(owner);
  }
  if (!o.w->dying && o.faults) answer_commit(owner);
}

static void revoke (int index) {
  topic_part *p = &o.parts[index];
  sim_note(o.w, "revoke", p->owner, index, p->committed, 0);
  if (p->restored) check_end(index);
  forget_dead_letters(index);
  forget_outputs(index);
  strand_engine_revoke(o.engines[p->owner], p->live, keep_orphan, NULL);
  p->live = NULL;
}

static void move_part (int index) {
  leave(index, sim_pick(o.w, 101));
  if (o.w->dying) return;
  revoke(index);
  assign(index, sim_pick(o.w, OWNERS));
}

static void open_all (void) {
  for (int m = 0; m < OWNERS; m++) {
    o.config.seed[0] = sim_random(o.w);
    o.engines[m] = strand_engine_new(&o.config);
  }
  for (int i = 0; i < PARTS; i++) assign(i, sim_pick(o.w, OWNERS));
}

static void close_all (void) {
  o.crashing = true;
  while (o.lease_count > 0) give_back(o.lease_count - 1);
  forget_dead_letters(-1);
  forget_outputs(-1);
  for (int m = 0; m < OWNERS; m++) {
    if (o.out[m].commit != NULL) {
      strand_engine_commit_answer(o.engines[m], o.out[m].commit,
                                  STRAND_COMMIT_UNKNOWN, o.w->now_us);
    }
    o.out[m].commit = NULL;
    strand_engine_free(o.engines[m]);
  }
  o.crashing = o.w->dying = false;
  o.orphan_count = 0;
}

static void crash (void) {
  sim_note(o.w, "crash", -1, -1, o.lease_count, 0);
  o.w->fault_counts[FAULT_CRASH]++;
  close_all();
  for (int i = 0; i < PARTS; i++) {
    int lost = uncovered_by_a_crash(&o.parts[i], true);
    CHECK(lost <= 2 * STRAND_WINDOW_RECORDS, "O2: a crash loses %d", lost);
    o.lost += lost;
  }
  o.crashes++;
  open_all();
}

static void stop_and_start (void) {
  for (int i = 0; i < PARTS; i++) {
    if (!o.w->dying) leave(i, 100);
  }
  if (o.w->dying) return;
  for (int i = 0; i < PARTS; i++) revoke(i);
  close_all();
  open_all();
}

/*
** A world
*/

static void read_step (int index) {
  topic_part *p = &o.parts[index];
  strand_engine *e = o.engines[p->owner];
  int left = 1 + sim_pick(o.w, 200);
  if (!p->restored || p->leaving) return;
  for (; left > 0 && p->next < p->count; p->next++, left--) {
    entry *at = &p->log[p->next];
    strand_record *r;
    bool covered = covers(p, p->next);
    strand_added added;
    if (!at->exists) continue;
    if (!strand_engine_may_read(e, p->live)) return;
    r = strand_engine_room(e, p->live, 1);
    r->flags |= STRAND_RECORD_KEY;
    r->offset = p->next;
    r->key_length = 1;
    r->value_length = r->headers_length = 0;
    r->bytes[0] = (char)('a' + at->key);
    added = strand_engine_admit(e, p->live, r, o.w->now_us);
    CHECK((added == STRAND_ADDED) || (added == STRAND_ADDED_DONE && covered),
          "%d is not added", p->next);
    CHECK(added == STRAND_ADDED_DONE || (!at->started && !at->lost),
          "O1: %d comes again", p->next);
  }
  if (p->next == p->count) strand_engine_reach(e, p->live, p->count);
}

static void rare (void) {
  int index = sim_pick(o.w, PARTS);
  topic_part *p = &o.parts[index];
  if (sim_chance(o.w, 2) || o.w->dying) crash();
  if (sim_chance(o.w, 12)) move_part(index);
  if (!o.w->dying && sim_chance(o.w, 8)) stop_and_start();
  if (o.w->dying) return;
  if (sim_chance(o.w, 20)) recall(-1);
  if (sim_chance(o.w, 30)) {
    strand_engine_pause(o.engines[p->owner], p->live, sim_chance(o.w, 50));
  }
  if (o.w->faults[FAULT_TINY] && sim_chance(o.w, 20)) {
    o.config.max_metadata = (size_t)(60 + sim_pick(o.w, 400));
    for (int m = 0; m < OWNERS; m++) {
      strand_engine_configure(o.engines[m], &o.config);
    }
  }
}

static void step_once (void) {
  int what = sim_pick(o.w, 1000), owner = sim_pick(o.w, OWNERS);
  o.w->now_us += sim_pick(o.w, o.fast ? 20 : 2000);
  if (what < 60) read_step(sim_pick(o.w, PARTS));
  else if (what < 450) lease_step(owner);
  else if (what < 850) {
    if (o.lease_count > 0) worker_step_once(sim_pick(o.w, o.lease_count));
  }
  else if (what < 875) dead_letter_step();
  else if (what < 900) {
    for (int i = 1 + sim_pick(o.w, 20); i > 0; i--) output_step();
  }
  else if (what < 970) commit_step_once(owner);
  else if (what < 990) restore(sim_pick(o.w, PARTS));
  else rare();
  if (o.w->dying) crash();
  if (++o.w->steps % 64 == 0) {
    for (int m = 0; m < OWNERS; m++) {
      strand_engine_check(o.engines[m]);
      strand_engine_maintain(o.engines[m], o.w->now_us);
    }
  }
}

static bool is_over_once (void) {
  for (int i = 0; i < PARTS; i++) {
    const topic_part *p = &o.parts[i];
    for (int k = 0; k < p->count; k++) {
      const entry *e = &p->log[k];
      if (e->exists && !e->started && !e->lost) return false;
    }
  }
  return o.lease_count == 0 && o.dead_letter_count == 0 && o.output_count == 0;
}

static void settle (void) {
  int rounds = 0;
  o.faults = false;
  o.config.max_metadata = 4096;
  for (int m = 0; m < OWNERS; m++) {
    strand_engine_configure(o.engines[m], &o.config);
  }
  for (int i = 0; i < PARTS; i++) {
    strand_engine_pause(o.engines[o.parts[i].owner], o.parts[i].live, false);
  }
  for (; !is_over_once() && rounds < 100000; rounds++) {
    o.w->now_us += 1000;
    for (int i = 0; i < PARTS; i++) {
      restore(i);
      read_step(i);
    }
    for (int m = 0; m < OWNERS; m++) {
      commit_step_once(m);
      for (int i = 0; i < 20; i++) lease_step(m);
    }
    for (int i = o.lease_count * 2; i > 0 && o.lease_count > 0; i--) {
      worker_step_once(sim_pick(o.w, o.lease_count));
    }
    while (o.output_count > 0) output_step();
    while (o.dead_letter_count > 0) dead_letter_step();
  }
  CHECK(is_over_once(), "O5: not all has started");
}

static void make_once (world *w, int events) {
  o = (once){ .w = w, .faults = true, .fast = sim_chance(w, 50) };
  w->config.ordering = (strand_ordering)sim_pick(w, 3);
  w->faults[FAULT_TINY] = sim_chance(w, 30);
  w->partition_count = PARTS;
  w->member_count = OWNERS;
  w->keys = KEYS;
  o.route.policy = (strand_policy){ .exhausted = sim_chance(w, 50)
                                                   ? STRAND_OUTCOME_DEAD_LETTER
                                                 : sim_chance(w, 50)
                                                   ? STRAND_OUTCOME_SKIP
                                                   : STRAND_OUTCOME_STOP };
  o.config = (strand_engine_config){ .ordering = w->config.ordering,
                                     .delivery = STRAND_AT_MOST_ONCE,
                                     .max_metadata = 4096,
                                     .max_buffered_records = 20000,
                                     .max_buffered_bytes = 1 << 24,
                                     .max_waiting_records = 20000,
                                     .max_waiting_bytes = 1 << 24,
                                     .commit_interval_us = 100000,
                                     .routes = &o.route,
                                     .route_count = 1,
                                     .notice = on_notice,
                                     .release = on_release,
                                     .dead_letter = on_dead_letter };
  for (int i = 0; i < PARTS; i++) {
    topic_part *p = &o.parts[i];
    p->count = sim_chance(w, 50) ? events / 6 : 1 + sim_pick(w, events / 2);
    p->log = calloc((size_t)p->count, sizeof(entry));
    p->committed = -1;
    for (int k = 0; k < KEYS; k++) p->last[k] = -1;
    for (int k = 0; k < p->count; k++) {
      p->log[k] = (entry){ .exists = !sim_chance(w, 5),
                           .key = (uint8_t)sim_pick(w, KEYS) };
    }
  }
  open_all();
}

void once_seed (world *w, uint64_t seed, int events) {
  bool trace = w->trace;
  memset(w, 0, sizeof(*w));
  w->trace = trace;
  w->seed = w->random = seed;
  make_once(w, events);
  while (w->events < (uint64_t)events / 2 && w->steps < (uint64_t)events * 3) {
    step_once();
  }
  settle();
  close_all();
  w->lost = (uint64_t)o.lost;
  w->lost_allowed = (uint64_t)(o.crashes * PARTS * 2 * STRAND_WINDOW_RECORDS);
  for (int i = 0; i < PARTS; i++) free(o.parts[i].log);
}
