/*
** kafka_flushing_test.c - nothing lingers while somebody waits, and only then
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "producer/flushing.h"
#include "../support/c11_threads.h"

/* A client without a broker, whose thread flushes nothing. */
static rd_kafka_t *client;
static strand_calls *calls;
static strand_placement placement;

static int open_client (void **state) {
  char errstr[256];
  (void)state;
  client = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, errstr, sizeof(errstr));
  if (client == NULL) return -1;
  calls = strand_calls_new(client, -1, &placement);
  return calls != NULL ? 0 : -1;
}

static int close_client (void **state) {
  (void)state;
  strand_calls_free(calls);
  rd_kafka_destroy(client);
  strand_placement_free(&placement);
  return 0;
}

static bool hastens (strand_flushing *f, int64_t outstanding) {
  strand_flushing_update(f, calls, outstanding);
  strand_flushing_check(f, outstanding);
  return f->hastens;
}

static void nobody_waits_and_records_linger (void **state) {
  strand_flushing f = { .linger_ms = 5000 };
  (void)state;
  assert_false(hastens(&f, 0));
  assert_false(hastens(&f, 10));
}

static void a_flush_of_all_ends_with_the_last_record (void **state) {
  strand_flushing f = { .linger_ms = 5000 };
  (void)state;
  strand_flushing_begin(&f);
  assert_true(hastens(&f, 2));
  assert_true(hastens(&f, 1));
  assert_false(hastens(&f, 0));
  assert_false(f.all);
  assert_false(hastens(&f, 1)); /* sent after it */
}

static void a_flush_of_nothing_is_over_at_once (void **state) {
  strand_flushing f = { .linger_ms = 5000 };
  (void)state;
  strand_flushing_begin(&f);
  assert_false(hastens(&f, 0));
  assert_false(f.all);
}

static void
a_short_linger_is_waited_for_but_not_by_who_hurries (void **state) {
  strand_flushing f = { .linger_ms = 100 };
  (void)state;
  strand_flushing_begin(&f);
  assert_false(hastens(&f, 1));
  strand_flushing_hurry(&f, true);
  assert_true(hastens(&f, 1));
  strand_flushing_hurry(&f, false);
  assert_false(hastens(&f, 1));
  f.linger_ms = 0;
  strand_flushing_hurry(&f, true);
  assert_false(hastens(&f, 1)); /* nothing lingers anyway */
}

static void as_many_must_end_as_began (void **state) {
  strand_flushing f = { .linger_ms = 5 };
  (void)state;
  strand_flushing_hurry(&f, false); /* once too often */
  strand_flushing_hurry(&f, true);
  strand_flushing_hurry(&f, true);
  assert_true(hastens(&f, 3));
  strand_flushing_hurry(&f, false);
  assert_true(hastens(&f, 2));
  strand_flushing_hurry(&f, false);
  assert_false(hastens(&f, 1));
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(nobody_waits_and_records_linger),
    cmocka_unit_test(a_flush_of_all_ends_with_the_last_record),
    cmocka_unit_test(a_flush_of_nothing_is_over_at_once),
    cmocka_unit_test(a_short_linger_is_waited_for_but_not_by_who_hurries),
    cmocka_unit_test(as_many_must_end_as_began)
  };
  return cmocka_run_group_tests(tests, open_client, close_client);
}
