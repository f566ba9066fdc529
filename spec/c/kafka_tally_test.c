/*
** kafka_tally_test.c - what is committed is kept, also when memory runs out
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "../../src/shared/tally.c"

#define PARTITIONS 200 /* enough to make the table grow, some times */

static strand_tally tally;

static int open_tally (void **state) {
  (void)state;
  strand_tally_init(&tally);
  return 0;
}

static int close_tally (void **state) {
  (void)state;
  strand_tally_check(&tally);
  strand_tally_free(&tally);
  return 0;
}

static size_t committed (strand_place **places) {
  size_t count;
  *places = strand_tally_committed(&tally, &count);
  assert_non_null(*places);
  return count;
}

static void the_last_offset_of_each_is_kept_in_order (void **state) {
  strand_place *places;
  (void)state;
  for (int64_t round = 0; round < 3; round++) {
    for (int32_t i = 0; i < PARTITIONS; i++) note(&tally, "t", i, round + i);
  }
  assert_int_equal(committed(&places), PARTITIONS);
  for (int32_t i = 0; i < PARTITIONS; i++) {
    assert_string_equal(places[i].topic, "t");
    assert_int_equal(places[i].partition, i);
    assert_int_equal(places[i].offset, 2 + i);
  }
  free(places);
}

/* Not kept is not half kept; and what is known needs no memory. */
static void without_memory_a_new_one_is_not_kept (void **state) {
  strand_place *places;
  (void)state;
  note(&tally, "t", 0, 5);
  fail_alloc(0);
  note(&tally, "u", 0, 1);
  assert_true(alloc_failed);
  fail_alloc(0);
  note(&tally, "t", 0, 6);
  assert_false(alloc_failed);
  fail_alloc(-1);
  assert_int_equal(committed(&places), 1);
  assert_int_equal(places[0].offset, 6);
  free(places);
  note(&tally, "u", 0, 2);
  assert_int_equal(committed(&places), 2);
  assert_string_equal(places[1].topic, "u");
  assert_int_equal(places[1].offset, 2);
  free(places);
}

static void it_counts (void **state) {
  const strand_failure failure = { "TIMED_OUT", "the last one" };
  strand_counts counts;
  (void)state;
  strand_tally_join(&tally, true);
  strand_tally_join(&tally, true);
  strand_tally_join(&tally, false);
  strand_tally_leave(&tally);
  strand_tally_commit_failed(&tally);
  strand_tally_lose(&tally, 7);
  strand_tally_lose(&tally, 1);
  strand_tally_fail(&tally, &failure);
  strand_tally_read(&tally, &counts);
  assert_int_equal(counts.rebalances, 3);
  assert_int_equal(counts.joined, 1);
  assert_int_equal(counts.commits, 0);
  assert_int_equal(counts.commits_failed, 1);
  assert_int_equal(counts.lost, 8);
  assert_string_equal(counts.failure.code, "TIMED_OUT");
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_tally, close_tally)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(the_last_offset_of_each_is_kept_in_order),
    spec(without_memory_a_new_one_is_not_kept),
    spec(it_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
