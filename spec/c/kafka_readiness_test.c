/*
** kafka_readiness_test.c - the descriptor that an event loop waits for is
** readable when it was raised, or at its time
*/
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "producer/readiness.h"

static strand_readiness readiness;

static int open_it (void **state) {
  strand_failure failure;
  (void)state;
  strand_readiness_init(&readiness);
  strand_readiness_check(&readiness);
  return !strand_readiness_open(&readiness, &failure);
}

static int close_it (void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    strand_readiness_close(&readiness);
    strand_readiness_check(&readiness);
  }
  return 0;
}

static bool is_ready (void) {
  struct pollfd fd = { readiness.fd, POLLIN, 0 };
  strand_readiness_check(&readiness);
  return poll(&fd, 1, 0) == 1;
}

static void it_is_ready_until_it_is_cleared (void **state) {
  (void)state;
  assert_false(is_ready());
  strand_readiness_raise(&readiness);
  strand_readiness_raise(&readiness);
  assert_true(is_ready());
  strand_readiness_clear(&readiness);
  assert_false(is_ready());
}

/* Which goes with the descriptors. */
static void it_is_ready_at_its_time (void **state) {
  (void)state;
  strand_readiness_set(&readiness, INT64_MAX / 2);
  assert_false(is_ready());
  strand_readiness_set(&readiness, 1); /* long ago */
  assert_true(is_ready());
  strand_readiness_clear(&readiness);
  assert_true(is_ready());
  strand_readiness_set(&readiness, 0);
  assert_false(is_ready());
  strand_readiness_set(&readiness, 1);
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_it, close_it)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(it_is_ready_until_it_is_cleared),
    spec(it_is_ready_at_its_time),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
