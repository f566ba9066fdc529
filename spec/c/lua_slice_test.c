/*
** lua_slice_test.c - for how long bodies keep their thread from others
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What the thread has computed, and how often it has waited, is the test's to
** say. */
#include "base/clock.h"
#include "base/thread.h"
static int64_t thread_us;
static long thread_waits;
#define strand_clock_cpu_us() thread_us
#define strand_thread_waits() thread_waits
#include "../../src/lua/local/slice.c"

#define MOST_US 1000
#define MANY 200

static strand_slice slice;
static const char places[MANY];

static const struct strand_body *body (int i) {
  return (const void *)&places[i];
}

static int begin (void **state) {
  (void)state;
  thread_us = 5000;
  strand_slice_init(&slice, MOST_US);
  strand_slice_share(&slice, true);
  strand_slice_begin(&slice, 0);
  return 0;
}

/* So many come, each so long after the one before. Was it over for the last? */
static bool come (int count, int64_t gap_us) {
  bool ended = false;
  for (int i = 0; i < count; i++)
    ended = strand_slice_come(&slice, body(i), slice.came_us + gap_us);
  return ended;
}

static void many_that_have_waited_share_one (void **state) {
  (void)state;
  assert_false(come(100, 10));
  assert_true(strand_slice_come(&slice, body(100), slice.came_us + 10));
}

static void one_that_does_not_wait_has_no_more (void **state) {
  (void)state;
  assert_false(strand_slice_come(&slice, body(0), 10));
  assert_true(strand_slice_come(&slice, body(0), 10 + MOST_US));
}

/* The thread's core was another's, or not: it has not waited. */
static void what_others_computed_is_not_spent (void **state) {
  (void)state;
  assert_false(come(MANY, 10 * MOST_US));
  thread_us += MOST_US;
  assert_true(strand_slice_come(&slice, body(0), slice.came_us + MOST_US));
}

static void a_loop_that_waited_begins_another (void **state) {
  (void)state;
  assert_false(come(80, 10));
  thread_us += MOST_US;
  thread_waits++;
  assert_false(strand_slice_come(&slice, body(80), slice.came_us + 200));
  assert_false(come(80, 10));
  assert_true(come(MANY, 10));
  assert_true(strand_slice_end(&slice));
  thread_us += MOST_US;
  thread_waits++;
  assert_false(strand_slice_come(&slice, body(0), slice.came_us + 200));
  assert_true(come(MANY, 10));
  assert_true(strand_slice_end(&slice));
}

/* It had waited before this slice began. */
static void a_wait_counts_once (void **state) {
  (void)state;
  assert_false(come(1, 10));
  thread_waits++;
  assert_false(strand_slice_come(&slice, body(1), slice.came_us + 200));
  thread_us += MOST_US;
  assert_true(strand_slice_come(&slice, body(2), slice.came_us + 200));
}

/* The loop has had no turn: its handlers wait for a file, or a server, and
** keep the thread. */
static void one_that_blocks_has_no_more (void **state) {
  (void)state;
  assert_false(come(1, 10));
  for (int i = 1; i < 5; i++) {
    thread_waits++;
    assert_false(
      strand_slice_come(&slice, body(0), slice.came_us + MOST_US / 5));
  }
  thread_waits++;
  assert_true(strand_slice_come(&slice, body(0), slice.came_us + MOST_US / 5));
}

/* Nor does that begin another for who comes next. */
static void what_one_has_blocked_is_spent (void **state) {
  (void)state;
  assert_false(come(1, 10));
  thread_waits++;
  assert_false(
    strand_slice_come(&slice, body(0), slice.came_us + MOST_US - 100));
  assert_true(strand_slice_come(&slice, body(1), slice.came_us + 99)
              || strand_slice_come(&slice, body(2), slice.came_us + 99));
}

static void elsewhere_no_wait_begins_another (void **state) {
  (void)state;
  strand_slice_share(&slice, false);
  assert_false(come(1, 10));
  thread_waits++;
  assert_true(strand_slice_come(&slice, body(0), slice.came_us + MOST_US));
}

static void our_turn_begins_another (void **state) {
  (void)state;
  assert_true(come(MANY, 10));
  thread_us += MOST_US;
  strand_slice_begin(&slice, slice.came_us);
  assert_false(come(1, 10));
  assert_false(strand_slice_come(&slice, body(1), slice.came_us + 500));
}

/* Bodies of another consumer come between our turn and our first. */
static void what_others_do_before_the_first_is_not_spent (void **state) {
  (void)state;
  thread_us += 5 * MOST_US;
  assert_false(strand_slice_come(&slice, body(0), 5 * MOST_US));
  assert_false(strand_slice_come(&slice, body(1), 5 * MOST_US + 500));
}

static void its_end_is_told_once (void **state) {
  (void)state;
  assert_true(come(MANY, 10));
  assert_true(strand_slice_end(&slice));
  assert_false(strand_slice_end(&slice));
  strand_slice_begin(&slice, slice.came_us);
  assert_true(come(MANY, 10));
  assert_true(strand_slice_end(&slice));
}

static void no_more_are_woken_than_it_has_room_for (void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) strand_slice_wake_more(&slice);
  assert_int_equal(slice.wake_most, 16);
  assert_false(come(8, 50));
  assert_true(strand_slice_come(&slice, body(7), slice.came_us + MOST_US));
  assert_true(strand_slice_end(&slice));
  assert_int_equal(slice.wake_most, 4);
  strand_slice_wake_more(&slice);
  assert_in_range(slice.wake_most, 5, 7);
  strand_slice_wake_one(&slice);
  strand_slice_wake_more(&slice);
  assert_int_equal(slice.wake_most, 2);
}

static void elsewhere_those_that_have_waited_spend_nothing (void **state) {
  (void)state;
  strand_slice_share(&slice, false);
  assert_false(come(MANY, 10));
  assert_true(
    strand_slice_come(&slice, body(MANY - 1), slice.came_us + MOST_US));
}

static void of_step_each_turn_is_one (void **state) {
  (void)state;
  slice.shared = false;
  strand_slice_begin(&slice, 0);
  assert_false(strand_slice_come(&slice, NULL, MOST_US - 1));
  assert_true(strand_slice_come(&slice, NULL, MOST_US));
}

#define spec(f) cmocka_unit_test_setup(f, begin)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(many_that_have_waited_share_one),
    spec(one_that_does_not_wait_has_no_more),
    spec(what_others_computed_is_not_spent),
    spec(a_loop_that_waited_begins_another),
    spec(a_wait_counts_once),
    spec(one_that_blocks_has_no_more),
    spec(what_one_has_blocked_is_spent),
    spec(elsewhere_no_wait_begins_another),
    spec(our_turn_begins_another),
    spec(what_others_do_before_the_first_is_not_spent),
    spec(its_end_is_told_once),
    spec(no_more_are_woken_than_it_has_room_for),
    spec(elsewhere_those_that_have_waited_spend_nothing),
    spec(of_step_each_turn_is_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
