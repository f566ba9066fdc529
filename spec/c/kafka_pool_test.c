/*
** kafka_pool_test.c - workers that are started together begin, or none does
*/
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "shared/pool.h"

#define WORKERS 4

static strand_pool pool;
static strand_start_latch latches[WORKERS];
static pthread_t threads[WORKERS];
static atomic_int passed;
static int released;

static void release (void *config) {
  (void)config;
  released++;
}

static int open_pool (void **state) {
  const strand_handler handler = { .release = release };
  (void)state;
  released = 0;
  atomic_store(&passed, 0);
  assert_true(strand_pool_init(&pool, &handler));
  return 0;
}

static int close_pool (void **state) {
  (void)state;
  strand_pool_check(&pool);
  strand_pool_free(&pool);
  assert_int_equal(released, 1);
  return 0;
}

static void *run (void *latch) {
  bool open = strand_pool_pass(&pool, latch);
  if (open) atomic_fetch_add(&passed, 1);
  return NULL;
}

static void start (bool open) {
  strand_start_latch *list = NULL;
  for (int i = 0; i < WORKERS; i++) {
    latches[i] = (strand_start_latch){ .next = list };
    list = &latches[i];
    assert_int_equal(pthread_create(&threads[i], NULL, run, &latches[i]), 0);
  }
  assert_int_equal(atomic_load(&passed), 0);
  strand_pool_tell(&pool, list, open);
  for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
}

static void all_pass_or_none (void **state) {
  (void)state;
  start(false);
  assert_int_equal(atomic_load(&passed), 0);
  start(true);
  assert_int_equal(atomic_load(&passed), WORKERS);
}

/* Those of who could not start are given again, unless others have come. */
static void no_two_have_one_number (void **state) {
  unsigned first, second;
  (void)state;
  first = strand_pool_reserve(&pool, 3);
  assert_int_equal(first, 1);
  strand_pool_cancel(&pool, first, 3);
  assert_int_equal(strand_pool_reserve(&pool, 2), 1);
  second = strand_pool_reserve(&pool, 2);
  assert_int_equal(second, 3);
  strand_pool_cancel(&pool, 1, 2);
  assert_int_equal(strand_pool_reserve(&pool, 1), 5);
}

static void what_fails_in_all_is_told_once (void **state) {
  const strand_failure one = { "HANDLER", "no module" };
  strand_failure failure;
  (void)state;
  strand_pool_reserve(&pool, 3);
  assert_false(strand_pool_loaded(&pool, NULL));
  assert_true(strand_pool_loaded(&pool, &one));
  assert_false(strand_pool_loaded(&pool, &one));
  assert_false(strand_pool_wait(&pool, &failure));
  assert_string_equal(failure.message, "no module");
  strand_pool_reserve(&pool, 1); /* those before are forgotten */
  assert_false(strand_pool_loaded(&pool, NULL));
  assert_true(strand_pool_wait(&pool, &failure));
}

static void only_who_runs_can_be_stuck (void **state) {
  int64_t now_us = strand_clock_coarse_us();
  (void)state;
  strand_pool_ended(&pool, now_us - 5000000);
  assert_true(strand_pool_idle_us(&pool) >= 5000000);
  assert_true(strand_pool_stuck_us(&pool) == 0);
  strand_pool_begin(&pool, now_us - 3000000);
  strand_pool_begin(&pool, now_us); /* the first counts */
  assert_int_equal(strand_pool_busy(&pool), 2);
  assert_true(strand_pool_stuck_us(&pool) >= 3000000);
  assert_true(strand_pool_stuck_us(&pool) < 5000000);
  strand_pool_end(&pool);
  strand_pool_end(&pool);
  assert_true(strand_pool_stuck_us(&pool) == 0);
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_pool, close_pool)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(all_pass_or_none),
    spec(no_two_have_one_number),
    spec(what_fails_in_all_is_told_once),
    spec(only_who_runs_can_be_stuck),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
