/*
** commit_test.c - what a commit says, and when
*/
#include "engine_fixture.h"

/* {=== a full payload ==================================================== */

static strand_lease kept[4000];

static void a_full_payload_stops_its_partition_only (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p, *q;
  strand_lease l;
  int count;
  (void)state;
  c.max_metadata = 200;
  e = open_with(c);
  p = assign(e, 0);
  fill_payload(e, p, kept, &count);
  nothing_starts(e);
  q = assign(e, 1);
  poll_all(e, q, "a");
  l = take_at(e, 0);
  assert_ptr_equal(l.partition, q);
  done(e, &l);
  strand_engine_maintain(e, SECOND);
  nothing_starts(e);
  strand_engine_maintain(e, 3 * SECOND);
  assert_string_equal(heard.reason, "metadata");
  done(e, &kept[0]); /* the lowest: now the payload is shorter */
  l = lease_of(e, 1);
  for (int i = 1; i < count; i++) done(e, &kept[i]);
  done(e, &l);
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 0);
  strand_engine_free(e);
}

/* Found by the benchmark of poison: each attempt of a low record looked like
** progress, so that an event was never told. */
static void what_fails_again_unblocks_no_full_partition (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  int count;
  (void)state;
  c.max_metadata = 200;
  e = open_with(c);
  fill_payload(e, assign(e, 0), kept, &count);
  for (int i = 0; i < count; i++) fail_at(e, &kept[i], SECOND / 4, 0);
  for (int64_t now = SECOND; heard.notices[STRAND_NOTICE_BLOCKED] == 0;
       now += SECOND / 4) {
    assert_true(now <= 3 * SECOND);
    strand_engine_tick(e, now);
    assert_true(strand_engine_lease(e, 1, now, &l));
    fail_at(e, &l, SECOND / 4, now);
    strand_engine_maintain(e, now);
  }
  assert_string_equal(heard.reason, "metadata");
  assert_int_equal(heard.record, 0);
  c.max_metadata = 4096;
  strand_engine_configure(e, &c);
  while (strand_engine_lease(e, 1, 4 * SECOND, &l)) done(e, &l);
  strand_engine_maintain(e, 4 * SECOND);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNBLOCKED], 1);
  while (strand_engine_tick(e, 5 * SECOND) <= 5 * SECOND) {
  }
  while (strand_engine_lease(e, 1, 5 * SECOND, &l)) done(e, &l);
  assert_int_equal(stats(e).buffered_records, 0);
  strand_engine_free(e);
}

static void a_higher_limit_lets_a_full_partition_go_on (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  int count;
  (void)state;
  c.max_metadata = 200;
  e = open_with(c);
  fill_payload(e, assign(e, 0), kept, &count);
  nothing_starts(e);
  c.max_metadata = 4096;
  strand_engine_configure(e, &c);
  l = lease_of(e, 1);
  done(e, &l);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

/* Found by reading: only the end of an orphaned shard could let it go on. */
static void a_release_lets_a_full_partition_go_on (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease old, l;
  strand_orphan orphan;
  (void)state;
  c.max_metadata = 0;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "a");
  old = take_at(e, 0);
  revoke(e, p);
  orphan = heard.orphans[0];
  p = assign_orphans(e, 0, 2, &orphan, 1);
  poll_all(e, p, "ab");
  nothing_starts(e); /* b is not the lowest */
  done(e, &old);
  strand_engine_release(e, &orphan);
  for (int64_t i = 0; i < 2; i++) {
    l = take_at(e, i);
    done(e, &l);
  }
  strand_engine_free(e);
}

/* {=== commits =========================================================== */

static void a_commit_is_made_by_value (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l[3];
  strand_commit *c;
  strand_payload payload;
  const char *problem;
  (void)state;
  poll_all(e, p, "abc");
  for (int i = 0; i < 3; i++) l[i] = take_at(e, i);
  done(e, &l[1]);
  c = strand_engine_commit(e, 0, NULL);
  done(e, &l[0]);
  done(e, &l[2]);
  assert_int_equal(c->items[0].offset, 0);
  assert_int_equal(strand_payload_decode(0, c->items[0].metadata,
                                         strlen(c->items[0].metadata),
                                         &payload, &problem),
                   STRAND_OK);
  assert_int_equal(payload.highest, 1);
  assert_int_equal(payload.run_count, 1);
  assert_int_equal(payload.runs[0].last, 0);
  strand_payload_free(&payload);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p), 0);
  assert_true(strand_engine_dirty(e, p));
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->items[0].offset, 3);
  assert_string_equal(c->items[0].metadata, "");
  answer(e, c, STRAND_COMMITTED, 0);
  assert_false(strand_engine_dirty(e, p));
  assert_null(strand_engine_commit(e, 0, NULL));
  strand_engine_free(e);
}

/* Three partitions, each with one record done. */
static strand_engine *three_dirty (strand_partition **p) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_lease l;
  for (int i = 0; i < 3; i++) {
    p[i] = assign(e, i);
    poll_all(e, p[i], "a");
  }
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  return e;
}

static void one_commit_is_in_flight (void **state) {
  strand_partition *p[3];
  strand_engine *e = three_dirty(p);
  strand_commit *c = strand_engine_commit(e, 0, NULL);
  (void)state;
  assert_int_equal(c->count, 3);
  assert_true(strand_engine_committing(e));
  assert_null(strand_engine_commit(e, 0, NULL));
  assert_null(strand_engine_commit(e, 0, p[0]));
  assert_true(strand_engine_commit_due(e, 100 * SECOND) == INT64_MAX);
  for (int i = 0; i < 3; i++) assert_true(strand_engine_dirty(e, p[i]));
  answer(e, c, STRAND_COMMITTED, 0);
  for (int i = 0; i < 3; i++) assert_false(strand_engine_dirty(e, p[i]));
  strand_engine_free(e);
}

static void after_an_unknown_end_commits_go_one_by_one (void **state) {
  strand_partition *p[3];
  strand_engine *e = three_dirty(p);
  (void)state;
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMIT_UNKNOWN, 0);
  for (int i = 0; i < 3; i++) {
    strand_commit *c;
    assert_true(strand_engine_commit_due(e, 0) <= 0);
    c = strand_engine_commit(e, 0, NULL);
    assert_int_equal(c->count, 1);
    assert_ptr_equal(c->items[0].partition, p[i]);
    answer(e, c, STRAND_COMMITTED, 0);
    assert_false(strand_engine_dirty(e, p[i]));
  }
  assert_null(strand_engine_commit(e, 0, NULL));
  strand_engine_free(e);
}

static void a_commit_that_failed_waits_longer_each_time (void **state) {
  strand_partition *p[3];
  strand_engine *e = three_dirty(p);
  int64_t now = 0, last = 0;
  (void)state;
  for (int i = 0; i < 10; i++) {
    int64_t due;
    answer(e, strand_engine_commit(e, now, NULL), STRAND_COMMIT_LATER, now);
    due = strand_engine_commit_due(e, now);
    assert_true(due > now && due - now >= last && due - now <= 5 * SECOND);
    last = due - now;
    now = due;
  }
  answer(e, strand_engine_commit(e, now, NULL), STRAND_COMMITTED, now);
  assert_true(strand_engine_commit_due(e, now) == INT64_MAX
              || strand_engine_commit(e, now, NULL) == NULL);
  strand_engine_free(e);
}

/* A partition whose payload does not fit any more, nor as much of it as the
** last commit told, and one with something to say. */
static strand_engine *unwritable (strand_partition **p, int *count) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  c.max_metadata = 400;
  e = open_with(c);
  p[0] = assign(e, 0);
  fill_payload(e, p[0], kept, count);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  done(e, &kept[--*count]);
  p[1] = assign(e, 1);
  poll_all(e, p[1], "a");
  l = take_at(e, 0);
  done(e, &l);
  c.max_metadata = 16;
  strand_engine_configure(e, &c);
  return e;
}

static void what_tells_less_leaves_the_old_commit (void **state) {
  strand_partition *p[2];
  int count;
  strand_engine *e = unwritable(p, &count);
  strand_commit *c = strand_engine_commit(e, 0, NULL);
  strand_lease l;
  (void)state;
  assert_int_equal(c->count, 1);
  assert_ptr_equal(c->items[0].partition, p[1]);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  assert_non_null(strstr(heard.reason, "16 characters of max_metadata"));
  assert_int_equal(heard.record, 0);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p[0]), 0);
  assert_true(strand_engine_dirty(e, p[0]));
  assert_true(strand_partition_unwritable(p[0]));
  assert_null(strand_engine_commit(e, 0, NULL));
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p[0]), committable(e, p[0]));
  assert_int_equal(heard.notices[STRAND_NOTICE_WRITABLE], 1);
  assert_ptr_equal(heard.last.partition, p[0]);
  assert_false(strand_partition_unwritable(p[0]));
  strand_engine_free(e);
}

/* Found by reading: the suspect was tried first, for ever. */
static void an_unwritable_suspect_lets_others_commit (void **state) {
  strand_partition *p[2];
  int count;
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e = unwritable(p, &count);
  strand_commit *commit;
  (void)state;
  c.max_metadata = 400;
  strand_engine_configure(e, &c);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMIT_UNKNOWN, 0);
  c.max_metadata = 16;
  strand_engine_configure(e, &c);
  commit = strand_engine_commit(e, 0, NULL);
  assert_int_equal(commit->count, 1);
  assert_ptr_equal(commit->items[0].partition, p[1]);
  answer(e, commit, STRAND_COMMITTED, 0);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

/* How many offsets an item says are done; of those that run, none. */
static int64_t covered_by (const strand_commit_item *item) {
  strand_payload payload;
  const char *problem;
  int64_t covered;
  size_t r = 0;
  assert_int_equal(strand_payload_decode(item->offset, item->metadata,
                                         strlen(item->metadata), &payload,
                                         &problem),
                   STRAND_OK);
  covered = payload.highest + 1;
  for (; r < payload.run_count; r++) {
    covered -= payload.runs[r].last - payload.runs[r].first + 1;
  }
  for (int i = 0; i < 4000 && kept[i].partition != NULL; i++) {
    bool open = false;
    for (r = 0; r < payload.run_count; r++) {
      open |= payload.runs[r].first <= kept[i].record->offset
              && payload.runs[r].last >= kept[i].record->offset;
    }
    assert_true(open || kept[i].record->offset > payload.highest);
  }
  strand_payload_free(&payload);
  return covered;
}

/* Of 5,000 records about a half is done, in no order: some 860 characters.
** The others run on. */
static void half_do (strand_engine *e, strand_partition *p, int *count) {
  uint32_t random = 1;
  strand_lease l;
  for (int i = 0; i < 5000; i++) {
    char key[16];
    snprintf(key, sizeof(key), "%d", i);
    poll(e, p, i, key);
    if (!strand_engine_lease(e, 1, 0, &l)) return;
    assert_ptr_equal(l.partition, p);
    random = random * 1664525u + 1013904223u;
    if (i == 0 || random >> 31 == 0) kept[(*count)++] = l;
    else done(e, &l);
  }
}

static strand_engine *half_done (strand_partition **p, int *count) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  memset(kept, 0, sizeof(kept));
  *count = 0;
  *p = assign(e, 0);
  half_do(e, *p, count);
  return e;
}

/* Commits until nothing is due, to a broker that takes 'limit' characters.
** Returns how many it refused. */
static int commit_all (strand_engine *e, size_t limit, int64_t now) {
  int refused = 0;
  size_t last = SIZE_MAX;
  strand_commit *c;
  while ((c = strand_engine_commit(e, now, NULL)) != NULL) {
    size_t length = 0;
    for (size_t i = 0; i < c->count; i++) {
      size_t own = strlen(c->items[i].metadata);
      if (own > length) length = own;
    }
    assert_true(refused < 20);
    if (length > limit) {
      if (c->count == 1) {
        assert_true(length < last);
        last = length;
      }
      refused++;
      answer(e, c, STRAND_COMMIT_REFUSED, now);
      assert_int_equal(strand_engine_commit_due(e, now), 0); /* at once */
    }
    else answer(e, c, STRAND_COMMITTED, now);
  }
  return refused;
}

static size_t limit_of (strand_engine *e, strand_partition *p) {
  strand_partition_stats s;
  strand_partition_stats_read(e, p, 0, &s);
  return s.metadata_limit;
}

static void what_does_not_fit_is_told_in_part (void **state) {
  strand_engine_config config = plain(STRAND_BY_KEY);
  strand_partition *p;
  int count;
  strand_engine *e = half_done(&p, &count);
  strand_commit *c;
  (void)state;
  config.max_metadata = 100;
  strand_engine_configure(e, &config);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->count, 1);
  assert_false(c->items[0].whole);
  assert_true(strlen(c->items[0].metadata) > 80);
  assert_true(strlen(c->items[0].metadata) <= 100);
  assert_true(covered_by(&c->items[0]) == c->items[0].covered);
  assert_true(c->items[0].covered > 100);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  assert_false(strand_engine_dirty(e, p)); /* there is no more to tell */
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_WRITABLE], 1);
  assert_int_equal(committed(e, p), committable(e, p));
  strand_engine_free(e);
}

static void a_part_without_memory_is_tried_again (void **state) {
  strand_engine_config config = plain(STRAND_BY_KEY);
  strand_partition *p;
  strand_commit *c;
  int count, failed = 0;
  strand_engine *e = half_done(&p, &count);
  (void)state;
  config.max_metadata = 100;
  strand_engine_configure(e, &config);
  for (;; failed++) {
    fail_alloc(failed);
    c = strand_engine_commit(e, 0, NULL);
    if (c != NULL) break;
    assert_true(alloc_failed);
    assert_true(strand_engine_commit_due(e, 0) < INT64_MAX);
  }
  fail_alloc(-1);
  assert_int_equal(failed, 2); /* the commit, and its text */
  assert_true(covered_by(&c->items[0]) == c->items[0].covered);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

static void what_the_broker_refuses_is_learnt (void **state) {
  strand_partition *p, *q;
  int count, more;
  strand_engine *e = half_done(&p, &count);
  strand_lease l;
  (void)state;
  assert_in_range(commit_all(e, 200, 0), 3, 6);
  assert_int_equal(committed(e, p), 0);
  assert_in_range(limit_of(e, p), 100, 200);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  assert_non_null(strstr(heard.reason, "the broker refuses"));
  assert_non_null(strstr(heard.reason, "set max_metadata (now 4096)"));
  assert_true(strand_partition_unwritable(p));
  /* What starts from now on fits what it takes. */
  q = assign(e, 1);
  more = count;
  half_do(e, q, &more);
  assert_in_range(more - count, 100, 1000);
  assert_int_equal(commit_all(e, 200, 0), 0);
  assert_false(strand_partition_unwritable(q));
  for (int i = 0; i < more; i++) done(e, &kept[i]);
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  assert_int_equal(commit_all(e, 200, 0), 0);
  assert_int_equal(committed(e, p), committable(e, p));
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  assert_int_equal(heard.notices[STRAND_NOTICE_WRITABLE], 1);
  strand_engine_free(e);
}

static void a_broker_that_takes_no_metadata_gets_offsets (void **state) {
  strand_partition *p;
  int count;
  strand_engine *e = half_done(&p, &count);
  (void)state;
  done(e, &kept[0]);
  commit_all(e, 0, 0);
  assert_int_equal(committed(e, p), committable(e, p));
  for (int i = 1; i < count; i++) done(e, &kept[i]);
  commit_all(e, 0, 0);
  assert_int_equal(committed(e, p), committable(e, p));
  strand_engine_free(e);
}

/* Which one of several was too long nobody knows. */
static void one_that_is_refused_keeps_no_neighbour (void **state) {
  strand_partition *p, *q;
  int count;
  strand_engine *e = half_done(&p, &count);
  strand_commit *c;
  strand_lease l;
  (void)state;
  q = assign(e, 1);
  poll_all(e, q, "a");
  l = take_at(e, 0);
  done(e, &l);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->count, 2);
  answer(e, c, STRAND_COMMIT_REFUSED, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 0);
  assert_int_equal(limit_of(e, p), 4096);
  commit_all(e, 200, 0);
  assert_int_equal(committed(e, q), 1);
  assert_false(strand_partition_unwritable(q));
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

static void longer_metadata_is_tried_again (void **state) {
  strand_engine_config config = plain(STRAND_BY_KEY);
  strand_partition *p;
  int64_t now = SECOND;
  int count;
  strand_engine *e = half_done(&p, &count);
  size_t limit;
  (void)state;
  commit_all(e, 300, now);
  limit = limit_of(e, p);
  strand_engine_maintain(e, now + STRAND_METADATA_AGAIN_US - 1);
  assert_int_equal(limit_of(e, p), limit);
  assert_null(strand_engine_commit(e, now, NULL));
  now += STRAND_METADATA_AGAIN_US;
  strand_engine_maintain(e, now);
  assert_int_equal(limit_of(e, p), 2 * limit);
  assert_in_range(commit_all(e, 300, now), 1, 2); /* it still does not */
  assert_in_range(limit_of(e, p), limit, 300);
  strand_engine_maintain(e, now + STRAND_METADATA_AGAIN_US - 1);
  assert_in_range(limit_of(e, p), limit, 300);
  while (limit_of(e, p) < 4096) { /* somebody has set it right */
    now += STRAND_METADATA_AGAIN_US;
    strand_engine_maintain(e, now);
    assert_int_equal(commit_all(e, 4096, now), 0);
  }
  assert_false(strand_partition_unwritable(p));
  assert_int_equal(heard.notices[STRAND_NOTICE_WRITABLE], 1);
  config.max_metadata = 4000;
  commit_all(e, 300, now);
  strand_engine_configure(e, &config);
  assert_int_equal(limit_of(e, p), 4000);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

static void commits_are_due_by_interval_or_idleness (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  int64_t now = 10 * SECOND;
  (void)state;
  assert_true(strand_engine_commit_due(e, now) == INT64_MAX);
  poll_all(e, p, "aa");
  l = take_at(e, 0);
  done_at(e, &l, now);
  answer(e, strand_engine_commit(e, now, NULL), STRAND_COMMITTED, now);
  l = take_at(e, 1);
  assert_int_equal(strand_engine_commit_due(e, now), now + 5 * SECOND);
  done_at(e, &l, now + SECOND); /* nothing is left: half a second later */
  assert_int_equal(strand_engine_commit_due(e, now),
                   now + SECOND + SECOND / 2);
  now += SECOND + SECOND / 2;
  answer(e, strand_engine_commit(e, now, NULL), STRAND_COMMITTED, now);
  poll(e, p, 2, "a");
  l = take_at(e, 2);
  done_at(e, &l, now); /* one such a second */
  assert_int_equal(strand_engine_commit_due(e, now), now + SECOND);
  strand_engine_free(e);
}

static void an_answer_after_the_revoke_says_nothing (void **state) {
  strand_partition *p[3];
  strand_engine *e = three_dirty(p);
  strand_commit *c = strand_engine_commit(e, 0, NULL);
  (void)state;
  revoke(e, p[1]);
  p[1] = assign_orphans(e, 1, 2, NULL, 0);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p[0]), 1);
  assert_int_equal(committed(e, p[1]), 0);
  strand_engine_free(e);
}

static void a_commit_can_be_hurried (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = strand_engine_assign(e, "t", 0, 1, 0, NULL, 0);
  strand_commit *c;
  (void)state;
  assert_int_equal(strand_engine_restored(e, p, -1, NULL), STRAND_OK);
  assert_int_equal(strand_engine_reach(e, p, 3), STRAND_OK);
  strand_engine_hurry(e);
  assert_int_equal(strand_engine_commit_due(e, SECOND), 0);
  c = strand_engine_commit(e, SECOND, NULL);
  assert_int_equal(c->items[0].offset, 3);
  answer(e, c, STRAND_COMMIT_LATER, SECOND);
  assert_true(strand_engine_commit_due(e, SECOND) > SECOND); /* backs off */
  answer(e, strand_engine_commit(e, 2 * SECOND, NULL), STRAND_COMMITTED,
         2 * SECOND);
  assert_true(strand_engine_commit_due(e, 2 * SECOND) > 2 * SECOND);
  strand_engine_free(e);
}

static void gaps_and_control_records_are_committed (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_commit *c;
  strand_lease l;
  (void)state;
  poll(e, p, 5, "a");
  l = take_at(e, 5);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->items[0].offset, 5);
  answer(e, c, STRAND_COMMITTED, 0);
  done(e, &l);
  assert_int_equal(strand_engine_reach(e, p, 9), STRAND_OK);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->items[0].offset, 9);
  assert_string_equal(c->items[0].metadata, "");
  answer(e, c, STRAND_COMMITTED, 0);
  strand_engine_free(e);
}

/* Restored: 0 to 2 open, 3 to 9 done. */
static strand_partition *restored (strand_engine *e) {
  strand_run run = { 0, 2 };
  strand_payload payload = { 9, &run, 1, "none" };
  strand_partition *p = strand_engine_assign(e, "t", 0, 1, 0, NULL, 0);
  assert_int_equal(strand_engine_restored(e, p, 0, &payload), STRAND_OK);
  return p;
}

static void what_was_done_is_not_run_again (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = restored(e);
  strand_lease l;
  (void)state;
  for (int64_t i = 0; i < 12; i++) {
    assert_int_equal(poll(e, p, i, "a"),
                     i < 3 || i > 9 ? STRAND_ADDED : STRAND_ADDED_DONE);
  }
  assert_int_equal(poll(e, p, 4, "a"), STRAND_ADDED_EARLIER);
  l = lease_of(e, 64);
  assert_int_equal(l.count, 5);
  done(e, &l);
  assert_int_equal(committable(e, p), 12);
  strand_engine_free(e);
}

/* Found by the simulator (seed 1059): nobody was told that a commit is due. */
static void what_was_compacted_away_is_committed (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = restored(e);
  strand_commit *c;
  (void)state;
  assert_int_equal(poll(e, p, 6, "a"), STRAND_ADDED_DONE);
  assert_true(strand_engine_commit_due(e, 0) < INT64_MAX);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->items[0].offset, 10);
  answer(e, c, STRAND_COMMITTED, 0);
  strand_engine_free(e);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_full_payload_stops_its_partition_only),
    cmocka_unit_test(what_fails_again_unblocks_no_full_partition),
    cmocka_unit_test(a_higher_limit_lets_a_full_partition_go_on),
    cmocka_unit_test(a_release_lets_a_full_partition_go_on),
    cmocka_unit_test(a_commit_is_made_by_value),
    cmocka_unit_test(one_commit_is_in_flight),
    cmocka_unit_test(after_an_unknown_end_commits_go_one_by_one),
    cmocka_unit_test(a_commit_that_failed_waits_longer_each_time),
    cmocka_unit_test(what_tells_less_leaves_the_old_commit),
    cmocka_unit_test(an_unwritable_suspect_lets_others_commit),
    cmocka_unit_test(what_does_not_fit_is_told_in_part),
    cmocka_unit_test(a_part_without_memory_is_tried_again),
    cmocka_unit_test(what_the_broker_refuses_is_learnt),
    cmocka_unit_test(a_broker_that_takes_no_metadata_gets_offsets),
    cmocka_unit_test(one_that_is_refused_keeps_no_neighbour),
    cmocka_unit_test(longer_metadata_is_tried_again),
    cmocka_unit_test(commits_are_due_by_interval_or_idleness),
    cmocka_unit_test(an_answer_after_the_revoke_says_nothing),
    cmocka_unit_test(a_commit_can_be_hurried),
    cmocka_unit_test(gaps_and_control_records_are_committed),
    cmocka_unit_test(what_was_done_is_not_run_again),
    cmocka_unit_test(what_was_compacted_away_is_committed),
  };
  return cmocka_run_group_tests_name("commit", tests, NULL, NULL);
}
