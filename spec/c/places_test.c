/*
** places_test.c - what was put is found until it is taken out, and nothing
** else is
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "core/places.c"

#define TOPICS 40
#define PARTITIONS 25

static uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);

static int pick (int below) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (int)((seed >> 11) % (uint64_t)below);
}

static char topics[TOPICS][32];
static char values[TOPICS][PARTITIONS];
static bool there[TOPICS][PARTITIONS];

static void name_topics (void) {
  for (int t = 0; t < TOPICS; t++) {
    snprintf(topics[t], sizeof(topics[t]), "topic-%d", t);
  }
}

static void check_all (const strand_places *places) {
  size_t count = 0;
  strand_places_check(places);
  for (int t = 0; t < TOPICS; t++) {
    for (int p = 0; p < PARTITIONS; p++) {
      void *found = strand_places_get(places, topics[t], p);
      assert_ptr_equal(found, there[t][p] ? &values[t][p] : NULL);
      count += there[t][p];
    }
  }
  assert_int_equal(places->count, count);
}

static void what_was_put_is_found_until_it_is_taken_out (void **state) {
  strand_places places = { 0 };
  (void)state;
  name_topics();
  for (int step = 0; step < 200000; step++) {
    int t = pick(TOPICS), p = pick(PARTITIONS);
    if (there[t][p]) {
      strand_places_take(&places, topics[t], p, &values[t][p]);
    }
    else if (pick(3) > 0) {
      assert_int_equal(strand_places_room(&places), STRAND_OK);
      strand_places_put(&places, topics[t], p, &values[t][p]);
      there[t][p] = true;
      continue;
    }
    there[t][p] = false;
    if (step % 1000 == 0) check_all(&places);
  }
  check_all(&places);
  strand_places_free(&places);
}

static void of_two_of_a_name_the_right_one_goes (void **state) {
  strand_places places = { 0 };
  char first, second;
  (void)state;
  strand_places_take(&places, "t", 0, &first); /* of an empty table */
  assert_int_equal(strand_places_room(&places), STRAND_OK);
  strand_places_put(&places, "t", 0, &first);
  strand_places_put(&places, "t", 0, &second);
  strand_places_take(&places, "t", 0, &first);
  assert_ptr_equal(strand_places_get(&places, "t", 0), &second);
  strand_places_take(&places, "t", 0, &first); /* it is gone */
  strand_places_take(&places, "t", 0, &second);
  assert_null(strand_places_get(&places, "t", 0));
  assert_int_equal(places.count, 0);
  strand_places_free(&places);
}

static void without_memory_it_stays_as_it_was (void **state) {
  strand_places places = { 0 };
  (void)state;
  name_topics();
  fail_alloc(0);
  assert_int_equal(strand_places_room(&places), STRAND_ENOMEM);
  fail_alloc(-1);
  for (int p = 0; p < 8; p++) {
    assert_int_equal(strand_places_room(&places), STRAND_OK);
    strand_places_put(&places, topics[0], p, &values[0][p]);
  }
  fail_alloc(0);
  assert_int_equal(strand_places_room(&places), STRAND_ENOMEM);
  fail_alloc(-1);
  for (int p = 0; p < 8; p++) {
    assert_ptr_equal(strand_places_get(&places, topics[0], p), &values[0][p]);
  }
  strand_places_free(&places);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_was_put_is_found_until_it_is_taken_out),
    cmocka_unit_test(of_two_of_a_name_the_right_one_goes),
    cmocka_unit_test(without_memory_it_stays_as_it_was)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
