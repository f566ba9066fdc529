/*
** kafka_log_test.c - a line that waits for somebody wakes who sleeps for it
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "kafka/log.h"

static strand_log *lines;
static int fd;

static int open_log (void **state) {
  (void)state;
  lines = strand_log_new(0);
  fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return lines == NULL || fd < 0;
}

static int close_log (void **state) {
  (void)state;
  strand_log_release(lines);
  return close(fd);
}

static bool is_told (void) {
  eventfd_t count;
  return eventfd_read(fd, &count) == 0;
}

static void a_line_makes_the_descriptor_readable (void **state) {
  strand_log_line line;
  (void)state;
  strand_log_set_fd(lines, fd);
  assert_false(is_told());
  strand_log_push(lines, STRAND_LOG_WARNING, "strand", "one");
  assert_true(is_told());
  strand_log_push(lines, STRAND_LOG_WARNING, "strand", "two");
  assert_true(is_told()); /* the first was not taken: told again */
  assert_true(strand_log_pop(lines, &line));
  assert_string_equal(line.text, "one");
}

/* The number may be another file's by then. */
static void a_descriptor_that_was_taken_back_is_left_alone (void **state) {
  (void)state;
  strand_log_set_fd(lines, fd);
  strand_log_set_fd(lines, -1);
  strand_log_push(lines, STRAND_LOG_WARNING, "strand", "three");
  assert_false(is_told());
  assert_false(strand_log_is_empty(lines));
}

static void a_line_too_many_drops_the_oldest (void **state) {
  strand_log_line line;
  char text[16];
  (void)state;
  for (int i = 0; i <= STRAND_LOG_LINES_MAX; i++) {
    snprintf(text, sizeof(text), "%d", i);
    strand_log_push(lines, STRAND_LOG_WARNING, "strand", text);
  }
  assert_int_equal(strand_log_dropped(lines), 1);
  assert_true(strand_log_pop(lines, &line));
  assert_string_equal(line.text, "1");
}

static void what_comes_from_outside_comes_out_as_text (void **state) {
  strand_log_line line;
  (void)state;
  strand_log_push(lines, STRAND_LOG_WARNING, "FA\tIL", "a\x1b[2Jtopic\n");
  assert_true(strand_log_pop(lines, &line));
  assert_string_equal(line.facility, "FA\\x09IL");
  assert_string_equal(line.text, "a\\x1b[2Jtopic");
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(a_line_makes_the_descriptor_readable,
                                    open_log, close_log),
    cmocka_unit_test_setup_teardown(
      a_descriptor_that_was_taken_back_is_left_alone, open_log, close_log),
    cmocka_unit_test_setup_teardown(a_line_too_many_drops_the_oldest, open_log,
                                    close_log),
    cmocka_unit_test_setup_teardown(what_comes_from_outside_comes_out_as_text,
                                    open_log, close_log),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
