/*
** sending_test.c - what was handled, and waits for what it produced
*/
#include "engine_fixture.h"

/* The lease's first record was handled, and its outputs handed over. */
static strand_record *sent (strand_engine *e, strand_lease *l) {
  strand_record *r = l->record;
  assert_int_equal(strand_engine_sent(e, l), STRAND_OK);
  strand_engine_check(e);
  return r;
}

static void acked (strand_engine *e, strand_record *r) {
  assert_int_equal(strand_engine_output_acked(e, r, 0), STRAND_OK);
  strand_engine_check(e);
}

static strand_record *refused (strand_engine *e, strand_record *r) {
  static const char reason[] = "too large";
  assert_int_equal(
    strand_engine_output_refused(e, &r, reason, sizeof(reason) - 1, 0),
    STRAND_OK);
  strand_engine_check(e);
  return r;
}

static strand_engine *open_exhausted (strand_ordering ordering,
                                      strand_outcome_kind exhausted) {
  strand_engine_config c = limited(ordering);
  routes[0].policy.exhausted = exhausted;
  return open_with(c);
}

/* {=== under way =========================================================== */

static void it_is_done_when_it_is_acknowledged_and_not_before (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_record *r;
  strand_lease l;
  (void)state;
  poll_all(e, p, "ab");
  l = take_at(e, 0);
  r = sent(e, &l);
  assert_int_equal(l.count, 0);
  assert_int_equal(committable(e, p), 0);
  state_is(p, 0, "sending");
  assert_int_equal(stats(e).sending, 1);
  assert_int_equal(stats(e).in_flight + stats(e).done, 0);
  acked(e, r);
  assert_int_equal(committable(e, p), 1);
  assert_int_equal(stats(e).done, 1);
  assert_int_equal(stats(e).sending, 0);
  strand_engine_free(e);
}

static void its_key_goes_on_meanwhile (void **state) {
  static const strand_ordering all[] = { STRAND_BY_KEY, STRAND_BY_PARTITION };
  (void)state;
  for (int i = 0; i < 2; i++) {
    strand_engine *e = open_by(all[i]);
    strand_partition *p = assign(e, 0);
    strand_record *first, *second;
    strand_lease l;
    poll_all(e, p, "aa");
    l = take_at(e, 0);
    first = sent(e, &l);
    l = take_at(e, 1);
    second = sent(e, &l);
    acked(e, second);
    assert_int_equal(committable(e, p), 0);
    acked(e, first);
    assert_int_equal(committable(e, p), 2);
    strand_engine_free(e);
  }
}

static void of_a_lease_each_goes_by_itself (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_record *r;
  strand_lease l;
  (void)state;
  poll_all(e, p, "aaa");
  l = lease_of(e, 64);
  assert_int_equal(l.count, 3);
  assert_int_equal(strand_engine_done(e, &l, 1, 0), STRAND_OK);
  r = sent(e, &l);
  nothing_starts(e);
  fail_at(e, &l, 0, 0);
  assert_int_equal(committable(e, p), 1);
  acked(e, r);
  assert_int_equal(committable(e, p), 2);
  strand_engine_free(e);
}

static void a_commit_tells_what_is_done_above_it (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_record *r;
  strand_commit *c;
  strand_lease l;
  (void)state;
  poll_all(e, p, "ab");
  l = take_at(e, 0);
  r = sent(e, &l);
  l = take_at(e, 1);
  done(e, &l);
  c = strand_engine_commit(e, 0, NULL);
  assert_non_null(c);
  assert_int_equal(c->items[0].offset, 0);
  assert_int_not_equal(c->items[0].metadata[0], '\0');
  answer(e, c, STRAND_COMMITTED, 0);
  acked(e, r);
  assert_true(strand_engine_dirty(e, p));
  strand_engine_free(e);
}

static void a_revoke_drops_it (void **state) {
  static const strand_ordering all[] = { STRAND_BY_KEY, STRAND_UNORDERED };
  (void)state;
  for (int i = 0; i < 2; i++) {
    strand_engine *e = open_by(all[i]);
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "ab");
    l = take_at(e, 0);
    sent(e, &l);
    revoke(e, p);
    strand_engine_check(e);
    assert_int_equal(heard.visited, 0); /* its handler has returned */
    assert_int_equal(stats(e).sending + stats(e).stale, 0);
    assert_int_equal(stats(e).buffered_records, 0);
    strand_engine_free(e);
  }
}

static void a_lease_knows_that_it_is_stale (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  l = take_at(e, 0);
  assert_false(strand_engine_is_stale(&l));
  revoke(e, p);
  assert_true(strand_engine_is_stale(&l));
  assert_int_equal(strand_engine_give_back(e, &l), STRAND_OK);
  strand_engine_free(e);
}

/* What cannot start is not worth being read for. */
static void it_is_not_startable (void **state) {
  strand_engine *e = open_by(STRAND_BY_PARTITION);
  strand_partition *p = assign(e, 0);
  strand_record *r;
  strand_lease l;
  (void)state;
  poll_all(e, p, "aa");
  l = take_at(e, 0);
  r = sent(e, &l);
  assert_int_equal(strand_engine_startable(e, p), 1);
  assert_int_equal(strand_engine_startable(e, NULL), 1);
  acked(e, r);
  assert_int_equal(strand_engine_startable(e, p), 1);
  strand_engine_free(e);
}

/* }========================================================================*/

/* {=== refused ============================================================= */

static void refused_it_is_parked_alone (void **state) {
  static const strand_ordering all[] = { STRAND_BY_KEY, STRAND_BY_PARTITION,
                                         STRAND_UNORDERED };
  (void)state;
  for (int i = 0; i < 3; i++) {
    strand_engine *e = open_exhausted(all[i], STRAND_OUTCOME_PARK);
    strand_partition *p = assign(e, 0);
    strand_record *r;
    strand_lease l;
    poll_all(e, p, "aaa");
    l = take_at(e, 0);
    r = sent(e, &l);
    l = take_at(e, 1);
    r = refused(e, r);
    state_is(p, 0, "parked");
    assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
    assert_int_equal(heard.notices[STRAND_NOTICE_PARKED], 1);
    assert_string_equal(heard.reason, "too large");
    assert_int_equal(stats(e).failed, 1);
    assert_int_equal(stats(e).waiting_records, 1);
    done(e, &l);
    assert_int_equal(committable(e, p), 0);
    resolve(e, p, STRAND_RESOLVE_RETRY);
    l = take_at(e, 0); /* before what has not begun */
    assert_int_equal(l.record->attempt, 2);
    done(e, &l);
    assert_int_equal(committable(e, p), 2);
    strand_engine_free(e);
  }
}

static void what_was_parked_is_discarded_by_hand (void **state) {
  strand_engine *e = open_exhausted(STRAND_BY_KEY, STRAND_OUTCOME_PARK);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  l = take_at(e, 0);
  refused(e, sent(e, &l));
  resolve(e, p, STRAND_RESOLVE_DISCARD);
  nothing_starts(e);
  assert_int_equal(committable(e, p), 1);
  assert_int_equal(stats(e).skipped, 1);
  strand_engine_free(e);
}

static void refused_it_becomes_a_dead_letter (void **state) {
  strand_engine *e = open_exhausted(STRAND_BY_KEY, STRAND_OUTCOME_DEAD_LETTER);
  strand_partition *p = assign(e, 0);
  strand_record *r;
  strand_lease l;
  (void)state;
  poll_all(e, p, "aa");
  l = take_at(e, 0);
  r = refused(e, sent(e, &l));
  assert_ptr_equal(heard.dead_letter, r);
  assert_int_equal(stats(e).dead_letters, 1);
  l = take_at(e, 1);
  done(e, &l);
  assert_int_equal(strand_engine_dead_letter_acked(e, r, 0), STRAND_OK);
  strand_engine_check(e);
  assert_int_equal(committable(e, p), 2);
  assert_int_equal(stats(e).dead_lettered, 1);
  strand_engine_free(e);
}

static void refused_it_is_skipped (void **state) {
  strand_engine *e = open_exhausted(STRAND_BY_KEY, STRAND_OUTCOME_SKIP);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  l = take_at(e, 0);
  refused(e, sent(e, &l));
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  assert_int_equal(stats(e).skipped, 1);
  assert_int_equal(stats(e).done, 0);
  assert_int_equal(committable(e, p), 1);
  strand_engine_free(e);
}

static void refused_it_stops_and_is_not_done (void **state) {
  static const strand_ordering all[] = { STRAND_BY_KEY, STRAND_BY_PARTITION,
                                         STRAND_UNORDERED };
  (void)state;
  for (int i = 0; i < 3; i++) {
    strand_engine *e = open_exhausted(all[i], STRAND_OUTCOME_STOP);
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "a");
    l = take_at(e, 0);
    refused(e, sent(e, &l));
    assert_int_equal(heard.notices[STRAND_NOTICE_STOP], 1);
    assert_int_equal(committable(e, p), 0);
    state_is(p, 0, "buffered");
    strand_engine_free(e);
  }
}

/* }======================================================================== */

/* {=== without memory ====================================================== */

static void each_allocation_may_fail (void **state) {
  static const strand_outcome_kind ends[] = {
    STRAND_OUTCOME_PARK, STRAND_OUTCOME_DEAD_LETTER, STRAND_OUTCOME_SKIP,
    STRAND_OUTCOME_STOP, STRAND_OUTCOME_DONE
  };
  (void)state;
  for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
    bool again = true;
    for (long n = 0; again; n++) {
      strand_engine *e = open_exhausted(STRAND_BY_KEY, ends[i]);
      strand_partition *p = assign(e, 0);
      strand_lease l;
      strand_record *r;
      strand_err err;
      poll_all(e, p, "a");
      l = take_at(e, 0);
      r = l.record;
      fail_alloc(n);
      while ((err = strand_engine_sent(e, &l)) != STRAND_OK) {
        strand_engine_check(e);
        state_is(p, 0, "running");
      }
      do {
        strand_engine_check(e);
        state_is(p, 0, "sending");
        err = ends[i] == STRAND_OUTCOME_DONE
                ? strand_engine_output_acked(e, r, 0)
                : strand_engine_output_refused(e, &r, "no", 2, 0);
      } while (err != STRAND_OK);
      again = alloc_failed;
      alloc_left = -1;
      strand_engine_check(e);
      assert_int_equal(stats(e).sending, 0);
      assert_int_equal(heard.notices[STRAND_NOTICE_FAILED],
                       ends[i] != STRAND_OUTCOME_DONE);
      revoke(e, p);
      strand_engine_free(e);
    }
  }
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_is_done_when_it_is_acknowledged_and_not_before),
    cmocka_unit_test(its_key_goes_on_meanwhile),
    cmocka_unit_test(of_a_lease_each_goes_by_itself),
    cmocka_unit_test(a_commit_tells_what_is_done_above_it),
    cmocka_unit_test(a_revoke_drops_it),
    cmocka_unit_test(a_lease_knows_that_it_is_stale),
    cmocka_unit_test(it_is_not_startable),
    cmocka_unit_test(refused_it_is_parked_alone),
    cmocka_unit_test(what_was_parked_is_discarded_by_hand),
    cmocka_unit_test(refused_it_becomes_a_dead_letter),
    cmocka_unit_test(refused_it_is_skipped),
    cmocka_unit_test(refused_it_stops_and_is_not_done),
    cmocka_unit_test(each_allocation_may_fail),
  };
  return cmocka_run_group_tests_name("sending", tests, NULL, NULL);
}
