/*
** revoke_test.c - what outlives a partition, and what does not
*/
#include "engine_fixture.h"

/* {=== epochs ============================================================ */

/* The same shard, while its handler of the epoch before still runs. */
static void stays_held (strand_ordering ordering, bool null_unordered,
                        const char *keys, strand_shard_kind kind) {
  strand_engine_config c = plain(ordering);
  strand_engine *e;
  strand_partition *p;
  strand_lease old, l;
  strand_orphan orphan;
  c.null_key_unordered = null_unordered;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, keys);
  old = take_at(e, 0);
  revoke(e, p);
  assert_int_equal(heard.visited, 1);
  assert_int_equal(heard.orphans[0].kind, kind);
  orphan = heard.orphans[0];
  for (uint32_t epoch = 2; epoch <= 3; epoch++) { /* it comes back, twice */
    p = assign_orphans(e, 0, epoch, &orphan, 1);
    poll_all(e, p, keys);
    nothing_starts(e);
    if (epoch == 2) strand_engine_revoke(e, p, on_visit, NULL);
  }
  assert_int_equal(heard.visited, 1);
  heard.orphan_count = 0;
  done(e, &old);
  assert_int_equal(heard.orphan_count, 1);
  assert_int_equal(heard.orphans[0].kind, kind);
  assert_int_equal(committable(e, p), 0); /* the old epoch says nothing */
  strand_engine_release(e, &heard.orphans[0]);
  l = take_at(e, 0);
  done(e, &l);
  assert_int_equal(committable(e, p), 1);
  strand_engine_free(e);
}

static void a_key_stays_held_across_epochs (void **state) {
  (void)state;
  stays_held(STRAND_BY_KEY, false, "a", STRAND_SHARD_KEY);
}

static void null_keys_stay_held_across_epochs (void **state) {
  (void)state;
  stays_held(STRAND_BY_KEY, false, "-", STRAND_SHARD_NULL);
}

static void a_partition_stays_held_across_epochs (void **state) {
  (void)state;
  stays_held(STRAND_BY_PARTITION, false, "a", STRAND_SHARD_PARTITION);
}

static void a_record_stays_held_across_epochs (void **state) {
  (void)state;
  stays_held(STRAND_UNORDERED, false, "a", STRAND_SHARD_RECORD);
  stays_held(STRAND_BY_KEY, true, "-", STRAND_SHARD_RECORD);
}

static void only_the_held_key_waits (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease old, l;
  strand_orphan orphan;
  (void)state;
  poll_all(e, p, "aab");
  old = take_at(e, 0);
  revoke(e, p);
  orphan = heard.orphans[0];
  p = assign_orphans(e, 0, 2, &orphan, 1);
  poll_all(e, p, "aab");
  l = take_at(e, 2);
  done(e, &l);
  nothing_starts(e);
  heard.orphans[0].key = "b"; /* another key's release changes nothing */
  strand_engine_release(e, &heard.orphans[0]);
  nothing_starts(e);
  done(e, &old);
  strand_engine_release(e, &orphan);
  strand_engine_release(e, &orphan);
  l = take_at(e, 0);
  done(e, &l);
  strand_engine_free(e);
}

static void a_stale_outcome_counts_for_nothing (void **state) {
  (void)state;
  for (int how = 0; how < 3; how++) {
    strand_engine *e = open_by(STRAND_BY_KEY);
    strand_partition *p = assign(e, 0);
    strand_lease old, l;
    poll_all(e, p, "aaa");
    old = lease_of(e, 3);
    revoke(e, p);
    assert_int_equal(stats(e).stale, 3);
    p = assign_orphans(e, 0, 2, NULL, 0); /* as if it were another shard */
    poll_all(e, p, "aaa");
    l = lease_of(e, 3);
    heard.orphan_count = 0;
    if (how == 0) done(e, &old);
    else if (how == 1) back(e, &old);
    else fail_at(e, &old, 0, 0);
    assert_int_equal(heard.orphan_count, 1);
    assert_int_equal(committable(e, p), 0);
    assert_int_equal(stats(e).done + stats(e).failed, 0);
    assert_int_equal(stats(e).stale_dropped, 3);
    assert_int_equal(stats(e).retries, 0);
    done(e, &l);
    assert_int_equal(committable(e, p), 3);
    strand_engine_free(e);
  }
}

static void a_stale_lease_is_released_by_its_last_record (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease old;
  (void)state;
  poll_all(e, p, "aaa");
  old = lease_of(e, 3);
  revoke(e, p);
  heard.orphan_count = 0;
  assert_int_equal(strand_engine_done(e, &old, 2, 0), STRAND_OK);
  assert_int_equal(heard.orphan_count, 0);
  assert_int_equal(strand_engine_done(e, &old, 1, 0), STRAND_OK);
  assert_int_equal(heard.orphan_count, 1);
  strand_engine_free(e);
}

static void what_is_revoked_leaves_nothing (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aabbcc-");
  l = take_at(e, 0);
  fail_at(e, &l, 100, 0);
  revoke(e, p);
  assert_int_equal(heard.visited, 0);
  assert_true(strand_engine_tick(e, 1000) == INT64_MAX);
  assert_int_equal(stats(e).shards, 0);
  assert_int_equal(stats(e).buffered_bytes + stats(e).waiting_bytes, 0);
  p = strand_engine_assign(e, "t", 0, 2, 0, NULL, 0);
  assert_false(strand_engine_may_read(e, p)); /* restoring */
  strand_engine_revoking(e, p);
  revoke(e, p); /* assigned, then quickly revoked */
  strand_engine_free(e);
}

static void while_revoking_only_what_runs_goes_on (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0), *kept = assign(e, 1);
  strand_lease a, b;
  strand_commit *c;
  (void)state;
  poll_all(e, p, "ab");
  a = take_at(e, 0);
  strand_engine_revoking(e, p);
  assert_false(strand_engine_may_read(e, p));
  assert_true(strand_engine_may_read(e, kept));
  nothing_starts(e);
  poll_all(e, kept, "a");
  b = take_at(e, 0);
  assert_ptr_equal(b.partition, kept);
  done(e, &b);
  done(e, &a);
  nothing_starts(e);
  c = strand_engine_commit(e, 0, p);
  assert_int_equal(c->count, 1);
  assert_int_equal(c->items[0].offset, 1);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p), 1);
  strand_engine_free(e);
}

static void a_paused_partition_starts_nothing_and_commits (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll_all(e, p, "ab");
  a = take_at(e, 0);
  strand_engine_pause(e, p, true);
  strand_engine_pause(e, p, true);
  assert_false(strand_engine_may_read(e, p));
  nothing_starts(e);
  done(e, &a);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p), 1);
  nothing_starts(e);
  strand_engine_pause(e, p, false);
  assert_true(strand_engine_may_read(e, p));
  a = take_at(e, 1);
  done(e, &a);
  strand_engine_free(e);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_key_stays_held_across_epochs),
    cmocka_unit_test(null_keys_stay_held_across_epochs),
    cmocka_unit_test(a_partition_stays_held_across_epochs),
    cmocka_unit_test(a_record_stays_held_across_epochs),
    cmocka_unit_test(only_the_held_key_waits),
    cmocka_unit_test(a_stale_outcome_counts_for_nothing),
    cmocka_unit_test(a_stale_lease_is_released_by_its_last_record),
    cmocka_unit_test(what_is_revoked_leaves_nothing),
    cmocka_unit_test(while_revoking_only_what_runs_goes_on),
    cmocka_unit_test(a_paused_partition_starts_nothing_and_commits),
  };
  return cmocka_run_group_tests_name("revoke", tests, NULL, NULL);
}
