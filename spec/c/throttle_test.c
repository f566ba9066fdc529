/*
** throttle_test.c - rates, and calls at once
*/
#include "engine_fixture.h"

/* {=== rates and calls =================================================== */

/* Records that start within so many seconds, looked for whenever the engine
** says so. */
static size_t started (strand_engine *e, strand_partition *p, int64_t *next,
                       int64_t from, int64_t seconds) {
  size_t count = 0;
  for (int64_t now = from; now <= from + seconds * SECOND;) {
    strand_lease l;
    while (stats(e).buffered_records < 200) poll(e, p, (*next)++, NULL);
    while (strand_engine_lease(e, 64, now, &l)) {
      count += l.count;
      assert_int_equal(strand_engine_done(e, &l, l.count, now), STRAND_OK);
      while (stats(e).buffered_records < 200) poll(e, p, (*next)++, NULL);
    }
    now = strand_engine_throttle(e, now);
    strand_engine_tick(e, now);
  }
  return count;
}

static void a_rate_is_kept (bool consumers, double per_second, double burst) {
  strand_engine_config c = limited(STRAND_BY_PARTITION);
  strand_engine *e;
  strand_partition *p;
  int64_t next = 0;
  size_t most = (size_t)(per_second * 10), at_once = (size_t)burst;
  *(consumers ? &c.rate : &routes[0].rate) = (strand_rate){ per_second,
                                                            burst };
  e = open_with(c);
  p = assign(e, 0);
  assert_in_range(started(e, p, &next, 0, 10), most + at_once - 1,
                  most + at_once);
  /* An hour without records saves no more than a burst. */
  assert_in_range(started(e, p, &next, 3600 * SECOND, 10), most + at_once - 1,
                  most + at_once);
  strand_engine_free(e);
}

static void records_start_at_the_rate_and_a_burst (void **state) {
  (void)state;
  for (int consumers = 0; consumers <= 1; consumers++) {
    a_rate_is_kept(consumers, 10, 1);
    a_rate_is_kept(consumers, 300, 7);
    a_rate_is_kept(consumers, 0.5, 3);
    a_rate_is_kept(consumers, 5000, 100);
  }
}

/* It does not lie in wait for each token of a high rate. */
static void a_high_rate_wakes_a_thousand_times_a_second (void **state) {
  strand_engine_config c = limited(STRAND_BY_PARTITION);
  strand_engine *e;
  strand_lease l;
  (void)state;
  c.rate = (strand_rate){ 100000, 1000 };
  e = open_with(c);
  poll_all(e, assign(e, 0), "aaaaaaaa");
  e->bucket.tokens = 0;
  assert_false(strand_engine_lease(e, 64, 0, &l));
  assert_in_range(strand_engine_throttle(e, 0), 999, 1001);
  strand_engine_free(e);
}

static void what_goes_back_costs_no_token (void **state) {
  (void)state;
  for (int consumers = 0; consumers <= 1; consumers++) {
    strand_engine_config c = limited(STRAND_BY_KEY);
    strand_engine *e;
    strand_lease l;
    *(consumers ? &c.rate : &routes[0].rate) = (strand_rate){ 0.001, 3 };
    e = open_with(c);
    poll_all(e, assign(e, 0), "aaaa");
    l = lease_of(e, 64);
    assert_int_equal(l.count, 3);
    nothing_starts(e);
    back(e, &l);
    l = lease_of(e, 64);
    assert_int_equal(l.count, 3);
    assert_int_equal(ended(e, &l, STRAND_OUTCOME_FAILED, 0, 0), STRAND_OK);
    strand_engine_tick(e, 0);
    l = take_at(e, 0); /* it has cost one, the other two came back */
    done(e, &l);
    l = lease_of(e, 64);
    assert_int_equal(l.count, 1);
    done(e, &l);
    nothing_starts(e);
    strand_engine_free(e);
  }
}

static void a_route_without_tokens_leaves_the_others_alone (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  (void)state;
  routes[0].rate = (strand_rate){ 1, 1 };
  e = open_with(c);
  poll_all(e, assign_route(e, 0, 0), "ab");
  poll_all(e, assign_route(e, 1, 1), "abcdef");
  for (int i = 0; i < 7; i++) {
    l = lease_of(e, 1);
    done(e, &l);
  }
  nothing_starts(e);
  assert_in_range(strand_engine_tick(e, 0), SECOND - 2, SECOND + 2);
  strand_engine_tick(e, SECOND + 2);
  assert_true(strand_engine_lease(e, 1, SECOND + 2, &l));
  assert_int_equal(strand_partition_index(l.partition), 0);
  done(e, &l);
  strand_engine_free(e);
}

static void a_routes_calls_are_limited (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease a, b, other;
  (void)state;
  routes[0].max_in_flight = 2;
  e = open_with(c);
  poll_all(e, assign_route(e, 0, 0), "ab");
  poll_all(e, assign_route(e, 1, 0), "ab");
  poll_all(e, assign_route(e, 2, 1), "a");
  a = lease_of(e, 1);
  b = lease_of(e, 1);
  other = lease_of(e, 1);
  assert_int_equal(strand_partition_index(other.partition), 2);
  nothing_starts(e);
  done(e, &other);
  nothing_starts(e);
  done(e, &a);
  a = lease_of(e, 1);
  nothing_starts(e);
  back(e, &b);
  b = lease_of(e, 1);
  nothing_starts(e);
  fail_at(e, &b, SECOND, 0);
  b = lease_of(e, 1);
  done(e, &a);
  done(e, &b);
  strand_engine_free(e);
}

static void a_stale_call_counts_until_it_ends (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease a, b;
  (void)state;
  routes[0].max_in_flight = 1;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "a");
  poll_all(e, assign(e, 1), "b");
  a = take_at(e, 0);
  assert_ptr_equal(a.partition, p);
  nothing_starts(e);
  revoke(e, p);
  nothing_starts(e);
  done(e, &a);
  b = take_at(e, 0);
  done(e, &b);
  strand_engine_free(e);
}

static void new_limits_open_the_gates (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l[3];
  (void)state;
  routes[0].max_in_flight = 1;
  e = open_with(c);
  poll_all(e, assign(e, 0), "abc");
  l[0] = take_at(e, 0);
  nothing_starts(e);
  routes[0].max_in_flight = 0;
  routes[0].rate = (strand_rate){ 1, 1 };
  strand_engine_configure(e, &c);
  l[1] = take_at(e, 1);
  nothing_starts(e);
  routes[0].rate = (strand_rate){ 0, 0 };
  strand_engine_configure(e, &c);
  l[2] = take_at(e, 2);
  for (int i = 0; i < 3; i++) done(e, &l[i]);
  strand_engine_free(e);
}

/* With one call at a time each partition gets its turn. */
static void partitions_of_a_closed_route_take_turns (void **state) {
  strand_engine_config c = limited(STRAND_BY_PARTITION);
  strand_engine *e;
  int64_t count[3] = { 0 }, next[3] = { 0 };
  strand_partition *p[3];
  (void)state;
  routes[0].max_in_flight = 1;
  e = open_with(c);
  for (int i = 0; i < 3; i++) p[i] = assign(e, i);
  for (int i = 0; i < 300; i++) {
    strand_lease l;
    for (int k = 0; k < 3; k++) poll(e, p[k], next[k]++, "a");
    l = lease_of(e, 1);
    nothing_starts(e);
    count[strand_partition_index(l.partition)]++;
    done(e, &l);
  }
  for (int i = 0; i < 3; i++) assert_in_range(count[i], 90, 110);
  strand_engine_free(e);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(records_start_at_the_rate_and_a_burst),
    cmocka_unit_test(a_high_rate_wakes_a_thousand_times_a_second),
    cmocka_unit_test(what_goes_back_costs_no_token),
    cmocka_unit_test(a_route_without_tokens_leaves_the_others_alone),
    cmocka_unit_test(a_routes_calls_are_limited),
    cmocka_unit_test(a_stale_call_counts_until_it_ends),
    cmocka_unit_test(new_limits_open_the_gates),
    cmocka_unit_test(partitions_of_a_closed_route_take_turns),
  };
  return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
