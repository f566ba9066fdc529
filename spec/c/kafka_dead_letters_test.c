/*
** kafka_dead_letters_test.c - what a dead letter's text is, and that owners,
** their producers and the lua thread get along (run it with SAN=thread)
*/
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "consumer/consumer.h"
#include "kafka/mock.h"
#include "member/dead_letter_format.h"
#include "member/member.h"
#include "../support/c11_threads.h"
#include "../support/start.h"

#define PARTITIONS 4
#define RECORDS 200 /* of each */
#define PATIENCE 90.0

#define BAD "\xef\xbf\xbd"

static void check_text (const char *from, size_t length, size_t most,
                        const char *expected) {
  char to[64];
  size_t written = strand_dead_letter_text(to, most, from, length);
  assert_int_equal(written, strlen(expected));
  assert_memory_equal(to, expected, written);
}

#define TEXT(from, most, expected)                                            \
  check_text(from, sizeof(from) - 1, most, expected)

static void a_text_that_is_utf8_stays (void **state) {
  (void)state;
  TEXT("", 10, "");
  TEXT("plain", 10, "plain");
  TEXT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xa9", 20,
       "\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xa9");
  TEXT("\xed\x9f\xbf\xf4\x8f\xbf\xbf", 20, "\xed\x9f\xbf\xf4\x8f\xbf\xbf");
}

static void a_text_is_cut_between_characters (void **state) {
  (void)state;
  TEXT("abc", 2, "ab");
  TEXT("abc", 0, "");
  TEXT("a\xc3\xa4", 2, "a");
  TEXT("\xe2\x82\xac\xe2\x82\xac", 5, "\xe2\x82\xac");
  TEXT("a\xff", 3, "a"); /* no room for what would stand for it */
}

static void a_broken_byte_is_replaced (void **state) {
  (void)state;
  TEXT("a\xff"
       "b",
       20, "a" BAD "b");
  TEXT("\x80", 20, BAD);
  TEXT("\xc0\x80", 20, BAD BAD);                 /* overlong */
  TEXT("\xe0\x9f\xbf", 20, BAD BAD BAD);         /* overlong */
  TEXT("\xed\xa0\x80", 20, BAD BAD BAD);         /* half a surrogate pair */
  TEXT("\xf4\x90\x80\x80", 20, BAD BAD BAD BAD); /* beyond U+10FFFF */
  TEXT("\xe2\x82x", 20, BAD BAD "x");
}

/* A text that was cut somewhere else: that is no broken byte. */
static void an_unfinished_last_character_is_left_out (void **state) {
  (void)state;
  TEXT("a\xc3", 20, "a");
  TEXT("a\xe2\x82", 20, "a");
  TEXT("a\xf0\x9f\x92", 20, "a");
}

/*
** Letters of a partition that goes
*/

static void ignore (void *arg, const strand_orphan *orphan) {
  (void)arg;
  (void)orphan;
}

/* They are the next owner's: what is not out is not sent. */
static void dead_letters_go_with_their_partition (void **state) {
  static const strand_route_limits route = { .policy.attempts = 1 };
  const strand_engine_config config = { .routes = &route, .route_count = 1 };
  strand_engine *engine = strand_engine_new(&config);
  strand_partition *p = strand_engine_assign(engine, "t", 0, 1, 0, NULL, 0);
  strand_record records[3];
  strand_outbox outbox = { .out = 0 };
  strand_dead_letters dead_letters;
  strand_assigned assigned;
  (void)state;
  strand_list_init(&assigned.dead_letters);
  strand_partition_set_opaque(p, &assigned);
  strand_dead_letters_init(&dead_letters, NULL, &outbox, NULL);
  for (int i = 0; i < 3; i++) {
    assert_true(strand_dead_letters_take(&dead_letters, p, &records[i]));
  }
  strand_dead_letters_check(&dead_letters);
  strand_dead_letters_forget(&dead_letters, &assigned);
  strand_dead_letters_check(&dead_letters);
  assert_true(strand_list_empty(&assigned.dead_letters));
  assert_true(strand_list_empty(&dead_letters.ready));
  strand_dead_letters_free(&dead_letters);
  strand_engine_revoke(engine, p, ignore, NULL);
  strand_engine_free(engine);
}

/* Whatever it says. */
static void a_report_makes_room (void **state) {
  const rd_kafka_resp_err_t errors[] = {
    RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR__TRANSPORT,
    RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
  };
  (void)state;
  for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
    strand_outbox full = { .out = 1, .full = true };
    strand_outbox alone = { .out = 1, .one_alone = true };
    strand_outbox_report(&full, errors[i], 1);
    strand_outbox_check(&full);
    assert_false(strand_outbox_is_full(&full));
    strand_outbox_report(&alone, errors[i], 1);
    strand_outbox_check(&alone);
    assert_int_equal(strand_outbox_count(&alone), 0);
  }
}

/*
** Threads
*/

static strand_mock *cluster;
static sem_t released;

static void serve (void *state, strand_task *task, bool (*next)(void *arg),
                   void *arg) {
  (void)state;
  do {
    if (task->record->offset % 2 == 0) {
      task->outcome.kind = STRAND_OUTCOME_DEAD_LETTER;
    }
  } while (next(arg));
}

static void *open_state (void *config, strand_consumer *consumer,
                         strand_worker_slot *worker_slot,
                         strand_failure *failure) {
  (void)consumer;
  (void)worker_slot;
  (void)failure;
  return config;
}

static void close_state (void *state) {
  (void)state;
}

static void release (void *config) {
  (void)config;
  sem_post(&released);
}

static strand_consumer *open_consumer (void) {
  static const char *const topic = "source";
  strand_property props[] = { { "bootstrap.servers",
                                strand_mock_bootstrap(cluster) },
                              { "group.id", "letters" },
                              { "session.timeout.ms", "6000" } };
  strand_route route = { .limits.policy = { 1000, 60000000, 2, 0.5, 3,
                                            STRAND_OUTCOME_DEAD_LETTER } };
  strand_consumer_config c = { .kafka = props,
                               .kafka_count = 3,
                               .topics = &topic,
                               .topic_count = 1,
                               .members = 2,
                               .ordering = STRAND_BY_KEY,
                               .max_metadata = 4096,
                               .dead_letters = { .topic = "dead",
                                                 .kafka = props,
                                                 .kafka_count = 1,
                                                 .max_reason = 100 },
                               .limits = { .workers = 4,
                                           .max_in_flight = 4,
                                           .max_ready = 256,
                                           .max_buffered_records = 10000,
                                           .max_buffered_bytes = 1u << 20,
                                           .max_waiting_records = 10000,
                                           .max_waiting_bytes = 1u << 20,
                                           .commit_interval_us = 20000,
                                           .revoke_grace_us = 1000000 },
                               .routes = &route,
                               .route_count = 1,
                               .handler = { .config = &released,
                                            .open = open_state,
                                            .serve = serve,
                                            .close = close_state,
                                            .release = release } };
  strand_failure failure = { "", "" };
  strand_consumer *k = strand_consumer_open(&c, &failure);
  if (k == NULL || !start_consumer(k, &failure)) {
    fail_msg("%s: %s", failure.code, failure.message);
  }
  return k;
}

static void fill (void) {
  char error[256], key[16];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *rk;
  rd_kafka_conf_set(conf, "bootstrap.servers", strand_mock_bootstrap(cluster),
                    error, sizeof(error));
  rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
  assert_non_null(rk);
  for (int i = 0; i < PARTITIONS * RECORDS; i++) {
    int length = snprintf(key, sizeof(key), "k%d", i % 100);
    assert_int_equal(
      rd_kafka_producev(
        rk, RD_KAFKA_V_TOPIC("source"), RD_KAFKA_V_PARTITION(i % PARTITIONS),
        RD_KAFKA_V_KEY(key, (size_t)length),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
      0);
  }
  assert_int_equal(rd_kafka_flush(rk, 20000), 0);
  rd_kafka_destroy(rk);
}

static void serve_lua (strand_consumer *k) {
  struct pollfd fd = { strand_consumer_fd(k), POLLIN, 0 };
  strand_event event;
  poll(&fd, 1, 20);
  while (strand_consumer_next_event(k, &event)) strand_event_clear(&event);
  strand_consumer_oauth_fail(k, "nobody wants one");
}

static uint64_t dead_letters_of (strand_consumer *k) {
  strand_stats stats;
  uint64_t sent;
  assert_true(strand_consumer_stats(k, 0, &stats));
  sent = stats.engine.dead_lettered;
  strand_stats_clear(&stats);
  return sent;
}

/* The second member may come when some were sent: those are sent again. */
static bool all_committed (strand_consumer *k) {
  strand_report report;
  size_t full = 0;
  assert_true(strand_consumer_report(k, &report));
  for (size_t i = 0; i < report.committed_count; i++) {
    if (report.committed[i].offset == RECORDS) full++;
  }
  strand_report_clear(&report);
  return full == PARTITIONS;
}

static void dead_letters_of_two_members_are_all_sent (void **state) {
  double deadline = strand_clock_now() + PATIENCE;
  strand_consumer *k;
  strand_report report;
  (void)state;
  fill();
  k = open_consumer();
  while (!all_committed(k) || dead_letters_of(k) < PARTITIONS * RECORDS / 2) {
    assert_true(strand_clock_now() < deadline);
    serve_lua(k);
  }
  strand_consumer_close_begin(k, STRAND_CLOSE_FINISH, 10);
  while (!strand_consumer_close_step(k)) serve_lua(k);
  assert_true(strand_consumer_report(k, &report));
  assert_int_equal(report.unfinished_total, 0);
  assert_int_equal(report.committed_count, PARTITIONS);
  for (size_t i = 0; i < report.committed_count; i++) {
    assert_int_equal(report.committed[i].offset, RECORDS);
  }
  strand_report_clear(&report);
  strand_consumer_discard(k, 5);
  sem_wait(&released);
}

/* Never started: its clients go by themselves. */
static void a_consumer_that_never_ran_lets_its_producers_go (void **state) {
  static const char *const topic = "source";
  strand_property props[] = { { "bootstrap.servers", "127.0.0.1:1" },
                              { "group.id", "letters" } };
  strand_route route = { .limits.policy.delay_us = 1000 };
  strand_consumer_config c = {
    .kafka = props,
    .kafka_count = 2,
    .topics = &topic,
    .topic_count = 1,
    .members = 2,
    .dead_letters = { .topic = "dead", .kafka = props, .kafka_count = 1 },
    .has_log = true,
    .routes = &route,
    .route_count = 1,
    .limits = { .workers = 1, .max_in_flight = 1 },
    .handler = { .config = &released,
                 .open = open_state,
                 .serve = serve,
                 .close = close_state,
                 .release = release }
  };
  strand_failure failure = { "", "" };
  strand_consumer *k = strand_consumer_open(&c, &failure);
  (void)state;
  assert_non_null(k);
  strand_consumer_close_begin(k, STRAND_CLOSE_NOW, 2);
  while (!strand_consumer_close_step(k)) serve_lua(k);
  strand_consumer_discard(k, 2);
  sem_wait(&released);
}

static int open_cluster (void **state) {
  strand_failure failure;
  (void)state;
  sem_init(&released, 0, 0);
  cluster = strand_mock_open(1, NULL, &failure);
  return cluster == NULL
         || !strand_mock_create_topic(cluster, "source", PARTITIONS, &failure)
         || !strand_mock_create_topic(cluster, "dead", 2, &failure);
}

static int close_cluster (void **state) {
  (void)state;
  strand_mock_close(cluster);
  sem_destroy(&released);
  return 0;
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_text_that_is_utf8_stays),
    cmocka_unit_test(a_text_is_cut_between_characters),
    cmocka_unit_test(a_broken_byte_is_replaced),
    cmocka_unit_test(an_unfinished_last_character_is_left_out),
    cmocka_unit_test(dead_letters_go_with_their_partition),
    cmocka_unit_test(a_report_makes_room),
    cmocka_unit_test(dead_letters_of_two_members_are_all_sent),
    cmocka_unit_test(a_consumer_that_never_ran_lets_its_producers_go)
  };
  return cmocka_run_group_tests(tests, open_cluster, close_cluster);
}
