/*
** waiting_test.c - what is not done and does not run
*/
#include "engine_fixture.h"

static strand_lease kept[4000];

/* {=== retries, and all that waits ========================================= */

static void a_retry_is_due_to_the_microsecond (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  l = take_at(e, 0);
  fail_at(e, &l, 10000, 5);
  assert_int_equal(strand_engine_tick(e, 10004), 10005);
  nothing_starts(e);
  assert_true(strand_engine_tick(e, 10005) == INT64_MAX);
  l = take_at(e, 0);
  done(e, &l);
  strand_engine_free(e);
}

static void the_reason_of_a_failure_is_kept (void **state) {
  static char text[STRAND_REASON_MAX + 100];
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  const strand_record *r;
  strand_lease l;
  size_t length;
  (void)state;
  memset(text, 'x', sizeof(text));
  poll_all(e, p, "aab");
  l = take_at(e, 0);
  assert_int_equal(
    strand_engine_end(
      e, &l, &(strand_ending){ STRAND_OUTCOME_FAILED, 10, text, sizeof(text) },
      0),
    STRAND_OK);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  r = strand_partition_next(p, NULL);
  assert_non_null(strand_record_reason(r, &length));
  assert_int_equal(length, STRAND_REASON_MAX);
  assert_string_equal(strand_record_state(r), "waiting");
  r = strand_partition_next(p, r);
  assert_null(strand_record_reason(r, &length));
  assert_string_equal(strand_record_state(r), "behind");
  r = strand_partition_next(p, r);
  assert_string_equal(strand_record_state(r), "buffered");
  assert_null(strand_partition_next(p, r));
  strand_engine_free(e);
}

static const struct {
  strand_outcome_kind kind;
  const char *state;
  bool fails;
} kinds[] = { { STRAND_OUTCOME_FAILED, "waiting", true },
              { STRAND_OUTCOME_RETRY, "waiting", true },
              { STRAND_OUTCOME_EXHAUSTED, "parked", true },
              { STRAND_OUTCOME_PARK, "parked", false },
              { STRAND_OUTCOME_DEAD_LETTER, "waiting", false } };

#define KINDS (sizeof(kinds) / sizeof(*kinds))

static void what_waits_holds_its_shard (void **state) {
  (void)state;
  for (size_t i = 0; i < KINDS * 2; i++) {
    strand_engine *e = open_with(limited(STRAND_BY_KEY));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aab");
    l = lease_of(e, 1 + i / KINDS); /* alone, and with the next */
    end_at(e, &l, kinds[i % KINDS].kind, 0);
    state_is(p, 0, kinds[i % KINDS].state);
    state_is(p, 1, "behind");
    assert_int_equal(heard.notices[STRAND_NOTICE_FAILED],
                     kinds[i % KINDS].fails);
    runs(e, "2");
    assert_int_equal(poll(e, p, 3, "a"), STRAND_ADDED);
    nothing_starts(e);
    assert_int_equal(stats(e).waiting_records, 3);
    assert_int_equal(committable(e, p), 0);
    strand_engine_free(e);
  }
}

static void without_an_order_only_it_waits (void **state) {
  (void)state;
  for (size_t i = 0; i < KINDS; i++) {
    strand_engine *e = open_with(limited(STRAND_UNORDERED));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aab");
    l = take_at(e, 0);
    end_at(e, &l, kinds[i].kind, 0);
    state_is(p, 0, kinds[i].state);
    assert_int_equal(stats(e).waiting_records, 1);
    runs(e, "12");
    assert_int_equal(committable(e, p), 0);
    strand_engine_free(e);
  }
}

/* }{=== dead letters ======================================================= */

static strand_engine *send_dead_letter (strand_ordering ordering, bool alone,
                                        strand_partition **p) {
  strand_engine_config c = limited(ordering);
  strand_engine *e;
  strand_lease l;
  c.park_alone = alone;
  e = open_with(c);
  *p = assign(e, 0);
  poll_all(e, *p, "aa");
  l = take_at(e, 0);
  end_at(e, &l, STRAND_OUTCOME_DEAD_LETTER, 0);
  assert_int_equal(heard.dead_letters, 1);
  assert_int_equal(heard.dead_letter->offset, 0);
  return e;
}

static void a_dead_letter_is_done_when_it_is_acknowledged (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    strand_partition *p;
    strand_engine *e = send_dead_letter((strand_ordering)ordering, false, &p);
    assert_int_equal(committable(e, p), 0);
    assert_int_equal(strand_engine_dead_letter_acked(e, heard.dead_letter, 0),
                     STRAND_OK);
    strand_engine_check(e);
    assert_int_equal(heard.notices[STRAND_NOTICE_DEAD_LETTERED], 1);
    assert_int_equal(stats(e).dead_lettered, 1);
    assert_int_equal(committable(e, p), 1);
    runs(e, "1");
    assert_int_equal(stats(e).waiting_records + stats(e).dead_letters, 0);
    strand_engine_free(e);
  }
}

static void a_dead_letter_that_cannot_be_sent_parks (void **state) {
  (void)state;
  for (int alone = 0; alone <= 1; alone++) {
    for (int ordering = 0; ordering < 3; ordering++) {
      bool holds = !alone && ordering != STRAND_UNORDERED;
      strand_partition *p;
      strand_engine *e = send_dead_letter((strand_ordering)ordering, alone,
                                          &p);
      if (ordering != STRAND_UNORDERED) nothing_starts(e);
      assert_int_equal(strand_engine_dead_letter_refused(e, heard.dead_letter,
                                                         "too big", 7, 0),
                       STRAND_OK);
      assert_string_equal(heard.reason, "too big");
      assert_int_equal(heard.notices[STRAND_NOTICE_PARKED], 1);
      state_is(p, 0, "parked");
      runs(e, holds ? "" : "1");
      assert_int_equal(committable(e, p), 0);
      strand_engine_free(e);
    }
  }
}

static void a_revoke_leaves_no_dead_letter_and_nothing_parked (void **state) {
  (void)state;
  for (int way = 0; way < 4; way++) {
    strand_partition *p;
    strand_engine *e = send_dead_letter(
      way / 2 ? STRAND_BY_KEY : STRAND_UNORDERED, way % 2, &p);
    strand_lease l;
    poll(e, p, 2, "b");
    l = lease_of(e, 1);
    end_at(e, &l, STRAND_OUTCOME_PARK, 0);
    revoke(e, p);
    strand_engine_check(e);
    assert_int_equal(heard.visited, 0);
    assert_int_equal(stats(e).dead_letters + stats(e).parked, 0);
    assert_int_equal(stats(e).waiting_records + stats(e).buffered_bytes, 0);
    p = assign_orphans(e, 0, 2, NULL, 0);
    poll_all(e, p, "abc");
    runs(e, "012"); /* none was done */
    strand_engine_free(e);
  }
}

/* }{=== parked records ===================================================== */

/* Record 0, of key a as the first of 'keys', is parked at its second attempt of
** three. */
static strand_engine *park_first (strand_ordering ordering, bool alone,
                                  const char *keys, strand_partition **p) {
  strand_engine_config c = limited(ordering);
  strand_engine *e;
  strand_lease l;
  c.park_alone = alone;
  routes[0].policy.attempts = 3;
  e = open_with(c);
  *p = assign(e, 0);
  poll(e, *p, 0, "a");
  exhaust(e, 1);
  l = take_at(e, 0);
  for (int i = 1; keys[i] != '\0'; i++) {
    poll(e, *p, i, keys[i] == 'a' ? "a" : "b");
  }
  end_at(e, &l, STRAND_OUTCOME_PARK, 0);
  return e;
}

static void a_resolved_record_has_all_its_attempts_again (void **state) {
  (void)state;
  for (int way = 0; way < 6; way++) {
    strand_partition *p;
    strand_engine *e = park_first((strand_ordering)(way / 2), way % 2, "a",
                                  &p);
    nothing_starts(e);
    assert_int_equal(strand_partition_parked(p, 0)->offset, 0);
    assert_null(strand_partition_parked(p, 1));
    resolve(e, p, STRAND_RESOLVE_RETRY);
    for (int i = 0; i < 3; i++) {
      strand_lease l = take_at(e, 0);
      assert_int_equal(l.record->attempt, 3 + i);
      assert_int_equal(stats(e).parked, 0);
      fail_at(e, &l, 0, 0);
      strand_engine_tick(e, 0);
    }
    assert_int_equal(stats(e).parked, 1);
    strand_engine_free(e);
  }
}

static void a_discarded_record_is_done_without_its_handler (void **state) {
  (void)state;
  for (int way = 0; way < 6; way++) {
    strand_partition *p;
    strand_engine *e = park_first((strand_ordering)(way / 2), way % 2, "a",
                                  &p);
    resolve(e, p, STRAND_RESOLVE_DISCARD);
    nothing_starts(e);
    state_is(p, 0, NULL);
    assert_int_equal(committable(e, p), 1);
    assert_int_equal(stats(e).skipped, 1);
    assert_int_equal(stats(e).waiting_records, 0);
    strand_engine_free(e);
  }
}

static void a_parked_record_may_be_sent_by_hand (void **state) {
  (void)state;
  for (int way = 0; way < 6; way++) {
    strand_partition *p;
    strand_engine *e = park_first((strand_ordering)(way / 2), way % 2, "a",
                                  &p);
    resolve(e, p, STRAND_RESOLVE_DEAD_LETTER);
    nothing_starts(e);
    assert_int_equal(heard.dead_letters, 1);
    assert_int_equal(committable(e, p), 0);
    assert_int_equal(strand_engine_dead_letter_acked(e, heard.dead_letter, 0),
                     STRAND_OK);
    assert_int_equal(committable(e, p), 1);
    assert_int_equal(poll(e, p, 1, "a"), STRAND_ADDED);
    runs(e, "1");
    strand_engine_free(e);
  }
}

static void what_waits_behind_it_follows_in_order (void **state) {
  static const char *const after[] = { "012", "12", "12" };
  (void)state;
  for (int how = 0; how < 3; how++) {
    strand_partition *p;
    strand_engine *e = park_first(STRAND_BY_KEY, false, "aaa", &p);
    nothing_starts(e);
    resolve(e, p, (strand_resolution)how);
    if (how == STRAND_RESOLVE_DEAD_LETTER) {
      nothing_starts(e);
      assert_int_equal(
        strand_engine_dead_letter_acked(e, heard.dead_letter, 0), STRAND_OK);
    }
    runs(e, after[how]);
    assert_int_equal(committable(e, p), 3);
    strand_engine_free(e);
  }
}

static void what_is_parked_alone_holds_nothing (void **state) {
  strand_partition *p;
  strand_engine *e = park_first(STRAND_BY_KEY, true, "aab", &p);
  (void)state;
  runs(e, "21");
  assert_int_equal(poll(e, p, 3, "a"), STRAND_ADDED);
  runs(e, "3");
  state_is(p, 0, "parked");
  assert_int_equal(committable(e, p), 0);
  strand_engine_free(e);
}

static void resolved_it_goes_back_among_those_of_its_key (void **state) {
  strand_partition *p;
  strand_engine *e = park_first(STRAND_BY_KEY, true, "aaaa", &p);
  strand_lease l = take_at(e, 1);
  (void)state;
  resolve(e, p, STRAND_RESOLVE_RETRY);
  nothing_starts(e); /* not beside the one that runs */
  fail_at(e, &l, 10, 0);
  nothing_starts(e); /* nor before one that waits */
  strand_engine_tick(e, 10);
  runs(e, "1023");
  assert_int_equal(committable(e, p), 4);
  strand_engine_free(e);
}

static void resolved_it_goes_before_what_has_not_begun (void **state) {
  strand_partition *p;
  strand_engine *e = park_first(STRAND_BY_KEY, true, "aaa", &p);
  (void)state;
  resolve(e, p, STRAND_RESOLVE_RETRY);
  runs(e, "012");
  strand_engine_free(e);
}

static void what_is_parked_fills_the_waiting_share (void **state) {
  (void)state;
  for (int alone = 0; alone <= 1; alone++) {
    strand_engine_config c = limited(STRAND_BY_KEY);
    strand_engine *e;
    strand_partition *p;
    strand_lease l;
    c.park_alone = alone;
    c.max_waiting_records = 2;
    e = open_with(c);
    p = assign(e, 0);
    poll_all(e, p, "ab");
    for (int64_t i = 0; i < 2; i++) {
      assert_true(strand_engine_may_read(e, p));
      l = take_at(e, i);
      end_at(e, &l, STRAND_OUTCOME_PARK, 0);
    }
    assert_int_equal(stats(e).waiting_records, 2);
    assert_int_equal(stats(e).buffered_records, 0);
    assert_false(strand_engine_may_read(e, p));
    resolve(e, p, STRAND_RESOLVE_DISCARD);
    nothing_starts(e);
    assert_true(strand_engine_may_read(e, p));
    strand_engine_free(e);
  }
}

/* The payload is so full that not even what is below the frontier may start:
** only the lowest does, and lets the next be the lowest. */
static void a_discard_waits_until_it_may_start (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  int count;
  (void)state;
  c.max_metadata = 200;
  e = open_with(c);
  p = assign(e, 0);
  fill_payload(e, p, kept, &count);
  l = kept[count - 1];
  end_at(e, &l, STRAND_OUTCOME_PARK, 0);
  c.max_metadata = 0;
  strand_engine_configure(e, &c);
  assert_int_equal(
    strand_engine_resolve(e, p, (count - 1) * 2, STRAND_RESOLVE_DISCARD),
    STRAND_OK);
  nothing_starts(e);
  state_is(p, (count - 1) * 2, "buffered");
  assert_int_equal(stats(e).skipped, 0);
  for (int i = 0; i < count - 1; i++) done(e, &kept[i]);
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  assert_int_equal(stats(e).skipped, 1);
  assert_int_equal(stats(e).waiting_records + stats(e).buffered_records, 0);
  strand_engine_free(e);
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_retry_is_due_to_the_microsecond),
    cmocka_unit_test(the_reason_of_a_failure_is_kept),
    cmocka_unit_test(what_waits_holds_its_shard),
    cmocka_unit_test(without_an_order_only_it_waits),
    cmocka_unit_test(a_dead_letter_is_done_when_it_is_acknowledged),
    cmocka_unit_test(a_dead_letter_that_cannot_be_sent_parks),
    cmocka_unit_test(a_revoke_leaves_no_dead_letter_and_nothing_parked),
    cmocka_unit_test(a_resolved_record_has_all_its_attempts_again),
    cmocka_unit_test(a_discarded_record_is_done_without_its_handler),
    cmocka_unit_test(a_parked_record_may_be_sent_by_hand),
    cmocka_unit_test(what_waits_behind_it_follows_in_order),
    cmocka_unit_test(what_is_parked_alone_holds_nothing),
    cmocka_unit_test(resolved_it_goes_back_among_those_of_its_key),
    cmocka_unit_test(resolved_it_goes_before_what_has_not_begun),
    cmocka_unit_test(what_is_parked_fills_the_waiting_share),
    cmocka_unit_test(a_discard_waits_until_it_may_start),
  };
  return cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
}
