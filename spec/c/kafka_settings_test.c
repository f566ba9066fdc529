/*
** kafka_settings_test.c - rules of pause: which partitions they stop, and which
** of them a new one takes away; and which topics a route takes
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "../../src/shared/settings.c"
#include "shared/routes.h"

static strand_settings settings;

static int open_settings (void **state) {
  const strand_consumer_config config = { .limits = { .workers = 3 } };
  (void)state;
  assert_true(strand_settings_init(&settings, &config));
  return 0;
}

static int close_settings (void **state) {
  (void)state;
  strand_settings_check(&settings);
  strand_settings_free(&settings);
  return 0;
}

static bool is_paused (const char *topic, int32_t partition) {
  return strand_settings_paused(&settings, topic, partition);
}

static void a_rule_stops_what_it_names (void **state) {
  (void)state;
  assert_false(is_paused("a", 1));
  assert_true(strand_settings_pause(&settings, "a", 1));
  assert_true(is_paused("a", 1));
  assert_false(is_paused("a", 2));
  assert_false(is_paused("b", 1));
  assert_true(strand_settings_pause(&settings, "b", -1));
  assert_true(is_paused("b", 1));
  assert_true(strand_settings_pause(&settings, NULL, -1));
  assert_true(is_paused("c", 0));
}

/* The same again, or more: one rule. */
static void a_rule_takes_the_place_of_those_that_it_covers (void **state) {
  (void)state;
  for (int32_t i = 0; i < 4; i++) {
    assert_true(strand_settings_pause(&settings, "a", i));
    assert_true(strand_settings_pause(&settings, "a", i));
    assert_true(strand_settings_pause(&settings, "b", i));
  }
  assert_int_equal(settings.rule_count, 8);
  assert_true(strand_settings_pause(&settings, "a", -1));
  assert_int_equal(settings.rule_count, 5);
  assert_true(is_paused("b", 3));
  assert_true(strand_settings_pause(&settings, NULL, -1));
  assert_int_equal(settings.rule_count, 1);
}

/* A wider rule stays: it is resumed as it was paused. */
static void resuming_takes_away_what_it_covers (void **state) {
  (void)state;
  for (int32_t i = 0; i < 4; i++) {
    assert_true(strand_settings_pause(&settings, "a", i));
  }
  assert_true(strand_settings_pause(&settings, "b", -1));
  strand_settings_resume(&settings, "a", 2);
  assert_false(is_paused("a", 2));
  assert_true(is_paused("a", 0) && is_paused("a", 3));
  strand_settings_resume(&settings, "b", 2);
  assert_true(is_paused("b", 2));
  strand_settings_resume(&settings, "b", -1);
  assert_false(is_paused("b", 2));
  strand_settings_resume(&settings, NULL, -1);
  assert_int_equal(settings.rule_count, 0);
}

static void without_memory_the_rules_are_as_they_were (void **state) {
  (void)state;
  assert_true(strand_settings_pause(&settings, "a", 1));
  fail_alloc(0);
  assert_false(strand_settings_pause(&settings, "a", -1));
  assert_true(alloc_failed);
  fail_alloc(-1);
  assert_true(is_paused("a", 1));
  assert_false(is_paused("a", 2));
  assert_int_equal(settings.rule_count, 1);
}

static void limits_are_a_copy (void **state) {
  strand_limits limits = strand_settings_limits(&settings);
  (void)state;
  assert_int_equal(limits.workers, 3);
  limits.workers = 5;
  assert_int_equal(strand_settings_limits(&settings).workers, 3);
  strand_settings_limit(&settings, &limits);
  assert_int_equal(strand_settings_limits(&settings).workers, 5);
}

/* Who opens a consumer may free its own meanwhile. */
static void properties_of_dead_letters_are_copies (void **state) {
  const strand_property property = { "acks", "all" };
  const strand_consumer_config config = {
    .dead_letters = { .topic = "dead", .kafka = &property, .kafka_count = 1 }
  };
  strand_settings other;
  (void)state;
  assert_true(strand_settings_init(&other, &config));
  strand_settings_check(&other);
  assert_ptr_not_equal(other.dead_letters.kafka, &property);
  assert_int_equal(other.dead_letters.kafka_count, 1);
  assert_string_equal(other.dead_letters.kafka[0].value, "all");
  strand_settings_free(&other);
}

/* As POSIX reads it; any other topic is a name. */
static void a_topic_with_a_caret_is_a_pattern (void **state) {
  const strand_route each[] = { { .topic = "a.c" },
                                { .topic = "^a.c" },
                                { .topic = NULL } };
  const strand_consumer_config config = { .routes = each, .route_count = 3 };
  strand_failure failure;
  strand_routes routes;
  (void)state;
  assert_true(strand_routes_init(&routes, &config, &failure));
  strand_routes_check(&routes);
  assert_int_equal(strand_routes_find(&routes, "a.c"), 0);
  assert_int_equal(strand_routes_find(&routes, "abcd"), 1);
  assert_int_equal(strand_routes_find(&routes, "ba.c"), 2);
  strand_routes_free(&routes);
}

#define spec(f)                                                               \
  cmocka_unit_test_setup_teardown(f, open_settings, close_settings)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(a_rule_stops_what_it_names),
    spec(a_rule_takes_the_place_of_those_that_it_covers),
    spec(resuming_takes_away_what_it_covers),
    spec(without_memory_the_rules_are_as_they_were),
    spec(limits_are_a_copy),
    spec(properties_of_dead_letters_are_copies),
    spec(a_topic_with_a_caret_is_a_pattern),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
