/*
** play.c - a seed: what it picks, its random steps, and its end
*/
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/*
** What a seed picks
*/

static void pick_faults (world *w) {
  int percent = sim_pick(w, 100);
  for (int f = 0; f < FAULT_REFUSE; f++) {
    w->faults[f] = sim_chance(w, percent);
  }
  if (sim_chance(w, 70)) w->faults[FAULT_TINY] = false;
}

/* What came later draws from a stream of its own: what the seeds before it
** found, they find still. */
static void pick_later_faults (world *w) {
  world own = { .random = w->seed ^ UINT64_C(0x9d39247e33776d41) };
  for (int f = FAULT_REFUSE; f < FAULT_COUNT; f++) {
    w->faults[f] = sim_chance(&own, f == FAULT_SPARSE ? 5 : 20);
  }
}

static void pick_limits (world *w) {
  static const size_t tiny[] = { 0, 16, 32, 48, 64, 100, 160, 300, 600 };
  strand_engine_config *c = &w->config;
  bool small = w->faults[FAULT_SMALL];
  c->max_metadata = 4096;
  if (w->faults[FAULT_TINY]) {
    c->max_metadata = tiny[sim_pick(w, sizeof(tiny) / sizeof(tiny[0]))];
    w->fault_counts[FAULT_TINY]++;
  }
  if (small) w->fault_counts[FAULT_SMALL]++;
  c->max_buffered_records = small ? (size_t)(1 + sim_pick(w, 100)) : 5000;
  c->max_buffered_bytes = small ? (size_t)(1 + sim_pick(w, 20000)) : 1 << 20;
  c->max_waiting_records = small ? (size_t)(1 + sim_pick(w, 50)) : 2000;
  c->max_waiting_bytes = small ? (size_t)(1 + sim_pick(w, 9000)) : 1 << 19;
  c->commit_interval_us = 1000 + sim_pick(w, small ? 100000 : 1000000);
}

static void pick_shape (world *w) {
  static const int keys[] = { 1, 2, 5, 20, 100, 1000, 4000 };
  strand_engine_config *c = &w->config;
  c->ordering = sim_chance(w, 60) ? STRAND_BY_KEY
                                  : (strand_ordering)sim_pick(w, 3);
  c->null_key_unordered = sim_chance(w, 50);
  if (w->faults[FAULT_HEADER]) {
    c->ordering_header = "h";
    w->fault_counts[FAULT_HEADER]++;
  }
  if (w->faults[FAULT_NULLS]) w->fault_counts[FAULT_NULLS]++;
  w->keys = keys[sim_pick(w, sizeof(keys) / sizeof(keys[0]))];
  w->partition_count = sim_chance(w, 30) ? 1 : 1 + sim_pick(w, 11);
  w->member_count = 1 + sim_pick(w, MEMBERS_MAX);
  w->workers = sim_chance(w, 20) ? 1 : 1 + sim_pick(w, 64);
  w->max_handed = 1 + sim_pick(w, 100);
  w->fail_percent = (unsigned)(sim_chance(w, 20) ? 50 : 1 + sim_pick(w, 10));
  w->check_every = 20 + sim_pick(w, 2000);
  w->config.park_alone = w->faults[FAULT_ALONE];
  if (w->config.park_alone) w->fault_counts[FAULT_ALONE]++;
  if (w->faults[FAULT_NO_DEAD_LETTERS])
    w->fault_counts[FAULT_NO_DEAD_LETTERS]++;
  throttle_make(w);
}

/* The same for what handlers produce. */
static void pick_sending (world *w) {
  world own = { .random = w->seed ^ UINT64_C(0xbb67ae8584caa73b) };
  bool sends = w->faults[FAULT_SEND];
  w->faults[FAULT_ACK_LATE] = sends && sim_chance(&own, 60);
  w->faults[FAULT_OUTPUT_REFUSED] = sends && sim_chance(&own, 60);
  w->send_random = sim_random(&own);
}

static void make_sparse (world *w) {
  world own = { .random = w->seed ^ UINT64_C(0x6a09e667f3bcc908) };
  for (int i = 0; i < w->partition_count; i++) {
    log_spread(&w->parts[i], &own);
    w->fault_counts[FAULT_SPARSE]++;
  }
}

static void make_world (world *w, uint64_t seed, int events) {
  int count;
  w->seed = w->random = seed;
  w->now_us = 1000000;
  pick_faults(w);
  pick_later_faults(w);
  pick_sending(w);
  pick_limits(w);
  pick_shape(w);
  count = events / 3 / w->partition_count + 1;
  for (int i = 0; i < w->partition_count; i++) {
    log_make(w, &w->parts[i], count);
    w->parts[i].route = i % w->route_count;
  }
  if (w->faults[FAULT_SPARSE]) make_sparse(w);
  for (int m = 0; m < w->member_count; m++) member_open(w, m);
  w->broker_takes = SIZE_MAX;
  if (w->faults[FAULT_REFUSE]) commit_limit(w);
  member_rebalance(w, FAULT_EAGER);
}

/*
** Steps
*/

static const char not_ours[] = "not ours!";

static void garbage (world *w, int index) {
  part *p = &w->parts[index];
  if (p->live != NULL || p->metadata == NULL) return;
  free(p->metadata);
  p->metadata = strdup(not_ours);
  sim_note(w, "garbage", -1, index, 0, 0);
}

/* Its first rebalance may be the next death. */
static void restart (world *w) {
  do {
    member_crash(w);
    if (sim_fault(w, FAULT_GARBAGE, 30)) {
      garbage(w, sim_pick(w, w->partition_count));
    }
    for (int m = 0; m < w->member_count; m++) member_open(w, m);
    member_rebalance(w, FAULT_EAGER);
  } while (w->dying);
}

/* It stops as a user would stop it, and starts again. */
static void stop_and_start (world *w) {
  for (int m = 0; m < w->member_count; m++) {
    strand_engine_stop_intake(w->members[m].engine);
    w->members[m].stopped = true;
    worker_recall(w, m, -1, 100);
  }
  for (int i = 0; i < 1000 && w->lease_count > 0; i++) {
    w->now_us += 10000;
    worker_step(w);
  }
  for (int m = 0; m < w->member_count; m++) {
    commit_answer(w, m);
    commit_now(w, m);
    commit_answer(w, m);
  }
  if (!w->dying) member_check(w);
  restart(w);
}

static void pause_step (world *w, int index) {
  part *p = &w->parts[index];
  if (p->live == NULL || p->revoking) return;
  p->paused = !p->paused;
  p->passed = 0;
  sim_note(w, "pause", p->owner, index, p->paused, 0);
  strand_engine_pause(w->members[p->owner].engine, p->live, p->paused);
  if (p->paused && sim_chance(w, 50)) worker_recall(w, p->owner, index, 100);
}

static void rare_step (world *w) {
  int index = sim_pick(w, w->partition_count);
  if (sim_fault(w, FAULT_EAGER, 4)) member_rebalance(w, FAULT_EAGER);
  if (sim_fault(w, FAULT_COOPERATIVE, 5)) {
    member_rebalance(w, FAULT_COOPERATIVE);
  }
  if (sim_fault(w, FAULT_LOST, 3)) member_rebalance(w, FAULT_LOST);
  if (sim_fault(w, FAULT_CRASH, 1) || w->dying) restart(w);
  if (sim_fault(w, FAULT_STOP, 1)) stop_and_start(w);
  if (sim_fault(w, FAULT_SEEK, 3)) member_seek(w, index);
  if (sim_fault(w, FAULT_PAUSE, 15)) pause_step(w, index);
  if (sim_fault(w, FAULT_RECALL, 10)) {
    worker_recall(w, sim_pick(w, w->member_count), -1, 50);
  }
  if (sim_fault(w, FAULT_COMPACT, 5)) log_compact(w, &w->parts[index]);
  if (sim_fault(w, FAULT_RETENTION, 2)) log_retain(w, &w->parts[index]);
  if (sim_fault(w, FAULT_CONFIGURE, 5)) member_configure(w);
  if (sim_fault(w, FAULT_REFUSE, 5)) commit_limit(w);
  if (sim_chance(w, 10)) commit_overtaken(w);
  if (sim_chance(w, 60)) waiting_resolve(w, index);
}

static void tick (world *w, int m) {
  int64_t next = strand_engine_tick(w->members[m].engine, w->now_us);
  CHECK(next > w->now_us, "what is due was left");
  if (w->ending || next == INT64_MAX || throttle_any(w) || sim_chance(w, 90)) {
    return;
  }
  w->now_us = next - 1;
  CHECK(strand_engine_tick(w->members[m].engine, w->now_us) == next,
        "a retry came too early");
  w->now_us = next;
  CHECK(strand_engine_tick(w->members[m].engine, w->now_us) > next,
        "what is due was left");
}

static void step (world *w) {
  int m = sim_pick(w, w->member_count);
  int index = sim_pick(w, w->partition_count);
  int what = sim_pick(w, 100);
  w->now_us += sim_pick(w, 500);
  sending_step(w);
  if (what < 12) log_read(w, index);
  else if (what < 45) worker_lease(w, m);
  else if (what < 83) worker_step(w);
  else if (what < 85) waiting_dead_letter(w);
  else if (what < 89) commit_step(w, m);
  else if (what < 92) tick(w, m);
  else if (what < 94) member_restore(w, index);
  else if (what < 96) member_release(w, 1 + sim_pick(w, 5));
  else if (what < 98) log_grow(w, &w->parts[index]);
  else if (what < 99) rare_step(w);
  else w->now_us += sim_pick(w, 100000);
  if (w->dying) restart(w);
  if (++w->steps % (uint64_t)w->check_every == 0) member_check(w);
}

/*
** The end: the faults have stopped
*/

static bool is_over (const world *w) {
  if (w->lease_count > 0) return false;
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    if (p->next < p->count || p->inside > 0) return false;
    if (p->committed != p->base + p->count) return false;
  }
  for (int m = 0; m < w->member_count; m++) {
    if (w->members[m].unanswered) return false;
  }
  return true;
}

static bool work (world *w) {
  bool any = false;
  for (int i = 0; i < w->partition_count; i++) {
    w->parts[i].visible = w->parts[i].count;
    member_restore(w, i);
    any |= log_read(w, i);
  }
  for (int m = 0; m < w->member_count; m++) {
    tick(w, m);
    while (worker_lease(w, m)) any = true;
    commit_step(w, m);
  }
  for (int n = w->lease_count * 2; n > 0; n--) any |= worker_step(w);
  while (waiting_dead_letter(w)) any = true;
  while (sending_step(w)) any = true;
  member_release(w, -1);
  return any;
}

/* Nothing can be done now: to when something can, or somebody has to say what
** is to become of parked records. */
static void wait (world *w) {
  int64_t next = worker_next(w);
  if (waiting_next(w) < next) next = waiting_next(w);
  if (sending_next(w) < next) next = sending_next(w);
  for (int m = 0; m < w->member_count; m++) {
    strand_engine *e = w->members[m].engine;
    int64_t due = strand_engine_commit_due(e, w->now_us);
    int64_t retry = strand_engine_tick(e, w->now_us);
    if (w->members[m].unanswered) return;
    if (due < next) next = due;
    if (retry < next) next = retry;
  }
  CHECK(next != INT64_MAX || w->lease_count > 0 || is_over(w)
          || waiting_resolve_all(w),
        "I8: nothing will ever happen");
  if (next > w->now_us && next != INT64_MAX) w->now_us = next;
}

static void show_stuck (const world *w) {
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    CHECK(p->committed == p->base + p->count && p->inside == 0,
          "I8: partition %d of member %d: read to %d of %d, %zu inside, "
          "committed %lld",
          i, p->owner, p->next, p->count, p->inside,
          (long long)(p->committed - p->base));
  }
  CHECK(w->lease_count == 0, "I8: leases");
}

/* What somebody wrote when all was committed is left to the next commit. */
static bool is_clean (const char *metadata) {
  return metadata == NULL || metadata[0] == '\0'
         || strcmp(metadata, not_ours) == 0;
}

static void check_everything_finished (const world *w) {
  for (int i = 0; i < w->partition_count; i++) {
    const part *p = &w->parts[i];
    CHECK(is_clean(p->metadata), "I8: metadata");
    CHECK(!p->unwritable, "I16: partition %d: all is told", i);
    for (int k = 0; k < p->count; k++) {
      CHECK(!p->slots[k].exists || p->slots[k].finished,
            "I3: %lld of partition %d was never handled",
            (long long)(p->base + k), i);
    }
  }
}

static void end (world *w, int events) {
  int rounds = 0, most = 2000 + 4 * events;
  w->ending = true;
  commit_forget(w, 100);
  for (int i = 0; i < w->partition_count; i++) {
    if (w->parts[i].paused) pause_step(w, i);
  }
  member_rebalance(w, FAULT_EAGER); /* what a zombie wrote is read again */
  for (; !is_over(w) && rounds < most; rounds++) {
    if (!work(w)) wait(w);
  }
  show_stuck(w);
  member_check(w);
  check_everything_finished(w);
}

static void free_world (world *w) {
  member_crash(w);
  for (int i = 0; i < w->partition_count; i++) log_free(&w->parts[i]);
  free(w->leases);
  free(w->dead_letters);
  free(w->sendings);
  free(w->releases);
}

void play_seed (world *w, uint64_t seed, int events) {
  bool trace = w->trace;
  memset(w, 0, sizeof(*w));
  w->trace = trace;
  make_world(w, seed, events);
  while (w->events < (uint64_t)events * 2 / 3
         && w->steps < (uint64_t)events * 3) {
    bool more = false;
    for (int i = 0; i < 20; i++) step(w);
    for (int i = 0; i < w->partition_count; i++) {
      more |= w->parts[i].next < w->parts[i].count;
    }
    if (!more && w->lease_count == 0) break;
  }
  end(w, events);
  free_world(w);
}
