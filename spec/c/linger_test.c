/*
** linger_test.c - batches, and what they wait for
*/
#include "engine_fixture.h"

/* {=== batches =========================================================== */

static strand_engine *open_batches (strand_ordering ordering,
                                    strand_batch_by by, size_t size,
                                    int64_t linger_us) {
  strand_engine_config c = limited(ordering);
  routes[0].by = by;
  routes[0].batch_size = size;
  routes[0].linger_us = linger_us;
  return open_with(c);
}

static strand_lease batch[64];

/* One call's leases: as many records as it says, in 'batch'. */
static size_t take_batch (strand_engine *e, int64_t now, int *leases) {
  size_t most = routes[0].batch_size, count;
  int n = 0;
  if (!strand_engine_lease(e, most, now, &batch[n])) return *leases = 0;
  for (count = batch[n++].count; count < most; count += batch[n++].count) {
    strand_engine_check(e);
    if (!strand_engine_lease_more(e, &batch[0], most - count, now,
                                  &batch[n])) {
      break;
    }
    assert_true(batch[n].continuation);
  }
  *leases = n;
  strand_engine_check(e);
  return count;
}

static void done_batch (strand_engine *e, int leases) {
  for (int i = 0; i < leases; i++) done(e, &batch[i]);
}

static void a_mixed_batch_has_one_record_of_a_key (void **state) {
  strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_MIXED, 10, 0);
  int leases;
  (void)state;
  poll_all(e, assign_route(e, 0, 0), "aabac");
  poll_all(e, assign_route(e, 1, 0), "ad");
  poll_all(e, assign_route(e, 2, 1), "x");
  assert_int_equal(take_batch(e, 0, &leases), 5); /* a, b, c and a, d */
  assert_int_equal(leases, 5);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(batch[i].count, 1);
    assert_in_range(strand_partition_index(batch[i].partition), 0, 1);
  }
  strand_lease l = take_at(e, 0); /* of the other route, not of its batch */
  assert_int_equal(strand_partition_index(l.partition), 2);
  done(e, &l);
  nothing_starts(e);
  done_batch(e, leases);
  assert_int_equal(take_batch(e, 0, &leases), 1);
  assert_int_equal(batch[0].record->offset, 1);
  done_batch(e, leases);
  strand_engine_free(e);
}

static void a_batch_is_one_call (void **state) {
  strand_engine_config c = limited(STRAND_UNORDERED);
  strand_engine *e;
  int leases;
  (void)state;
  routes[0].by = STRAND_BATCH_MIXED;
  routes[0].batch_size = 4;
  routes[0].max_in_flight = 1;
  e = open_with(c);
  poll_all(e, assign(e, 0), "aaaaaa");
  assert_int_equal(take_batch(e, 0, &leases), 4);
  nothing_starts(e);
  done_batch(e, leases);
  assert_int_equal(take_batch(e, 0, &leases), 2);
  done_batch(e, leases);
  strand_engine_free(e);
}

static void a_batch_by_key_has_one_key (void **state) {
  strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_KEY, 3, 0);
  int leases;
  (void)state;
  poll_all(e, assign(e, 0), "aabaaca");
  assert_int_equal(take_batch(e, 0, &leases), 3);
  assert_int_equal(leases, 1);
  assert_int_equal(batch[0].record->offset, 0);
  assert_int_equal(batch[0].record->behind->behind->offset, 3);
  done_batch(e, leases);
  assert_int_equal(take_batch(e, 0, &leases), 1);
  assert_int_equal(batch[0].record->offset, 2);
  done_batch(e, leases);
  strand_engine_free(e);
}

static void a_batch_by_partition_has_one_partition (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    strand_engine *e = open_batches((strand_ordering)ordering,
                                    STRAND_BATCH_PARTITION, 100, 0);
    strand_partition *p = assign(e, 0);
    int leases;
    poll_all(e, p, "abcab");
    poll_all(e, assign(e, 1), "d");
    assert_int_equal(take_batch(e, 0, &leases), 5);
    assert_int_equal(leases, ordering == STRAND_BY_KEY         ? 3
                             : ordering == STRAND_BY_PARTITION ? 1
                                                               : 5);
    for (int i = 0; i < leases; i++) {
      assert_ptr_equal(batch[i].partition, p);
    }
    done_batch(e, leases);
    assert_int_equal(take_batch(e, 0, &leases), 1);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void what_failed_in_a_batch_comes_alone (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine *e = open_batches(STRAND_BY_KEY, (strand_batch_by)by, 10,
                                    SECOND);
    strand_partition *p = assign(e, 0);
    int leases;
    size_t left;
    poll_all(e, p, "aaabbc");
    take_batch(e, SECOND, &leases);
    assert_int_equal(batch[0].record->offset, 0);
    fail_at(e, &batch[0], 0, SECOND);
    for (int i = 1; i < leases; i++) done(e, &batch[i]);
    strand_engine_tick(e, SECOND);
    do { /* the retry, before or after what else is there */
      left = take_batch(e, 2 * SECOND, &leases);
      assert_true(left > 0);
      for (int i = 0; i < leases; i++) {
        if (batch[i].record->attempt > 1) assert_int_equal(left, 1);
      }
      left = batch[0].record->attempt;
      done_batch(e, leases);
    } while (left == 1);
    strand_engine_free(e);
  }
}

/* Records that make a batch of three by each, and are less by one. */
static void a_batch_lingers_until_it_is_full (void **state) {
  static const struct {
    strand_ordering ordering;
    strand_batch_by by;
    const char *keys;
    const char *last;
  } ways[] = { { STRAND_BY_KEY, STRAND_BATCH_MIXED, "aab", "c" },
               { STRAND_BY_KEY, STRAND_BATCH_KEY, "aa", "a" },
               { STRAND_BY_KEY, STRAND_BATCH_PARTITION, "aa", "b" },
               { STRAND_BY_PARTITION, STRAND_BATCH_PARTITION, "ab", "c" },
               { STRAND_UNORDERED, STRAND_BATCH_PARTITION, "ab", "c" },
               { STRAND_UNORDERED, STRAND_BATCH_MIXED, "ab", "c" } };
  (void)state;
  for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
    strand_engine *e = open_batches(ways[i].ordering, ways[i].by, 3, SECOND);
    strand_partition *p = assign(e, 0);
    int leases;
    poll_all(e, p, ways[i].keys);
    nothing_starts(e);
    assert_true(strand_engine_throttle(e, 0) == SECOND);
    poll(e, p, (int64_t)strlen(ways[i].keys), ways[i].last);
    assert_int_equal(take_batch(e, 0, &leases), 3);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

/* As compaction leaves them: a lease of one key may not be that wide, but each
** of those without an order is a lease of its own. */
static void unordered_records_far_apart_fill_a_batch (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by += 2) {
    strand_engine *e = open_batches(STRAND_UNORDERED, (strand_batch_by)by, 3,
                                    SECOND);
    strand_partition *p = assign(e, 0);
    int leases;
    for (int i = 0; i < 3; i++) {
      nothing_starts(e);
      poll(e, p, (int64_t)i * STRAND_LEASE_SPAN, "a");
    }
    assert_int_equal(take_batch(e, 0, &leases), 3);
    assert_int_equal(leases, 3);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void a_batch_that_is_as_wide_as_it_gets_goes (void **state) {
  (void)state;
  for (int key = 0; key <= 1; key++) { /* other keys may join */
    strand_engine *e = open_batches(key ? STRAND_BY_KEY : STRAND_BY_PARTITION,
                                    STRAND_BATCH_PARTITION, 4, SECOND);
    strand_partition *p = assign(e, 0);
    int leases;
    poll_all(e, p, "aa");
    nothing_starts(e);
    poll(e, p, STRAND_LEASE_SPAN, "a");
    strand_engine_tick(e, 0);
    assert_int_equal(take_batch(e, 0, &leases), key ? 0 : 2);
    done_batch(e, leases);
    nothing_starts(e);
    strand_engine_free(e);
  }
}

static void a_batch_goes_when_its_first_has_lingered (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine *e = open_batches(STRAND_BY_KEY, (strand_batch_by)by, 3,
                                    SECOND);
    int leases;
    poll_all(e, assign(e, 0), "a");
    assert_int_equal(take_batch(e, SECOND - 1, &leases), 0);
    assert_true(strand_engine_tick(e, SECOND - 1) == SECOND);
    assert_int_equal(take_batch(e, SECOND - 1, &leases), 0);
    strand_engine_tick(e, SECOND);
    assert_int_equal(take_batch(e, SECOND, &leases), 1);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void a_batch_does_not_linger_while_the_member_drains (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine *e = open_batches(STRAND_BY_KEY, (strand_batch_by)by, 3,
                                    SECOND);
    int leases;
    poll_all(e, assign(e, 0), "a");
    nothing_starts(e);
    strand_engine_stop_intake(e);
    assert_int_equal(take_batch(e, 0, &leases), 1);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void what_lingers_elsewhere_joins_a_mixed_batch (void **state) {
  (void)state;
  for (int full = 0; full <= 1; full++) {
    strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_MIXED, 6,
                                    SECOND);
    strand_partition *p = assign(e, 0), *q = assign(e, 1);
    int leases;
    poll_all(e, p, "ab");
    nothing_starts(e);
    poll_all(e, q, full ? "abcd" : "abc");
    if (!full) nothing_starts(e);
    strand_engine_tick(e, full ? 0 : SECOND);
    assert_int_equal(take_batch(e, full ? 0 : SECOND, &leases), full ? 6 : 5);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

/* Those of another route, or that run, are no reason to go. */
static void only_what_could_join_makes_a_batch_full (void **state) {
  strand_engine *e = open_batches(STRAND_UNORDERED, STRAND_BATCH_MIXED, 3,
                                  SECOND);
  strand_partition *p = assign_route(e, 0, 0);
  strand_partition *q = assign_route(e, 1, 1);
  strand_lease l;
  int leases;
  (void)state;
  strand_engine_pause(e, q, true);
  poll_all(e, q, "aaaaaaaa");
  poll_all(e, p, "aaa");
  assert_int_equal(take_batch(e, 0, &leases), 3);
  poll(e, p, 3, "a");
  nothing_starts(e);
  strand_engine_pause(e, q, false);
  l = take_at(e, 0);
  assert_ptr_equal(l.partition, q);
  done(e, &l);
  done_batch(e, leases);
  strand_engine_free(e);
}

static void a_record_by_hand_opens_no_batch (void **state) {
  strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_MIXED, 2,
                                  SECOND);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  int leases;
  (void)state;
  poll_all(e, p, "ab");
  take_batch(e, 0, &leases);
  end_at(e, &batch[0], STRAND_OUTCOME_PARK, 0);
  done(e, &batch[1]);
  resolve(e, p, STRAND_RESOLVE_DISCARD);
  poll(e, p, 2, "c");
  strand_engine_tick(e, 0);
  assert_false(strand_engine_lease(e, 2, 0, &l));
  assert_int_equal(stats(e).skipped, 1);
  strand_engine_free(e);
}

static strand_engine *open_rated (size_t size, int64_t linger_us,
                                  strand_rate rate, strand_rate all) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  routes[0].by = STRAND_BATCH_MIXED;
  routes[0].batch_size = size;
  routes[0].linger_us = linger_us;
  routes[0].rate = rate;
  c.rate = all;
  return open_with(c);
}

static size_t batch_at (strand_engine *e, int64_t now) {
  int leases;
  size_t count;
  strand_engine_tick(e, now);
  count = take_batch(e, now, &leases);
  done_batch(e, leases);
  return count;
}

static void a_batch_waits_for_the_tokens_of_its_records (void **state) {
  (void)state;
  for (int all = 0; all <= 1; all++) {
    strand_rate rate = { 100, 6 }, none = { 0, 0 };
    strand_engine *e = open_rated(4, 0, all ? none : rate, all ? rate : none);
    poll_all(e, assign(e, 0), "abcdefghij");
    assert_int_equal(batch_at(e, 0), 4);
    assert_int_equal(batch_at(e, 0), 0);
    assert_true(strand_engine_tick(e, 0) == 20000);
    assert_int_equal(batch_at(e, 19999), 0);
    assert_int_equal(batch_at(e, 20000), 4);
    assert_int_equal(batch_at(e, 39999), 0);
    assert_int_equal(batch_at(e, 40000), 2);
    strand_engine_free(e);
  }
}

/* The first is far below the others, as one is that another member held. */
static void far_records_are_waited_for_too (void **state) {
  strand_engine_config c = limited(STRAND_UNORDERED);
  strand_engine *e;
  strand_partition *p;
  (void)state;
  routes[0].by = STRAND_BATCH_MIXED;
  routes[0].batch_size = 2;
  c.rate = (strand_rate){ 100, 2 };
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "ab");
  assert_int_equal(batch_at(e, 0), 2);
  poll(e, p, 2, "c");
  poll(e, p, 3 + STRAND_LEASE_SPAN, "d");
  assert_int_equal(batch_at(e, 10000), 0);
  assert_int_equal(batch_at(e, 20000), 2);
  strand_engine_free(e);
}

static void a_batch_waits_for_no_more_than_a_second_brings (void **state) {
  (void)state;
  for (int64_t linger = 0; linger <= 3 * SECOND; linger += 3 * SECOND) {
    strand_engine *e = open_rated(9, linger, (strand_rate){ 2, 9 },
                                  (strand_rate){ 0, 0 });
    int64_t wait = linger > 0 ? linger : SECOND;
    poll_all(e, assign(e, 0), "abcdefghijklmnopqrstuvwxyz");
    assert_int_equal(batch_at(e, 0), 9);
    assert_int_equal(batch_at(e, wait - 1), 0);
    assert_int_equal(batch_at(e, wait), 2 * wait / SECOND);
    strand_engine_free(e);
  }
}

static void a_batch_is_full_with_what_the_burst_allows (void **state) {
  strand_engine *e = open_rated(8, SECOND, (strand_rate){ 100, 3 },
                                (strand_rate){ 0, 0 });
  (void)state;
  poll_all(e, assign(e, 0), "abc");
  assert_int_equal(batch_at(e, 0), 3);
  strand_engine_free(e);
}

/* Single records of another route do not take what a batch waits for. */
static void the_first_in_line_gets_the_consumers_tokens (void **state) {
  strand_engine *e = open_rated(4, 0, (strand_rate){ 0, 0 },
                                (strand_rate){ 100, 4 });
  int batches = 0;
  (void)state;
  poll_all(e, assign_route(e, 0, 0), "abcdefgh");
  poll_all(e, assign_route(e, 1, 1), "abcdefghijklmnopqrstuvwxyz");
  for (int64_t now = 0; now < SECOND; now += 1000) {
    size_t count = batch_at(e, now);
    if (count > 0 && strand_partition_index(batch[0].partition) == 0) {
      assert_int_equal(count, 4);
      batches++;
    }
  }
  assert_int_equal(batches, 2);
  strand_engine_free(e);
}

static void a_batch_goes_when_no_more_may_be_read (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine_config c = limited(STRAND_BY_KEY);
    strand_engine *e;
    strand_partition *p, *q;
    int leases;
    routes[0].by = (strand_batch_by)by;
    routes[0].batch_size = 9;
    routes[0].linger_us = SECOND;
    c.max_buffered_records = 4;
    e = open_with(c);
    p = assign(e, 0);
    q = assign(e, 1);
    strand_engine_drained(e, q, true);
    poll_all(e, p, by == STRAND_BATCH_KEY ? "aaa" : "abc");
    assert_int_equal(batch_at(e, 0), 0);
    assert_false(strand_engine_short(e, q));
    assert_true(strand_engine_short(e, p));
    poll(e, p, 3, by == STRAND_BATCH_KEY ? "a" : "d");
    strand_engine_tick(e, 0);
    assert_int_equal(take_batch(e, 0, &leases), 4);
    poll(e, q, 0, "a"); /* it has nothing, and may always take one */
    assert_int_equal(strand_engine_may_read(e, q), false);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void a_batch_goes_when_its_payload_lets_no_more_start (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine_config c = limited(STRAND_BY_KEY);
    strand_engine *e;
    routes[0].by = (strand_batch_by)by;
    routes[0].batch_size = 9;
    routes[0].linger_us = SECOND;
    c.max_metadata = 0;
    e = open_with(c);
    poll_all(e, assign(e, 0), "abc");
    assert_int_equal(batch_at(e, 0), 1);
    assert_int_equal(batch_at(e, 0), 1);
    strand_engine_free(e);
  }
}

static void a_full_batch_of_a_key_passes_what_lingers (void **state) {
  strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_KEY, 3, SECOND);
  strand_partition *p = assign(e, 0);
  int leases;
  (void)state;
  poll_all(e, p, "abb");
  nothing_starts(e);
  poll(e, p, 3, "b");
  assert_int_equal(take_batch(e, 0, &leases), 3);
  assert_int_equal(batch[0].record->offset, 1);
  nothing_starts(e);
  assert_int_equal(stats(e).ready, 0);
  done_batch(e, leases);
  poll(e, p, 4, "c");
  poll(e, p, 4 + STRAND_LEASE_SPAN, "c"); /* no lease has both */
  assert_int_equal(take_batch(e, 0, &leases), 1);
  assert_int_equal(batch[0].record->offset, 4);
  done_batch(e, leases);
  nothing_starts(e);
  assert_int_equal(batch_at(e, SECOND), 1);
  strand_engine_free(e);
}

/* It was parked alone, and comes back behind records that run. */
static void a_batch_of_a_key_ends_before_what_came_back (void **state) {
  for (int way = 0; way < 2; way++) {
    strand_engine_config c = limited(way ? STRAND_BY_KEY
                                         : STRAND_BY_PARTITION);
    strand_engine *e;
    strand_partition *p;
    int leases;
    (void)state;
    routes[0].by = STRAND_BATCH_KEY;
    routes[0].batch_size = 4;
    routes[0].linger_us = SECOND;
    c.park_alone = true;
    e = open_with(c);
    p = assign(e, 0);
    poll_all(e, p, "aaaa");
    assert_int_equal(take_batch(e, 0, &leases), 4);
    end_at(e, &batch[0], STRAND_OUTCOME_PARK, 0);
    nothing_starts(e);
    poll(e, p, 4, "a");
    assert_int_equal(take_batch(e, 0, &leases), 4);
    resolve(e, p, STRAND_RESOLVE_RETRY);
    end_at(e, &batch[0], STRAND_OUTCOME_DONE, 0);
    end_at(e, &batch[0], STRAND_OUTCOME_PARK, 0);
    assert_int_equal(take_batch(e, 0, &leases), 2);
    assert_int_equal(batch[0].record->offset, 3);
    done_batch(e, leases);
    assert_int_equal(take_batch(e, 0, &leases), 1);
    assert_int_equal(batch[0].record->offset, 0);
    done_batch(e, leases);
    nothing_starts(e);
    strand_engine_free(e);
  }
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_mixed_batch_has_one_record_of_a_key),
    cmocka_unit_test(a_batch_is_one_call),
    cmocka_unit_test(a_batch_by_key_has_one_key),
    cmocka_unit_test(a_batch_by_partition_has_one_partition),
    cmocka_unit_test(what_failed_in_a_batch_comes_alone),
    cmocka_unit_test(a_batch_lingers_until_it_is_full),
    cmocka_unit_test(unordered_records_far_apart_fill_a_batch),
    cmocka_unit_test(a_batch_that_is_as_wide_as_it_gets_goes),
    cmocka_unit_test(a_batch_goes_when_its_first_has_lingered),
    cmocka_unit_test(a_batch_does_not_linger_while_the_member_drains),
    cmocka_unit_test(what_lingers_elsewhere_joins_a_mixed_batch),
    cmocka_unit_test(only_what_could_join_makes_a_batch_full),
    cmocka_unit_test(a_record_by_hand_opens_no_batch),
    cmocka_unit_test(a_batch_waits_for_the_tokens_of_its_records),
    cmocka_unit_test(far_records_are_waited_for_too),
    cmocka_unit_test(a_batch_waits_for_no_more_than_a_second_brings),
    cmocka_unit_test(a_batch_is_full_with_what_the_burst_allows),
    cmocka_unit_test(the_first_in_line_gets_the_consumers_tokens),
    cmocka_unit_test(a_batch_goes_when_no_more_may_be_read),
    cmocka_unit_test(a_batch_goes_when_its_payload_lets_no_more_start),
    cmocka_unit_test(a_full_batch_of_a_key_passes_what_lingers),
    cmocka_unit_test(a_batch_of_a_key_ends_before_what_came_back),
  };
  return cmocka_run_group_tests_name("linger", tests, NULL, NULL);
}
