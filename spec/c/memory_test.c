/*
** memory_test.c - memory that runs out anywhere
*/
#include "engine_fixture.h"

/* {=== memory runs out =================================================== */

/* Some records end in other ways at first, by their offset, and are done the
** next time. */
static strand_err end_first (strand_engine *e, strand_lease *l,
                             int64_t offset) {
  if (offset % 3 == 0 && l->record->attempt == 1) {
    return ended(e, l, (strand_outcome_kind)(1 + offset / 3 % 6), 0, 0);
  }
  return strand_engine_done(e, l, offset % 7 == 0 ? 1 : l->count, 0);
}

/* Outcomes are tried until they succeed; what is left then goes back. */
static void end_somehow (strand_engine *e, strand_lease *l, int64_t offset) {
  strand_err err;
  do err = end_first(e, l, offset);
  while (err == STRAND_ENOMEM);
  assert_int_equal(err, STRAND_OK);
  while (l->count > 0 && (err = strand_engine_give_back(e, l)) != STRAND_OK) {
    assert_int_equal(err, STRAND_ENOMEM);
  }
}

/* Dead letters are acknowledged or refused, and what is parked is resolved, as
** soon as memory allows. */
static void resolve_somehow (strand_engine *e, strand_partition *p) {
  const strand_record *r = strand_partition_parked(p, 0);
  strand_record *dead_letter = NULL;
  for (const strand_record *l = NULL;
       dead_letter == NULL && (l = strand_partition_next(p, l)) != NULL;) {
    if (is_waiting(l, STRAND_WAITING_DEAD_LETTER))
      dead_letter = (strand_record *)l;
  }
  if (dead_letter != NULL && dead_letter->offset % 2 == 0) {
    (void)strand_engine_dead_letter_refused(e, dead_letter, "no", 2, 0);
  }
  else if (dead_letter != NULL)
    (void)strand_engine_dead_letter_acked(e, dead_letter, 0);
  if (r != NULL) {
    (void)strand_engine_resolve(e, p, r->offset,
                                (strand_resolution)(r->offset % 3));
  }
}

/* Everything goes well but for the n-th allocation. False when there is no
** such allocation. */
static bool all_ends_although (strand_ordering ordering, bool alone, long n) {
  bool failed;
  strand_engine_config c = limited(ordering);
  strand_engine *e;
  strand_partition *p;
  strand_run run = { 0, 2 };
  strand_payload payload = { 5, &run, 1, "none" };
  strand_orphan orphan = {
    STRAND_SHARD_KEY, "t", 0, "a-key-that-is-not-short!!", 25, 0
  };
  strand_lease l;
  int64_t next = 0;
  c.park_alone = alone;
  memset(&heard, 0, sizeof(heard));
  fail_alloc(n);
  while ((e = strand_engine_new(&c)) == NULL)
    ;
  while ((p = strand_engine_assign(e, "t", 0, 1, 0, &orphan,
                                   ordering == STRAND_BY_KEY))
         == NULL)
    ;
  while (strand_engine_restored(e, p, 0, &payload) != STRAND_OK)
    ;
  for (int round = 0; round < 300 && committable(e, p) < 60; round++) {
    strand_commit *commit;
    if (next < 60) {
      char key[40];
      snprintf(key, sizeof(key), "%d-%s", (int)next % 9,
               next % 2 == 0 ? "" : "and something more than that");
      if (poll(e, p, next, next % 10 == 9 ? NULL : key) != STRAND_ADDED_ENOMEM)
        next++;
    }
    if (strand_engine_lease(e, 3, 0, &l)) end_somehow(e, &l, l.record->offset);
    resolve_somehow(e, p);
    strand_engine_tick(e, 0);
    strand_engine_maintain(e, round * SECOND);
    commit = strand_engine_commit(e, 0, NULL);
    if (commit != NULL) {
      strand_engine_commit_answer(e, commit, STRAND_COMMITTED, 0);
    }
    strand_engine_check(e);
  }
  failed = alloc_failed;
  fail_alloc(-1);
  assert_int_equal(committable(e, p), 60);
  while (strand_engine_dirty(e, p)) {
    answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  }
  assert_int_equal(committed(e, p), 60);
  strand_engine_free(e);
  return failed;
}

static void one_missing_allocation_loses_nothing (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    long n = 0;
    while (all_ends_although((strand_ordering)ordering, false, n)) n++;
    assert_true(n > 300); /* each of so many has failed */
    for (n = 0; all_ends_although((strand_ordering)ordering, true, n); n++)
      ;
    assert_true(n > 300);
  }
}

/* Between an end that found no memory and the next try. */
static void a_revoke_finds_a_lease_that_could_not_end (void **state) {
  (void)state;
  for (int way = 0; way < 3 * STRAND_OUTCOME_STOP; way++) {
    strand_outcome_kind kind = (strand_outcome_kind)(1 + way / 3);
    bool failed = true;
    for (long n = 0; failed; n++) {
      strand_engine *e = open_with(limited((strand_ordering)(way % 3)));
      strand_partition *p = assign(e, 0);
      strand_lease l;
      poll_all(e, p, "aa");
      l = lease_of(e, 2);
      fail_alloc(n);
      failed = ended(e, &l, kind, 0, 0) != STRAND_OK;
      fail_alloc(-1);
      strand_engine_check(e);
      revoke(e, p);
      assert_int_equal(heard.visited, l.count > 0);
      if (l.count > 0) end_at(e, &l, kind, 0);
      assert_int_equal(stats(e).stale + stats(e).dead_letters, 0);
      strand_engine_free(e);
    }
  }
}

/* Idle, and the only commit finds no memory: it is tried again. */
static void a_commit_without_memory_is_tried_again (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_lease l;
  (void)state;
  poll_all(e, assign(e, 0), "a");
  l = take_at(e, 0);
  done(e, &l);
  for (long n = 0; n < 2; n++) {
    fail_alloc(n);
    assert_null(strand_engine_commit(e, 0, NULL));
    fail_alloc(-1);
    assert_true(strand_engine_commit_due(e, 0) < INT64_MAX);
  }
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  strand_engine_free(e);
}

/* Nothing is in flight whose end would let it try again. */
static void a_start_without_memory_is_tried_again (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_lease l;
  (void)state;
  poll_all(e, assign(e, 0), "a");
  alloc_none = true;
  assert_false(strand_engine_lease(e, 1, 0, &l));
  alloc_none = false;
  strand_engine_maintain(e, SECOND);
  l = take_at(e, 0);
  done(e, &l);
  strand_engine_free(e);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_missing_allocation_loses_nothing),
    cmocka_unit_test(a_revoke_finds_a_lease_that_could_not_end),
    cmocka_unit_test(a_commit_without_memory_is_tried_again),
    cmocka_unit_test(a_start_without_memory_is_tried_again),
  };
  return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
