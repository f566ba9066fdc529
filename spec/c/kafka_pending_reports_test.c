/*
** kafka_pending_reports_test.c - an id finds the record that it was given for,
** or nothing
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "producer/pending_reports.h"

#define MANY 1000

static strand_pending_report *add (strand_pending_reports *all) {
  strand_delivery *room = strand_delivery_room("t", 0);
  strand_pending_report *pending = strand_pending_reports_add(all, room);
  assert_non_null(room);
  assert_non_null(pending);
  strand_pending_reports_check(all);
  return pending;
}

static void ids_differ_and_find_their_own (void **state) {
  strand_pending_reports all = { 0 };
  int64_t ids[MANY];
  (void)state;
  for (int i = 0; i < MANY; i++) ids[i] = add(&all)->id;
  for (int i = 0; i < MANY; i++) {
    assert_int_equal(strand_pending_reports_find(&all, ids[i])->id, ids[i]);
    assert_true(ids[i] < (int64_t)1 << 53);
  }
  assert_null(strand_pending_reports_find(&all, -1));
  assert_null(strand_pending_reports_find(&all, MANY * 2));
  strand_pending_reports_destroy(&all, true);
}

static void a_slot_is_used_again_under_another_id (void **state) {
  strand_pending_reports all = { 0 };
  int64_t before = 0;
  (void)state;
  for (int i = 0; i < MANY; i++) {
    strand_pending_report *pending = add(&all);
    int64_t id = pending->id;
    assert_true(id != before);
    if (i > 0) assert_null(strand_pending_reports_find(&all, before));
    free(strand_pending_reports_remove(&all, pending));
    strand_pending_reports_check(&all);
    before = id;
  }
  assert_int_equal(all.size, 16);
  strand_pending_reports_destroy(&all, true);
}

static void what_is_done_waits_to_be_taken (void **state) {
  strand_pending_reports all = { 0 };
  strand_pending_report *first = add(&all), *second = add(&all);
  (void)state;
  strand_pending_reports_finish(&all, first);
  strand_pending_reports_check(&all);
  assert_int_equal(all.ready, 1);
  assert_true(first->done);
  assert_false(second->done);
  strand_pending_reports_drop(&all, first); /* it was looked at */
  strand_pending_reports_check(&all);
  assert_int_equal(all.ready, 0);
  strand_pending_reports_destroy(&all, true);
}

/* The record still points to it: so it stays until the report comes. */
static void what_is_dropped_in_flight_is_found_no_more (void **state) {
  strand_pending_reports all = { 0 };
  strand_pending_report *pending = add(&all);
  int64_t id = pending->id;
  (void)state;
  strand_pending_reports_drop(&all, pending);
  strand_pending_reports_check(&all);
  assert_null(strand_pending_reports_find(&all, id));
  assert_int_equal(all.free_count, all.size - 1);
  strand_pending_reports_finish(&all, pending);
  strand_pending_reports_check(&all);
  assert_int_equal(all.ready, 0);
  assert_int_equal(all.free_count, all.size);
  strand_pending_reports_destroy(&all, true);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(ids_differ_and_find_their_own),
    cmocka_unit_test(a_slot_is_used_again_under_another_id),
    cmocka_unit_test(what_is_done_waits_to_be_taken),
    cmocka_unit_test(what_is_dropped_in_flight_is_found_no_more)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
