/*
** kafka_pending_reports_test.c - a report is given once: when the record is
** reported, or when its own time is over, whichever comes first
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "producer/pending_reports.h"

#define MANY 1000

static strand_pending_report *add (strand_pending_reports *all,
                                   int64_t due_us) {
  strand_delivery *report = strand_delivery_open("t", NULL, 0);
  strand_pending_report *pending = strand_pending_reports_add(all, report,
                                                              due_us);
  assert_non_null(report);
  assert_non_null(pending);
  strand_pending_reports_check(all);
  return pending;
}

/* Where its report was, or 0. */
static uintptr_t expired (strand_pending_reports *all, int64_t now_us) {
  strand_delivery *report = strand_pending_reports_expire(all, now_us);
  uintptr_t place = (uintptr_t)report;
  strand_pending_reports_check(all);
  free(report);
  return place;
}

static void without_a_time_it_waits_for_its_report (void **state) {
  strand_pending_reports all;
  strand_pending_report *pending;
  strand_delivery *report;
  (void)state;
  strand_pending_reports_init(&all);
  pending = add(&all, 0);
  report = pending->report;
  assert_int_equal(strand_pending_reports_due_us(&all), 0);
  assert_false(expired(&all, INT64_MAX));
  assert_ptr_equal(strand_pending_reports_end(&all, pending), report);
  free(report);
  strand_pending_reports_free(&all, true);
}

/* Of a record that was out nobody knows whether it was sent. */
static void an_abort_says_of_a_record_what_is_known (void **state) {
  strand_delivery_end end = { .err = RD_KAFKA_RESP_ERR__PURGE_QUEUE,
                              .detail = "",
                              .certain = true,
                              .topic = "t" };
  strand_delivery *report = strand_delivery_new(&end);
  (void)state;
  strand_delivery_abort(report);
  assert_string_equal(report->code, "ABORTED");
  assert_non_null(strstr(report->error, "before the record was sent"));
  free(report);
  end.err = RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
  end.certain = false;
  report = strand_delivery_new(&end);
  strand_delivery_abort(report);
  assert_string_equal(report->code, "ABORTED");
  assert_non_null(strstr(report->error, "before the record was acknowledged"));
  free(report);
}

static void a_report_that_is_in_time_is_given_once (void **state) {
  strand_pending_reports all;
  strand_pending_report *pending;
  strand_delivery *report;
  (void)state;
  strand_pending_reports_init(&all);
  pending = add(&all, 100);
  report = pending->report;
  assert_int_equal(strand_pending_reports_due_us(&all), 100);
  assert_false(expired(&all, 99));
  assert_ptr_equal(strand_pending_reports_end(&all, pending), report);
  free(report);
  assert_int_equal(strand_pending_reports_due_us(&all), 0);
  assert_false(expired(&all, 1000));
  strand_pending_reports_free(&all, true);
}

/* The record still points to it: so it stays until the report comes. */
static void a_report_that_is_late_is_not_given_again (void **state) {
  strand_pending_reports all;
  strand_pending_report *pending;
  uintptr_t report;
  (void)state;
  strand_pending_reports_init(&all);
  pending = add(&all, 100);
  report = (uintptr_t)pending->report;
  assert_true(expired(&all, 100) == report);
  assert_int_equal(strand_pending_reports_due_us(&all), 0);
  assert_false(expired(&all, 1000));
  assert_null(strand_pending_reports_end(&all, pending));
  strand_pending_reports_check(&all);
  strand_pending_reports_free(&all, true);
}

static uint32_t seed = 1;

static uint32_t dice (uint32_t sides) {
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) % sides;
}

/* The obvious slow answer. */
static int64_t lowest (strand_pending_report *const *all) {
  int64_t least = 0;
  for (int i = 0; i < MANY; i++) {
    if (all[i] == NULL || all[i]->due_us == 0) continue;
    if (least == 0 || all[i]->due_us < least) least = all[i]->due_us;
  }
  return least;
}

/* In any order of adding, ending and passing time. */
static void the_first_that_is_due_is_the_first_that_ends (void **state) {
  static strand_pending_report *records[MANY];
  strand_pending_reports all;
  int64_t now_us = 1;
  (void)state;
  strand_pending_reports_init(&all);
  for (int step = 0; step < 20 * MANY; step++) {
    uint32_t i = dice(MANY);
    if (records[i] == NULL) {
      records[i] = add(&all, dice(4) == 0 ? 0 : now_us + dice(5000) + 1);
    }
    else if (dice(2) == 0) {
      free(strand_pending_reports_end(&all, records[i]));
      records[i] = NULL;
    }
    now_us += dice(3);
    assert_int_equal(strand_pending_reports_due_us(&all), lowest(records));
    while (expired(&all, now_us)) continue;
    assert_true(lowest(records) == 0 || lowest(records) > now_us);
  }
  strand_pending_reports_free(&all, true);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_a_time_it_waits_for_its_report),
    cmocka_unit_test(an_abort_says_of_a_record_what_is_known),
    cmocka_unit_test(a_report_that_is_in_time_is_given_once),
    cmocka_unit_test(a_report_that_is_late_is_not_given_again),
    cmocka_unit_test(the_first_that_is_due_is_the_first_that_ends)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
