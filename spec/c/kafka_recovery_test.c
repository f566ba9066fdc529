/*
** kafka_recovery_test.c - a client that is at its end, and the one after it
**
** rd_kafka_test_fatal_error makes the error; the mock cluster's round trip
** makes what is under way last. Reads back what was written.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kafka/mock.h"
#include "producer/fatal.h"
#include "producer/producer_own.h"
#include "../support/c11_threads.h"

#define LIMIT 60 /* seconds; for a machine that is busy */
#define DESYNCHRONIZED RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER
#define CODE "OUT_OF_ORDER_SEQUENCE_NUMBER"

/*
** fatal.c alone
*/

#define SECOND INT64_C(1000000)

/* Until it is renewed, or given up. */
static strand_fatal_step next_end (strand_fatal *f, int64_t *now_us) {
  strand_fatal_step step;
  while ((step = strand_fatal_next(f, 0, *now_us)) == STRAND_FATAL_WAIT) {
    strand_fatal_check(f);
    assert_true(f->due_us > *now_us);
    *now_us = f->due_us;
  }
  return step;
}

static void what_is_queued_goes_at_once_and_what_flies_later (void **state) {
  strand_fatal f = { 0 };
  int64_t now = 5 * SECOND;
  (void)state;
  assert_int_equal(strand_fatal_next(&f, 3, now), STRAND_FATAL_WAIT);
  strand_fatal_begin(&f, DESYNCHRONIZED, "why", now);
  assert_string_equal(f.failure.code, CODE);
  assert_int_equal(strand_fatal_next(&f, 3, now), STRAND_FATAL_PURGE);
  assert_int_equal(strand_fatal_next(&f, 3, now), STRAND_FATAL_WAIT);
  now = f.due_us; /* it may have come back */
  assert_int_equal(strand_fatal_next(&f, 3, now), STRAND_FATAL_PURGE);
  now = 5 * SECOND + STRAND_FATAL_PATIENCE_US;
  assert_int_equal(strand_fatal_next(&f, 1, now), STRAND_FATAL_PURGE_ALL);
  assert_int_equal(strand_fatal_next(&f, 0, now), STRAND_FATAL_RENEW);
  strand_fatal_renewed(&f, now);
  strand_fatal_check(&f);
  assert_int_equal(f.state, STRAND_FATAL_NONE);
}

static void each_that_ends_soon_makes_the_pause_longer (void **state) {
  static const int64_t pauses[STRAND_FATAL_CLIENTS] = {
    0, 100000, 400000, 1600000, 6400000, 25600000, 60000000, 60000000
  };
  strand_fatal f = { 0 };
  int64_t now = 0;
  (void)state;
  for (int i = 0; i < STRAND_FATAL_CLIENTS; i++) {
    int64_t began = ++now;
    strand_fatal_begin(&f, DESYNCHRONIZED, "why", now);
    assert_int_equal(next_end(&f, &now), STRAND_FATAL_RENEW);
    assert_int_equal(now - began, pauses[i]);
    strand_fatal_renewed(&f, now);
    strand_fatal_took(&f, now + 1); /* it takes records, but not for long */
  }
  strand_fatal_begin(&f, DESYNCHRONIZED, "why", ++now);
  assert_int_equal(next_end(&f, &now), STRAND_FATAL_GIVE_UP);
  strand_fatal_check(&f);
  assert_int_equal(f.state, STRAND_FATAL_ENDED);
  assert_int_equal(strand_fatal_next(&f, 0, now + 1), STRAND_FATAL_WAIT);
}

static void one_that_was_calm_begins_the_count_anew (void **state) {
  strand_fatal f = { 0 };
  int64_t now = SECOND;
  (void)state;
  for (int i = 0; i < 3 * STRAND_FATAL_CLIENTS; i++) {
    int64_t began = now;
    strand_fatal_begin(&f, DESYNCHRONIZED, "why", now);
    assert_int_equal(next_end(&f, &now), STRAND_FATAL_RENEW);
    assert_int_equal(now, began);
    strand_fatal_renewed(&f, now);
    now += STRAND_FATAL_CALM_US;
    strand_fatal_took(&f, now);
  }
}

static void one_that_cannot_be_opened_counts (void **state) {
  strand_fatal f = { 0 };
  int64_t now = 1;
  int opened = 0;
  (void)state;
  strand_fatal_begin(&f, DESYNCHRONIZED, "why", now);
  while (next_end(&f, &now) == STRAND_FATAL_RENEW) {
    opened++;
    strand_fatal_postpone(&f, now);
    strand_fatal_check(&f);
  }
  assert_int_equal(opened, STRAND_FATAL_CLIENTS);
}

static void some_errors_are_those_of_each_client (void **state) {
  static const rd_kafka_resp_err_t errors[] = {
    RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
    RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE,
    RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION
  };
  (void)state;
  for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
    strand_fatal f = { 0 };
    strand_fatal_begin(&f, errors[i], "why", 1);
    assert_int_equal(strand_fatal_next(&f, 0, 1), STRAND_FATAL_GIVE_UP);
  }
}

/*
** A producer
*/

static strand_mock *cluster;
static strand_producer *producer;
static char topic[64];
static int64_t last_id;

static int open_cluster (void **state) {
  strand_failure failure;
  (void)state;
  cluster = strand_mock_open(1, NULL, &failure);
  return cluster != NULL ? 0 : -1;
}

static int close_cluster (void **state) {
  (void)state;
  strand_mock_close(cluster);
  return 0;
}

static int open_producer (void **state) {
  static int number;
  strand_failure failure;
  strand_property props[] = { { "bootstrap.servers",
                                strand_mock_bootstrap(cluster) },
                              { "linger.ms", "0" } };
  strand_producer_options options = {
    .props = props, .prop_count = 2, .reports_all = true, .keeps_log = true
  };
  (void)state;
  snprintf(topic, sizeof(topic), "recovery-%d", ++number);
  if (!strand_mock_create_topic(cluster, topic, 2, &failure)) return -1;
  producer = strand_producer_open(&options, &failure);
  return producer != NULL ? 0 : -1;
}

static int end_producer (void **state) {
  strand_failure failure;
  (void)state;
  strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, 0, &failure);
  strand_producer_free(producer);
  return 0;
}

static int64_t send_value (const char *value, int64_t timeout_us) {
  strand_failure failure = { "", "" };
  strand_outgoing record = { .topic = topic,
                             .key = "k",
                             .key_length = 1,
                             .value = value,
                             .value_length = strlen(value),
                             .partition = -1,
                             .timeout_us = timeout_us };
  if (!strand_producer_send(producer, &record, ++last_id, &failure))
    fail_msg("%s: %s", failure.code, failure.message);
  return last_id;
}

/* Also those that are no one's. */
static strand_delivery *next_report (void) {
  double deadline = strand_clock_now() + LIMIT;
  while (strand_clock_now() < deadline) {
    strand_delivery *report = strand_producer_next_delivery(producer);
    if (report != NULL) return report;
    strand_producer_flush(producer, 0.05);
  }
  fail_msg("no report");
  return NULL;
}

/* The next report is of that record, and says this; "": it is written. */
static void check_report (int64_t id, const char *code, bool certain) {
  strand_delivery *report = next_report();
  assert_int_equal(report->id, id);
  assert_string_equal(report->code, code);
  assert_int_equal(report->certain, certain);
  free(report);
}

static void check_event (const char *type, const char *code, bool fatal) {
  strand_producer_event event;
  assert_true(strand_producer_next_event(producer, &event));
  assert_string_equal(event.type, type);
  assert_string_equal(event.code, code);
  assert_int_equal(event.fatal, fatal);
}

static void end_client (rd_kafka_resp_err_t err) {
  assert_int_equal(
    rd_kafka_test_fatal_error(producer->client->handle, err, "on purpose"), 0);
}

static void set_rtt (double seconds) {
  strand_failure failure;
  assert_true(
    strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, seconds, &failure));
}

/* The first connections, and the producer's id. */
static void warm_up (void) {
  check_report(send_value("warm", 0), "", false);
}

static void idle_it_is_replaced (void **state) {
  strand_client *client = producer->client;
  (void)state;
  warm_up();
  end_client(DESYNCHRONIZED);
  check_report(send_value("a", 0), "", false);
  assert_ptr_not_equal(producer->client, client);
  check_event("error", CODE, false);
  check_event("renewed", CODE, false);
}

/* Under way: its answer counts. Queued behind it: certainly not written. Sent
** later: kept, and written in their order. */
static void each_record_ends_as_it_was (void **state) {
  int64_t flying, kept[3];
  (void)state;
  warm_up();
  set_rtt(1);
  flying = send_value("flying", 0);
  while (rd_kafka_outq_len(producer->client->handle) == 0) {
  }
  strand_producer_flush(producer, 0.3); /* it is on its way */
  end_client(DESYNCHRONIZED);
  strand_producer_refresh(producer);
  kept[0] = send_value("kept", 0);
  kept[1] = send_value("late", 1000);
  kept[2] = send_value("kept too", 0);
  assert_true(producer->deferred.held);
  check_report(kept[1], "TIMED_OUT", true);
  check_report(flying, "", false);
  set_rtt(0);
  check_report(kept[0], "", false);
  check_report(kept[2], "", false);
  assert_int_equal(producer->bounds.records, 0);
}

static void what_was_queued_is_reported_and_not_sent (void **state) {
  strand_failure failure;
  int64_t queued;
  (void)state;
  warm_up();
  assert_true(strand_mock_set_leader(cluster, topic, 0, -1, &failure));
  assert_true(strand_mock_set_leader(cluster, topic, 1, -1, &failure));
  queued = send_value("queued", 0);
  send_value("queued too", 0);
  strand_producer_flush(producer, 0.3);
  end_client(DESYNCHRONIZED);
  assert_true(strand_mock_set_leader(cluster, topic, 0, 1, &failure));
  assert_true(strand_mock_set_leader(cluster, topic, 1, 1, &failure));
  strand_producer_refresh(producer);
  send_value("later", 0);
  check_report(queued, CODE, true);
  check_report(queued + 1, CODE, true);
  check_report(queued + 2, "", false);
  assert_int_equal(producer->deliveries.counts.failed, 2);
  assert_int_equal(producer->deliveries.counts.purged, 0);
}

static void sending_alone_has_it_replaced (void **state) {
  double deadline = strand_clock_now() + LIMIT;
  (void)state;
  warm_up();
  end_client(DESYNCHRONIZED);
  while (producer->fatal.clients == 0) {
    if (strand_clock_now() > deadline) fail_msg("not replaced");
    if (producer->bounds.records < 1000) send_value("v", 0);
    else
      strand_producer_send(producer, &(strand_outgoing){ .topic = topic }, 0,
                           &(strand_failure){ "", "" });
  }
  assert_int_equal(strand_producer_flush(producer, LIMIT), 0);
  assert_int_equal(producer->deliveries.counts.failed, 0);
}

static void a_close_meanwhile_reports_each_once (void **state) {
  const strand_delivery_counts *counts = &producer->deliveries.counts;
  strand_delivery *report;
  int reports = 0;
  (void)state;
  warm_up();
  set_rtt(2);
  send_value("flying", 0);
  strand_producer_flush(producer, 0.3);
  end_client(DESYNCHRONIZED);
  strand_producer_refresh(producer);
  for (int i = 0; i < 10; i++) send_value("kept", 0);
  strand_producer_close(producer, 5);
  while ((report = strand_producer_next_delivery(producer)) != NULL) {
    reports++;
    assert_string_not_equal(report->code, "");
    free(report);
  }
  assert_int_equal(reports, 11);
  assert_int_equal(counts->outstanding, 0);
  assert_int_equal(counts->delivered, 1); /* the warm one */
}

static void an_error_of_each_client_ends_the_producer (void **state) {
  strand_failure failure = { "", "" };
  strand_outgoing record = { .topic = topic, .partition = -1 };
  int64_t kept;
  (void)state;
  warm_up();
  end_client(RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
  kept = send_value("kept", 0);
  check_report(kept, "CLUSTER_AUTHORIZATION_FAILED", true);
  check_event("auth_failed", "CLUSTER_AUTHORIZATION_FAILED", false);
  check_event("error", "CLUSTER_AUTHORIZATION_FAILED", true);
  assert_false(strand_producer_send(producer, &record, 0, &failure));
  assert_string_equal(failure.code, "CLUSTER_AUTHORIZATION_FAILED");
  assert_non_null(strstr(failure.message, "at its end"));
}

/* One for a partition that is not there yet is no less kept than before. */
static void what_waits_for_its_partition_goes_on_waiting (void **state) {
  strand_failure failure;
  strand_outgoing record = { .topic = topic, .partition = 7 };
  (void)state;
  warm_up();
  assert_true(strand_producer_send(producer, &record, ++last_id, &failure));
  assert_int_equal(producer->deferred.count, 1);
  end_client(DESYNCHRONIZED);
  check_report(send_value("v", 0), "", false);
  assert_int_equal(producer->deferred.count, 1);
  assert_int_equal(producer->fatal.clients, 1);
}

#define WITH_PRODUCER(test)                                                   \
  cmocka_unit_test_setup_teardown(test, open_producer, end_producer)

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_queued_goes_at_once_and_what_flies_later),
    cmocka_unit_test(each_that_ends_soon_makes_the_pause_longer),
    cmocka_unit_test(one_that_was_calm_begins_the_count_anew),
    cmocka_unit_test(one_that_cannot_be_opened_counts),
    cmocka_unit_test(some_errors_are_those_of_each_client),
    WITH_PRODUCER(idle_it_is_replaced),
    WITH_PRODUCER(each_record_ends_as_it_was),
    WITH_PRODUCER(what_was_queued_is_reported_and_not_sent),
    WITH_PRODUCER(sending_alone_has_it_replaced),
    WITH_PRODUCER(a_close_meanwhile_reports_each_once),
    WITH_PRODUCER(an_error_of_each_client_ends_the_producer),
    WITH_PRODUCER(what_waits_for_its_partition_goes_on_waiting),
  };
  return cmocka_run_group_tests(tests, open_cluster, close_cluster);
}
