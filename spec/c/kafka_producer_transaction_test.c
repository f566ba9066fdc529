/*
** kafka_producer_transaction_test.c - a producer's transactions, without Lua
**
** On the mock cluster: what waits, what is renewed, and that no thread is left
** behind. What readers see is a matter of real brokers.
*/
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/c11_threads.h"
#include "base/clock.h"
#include "kafka/mock.h"
#include "producer/producer.h"

#define UNREACHABLE "127.0.0.1:1"
#define LIMIT 60.0 /* for what takes no time on a quiet machine */

#define BEGIN STRAND_TRANSACTION_BEGIN
#define COMMIT STRAND_TRANSACTION_COMMIT
#define ABORT STRAND_TRANSACTION_ABORT

static strand_mock *cluster;

static int open_cluster (void **state) {
  strand_failure failure;
  (void)state;
  cluster = strand_mock_open(1, NULL, &failure);
  if (cluster == NULL) return -1;
  return strand_mock_create_topic(cluster, "topic", 2, &failure) ? 0 : -1;
}

static int close_cluster (void **state) {
  (void)state;
  strand_mock_close(cluster);
  return 0;
}

static strand_producer *open_producer (const char *servers, const char *id) {
  strand_failure failure = { "", "" };
  strand_property props[] = { { "bootstrap.servers", servers } };
  strand_producer_options options = { .props = props,
                                      .prop_count = 1,
                                      .transactional_id = id,
                                      .transaction_timeout = 60,
                                      .reports_all = true,
                                      .keeps_log = true };
  strand_producer *p = strand_producer_open(&options, &failure);
  assert_string_equal(failure.message, "");
  return p;
}

/* As Lua does. 1, or -1 and the error. */
static int reach (strand_producer *p, strand_transaction_goal goal,
                  double timeout, strand_transaction_error *error) {
  double deadline = strand_clock_now() + timeout;
  int result;
  while ((result = strand_producer_transact(p, goal, deadline, error)) == 0) {
    struct pollfd ready = { .fd = strand_producer_fd(p), .events = POLLIN };
    strand_delivery *report;
    int ms = strand_clock_left_ms(deadline);
    if (ms == 0) return 0;
    poll(&ready, 1, ms);
    while ((report = strand_producer_next_delivery(p)) != NULL) free(report);
  }
  return result;
}

static void go (strand_producer *p, strand_transaction_goal goal) {
  strand_transaction_error error = { .failure = { "", "" } };
  int result = reach(p, goal, LIMIT, &error);
  assert_string_equal(error.failure.message, "");
  assert_int_equal(result, 1);
}

static bool send_one (strand_producer *p, strand_failure *failure) {
  strand_outgoing record = { .topic = "topic",
                             .key = "k",
                             .key_length = 1,
                             .value = "v",
                             .value_length = 1,
                             .partition = -1 };
  return strand_producer_send(p, &record, 0, failure);
}

static void a_record_is_sent_in_a_transaction_only (void **state) {
  strand_producer *p = open_producer(strand_mock_bootstrap(cluster), "one");
  strand_producer_counts counts;
  strand_failure failure;
  (void)state;
  assert_false(send_one(p, &failure));
  assert_string_equal(failure.code, "NO_TRANSACTION");
  go(p, BEGIN);
  assert_true(send_one(p, &failure));
  go(p, COMMIT);
  assert_false(send_one(p, &failure));
  strand_producer_refresh_counts(p, &counts);
  assert_int_equal(counts.records.delivered, 1);
  strand_producer_free(p);
}

static void a_failed_record_costs_the_client_and_no_more (void **state) {
  strand_producer *p = open_producer(strand_mock_bootstrap(cluster), "two");
  strand_transaction_error error;
  strand_producer_counts counts;
  strand_failure failure;
  (void)state;
  for (int i = 0; i < 2; i++) {
    go(p, BEGIN);
    assert_true(
      strand_mock_fail(cluster, "Produce", "INVALID_RECORD", 1, &failure));
    assert_true(send_one(p, &failure));
    assert_int_equal(reach(p, COMMIT, LIMIT, &error), -1);
    assert_string_equal(error.failure.code, "INVALID_RECORD");
    assert_true(error.is_abortable && error.is_certain);
    assert_false(send_one(p, &failure));
    assert_string_equal(failure.code, "INVALID_RECORD");
    go(p, ABORT);
  }
  go(p, BEGIN);
  assert_true(send_one(p, &failure));
  go(p, COMMIT);
  strand_producer_refresh_counts(p, &counts);
  assert_int_equal(counts.records.delivered, 1);
  assert_int_equal(counts.records.outstanding, 0);
  strand_producer_free(p);
}

/* To make room for the next, what became of the one before is looked at: its
** partition is not there, which librdkafka was never told. */
static void
a_record_is_not_taken_for_a_transaction_that_fails_now (void **state) {
  strand_outgoing record = { .topic = "topic", .value = "vv", .partition = 7 };
  strand_producer *p = open_producer(strand_mock_bootstrap(cluster), "room");
  struct pollfd ready = { .fd = strand_producer_fd(p), .events = POLLIN };
  strand_producer_counts counts;
  strand_failure failure;
  (void)state;
  go(p, BEGIN);
  assert_true(send_one(p, &failure)); /* the topic is known from then on */
  go(p, COMMIT);
  go(p, BEGIN);
  strand_producer_set_bounds(p, 0, 2);
  record.value_length = 2;
  record.timeout_us = 500000;
  assert_true(strand_producer_send(p, &record, 0, &failure));
  do assert_int_equal(poll(&ready, 1, (int)(LIMIT * 1000)), 1);
  while (send_one(p, &failure) || strcmp(failure.code, "QUEUE_FULL") == 0);
  assert_string_equal(failure.code, "UNKNOWN_PARTITION");
  strand_producer_refresh_counts(p, &counts);
  assert_int_equal(counts.records.sent, 2);
  go(p, ABORT);
  strand_producer_free(p);
}

/* What was queued is aborted with it: each record has its report. */
static void an_end_leaves_nothing_outstanding (void **state) {
  strand_producer *p = open_producer(strand_mock_bootstrap(cluster), "three");
  strand_producer_counts counts;
  strand_failure failure;
  (void)state;
  go(p, BEGIN);
  for (int i = 0; i < 100; i++) assert_true(send_one(p, &failure));
  strand_producer_end_transaction(p, strand_clock_now() + LIMIT);
  strand_producer_refresh_counts(p, &counts);
  assert_int_equal(counts.records.outstanding, 0);
  assert_int_equal(counts.records.delivered + counts.records.purged, 100);
  assert_int_equal(strand_producer_transaction(p)->state,
                   STRAND_TRANSACTION_IDLE);
  strand_producer_free(p);
}

/* The abort has renewed the client, and asks for the next transaction's id. */
static void an_end_does_not_wait_for_an_id (void **state) {
  strand_producer *p = open_producer(strand_mock_bootstrap(cluster), "five");
  const strand_transaction *t = strand_producer_transaction(p);
  strand_transaction_error error;
  strand_failure failure;
  double begun;
  (void)state;
  go(p, BEGIN);
  assert_true(
    strand_mock_fail(cluster, "Produce", "INVALID_RECORD", 1, &failure));
  assert_true(send_one(p, &failure));
  assert_int_equal(reach(p, COMMIT, LIMIT, &error), -1);
  begun = strand_clock_now();
  while (t->call != STRAND_TRANSACTION_CALL_INIT) {
    assert_int_equal(strand_producer_transact(p, ABORT, begun + LIMIT, &error),
                     0);
    assert_true(strand_clock_now() - begun < LIMIT);
    poll(NULL, 0, 1);
  }
  assert_true(strand_mock_set_up(cluster, 1, false, &failure));
  begun = strand_clock_now();
  strand_producer_end_transaction(p, begun + LIMIT);
  assert_true(strand_clock_now() - begun < LIMIT / 2);
  strand_producer_free(p);
  assert_true(strand_mock_set_up(cluster, 1, true, &failure));
}

/* Events and lines of the log that nobody takes do not keep it turning. */
static void an_end_sleeps_while_it_waits (void **state) {
  strand_producer *p = open_producer(strand_mock_bootstrap(cluster), "six");
  strand_failure failure;
  double begun;
  int64_t computed_us;
  (void)state;
  go(p, BEGIN);
  assert_true(send_one(p, &failure));
  assert_int_equal(strand_producer_flush(p, LIMIT), 0);
  assert_true(strand_mock_set_up(cluster, 1, false, &failure));
  computed_us = strand_clock_cpu_us();
  begun = strand_clock_now();
  strand_producer_end_transaction(p, begun + 5);
  computed_us = strand_clock_cpu_us() - computed_us;
  assert_true(strand_clock_now() - begun >= 4); /* it did wait */
  assert_true(computed_us < 500000);
  strand_producer_free(p);
  assert_true(strand_mock_set_up(cluster, 1, true, &failure));
}

/* The thread is in a call, whose deadline is a day away. */
static void a_close_does_not_wait_for_a_call (void **state) {
  strand_producer *p = open_producer(UNREACHABLE, "four");
  strand_transaction_error error;
  double begun;
  (void)state;
  assert_int_equal(
    strand_producer_transact(p, BEGIN, strand_clock_now() + 86400, &error), 0);
  begun = strand_clock_now();
  strand_producer_close(p, 0);
  strand_producer_free(p);
  assert_true(strand_clock_now() - begun < LIMIT);
}

static void one_without_an_id_has_none (void **state) {
  strand_producer *p = open_producer(strand_mock_bootstrap(cluster), NULL);
  strand_failure failure;
  (void)state;
  assert_null(strand_producer_transaction(p));
  assert_true(send_one(p, &failure));
  assert_int_equal(strand_producer_flush(p, LIMIT), 0);
  strand_producer_free(p);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_record_is_sent_in_a_transaction_only),
    cmocka_unit_test(a_failed_record_costs_the_client_and_no_more),
    cmocka_unit_test(a_record_is_not_taken_for_a_transaction_that_fails_now),
    cmocka_unit_test(an_end_leaves_nothing_outstanding),
    cmocka_unit_test(an_end_does_not_wait_for_an_id),
    cmocka_unit_test(an_end_sleeps_while_it_waits),
    cmocka_unit_test(a_close_does_not_wait_for_a_call),
    cmocka_unit_test(one_without_an_id_has_none),
  };
  return cmocka_run_group_tests(tests, open_cluster, close_cluster);
}
