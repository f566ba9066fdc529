/*
** kafka_intake_test.c - exactly once: how many outputs a transaction takes
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "member/intake.h"

#define MS 1000
#define INTERVAL (500 * MS)

typedef struct fixture {
  strand_intake intake;
  int64_t now_us;
} fixture;

static void open_fixture (fixture *s, size_t most) {
  s->now_us = 1;
  strand_intake_init(&s->intake, most, INTERVAL);
}

/* A full transaction took 'fixed_ms', and 'each_us' for each output. */
static int64_t commits (fixture *s, int64_t fixed_ms, int64_t each_us) {
  size_t outputs = s->intake.size;
  int64_t took_us = fixed_ms * MS + (int64_t)outputs * each_us;
  s->now_us += took_us;
  strand_intake_committed(&s->intake, outputs, took_us, s->now_us);
  strand_intake_check(&s->intake);
  return took_us;
}

static void it_is_lowered_until_the_interval_is_kept (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s, 10000);
  assert_true(commits(&s, 0, 200) > INTERVAL);
  assert_int_equal(s.intake.size, 5000);
  assert_true(commits(&s, 0, 200) > INTERVAL);
  assert_int_equal(s.intake.size, 2500);
  assert_true(commits(&s, 0, 200) <= INTERVAL);
}

static void brokers_that_are_slow_get_no_smaller_ones (void **state) {
  fixture s;
  size_t smaller = 0, all = 0;
  (void)state;
  open_fixture(&s, 10000);
  while (s.now_us < 60 * 1000 * MS) {
    smaller += s.intake.size < 10000;
    all++;
    assert_true(s.intake.size >= 5000);
    commits(&s, 700, 10);
  }
  assert_true(smaller >= 2); /* it may have changed: that is tried again */
  assert_true(smaller * 10 < all);
}

static void it_is_what_it_was_after_a_single_slow_one (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s, 10000);
  commits(&s, 900, 10);
  assert_int_equal(s.intake.size, 5000);
  commits(&s, 20, 10);
  assert_int_equal(s.intake.size, 10000);
}

static void it_does_not_go_below_its_least (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s, 10000);
  for (int n = 0; n < 20; n++) {
    commits(&s, 0, 5000);
    assert_true(s.intake.size >= STRAND_INTAKE_LEAST);
  }
  assert_int_equal(s.intake.size, STRAND_INTAKE_LEAST);
  open_fixture(&s, 300);
  commits(&s, 0, 5000);
  assert_int_equal(s.intake.size, 300);
}

/* One that is not full says nothing of those that are. */
static void a_small_one_that_is_slow_lowers_nothing (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s, 10000);
  strand_intake_committed(&s.intake, 3, 900 * MS, s.now_us);
  assert_int_equal(s.intake.size, 10000);
}

/* However large each output is, there is one that gets through. */
static void what_timed_out_is_never_tried_as_it_was (void **state) {
  fixture s;
  size_t outputs;
  (void)state;
  open_fixture(&s, 10000);
  for (outputs = 10000; outputs > 1; outputs = s.intake.size) {
    strand_intake_timed_out(&s.intake, outputs);
    strand_intake_check(&s.intake);
    assert_int_equal(s.intake.size, outputs / 2);
  }
  strand_intake_timed_out(&s.intake, 1);
  assert_int_equal(s.intake.size, 1);
  for (int n = 0; n < 20; n++) commits(&s, 1, 1);
  assert_int_equal(s.intake.size, 10000);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_is_lowered_until_the_interval_is_kept),
    cmocka_unit_test(brokers_that_are_slow_get_no_smaller_ones),
    cmocka_unit_test(it_is_what_it_was_after_a_single_slow_one),
    cmocka_unit_test(it_does_not_go_below_its_least),
    cmocka_unit_test(a_small_one_that_is_slow_lowers_nothing),
    cmocka_unit_test(what_timed_out_is_never_tried_as_it_was)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
