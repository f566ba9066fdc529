/*
** transacted_test.c - exactly once: what a transaction says, and when that is
** so
*/
#include "engine_fixture.h"

static strand_engine *open_exactly (strand_ordering ordering) {
  strand_engine_config c = limited(ordering);
  c.delivery = STRAND_EXACTLY_ONCE;
  routes[0].policy.exhausted = STRAND_OUTCOME_DEAD_LETTER;
  return open_with(c);
}

/* The next lease's record was handled, and has produced something. */
static strand_record *sent_at (strand_engine *e, int64_t offset) {
  strand_lease l = take_at(e, offset);
  strand_record *r = l.record;
  assert_int_equal(strand_engine_sent(e, &l), STRAND_OK);
  strand_engine_check(e);
  return r;
}

static strand_commit *commit_of (strand_engine *e, strand_record *const *list,
                                 size_t count) {
  strand_commit *c;
  for (size_t i = 0; i < count; i++) strand_engine_transact(e, list[i]);
  c = strand_engine_commit(e, 0, NULL);
  strand_engine_check(e);
  return c;
}

static void acked (strand_engine *e, strand_record *r) {
  assert_int_equal(strand_engine_output_acked(e, r, 0), STRAND_OK);
  strand_engine_check(e);
}

/* Offsets below 'committed', or said by the metadata. */
static bool says (const strand_commit_item *item, int64_t offset) {
  const char *problem = NULL;
  strand_payload p = { 0 };
  bool open = false;
  if (offset < item->offset) return true;
  if (item->metadata[0] == '\0') return false;
  assert_int_equal(strand_payload_decode(item->offset, item->metadata,
                                         strlen(item->metadata), &p, &problem),
                   STRAND_OK);
  for (size_t i = 0; i < p.run_count; i++) {
    if (p.runs[i].first <= offset && offset <= p.runs[i].last) open = true;
  }
  open = open || offset > p.highest;
  strand_payload_free(&p);
  return !open;
}

static void says_all (const strand_commit_item *item, const char *done) {
  for (int64_t i = 0; done[i] != '\0'; i++) {
    assert_int_equal(says(item, i), done[i] == 'x');
  }
}

/* {=== the plan ============================================================ */

static void it_says_what_is_in_it_and_what_is_done (void **state) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_record *in[2];
  strand_commit *c;
  strand_lease l;
  (void)state;
  poll_all(e, p, "abcdef");
  in[0] = sent_at(e, 0);
  sent_at(e, 1);
  l = take_at(e, 2);
  done(e, &l);
  in[1] = sent_at(e, 3);
  c = commit_of(e, in, 2);
  assert_int_equal(c->count, 1);
  assert_int_equal(c->items[0].offset, 1);
  says_all(&c->items[0], "x.xx..");
  assert_int_equal(committable(e, p), 0);
  answer(e, c, STRAND_COMMITTED, 0);
  acked(e, in[0]);
  acked(e, in[1]);
  assert_int_equal(committable(e, p), 1);
  assert_int_equal(committed(e, p), 1);
  revoke(e, p);
  strand_engine_free(e);
}

/* Each run of what is in flight, and each place in it. */
static void it_says_so_wherever_they_are (void **state) {
  char done[9] = { 0 };
  (void)state;
  for (unsigned which = 1; which < 256; which++) {
    strand_engine *e = open_exactly(STRAND_BY_KEY);
    strand_partition *p = assign(e, 0);
    strand_record *in[8];
    strand_commit *c;
    size_t count = 0;
    poll_all(e, p, "abcdefgh");
    for (int i = 0; i < 8; i++) {
      strand_record *r = sent_at(e, i);
      done[i] = which >> i & 1 ? 'x' : '.';
      if (which >> i & 1) in[count++] = r;
    }
    c = commit_of(e, in, count);
    says_all(&c->items[0], done);
    answer(e, c, STRAND_COMMITTED, 0);
    for (size_t i = 0; i < count; i++) acked(e, in[i]);
    assert_int_equal(committed(e, p), committable(e, p));
    assert_false(strand_engine_dirty(e, p));
    revoke(e, p);
    strand_engine_free(e);
  }
}

static void a_read_alone_is_committed_too (void **state) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_commit *c;
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  l = take_at(e, 0);
  done(e, &l);
  c = commit_of(e, NULL, 0);
  assert_int_equal(c->items[0].offset, 1);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_null(commit_of(e, NULL, 0));
  strand_engine_free(e);
}

static void what_is_not_in_it_makes_no_commit (void **state) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  (void)state;
  poll_all(e, p, "a");
  sent_at(e, 0);
  assert_null(commit_of(e, NULL, 0));
  revoke(e, p);
  strand_engine_free(e);
}

/* }======================================================================== */

/* {=== its end ============================================================= */

static void an_abort_says_nothing (void **state) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_record *in[2];
  strand_commit *c;
  (void)state;
  poll_all(e, p, "ab");
  in[0] = sent_at(e, 0);
  in[1] = sent_at(e, 1);
  c = commit_of(e, in, 2);
  answer(e, c, STRAND_COMMIT_ABORTED, 0);
  for (int i = 0; i < 2; i++) strand_engine_untransact(e, in[i]);
  strand_engine_check(e);
  state_is(p, 0, "sending");
  assert_int_equal(committed(e, p), 0);
  assert_int_equal(stats(e).done, 0);
  c = commit_of(e, in, 1); /* the other is left out */
  says_all(&c->items[0], "x.");
  answer(e, c, STRAND_COMMITTED, 0);
  acked(e, in[0]);
  assert_int_equal(stats(e).sending, 1);
  revoke(e, p);
  strand_engine_free(e);
}

static void one_that_is_refused_after_an_abort_ends_by_its_policy (void **s) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_record *r;
  strand_commit *c;
  (void)s;
  poll_all(e, p, "a");
  r = sent_at(e, 0);
  c = commit_of(e, &r, 1);
  answer(e, c, STRAND_COMMIT_ABORTED, 0);
  strand_engine_untransact(e, r);
  assert_int_equal(strand_engine_output_refused(e, &r, "no", 2, 0), STRAND_OK);
  strand_engine_check(e);
  assert_int_equal(heard.dead_letters, 1);
  c = commit_of(e, &heard.dead_letter, 1);
  says_all(&c->items[0], "x");
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(strand_engine_dead_letter_acked(e, heard.dead_letter, 0),
                   STRAND_OK);
  strand_engine_check(e);
  assert_int_equal(committed(e, p), 1);
  assert_false(strand_engine_dirty(e, p));
  strand_engine_free(e);
}

/* What ends while it is out is not in it, and is told by the next. */
static void what_is_done_meanwhile_is_dirty_after_it (void **state) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_record *r;
  strand_commit *c;
  strand_lease l;
  (void)state;
  poll_all(e, p, "ab");
  r = sent_at(e, 0);
  c = commit_of(e, &r, 1);
  l = take_at(e, 1);
  done(e, &l);
  answer(e, c, STRAND_COMMITTED, 0);
  acked(e, r);
  assert_true(strand_engine_dirty(e, p));
  c = commit_of(e, NULL, 0);
  assert_int_equal(c->items[0].offset, 2);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_false(strand_engine_dirty(e, p));
  strand_engine_free(e);
}

/* Memory runs out after the commit: the record is done there, so the next
** says the same of it. */
static void one_that_could_not_be_ended_stays_told (void **state) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_record *r;
  strand_commit *c;
  strand_lease l;
  (void)state;
  poll_all(e, p, "ab");
  r = sent_at(e, 0);
  answer(e, commit_of(e, &r, 1), STRAND_COMMITTED, 0);
  fail_alloc(0);
  assert_int_equal(strand_engine_output_acked(e, r, 0), STRAND_ENOMEM);
  l = take_at(e, 1);
  done(e, &l);
  c = commit_of(e, NULL, 0);
  says_all(&c->items[0], "xx");
  answer(e, c, STRAND_COMMITTED, 0);
  acked(e, r);
  assert_false(strand_engine_dirty(e, p));
  strand_engine_free(e);
}

static void a_revoke_forgets_what_was_in_it (void **state) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0), *kept = assign(e, 1);
  strand_record *in[2];
  strand_commit *c;
  (void)state;
  poll_all(e, p, "a");
  in[0] = sent_at(e, 0);
  poll_all(e, kept, "a");
  in[1] = sent_at(e, 0);
  c = commit_of(e, in, 2);
  assert_int_equal(c->count, 2);
  revoke(e, p);
  strand_engine_check(e);
  answer(e, c, STRAND_COMMITTED, 0);
  acked(e, in[1]);
  assert_int_equal(committed(e, kept), 1);
  strand_engine_free(e);
}

/* }======================================================================== */

/* {=== metadata ============================================================ */

/* Every second of them is in it, so that its text grows. */
static size_t sent_by_turns (strand_engine *e, strand_partition *p,
                             strand_record **in, int64_t most) {
  size_t count = 0;
  for (int64_t next = 0; next < most; next++) {
    strand_lease l;
    char key[16];
    snprintf(key, sizeof(key), "%d", (int)next);
    poll(e, p, next, key);
    if (!strand_engine_lease(e, 1, 0, &l)) break;
    if (next % 2 == 1) in[count++] = l.record;
    assert_int_equal(strand_engine_sent(e, &l), STRAND_OK);
  }
  return count;
}

/* Told in part it would be produced again: so it waits, and is not sent. */
static void what_does_not_fit_is_left_out_whole (void **state) {
  strand_engine_config config = limited(STRAND_BY_KEY);
  strand_record *in[600];
  strand_engine *e;
  strand_partition *p, *other;
  strand_commit *c;
  size_t count;
  (void)state;
  config.delivery = STRAND_EXACTLY_ONCE;
  config.max_metadata = 200;
  e = open_with(config);
  p = assign(e, 0);
  other = assign(e, 1);
  count = sent_by_turns(e, p, in, 1000);
  assert_true(count > 50);
  config.max_metadata = 8; /* a broker that takes less */
  strand_engine_configure(e, &config);
  poll_all(e, other, "a");
  in[count] = sent_at(e, 0);
  c = commit_of(e, in, count + 1);
  assert_non_null(c);
  assert_int_equal(c->count, 1);
  assert_ptr_equal(c->items[0].partition, other);
  for (size_t i = 0; i < count; i++) {
    assert_false(strand_record_is_transacted(in[i]));
  }
  assert_true(strand_record_is_transacted(in[count]));
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  answer(e, c, STRAND_COMMITTED, 0);
  acked(e, in[count]);
  revoke(e, p);
  strand_engine_free(e);
}

/* The whole transaction was refused: its longest text is to blame. */
static void a_refused_text_is_learnt_from_the_longest (void **state) {
  strand_engine *e = open_exactly(STRAND_BY_KEY);
  strand_partition *other = assign(e, 1), *p = assign(e, 0);
  strand_record *in[200];
  strand_partition_stats s;
  strand_commit *c;
  size_t count, longest;
  (void)state;
  count = sent_by_turns(e, p, in, 300);
  poll_all(e, other, "a");
  in[count] = sent_at(e, 0);
  c = commit_of(e, in, count + 1);
  assert_int_equal(c->count, 2);
  longest = strlen(c->items[1].metadata);
  assert_true(longest > 20);
  answer(e, c, STRAND_COMMIT_REFUSED, 0);
  for (size_t i = 0; i <= count; i++) strand_engine_untransact(e, in[i]);
  strand_partition_stats_read(e, p, 0, &s);
  assert_int_equal(s.metadata_limit, longest / 2);
  c = commit_of(e, in, count + 1);
  assert_int_equal(c->count, 1);
  assert_ptr_equal(c->items[0].partition, other);
  answer(e, c, STRAND_COMMITTED, 0);
  acked(e, in[count]);
  revoke(e, p);
  strand_engine_free(e);
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_says_what_is_in_it_and_what_is_done),
    cmocka_unit_test(it_says_so_wherever_they_are),
    cmocka_unit_test(a_read_alone_is_committed_too),
    cmocka_unit_test(what_is_not_in_it_makes_no_commit),
    cmocka_unit_test(an_abort_says_nothing),
    cmocka_unit_test(one_that_is_refused_after_an_abort_ends_by_its_policy),
    cmocka_unit_test(what_is_done_meanwhile_is_dirty_after_it),
    cmocka_unit_test(one_that_could_not_be_ended_stays_told),
    cmocka_unit_test(a_revoke_forgets_what_was_in_it),
    cmocka_unit_test(what_does_not_fit_is_left_out_whole),
    cmocka_unit_test(a_refused_text_is_learnt_from_the_longest),
  };
  return cmocka_run_group_tests_name("transacted", tests, NULL, NULL);
}
