/*
** lua_finalizers_test.c - what the finalizers of a state may wait in all
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lua/finalizers.h"

#define assert_near(a, b) assert_true((a) - (b) < 1e-9 && (b) - (a) < 1e-9)

static void one_has_all_of_it_and_the_next_what_is_left (void **state) {
  strand_finalizers f;
  (void)state;
  strand_finalizers_init(&f, 100);
  f.count = 1;
  assert_near(strand_finalizers_begin(&f, 100), 5);
  strand_finalizers_end(&f, 104);
  assert_near(strand_finalizers_begin(&f, 104), 1);
  strand_finalizers_end(&f, 106); /* it was late */
  assert_near(strand_finalizers_begin(&f, 106), 0);
}

static void a_little_is_kept_for_each_other (void **state) {
  strand_finalizers f;
  (void)state;
  strand_finalizers_init(&f, 100);
  f.count = 5;
  assert_near(strand_finalizers_begin(&f, 100), 4);
  f.count = 1000;
  assert_near(strand_finalizers_begin(&f, 100), 2.5);
}

static void what_was_spent_comes_back_within_a_minute (void **state) {
  strand_finalizers f;
  (void)state;
  strand_finalizers_init(&f, 100);
  f.count = 1;
  strand_finalizers_begin(&f, 100);
  strand_finalizers_end(&f, 105);
  assert_near(strand_finalizers_begin(&f, 117), 1);
  assert_near(strand_finalizers_begin(&f, 165), 5);
  assert_near(strand_finalizers_begin(&f, 1e6), 5);
}

static void an_object_that_is_closed_leaves_once (void **state) {
  strand_finalizers f;
  strand_finalizers *of = &f;
  (void)state;
  strand_finalizers_init(&f, 100);
  f.count = 2;
  strand_finalizers_leave(&of);
  strand_finalizers_leave(&of);
  assert_null(of);
  assert_int_equal(f.count, 1);
}

/* A producer in each call of a handler once wrote 3,452 lines in 9 s. */
static void what_many_lost_is_said_once_a_second (void **state) {
  strand_finalizers f;
  unsigned lines = 0, objects, all_objects = 0;
  int64_t records, all = 0;
  (void)state;
  strand_finalizers_init(&f, 100);
  for (f.count = 1000; f.count > 0; f.count--) {
    records = f.count % 2;
    if (!strand_finalizers_count_lost(&f, 100 + (1000 - f.count) / 500.0,
                                      &records, &objects))
      continue;
    lines++;
    all += records;
    all_objects += objects;
  }
  assert_int_equal(all, 500);
  assert_int_equal(all_objects, 500);
  assert_in_range(lines, STRAND_FINALIZERS_LINES, STRAND_FINALIZERS_LINES + 3);
}

/* Whoever it is: a consumer or an admin lost none. */
static void what_was_not_said_is_said_by_the_last_to_leave (void **state) {
  strand_finalizers f;
  strand_finalizers *one = &f, *other = &f;
  unsigned objects;
  int64_t records;
  (void)state;
  strand_finalizers_init(&f, 100);
  f.count = 2;
  for (int i = 0; i <= STRAND_FINALIZERS_LINES; i++) {
    records = 3;
    strand_finalizers_count_lost(&f, 100, &records, &objects);
  }
  assert_int_equal(f.lost, 3);
  strand_finalizers_leave(&one);
  assert_int_equal(f.unsaid, 1);
  strand_finalizers_leave(&other);
  assert_int_equal(f.unsaid, 0);
  assert_int_equal(f.lost, 0);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(one_has_all_of_it_and_the_next_what_is_left),
    cmocka_unit_test(a_little_is_kept_for_each_other),
    cmocka_unit_test(what_was_spent_comes_back_within_a_minute),
    cmocka_unit_test(an_object_that_is_closed_leaves_once),
    cmocka_unit_test(what_many_lost_is_said_once_a_second),
    cmocka_unit_test(what_was_not_said_is_said_by_the_last_to_leave),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
