/*
** kafka_producer_events_test.c - the last events wait, the others are counted
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "producer/producer_events.h"

#define MOST STRAND_PRODUCER_EVENTS_MAX

static strand_producer_events events;
static strand_log *lines;

static int set_up (void **state) {
  (void)state;
  events = (strand_producer_events){ .count = 0 };
  lines = strand_log_new(0);
  return lines == NULL;
}

static int tear_down (void **state) {
  (void)state;
  strand_log_release(lines);
  return 0;
}

static void tell (int number) {
  strand_obstacle obstacle = { .type = "leader_missing",
                               .err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                               .topic = "t",
                               .partition = number };
  snprintf(obstacle.reason, sizeof(obstacle.reason), "number %d", number);
  strand_producer_events_tell(&events, lines, &obstacle);
  strand_producer_events_check(&events);
}

static void expect (int number) {
  strand_producer_event event;
  char reason[32];
  snprintf(reason, sizeof(reason), "number %d", number);
  assert_true(strand_producer_events_pop(&events, &event));
  strand_producer_events_check(&events);
  assert_string_equal(event.type, "leader_missing");
  assert_string_equal(event.code, "LEADER_NOT_AVAILABLE");
  assert_string_equal(event.reason, reason);
  assert_int_equal(event.partition, number);
}

static void expect_none (void) {
  strand_producer_event event;
  assert_false(strand_producer_events_pop(&events, &event));
}

static void they_are_taken_in_their_order (void **state) {
  (void)state;
  for (int i = 0; i < 3 * MOST; i++) {
    tell(2 * i);
    tell(2 * i + 1);
    expect(2 * i);
    expect(2 * i + 1);
  }
  expect_none();
  assert_int_equal(events.dropped, 0);
}

static void when_nobody_takes_them_the_oldest_go (void **state) {
  (void)state;
  for (int i = 0; i < 2 * MOST + 3; i++) tell(i);
  assert_int_equal(events.dropped, MOST + 3);
  for (int i = MOST + 3; i < 2 * MOST + 3; i++) expect(i);
  expect_none();
}

#define spec(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(they_are_taken_in_their_order),
    spec(when_nobody_takes_them_the_oldest_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
