/*
** retry_test.c - what is tried again comes when it is due, and in that order
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "core/record.h"
#include "core/retry.c"

#define RECORDS 500

static uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);

static int64_t pick (int64_t below) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (int64_t)((seed >> 11) % (uint64_t)below);
}

static strand_record records[RECORDS];

/* The record's 'timestamp_ms' is when it is due; 0: not in the heap. */
static void push (strand_retry *r, int i, int64_t at) {
  assert_int_equal(strand_retry_reserve(r), STRAND_OK);
  records[i].timestamp_ms = at;
  strand_retry_push(r, at, &records[i]);
}

static int64_t earliest (void) {
  int64_t first = INT64_MAX;
  for (int i = 0; i < RECORDS; i++) {
    int64_t at = records[i].timestamp_ms;
    if (at != 0 && at < first) first = at;
  }
  return first;
}

static bool is_odd (const strand_record *r, void *arg) {
  (void)arg;
  return ((r - records) & 1) != 0;
}

static void the_earliest_comes_first_in_every_order (void **state) {
  strand_retry r = { 0 };
  (void)state;
  for (int step = 0; step < 20000; step++) {
    int i = (int)pick(RECORDS);
    if (records[i].timestamp_ms == 0 && pick(100) < 60) {
      push(&r, i, 1 + pick(1000)); /* many are due at the same time */
    }
    else {
      int64_t now = pick(1100);
      strand_record *due = strand_retry_pop(&r, now);
      assert_true((due != NULL) == (earliest() <= now));
      if (due != NULL) {
        assert_int_equal(due->timestamp_ms, earliest());
        due->timestamp_ms = 0;
      }
    }
    if (pick(1000) == 0) {
      strand_retry_filter(&r, is_odd, NULL);
      for (int k = 1; k < RECORDS; k += 2) records[k].timestamp_ms = 0;
    }
    assert_true(strand_retry_next(&r) == earliest());
    strand_retry_check(&r);
  }
  strand_retry_free(&r);
}

static void one_that_is_not_due_stays (void **state) {
  strand_retry r = { 0 };
  (void)state;
  assert_null(strand_retry_pop(&r, INT64_MAX));
  push(&r, 0, 100);
  assert_null(strand_retry_pop(&r, 99));
  assert_ptr_equal(strand_retry_pop(&r, 100), &records[0]);
  assert_null(strand_retry_pop(&r, 100));
  assert_true(strand_retry_next(&r) == INT64_MAX);
  strand_retry_free(&r);
}

static void without_memory_nothing_is_lost (void **state) {
  strand_retry r = { 0 };
  (void)state;
  for (int i = 0; i < 16; i++) push(&r, i, 1 + i);
  fail_alloc(0);
  assert_int_equal(strand_retry_reserve(&r), STRAND_ENOMEM);
  fail_alloc(-1);
  for (int i = 0; i < 16; i++) {
    assert_ptr_equal(strand_retry_pop(&r, 100), &records[i]);
  }
  strand_retry_free(&r);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_earliest_comes_first_in_every_order),
    cmocka_unit_test(one_that_is_not_due_stays),
    cmocka_unit_test(without_memory_nothing_is_lost)
  };
  return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
