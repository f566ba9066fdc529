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

/* {=== at most once ======================================================== */

static strand_engine *open_once (strand_ordering ordering,
                                 strand_outcome_kind exhausted) {
  strand_engine_config c = limited(ordering);
  c.delivery = STRAND_AT_MOST_ONCE;
  routes[0].policy.exhausted = exhausted;
  return open_with(c);
}

static void commits (strand_engine *e, int64_t offset) {
  strand_commit *c = strand_engine_commit(e, 0, NULL);
  strand_engine_check(e);
  assert_non_null(c);
  assert_int_equal(c->items[0].offset, offset);
  answer(e, c, STRAND_COMMITTED, 0);
}

/* Records of the keys, of which the first was handled and has produced. */
static strand_record *send_once (strand_engine *e, strand_partition *p,
                                 const char *keys) {
  strand_lease l;
  poll_all(e, p, keys);
  commits(e, (int64_t)strlen(keys));
  l = take_at(e, 0);
  return sent(e, &l);
}

static void losses_are (const strand_engine *e, const strand_partition *p,
                        size_t cut_off, size_t sending, size_t unstarted) {
  strand_losses l;
  strand_engine_losses(e, p, &l);
  assert_int_equal(l.cut_off, cut_off);
  assert_int_equal(l.sending, sending);
  assert_int_equal(l.unstarted, unstarted);
}

/* A crash loses it: so it counts in what may be lost. */
static void outputs_under_way_keep_their_places_in_the_windows (void **state) {
  static const strand_ordering all[] = { STRAND_BY_KEY, STRAND_BY_PARTITION,
                                         STRAND_UNORDERED };
  const int most = 2 * STRAND_WINDOW_RECORDS;
  static strand_record *out[2 * STRAND_WINDOW_RECORDS + 10];
  (void)state;
  for (int i = 0; i < 3; i++) {
    strand_engine *e = open_once(all[i], STRAND_OUTCOME_SKIP);
    strand_partition *p = assign(e, 0);
    strand_lease l;
    int count = 0;
    p->windows.size = STRAND_WINDOW_RECORDS;
    for (int at = 0; at < most + 10; at++)
      assert_int_equal(poll(e, p, at, "a"), STRAND_ADDED);
    commits(e, most / 2);
    while (strand_engine_lease(e, 1, 0, &l)) out[count++] = sent(e, &l);
    assert_int_equal(count, most / 2); /* no key waits for outputs */
    commits(e, most);
    while (strand_engine_lease(e, 1, 0, &l)) out[count++] = sent(e, &l);
    assert_int_equal(count, most);
    assert_null(strand_engine_commit(e, 0, NULL));
    for (int at = 0; at < most / 2; at++) acked(e, out[at]);
    commits(e, most + 10);
    while (strand_engine_lease(e, 1, 0, &l)) out[count++] = sent(e, &l);
    assert_int_equal(count, most + 10);
    revoke(e, p);
    strand_engine_free(e);
  }
}

/* They hold up no record that comes: the next is covered at once. */
static void outputs_under_way_hold_up_no_commit (void **state) {
  static const strand_ordering all[] = { STRAND_BY_KEY, STRAND_BY_PARTITION,
                                         STRAND_UNORDERED };
  (void)state;
  for (int i = 0; i < 3; i++) {
    strand_engine *e = open_once(all[i], STRAND_OUTCOME_SKIP);
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aaaaaaaaaaaaaaaa");
    commits(e, STRAND_WINDOW_LEAST);
    while (strand_engine_lease(e, 1, 0, &l)) sent(e, &l);
    assert_int_equal(stats(e).sending, STRAND_WINDOW_LEAST);
    assert_int_equal(poll(e, p, STRAND_WINDOW_LEAST, "a"), STRAND_ADDED);
    commits(e, STRAND_WINDOW_LEAST + 1);
    l = take_at(e, STRAND_WINDOW_LEAST);
    done(e, &l);
    revoke(e, p);
    strand_engine_free(e);
  }
}

/* 0 has not started; 1 is handled, but nobody has what it produced yet. */
static void a_commit_back_says_it_has_started (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY, STRAND_OUTCOME_SKIP);
  strand_partition *p = assign(e, 0), *next;
  strand_payload payload;
  strand_record *r;
  strand_commit *c;
  strand_lease first, l;
  const char *problem;
  (void)state;
  poll_all(e, p, "ab");
  commits(e, 2);
  first = take_at(e, 0);
  l = take_at(e, 1);
  r = sent(e, &l);
  strand_engine_revoking(e, p);
  assert_int_equal(strand_engine_give_back(e, &first), STRAND_OK);
  c = strand_engine_commit(e, 0, NULL);
  assert_non_null(c);
  assert_int_equal(c->items[0].offset, 0);
  assert_int_equal(strand_payload_decode(0, c->items[0].metadata,
                                         strlen(c->items[0].metadata),
                                         &payload, &problem),
                   STRAND_OK);
  answer(e, c, STRAND_COMMITTED, 0);
  losses_are(e, p, 0, 1, 0);
  acked(e, r); /* within the grace: the commit says so already */
  losses_are(e, p, 0, 0, 0);
  assert_false(strand_engine_dirty(e, p));
  revoke(e, p);
  next = strand_engine_assign(e, "t", 0, 2, 0, NULL, 0);
  assert_int_equal(strand_engine_restored(e, next, 0, &payload), STRAND_OK);
  strand_payload_free(&payload);
  assert_int_equal(poll(e, next, 0, "a"), STRAND_ADDED);
  assert_int_equal(poll(e, next, 1, "b"), STRAND_ADDED_DONE);
  strand_engine_free(e);
}

static void what_an_end_cuts_off_is_told (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY, STRAND_OUTCOME_SKIP);
  strand_partition *p = assign(e, 0);
  strand_losses losses;
  strand_lease l;
  (void)state;
  send_once(e, p, "abb");
  l = take_at(e, 1);
  losses_are(e, p, 1, 1, 1); /* no commit goes back any more */
  strand_engine_revoking(e, p);
  commits(e, 2);
  losses_are(e, p, 1, 1, 0);
  strand_engine_losses(e, p, &losses);
  assert_int_equal(losses.first, 0);
  done(e, &l);
  losses_are(e, p, 0, 1, 0);
  revoke(e, p);
  strand_engine_free(e);
}

/* 'exhausted' has the last word, and none of its words is another start. */
static void refused_it_never_starts_again (void **state) {
  static const strand_outcome_kind ends[] = { STRAND_OUTCOME_SKIP,
                                              STRAND_OUTCOME_PARK,
                                              STRAND_OUTCOME_STOP };
  (void)state;
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 3; k++) {
      strand_engine *e = open_once((strand_ordering)k, ends[i]);
      strand_partition *p = assign(e, 0);
      refused(e, send_once(e, p, "a"));
      assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
      assert_int_equal(heard.notices[STRAND_NOTICE_PARKED], 0);
      assert_int_equal(heard.notices[STRAND_NOTICE_STOP],
                       ends[i] == STRAND_OUTCOME_STOP);
      assert_string_equal(heard.reason, "too large");
      assert_int_equal(stats(e).skipped, 1);
      assert_int_equal(stats(e).buffered_records, 0);
      nothing_starts(e);
      losses_are(e, p, 0, 0, 0);
      strand_engine_revoking(e, p);
      assert_null(strand_engine_commit(e, 0, NULL));
      strand_engine_free(e);
    }
  }
}

static void refused_it_is_a_dead_letter_or_lost (void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    strand_engine *e = open_once(STRAND_BY_KEY, STRAND_OUTCOME_DEAD_LETTER);
    strand_partition *p = assign(e, 0);
    strand_record *r = refused(e, send_once(e, p, "aa"));
    strand_lease l = take_at(e, 1);
    done(e, &l);
    assert_ptr_equal(heard.dead_letter, r);
    assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
    losses_are(e, p, 1, 0, 0);
    if (i == 0)
      assert_int_equal(strand_engine_dead_letter_acked(e, r, 0), STRAND_OK);
    else
      assert_int_equal(strand_engine_dead_letter_refused(e, r, "no", 2, 0),
                       STRAND_OK);
    strand_engine_check(e);
    assert_int_equal(heard.notices[STRAND_NOTICE_LOST], i);
    assert_int_equal(heard.notices[STRAND_NOTICE_PARKED], 0);
    losses_are(e, p, 0, 0, 0);
    nothing_starts(e);
    strand_engine_free(e);
  }
}

/* }======================================================================== */

/* {=== without memory ====================================================== */

/* The n-th allocation fails, once. False: there are not so many. */
static bool fail_from (long n, strand_engine *e, strand_outcome_kind end) {
  strand_partition *p = assign(e, 0);
  strand_lease l;
  strand_record *r;
  strand_err err;
  bool failed;
  poll_all(e, p, "a");
  if (e->config.delivery == STRAND_AT_MOST_ONCE) commits(e, 1);
  l = take_at(e, 0);
  r = l.record;
  fail_alloc(n);
  while (strand_engine_sent(e, &l) != STRAND_OK) {
    strand_engine_check(e);
    state_is(p, 0, "running");
  }
  do {
    strand_engine_check(e);
    state_is(p, 0, "sending");
    err = end == STRAND_OUTCOME_DONE
            ? strand_engine_output_acked(e, r, 0)
            : strand_engine_output_refused(e, &r, "no", 2, 0);
  } while (err != STRAND_OK);
  failed = alloc_failed;
  alloc_left = -1;
  strand_engine_check(e);
  assert_int_equal(stats(e).sending, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED],
                   end != STRAND_OUTCOME_DONE);
  assert_int_equal(heard.notices[STRAND_NOTICE_STOP],
                   end == STRAND_OUTCOME_STOP);
  revoke(e, p);
  strand_engine_free(e);
  return failed;
}

static void each_allocation_may_fail (void **state) {
  static const strand_outcome_kind ends[] = {
    STRAND_OUTCOME_PARK, STRAND_OUTCOME_DEAD_LETTER, STRAND_OUTCOME_SKIP,
    STRAND_OUTCOME_STOP, STRAND_OUTCOME_DONE
  };
  (void)state;
  for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
    long n = 0, once = 0;
    while (fail_from(n, open_exhausted(STRAND_BY_KEY, ends[i]), ends[i])) n++;
    while (fail_from(once, open_once(STRAND_BY_KEY, ends[i]), ends[i])) once++;
    assert_true(n > 1 && once > 1);
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
    cmocka_unit_test(outputs_under_way_keep_their_places_in_the_windows),
    cmocka_unit_test(outputs_under_way_hold_up_no_commit),
    cmocka_unit_test(a_commit_back_says_it_has_started),
    cmocka_unit_test(what_an_end_cuts_off_is_told),
    cmocka_unit_test(refused_it_never_starts_again),
    cmocka_unit_test(refused_it_is_a_dead_letter_or_lost),
    cmocka_unit_test(each_allocation_may_fail),
  };
  return cmocka_run_group_tests_name("sending", tests, NULL, NULL);
}
