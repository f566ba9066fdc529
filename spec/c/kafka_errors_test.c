/*
** kafka_errors_test.c - what an error means is said once, and holds together
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../support/c11_threads.h"
#include "kafka/errors.h"

static void what_may_work_later_is_never_final (void **state) {
  const struct rd_kafka_err_desc *descs;
  size_t count;
  (void)state;
  rd_kafka_get_err_descs(&descs, &count);
  assert_true(count > 100);
  for (size_t i = 0; i < count; i++) {
    if (descs[i].name == NULL) continue;
    assert_false(strand_error_is_later(descs[i].code)
                 && strand_error_is_final(descs[i].code));
  }
}

static void a_success_is_neither (void **state) {
  (void)state;
  assert_int_equal(strand_error_kind_of(RD_KAFKA_RESP_ERR_NO_ERROR),
                   STRAND_ERROR_NONE);
  assert_false(strand_error_is_later(RD_KAFKA_RESP_ERR_NO_ERROR));
  assert_false(strand_error_is_final(RD_KAFKA_RESP_ERR_NO_ERROR));
}

static void no_error_has_the_code_of_none (void **state) {
  (void)state;
  assert_int_equal(strand_error_take(NULL), RD_KAFKA_RESP_ERR_NO_ERROR);
  assert_int_equal(
    strand_error_take(rd_kafka_error_new(RD_KAFKA_RESP_ERR__STATE, "so")),
    RD_KAFKA_RESP_ERR__STATE);
}

/* A commit that is refused for good must not be repeated as if it passed. */
static void a_refusal_is_not_for_later (void **state) {
  static const rd_kafka_resp_err_t errs[] = {
    RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE,
    RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__FATAL
  };
  (void)state;
  for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
    assert_false(strand_error_is_later(errs[i]));
  }
}

static void codes_are_librdkafkas_without_underscore (void **state) {
  const struct rd_kafka_err_desc *all;
  char a[48];
  char b[48];
  size_t count;
  size_t i;
  size_t j;
  (void)state;
  assert_string_equal(
    strand_code_of(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, a, sizeof(a)),
    "ALL_BROKERS_DOWN");
  assert_string_equal(strand_code_of(12345, a, sizeof(a)), "ERR_12345");
  rd_kafka_get_err_descs(&all, &count);
  for (i = 0; i < count; i++)
    for (j = i + 1; j < count; j++)
      if (all[i].name != NULL && all[j].name != NULL)
        assert_string_not_equal(strand_code_of(all[i].code, a, sizeof(a)),
                                strand_code_of(all[j].code, b, sizeof(b)));
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_may_work_later_is_never_final),
    cmocka_unit_test(a_success_is_neither),
    cmocka_unit_test(no_error_has_the_code_of_none),
    cmocka_unit_test(a_refusal_is_not_for_later),
    cmocka_unit_test(codes_are_librdkafkas_without_underscore),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
