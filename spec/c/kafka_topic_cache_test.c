/*
** kafka_topic_cache_test.c - what is known of topics, when it is asked for
** again, and what is said while it is not known
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/topic_cache.h"

#define OK RD_KAFKA_RESP_ERR_NO_ERROR
#define AWAY RD_KAFKA_RESP_ERR__TRANSPORT
#define REFRESH 300.0

static strand_placement placement;

static int clear (void **state) {
  (void)state;
  strand_placement_free(&placement);
  return 0;
}

static strand_cached_topic *add (strand_topic_cache *cache, const char *name) {
  strand_cached_topic *t = strand_topic_cache_new(
    name, strand_placement_add(&placement), NULL);
  assert_non_null(t);
  strand_topic_cache_add(cache, t);
  strand_topic_cache_check(cache);
  return t;
}

static void answer (strand_topic_cache *cache, strand_cached_topic *t,
                    rd_kafka_resp_err_t err, int32_t partitions, double now) {
  strand_cached_topic_answer(t, err, partitions, now, REFRESH);
  strand_topic_cache_check(cache);
}

static int32_t count_of (const strand_cached_topic *t) {
  return strand_topic_place_count(t->place);
}

static void a_topic_is_found_by_its_whole_name (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *a = add(&cache, "orders"), *b = add(&cache, "order");
  (void)state;
  for (int twice = 0; twice < 2; twice++) {
    assert_ptr_equal(strand_topic_cache_find(&cache, "orders"), a);
    assert_ptr_equal(strand_topic_cache_find(&cache, "order"), b);
    assert_null(strand_topic_cache_find(&cache, "ord"));
  }
  assert_null(strand_topic_cache_asked(&cache));
  strand_cached_topic_ask(a, 0);
  assert_ptr_equal(strand_topic_cache_asked(&cache), a);
  strand_topic_cache_free(&cache);
  assert_null(cache.first);
}

static void each_of_thousands_is_found (void **state) {
  strand_topic_cache cache = { 0 };
  char name[16];
  (void)state;
  for (size_t i = 0; i < 3000; i++) {
    strand_cached_topic *t;
    snprintf(name, sizeof(name), "t%zu", i);
    t = strand_topic_cache_new(name, strand_placement_add(&placement), NULL);
    strand_topic_cache_add(&cache, t);
    assert_int_equal(t->index, i);
  }
  for (size_t i = 0; i < 3000; i++) {
    snprintf(name, sizeof(name), "t%zu", i);
    assert_int_equal(strand_topic_cache_find(&cache, name)->index, i);
  }
  strand_topic_cache_free(&cache);
}

static void a_new_topic_is_asked_for_at_once (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *t = add(&cache, "t");
  (void)state;
  assert_true(strand_cached_topic_is_stale(t, 0.5));
  strand_cached_topic_ask(t, 0.5); /* and not twice */
  assert_false(strand_cached_topic_is_stale(t, 0.5));
  assert_false(strand_cached_topic_may_verify(t, 0.5));
  strand_topic_cache_free(&cache);
}

static void a_number_is_asked_for_again_when_it_is_time (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *t = add(&cache, "t");
  double due;
  (void)state;
  assert_null(strand_topic_cache_due(&cache, 100, &due));
  assert_true(due == 0);
  answer(&cache, t, OK, 6, 100);
  assert_int_equal(count_of(t), 6);
  assert_false(strand_cached_topic_is_stale(t, 159.9));
  assert_true(strand_cached_topic_is_stale(t, 160.1));
  assert_false(strand_cached_topic_may_verify(t, 100.9));
  assert_true(strand_cached_topic_may_verify(t, 101.1));
  assert_null(strand_topic_cache_due(&cache, 399.9, &due));
  assert_true(due == 100 + REFRESH);
  assert_ptr_equal(strand_topic_cache_due(&cache, 400, &due), t);
  strand_cached_topic_answer(t, OK, 6, 400,
                             0); /* and never, where it is off */
  assert_null(strand_topic_cache_due(&cache, 1e9, &due));
  assert_true(due == 0);
  strand_topic_cache_free(&cache);
}

static void what_failed_is_asked_again_soon (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *t = add(&cache, "t");
  strand_failure failure;
  (void)state;
  strand_cached_topic_fail(t, &failure);
  assert_string_equal(failure.code, "NO_METADATA");
  assert_non_null(strstr(failure.message, "is not known yet"));
  answer(&cache, t, AWAY, 0, 100);
  assert_false(strand_cached_topic_is_stale(t, 100.05));
  assert_true(strand_cached_topic_is_stale(t, 100.15));
  strand_cached_topic_fail(t, &failure);
  assert_non_null(strstr(failure.message, "is not known: "));
  strand_topic_cache_free(&cache);
}

/* The times at which it is asked for, from the first want on. */
static void a_want_is_followed_with_back_off_and_not_for_ever (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *t = add(&cache, "t");
  double now = 100, due, waits[6];
  int asked = 0;
  (void)state;
  assert_true(strand_cached_topic_want(t, 1, now));
  assert_false(strand_cached_topic_want(t, 1, now)); /* it is due already */
  while (strand_topic_cache_due(&cache, now, &due) == t) {
    answer(&cache, t, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, 0, now);
    strand_topic_cache_due(&cache, now, &due);
    if (due == 0) break;
    if (asked < 6) waits[asked] = due - now;
    asked++;
    now = due;
  }
  for (int i = 0; i < 6; i++)
    assert_true(waits[i] > 0.99 * (i < 4 ? 0.1 * (1 << i) : 1)
                && waits[i] < 1.01 * (i < 4 ? 0.1 * (1 << i) : 1));
  assert_true(now > 100 + STRAND_TOPIC_WANTED - 2);
  assert_in_range(asked, 55, 65);
  assert_true(strand_cached_topic_want(t, 1, now + 100));
  strand_topic_cache_free(&cache);
}

/* A partition that was just added: the answer without it is no end. */
static void a_want_of_partitions_goes_on_until_they_are_there (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *t = add(&cache, "t");
  double due;
  (void)state;
  answer(&cache, t, OK, 3, 100);
  assert_true(strand_cached_topic_want(t, 5, 100.02));
  assert_null(strand_topic_cache_due(&cache, 100.02, &due));
  assert_true(due > 100.09 && due < 100.11); /* not at once again */
  answer(&cache, t, OK, 4, 100.1);
  assert_null(strand_topic_cache_due(&cache, 100.1, &due));
  assert_true(due > 100.19 && due < 100.21);
  assert_int_equal(count_of(t), 4);
  answer(&cache, t, OK, 5, 100.2);
  strand_topic_cache_due(&cache, 100.2, &due);
  assert_true(due > 400 && due < 401);
  strand_topic_cache_free(&cache);
}

static void the_old_number_outlives_a_failure (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *t = add(&cache, "t");
  (void)state;
  answer(&cache, t, OK, 6, 100);
  strand_cached_topic_ask(t, 199);
  answer(&cache, t, AWAY, 0, 200);
  assert_int_equal(count_of(t), 6);
  assert_int_equal(t->answer.err, AWAY);
  assert_false(t->asked);
  assert_false(strand_cached_topic_is_stale(t, 259));
  strand_topic_cache_free(&cache);
}

/* The number that librdkafka's callback has seen is the one that is known. */
static void what_the_callback_sees_is_known_at_once (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *t = add(&cache, "t");
  strand_delivery_ticket record = { .by = STRAND_PLACED_BY_PARTITION };
  (void)state;
  answer(&cache, t, OK, 6, 100);
  assert_true(strand_placement_changed(&placement));
  strand_placement_place(NULL, NULL, 0, 9, t->place,
                         strand_placement_opaque(&record));
  assert_int_equal(count_of(t), 9);
  assert_true(strand_placement_changed(&placement));
  answer(&cache, t, OK, 2, 200); /* and the other way, also fewer */
  assert_int_equal(count_of(t), 2);
  assert_true(strand_placement_changed(&placement));
  strand_topic_cache_free(&cache);
}

static void a_limit_is_asked_for_until_it_is_answered (void **state) {
  strand_topic_cache cache = { 0 };
  strand_cached_topic *t = add(&cache, "t");
  (void)state;
  assert_false(strand_cached_topic_wants_limit(t, false, 100));
  answer(&cache, t, OK, 1, 100);
  assert_true(strand_cached_topic_wants_limit(t, false, 100));
  t->limit_asked = true;
  assert_false(strand_cached_topic_wants_limit(t, true, 100));
  strand_topic_cache_check(&cache);
  assert_ptr_equal(strand_topic_cache_limit_asked(&cache), t);
  strand_cached_topic_limit(t, 1000, 100);
  assert_null(strand_topic_cache_limit_asked(&cache));
  assert_int_equal(t->answer.limit, 1000);
  assert_false(strand_cached_topic_wants_limit(t, false, 200));
  assert_false(strand_cached_topic_wants_limit(t, true, 109));
  assert_true(strand_cached_topic_wants_limit(t, true, 111));
  strand_cached_topic_limit(t, 0, 111); /* nobody says it any more */
  assert_int_equal(t->answer.limit, 1000);
  strand_topic_cache_free(&cache);
}

#define TEST(name) cmocka_unit_test_teardown(name, clear)

int main (void) {
  const struct CMUnitTest tests[] = {
    TEST(a_topic_is_found_by_its_whole_name),
    TEST(each_of_thousands_is_found),
    TEST(a_new_topic_is_asked_for_at_once),
    TEST(a_number_is_asked_for_again_when_it_is_time),
    TEST(what_failed_is_asked_again_soon),
    TEST(a_want_is_followed_with_back_off_and_not_for_ever),
    TEST(a_want_of_partitions_goes_on_until_they_are_there),
    TEST(the_old_number_outlives_a_failure),
    TEST(what_the_callback_sees_is_known_at_once),
    TEST(a_limit_is_asked_for_until_it_is_answered)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
