/*
** offsets_test.c - the tracker against the obvious slow one, in every order
**
** The slow tracker keeps one byte for each offset of a small window. Random
** steps go to both; after each step everything that can be asked is compared,
** and strand_offsets_check walks the runs.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "failing_alloc.h"
#include "core/runs.c"
#include "core/boundaries.c"
#include "core/offsets.c"

#define WINDOW 1500
#define LIMIT_MAX 4096

/* {=== helpers ============================================================ */

static uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);

static uint64_t pick (uint64_t below) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (seed >> 11) % below;
}

static bool chance (unsigned percent) {
  return pick(100) < percent;
}

/* The slow tracker. */
typedef struct slow {
  int64_t base; /* offset of kind[0] */
  int64_t position;
  int64_t described;
  int64_t highest;
  int64_t frontier;
  size_t limit;
  bool over; /* its payload came from a larger limit */
  uint8_t kind[WINDOW + 2];
} slow;

static char text[LIMIT_MAX * 4];

static int kind_of (const slow *s, int64_t offset) {
  int64_t i = offset - s->base;
  return i < 0 || i >= WINDOW ? KIND_DONE : s->kind[i];
}

static int64_t slow_committable (const slow *s) {
  for (int i = 0; i < WINDOW; i++) {
    if (s->kind[i] != KIND_DONE) return s->base + i;
  }
  if (s->position < 0) return -1;
  return s->position > s->described ? s->position : s->described + 1;
}

static uint64_t slow_open (const slow *s) {
  uint64_t open = 0;
  for (int i = 0; i < WINDOW; i++) open += s->kind[i] != KIND_DONE;
  return open;
}

/* Characters that the payload takes when the records in flight for which
** 'ends' says so are done; SIZE_MAX beyond LIMIT_MAX. */
static size_t slow_length (const slow *s, const bool *ends) {
  static strand_run runs[WINDOW];
  int64_t committed = -1, highest = s->highest;
  size_t count = 0, length;
  const char *codec;
  for (int i = 0; i < WINDOW; i++) {
    int64_t offset = s->base + i;
    bool done = s->kind[i] == KIND_DONE
                || (s->kind[i] == KIND_FLIGHT && ends[i]);
    if (s->kind[i] == KIND_FLIGHT && done && offset > highest)
      highest = offset;
    if (done) continue;
    if (committed < 0) committed = offset;
    if (count > 0 && runs[count - 1].last == offset - 1) {
      runs[count - 1].last = offset;
    }
    else runs[count++] = (strand_run){ offset, offset };
  }
  if (committed < 0 || highest < committed) return 0;
  while (count > 0 && runs[count - 1].first > highest) count--;
  if (runs[count - 1].last > highest) runs[count - 1].last = highest;
  if (strand_payload_encode(committed, highest, runs, count, sizeof(text),
                            text, &length, &codec)
      != STRAND_OK) {
    return SIZE_MAX;
  }
  return length;
}

/* The payload is read back, and says of each offset what the slow one says.*/
static void compare_payload (const strand_offsets *t, const slow *s) {
  size_t length;
  strand_payload payload;
  const char *problem;
  int64_t committed = slow_committable(s);
  int64_t above;
  size_t r = 0;
  strand_err err = strand_offsets_payload(t, s->limit, text, &length);
  if (s->over && err == STRAND_EFULL) return;
  assert_int_equal(err, STRAND_OK);
  assert_true(length <= s->limit);
  assert_true(length <= strand_offsets_bound(t));
  if (committed < 0) return;
  assert_int_equal(
    strand_payload_decode(committed, text, length, &payload, &problem),
    STRAND_OK);
  above = s->highest >= committed ? s->highest : committed - 1;
  assert_int_equal(payload.highest, above);
  for (int64_t i = committed; i <= above; i++) {
    bool open = r < payload.run_count && payload.runs[r].first <= i;
    assert_int_equal(open, kind_of(s, i) != KIND_DONE);
    if (open && payload.runs[r].last == i) r++;
  }
  strand_payload_free(&payload);
}

/* Offsets that are done, as far as 'highest'. */
static int64_t slow_covered (const slow *s, int64_t highest) {
  int64_t committed = slow_committable(s), covered = committed;
  for (int64_t i = committed; i <= highest; i++) {
    covered += kind_of(s, i) == KIND_DONE;
  }
  return covered;
}

/* A part of the payload fits, ends where all below it is covered, and says of
** that what the slow one says. */
static void compare_part (const strand_offsets *t, const slow *s) {
  size_t length, r = 0, limit = (size_t)pick(40);
  int64_t committed = slow_committable(s), covered;
  strand_payload payload;
  const char *problem;
  if (committed < 0) return;
  assert_int_equal(strand_offsets_covered(t), slow_covered(s, s->highest));
  assert_int_equal(
    strand_offsets_payload_part(t, limit, text, &length, &covered), STRAND_OK);
  assert_true(length <= limit);
  assert_int_equal(
    strand_payload_decode(committed, text, length, &payload, &problem),
    STRAND_OK);
  assert_true(length == 0 || payload.highest <= s->highest);
  for (int64_t i = committed; i <= payload.highest; i++) {
    bool open = r < payload.run_count && payload.runs[r].first <= i;
    assert_int_equal(open, kind_of(s, i) != KIND_DONE);
    if (open && payload.runs[r].last == i) r++;
  }
  assert_int_equal(covered, slow_covered(s, payload.highest));
  strand_payload_free(&payload);
}

static void compare (const strand_offsets *t, const slow *s) {
  strand_offsets_check(t);
  assert_int_equal(strand_offsets_committable(t), slow_committable(s));
  assert_int_equal(strand_offsets_position(t), s->position);
  assert_int_equal(strand_offsets_highest(t), s->highest);
  assert_int_equal(strand_offsets_frontier(t), s->frontier);
  assert_int_equal(strand_offsets_open(t), slow_open(s));
}

/* However the records in flight end, the payload fits (I5). */
static void try_ends (const slow *s) {
  bool ends[WINDOW];
  unsigned percent = (unsigned)pick(101);
  if (s->over) return;
  for (int i = 0; i < WINDOW; i++) ends[i] = chance(percent);
  assert_true(slow_length(s, ends) <= s->limit);
}

/* }{=== steps, on both ==================================================== */

static void slow_reach (slow *s, int64_t offset) {
  if (s->position < 0) s->position = s->frontier = offset;
  for (; s->position < offset; s->position++) {
    s->kind[s->position - s->base] = KIND_DONE; /* a restored one never came */
  }
}

static void step_add (strand_offsets *t, slow *s) {
  int64_t from = s->position < 0 ? s->base : s->position;
  int64_t offset = from + (chance(80) ? 0 : (int64_t)pick(12));
  strand_added expected = STRAND_ADDED;
  if (s->position > s->base && chance(5)) {
    offset = s->base + (int64_t)pick((uint64_t)(s->position - s->base));
    assert_int_equal(strand_offsets_add(t, offset), STRAND_ADDED_EARLIER);
    return;
  }
  if (offset >= s->base + WINDOW) return;
  slow_reach(s, offset);
  if (offset <= s->described && kind_of(s, offset) == KIND_DONE) {
    expected = STRAND_ADDED_DONE;
  }
  else s->kind[offset - s->base] = KIND_OPEN;
  s->position = offset + 1;
  assert_int_equal(strand_offsets_add(t, offset), expected);
}

static void step_reach (strand_offsets *t, slow *s) {
  int64_t from = s->position < 0 ? s->base : s->position;
  int64_t offset = from - (s->position < 0 ? 0 : 3) + (int64_t)pick(12);
  if (offset < 0 || offset >= s->base + WINDOW) return;
  if (s->position < 0 || offset > s->position) slow_reach(s, offset);
  assert_int_equal(strand_offsets_reach(t, offset), STRAND_OK);
}

/* A polled record of that kind, near a random place; -1 for none. */
static int64_t find_kind (const slow *s, int kind) {
  int64_t n = s->position - s->base, at;
  if (s->position < 0 || n <= 0) return -1;
  at = (int64_t)pick((uint64_t)n);
  if (chance(30)) at = 0;
  for (int64_t i = 0; i < n; i++) {
    if (s->kind[(at + i) % n] == kind) return s->base + (at + i) % n;
  }
  return -1;
}

static void step_start (strand_offsets *t, slow *s) {
  int64_t offset = find_kind(s, KIND_OPEN), wrong = find_kind(s, KIND_FLIGHT);
  strand_err err;
  if (wrong >= 0) {
    assert_int_equal(strand_offsets_start(t, wrong, s->limit),
                     STRAND_ENOTOPEN);
  }
  if (offset < 0) return;
  err = strand_offsets_start(t, offset, s->limit);
  if (err == STRAND_EFULL) {
    assert_true(offset != slow_committable(s)); /* it may always start */
    return;
  }
  assert_int_equal(err, STRAND_OK);
  s->kind[offset - s->base] = KIND_FLIGHT;
  if (offset >= s->frontier) s->frontier = offset + 1;
  try_ends(s);
}

static void step_finish (strand_offsets *t, slow *s) {
  int64_t offset = find_kind(s, KIND_FLIGHT), wrong = find_kind(s, KIND_OPEN);
  if (wrong >= 0) {
    assert_int_equal(strand_offsets_finish(t, wrong), STRAND_ENOTOPEN);
    assert_int_equal(strand_offsets_unstart(t, wrong), STRAND_ENOTOPEN);
  }
  if (offset < 0) return;
  if (chance(20)) {
    assert_int_equal(strand_offsets_unstart(t, offset), STRAND_OK);
    s->kind[offset - s->base] = KIND_OPEN;
    return;
  }
  assert_int_equal(strand_offsets_finish(t, offset), STRAND_OK);
  assert_int_equal(strand_offsets_finish(t, offset), STRAND_ENOTOPEN);
  s->kind[offset - s->base] = KIND_DONE;
  if (offset > s->highest) s->highest = offset;
}

/* Everything in flight ends in a random order, and some of it fails. */
static void finish_all (strand_offsets *t, slow *s) {
  for (int64_t offset; (offset = find_kind(s, KIND_FLIGHT)) >= 0;) {
    step_finish(t, s);
    if (chance(10)) compare_payload(t, s);
  }
}

static void play (strand_offsets *t, slow *s, int steps) {
  unsigned adds = 20 + (unsigned)pick(40), starts = (unsigned)pick(60);
  for (int i = 0; i < steps; i++) {
    unsigned what = (unsigned)pick(adds + starts + 30);
    uint64_t version = strand_offsets_version(t);
    int64_t committable = slow_committable(s), highest = s->highest;
    if (what < adds) step_add(t, s);
    else if (what < adds + starts) step_start(t, s);
    else if (what < adds + starts + 28) step_finish(t, s);
    else step_reach(t, s);
    compare(t, s);
    if (strand_offsets_bound(t) <= s->limit) s->over = false;
    if (committable != slow_committable(s) || highest != s->highest) {
      assert_true(strand_offsets_version(t) > version);
    }
    if (chance(20)) compare_payload(t, s);
    if (chance(10)) compare_part(t, s);
    if (chance(1)) finish_all(t, s);
  }
}

/* }{=== all orders ======================================================== */

static const size_t limits[] = { 0,   1,   12,  16,  24,  32,   48,  64,
                                 100, 150, 200, 300, 512, 1000, 4096 };
#define LIMITS (sizeof(limits) / sizeof(limits[0]))

static slow *fresh (int64_t committed, size_t limit) {
  slow *s = (calloc)(1, sizeof(*s));
  s->base = committed < 0 ? (int64_t)pick(1000) : committed;
  s->position = s->frontier = committed;
  s->described = s->highest = -1;
  s->limit = limit;
  return s;
}

static void it_is_the_slow_tracker_in_every_order (void **state) {
  (void)state;
  for (int round = 0; round < 1500; round++) {
    int64_t committed = chance(20) ? -1 : (int64_t)pick(1000);
    slow *s = fresh(committed, limits[pick(LIMITS)]);
    strand_offsets *t = strand_offsets_new(committed);
    compare(t, s);
    play(t, s, 300);
    strand_offsets_free(t);
    free(s);
  }
}

/* A random payload: committed open, highest done. */
static void describe (slow *s, strand_payload *payload) {
  int64_t last = s->base - 1;
  int64_t wide = 1 + (int64_t)pick(40);
  payload->runs = (calloc)(WINDOW, sizeof(strand_run));
  payload->run_count = 0;
  payload->codec = "none";
  for (int64_t at = s->base; at < s->base + WINDOW / 3;) {
    int64_t length = 1 + (int64_t)pick((uint64_t)wide);
    payload->runs[payload->run_count++] = (strand_run){ at, at + length - 1 };
    memset(s->kind + (at - s->base), KIND_OPEN, (size_t)length);
    last = at + length + (int64_t)pick((uint64_t)wide);
    at = last + 1;
    if (chance(5)) break;
  }
  payload->highest = s->described = s->highest = last;
  s->frontier = last + 1;
}

static void a_restored_tracker_is_the_slow_one_too (void **state) {
  (void)state;
  for (int round = 0; round < 1500; round++) {
    int64_t committed = (int64_t)pick(1000);
    slow *s = fresh(committed, limits[pick(LIMITS)]);
    strand_offsets *t = strand_offsets_new(committed);
    strand_payload payload;
    describe(s, &payload);
    assert_int_equal(strand_offsets_restore(t, &payload), STRAND_OK);
    s->over = strand_offsets_bound(t) > s->limit;
    compare(t, s);
    play(t, s, 300);
    strand_payload_free(&payload);
    strand_offsets_free(t);
    free(s);
  }
}

/* With any limit the end is reached, whatever the order. */
static void any_limit_lets_everything_end (void **state) {
  (void)state;
  for (size_t l = 0; l < LIMITS; l++) {
    slow *s = fresh(7, limits[l]);
    strand_offsets *t = strand_offsets_new(7);
    int rounds = 0;
    for (int i = 0; i < WINDOW - 20; i++) {
      assert_int_equal(strand_offsets_add(t, 7 + i), STRAND_ADDED);
      s->kind[i] = KIND_OPEN;
      s->position++;
    }
    while (slow_open(s) > 0) {
      assert_true(rounds++ < 200000);
      step_start(t, s);
      if (chance(50)) step_finish(t, s);
    }
    compare(t, s);
    assert_int_equal(strand_offsets_committable(t), s->position);
    strand_offsets_free(t);
    free(s);
  }
}

/* }{=== claims ============================================================ */

static void nothing_is_committable_while_nothing_is_known (void **state) {
  strand_offsets *t = strand_offsets_new(-1);
  (void)state;
  assert_int_equal(strand_offsets_committable(t), -1);
  assert_int_equal(strand_offsets_add(t, 100), STRAND_ADDED);
  assert_int_equal(strand_offsets_committable(t), 100);
  strand_offsets_free(t);
}

static void an_open_record_holds_back_the_ones_after_it (void **state) {
  strand_offsets *t = strand_offsets_new(41);
  (void)state;
  strand_offsets_add(t, 41);
  strand_offsets_add(t, 42);
  strand_offsets_start(t, 41, 4096);
  strand_offsets_start(t, 42, 4096);
  assert_int_equal(strand_offsets_finish(t, 42), STRAND_OK);
  assert_int_equal(strand_offsets_committable(t), 41);
  assert_int_equal(strand_offsets_finish(t, 41), STRAND_OK);
  assert_int_equal(strand_offsets_committable(t), 43);
  strand_offsets_free(t);
}

static void a_gap_counts_as_done (void **state) {
  strand_offsets *t = strand_offsets_new(10);
  (void)state;
  strand_offsets_add(t, 15);
  assert_int_equal(strand_offsets_committable(t), 15);
  strand_offsets_start(t, 15, 4096);
  strand_offsets_finish(t, 15);
  assert_int_equal(strand_offsets_committable(t), 16);
  strand_offsets_reach(t, 20);
  assert_int_equal(strand_offsets_committable(t), 20);
  strand_offsets_free(t);
}

/* parallel-consumer.md 6.4, 8: compacted away after they were described. */
static void described_records_that_never_come_are_dropped (void **state) {
  static const int64_t open[] = { 11, 15, 20, 60, 80, 95, 96, 97, 98, 100 };
  static const int64_t come[] = { 11, 15, 20, 60, 96, 98, 100 };
  strand_offsets *t = strand_offsets_new(11);
  strand_run runs[10];
  strand_payload payload = { 101, runs, 0, "none" };
  (void)state;
  for (size_t i = 0; i < 10; i++) {
    strand_run *last = payload.run_count == 0 ? NULL
                                              : &runs[payload.run_count - 1];
    if (last != NULL && last->last == open[i] - 1) last->last = open[i];
    else runs[payload.run_count++] = (strand_run){ open[i], open[i] };
  }
  assert_int_equal(strand_offsets_restore(t, &payload), STRAND_OK);
  for (size_t i = 0; i < 7; i++) {
    assert_int_equal(strand_offsets_add(t, come[i]), STRAND_ADDED);
    assert_int_equal(strand_offsets_start(t, come[i], 4096), STRAND_OK);
    assert_int_equal(strand_offsets_finish(t, come[i]), STRAND_OK);
    strand_offsets_check(t);
  }
  assert_int_equal(strand_offsets_committable(t), 102);
  strand_offsets_free(t);
}

static void
ten_million_done_behind_one_stuck_cost_under_a_kilobyte (void **state) {
  strand_offsets *t = strand_offsets_new(0);
  size_t length;
  int64_t i, n = 10 * 1000 * 1000;
  (void)state;
  for (i = 0; i <= n; i++) {
    strand_offsets_add(t, i);
    assert_int_equal(strand_offsets_start(t, i, 4096), STRAND_OK);
    if (i > 0) strand_offsets_finish(t, i);
  }
  assert_int_equal(strand_offsets_committable(t), 0);
  assert_true(strand_offsets_bytes(t) < 1024);
  printf("figure tracker_bytes_10m_done %zu\n", strand_offsets_bytes(t));
  for (; i <= n + 4000; i++) {
    strand_offsets_add(t, i);
    assert_int_equal(strand_offsets_start(t, i, 4096), STRAND_OK);
    if (chance(50)) strand_offsets_finish(t, i);
  }
  assert_int_equal(strand_offsets_payload(t, 4096, text, &length), STRAND_OK);
  assert_true(length < 1000);
  printf("figure payload_characters_10m_done_4000_half %zu\n", length);
  strand_offsets_check(t);
  strand_offsets_free(t);
}

/* }{=== memory runs out =================================================== */

/* One step with its n-th allocation failing, until it succeeds: each failure
** leaves the tracker as it was. */
static void without_memory (strand_offsets *t, const slow *s, int what,
                            int64_t offset) {
  for (long n = 0;; n++) {
    uint64_t version = strand_offsets_version(t);
    int result;
    fail_alloc(n);
    if (what == 0) result = (int)strand_offsets_add(t, offset);
    else if (what == 1) result = (int)strand_offsets_start(t, offset, 4096);
    else if (what == 2) result = (int)strand_offsets_finish(t, offset);
    else if (what == 3) result = (int)strand_offsets_unstart(t, offset);
    else result = (int)strand_offsets_reach(t, offset);
    fail_alloc(-1);
    if (result != (what == 0 ? (int)STRAND_ADDED_ENOMEM : STRAND_ENOMEM)) {
      assert_true(result == 0 || what == 0);
      return;
    }
    compare(t, s);
    assert_int_equal(strand_offsets_version(t), version);
  }
}

static void without_memory_step (strand_offsets *t, slow *s) {
  int64_t offset = s->position + (chance(80) ? 0 : (int64_t)pick(5));
  int what = (int)pick(5);
  if (what == 0 || what == 4) {
    bool open = offset > s->described || kind_of(s, offset) == KIND_OPEN;
    if (offset >= s->base + WINDOW) return;
    without_memory(t, s, what, offset);
    slow_reach(s, offset);
    if (what == 4) return;
    if (open) s->kind[offset - s->base] = KIND_OPEN;
    s->position = offset + 1;
    return;
  }
  offset = find_kind(s, what == 1 ? KIND_OPEN : KIND_FLIGHT);
  if (offset < 0) return;
  without_memory(t, s, what, offset);
  if (what == 1 && offset >= s->frontier) s->frontier = offset + 1;
  if (what == 2 && offset > s->highest) s->highest = offset;
  s->kind[offset - s->base] = (uint8_t)(what == 1   ? KIND_FLIGHT
                                        : what == 2 ? KIND_DONE
                                                    : KIND_OPEN);
}

static void no_step_changes_anything_when_memory_runs_out (void **state) {
  (void)state;
  for (int round = 0; round < 300; round++) {
    slow *s = fresh(3, 4096);
    strand_offsets *t = strand_offsets_new(3);
    strand_payload payload = { 0 };
    if (chance(50)) {
      describe(s, &payload);
      assert_int_equal(strand_offsets_restore(t, &payload), STRAND_OK);
    }
    for (int i = 0; i < 300; i++) {
      without_memory_step(t, s);
      compare(t, s);
    }
    strand_payload_free(&payload);
    strand_offsets_free(t);
    free(s);
  }
}

static void no_payload_is_made_when_memory_runs_out (void **state) {
  strand_offsets *t = strand_offsets_new(0);
  size_t length;
  int64_t covered;
  (void)state;
  for (int64_t i = 0; i < 10; i++) {
    strand_offsets_add(t, i);
    strand_offsets_start(t, i, 4096);
    if (i % 2 == 1) strand_offsets_finish(t, i);
  }
  fail_alloc(0);
  assert_int_equal(strand_offsets_payload(t, 4096, text, &length),
                   STRAND_ENOMEM);
  assert_int_equal(length, 0);
  fail_alloc(0);
  assert_int_equal(strand_offsets_payload_part(t, 10, text, &length, &covered),
                   STRAND_ENOMEM);
  fail_alloc(0);
  assert_null(strand_offsets_new(0));
  fail_alloc(-1);
  strand_offsets_free(t);
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_is_the_slow_tracker_in_every_order),
    cmocka_unit_test(a_restored_tracker_is_the_slow_one_too),
    cmocka_unit_test(any_limit_lets_everything_end),
    cmocka_unit_test(nothing_is_committable_while_nothing_is_known),
    cmocka_unit_test(an_open_record_holds_back_the_ones_after_it),
    cmocka_unit_test(a_gap_counts_as_done),
    cmocka_unit_test(described_records_that_never_come_are_dropped),
    cmocka_unit_test(ten_million_done_behind_one_stuck_cost_under_a_kilobyte),
    cmocka_unit_test(no_step_changes_anything_when_memory_runs_out),
    cmocka_unit_test(no_payload_is_made_when_memory_runs_out)
  };
  return cmocka_run_group_tests_name("offsets", tests, NULL, NULL);
}
