/*
** payload_memory_test.c - reading a payload when memory runs out
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#pragma GCC diagnostic ignored "-Wunused-function" /* only realloc is used */
#include "failing_alloc.h"

#include "codec/payload_decode.c"

#define LENGTHS 20000

static char text[1 << 17];

/* As many runs of one offset as there is room for: the list grows often. */
static size_t many_runs (void) {
  size_t size = 1 + 4 * LENGTHS;
  uint8_t *bytes = strand_base64_place(text, size);
  memset(bytes, 0, size);
  bytes[0] = 'e';
  for (size_t i = 0; i < LENGTHS; i++) bytes[1 + 4 * i + 3] = 1;
  strand_base64_encode(text, size);
  return strand_base64_length(size);
}

static void
an_allocation_that_fails_is_said_and_leaves_nothing (void **state) {
  size_t length = many_runs();
  long n = 0;
  (void)state;
  for (;; n++) {
    strand_payload p;
    const char *problem = NULL;
    strand_err err;
    fail_alloc(n);
    err = strand_payload_decode(41, text, length, &p, &problem);
    if (!alloc_failed) {
      assert_int_equal(err, STRAND_OK);
      assert_int_equal(p.run_count, LENGTHS / 2);
      strand_payload_free(&p);
      break;
    }
    assert_int_equal(err, STRAND_ENOMEM);
    assert_null(p.runs);
    assert_string_equal(problem, "not enough memory");
  }
  assert_true(n > 5);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_allocation_that_fails_is_said_and_leaves_nothing),
  };
  return cmocka_run_group_tests_name("payload_memory", tests, NULL, NULL);
}
