/*
** kafka_position_test.c - an answer about a position counts for the epoch that
** asked
**
** Without a consumer: a member's position.c is called as its owner does, in
** an order of events that a running one shows once in a year. What blocks
** goes through a real helper to the mock cluster.
*/
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "kafka/clock.h"
#include "kafka/member.h"
#include "kafka/mock.h"
#include "../support/c11_threads.h"

#define TOPIC "t"
#define COMMITTED 7

static strand_mock *cluster;
static sem_t answered, ended;
static strand_consumer consumer; /* only what events need */
static strand_member member;
static const strand_route_limits route = {
  .policy = { 1000, 1000, 1, 0, 0, STRAND_VERDICT_PARK }
};

static void wake (void *arg) {
  (void)arg;
  sem_post(&answered);
}

static void gone (void *arg) {
  (void)arg;
  sem_post(&ended);
}

static void on_notice (void *arg, const strand_notice *notice) {
  (void)arg;
  (void)notice;
}

static rd_kafka_t *open_client (void) {
  char errstr[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *client;
  rd_kafka_conf_set(conf, "bootstrap.servers", strand_mock_bootstrap(cluster),
                    errstr, sizeof(errstr));
  rd_kafka_conf_set(conf, "group.id", "g", errstr, sizeof(errstr));
  client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, errstr, sizeof(errstr));
  assert_non_null(client);
  return client;
}

static rd_kafka_topic_partition_list_t *list_of (int64_t offset,
                                                 uint32_t epoch) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_t *p;
  p = rd_kafka_topic_partition_list_add(list, TOPIC, 0);
  p->offset = offset;
  p->opaque = (void *)(uintptr_t)epoch;
  return list;
}

static int open_all (void **state) {
  strand_engine_config config = { .routes = &route, .route_count = 1,
                                  .max_metadata = 4096,
                                  .max_buffered_records = 100,
                                  .max_buffered_bytes = 100000,
                                  .notice = on_notice };
  rd_kafka_topic_partition_list_t *list = list_of(COMMITTED, 0);
  strand_failure failure;
  (void)state;
  cluster = strand_mock_open(1, &failure);
  assert_non_null(cluster);
  assert_true(strand_mock_create_topic(cluster, TOPIC, 1, &failure));
  sem_init(&answered, 0, 0);
  sem_init(&ended, 0, 0);
  consumer.events = strand_events_new();
  consumer.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  member.consumer = &consumer;
  member.client = open_client();
  member.engine = strand_engine_new(&config);
  member.helper = strand_helper_new(member.client, wake, gone, &member);
  assert_int_equal(rd_kafka_commit(member.client, list, 0), 0);
  rd_kafka_topic_partition_list_destroy(list);
  return 0;
}

static int close_all (void **state) {
  (void)state;
  strand_helper_leave(member.helper,
                      strand_call_new(STRAND_CALL_DESTROY, NULL));
  strand_helper_end(member.helper);
  while (sem_wait(&ended) != 0) {}
  strand_engine_free(member.engine);
  strand_events_free(consumer.events);
  close(consumer.wake_fd);
  strand_mock_close(cluster);
  return 0;
}

/* Epoch 'epoch' asks; what comes back is taken. */
static void ask_as (uint32_t epoch) {
  strand_call *call = strand_call_new(STRAND_CALL_COMMITTED,
                                      list_of(0, epoch));
  assert_non_null(call);
  strand_helper_leave(member.helper, call);
  while (sem_wait(&answered) != 0) assert_int_equal(errno, EINTR);
  strand_position_answers(&member, strand_clock_us());
}

/* The helper was slow, and the partition was revoked and assigned again
** meanwhile: another member may have committed in between. */
static void an_answer_for_an_earlier_epoch_is_dropped (void **state) {
  strand_tag tag = { .epoch = 2, .checking = true };
  strand_tag *tags = &tag;
  (void)state;
  tag.partition = strand_engine_assign(member.engine, TOPIC, 0, tag.epoch,
                                       0, NULL, 0);
  assert_non_null(tag.partition);
  member.tags = &tags;
  member.tag_count = 1;
  assert_int_equal(strand_places_room(&member.places), STRAND_OK);
  strand_places_put(&member.places, TOPIC, 0, &tag);
  ask_as(1);
  assert_false(tag.restored);
  assert_true(tag.checking); /* its own question is still out */
  ask_as(2);
  assert_true(tag.restored);
  assert_int_equal(strand_partition_position(tag.partition), COMMITTED);
  member.tag_count = 0;
  strand_places_free(&member.places);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_answer_for_an_earlier_epoch_is_dropped)
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}
