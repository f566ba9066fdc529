/*
** kafka_transaction_calls_test.c - the calls of a transaction, and the thread
** that makes them
**
** On the mock cluster, which proves the mechanics alone.
*/
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/c11_threads.h"
#include "base/clock.h"
#include "kafka/mock.h"
#include "kafka/transaction_calls.h"

#define UNREACHABLE "127.0.0.1:1"
#define LIMIT 60.0 /* for what takes no time on a quiet machine */

static rd_kafka_t *open_client (const char *servers) {
  char errstr[200];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *client;
  rd_kafka_conf_set(conf, "bootstrap.servers", servers, NULL, 0);
  rd_kafka_conf_set(conf, "transactional.id", "test", NULL, 0);
  rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
  client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
  assert_non_null(client);
  return client;
}

static strand_transaction_kind make (rd_kafka_t *client,
                                     strand_transaction_call call) {
  strand_transaction_answer answer;
  strand_transaction_make(client, call, (int)(LIMIT * 1000), &answer);
  return strand_transaction_kind_of(&answer);
}

static void offsets_go_into_a_transaction (void **state) {
  strand_failure failure;
  strand_mock *mock = strand_mock_open(1, NULL, &failure);
  rd_kafka_t *client = open_client(strand_mock_bootstrap(mock));
  rd_kafka_consumer_group_metadata_t *group =
    rd_kafka_consumer_group_metadata_new("group");
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  strand_transaction_answer answer;
  (void)state;
  assert_true(strand_mock_create_topic(mock, "topic", 1, &failure));
  rd_kafka_topic_partition_list_add(list, "topic", 0)->offset = 7;
  assert_int_equal(make(client, STRAND_TRANSACTION_CALL_INIT),
                   STRAND_TRANSACTION_WORKED);
  strand_transaction_send_offsets(client, list, group, 1000, &answer);
  assert_int_equal(answer.err, RD_KAFKA_RESP_ERR__STATE); /* none is open */
  assert_true(strlen(answer.reason) > 0);
  assert_int_equal(make(client, STRAND_TRANSACTION_CALL_BEGIN),
                   STRAND_TRANSACTION_WORKED);
  strand_transaction_send_offsets(client, list, group, (int)(LIMIT * 1000),
                                  &answer);
  if (strand_transaction_kind_of(&answer) != STRAND_TRANSACTION_WORKED)
    fail_msg("%s: %s", rd_kafka_err2name(answer.err), answer.reason);
  assert_int_equal(make(client, STRAND_TRANSACTION_CALL_COMMIT),
                   STRAND_TRANSACTION_WORKED);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_consumer_group_metadata_destroy(group);
  rd_kafka_destroy(client);
  strand_mock_close(mock);
}

/* BEGIN in a transaction is how strand asks what is wrong with it. */
static void a_begin_too_many_leaves_the_transaction_open (void **state) {
  strand_failure failure;
  strand_mock *mock = strand_mock_open(1, NULL, &failure);
  rd_kafka_t *client = open_client(strand_mock_bootstrap(mock));
  strand_transaction_answer answer;
  (void)state;
  assert_int_equal(make(client, STRAND_TRANSACTION_CALL_INIT),
                   STRAND_TRANSACTION_WORKED);
  make(client, STRAND_TRANSACTION_CALL_BEGIN);
  strand_transaction_make(client, STRAND_TRANSACTION_CALL_BEGIN, 0, &answer);
  assert_int_equal(answer.err, RD_KAFKA_RESP_ERR__STATE);
  assert_false(answer.is_fatal || answer.is_abortable);
  assert_int_equal(make(client, STRAND_TRANSACTION_CALL_COMMIT),
                   STRAND_TRANSACTION_WORKED);
  rd_kafka_destroy(client);
  strand_mock_close(mock);
}

/*
** The thread
*/

typedef struct fixture {
  rd_kafka_t *client;
  int fd;
  strand_transaction_calls *calls;
} fixture;

static fixture open_calls (const char *servers) {
  fixture f;
  f.client = open_client(servers);
  f.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  f.calls = strand_transaction_calls_new(f.client, f.fd);
  assert_non_null(f.calls);
  return f;
}

static void close_calls (fixture *f) {
  strand_transaction_calls_free(f->calls);
  rd_kafka_destroy(f->client);
  close(f->fd);
}

static void await_answer (fixture *f, strand_transaction_answer *answer) {
  double deadline = strand_clock_now() + LIMIT;
  while (!strand_transaction_calls_take(f->calls, answer)) {
    struct pollfd ready = { .fd = f->fd, .events = POLLIN };
    int ms = strand_clock_left_ms(deadline);
    assert_true(ms > 0);
    assert_int_equal(poll(&ready, 1, ms), 1);
  }
}

static void the_answer_wakes_who_asked (void **state) {
  strand_failure failure;
  strand_mock *mock = strand_mock_open(1, NULL, &failure);
  fixture f = open_calls(strand_mock_bootstrap(mock));
  strand_transaction_answer answer;
  (void)state;
  assert_false(strand_transaction_calls_take(f.calls, &answer));
  assert_true(strand_transaction_calls_ask(
    f.calls, STRAND_TRANSACTION_CALL_INIT, strand_clock_now() + LIMIT));
  await_answer(&f, &answer);
  assert_int_equal(answer.err, RD_KAFKA_RESP_ERR_NO_ERROR);
  assert_false(strand_transaction_calls_take(f.calls, &answer));
  close_calls(&f);
  strand_mock_close(mock);
}

static void without_brokers_it_is_retriable_at_its_deadline (void **state) {
  fixture f = open_calls(UNREACHABLE);
  strand_transaction_answer answer;
  double begun = strand_clock_now();
  (void)state;
  assert_true(strand_transaction_calls_ask(
    f.calls, STRAND_TRANSACTION_CALL_INIT, begun + 1.5));
  await_answer(&f, &answer);
  assert_true(strand_clock_now() >= begun + 1.4); /* more than a slice */
  assert_int_equal(strand_transaction_kind_of(&answer),
                   STRAND_TRANSACTION_RETRIABLE);
  close_calls(&f);
}

/* Its deadline is a day away: this test would not end. */
static void a_stop_ends_a_call_that_waits (void **state) {
  fixture f = open_calls(UNREACHABLE);
  (void)state;
  assert_true(strand_transaction_calls_ask(
    f.calls, STRAND_TRANSACTION_CALL_INIT, strand_clock_now() + 86400));
  close_calls(&f);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(offsets_go_into_a_transaction),
    cmocka_unit_test(a_begin_too_many_leaves_the_transaction_open),
    cmocka_unit_test(the_answer_wakes_who_asked),
    cmocka_unit_test(without_brokers_it_is_retriable_at_its_deadline),
    cmocka_unit_test(a_stop_ends_a_call_that_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
