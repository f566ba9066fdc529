/*
** kafka_waker_test.c - who is woken does not sleep, however early it was woken
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/waker.h"

#define LONG_US 20000000

static strand_waker waker;

static int make (void **state) {
  (void)state;
  strand_waker_init(&waker);
  strand_waker_check(&waker);
  return 0;
}

static int destroy (void **state) {
  (void)state;
  strand_waker_close(&waker);
  strand_waker_check(&waker);
  return 0;
}

static void open_it (void) {
  strand_failure failure;
  assert_true(strand_waker_open(&waker, &failure));
  strand_waker_check(&waker);
}

static int64_t sleeps_us (int64_t most_us) {
  int64_t began_us = strand_clock_us();
  assert_false(strand_waker_sleep(&waker, began_us + most_us));
  return strand_clock_us() - began_us;
}

static void who_is_woken_does_not_sleep (void **state) {
  (void)state;
  open_it();
  for (int i = 0; i < 3; i++) {
    strand_waker_wake(&waker);
    strand_waker_wake(&waker); /* twice is once */
    assert_true(sleeps_us(LONG_US) < LONG_US / 2);
    assert_true(sleeps_us(1000) >= 1000);
  }
}

/* It would have been the last that was heard of. */
static void a_wake_before_it_is_open_keeps_none_from_it (void **state) {
  (void)state;
  strand_waker_wake(&waker);
  open_it();
  strand_waker_wake(&waker);
  assert_true(sleeps_us(LONG_US) < LONG_US / 2);
}

static void a_wake_after_its_close_does_nothing (void **state) {
  (void)state;
  open_it();
  strand_waker_close(&waker);
  strand_waker_check(&waker);
  strand_waker_wake(&waker);
  assert_int_equal(waker.fd, -1);
}

#define spec(f) cmocka_unit_test_setup_teardown(f, make, destroy)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(who_is_woken_does_not_sleep),
    spec(a_wake_before_it_is_open_keeps_none_from_it),
    spec(a_wake_after_its_close_does_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
