/*
** kafka_producer_test.c - what is sent arrives as it was, and is reported once
**
** On the mock cluster; on the broker that STRAND_BROKER names where that is
** set (topic creation then goes through strand_admin). A plain librdkafka
** consumer reads back.
*/
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/partitioner.h"
#include "kafka/admin.h"
#include "base/clock.h"
#include "kafka/mock.h"
#include "producer/producer.h"
#include "../support/c11_threads.h"

#define UNREACHABLE "127.0.0.1:1"
#define PARTITIONS 11

static strand_mock *cluster;
static const char *bootstrap;

static int open_cluster (void **state) {
  strand_failure failure;
  (void)state;
  bootstrap = getenv("STRAND_BROKER");
  if (bootstrap != NULL) return 0;
  cluster = strand_mock_open(1, NULL, &failure);
  if (cluster == NULL) return -1;
  bootstrap = strand_mock_bootstrap(cluster);
  return 0;
}

static int close_cluster (void **state) {
  (void)state;
  strand_mock_close(cluster);
  return 0;
}

static strand_admin *open_admin (void) {
  strand_failure failure;
  strand_property props[] = { { "bootstrap.servers", bootstrap } };
  strand_log *lines = strand_log_new(1);
  strand_admin *admin = strand_admin_open(props, 1, lines, 0, &failure);
  strand_log_release(lines);
  assert_non_null(admin);
  return admin;
}

/* A new topic; the name is good until the next call. */
static const char *make_topic (void) {
  static char name[64];
  static int number;
  strand_failure failure;
  strand_topic_answers answers = { NULL, 0 };
  strand_new_topic topic = { name, PARTITIONS, 1, NULL, 0 };
  snprintf(name, sizeof(name), "ctest-%d-%d", (int)getpid(), ++number);
  if (cluster != NULL) {
    assert_true(strand_mock_create_topic(cluster, name, PARTITIONS, &failure));
  }
  else {
    strand_admin *admin = open_admin();
    assert_true(
      strand_admin_create_topics(admin, &topic, 1, 10, &answers, &failure));
    strand_admin_close(admin, STRAND_ADMIN_END);
  }
  return name;
}

static strand_producer *open_producer (const char *servers,
                                       const char *partitioner,
                                       int64_t records, int reports_all) {
  strand_failure failure = { "", "" };
  strand_property props[] = { { "bootstrap.servers", servers } };
  strand_producer_options options = { .props = props,
                                      .prop_count = 1,
                                      .partitioner = partitioner,
                                      .max_queued_records = records,
                                      .reports_all = reports_all,
                                      .keeps_log = 1 };
  strand_producer *p = strand_producer_open(&options, &failure);
  if (p == NULL) fail_msg("%s", failure.message);
  return p;
}

static void send_ok (strand_producer *p, const strand_outgoing *record,
                     int64_t id) {
  strand_failure failure = { "", "" };
  if (!strand_producer_send(p, record, id, &failure))
    fail_msg("%s: %s", failure.code, failure.message);
}

/* The caller's. */
static strand_delivery *wait_report (strand_producer *p, int64_t id) {
  double deadline = strand_clock_now() + 20;
  while (strand_clock_now() < deadline) {
    strand_delivery *report = strand_producer_next_delivery(p);
    if (report != NULL && report->id == id) return report;
    if (report == NULL) strand_producer_flush(p, 0.05);
    free(report);
  }
  fail_msg("no report");
  return NULL;
}

static strand_delivery *send_and_wait (strand_producer *p,
                                       const strand_outgoing *record) {
  static int64_t id;
  send_ok(p, record, ++id);
  return wait_report(p, id);
}

/* The message at an offset, read by librdkafka alone. */
static rd_kafka_message_t *read_back (const char *topic, int32_t partition,
                                      int64_t offset, rd_kafka_t **reader) {
  char errstr[256];
  rd_kafka_message_t *message;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, errstr,
                    sizeof(errstr));
  rd_kafka_conf_set(conf, "group.id", "reader", errstr, sizeof(errstr));
  rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", errstr, sizeof(errstr));
  *reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, errstr, sizeof(errstr));
  assert_non_null(*reader);
  rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
  assert_int_equal(rd_kafka_assign(*reader, list), 0);
  rd_kafka_topic_partition_list_destroy(list);
  message = rd_kafka_consumer_poll(*reader, 20000);
  assert_non_null(message);
  assert_int_equal(message->err, 0);
  return message;
}

static void end_reader (rd_kafka_t *reader, rd_kafka_message_t *message) {
  rd_kafka_message_destroy(message);
  rd_kafka_consumer_close(reader);
  rd_kafka_destroy(reader);
}

static void check_bytes (const void *data, size_t size, const void *expected,
                         size_t expected_size) {
  assert_int_equal(data == NULL, expected == NULL);
  assert_int_equal(size, expected_size);
  if (expected != NULL) assert_memory_equal(data, expected, size);
}

static void check_headers (const rd_kafka_message_t *message,
                           const strand_outgoing *record) {
  rd_kafka_headers_t *headers;
  const char *name;
  const void *value;
  size_t size;
  size_t i;
  if (record->header_count == 0) return;
  assert_int_equal(rd_kafka_message_headers(message, &headers), 0);
  for (i = 0; i < record->header_count; i++) {
    const strand_outgoing_header *h = &record->headers[i];
    assert_int_equal(rd_kafka_header_get_all(headers, i, &name, &value, &size),
                     0);
    assert_int_equal(strlen(name), h->name_length);
    assert_memory_equal(name, h->name, h->name_length);
    check_bytes(value, size, h->value, h->value_length);
  }
  assert_int_not_equal(
    rd_kafka_header_get_all(headers, i, &name, &value, &size), 0);
}

static void there_and_back (strand_producer *p,
                            const strand_outgoing *record) {
  rd_kafka_t *reader;
  rd_kafka_message_t *message;
  strand_delivery *report = send_and_wait(p, record);
  assert_string_equal(report->code, "");
  assert_true(report->latency_us > 0);
  assert_string_equal(report->topic, record->topic);
  check_bytes(report->key, report->key_length, record->key,
              record->key_length);
  message = read_back(record->topic, report->partition, report->offset,
                      &reader);
  check_bytes(message->key, message->key_len, record->key, record->key_length);
  check_bytes(message->payload, message->len, record->value,
              record->value_length);
  check_headers(message, record);
  if (record->timestamp_ms != 0 && cluster == NULL)
    assert_int_equal(rd_kafka_message_timestamp(message, NULL),
                     record->timestamp_ms);
  end_reader(reader, message);
  free(report);
}

static void absent_and_empty_stay_different (void **state) {
  strand_producer *p = open_producer(bootstrap, NULL, 0, 0);
  const char *topic = make_topic();
  strand_outgoing nothing = { .topic = topic, .partition = 0 };
  strand_outgoing empty = {
    .topic = topic, .partition = 0, .key = "", .value = ""
  };
  (void)state;
  there_and_back(p, &nothing);
  there_and_back(p, &empty);
  strand_producer_free(p);
}

static void zero_bytes_and_headers_arrive_as_they_were (void **state) {
  strand_producer *p = open_producer(bootstrap, NULL, 0, 0);
  const strand_outgoing_header headers[] = { { "type", 4, "a\0b", 3 },
                                             { "type", 4, NULL, 0 },
                                             { "empty", 5, "", 0 },
                                             { "\xc3\xa4", 2, "\xff\xfe",
                                               2 } };
  strand_outgoing record = { .topic = make_topic(),
                             .partition = 3,
                             .key = "k\0ey",
                             .key_length = 4,
                             .value = "\0\0",
                             .value_length = 2,
                             .headers = headers,
                             .header_count = 4,
                             .timestamp_ms = 1234567890123 };
  (void)state;
  there_and_back(p, &record);
  strand_producer_free(p);
}

static int32_t placed (strand_producer *p, const char *topic, const char *key,
                       const char *hash_key) {
  strand_outgoing record = { .topic = topic, .partition = -1 };
  strand_delivery *report;
  int32_t partition;
  record.key = key;
  record.key_length = key != NULL ? strlen(key) : 0;
  record.hash_key = hash_key;
  record.hash_key_length = hash_key != NULL ? strlen(hash_key) : 0;
  report = send_and_wait(p, &record);
  assert_string_equal(report->code, "");
  partition = report->partition;
  free(report);
  return partition;
}

static int32_t expected_place (strand_partitioner which, const char *key) {
  uint32_t hash;
  assert_true(strand_partitioner_hash(which, key, strlen(key), &hash));
  return strand_partitioner_place(hash, PARTITIONS);
}

static void the_partition_key_decides_also_without_a_key (void **state) {
  static const struct {
    const char *name;
    strand_partitioner which;
  } all[] = { { "murmur2_random", STRAND_PARTITIONER_MURMUR2_RANDOM },
              { "consistent", STRAND_PARTITIONER_CONSISTENT },
              { "fnv1a_random", STRAND_PARTITIONER_FNV1A_RANDOM } };
  const char *topic = make_topic();
  size_t i;
  (void)state;
  for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
    strand_producer *p = open_producer(bootstrap, all[i].name, 0, 0);
    char key[24];
    int k;
    for (k = 0; k < 20; k++) {
      int32_t place;
      snprintf(key, sizeof(key), "order-%d", k);
      place = expected_place(all[i].which, key);
      assert_int_equal(placed(p, topic, key, NULL), place);
      assert_int_equal(placed(p, topic, "other", key), place);
      assert_int_equal(placed(p, topic, NULL, key), place);
    }
    strand_producer_free(p);
  }
}

static void hashes_are_those_of_librdkafka (void **state) {
  unsigned char key[40];
  uint32_t seed = 1;
  int i;
  (void)state;
  for (i = 0; i < 5000; i++) {
    size_t length;
    uint32_t hash;
    size_t j;
    for (j = 0; j < sizeof(key); j++) {
      seed = seed * 1664525 + 1013904223;
      key[j] = (unsigned char)(seed >> 24);
    }
    length = key[0] % sizeof(key);
    strand_partitioner_hash(STRAND_PARTITIONER_MURMUR2, key, length, &hash);
    assert_int_equal(
      strand_partitioner_place(hash, 97),
      rd_kafka_msg_partitioner_murmur2(NULL, key, length, 97, NULL, NULL));
    strand_partitioner_hash(STRAND_PARTITIONER_CONSISTENT, key, length, &hash);
    assert_int_equal(
      strand_partitioner_place(hash, 97),
      rd_kafka_msg_partitioner_consistent(NULL, key, length, 97, NULL, NULL));
    strand_partitioner_hash(STRAND_PARTITIONER_FNV1A, key, length, &hash);
    assert_int_equal(
      strand_partitioner_place(hash, 97),
      rd_kafka_msg_partitioner_fnv1a(NULL, key, length, 97, NULL, NULL));
  }
}

static void records_without_a_key_reach_several_partitions (void **state) {
  strand_producer *p = open_producer(bootstrap, NULL, 0, 1);
  const char *topic = make_topic();
  double deadline = strand_clock_now() + 10;
  strand_outgoing record = {
    .topic = topic, .partition = -1, .value = "v", .value_length = 1
  };
  int seen[PARTITIONS] = { 0 };
  int distinct = 0;
  (void)state;
  while (distinct < 3 && strand_clock_now() < deadline) {
    strand_delivery *report;
    send_ok(p, &record, 0);
    strand_producer_flush(p, 5);
    while ((report = strand_producer_next_delivery(p)) != NULL) {
      assert_string_equal(report->code, "");
      distinct += seen[report->partition]++ == 0;
      free(report);
    }
  }
  assert_true(distinct >= 3);
  strand_producer_free(p);
}

static void close_reports_every_record_once (void **state) {
  strand_producer *p = open_producer(UNREACHABLE, NULL, 0, 1);
  strand_producer_counts counts;
  strand_delivery *report;
  double start;
  int reports = 0;
  int i;
  (void)state;
  for (i = 0; i < 1000; i++) {
    strand_outgoing record = { .topic = "t",
                               .partition = i % 2 ? -1 : 0,
                               .key = &i,
                               .key_length = sizeof(i) };
    send_ok(p, &record, 0);
  }
  assert_int_equal(strand_producer_flush(p, 0.1), 1000);
  start = strand_clock_now();
  strand_producer_close(p, 1);
  assert_true(strand_clock_now() - start < 2);
  while ((report = strand_producer_next_delivery(p)) != NULL) {
    assert_string_equal(report->code, "PURGE_QUEUE");
    assert_int_equal(report->key_length, sizeof(i));
    assert_memory_equal(report->key, &reports, sizeof(i));
    reports++;
    free(report);
    if (reports == 1000) break;
  }
  strand_producer_refresh_counts(p, &counts);
  assert_int_equal(reports, 1000);
  assert_int_equal(counts.records.purged, 1000);
  assert_int_equal(counts.records.outstanding, 0);
  assert_null(strand_producer_next_delivery(p));
  strand_producer_close(p, 1);
  strand_producer_free(p);
}

static void a_full_queue_says_so_with_its_limit (void **state) {
  strand_producer *p = open_producer(UNREACHABLE, NULL, 10, 0);
  strand_outgoing record = { .topic = "t", .partition = -1 };
  strand_failure failure;
  int i;
  (void)state;
  for (i = 0; i < 10; i++) send_ok(p, &record, 0);
  assert_false(strand_producer_send(p, &record, 0, &failure));
  assert_string_equal(failure.code, "QUEUE_FULL");
  assert_non_null(strstr(failure.message, "max_queued_records 10,"));
  strand_producer_free(p);
}

static void untaken_deliveries_fill_the_queue_too (void **state) {
  strand_producer *p = open_producer(bootstrap, NULL, 5, 1);
  strand_outgoing record = { .topic = make_topic(), .partition = 0 };
  strand_failure failure;
  int i;
  (void)state;
  for (i = 0; i < 5; i++) send_ok(p, &record, 0);
  assert_int_equal(strand_producer_flush(p, 20), 0);
  assert_false(strand_producer_send(p, &record, 0, &failure));
  assert_string_equal(failure.code, "QUEUE_FULL");
  free(strand_producer_next_delivery(p));
  send_ok(p, &record, 0);
  strand_producer_free(p);
}

/* The one that is out will wait to be taken as well. */
static void what_is_out_counts_beside_untaken_deliveries (void **state) {
  strand_producer *p = open_producer(bootstrap, NULL, 5, 1);
  strand_outgoing record = { .topic = make_topic(), .partition = 0 };
  strand_failure failure;
  int i;
  (void)state;
  for (i = 0; i < 4; i++) send_ok(p, &record, 0);
  assert_int_equal(strand_producer_flush(p, 20), 0);
  send_ok(p, &record, 0);
  assert_false(strand_producer_send(p, &record, 0, &failure));
  assert_string_equal(failure.code, "QUEUE_FULL");
  free(strand_producer_next_delivery(p));
  send_ok(p, &record, 0);
  strand_producer_free(p);
}

/* Nobody polls: who sends takes what has come. */
static void a_full_queue_takes_the_reports_that_are_there (void **state) {
  strand_producer *p = open_producer(bootstrap, NULL, 2, 0);
  strand_outgoing record = { .topic = make_topic(), .partition = 0 };
  struct pollfd fd = { .fd = strand_producer_fd(p), .events = POLLIN };
  double deadline = strand_clock_now() + 20;
  strand_failure failure;
  (void)state;
  send_ok(p, &record, 0);
  send_ok(p, &record, 0);
  while (!strand_producer_send(p, &record, 0, &failure)) {
    assert_string_equal(failure.code, "QUEUE_FULL");
    assert_true(strand_clock_now() < deadline);
    poll(&fd, 1, 100);
  }
  strand_producer_free(p);
}

static void bounds_change_while_records_are_out (void **state) {
  strand_producer *p = open_producer(UNREACHABLE, NULL, 2, 0);
  strand_outgoing record = {
    .topic = "t", .partition = -1, .value = "12345", .value_length = 5
  };
  strand_failure failure;
  (void)state;
  send_ok(p, &record, 0);
  send_ok(p, &record, 0);
  assert_false(strand_producer_send(p, &record, 0, &failure));
  strand_producer_set_bounds(p, 4, 0);
  send_ok(p, &record, 0);
  strand_producer_set_bounds(p, 0, 19);
  assert_false(strand_producer_send(p, &record, 0, &failure));
  assert_string_equal(failure.code, "QUEUE_FULL");
  assert_non_null(strstr(failure.message, "max_queued_bytes 19)"));
  strand_producer_set_bounds(p, 0, 20);
  send_ok(p, &record, 0);
  strand_producer_set_bounds(p, 10, 4); /* nothing of this size fits, ever */
  assert_false(strand_producer_send(p, &record, 0, &failure));
  assert_string_equal(failure.code, "MSG_SIZE_TOO_LARGE");
  strand_producer_free(p);
}

/* Waits for the fd alone, as an event loop does. */
static strand_delivery *poll_report (strand_producer *p) {
  struct pollfd fd = { .fd = strand_producer_fd(p), .events = POLLIN };
  double deadline = strand_clock_now() + 20;
  while (strand_clock_now() < deadline) {
    strand_delivery *report = strand_producer_next_delivery(p);
    if (report != NULL) return report;
    poll(&fd, 1, strand_clock_left_ms(deadline));
  }
  fail_msg("no report");
  return NULL;
}

static void check_sums (strand_producer *p, int64_t failed, int64_t overdue,
                        int64_t late) {
  strand_producer_counts counts;
  strand_producer_refresh_counts(p, &counts);
  assert_int_equal(counts.records.failed, failed);
  assert_int_equal(counts.records.overdue, overdue);
  assert_int_equal(counts.records.late, late);
  assert_int_equal(counts.records.outstanding, 0);
  assert_int_equal(counts.records.sent, failed);
}

/* Without a broker: two records whose times are not in their order. */
static void a_record_fails_when_its_own_time_is_over (void **state) {
  strand_producer *p = open_producer(UNREACHABLE, NULL, 2, 1);
  strand_outgoing record = { .topic = "t",
                             .partition = 3,
                             .key = "k",
                             .key_length = 1,
                             .timeout_us = 400000 };
  double start = strand_clock_now();
  strand_failure failure;
  (void)state;
  send_ok(p, &record, 0);
  record.timeout_us = 200000;
  send_ok(p, &record, 7);
  for (int i = 0; i < 2; i++) {
    strand_delivery *report = poll_report(p);
    assert_true(strand_clock_now() - start >= 0.2 * (i + 1));
    assert_int_equal(report->id, i == 0 ? 7 : 0);
    assert_string_equal(report->code, "TIMED_OUT");
    assert_false(report->certain);
    assert_int_equal(report->partition, 3);
    assert_memory_equal(report->key, "k", 1);
    free(report);
  }
  check_sums(p, 2, 2, 0);
  assert_int_equal(strand_producer_flush(p, 5), 0); /* nothing is awaited, */
  assert_false(strand_producer_send(p, &record, 0, &failure)); /* all is out */
  assert_string_equal(failure.code, "QUEUE_FULL");
  strand_producer_close(p, 5);
  check_sums(p, 2, 0, 2);
  assert_null(strand_producer_next_delivery(p));
  strand_producer_free(p);
}

static void a_record_that_is_acknowledged_in_time_has_no_time (void **state) {
  strand_producer *p = open_producer(bootstrap, NULL, 0, 1);
  strand_outgoing record = { .topic = make_topic(),
                             .partition = 0,
                             .timeout_us = 60000000 };
  strand_delivery *report;
  strand_producer_counts counts;
  (void)state;
  send_ok(p, &record, 0);
  report = poll_report(p);
  assert_string_equal(report->code, "");
  free(report);
  strand_producer_refresh_counts(p, &counts);
  assert_int_equal(counts.records.delivered, 1);
  assert_int_equal(counts.records.overdue, 0);
  strand_producer_free(p);
}

static void a_long_linger_does_not_hold_up_a_flush (void **state) {
  strand_failure failure;
  strand_property props[] = { { "bootstrap.servers", bootstrap },
                              { "linger.ms", "60000" } };
  strand_producer_options options = { .props = props, .prop_count = 2 };
  strand_outgoing record = { .topic = make_topic(), .partition = 0 };
  strand_producer *p = strand_producer_open(&options, &failure);
  (void)state;
  assert_non_null(p);
  send_ok(p, &record, 0);
  assert_int_equal(strand_producer_flush(p, 20), 0);
  strand_producer_free(p);
}

static double cpu_seconds (void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* The reports have come, and nobody collects them: the flush goes on. */
static void a_flush_that_is_not_collected_costs_nothing (void **state) {
  strand_failure failure;
  strand_property props[] = { { "bootstrap.servers", bootstrap },
                              { "linger.ms", "500" } };
  strand_producer_options options = { .props = props, .prop_count = 2 };
  strand_outgoing record = { .topic = make_topic(), .partition = 0 };
  strand_producer *p = strand_producer_open(&options, &failure);
  double before;
  (void)state;
  assert_non_null(p);
  for (int i = 0; i < 10; i++) send_ok(p, &record, 0);
  strand_producer_flush_begin(p);
  poll(NULL, 0, 500);
  before = cpu_seconds();
  poll(NULL, 0, 1000);
  assert_true(cpu_seconds() - before < 0.3);
  assert_int_equal(strand_producer_outstanding(p), 10);
  assert_int_equal(strand_producer_flush(p, 20), 0);
  strand_producer_free(p);
}

/* The event, waited for by fd alone, while another partition takes records. */
static void wait_event (strand_producer *p, const strand_outgoing *other,
                        strand_producer_event *event) {
  double deadline = strand_clock_now() + 60;
  struct pollfd fd = { .fd = strand_producer_fd(p), .events = POLLIN };
  while (strand_clock_now() < deadline) {
    if (poll(&fd, 1, 100) == 1 && strand_producer_next_event(p, event)) return;
    send_ok(p, other, 0);
  }
  fail_msg("no event");
}

static void a_partition_without_a_leader_is_told (void **state) {
  strand_failure failure;
  strand_property props[] = { { "bootstrap.servers", bootstrap },
                              { "message.timeout.ms", "8000" } };
  strand_producer_options options = { .props = props,
                                      .prop_count = 2,
                                      .keeps_log = 1 };
  strand_outgoing stuck = { .topic = make_topic(), .partition = 3 };
  strand_outgoing other = { .topic = stuck.topic, .partition = 4 };
  strand_producer_event event;
  strand_delivery *report;
  strand_producer *p;
  (void)state;
  if (cluster == NULL) skip();
  p = strand_producer_open(&options, &failure);
  assert_non_null(p);
  assert_true(strand_mock_set_leader(cluster, stuck.topic, 3, -1, &failure));
  send_ok(p, &stuck, 0);
  send_ok(p, &stuck, 7);
  wait_event(p, &other, &event);
  assert_string_equal(event.type, "leader_missing");
  assert_string_equal(event.code, "LEADER_NOT_AVAILABLE");
  assert_string_equal(event.topic, stuck.topic);
  assert_int_equal(event.partition, 3);
  assert_true(strand_producer_outstanding(p) >= 2);
  strand_mock_set_leader(cluster, stuck.topic, 3, 1, &failure);
  report = wait_report(p, 7);
  assert_string_equal(report->code, "");
  free(report);
  strand_mock_set_leader(cluster, stuck.topic, 3, -1, &failure);
  send_ok(p, &stuck, 0);
  strand_producer_close(p, 1); /* whatever the thread is at */
  strand_producer_free(p);
}

static void partitions_are_known_soon (void **state) {
  strand_producer *p = open_producer(bootstrap, NULL, 0, 0);
  const char *topic = make_topic();
  double deadline = strand_clock_now() + 10;
  strand_failure failure = { "", "" };
  int32_t count;
  (void)state;
  while ((count = strand_producer_ask_partitions(p, topic, &failure)) == 0
         && strand_clock_now() < deadline)
    assert_string_equal(failure.code, "NO_METADATA");
  assert_int_equal(count, PARTITIONS);
  strand_producer_free(p);
}

static void commit_metadata (const char *topic, const char *group,
                             void *metadata, size_t size) {
  char errstr[256];
  rd_kafka_t *member;
  rd_kafka_topic_partition_t *partition;
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, errstr,
                    sizeof(errstr));
  rd_kafka_conf_set(conf, "group.id", group, errstr, sizeof(errstr));
  member = rd_kafka_new(RD_KAFKA_CONSUMER, conf, errstr, sizeof(errstr));
  partition = rd_kafka_topic_partition_list_add(list, topic, 2);
  partition->offset = 42;
  partition->metadata = malloc(size); /* the list frees it */
  memcpy(partition->metadata, metadata, size);
  partition->metadata_size = size;
  assert_int_equal(rd_kafka_commit(member, list, 0), 0);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_consumer_close(member);
  rd_kafka_destroy(member);
}

static void offsets_of_a_group_come_with_their_metadata (void **state) {
  const char *topic = make_topic();
  char metadata[3000];
  char group[64];
  strand_admin *admin = open_admin();
  strand_failure failure = { "", "" };
  strand_group_offsets offsets;
  (void)state;
  snprintf(group, sizeof(group), "group-%s", topic);
  memset(metadata, 'x', sizeof(metadata));
  commit_metadata(topic, group, metadata, sizeof(metadata));
  if (!strand_admin_group_offsets(admin, group, &topic, 1, 10, &offsets,
                                  &failure))
    fail_msg("%s", failure.message);
  assert_int_equal(offsets.count, 1);
  assert_string_equal(offsets.list[0].topic, topic);
  assert_int_equal(offsets.list[0].partition, 2);
  assert_int_equal(offsets.list[0].offset, 42);
  assert_int_equal(offsets.list[0].metadata_size, sizeof(metadata));
  assert_memory_equal(offsets.list[0].metadata, metadata, sizeof(metadata));
  strand_group_offsets_free(&offsets);
  strand_admin_close(admin, STRAND_ADMIN_END);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(absent_and_empty_stay_different),
    cmocka_unit_test(zero_bytes_and_headers_arrive_as_they_were),
    cmocka_unit_test(the_partition_key_decides_also_without_a_key),
    cmocka_unit_test(hashes_are_those_of_librdkafka),
    cmocka_unit_test(records_without_a_key_reach_several_partitions),
    cmocka_unit_test(close_reports_every_record_once),
    cmocka_unit_test(a_full_queue_says_so_with_its_limit),
    cmocka_unit_test(untaken_deliveries_fill_the_queue_too),
    cmocka_unit_test(what_is_out_counts_beside_untaken_deliveries),
    cmocka_unit_test(a_full_queue_takes_the_reports_that_are_there),
    cmocka_unit_test(bounds_change_while_records_are_out),
    cmocka_unit_test(a_record_fails_when_its_own_time_is_over),
    cmocka_unit_test(a_record_that_is_acknowledged_in_time_has_no_time),
    cmocka_unit_test(a_long_linger_does_not_hold_up_a_flush),
    cmocka_unit_test(a_flush_that_is_not_collected_costs_nothing),
    cmocka_unit_test(a_partition_without_a_leader_is_told),
    cmocka_unit_test(partitions_are_known_soon),
    cmocka_unit_test(offsets_of_a_group_come_with_their_metadata)
  };
  return cmocka_run_group_tests(tests, open_cluster, close_cluster);
}
