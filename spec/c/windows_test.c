/*
** windows_test.c - at most once: what may start, and what a commit says
*/
#include "engine_fixture.h"

static strand_engine *open_once (strand_ordering ordering) {
  strand_engine_config c = limited(ordering);
  c.delivery = STRAND_AT_MOST_ONCE;
  routes[0].policy.exhausted = STRAND_OUTCOME_DEAD_LETTER;
  routes[1].policy.exhausted = STRAND_OUTCOME_SKIP;
  return open_with(c);
}

/* Its windows are as large as they get. */
static strand_partition *assign_wide (strand_engine *e) {
  strand_partition *p = assign(e, 0);
  p->windows.size = STRAND_WINDOW_RECORDS;
  return p;
}

static void poll_from (strand_engine *e, strand_partition *p, int64_t from,
                       int64_t to) {
  for (int64_t i = from; i < to; i++) {
    char key[16];
    snprintf(key, sizeof(key), "%d", (int)i);
    assert_int_equal(poll(e, p, i, key), STRAND_ADDED);
  }
}

static strand_commit *commit (strand_engine *e) {
  strand_commit *c = strand_engine_commit(e, 0, NULL);
  strand_engine_check(e);
  return c;
}

/* The next commit says this offset, and with which metadata. */
static void commits (strand_engine *e, int64_t offset) {
  strand_commit *c = commit(e);
  assert_non_null(c);
  assert_int_equal(c->items[0].offset, offset);
  answer(e, c, STRAND_COMMITTED, 0);
}

static void nothing_to_commit (strand_engine *e) {
  assert_null(commit(e));
}

/* All that may start, which is so many. */
static int start_all (strand_engine *e, strand_lease *leases) {
  int count = 0;
  while (strand_engine_lease(e, 1, 0, &leases[count])) count++;
  strand_engine_check(e);
  return count;
}

static strand_lease out[3 * STRAND_WINDOW_RECORDS + 1];

static void nothing_starts_before_the_answer (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_commit *c;
  strand_lease l;
  (void)state;
  poll_all(e, p, "ab");
  nothing_starts(e);
  assert_int_equal(strand_engine_commit_due(e, 0), 0);
  c = commit(e);
  assert_int_equal(c->items[0].offset, 2);
  nothing_starts(e);
  answer(e, c, STRAND_COMMITTED, 0);
  l = take_at(e, 0);
  done(e, &l);
  l = take_at(e, 1);
  done(e, &l);
  nothing_to_commit(e);
  assert_int_equal(committed(e, p), 2);
  strand_engine_free(e);
}

/* It may have been taken all the same: so it asks for no more than before. */
static void a_commit_that_fails_keeps_the_window_closed (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign_wide(e);
  (void)state;
  poll_all(e, p, "ab");
  answer(e, commit(e), STRAND_COMMIT_LATER, 0);
  nothing_starts(e);
  assert_true(strand_engine_commit_due(e, 0) > 0);
  poll_from(e, p, 2, 2500);
  commits(e, 2);
  assert_int_equal(start_all(e, out), 2);
  commits(e, 2 + STRAND_WINDOW_RECORDS);
  for (int i = 0; i < 2; i++) done(e, &out[i]);
  revoke(e, p);
  strand_engine_free(e);
}

static void two_windows_are_open_at_most (void **state) {
  const int window = STRAND_WINDOW_RECORDS;
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign_wide(e);
  (void)state;
  poll_from(e, p, 0, 5000);
  commits(e, window);
  assert_int_equal(start_all(e, out), window);
  commits(e, 2 * window);
  assert_int_equal(start_all(e, out + window), window);
  nothing_to_commit(e);
  assert_int_equal(strand_engine_commit_due(e, 0), INT64_MAX);
  for (int i = 0; i < window - 1; i++) done(e, &out[i]);
  for (int i = window; i < 2 * window; i++) done(e, &out[i]);
  commits(e, 3 * window); /* a slow record holds only its own place */
  assert_int_equal(start_all(e, out + 2 * window), window);
  for (int i = 2 * window; i < 3 * window; i++) done(e, &out[i]);
  done(e, &out[window - 1]);
  revoke(e, p);
  strand_engine_free(e);
}

/* What is in a commit back, read as the next owner does. */
static strand_partition *hand_on (strand_engine *e, strand_partition *p,
                                  int64_t offset) {
  strand_commit *c = commit(e);
  strand_payload payload;
  const char *problem, *text;
  strand_partition *next;
  assert_non_null(c);
  text = c->items[0].metadata;
  assert_int_equal(c->items[0].offset, offset);
  assert_int_equal(
    strand_payload_decode(offset, text, strlen(text), &payload, &problem),
    STRAND_OK);
  answer(e, c, STRAND_COMMITTED, 0);
  revoke(e, p);
  next = strand_engine_assign(e, "t", 0, 2, 0, NULL, 0);
  assert_int_equal(strand_engine_restored(e, next, offset, &payload),
                   STRAND_OK);
  strand_payload_free(&payload);
  return next;
}

static void losses_are (strand_engine *e, const strand_partition *p,
                        size_t cut_off, size_t unstarted, int64_t first) {
  strand_losses l;
  strand_engine_losses(e, p, &l);
  assert_int_equal(l.cut_off, cut_off);
  assert_int_equal(l.unstarted, unstarted);
  assert_int_equal(l.first, first);
}

/* 1 ended, 3 still runs, 0 and 2 came back or never started. */
static void a_commit_goes_back_to_what_has_not_started (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0), *next;
  (void)state;
  poll_all(e, p, "abcdefg");
  commits(e, 7);
  for (int i = 0; i < 4; i++) out[i] = take_at(e, i);
  done(e, &out[1]);
  strand_engine_revoking(e, p);
  losses_are(e, p, 3, 3, 0);
  back(e, &out[2]);
  back(e, &out[0]);
  next = hand_on(e, p, 0);
  assert_int_equal(poll(e, next, 0, "a"), STRAND_ADDED);
  assert_int_equal(poll(e, next, 1, "b"), STRAND_ADDED_DONE);
  assert_int_equal(poll(e, next, 2, "c"), STRAND_ADDED);
  assert_int_equal(poll(e, next, 3, "d"), STRAND_ADDED_DONE);
  assert_int_equal(poll(e, next, 4, "e"), STRAND_ADDED);
  nothing_starts(e); /* what was covered is not any more */
  done(e, &out[3]);
  commits(e, 5);
  out[0] = take_at(e, 0);
  done(e, &out[0]);
  strand_engine_free(e);
}

/* What comes back after it: it goes back once more, further. */
static void a_commit_back_is_made_again_for_what_comes_back (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  (void)state;
  poll_all(e, p, "abc");
  commits(e, 3);
  out[0] = take_at(e, 0);
  out[1] = take_at(e, 1);
  strand_engine_revoking(e, p);
  commits(e, 2);
  nothing_to_commit(e);
  losses_are(e, p, 2, 0, 0);
  back(e, &out[0]);
  losses_are(e, p, 1, 2, 0);
  commits(e, 0);
  losses_are(e, p, 1, 0, 1);
  done(e, &out[1]);
  losses_are(e, p, 0, 0, -1);
  nothing_to_commit(e);
  strand_engine_free(e);
}

/* Whether the last window was taken is not known: it is taken back. */
static void a_window_that_may_be_taken_is_taken_back (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  (void)state;
  poll_all(e, p, "abc");
  answer(e, commit(e), STRAND_COMMIT_UNKNOWN, 0);
  strand_engine_revoking(e, p);
  losses_are(e, p, 0, 3, 0);
  commits(e, 0);
  losses_are(e, p, 0, 0, -1);
  strand_engine_free(e);
}

/* Rather lost than started twice. */
static void what_started_is_told_though_less_can_go_back (void **state) {
  strand_engine *e;
  strand_partition *p;
  strand_engine_config c = limited(STRAND_BY_KEY);
  size_t returned = 0;
  int count;
  (void)state;
  c.delivery = STRAND_AT_MOST_ONCE;
  e = open_with(c);
  p = assign_wide(e);
  poll_from(e, p, 0, 900);
  commits(e, 900);
  count = start_all(e, out);
  assert_int_equal(count, 900);
  for (int i = 0; i < count; i++) {
    bool returns = i == 0 || ((uint32_t)i * 2654435761u) >> 31;
    returned += returns;
    if (returns) back(e, &out[i]);
    else done(e, &out[i]);
  }
  c.max_metadata = 60;
  strand_engine_configure(e, &c);
  strand_engine_revoking(e, p);
  {
    strand_commit *made = commit(e);
    assert_true(made->items[0].offset > 0);
    assert_true(made->items[0].offset < 900);
    assert_true(strlen(made->items[0].metadata) <= 60);
    losses_are(e, p, 0, returned, 0);
    answer(e, made, STRAND_COMMITTED, 0);
  }
  {
    strand_losses l;
    strand_engine_losses(e, p, &l);
    assert_true(l.unstarted > 0 && l.unstarted < returned);
  }
  strand_engine_free(e);
}

/* 0 ended, 1, 2 and 4 run, 3 was given back, 5 has not started. */
static void a_seek_loses_what_runs_below_it (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_losses l;
  (void)state;
  poll_all(e, p, "abcdef");
  commits(e, 6);
  for (int i = 0; i < 5; i++) out[i] = take_at(e, i);
  done(e, &out[0]);
  back(e, &out[3]);
  strand_engine_seek_losses(e, p, 4, &l);
  assert_int_equal(l.first, 1);
  assert_int_equal(l.cut_off, 2); /* 4 comes again */
  assert_int_equal(l.unstarted, 0);
  strand_engine_seek_losses(e, p, 1, &l);
  assert_int_equal(l.first, -1);
  strand_engine_seek_losses(e, p, 100, &l);
  assert_int_equal(l.cut_off, 3);
  revoke(e, p);
  for (int i = 0; i < 5; i++)
    if (i != 0 && i != 3) done(e, &out[i]);
  strand_engine_free(e);
}

/*
** Ends
*/

static void retry_and_park_are_failures_that_are_final (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign_route(e, 0, 1);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aaa");
  commits(e, 3);
  l = take_at(e, 0);
  end_at(e, &l, STRAND_OUTCOME_RETRY, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  assert_int_equal(heard.last.delay_us, -1);
  l = take_at(e, 1);
  end_at(e, &l, STRAND_OUTCOME_PARK, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 2);
  assert_int_equal(heard.notices[STRAND_NOTICE_PARKED], 0);
  l = take_at(e, 2);
  fail_at(e, &l, 0, 0);
  assert_int_equal(stats(e).skipped, 3);
  assert_int_equal(stats(e).failed, 3);
  nothing_starts(e);
  strand_engine_free(e);
}

static void a_dead_letter_holds_no_key_and_its_lease_goes_on (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aaaa");
  commits(e, 4);
  l = lease_of(e, 3);
  assert_int_equal(l.count, 3);
  fail_at(e, &l, 0, 0);
  assert_int_equal(heard.dead_letters, 1);
  assert_int_equal(l.count, 2);
  done(e, &l);
  l = take_at(e, 3);
  done(e, &l);
  assert_int_equal(stats(e).dead_letters, 1);
  losses_are(e, p, 1, 0, 0);
  strand_engine_revoking(e, p);
  nothing_to_commit(e);
  assert_int_equal(strand_engine_dead_letter_acked(e, heard.dead_letter, 0),
                   STRAND_OK);
  losses_are(e, p, 0, 0, -1);
  assert_int_equal(stats(e).dead_lettered, 1);
  strand_engine_check(e);
  strand_engine_free(e);
}

static void a_dead_letter_that_cannot_be_sent_is_lost (void **state) {
  strand_engine *e = open_once(STRAND_UNORDERED);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  commits(e, 1);
  l = take_at(e, 0);
  fail_at(e, &l, 0, 0);
  assert_int_equal(
    strand_engine_dead_letter_refused(e, heard.dead_letter, "large", 5, 0),
    STRAND_OK);
  assert_int_equal(heard.notices[STRAND_NOTICE_LOST], 1);
  assert_int_equal(heard.record, 0);
  assert_int_equal(stats(e).parked, 0);
  nothing_starts(e);
  strand_engine_free(e);
}

static void stop_is_the_last_word_on_its_record (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "ab");
  commits(e, 2);
  l = take_at(e, 0);
  end_at(e, &l, STRAND_OUTCOME_STOP, 0);
  strand_engine_revoking(e, p);
  commits(e, 1);
  strand_engine_free(e);
}

static void a_deadline_is_final (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_lease l;
  (void)state;
  poll_all(e, assign_route(e, 0, 1), "a");
  commits(e, 1);
  l = take_at(e, 0);
  strand_engine_expire(e, &l, "late", 4);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  end_at(e, &l, STRAND_OUTCOME_DONE, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  nothing_starts(e);
  assert_int_equal(stats(e).skipped, 1);
  strand_engine_free(e);
}

/*
** What else holds a window
*/

static void a_paused_partition_asks_for_none (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  (void)state;
  poll_all(e, p, "ab");
  commits(e, 2);
  strand_engine_pause(e, p, true);
  assert_int_equal(poll(e, p, 2, "c"), STRAND_ADDED);
  assert_int_equal(poll(e, p, 3, "d"), STRAND_ADDED);
  assert_false(strand_engine_awaits_commit(e));
  nothing_to_commit(e);
  strand_engine_pause(e, p, false);
  assert_true(strand_engine_awaits_commit(e));
  commits(e, 4); /* as many as are left of the last */
  strand_engine_free(e);
}

/* A commit for each record is made only where there are no others. */
static void a_window_is_no_smaller_than_what_is_left (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  (void)state;
  poll_all(e, p, "abcd");
  commits(e, 4);
  assert_int_equal(poll(e, p, 4, "e"), STRAND_ADDED);
  assert_int_equal(poll(e, p, 5, "f"), STRAND_ADDED);
  nothing_to_commit(e);
  out[0] = take_at(e, 0);
  nothing_to_commit(e);
  out[1] = take_at(e, 1);
  assert_int_equal(strand_engine_commit_due(e, 0), 0);
  commits(e, 6);
  done(e, &out[0]);
  done(e, &out[1]);
  strand_engine_free(e);
}

static void commits_at (strand_engine *e, int64_t offset, int64_t now) {
  strand_commit *c = strand_engine_commit(e, now, NULL);
  assert_non_null(c);
  assert_int_equal(c->items[0].offset, offset);
  answer(e, c, STRAND_COMMITTED, now);
}

/* The slower the handlers, the less a crash loses. */
static void a_window_grows_with_the_speed_of_handlers (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  int64_t now = 10 * SECOND, offset = 0;
  size_t size = STRAND_WINDOW_LEAST;
  (void)state;
  poll_from(e, p, 0, 6000);
  for (int n = 0; n < 8; n++) {
    offset += (int64_t)size;
    commits_at(e, offset, now += SECOND / 100);
    for (int i = start_all(e, out); i-- > 0;) done(e, &out[i]);
    if (n > 0) size *= 2; /* the first came late */
    if (size > STRAND_WINDOW_RECORDS) size = STRAND_WINDOW_RECORDS;
  }
  assert_int_equal(size, STRAND_WINDOW_RECORDS);
  offset += (int64_t)size;
  commits_at(e, offset, now += SECOND);
  for (int i = start_all(e, out); i-- > 0;) done(e, &out[i]);
  commits_at(e, offset + (int64_t)size / 2, now += SECOND / 10);
  strand_engine_free(e);
}

/* What the brokers take for a commit says nothing of handlers. */
static void a_window_grows_though_commits_take_long (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  int64_t now = 10 * SECOND, offset = 0;
  size_t size = STRAND_WINDOW_LEAST;
  strand_partition *p = assign(e, 0);
  (void)state;
  poll_from(e, p, 0, 6000);
  for (int n = 0; n < 8; n++) {
    strand_commit *c = strand_engine_commit(e, now += SECOND / 100, NULL);
    assert_non_null(c);
    assert_int_equal(c->items[0].offset, offset += (int64_t)size);
    answer(e, c, STRAND_COMMITTED, now += SECOND / 2);
    for (int i = start_all(e, out); i-- > 0;) done(e, &out[i]);
    if (n > 0 && size < STRAND_WINDOW_RECORDS) size *= 2;
    if (size > STRAND_WINDOW_RECORDS) size = STRAND_WINDOW_RECORDS;
  }
  assert_int_equal(size, STRAND_WINDOW_RECORDS);
  strand_engine_free(e);
}

/* Restored: 2 and 3 are done, 0, 1 and 4 are not. */
static void a_restored_payload_stays_told (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = strand_engine_assign(e, "t", 0, 1, 0, NULL, 0);
  strand_run runs_of[] = { { 0, 1 }, { 4, 4 } };
  strand_payload payload = { .highest = 5, .runs = runs_of, .run_count = 2 };
  strand_commit *c;
  (void)state;
  assert_int_equal(strand_engine_restored(e, p, 0, &payload), STRAND_OK);
  assert_int_equal(poll(e, p, 0, "a"), STRAND_ADDED);
  c = commit(e);
  assert_int_equal(c->items[0].offset, 1);
  assert_string_not_equal(c->items[0].metadata, "");
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(poll(e, p, 1, "b"), STRAND_ADDED);
  assert_int_equal(poll(e, p, 2, "c"), STRAND_ADDED_DONE);
  out[0] = take_at(e, 0);
  commits(e, 4);
  done(e, &out[0]);
  strand_engine_free(e);
}

static void a_gap_alone_is_committed (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  (void)state;
  assert_int_equal(strand_engine_reach(e, p, 10), STRAND_OK);
  commits(e, 10);
  nothing_to_commit(e);
  strand_engine_free(e);
}

/* Without memory for its shard a record enters later. */
static void what_has_no_memory_enters_later (void **state) {
  strand_engine *e = open_once(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_commit *c;
  (void)state;
  poll_all(e, p, "ab");
  c = commit(e);
  alloc_none = true;
  strand_engine_commit_answer(e, c, STRAND_COMMITTED, 0);
  alloc_none = false;
  nothing_starts(e);
  strand_engine_maintain(e, 0);
  out[0] = take_at(e, 0);
  out[1] = take_at(e, 1);
  done(e, &out[0]);
  done(e, &out[1]);
  strand_engine_free(e);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(nothing_starts_before_the_answer),
    cmocka_unit_test(a_commit_that_fails_keeps_the_window_closed),
    cmocka_unit_test(two_windows_are_open_at_most),
    cmocka_unit_test(a_commit_goes_back_to_what_has_not_started),
    cmocka_unit_test(a_commit_back_is_made_again_for_what_comes_back),
    cmocka_unit_test(a_window_that_may_be_taken_is_taken_back),
    cmocka_unit_test(what_started_is_told_though_less_can_go_back),
    cmocka_unit_test(a_seek_loses_what_runs_below_it),
    cmocka_unit_test(retry_and_park_are_failures_that_are_final),
    cmocka_unit_test(a_dead_letter_holds_no_key_and_its_lease_goes_on),
    cmocka_unit_test(a_dead_letter_that_cannot_be_sent_is_lost),
    cmocka_unit_test(stop_is_the_last_word_on_its_record),
    cmocka_unit_test(a_deadline_is_final),
    cmocka_unit_test(a_paused_partition_asks_for_none),
    cmocka_unit_test(a_window_is_no_smaller_than_what_is_left),
    cmocka_unit_test(a_window_grows_with_the_speed_of_handlers),
    cmocka_unit_test(a_window_grows_though_commits_take_long),
    cmocka_unit_test(a_restored_payload_stays_told),
    cmocka_unit_test(a_gap_alone_is_committed),
    cmocka_unit_test(what_has_no_memory_enters_later),
  };
  return cmocka_run_group_tests_name("windows", tests, NULL, NULL);
}
