/*
** thousands_test.c - ten thousand partitions cost no more each than a few
**
** Measured in time of the processor, which other work on the machine does not
** add to. Searches among all took seconds, of an owner that must poll, and
** partly under the consumer's lock.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "core/ownership.h"

#define TOPICS 2500
#define PARTITIONS 4 /* of each */
#define MOST 0.2     /* seconds; it takes a hundredth */

static double cpu_seconds (void) {
  return (double)clock() / CLOCKS_PER_SEC;
}

static void check_cost (double since, const char *what) {
  double used = cpu_seconds() - since;
  print_message("figure %s_ms %.0f\n", what, used * 1000);
  assert_true(used < MOST);
}

static const char *name_of (int topic) {
  static char name[32];
  snprintf(name, sizeof(name), "some.longer.topic-%d", topic);
  return name;
}

static void holders_are_found_among_thousands (void **state) {
  strand_ownership table = { 0 };
  double since = cpu_seconds();
  (void)state;
  for (int i = 0; i < TOPICS * PARTITIONS; i++) {
    const char *topic = name_of(i / PARTITIONS);
    assert_int_equal(strand_ownership_assign(&table, topic, i % PARTITIONS, 3),
                     1);
  }
  for (int i = 0; i < TOPICS * PARTITIONS; i++) {
    const char *topic = name_of(i / PARTITIONS);
    assert_int_equal(strand_ownership_member(&table, topic, i % PARTITIONS),
                     3);
    strand_ownership_unassign(&table, topic, i % PARTITIONS, 3);
    assert_int_equal(strand_ownership_member(&table, topic, i % PARTITIONS),
                     -1);
  }
  check_cost(since, "holders_of_10000_partitions");
  strand_ownership_check(&table);
  strand_ownership_free(&table);
}

static void ignore_notice (void *arg, const strand_notice *notice) {
  (void)arg;
  (void)notice;
}

static void ignore_orphan (void *arg, const strand_orphan *orphan) {
  (void)arg;
  (void)orphan;
}

static void thousands_are_assigned_and_revoked_at_once (void **state) {
  static strand_partition *all[TOPICS * PARTITIONS];
  strand_route_limits route = { 0 };
  strand_engine_config config = { .max_buffered_records = 100000,
                                  .max_buffered_bytes = 1u << 28,
                                  .routes = &route,
                                  .route_count = 1,
                                  .notice = ignore_notice,
                                  .release = ignore_orphan };
  strand_engine *e = strand_engine_new(&config);
  double since = cpu_seconds();
  (void)state;
  assert_non_null(e);
  for (int i = 0; i < TOPICS * PARTITIONS; i++) {
    all[i] = strand_engine_assign(e, name_of(i / PARTITIONS), i % PARTITIONS,
                                  1, 0, NULL, 0);
    assert_non_null(all[i]);
    strand_engine_pause(e, all[i], false);
  }
  for (int i = 0; i < TOPICS * PARTITIONS; i++) {
    assert_int_equal(strand_engine_restored(e, all[i], 0, NULL), STRAND_OK);
    assert_true(strand_engine_may_read(e, all[i]));
  }
  for (int i = 0; i < TOPICS * PARTITIONS; i++) {
    strand_engine_revoking(e, all[i]);
  }
  for (int i = 0; i < TOPICS * PARTITIONS; i++) {
    strand_engine_revoke(e, all[i], ignore_orphan, NULL);
  }
  strand_engine_free(e);
  check_cost(since, "engine_of_10000_partitions");
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(holders_are_found_among_thousands),
    cmocka_unit_test(thousands_are_assigned_and_revoked_at_once)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
