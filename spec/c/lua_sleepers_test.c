/*
** lua_sleepers_test.c - who sleeps until when, beside the obvious slow answer
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "../../src/lua/local/sleepers.c"

#define MANY 100

static strand_sleepers sleepers;
static strand_sleeper each[MANY];
static uint64_t seed = 1;

static uint32_t pick (uint32_t below) {
  seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(seed >> 33) % below;
}

static int open_sleepers (void **state) {
  (void)state;
  sleepers = (strand_sleepers){ 0 };
  memset(each, 0, sizeof(each));
  assert_true(strand_sleepers_reserve(&sleepers, MANY));
  return 0;
}

static int close_sleepers (void **state) {
  (void)state;
  strand_sleepers_check(&sleepers);
  strand_sleepers_free(&sleepers);
  for (int i = 0; i < MANY; i++) assert_int_equal(each[i].at, 0);
  return 0;
}

static strand_sleeper *slow_first (void) {
  strand_sleeper *first = NULL;
  for (int i = 0; i < MANY; i++) {
    strand_sleeper *s = &each[i];
    if (s->at == 0) continue;
    if (first == NULL || s->due_us < first->due_us
        || (s->due_us == first->due_us && s->order < first->order))
      first = s;
  }
  return first;
}

static void the_first_is_who_wakes_first (void **state) {
  (void)state;
  for (int i = 0; i < 20000; i++) {
    strand_sleeper *s = &each[pick(MANY)];
    if (s->at == 0) strand_sleepers_add(&sleepers, s, pick(50));
    else strand_sleepers_remove(&sleepers, s);
    strand_sleepers_check(&sleepers);
    assert_ptr_equal(strand_sleepers_first(&sleepers), slow_first());
  }
}

static void of_one_time_they_wake_in_their_order (void **state) {
  (void)state;
  for (int i = 0; i < MANY; i++) strand_sleepers_add(&sleepers, &each[i], 7);
  for (int i = 0; i < MANY; i++) {
    assert_ptr_equal(strand_sleepers_first(&sleepers), &each[i]);
    strand_sleepers_remove(&sleepers, &each[i]);
  }
  assert_null(strand_sleepers_first(&sleepers));
}

static void who_does_not_sleep_may_be_removed (void **state) {
  (void)state;
  strand_sleepers_add(&sleepers, &each[0], 1);
  strand_sleepers_remove(&sleepers, &each[1]);
  strand_sleepers_remove(&sleepers, &each[0]);
  strand_sleepers_remove(&sleepers, &each[0]);
  assert_int_equal(sleepers.count, 0);
}

static void without_memory_those_that_sleep_sleep_on (void **state) {
  uint32_t room = sleepers.capacity;
  (void)state;
  for (int i = 0; i < MANY; i++) {
    strand_sleepers_add(&sleepers, &each[i], MANY - i);
  }
  alloc_none = true;
  assert_true(strand_sleepers_reserve(&sleepers, room));
  assert_false(strand_sleepers_reserve(&sleepers, room + 1));
  alloc_none = false;
  assert_int_equal(sleepers.capacity, room);
  assert_ptr_equal(strand_sleepers_first(&sleepers), &each[MANY - 1]);
  assert_true(strand_sleepers_reserve(&sleepers, room + 1));
  assert_true(sleepers.capacity > room);
  assert_ptr_equal(strand_sleepers_first(&sleepers), &each[MANY - 1]);
}

#define spec(f)                                                               \
  cmocka_unit_test_setup_teardown(f, open_sleepers, close_sleepers)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(the_first_is_who_wakes_first),
    spec(of_one_time_they_wake_in_their_order),
    spec(who_does_not_sleep_may_be_removed),
    spec(without_memory_those_that_sleep_sleep_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
