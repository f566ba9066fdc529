/*
** kafka_stop_test.c - who asks for the end first says why, and it is told once
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/stop.h"

static strand_stop stop;

static int open_stop (void **state) {
  (void)state;
  strand_stop_init(&stop);
  return 0;
}

static int close_stop (void **state) {
  (void)state;
  strand_stop_check(&stop);
  strand_stop_free(&stop);
  return 0;
}

static void who_asks_first_says_why (void **state) {
  strand_close_mode mode;
  strand_failure reason;
  (void)state;
  assert_false(strand_stop_halts(&stop));
  assert_true(strand_stop_ask(&stop, STRAND_CLOSE_DRAIN, "STOPPED", "enough"));
  strand_stop_check(&stop);
  assert_false(strand_stop_ask(&stop, STRAND_CLOSE_NOW, "FATAL", "another"));
  assert_true(strand_stop_halts(&stop));
  assert_true(strand_stop_waits(&stop, &mode, &reason));
  assert_int_equal(mode, STRAND_CLOSE_DRAIN);
  assert_string_equal(reason.code, "STOPPED");
}

static void it_is_told_once (void **state) {
  strand_close_mode mode;
  strand_failure reason;
  (void)state;
  strand_stop_ask(&stop, STRAND_CLOSE_FINISH, "STOPPED", "enough");
  strand_stop_tell(&stop);
  assert_false(strand_stop_waits(&stop, &mode, &reason));
  assert_true(strand_stop_is_asked(&stop, &reason)); /* as long as it lasts */
  assert_string_equal(reason.message, "enough");
}

/* A program closes by itself: what is asked for after that is still told. */
static void what_nobody_asked_for_is_not_told (void **state) {
  strand_close_mode mode;
  strand_failure reason;
  (void)state;
  strand_stop_tell(&stop);
  strand_stop_check(&stop);
  assert_false(strand_stop_is_asked(&stop, &reason));
  strand_stop_ask(&stop, STRAND_CLOSE_NOW, "FATAL", "late");
  assert_true(strand_stop_waits(&stop, &mode, &reason));
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_stop, close_stop)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(who_asks_first_says_why),
    spec(it_is_told_once),
    spec(what_nobody_asked_for_is_not_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
