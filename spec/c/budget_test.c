/*
** budget_test.c - what is held, and who may take more
*/
#include "engine_fixture.h"

/* {=== fairness and budgets ============================================== */

/* Reads as an owner does, from partitions that always have more. */
static void fill (strand_engine *e, strand_partition **p, int64_t *next,
                  int count) {
  for (int i = 0; i < count; i++) {
    if (!strand_engine_may_read(e, p[i])) continue;
    size_t n = strand_engine_read_limit(e, p[i], 1000);
    for (; n > 0; n--) {
      char key[16];
      snprintf(key, sizeof(key), "%d", (int)(next[i] % 50));
      assert_int_equal(poll(e, p[i], next[i]++, key), STRAND_ADDED);
    }
  }
}

static void no_partition_starves_with (strand_ordering ordering,
                                       size_t records, size_t bytes) {
  strand_engine_config c = plain(ordering);
  strand_engine *e;
  strand_partition *p[11];
  int64_t next[11] = { 0 }, least = INT64_MAX, most = 0;
  c.max_buffered_records = records;
  c.max_buffered_bytes = bytes;
  e = open_with(c);
  for (int i = 0; i < 11; i++) p[i] = assign(e, i);
  for (int round = 0; round < 3000; round++) {
    strand_lease l[4];
    int n = 0;
    fill(e, p, next, 11);
    assert_true(stats(e).buffered_records <= records + 11);
    while (n < 4 && strand_engine_lease(e, 3, 0, &l[n])) n++;
    assert_true(n > 0);
    while (n > 0) done(e, &l[--n]);
  }
  for (int i = 0; i < 11; i++) {
    int64_t ended = (int64_t)p[i]->done;
    if (ended < least) least = ended;
    if (ended > most) most = ended;
  }
  assert_true(least > 0);
  assert_true(most <= least * 2);
  strand_engine_free(e);
}

static void eleven_partitions_share_a_small_buffer (void **state) {
  (void)state;
  no_partition_starves_with(STRAND_BY_KEY, 1, 64 * MIB);
  no_partition_starves_with(STRAND_BY_KEY, 22, 64 * MIB);
  no_partition_starves_with(STRAND_BY_KEY, 1000, 64 * MIB);
  no_partition_starves_with(STRAND_BY_KEY, 1000, 5000);
  no_partition_starves_with(STRAND_BY_PARTITION, 22, 64 * MIB);
  no_partition_starves_with(STRAND_UNORDERED, 22, 64 * MIB);
}

/* parallel-consumer.md 6.4, 27. */
static void partitions_are_leased_in_turn (void **state) {
  strand_engine *e = open_by(STRAND_BY_PARTITION);
  strand_lease l[3];
  (void)state;
  for (int i = 0; i < 3; i++) poll_all(e, assign(e, i), "aaa");
  for (int i = 0; i < 3; i++) l[i] = take_at(e, 0);
  assert_true(l[0].partition != l[1].partition
              && l[1].partition != l[2].partition
              && l[0].partition != l[2].partition);
  nothing_starts(e);
  for (int i = 0; i < 3; i++) done(e, &l[i]);
  strand_engine_free(e);
}

static void shards_are_leased_in_turn (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aaaaaab");
  l = lease_of(e, 2);
  done(e, &l);
  l = lease_of(e, 2);
  assert_int_equal(l.record->offset, 6);
  done(e, &l);
  strand_engine_free(e);
}

static void a_quiet_partition_lends_its_share (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *busy, *calm;
  int64_t next = 0;
  (void)state;
  c.max_buffered_records = 100;
  e = open_with(c);
  busy = assign(e, 0);
  calm = assign(e, 1);
  while (strand_engine_may_read(e, busy)) poll(e, busy, next++, "a");
  assert_int_equal(next, 50);
  strand_engine_drained(e, calm, true);
  while (strand_engine_may_read(e, busy)) poll(e, busy, next++, "a");
  assert_int_equal(next, 100);
  assert_true(strand_engine_may_read(e, calm)); /* it holds nothing */
  assert_int_equal(strand_engine_read_limit(e, calm, 10), 1);
  strand_engine_drained(e, calm, false);
  while (next > 40) {
    strand_lease l;
    assert_true(strand_engine_lease(e, 10, 0, &l));
    next -= l.count;
    done(e, &l);
  }
  assert_int_equal(strand_engine_read_limit(e, calm, 100), 50);
  assert_int_equal(strand_engine_read_limit(e, busy, 100), 10);
  strand_engine_free(e);
}

static void an_empty_partition_may_take_a_large_record (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p, *q;
  strand_lease l;
  (void)state;
  c.max_buffered_bytes = 100000;
  e = open_with(c);
  p = assign(e, 0);
  q = assign(e, 1);
  assert_int_equal(poll_sized(e, p, 0, "a", 10 * MIB), STRAND_ADDED);
  assert_false(strand_engine_may_read(e, p));
  assert_true(strand_engine_may_read(e, q));
  assert_int_equal(poll_sized(e, q, 0, "a", 10 * MIB), STRAND_ADDED);
  assert_false(strand_engine_may_read(e, q));
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  assert_int_equal(stats(e).buffered_bytes, 0);
  assert_true(strand_engine_may_read(e, p));
  strand_engine_free(e);
}

static void a_full_waiting_share_closes_its_partition_only (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p, *q;
  strand_lease l;
  int64_t next = 0;
  (void)state;
  c.max_waiting_records = 20;
  e = open_with(c);
  p = assign(e, 0);
  q = assign(e, 1);
  poll(e, p, next++, "a");
  l = take_at(e, 0);
  fail_at(e, &l, 5 * SECOND, 0);
  while (next < 99 && strand_engine_may_read(e, p)) poll(e, p, next++, "a");
  assert_int_equal(next, 10);
  assert_true(strand_engine_may_read(e, q));
  strand_engine_maintain(e, SECOND);
  assert_int_equal(heard.notices[STRAND_NOTICE_BLOCKED], 0);
  strand_engine_maintain(e, 2 * SECOND);
  strand_engine_maintain(e, 3 * SECOND);
  assert_int_equal(heard.notices[STRAND_NOTICE_BLOCKED], 1);
  assert_string_equal(heard.reason, "waiting");
  assert_int_equal(heard.record, 0);
  strand_engine_tick(e, 5 * SECOND);
  while (strand_engine_lease(e, 64, 0, &l)) done(e, &l);
  assert_true(strand_engine_may_read(e, p));
  strand_engine_maintain(e, 6 * SECOND);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNBLOCKED], 1);
  assert_int_equal(stats(e).waiting_records + stats(e).waiting_bytes, 0);
  strand_engine_free(e);
}

static void what_waits_pins_no_chunk (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  int64_t next = 2;
  (void)state;
  poll(e, p, 0, "bad");
  poll(e, p, 1, "bad");
  while (stats(e).buffered_bytes < 3 * STRAND_CHUNK_MAX) {
    poll_sized(e, p, next++, "good", 1000);
  }
  l = lease_of(e, 64);
  fail_at(e, &l, SECOND, 0);
  while (strand_engine_lease(e, 64, 0, &l)) done(e, &l);
  assert_int_equal(stats(e).waiting_records, 2);
  assert_int_equal(stats(e).buffered_records, 0);
  assert_true(stats(e).buffered_bytes <= STRAND_CHUNK_MAX + 64);
  strand_engine_free(e);
}

static void without_intake_nothing_is_read (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "ab");
  strand_engine_stop_intake(e);
  assert_false(strand_engine_may_read(e, p));
  for (int64_t i = 0; i < 2; i++) {
    l = take_at(e, i);
    done(e, &l);
  }
  assert_false(strand_engine_may_read(e, p));
  strand_engine_free(e);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(eleven_partitions_share_a_small_buffer),
    cmocka_unit_test(partitions_are_leased_in_turn),
    cmocka_unit_test(shards_are_leased_in_turn),
    cmocka_unit_test(a_quiet_partition_lends_its_share),
    cmocka_unit_test(an_empty_partition_may_take_a_large_record),
    cmocka_unit_test(a_full_waiting_share_closes_its_partition_only),
    cmocka_unit_test(what_waits_pins_no_chunk),
    cmocka_unit_test(without_intake_nothing_is_read),
  };
  return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
