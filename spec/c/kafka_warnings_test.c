/*
** kafka_warnings_test.c - failures that nobody takes are said, and not too
** often
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../support/c11_threads.h"
#include "shared/warnings.h"

#define SECOND INT64_C(1000000)

static strand_log *lines;
static strand_warnings *warnings;

static int set_up (void **state) {
  (void)state;
  lines = strand_log_new(0);
  warnings = strand_warnings_new(lines);
  return lines == NULL || warnings == NULL;
}

static int tear_down (void **state) {
  (void)state;
  strand_warnings_free(warnings);
  strand_log_release(lines);
  return 0;
}

static void take (const char *type, const char *reason, int64_t now_us) {
  strand_event event = strand_event_of(type, 0);
  strand_event_set_topic(&event, "t", 3);
  event.offset = 7;
  strand_event_set_reason(&event, reason, strlen(reason));
  strand_warnings_take(warnings, &event, now_us);
  strand_event_clear(&event);
}

static void expect (const char *text) {
  strand_log_line line;
  assert_true(strand_log_pop(lines, &line));
  assert_string_equal(line.text, text);
  assert_int_equal(line.level, STRAND_LOG_WARNING);
}

static void those_alike_are_counted_and_said_a_second_later (void **state) {
  (void)state;
  take("record_failed", "no row 1\nstack traceback: ...", 5 * SECOND);
  take("record_failed", "no row 22", 5 * SECOND + 1);
  take("record_failed", "no row 333", 6 * SECOND - 1);
  take("record_failed", "another", 6 * SECOND - 1);
  expect("record_failed t/3/7: no row 1");
  expect("record_failed t/3/7: another");
  assert_true(strand_log_is_empty(lines));
  strand_warnings_tick(warnings, 6 * SECOND - 1);
  assert_true(strand_log_is_empty(lines));
  strand_warnings_tick(warnings, 6 * SECOND);
  expect("record_failed t/3/7: no row 333 (and 1 more like it)");
  strand_warnings_tick(warnings, 60 * SECOND);
  assert_true(strand_log_is_empty(lines));
  take("record_failed", "no row 4", 60 * SECOND);
  expect("record_failed t/3/7: no row 4");
}

static void too_many_kinds_are_counted (void **state) {
  char reason[16] = "";
  strand_log_line line;
  int said = 0;
  (void)state;
  for (int i = 0; i < STRAND_WARNINGS_MAX + 5; i++) {
    memset(reason, 'a' + i % 26, 1 + (size_t)i / 26);
    take("parked", reason, SECOND);
  }
  while (strand_log_pop(lines, &line)) said++;
  assert_int_equal(said, STRAND_WARNINGS_MAX);
  strand_warnings_tick(warnings, 3 * SECOND);
  expect("5 more warnings, of too many kinds to say");
  take("parked", "one that is new", 3 * SECOND);
  expect("parked t/3/7: one that is new");
}

static void a_long_reason_is_cut_and_its_code_is_not (void **state) {
  char reason[1000];
  strand_event event = strand_event_of("parked", 0);
  strand_log_line line;
  (void)state;
  memset(reason, 'x', sizeof(reason));
  strand_event_set_topic(&event, "t", 3);
  strand_event_set_reason(&event, reason, sizeof(reason));
  snprintf(event.code, sizeof(event.code), "TOO_LARGE");
  strand_warnings_take(warnings, &event, SECOND);
  strand_event_clear(&event);
  assert_true(strand_log_pop(lines, &line));
  assert_ptr_equal(strstr(line.text, "parked t/3: xxx"), line.text);
  assert_non_null(strstr(line.text, "xxx... (TOO_LARGE)"));
}

/* Of a record that is slow. */
static void a_traceback_is_said_by_its_innermost_place_in_lua (void **state) {
  (void)state;
  take("slow_record",
       "stack traceback:\n\t[C]: in function 'sleep'\n"
       "\tbill.lua:7: in function <bill.lua:3>\n\t[C]: in ?",
       SECOND);
  take("slow_record", "stack traceback:\n\t[C]: in ?", SECOND);
  take("slow_record", "stack traceback:", SECOND);
  expect("slow_record t/3/7: bill.lua:7: in function <bill.lua:3>");
  expect("slow_record t/3/7: [C]: in ?");
  expect("slow_record t/3/7: stack traceback:");
}

static void what_is_no_failure_is_not_said (void **state) {
  static const char *const types[] = { "assigned", "revoked", "restored",
                                       "sought", "unreachable" };
  (void)state;
  for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
    take(types[i], "x", SECOND);
  }
  assert_true(strand_log_is_empty(lines));
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(
      those_alike_are_counted_and_said_a_second_later, set_up, tear_down),
    cmocka_unit_test_setup_teardown(too_many_kinds_are_counted, set_up,
                                    tear_down),
    cmocka_unit_test_setup_teardown(a_long_reason_is_cut_and_its_code_is_not,
                                    set_up, tear_down),
    cmocka_unit_test_setup_teardown(
      a_traceback_is_said_by_its_innermost_place_in_lua, set_up, tear_down),
    cmocka_unit_test_setup_teardown(what_is_no_failure_is_not_said, set_up,
                                    tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
