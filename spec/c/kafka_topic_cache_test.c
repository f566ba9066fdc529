/*
** kafka_topic_cache_test.c - what is known of topics, when it is asked for
** again, and what is said while it is not known
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/topic_cache.h"

static strand_cached_topic *add (strand_topic_cache *cache, const char *name) {
  strand_cached_topic *t = strand_topic_cache_new(name);
  assert_non_null(t);
  strand_topic_cache_add(cache, t);
  strand_topic_cache_check(cache);
  return t;
}

static void a_topic_is_found_by_its_whole_name (void **state) {
  strand_topic_cache cache = { NULL };
  strand_cached_topic *a = add(&cache, "orders"), *b = add(&cache, "order");
  (void)state;
  assert_ptr_equal(strand_topic_cache_find(&cache, "orders"), a);
  assert_ptr_equal(strand_topic_cache_find(&cache, "order"), b);
  assert_null(strand_topic_cache_find(&cache, "ord"));
  assert_null(strand_topic_cache_asked(&cache));
  a->asked = true;
  assert_ptr_equal(strand_topic_cache_asked(&cache), a);
  strand_topic_cache_free(&cache);
  assert_null(cache.first);
}

static void a_new_topic_is_asked_for_at_once (void **state) {
  strand_topic_cache cache = { NULL };
  strand_cached_topic *t = add(&cache, "t");
  (void)state;
  assert_true(strand_cached_topic_is_stale(t, 0.5));
  t->asked = true; /* and not twice */
  assert_false(strand_cached_topic_is_stale(t, 0.5));
  assert_false(strand_cached_topic_is_doubtful(t, 0.5));
  strand_topic_cache_free(&cache);
}

static void a_number_is_believed_for_a_minute (void **state) {
  strand_topic_cache cache = { NULL };
  strand_cached_topic *t = add(&cache, "t");
  (void)state;
  strand_cached_topic_answer(t, RD_KAFKA_RESP_ERR_NO_ERROR, 6, 100);
  strand_topic_cache_check(&cache);
  assert_false(strand_cached_topic_is_stale(t, 159.9));
  assert_true(strand_cached_topic_is_stale(t, 160.1));
  assert_false(strand_cached_topic_is_doubtful(t, 100.9));
  assert_true(strand_cached_topic_is_doubtful(t, 101.1));
  strand_topic_cache_free(&cache);
}

static void what_failed_is_asked_again_soon (void **state) {
  strand_topic_cache cache = { NULL };
  strand_cached_topic *t = add(&cache, "t");
  strand_failure failure;
  (void)state;
  strand_cached_topic_fail(t, &failure);
  assert_string_equal(failure.code, "NO_METADATA");
  assert_non_null(strstr(failure.message, "is not known yet"));
  strand_cached_topic_answer(t, RD_KAFKA_RESP_ERR__TRANSPORT, 0, 100);
  strand_topic_cache_check(&cache);
  assert_false(strand_cached_topic_is_stale(t, 100.05));
  assert_true(strand_cached_topic_is_stale(t, 100.15));
  strand_cached_topic_fail(t, &failure);
  assert_non_null(strstr(failure.message, "is not known: "));
  strand_topic_cache_free(&cache);
}

static void the_old_number_outlives_a_failure (void **state) {
  strand_topic_cache cache = { NULL };
  strand_cached_topic *t = add(&cache, "t");
  (void)state;
  strand_cached_topic_answer(t, RD_KAFKA_RESP_ERR_NO_ERROR, 6, 100);
  t->asked = true;
  strand_cached_topic_answer(t, RD_KAFKA_RESP_ERR__TRANSPORT, 0, 200);
  strand_topic_cache_check(&cache);
  assert_int_equal(t->partitions, 6);
  assert_false(t->asked);
  assert_false(strand_cached_topic_is_stale(t, 259));
  strand_topic_cache_free(&cache);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_topic_is_found_by_its_whole_name),
    cmocka_unit_test(a_new_topic_is_asked_for_at_once),
    cmocka_unit_test(a_number_is_believed_for_a_minute),
    cmocka_unit_test(what_failed_is_asked_again_soon),
    cmocka_unit_test(the_old_number_outlives_a_failure)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
