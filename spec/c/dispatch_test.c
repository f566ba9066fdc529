/*
** dispatch_test.c - which records go next, and how many
*/
#include "engine_fixture.h"
/* {=== the order of records ============================================== */

static void records_of_a_key_follow_each_other (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll_all(e, p, "aaa");
  for (int64_t i = 0; i < 3; i++) {
    a = take_at(e, i);
    nothing_starts(e);
    done(e, &a);
  }
  assert_int_equal(committable(e, p), 3);
  strand_engine_free(e);
}

static void keys_run_side_by_side (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a, b, c;
  (void)state;
  poll_all(e, p, "abac");
  a = take_at(e, 0);
  b = take_at(e, 1);
  c = take_at(e, 3);
  nothing_starts(e);
  done(e, &c);
  done(e, &b);
  assert_int_equal(committable(e, p), 0);
  done(e, &a);
  assert_int_equal(committable(e, p), 2);
  a = take_at(e, 2);
  done(e, &a);
  assert_int_equal(committable(e, p), 4);
  strand_engine_free(e);
}

static void a_failed_record_keeps_its_place (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a, b;
  (void)state;
  poll_all(e, p, "aab");
  a = take_at(e, 0);
  fail_at(e, &a, 500, 0);
  b = take_at(e, 2); /* only its own shard waits */
  nothing_starts(e);
  assert_int_equal(poll(e, p, 3, "a"), STRAND_ADDED);
  nothing_starts(e);
  done(e, &b);
  strand_engine_tick(e, 500);
  for (int64_t i = 0; i < 4; i++) {
    if (i == 2) continue;
    a = take_at(e, i);
    assert_int_equal(a.record->attempt, i == 0 ? 2 : 1);
    done(e, &a);
  }
  assert_int_equal(stats(e).waiting_records, 0);
  strand_engine_free(e);
}

static void a_lease_holds_records_that_follow_each_other (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  for (int64_t i = 0; i < 200; i++) poll(e, p, i, i % 2 == 0 ? "a" : "b");
  a = lease_of(e, 1000);
  assert_int_equal(a.count, STRAND_LEASE_RECORDS);
  for (int64_t i = 0; i < a.count; i++, a.record = a.record->behind) {
    assert_int_equal(a.record->offset, i * 2);
  }
  a.record = a.shard->head;
  assert_int_equal(strand_engine_done(e, &a, 3, 0), STRAND_OK);
  assert_int_equal(a.count, STRAND_LEASE_RECORDS - 3);
  assert_int_equal(a.record->offset, 6);
  done(e, &a);
  a = lease_of(e, 2);
  assert_int_equal(a.count, 2);
  assert_int_equal(a.record->offset, 1);
  done(e, &a);
  strand_engine_free(e);
}

static void a_lease_ends_at_its_span (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll(e, p, 0, "a");
  poll(e, p, STRAND_LEASE_SPAN - 1, "a");
  poll(e, p, STRAND_LEASE_SPAN, "a");
  a = lease_of(e, 64);
  assert_int_equal(a.count, 2);
  done(e, &a);
  strand_engine_free(e);
}

static void a_retried_record_comes_alone (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll_all(e, p, "aaa");
  a = lease_of(e, 64);
  assert_int_equal(a.count, 3);
  fail_at(e, &a, 0, 0);
  strand_engine_tick(e, 0);
  a = lease_of(e, 64);
  assert_int_equal(a.count, 1);
  done(e, &a);
  a = lease_of(e, 64);
  assert_int_equal(a.count, 2);
  done(e, &a);
  strand_engine_free(e);
}

static void what_is_given_back_keeps_its_order (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll_all(e, p, "aaaab");
  a = lease_of(e, 64);
  assert_int_equal(strand_engine_done(e, &a, 1, 0), STRAND_OK);
  back(e, &a);
  a = lease_of(e, 64); /* and its turn */
  assert_int_equal(a.record->offset, 1);
  assert_int_equal(a.record->attempt, 1);
  assert_int_equal(a.count, 3);
  done(e, &a);
  strand_engine_free(e);
}

/* Of what is discarded no turn is made. */
static void a_partition_keeps_its_turn_over_a_discarded_record (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0), *q = assign(e, 1);
  strand_lease a;
  (void)state;
  poll_all(e, p, "aa");
  a = lease_of(e, 1);
  end_at(e, &a, STRAND_OUTCOME_PARK, 0);
  poll_all(e, q, "abcdefghijklmnopqrst");
  resolve(e, p, STRAND_RESOLVE_DISCARD);
  for (int i = 0; i < STRAND_TURN_LEASES; i++) {
    a = lease_of(e, 1);
    assert_ptr_equal(a.partition, q);
    done(e, &a);
  }
  a = lease_of(e, 1);
  assert_ptr_equal(a.partition, p);
  assert_int_equal(a.record->offset, 1);
  done(e, &a);
  strand_engine_free(e);
}

static void a_partition_runs_one_at_a_time (void **state) {
  strand_engine *e = open_by(STRAND_BY_PARTITION);
  strand_partition *p = assign(e, 0), *q = assign(e, 1);
  strand_lease a, b;
  (void)state;
  poll_all(e, p, "ab-c");
  poll_all(e, q, "ab-c");
  for (int64_t i = 0; i < 4; i++) {
    a = take_at(e, i);
    b = take_at(e, i);
    assert_true(a.partition != b.partition);
    nothing_starts(e);
    done(e, &a);
    done(e, &b);
  }
  strand_engine_free(e);
}

static void without_an_order_all_run_at_once (void **state) {
  strand_engine *e = open_by(STRAND_UNORDERED);
  strand_partition *p = assign(e, 0);
  strand_lease l[4];
  (void)state;
  poll_all(e, p, "aaaa");
  for (int64_t i = 0; i < 4; i++) l[i] = take_at(e, i);
  fail_at(e, &l[1], 0, 0);
  back(e, &l[2]);
  back(e, &l[0]);
  strand_engine_tick(e, 0);
  for (int64_t i = 0; i < 3; i++) l[i] = take_at(e, i);
  for (int64_t i = 3; i >= 0; i--) done(e, &l[i]);
  assert_int_equal(committable(e, p), 4);
  strand_engine_free(e);
}

static void an_empty_key_is_a_key_and_none_is_a_shard (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a, b;
  (void)state;
  poll(e, p, 0, "");
  poll(e, p, 1, NULL);
  poll(e, p, 2, "");
  poll(e, p, 3, NULL);
  a = take_at(e, 0);
  b = take_at(e, 1);
  nothing_starts(e);
  done(e, &a);
  done(e, &b);
  a = take_at(e, 2);
  b = take_at(e, 3);
  done(e, &a);
  done(e, &b);
  strand_engine_free(e);
}

static void null_keys_may_be_unordered (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l[3];
  (void)state;
  c.null_key_unordered = true;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "---");
  for (int64_t i = 0; i < 3; i++) l[i] = take_at(e, i);
  for (int64_t i = 0; i < 3; i++) done(e, &l[i]);
  strand_engine_free(e);
}

static void null_keys_and_keys_take_turns (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  int nulls = 0;
  (void)state;
  c.null_key_unordered = true;
  e = open_with(c);
  p = assign(e, 0);
  for (int64_t i = 0; i < 100; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%d", (int)i);
    poll(e, p, i, i < 50 ? NULL : key);
  }
  for (int i = 0; i < 40; i++) {
    l = lease_of(e, 1);
    nulls += !(l.record->flags & STRAND_RECORD_KEY);
    done(e, &l);
  }
  assert_in_range(nulls, 15, 25);
  while (strand_engine_lease(e, 64, 0, &l)) done(e, &l);
  strand_engine_free(e);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(records_of_a_key_follow_each_other),
    cmocka_unit_test(keys_run_side_by_side),
    cmocka_unit_test(a_failed_record_keeps_its_place),
    cmocka_unit_test(a_lease_holds_records_that_follow_each_other),
    cmocka_unit_test(a_lease_ends_at_its_span),
    cmocka_unit_test(a_retried_record_comes_alone),
    cmocka_unit_test(what_is_given_back_keeps_its_order),
    cmocka_unit_test(a_partition_keeps_its_turn_over_a_discarded_record),
    cmocka_unit_test(a_partition_runs_one_at_a_time),
    cmocka_unit_test(without_an_order_all_run_at_once),
    cmocka_unit_test(an_empty_key_is_a_key_and_none_is_a_shard),
    cmocka_unit_test(null_keys_may_be_unordered),
    cmocka_unit_test(null_keys_and_keys_take_turns),
  };
  return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
