/*
** exactly.c - exactly once: seeded schedules through the real engine, around
** transactions that may end in any way; see exactly.h
*/
#include "exactly.h"

#include <stdlib.h>
#include <string.h>

#define LEASES 96
#define ORPHANS 1024

typedef struct handed {
  strand_lease lease;
  int member;
  int index;
  bool running; /* its first record */
} handed;

typedef struct orphan_key {
  strand_orphan orphan;
  int member;
  char key[8];
} orphan_key;

exactly x;

static handed leases[LEASES];
static int lease_count;
static orphan_key orphans[ORPHANS];
static int orphan_count;

static void *opaque_of (int m, int index) {
  return (void *)(intptr_t)(m * X_PARTS + index);
}

static int member_of (const strand_partition *p) {
  return (int)(intptr_t)strand_partition_opaque(p) / X_PARTS;
}

static int part_of (const strand_partition *p) {
  return (int)(intptr_t)strand_partition_opaque(p) % X_PARTS;
}

/*
** What the engine says
*/

static void on_notice (void *arg, const strand_notice *n) {
  bool skips = x.route.policy.exhausted == STRAND_OUTCOME_SKIP;
  (void)arg;
  if (n->type != STRAND_NOTICE_FAILED || n->delay_us >= 0 || !skips) return;
  x.parts[part_of(n->partition)]
    .log[n->record->offset]
    .made[member_of(n->partition)] = MADE_NONE;
}

static bool on_dead_letter (void *arg, strand_partition *p, strand_record *r) {
  (void)arg;
  transactor_stage(member_of(p), part_of(p), r, MADE_DEAD_LETTER);
  return true;
}

static void keep_orphan (void *arg, const strand_orphan *orphan) {
  orphan_key *o = &orphans[orphan_count++];
  CHECK(orphan_count < ORPHANS, "orphans");
  o->orphan = *orphan;
  o->orphan.topic = TOPIC;
  o->member = (int)(intptr_t)arg;
  if (orphan->key_length > 0) memcpy(o->key, orphan->key, orphan->key_length);
}

static bool is_same (const strand_orphan *a, const strand_orphan *b) {
  if (a->kind != b->kind || a->index != b->index) return false;
  if (a->kind == STRAND_SHARD_RECORD) return a->offset == b->offset;
  return a->key_length == b->key_length
         && (a->key_length == 0 || memcmp(a->key, b->key, a->key_length) == 0);
}

static void on_release (void *arg, const strand_orphan *orphan) {
  int m = (int)(intptr_t)arg;
  for (int i = 0; i < orphan_count && !x.crashing; i++) {
    orphan_key o = orphans[i];
    o.orphan.key = o.key;
    if (o.member != m || !is_same(&o.orphan, orphan)) continue;
    orphans[i] = orphans[--orphan_count];
    if (x.parts[orphan->index].holds[m].live == NULL) return;
    strand_engine_release(x.members[m].engine, &o.orphan);
    return;
  }
}

static void forget_orphans (int m) {
  for (int i = orphan_count - 1; i >= 0; i--) {
    if (orphans[i].member == m) orphans[i] = orphans[--orphan_count];
  }
}

/*
** Workers
*/

static void give_back (int i) {
  handed *h = &leases[i];
  CHECK(strand_engine_give_back(x.members[h->member].engine, &h->lease)
          == STRAND_OK,
        "memory");
  leases[i] = leases[--lease_count];
}

/* What no worker has begun. */
static void recall (int m, int index) {
  for (int i = lease_count - 1; i >= 0; i--) {
    const handed *h = &leases[i];
    if (i < lease_count && !h->running && h->member == m && h->index == index)
      give_back(i);
  }
}

static x_entry *entry_of (const handed *h) {
  return &x.parts[h->index].log[h->lease.record->offset];
}

/* False: it may not, and has come back. */
static bool begin (int i) {
  handed *h = &leases[i];
  x_entry *e;
  if (strand_engine_is_stale(&h->lease)
      || x.parts[h->index].holds[h->member].leaving) {
    give_back(i);
    return false;
  }
  e = entry_of(h);
  CHECK(!e->covered || x.members[h->member].expelled,
        "X6: %d/%lld is covered, and starts", h->index,
        (long long)h->lease.record->offset);
  CHECK(!e->held[h->member], "X7: %d/%lld was handled, and starts again",
        h->index, (long long)h->lease.record->offset);
  e->made[h->member] = MADE_NOTHING;
  h->running = true;
  sim_note(x.w, "start", h->member, h->index, h->lease.record->offset,
           h->lease.count);
  return true;
}

static void send_first (handed *h) {
  strand_record *r = h->lease.record;
  CHECK(strand_engine_sent(x.members[h->member].engine, &h->lease)
          == STRAND_OK,
        "memory");
  transactor_stage(h->member, h->index, r,
                   sim_chance(x.w, 50) ? MADE_ONE : MADE_TWO);
}

static void end_first (handed *h) {
  static const strand_outcome_kind kinds[] = {
    STRAND_OUTCOME_DONE, STRAND_OUTCOME_DONE,  STRAND_OUTCOME_FAILED,
    STRAND_OUTCOME_SKIP, STRAND_OUTCOME_RETRY, STRAND_OUTCOME_DEAD_LETTER
  };
  strand_ending ending = { kinds[sim_pick(x.w, 6)], -1, "no", 2 };
  bool stale = strand_engine_is_stale(&h->lease);
  h->running = false;
  if (!stale && sim_chance(x.w, 70)) {
    send_first(h);
    return;
  }
  if (!stale
      && (ending.kind == STRAND_OUTCOME_DONE
          || ending.kind == STRAND_OUTCOME_SKIP))
    entry_of(h)->made[h->member] = MADE_NONE;
  CHECK(strand_engine_end(x.members[h->member].engine, &h->lease, &ending,
                          x.w->now_us)
          == STRAND_OK,
        "memory");
}

static void work_step (int i) {
  handed *h = &leases[i];
  if (!h->running) {
    begin(i);
    return;
  }
  end_first(h);
  if (h->lease.count == 0) leases[i] = leases[--lease_count];
}

static void lease_step (int m) {
  handed h = { .member = m };
  strand_engine *e = x.members[m].engine;
  if (lease_count == LEASES) return;
  strand_engine_tick(e, x.w->now_us);
  if (!strand_engine_lease(e, sim_chance(x.w, 50) ? 64 : 1, x.w->now_us,
                           &h.lease))
    return;
  h.index = part_of(h.lease.partition);
  leases[lease_count++] = h;
}

/*
** Epochs
*/

static void assign (int index, int m) {
  x_part *p = &x.parts[index];
  strand_orphan list[ORPHANS];
  size_t count = 0;
  for (int i = 0; i < orphan_count; i++) {
    if (orphans[i].orphan.index != index || orphans[i].member != m) continue;
    list[count] = orphans[i].orphan;
    list[count++].key = orphans[i].key;
  }
  CHECK(p->holds[m].live == NULL, "it has it");
  p->owner = m;
  p->holds[m] = (x_hold){ strand_engine_assign(x.members[m].engine, TOPIC,
                                               index, ++p->epoch, 0, list,
                                               count),
                          false, false, 0 };
  strand_partition_set_opaque(p->holds[m].live, opaque_of(m, index));
}

static void restore (int m, int index) {
  x_part *p = &x.parts[index];
  x_hold *h = &p->holds[m];
  strand_payload payload, *some = NULL;
  int64_t committed;
  const char *metadata, *problem;
  if (h->live == NULL || h->restored || h->leaving) return;
  if (broker_read(index, &committed, &metadata) != REPLY_OK) return;
  if (committed >= 0) {
    CHECK(strand_payload_decode(committed, metadata, strlen(metadata),
                                &payload, &problem)
            == STRAND_OK,
          "metadata");
    some = &payload;
  }
  CHECK(strand_engine_restored(x.members[m].engine, h->live, committed, some)
          == STRAND_OK,
        "memory");
  if (some != NULL) strand_payload_free(some);
  for (int i = 0; i < p->count; i++) p->log[i].made[m] = MADE_NOTHING;
  h->next = committed < 0 ? 0 : (int)committed;
  h->restored = true;
  sim_note(x.w, "restored", m, index, committed, p->epoch);
}

static void read_step (int m, int index) {
  x_part *p = &x.parts[index];
  x_hold *h = &p->holds[m];
  strand_engine *e = x.members[m].engine;
  int left = 1 + sim_pick(x.w, 100);
  if (h->live == NULL || !h->restored || h->leaving) return;
  for (; left > 0 && h->next < p->count; h->next++, left--) {
    const x_entry *at = &p->log[h->next];
    strand_record *r;
    strand_added added;
    if (!at->exists) continue;
    if (!strand_engine_may_read(e, h->live)) return;
    r = strand_engine_room(e, h->live, 1);
    r->flags |= STRAND_RECORD_KEY;
    r->offset = h->next;
    r->key_length = 1;
    r->value_length = r->headers_length = 0;
    r->bytes[0] = (char)('a' + at->key);
    added = strand_engine_admit(e, h->live, r, x.w->now_us);
    CHECK(added == STRAND_ADDED || (added == STRAND_ADDED_DONE && at->covered),
          "%d is not added", h->next);
    CHECK(added == STRAND_ADDED_DONE || !at->covered || x.members[m].expelled,
          "X6: %d/%d is covered, and comes again", index, h->next);
  }
  if (h->next == p->count) strand_engine_reach(e, h->live, p->count);
}

/* The members that the group has join it anew. */
static void next_generation (void) {
  x.generation++;
  for (int m = 0; m < X_MEMBERS; m++) {
    if (!x.members[m].expelled) x.members[m].generation = x.generation;
  }
}

/* What runs ends, and one transaction, and another. */
static void leave (int m, int index) {
  x_hold *h = &x.parts[index].holds[m];
  int most = x.faults ? sim_pick(x.w, 120) : 1000;
  if (!h->restored) return;
  strand_engine_revoking(x.members[m].engine, h->live);
  h->leaving = true;
  recall(m, index);
  for (; most > 0 && x.dying < 0; most--) {
    int i = sim_pick(x.w, LEASES);
    if (transactor_is_idle(m)
        && !strand_engine_dirty(x.members[m].engine, h->live)
        && sim_chance(x.w, 20))
      break;
    if (i < lease_count && leases[i].index == index && leases[i].running)
      work_step(i);
    transactor_step(m);
    if (sim_chance(x.w, 30)) broker_turn();
  }
}

static void give_up (int m, int index) {
  x_hold *h = &x.parts[index].holds[m];
  sim_note(x.w, "revoke", m, index, h->restored, 0);
  x_count(EXACTLY_REVOKED);
  transactor_forget(m, index);
  strand_engine_revoke(x.members[m].engine, h->live, keep_orphan,
                       (void *)(intptr_t)m);
  h->live = NULL;
  transactor_abandon(m);
}

/* It hears that it was expelled: all is lost. */
static void hear (int m) {
  if (!x.members[m].expelled) return;
  for (int i = 0; i < X_PARTS; i++) {
    if (x.parts[i].holds[m].live != NULL) give_up(m, i);
  }
  x.members[m].expelled = false;
  next_generation();
}

/* Another than 'not' that the group has; -1 for any. */
static int some_member (int not ) {
  int m = sim_pick(x.w, X_MEMBERS);
  while (m == not || x.members[m].expelled) m = (m + 1) % X_MEMBERS;
  return m;
}

static void move_part (void) {
  int index = sim_pick(x.w, X_PARTS);
  int from = x.parts[index].owner;
  int to = some_member(from);
  leave(from, index);
  if (x.dying >= 0) return;
  give_up(from, index);
  for (int i = sim_pick(x.w, 6); i > 0; i--) transactor_step(from);
  if (x.dying >= 0) return;
  next_generation();
  assign(index, to);
}

static void hand_over_all (int m) {
  for (int i = 0; i < X_PARTS; i++) {
    if (x.parts[i].owner == m) assign(i, some_member(m));
  }
}

/* Others have its partitions, and it works on. */
static void expel (void) {
  int m = sim_pick(x.w, X_MEMBERS);
  for (int i = 0; i < X_MEMBERS; i++) hear(i);
  x_count(EXACTLY_EXPELLED);
  sim_note(x.w, "expelled", m, -1, 0, 0);
  x.members[m].expelled = true;
  next_generation();
  hand_over_all(m);
}

/*
** Lives
*/

static void open_member (int m) {
  x.config.seed[0] = sim_random(x.w);
  x.config.arg = (void *)(intptr_t)m;
  x.members[m].engine = strand_engine_new(&x.config);
  x.members[m].expelled = false;
  transactor_open(m);
}

static void close_member (int m) {
  x.crashing = true;
  for (int i = lease_count - 1; i >= 0; i--) {
    if (leases[i].member == m) give_back(i);
  }
  transactor_drop(m);
  strand_engine_free(x.members[m].engine);
  for (int i = 0; i < X_PARTS; i++) x.parts[i].holds[m].live = NULL;
  forget_orphans(m);
  x.crashing = false;
}

/* Its transaction stays open, and what it asked for may come late. */
static void crash (int m) {
  sim_note(x.w, "crash", m, -1, lease_count, 0);
  x_count(EXACTLY_CRASHES);
  x.dying = -1;
  close_member(m);
  open_member(m);
  next_generation();
  for (int i = 0; i < X_PARTS; i++) {
    if (x.parts[i].owner == m) assign(i, some_member(-1));
  }
}

static void configure (size_t max_metadata) {
  x.config.max_metadata = max_metadata;
  for (int m = 0; m < X_MEMBERS; m++) {
    x.config.arg = (void *)(intptr_t)m;
    strand_engine_configure(x.members[m].engine, &x.config);
  }
}

static void rare (void) {
  int m = sim_pick(x.w, X_MEMBERS);
  if (x_happens(2)) x.dying = m;
  else if (sim_chance(x.w, 12)) move_part();
  else if (x_happens(4)) expel();
  else if (sim_chance(x.w, 10)) hear(m);
  else if (x_happens(3)) configure((size_t)(60 + sim_pick(x.w, 400)));
  else if (x_happens(3)) x.takes = (size_t)(40 + sim_pick(x.w, 400));
  else if (sim_chance(x.w, 10)) {
    configure(4096);
    x.takes = 4096;
  }
}

/*
** A world
*/

static void check_all (void) {
  for (int m = 0; m < X_MEMBERS; m++) {
    strand_engine_check(x.members[m].engine);
    strand_engine_maintain(x.members[m].engine, x.w->now_us);
  }
}

static void step_exactly (void) {
  int what = sim_pick(x.w, 1000), m = sim_pick(x.w, X_MEMBERS);
  x.w->now_us += sim_pick(x.w, 2000);
  if (what < 60) read_step(m, sim_pick(x.w, X_PARTS));
  else if (what < 300) lease_step(m);
  else if (what < 600) {
    if (lease_count > 0) work_step(sim_pick(x.w, lease_count));
  }
  else if (what < 920) transactor_step(m);
  else if (what < 960) broker_turn();
  else if (what < 990) restore(m, sim_pick(x.w, X_PARTS));
  else rare();
  if (x.dying >= 0) crash(x.dying);
  if (++x.w->steps % 64 == 0) check_all();
}

static bool is_over_exactly (void) {
  for (int i = 0; i < X_PARTS; i++) {
    const x_part *p = &x.parts[i];
    for (int k = 0; k < p->count; k++) {
      if (p->log[k].exists && !p->log[k].covered) return false;
    }
  }
  return lease_count == 0;
}

static void settle_round (void) {
  x.w->now_us += 1000;
  for (int m = 0; m < X_MEMBERS; m++) {
    for (int i = 0; i < X_PARTS; i++) {
      restore(m, i);
      read_step(m, i);
    }
    for (int i = 0; i < 20; i++) lease_step(m);
    for (int i = 0; i < 20; i++) transactor_step(m);
  }
  for (int i = lease_count * 2; i > 0 && lease_count > 0; i--) {
    work_step(sim_pick(x.w, lease_count));
  }
  broker_turn();
}

static void settle (void) {
  int rounds = 0;
  x.faults = false;
  x.takes = 4096;
  configure(4095); /* what was refused is tried again */
  configure(4096);
  for (int m = 0; m < X_MEMBERS; m++) hear(m);
  for (; !is_over_exactly() && rounds < 100000; rounds++) settle_round();
  CHECK(is_over_exactly(), "X8: not all is covered");
  broker_check();
}

static void make_log (x_part *p, int count) {
  p->count = count;
  p->log = calloc((size_t)count, sizeof(x_entry));
  for (int k = 0; k < count; k++) {
    p->log[k] = (x_entry){ .exists = !sim_chance(x.w, 5),
                           .key = (uint8_t)sim_pick(x.w, X_KEYS) };
  }
}

static void make_exactly (world *w, int events) {
  x = (exactly){ .w = w, .faults = true, .dying = -1, .takes = 4096 };
  x.unknown = sim_chance(w, 30) ? 0 : sim_pick(w, 30);
  x.fails = sim_chance(w, 30) ? 0 : sim_pick(w, 4);
  x.limit = sim_chance(w, 30) ? 10000 : 1 + sim_pick(w, 100);
  w->config.ordering = (strand_ordering)sim_pick(w, 3);
  w->partition_count = X_PARTS;
  w->member_count = X_MEMBERS;
  w->keys = X_KEYS;
  x.route.policy = (strand_policy){
    .delay_us = 1000,
    .max_delay_us = 100000,
    .factor = 2,
    .attempts = (uint32_t)sim_pick(w, 4),
    .exhausted = sim_chance(w, 50) ? STRAND_OUTCOME_SKIP
                                   : STRAND_OUTCOME_DEAD_LETTER
  };
  x.config = (strand_engine_config){ .ordering = w->config.ordering,
                                     .delivery = STRAND_EXACTLY_ONCE,
                                     .max_metadata = 4096,
                                     .max_buffered_records = 20000,
                                     .max_buffered_bytes = 1 << 24,
                                     .max_waiting_records = 20000,
                                     .max_waiting_bytes = 1 << 24,
                                     .commit_interval_us = 100000,
                                     .routes = &x.route,
                                     .route_count = 1,
                                     .notice = on_notice,
                                     .release = on_release,
                                     .dead_letter = on_dead_letter };
  lease_count = orphan_count = 0;
  broker_open();
  for (int i = 0; i < X_PARTS; i++) {
    make_log(&x.parts[i], 1 + sim_pick(w, events / 12));
  }
  for (int m = 0; m < X_MEMBERS; m++) open_member(m);
  next_generation();
  for (int i = 0; i < X_PARTS; i++) assign(i, some_member(-1));
}

void exactly_seed (world *w, uint64_t seed, int events) {
  bool trace = w->trace;
  memset(w, 0, sizeof(*w));
  w->trace = trace;
  w->seed = w->random = seed;
  make_exactly(w, events);
  while (w->events < (uint64_t)events / 2 && w->steps < (uint64_t)events * 3) {
    step_exactly();
  }
  settle();
  for (int m = 0; m < X_MEMBERS; m++) {
    close_member(m);
    free(x.members[m].transactor.list);
  }
  for (int i = 0; i < X_PARTS; i++) free(x.parts[i].log);
  broker_close();
}
