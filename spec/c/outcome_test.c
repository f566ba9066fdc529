/*
** outcome_test.c - what the end of a record means
*/
#include "engine_fixture.h"

/* {=== the policy ========================================================== */

static void the_policy_grows_to_its_limit (void **state) {
  static const int64_t delays[] = { 100000, 200000,  400000,
                                    800000, 1000000, 1000000 };
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  int64_t now = 0;
  (void)state;
  poll_all(e, p, "a");
  for (int i = 0; i < 6; i++) {
    l = take_at(e, 0);
    assert_int_equal(l.record->attempt, i + 1);
    fail_at(e, &l, -1, now);
    assert_int_equal(heard.last.delay_us, delays[i]);
    now += delays[i];
    strand_engine_tick(e, now);
  }
  strand_engine_free(e);
}

static void jitter_takes_a_part_at_most (void **state) {
  static const strand_route_limits jitter = {
    .policy = { 100000, 100000, 1, 0.5, 0, STRAND_OUTCOME_PARK }
  };
  strand_engine_config config = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  int64_t least = INT64_MAX, most = 0, now = 0;
  (void)state;
  config.routes = &jitter;
  e = open_with(config);
  p = assign(e, 0);
  poll_all(e, p, "a");
  for (int i = 0; i < 200; i++) {
    strand_lease l = take_at(e, 0);
    fail_at(e, &l, -1, now);
    if (heard.last.delay_us < least) least = heard.last.delay_us;
    if (heard.last.delay_us > most) most = heard.last.delay_us;
    now += heard.last.delay_us;
    strand_engine_tick(e, now);
  }
  assert_in_range(least, 50000, 55000);
  assert_in_range(most, 95000, 100000);
  strand_engine_free(e);
}

/* }{=== how records end ==================================================== */

static void what_came_along_was_not_tried (void **state) {
  strand_engine *e = open_with(limited(STRAND_BY_KEY));
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aaa");
  l = lease_of(e, 3);
  assert_int_equal(strand_engine_done(e, &l, 1, 0), STRAND_OK);
  assert_int_equal(ended(e, &l, STRAND_OUTCOME_RETRY, 0, 0), STRAND_OK);
  strand_engine_tick(e, 0);
  l = take_at(e, 1);
  assert_int_equal(l.record->attempt, 2);
  done(e, &l);
  l = take_at(e, 2);
  assert_int_equal(l.record->attempt, 1);
  done(e, &l);
  strand_engine_free(e);
}

static void a_skipped_record_is_done_and_its_lease_goes_on (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    strand_engine *e = open_with(limited((strand_ordering)ordering));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aa");
    l = lease_of(e, 2);
    end_at(e, &l, STRAND_OUTCOME_SKIP, 0);
    assert_int_equal(committable(e, p), 1);
    assert_int_equal(stats(e).skipped, 1);
    if (ordering == STRAND_UNORDERED) l = take_at(e, 1);
    assert_int_equal(l.count, 1);
    done(e, &l);
    assert_int_equal(stats(e).done, 1);
    assert_int_equal(stats(e).failed, 0);
    strand_engine_free(e);
  }
}

static void a_record_that_stopped_is_as_before (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    strand_engine *e = open_with(limited((strand_ordering)ordering));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aa");
    l = lease_of(e, 2);
    end_at(e, &l, STRAND_OUTCOME_STOP, 0);
    assert_int_equal(heard.notices[STRAND_NOTICE_STOP], 0); /* it knows */
    assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 0);
    l = take_at(e, 0);
    assert_int_equal(l.record->attempt, 1);
    done(e, &l);
    runs(e, "1");
    strand_engine_free(e);
  }
}

static strand_partition *exhausted_into (strand_outcome_kind kind,
                                         strand_engine **e) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_partition *p;
  routes[0].policy.attempts = 3;
  routes[0].policy.exhausted = kind;
  *e = open_with(c);
  p = assign(*e, 0);
  poll_all(*e, p, "a");
  exhaust(*e, 3);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 3);
  return p;
}

static void exhausted_attempts_end_by_the_policy (void **state) {
  strand_engine *e;
  strand_partition *p = exhausted_into(STRAND_OUTCOME_DEAD_LETTER, &e);
  (void)state;
  assert_int_equal(heard.dead_letters, 1);
  assert_int_equal(stats(e).dead_letters, 1);
  strand_engine_free(e);
  p = exhausted_into(STRAND_OUTCOME_PARK, &e);
  assert_int_equal(heard.notices[STRAND_NOTICE_PARKED], 1);
  state_is(p, 0, "parked");
  strand_engine_free(e);
  p = exhausted_into(STRAND_OUTCOME_SKIP, &e);
  state_is(p, 0, NULL);
  assert_int_equal(stats(e).skipped, 1);
  strand_engine_free(e);
  p = exhausted_into(STRAND_OUTCOME_STOP, &e);
  assert_int_equal(heard.notices[STRAND_NOTICE_STOP], 1);
  state_is(p, 0, "buffered");
  strand_engine_free(e);
}

static void who_asks_for_a_retry_is_never_exhausted (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  (void)state;
  routes[0].policy.attempts = 2;
  e = open_with(c);
  poll_all(e, assign(e, 0), "a");
  for (int i = 1; i < 10; i++) {
    l = take_at(e, 0);
    assert_int_equal(l.record->attempt, i);
    assert_int_equal(ended(e, &l, STRAND_OUTCOME_RETRY, 0, 0), STRAND_OK);
    strand_engine_tick(e, 0);
  }
  l = take_at(e, 0);
  fail_at(e, &l, 0, 0); /* the first that counts */
  assert_int_equal(stats(e).retries, 1);
  strand_engine_tick(e, 0);
  l = take_at(e, 0);
  fail_at(e, &l, 0, 0);
  assert_int_equal(stats(e).parked, 1);
  strand_engine_free(e);
}

static void a_dead_letter_without_a_topic_parks (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  (void)state;
  c.dead_letter = NULL;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "a");
  l = take_at(e, 0);
  end_at(e, &l, STRAND_OUTCOME_DEAD_LETTER, 0);
  state_is(p, 0, "parked");
  strand_engine_free(e);
}

/* }{=== deadlines ========================================================== */

static void a_deadline_is_told_once_and_holds_the_shard (void **state) {
  strand_engine *e = open_with(limited(STRAND_BY_KEY));
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aa");
  l = lease_of(e, 2);
  for (int i = 0; i < 2; i++) strand_engine_expire(e, &l, "late", 4);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  assert_string_equal(heard.reason, "late");
  assert_int_equal(heard.last.delay_us, -1);
  assert_int_equal(stats(e).failed, 1);
  nothing_starts(e);
  state_is(p, 0, "running");
  assert_int_equal(ended(e, &l, STRAND_OUTCOME_DONE, 0, 0), STRAND_OK);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  assert_int_equal(stats(e).failed, 1);
  nothing_starts(e); /* a DONE with its zeros waits by the policy as well */
  strand_engine_tick(e, 100000);
  l = take_at(e, 0);
  assert_int_equal(l.record->attempt, 2);
  done(e, &l);
  runs(e, "1");
  strand_engine_free(e);
}

static void a_late_result_has_failed_whatever_it_is (void **state) {
  (void)state;
  for (int kind = 0; kind <= STRAND_OUTCOME_STOP; kind++) {
    strand_engine *e = open_with(limited(STRAND_BY_KEY));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aa");
    l = lease_of(e, 2);
    strand_engine_expire(e, &l, "late", 4);
    assert_int_equal(ended(e, &l, (strand_outcome_kind)kind, 0, 0), STRAND_OK);
    state_is(p, 0, kind == STRAND_OUTCOME_EXHAUSTED ? "parked" : "waiting");
    assert_int_equal(stats(e).dead_letters + stats(e).skipped, 0);
    if (kind != STRAND_OUTCOME_EXHAUSTED) {
      assert_true(strand_engine_tick(e, 0)
                  == (kind == STRAND_OUTCOME_FAILED ? INT64_MAX : 100000));
    }
    strand_engine_free(e);
  }
}

static void each_late_result_is_an_attempt (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  (void)state;
  routes[0].policy.attempts = 3;
  e = open_with(c);
  poll_all(e, assign(e, 0), "a");
  for (int i = 0; i < 3; i++) {
    strand_lease l = take_at(e, 0);
    strand_engine_expire(e, &l, "late", 4);
    end_at(e, &l, STRAND_OUTCOME_RETRY, i * SECOND);
    strand_engine_tick(e, (i + 1) * SECOND);
  }
  assert_int_equal(stats(e).parked, 1);
  assert_int_equal(stats(e).failed, 3);
  strand_engine_free(e);
}

/* What the exhausted policy skips leaves its lease to the next, which is in
** time. */
static void a_deadline_is_of_one_record (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  (void)state;
  routes[0].policy.attempts = 1;
  routes[0].policy.exhausted = STRAND_OUTCOME_SKIP;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "aaaa");
  l = lease_of(e, 4);
  assert_int_equal(strand_engine_done(e, &l, 1, 0), STRAND_OK);
  strand_engine_expire(e, &l, "late", 4);
  end_at(e, &l, STRAND_OUTCOME_DONE, 0);
  assert_int_equal(l.count, 2);
  assert_int_equal(stats(e).skipped, 1);
  assert_int_equal(strand_engine_done(e, &l, 1, 0), STRAND_OK);
  end_at(e, &l, STRAND_OUTCOME_PARK, 0);
  state_is(p, 3, "parked");
  assert_int_equal(stats(e).done, 2);
  assert_int_equal(stats(e).failed, 1);
  strand_engine_free(e);
}

static void a_deadline_of_a_revoked_record_is_nobodys (void **state) {
  strand_engine *e = open_with(limited(STRAND_BY_KEY));
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  l = take_at(e, 0);
  revoke(e, p);
  strand_engine_expire(e, &l, "late", 4);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 0);
  end_at(e, &l, STRAND_OUTCOME_FAILED, 0);
  assert_int_equal(stats(e).stale + stats(e).failed, 0);
  strand_engine_free(e);
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_policy_grows_to_its_limit),
    cmocka_unit_test(jitter_takes_a_part_at_most),
    cmocka_unit_test(what_came_along_was_not_tried),
    cmocka_unit_test(a_skipped_record_is_done_and_its_lease_goes_on),
    cmocka_unit_test(a_record_that_stopped_is_as_before),
    cmocka_unit_test(exhausted_attempts_end_by_the_policy),
    cmocka_unit_test(who_asks_for_a_retry_is_never_exhausted),
    cmocka_unit_test(a_dead_letter_without_a_topic_parks),
    cmocka_unit_test(a_deadline_is_told_once_and_holds_the_shard),
    cmocka_unit_test(a_late_result_has_failed_whatever_it_is),
    cmocka_unit_test(each_late_result_is_an_attempt),
    cmocka_unit_test(a_deadline_is_of_one_record),
    cmocka_unit_test(a_deadline_of_a_revoked_record_is_nobodys),
  };
  return cmocka_run_group_tests_name("outcome", tests, NULL, NULL);
}
