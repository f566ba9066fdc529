/*
** kafka_position_test.c - an answer about a position counts for the epoch that
** asked, a log that was made anew inherits nothing, and a seek that failed has
** moved nothing
**
** Without a consumer: a member's position.c is called as its owner does, in
** an order of events that a running one shows once in a year. What blocks
** goes through a real helper to the mock cluster.
*/
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kafka/committed.h"
#include "member/member.h"
#include "kafka/mock.h"
#include "../support/c11_threads.h"

#define TOPIC "t"
#define COMMITTED 7
/* Seconds that an answer takes: less than the helper asks at once (SLICE_MS),
** past which librdkafka 2.3 and later ends the connection. */
#define SLOW 0.4

static strand_mock *cluster;
static strand_waker heard; /* the helper has answered */
static sem_t ended;
static strand_consumer consumer; /* only what events need */
static strand_member member;
static const strand_route_limits route = { .policy = { 1000, 1000, 1, 0, 0,
                                                       STRAND_OUTCOME_PARK } };

static void wait_for_answer (void) {
  strand_waker_sleep(&heard, strand_clock_us() + 1000000);
}

static void gone (void *arg) {
  (void)arg;
  sem_post(&ended);
}

static void on_notice (void *arg, const strand_notice *notice) {
  (void)arg;
  (void)notice;
}

static rd_kafka_t *open_client (const char *reset) {
  char errstr[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *client;
  rd_kafka_conf_set(conf, "bootstrap.servers", strand_mock_bootstrap(cluster),
                    errstr, sizeof(errstr));
  rd_kafka_conf_set(conf, "group.id", "g", errstr, sizeof(errstr));
  rd_kafka_conf_set(conf, "enable.partition.eof", "true", errstr,
                    sizeof(errstr));
  rd_kafka_conf_set(conf, "auto.offset.reset", reset, errstr, sizeof(errstr));
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
  strand_engine_config config = { .routes = &route,
                                  .route_count = 1,
                                  .max_metadata = 4096,
                                  .max_buffered_records = 100,
                                  .max_buffered_bytes = 100000000,
                                  .notice = on_notice };
  rd_kafka_topic_partition_list_t *list = list_of(COMMITTED, 0);
  strand_failure failure;
  (void)state;
  cluster = strand_mock_open(1, NULL, &failure);
  assert_non_null(cluster);
  assert_true(strand_mock_create_topic(cluster, TOPIC, 1, &failure));
  strand_waker_init(&heard);
  assert_true(strand_waker_open(&heard, &failure));
  sem_init(&ended, 0, 0);
  assert_true(strand_notifier_init(&consumer.notifier, true, false));
  assert_true(strand_notifier_open(&consumer.notifier, &failure));
  assert_true(strand_inboxes_init(&consumer.inboxes, 1));
  strand_member_init(&member, &consumer, 0);
  assert_true(
    strand_settings_init(&consumer.settings, &(strand_consumer_config){ 0 }));
  strand_tickets_init(&consumer.tickets);
  strand_tally_init(&consumer.tally);
  member.reader.max_ready = 64;
  member.waker->queue_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  member.owner.client = open_client("earliest");
  member.owner.engine = strand_engine_new(&config);
  member.owner.helper = strand_helper_new(member.owner.client, &heard, gone,
                                          &member);
  assert_int_equal(rd_kafka_commit(member.owner.client, list, 0), 0);
  rd_kafka_topic_partition_list_destroy(list);
  return 0;
}

static void close_client (void) {
  rd_kafka_assign(member.owner.client, NULL);
  strand_helper_leave(member.owner.helper,
                      strand_call_new(STRAND_CALL_DESTROY, NULL));
  strand_helper_end(member.owner.helper);
  while (sem_wait(&ended) != 0) {
  }
}

static int close_all (void **state) {
  (void)state;
  close_client();
  strand_engine_free(member.owner.engine);
  strand_notifier_free(&consumer.notifier);
  strand_mock_close(cluster);
  strand_waker_close(&heard);
  free(member.assignment.partitions);
  strand_places_free(&member.assignment.places);
  strand_inboxes_free(&consumer.inboxes);
  strand_settings_free(&consumer.settings);
  return 0;
}

/* As the owner does between two turns. */
static void check_parts (void) {
  strand_known_errors_check(&member.known_errors);
  strand_positions_check(&member.positions);
  strand_starts_check(&member.starts);
  strand_reader_check(&member.reader);
  strand_seeks_check(&member.seeks);
}

/* At least one. */
static void take_answer (void) {
  member.snapshot.changed = false;
  while (!member.snapshot.changed) {
    wait_for_answer();
    strand_member_answers(&member, strand_clock_us());
    strand_seek_serve(&member.seeks);
  }
  check_parts();
}

/* Epoch 'epoch' asks; what comes back is taken. */
static void ask_as (uint32_t epoch) {
  strand_call *call = strand_call_new(STRAND_CALL_COMMITTED,
                                      list_of(0, epoch));
  assert_non_null(call);
  strand_helper_leave(member.owner.helper, call);
  take_answer();
}

/* The only partition: assigned, and restored at 'base' unless that is -2. */
static strand_assigned *assign (const char *topic, int64_t base) {
  strand_assigned *assigned = calloc(1, sizeof(*assigned));
  strand_assign_answer answer;
  assert_int_equal(
    strand_inboxes_assign(&consumer.inboxes, 0, topic, 0, &answer), STRAND_OK);
  assigned->epoch = answer.epoch;
  assigned->end = assigned->gap.from = -1;
  assigned->position.below = assigned->position.claimed = -1;
  strand_list_init(&assigned->dead_letters);
  strand_list_init(&assigned->outputs);
  assigned->partition = strand_engine_assign(member.owner.engine, topic, 0,
                                             assigned->epoch, 0, NULL, 0);
  assert_non_null(assigned->partition);
  assert_int_equal(strand_places_room(&member.assignment.places), STRAND_OK);
  strand_places_put(&member.assignment.places,
                    strand_partition_topic(assigned->partition), 0, assigned);
  strand_partition_set_opaque(assigned->partition, assigned);
  if (base >= -1) {
    assert_int_equal(strand_engine_restored(member.owner.engine,
                                            assigned->partition, base, NULL),
                     STRAND_OK);
    assigned->position.restored = assigned->more = true;
  }
  if (member.assignment.partitions == NULL) {
    member.assignment.partitions = calloc(16, sizeof(strand_assigned *));
    member.assignment.capacity = 16;
  }
  member.assignment.partitions[0] = assigned;
  member.assignment.count = 1;
  return assigned;
}

static void unassign (void) {
  strand_epoch_end(&member.epochs, member.assignment.partitions[0]);
  assert_int_equal(member.assignment.count, 0);
}

/* An assignment over another would have librdkafka 2.0 stop a partition of both
** twice, if the next comes at once, and fail an assertion of its own. */
static void give (rd_kafka_topic_partition_list_t *list) {
  rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(1);
  assert_int_equal(rd_kafka_assign(member.owner.client, none), 0);
  assert_int_equal(rd_kafka_assign(member.owner.client, list), 0);
  rd_kafka_topic_partition_list_destroy(none);
  rd_kafka_topic_partition_list_destroy(list);
}

/* librdkafka reads it, too, from 'offset' on. */
static void fetch (const char *topic, int64_t offset) {
  static const uint64_t one = 1;
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  strand_assigned *assigned = member.assignment.partitions[0];
  rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
  assigned->queue = rd_kafka_queue_get_partition(member.owner.client, topic,
                                                 0);
  rd_kafka_queue_forward(assigned->queue, NULL);
  rd_kafka_queue_io_event_enable(assigned->queue, member.waker->queue_fd, &one,
                                 sizeof(one));
  give(list);
}

/* What was left unread says nothing any more. */
static void read_once (void) {
  struct pollfd fd = { member.waker->queue_fd, POLLIN, 0 };
  eventfd_t count;
  if (!strand_reader_busy(&member.reader)) {
    assert_int_equal(poll(&fd, 1, 20000), 1);
    eventfd_read(member.waker->queue_fd, &count);
    member.reader.ready = true;
  }
  strand_reader_read(&member.reader, strand_clock_us());
  strand_epoch_reset(&member.epochs, strand_clock_us());
  check_parts();
}

/* Until a new epoch has begun. */
static void read_until_restart (void) {
  uint32_t epoch = member.assignment.partitions[0]->epoch;
  while (member.assignment.partitions[0]->epoch == epoch) read_once();
}

/* How many events of 'type' there were; the last of them. */
static int events_of (const char *type, strand_event *last) {
  strand_event event;
  int count = 0;
  while (strand_events_pop(consumer.notifier.events, &event)) {
    if (strcmp(event.type, type) == 0) {
      count++;
      *last = event;
    }
    strand_event_clear(&event); /* numbers stay */
  }
  return count;
}

/* What the group would be told now; -1 for nothing. */
static int64_t committable (void) {
  strand_commit *commit = strand_engine_commit(member.owner.engine,
                                               strand_clock_us(), NULL);
  int64_t offset = -1;
  if (commit == NULL) return -1;
  assert_int_equal(commit->count, 1);
  assert_string_equal(commit->items[0].metadata, "");
  offset = commit->items[0].offset;
  strand_engine_commit_answer(member.owner.engine, commit, STRAND_COMMITTED,
                              strand_clock_us());
  return offset;
}

static void produce (const char *topic, int count, size_t size) {
  char errstr[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *client;
  char *value = calloc(1, size);
  rd_kafka_conf_set(conf, "bootstrap.servers", strand_mock_bootstrap(cluster),
                    errstr, sizeof(errstr));
  rd_kafka_conf_set(conf, "linger.ms", "0", errstr, sizeof(errstr));
  client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
  for (int i = 0; i < count; i++) {
    assert_int_equal(
      rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic),
                        RD_KAFKA_V_PARTITION(0),
                        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                        RD_KAFKA_V_VALUE(value, size), RD_KAFKA_V_END),
      0);
    assert_int_equal(rd_kafka_flush(client, 20000), 0); /* a batch each */
  }
  rd_kafka_destroy(client);
  free(value);
}

static void create (const char *topic) {
  strand_failure failure;
  assert_true(strand_mock_create_topic(cluster, topic, 1, &failure));
}

static void wait_for_some (rd_kafka_queue_t *queue, size_t count) {
  int64_t limit_us = strand_clock_us() + 20000000;
  while (rd_kafka_queue_length(queue) < count) {
    assert_true(strand_clock_us() < limit_us);
    strand_waker_sleep(&heard, strand_clock_us() + 10000);
  }
}

/* What the group has, as a helper would answer. */
static void answer_committed (const strand_assigned *assigned, int64_t offset,
                              rd_kafka_resp_err_t err) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(
    list, strand_partition_topic(assigned->partition), 0);
  strand_call *call;
  p->offset = offset;
  p->err = err;
  p->opaque = (void *)(uintptr_t)assigned->epoch;
  call = strand_call_new(STRAND_CALL_COMMITTED, list);
  strand_position_committed(&member.positions, call, strand_clock_us());
  strand_call_free(call);
}

static void answer_unstable (strand_assigned *assigned) {
  answer_committed(assigned, -1, RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT);
  assert_false(assigned->position.restored);
}

/* Reads, or goes on with what is asked of the helper. */
static void read_or_ask (strand_assigned *assigned) {
  if (!assigned->position.checking) {
    read_once();
    return;
  }
  if (assigned->position.asked) take_answer();
  else strand_waker_sleep(&heard, assigned->position.retry_us);
  strand_position_tick(&member.positions, strand_clock_us());
}

static size_t buffered_of (const strand_assigned *assigned) {
  strand_partition_stats stats;
  strand_partition_stats_read(member.owner.engine, assigned->partition, 0,
                              &stats);
  return stats.buffered_records;
}

/* Until all of its 'count' records are read: from 'first' on. */
static void read_from (strand_assigned *assigned, int64_t first,
                       int64_t count) {
  strand_event event;
  while (assigned->end < count) read_or_ask(assigned);
  assert_int_equal(buffered_of(assigned), count - first);
  assert_int_equal(events_of("reset", &event), 0);
}

/* The helper was slow, and the partition was revoked and assigned again
** meanwhile: another member may have committed in between. */
static void an_answer_for_an_earlier_epoch_is_dropped (void **state) {
  strand_assigned *assigned = assign(TOPIC, -2);
  (void)state;
  assigned->position.checking = true;
  ask_as(assigned->epoch - 1);
  assert_false(assigned->position.restored);
  assert_true(assigned->position.checking); /* its own question is still out */
  ask_as(assigned->epoch);
  assert_true(assigned->position.restored);
  assert_int_equal(strand_partition_position(assigned->partition), COMMITTED);
  unassign();
}

static void check_reset (int64_t from, int64_t to) {
  strand_assigned *assigned = member.assignment.partitions[0];
  strand_event event;
  assert_int_equal(events_of("reset", &event), 1);
  assert_int_equal(event.offset, from);
  assert_int_equal(event.to, to);
  assert_int_equal(strand_engine_commit_due(member.owner.engine, 0), 0);
  assert_int_equal(strand_partition_position(assigned->partition), to);
  assert_int_equal(committable(), to);
  assert_true(assigned->position.checking); /* until it was sought */
  take_answer();
  assert_false(assigned->position.checking);
}

/* Its topic was made anew: by the time that anybody asks, the log may have
** grown past the position. */
static void an_end_below_the_position_is_a_reset_at_once (void **state) {
  strand_event event;
  (void)state;
  create("anew");
  assign("anew", 5)->position.first_seen = true;
  fetch("anew", 0);
  events_of("", &event);
  read_until_restart();
  check_reset(5, 0);
  unassign();
}

static void a_record_below_the_position_is_a_reset_at_once (void **state) {
  strand_event event;
  (void)state;
  create("again");
  produce("again", 8, 1);
  assign("again", 5)->position.first_seen = true; /* read before */
  fetch("again", 1);
  events_of("", &event);
  read_until_restart();
  check_reset(5, 1);
  unassign();
  assign("again", 5); /* the first since the assignment */
  assert_false(strand_position_accept(
    &member.positions, member.assignment.partitions[0], 1, strand_clock_us()));
  strand_epoch_reset(&member.epochs, strand_clock_us());
  check_reset(5, 1);
  unassign();
}

/* The mock keeps 5 MiB. */
static void a_jump_is_told_once (void **state) {
  strand_event event;
  (void)state;
  create("cut");
  produce("cut", 12, 900000);
  assign("cut", 0);
  fetch("cut", 0);
  events_of("", &event);
  while (!member.assignment.partitions[0]->position.checking) read_once();
  take_answer(); /* watermarks */
  assert_int_equal(events_of("truncated", &event), 1);
  assert_int_equal(event.offset, 0);
  assert_true(event.to > 0);
  /* Sought: which may have been answered together with the other. */
  while (member.assignment.partitions[0]->position.checking) take_answer();
  while (!member.assignment.partitions[0]->position.first_seen) read_once();
  assert_int_equal(member.assignment.partitions[0]->gap.from, -1);
  unassign();
}

/* A commit's metadata says that 8 and 9 are done, and the log ends at 8. */
static void a_log_shorter_than_its_metadata_is_a_reset (void **state) {
  strand_event event;
  (void)state;
  create("claims");
  produce("claims", 8, 1);
  assign("claims", 5)->position.claimed = 9;
  fetch("claims", 5);
  events_of("", &event);
  while (!member.assignment.partitions[0]->position.checking) read_once();
  assert_int_equal(
    strand_partition_position(member.assignment.partitions[0]->partition), 5);
  take_answer(); /* watermarks */
  assert_int_equal(events_of("reset", &event), 1);
  assert_int_equal(event.offset, 5);
  assert_int_equal(event.to, 0);
  unassign();
}

static void seek_to (strand_ticket *ticket, const char *topic,
                     int64_t offset) {
  strand_seek_request *request = calloc(1, sizeof(*request));
  assert_non_null(request);
  request->ticket = ticket;
  request->kind = STRAND_SEEK_OFFSET;
  request->value = offset;
  request->topic = strdup(topic);
  *ticket = (strand_ticket){ .of = &consumer.tickets, .waiting = 1 };
  strand_seek_take(&member.seeks, request);
  strand_seek_serve(&member.seeks);
}

static void a_seek_outside_the_log_has_moved_nothing (void **state) {
  static const int64_t outside[] = { 9, 1000 };
  strand_ticket ticket;
  strand_event event;
  strand_assigned *assigned;
  (void)state;
  create("short");
  produce("short", 8, 1);
  assigned = assign("short", 5);
  fetch("short", 5);
  events_of("", &event);
  for (size_t i = 0; i < 2; i++) {
    seek_to(&ticket, "short", outside[i]);
    take_answer();
    assert_int_equal(ticket.waiting, 0);
    assert_string_equal(ticket.failure.code, "OFFSET_OUT_OF_RANGE");
    assert_ptr_equal(member.assignment.partitions[0], assigned);
    assert_false(assigned->position.checking);
  }
  assert_int_equal(committable(), -1); /* 5 is known */
  assert_int_equal(events_of("sought", &event), 0);
  unassign();
}

/* Nothing moves before the helper was there; and two at once go there one
** after the other. */
static void a_seek_moves_when_it_is_done (void **state) {
  strand_ticket one, two;
  strand_event event;
  strand_assigned *assigned;
  (void)state;
  create("moves");
  produce("moves", 8, 1);
  assigned = assign("moves", 5);
  assigned->position.first_seen = true;
  fetch("moves", 5);
  events_of("", &event);
  seek_to(&one, "moves", 2);
  seek_to(&two, "moves", 3);
  while (one.waiting > 0) {
    assert_ptr_equal(member.assignment.partitions[0], assigned);
    assert_int_equal(strand_partition_position(assigned->partition), 5);
    assert_int_equal(events_of("sought", &event), 0);
    take_answer();
  }
  while (two.waiting > 0) take_answer();
  assert_string_equal(one.failure.code, "");
  assert_string_equal(two.failure.code, "");
  assert_int_equal(
    strand_partition_position(member.assignment.partitions[0]->partition), 3);
  assert_int_equal(events_of("sought", &event), 2);
  assert_int_equal(event.offset, 2);
  assert_int_equal(event.to, 3);
  assert_int_equal(committable(), 3);
  unassign();
}

/* Given up while it waits, or while it is asked where that is. */
static void a_seek_that_was_given_up_does_not_happen (void **state) {
  strand_ticket one, two, three;
  strand_event event;
  (void)state;
  create("given");
  produce("given", 8, 1);
  assign("given", 5)->position.first_seen = true;
  fetch("given", 5);
  events_of("", &event);
  seek_to(&one, "given", 2);
  seek_to(&two, "given", 3);
  seek_to(&three, "given", 4);
  one.dropped = two.dropped = true;
  one.waiting = two.waiting = 2; /* these are no one's to free */
  while (three.waiting > 0) take_answer();
  assert_string_equal(one.failure.code, "TIMED_OUT");
  assert_string_equal(two.failure.code, "TIMED_OUT");
  assert_string_equal(three.failure.code, "");
  assert_int_equal(events_of("sought", &event), 1);
  assert_int_equal(event.to, 4);
  assert_int_equal(
    strand_partition_position(member.assignment.partitions[0]->partition), 4);
  unassign();
}

/* A partition that is being assigned has its seek wait. */
static void a_seek_waits_for_its_partition (void **state) {
  strand_ticket ticket;
  strand_event event;
  strand_assigned *assigned;
  (void)state;
  create("early");
  produce("early", 8, 1);
  assigned = assign("early", 5);
  assigned->position.first_seen = true;
  fetch("early", 5);
  events_of("", &event);
  assigned->position.restored = false;
  seek_to(&ticket, "early", 2);
  assert_int_equal(ticket.waiting, 1);
  assigned->position.restored = true;
  strand_seek_serve(&member.seeks);
  while (ticket.waiting > 0) take_answer();
  assert_string_equal(ticket.failure.code, "");
  assert_int_equal(events_of("sought", &event), 1);
  member.assignment.partitions[0]->position.restored = false;
  seek_to(&ticket, "early", 3);
  assert_int_equal(ticket.waiting, 1);
  unassign();
  strand_seek_serve(&member.seeks);
  assert_string_equal(ticket.failure.code, "NOT_ASSIGNED");
}

/* The seek itself fails, or its answer is late: librdkafka may or may not be
** there, so it is sent back. */
static void a_seek_that_failed_goes_back (void **state) {
  strand_ticket ticket = { .of = &consumer.tickets, .waiting = 1 };
  rd_kafka_topic_partition_list_t *list = list_of(2, 0);
  strand_call *call = strand_call_new(STRAND_CALL_SEEK, list);
  strand_event event;
  strand_assigned *assigned = assign(TOPIC, 5);
  (void)state;
  fetch(TOPIC, 5);
  events_of("", &event);
  assigned->position.checking = assigned->position.asked = true;
  assigned->position.target = strand_position_home(assigned);
  call->why = STRAND_WHY_SEEK;
  call->arg = &ticket;
  call->epoch = assigned->epoch;
  call->err = RD_KAFKA_RESP_ERR__TIMED_OUT;
  assert_false(
    strand_seek_answer(&member.seeks, assigned, call, strand_clock_us()));
  strand_call_free(call);
  assert_string_equal(ticket.failure.code, "TIMED_OUT");
  assert_true(assigned->position.checking && !assigned->position.asked);
  strand_position_tick(&member.positions, assigned->position.retry_us);
  assert_true(assigned->position.asked);
  while (
    assigned->position.checking) { /* a seek that takes too long is repeated */
    strand_position_tick(&member.positions, assigned->position.retry_us);
    take_answer();
  }
  assert_int_equal(strand_partition_position(assigned->partition), 5);
  assert_int_equal(events_of("sought", &event), 0);
  unassign();
}

/* librdkafka tells once that it may not see a topic. Who in the group is not
** given it afterwards never reads it. */
static void a_topic_that_is_seen_again_is_not_refused (void **state) {
  static const char hidden[] = "Subscribed topic not available: hidden: no";
  strand_call *call = strand_call_new(STRAND_CALL_OWNERS, NULL);
  int64_t now_us = strand_clock_us();
  (void)state;
  strand_health_error(&member.health,
                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, hidden,
                      NULL, -1, now_us);
  strand_health_error(&member.health,
                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "no",
                      TOPIC, 0, now_us); /* may not be read */
  call->owners = strand_owners_new();
  rd_kafka_topic_partition_list_add(call->owners->topics, "hidden", 1);
  rd_kafka_topic_partition_list_add(call->owners->topics, TOPIC, 1);
  call->epoch = member.topics.assignments
                - 1;                      /* whoever asked for what reason */
  member.topics.asked_owners_us = now_us; /* it was asked before: not known */
  strand_topics_owners(&member.topics, call, now_us);
  assert_int_equal(member.known_errors.count, 2);
  member.topics.asked_owners_us = now_us + 1;
  strand_topics_owners(&member.topics, call, now_us);
  assert_int_equal(member.known_errors.count, 1);
  assert_int_equal(member.known_errors.list->partition, 0);
  strand_known_errors_free(&member.known_errors);
  strand_call_free(call);
}

/* Each assignment puts the question of who has what off; but a group that is
** assigned anew each second is asked as well. */
static void who_has_what_is_asked_amid_assignments (void **state) {
  rd_kafka_topic_partition_list_t *topics = list_of(0, 0);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  strand_topics *t = &member.topics;
  int64_t now_us = strand_clock_us(), end_us = now_us + 10000000;
  (void)state;
  rd_kafka_conf_set(conf, "group.id", "g", NULL, 0);
  consumer.settings.subscription = strand_subscription_new(topics, conf);
  rd_kafka_conf_destroy(conf);
  while (!t->asking_owners) {
    assert_true(now_us < end_us);
    strand_topics_revoked(t);
    strand_topics_assigned(t, now_us);
    strand_topics_tick(t, now_us);
    now_us += 900000;
    if (!t->asking_owners) strand_topics_tick(t, now_us);
  }
  assert_true(now_us > end_us - 6000000); /* it is put off at first */
  take_answer();
  assert_false(t->asking_owners);
  strand_subscription_free(consumer.settings.subscription);
  consumer.settings.subscription = NULL;
  rd_kafka_topic_partition_list_destroy(topics);
}

static void add_owned (strand_owners *owners, const char *topic,
                       int32_t partitions, int64_t owned) {
  rd_kafka_topic_partition_list_add(owners->topics, topic, partitions)
    ->offset = owned;
}

/* Of what nobody has, a member joins anew for when it is its turn; the next
** assignment may be what it waited for. */
static void a_turn_lasts_as_long_as_its_assignment (void **state) {
  strand_call *call = strand_call_new(STRAND_CALL_OWNERS, NULL);
  rd_kafka_topic_partition_list_t *topics = list_of(0, 0);
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  strand_topics *t = &member.topics;
  int64_t now_us = strand_clock_us();
  (void)state;
  rd_kafka_conf_set(conf, "group.id", "g", NULL, 0);
  consumer.settings.subscription = strand_subscription_new(topics, conf);
  rd_kafka_conf_destroy(conf);
  strand_topics_assigned(t, now_us);
  call->owners = strand_owners_new();
  call->owners->settled = true;
  call->owners->members = call->owners->turn = 2;
  add_owned(call->owners, TOPIC, 3, 1);
  add_owned(call->owners, "full", 2, 2);
  call->epoch = t->assignments;
  strand_topics_owners(t, call, now_us);
  strand_topics_check(t);
  assert_true(t->turn_us > now_us && t->owners_us == t->turn_us);
  assert_non_null(strand_topic_problems_find(&t->topic_problems, TOPIC));
  assert_null(strand_topic_problems_find(&t->topic_problems, "full"));
  strand_topics_revoked(t);
  strand_topics_check(t);
  assert_true(t->owners_us == INT64_MAX);
  strand_topics_assigned(t, now_us + 1);
  strand_topics_check(t);
  assert_true(t->turn_us == 0);
  strand_topics_free(t);
  strand_call_free(call);
  strand_subscription_free(consumer.settings.subscription);
  consumer.settings.subscription = NULL;
  rd_kafka_topic_partition_list_destroy(topics);
}

/* Where the log starts says what a gap was: here nothing was deleted. */
static void a_gap_is_asked_about_once (void **state) {
  strand_assigned *assigned = assign(TOPIC, 5);
  strand_event event;
  (void)state;
  events_of("", &event);
  strand_starts_gap(assigned, 5, 9);
  strand_starts_gap(assigned, 10, 12); /* one at a time, the widest */
  assert_int_equal(assigned->gap.from, 5);
  strand_starts_gap(assigned, 20, 30);
  assert_int_equal(assigned->gap.from, 20);
  check_parts();
  assert_true(strand_starts_tick(&member.starts, strand_clock_us())
              == INT64_MAX);
  assert_true(assigned->gap.asked);
  strand_starts_gap(assigned, 40, 90);
  assert_int_equal(assigned->gap.from, 20);
  check_parts();
  take_answer();
  assert_true(!assigned->gap.asked && assigned->gap.from < 0);
  assert_int_equal(events_of("truncated", &event), 0);
  unassign();
}

static void each_partition_has_its_own_answer (void **state) {
  rd_kafka_topic_partition_list_t *list = list_of(COMMITTED, 0);
  rd_kafka_topic_partition_t *p = &list->elems[0];
  atomic_bool hurried = false;
  (void)state;
  p->metadata = strdup("what was done");
  p->metadata_size = strlen(p->metadata);
  assert_int_equal(rd_kafka_commit(member.owner.client, list, 0), 0);
  rd_kafka_topic_partition_list_destroy(list);
  list = list_of(0, 0);
  rd_kafka_topic_partition_list_add(list, TOPIC, 7); /* of none */
  for (int i = 0; i < 2; i++) {                      /* what it had is freed */
    assert_int_equal(
      strand_committed_read(member.owner.client, list, 20000, &hurried), 0);
    p = rd_kafka_topic_partition_list_find(list, TOPIC, 0);
    assert_int_equal(p->err, 0);
    assert_int_equal(p->offset, COMMITTED);
    assert_int_equal(p->metadata_size, strlen("what was done"));
    assert_memory_equal(p->metadata, "what was done", p->metadata_size);
    p = rd_kafka_topic_partition_list_find(list, TOPIC, 7);
    assert_true(p->offset < 0);
  }
  hurried = true;
  assert_int_equal(
    strand_committed_read(member.owner.client, list, 20000, &hurried),
    RD_KAFKA_RESP_ERR__TIMED_OUT);
  rd_kafka_topic_partition_list_destroy(list);
}

/* While a transaction held its offset back librdkafka, whose assignment was
** changed, took that for no offset: it begins where auto.offset.reset says,
** which is no sign of a log that was made anew. */
static void one_that_was_held_back_goes_to_its_offset (void **state) {
  strand_assigned *assigned;
  (void)state;
  create("back");
  produce("back", 5, 1);
  assigned = assign("back", -2);
  fetch("back", 0);
  answer_unstable(assigned);
  answer_committed(assigned, 3, RD_KAFKA_RESP_ERR_NO_ERROR);
  assert_true(assigned->position.restored);
  read_from(assigned, 3, 5);
  unassign();
}

/* Its leader is known from then on. */
static void read_end (rd_kafka_queue_t *queue) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  while (err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    rd_kafka_message_t *msg;
    if (rd_kafka_consume_batch_queue(queue, 10, &msg, 1) != 1) continue;
    err = msg->err;
    rd_kafka_message_destroy(msg);
  }
}

/* A seek while librdkafka asks where the log ends would be undone by the
** answer: what had come until then would be followed by the end. */
static void one_that_was_held_back_is_sought_when_it_has_begun (void **state) {
  strand_assigned *assigned;
  strand_failure failure;
  (void)state;
  create("begun");
  produce("begun", 5, 1);
  assigned = assign("begun", -2);
  fetch("begun", RD_KAFKA_OFFSET_END);
  read_end(assigned->queue);
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, SLOW, &failure));
  answer_unstable(assigned);
  strand_reassign_serve(&member.reassign, strand_clock_us());
  answer_committed(assigned, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  while (buffered_of(assigned) == 0) read_or_ask(assigned);
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, 0, &failure));
  read_from(assigned, 1, 5);
  unassign();
}

/* Where 'topic' begins and ends, as a helper would answer a seek to 'offset'
** that was asked before librdkafka asked for itself. */
static void find_to (strand_ticket *ticket, strand_assigned *assigned,
                     int64_t offset, int64_t end) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  strand_call *call;
  rd_kafka_topic_partition_list_add(
    list, strand_partition_topic(assigned->partition), 0)
    ->offset = offset;
  call = strand_call_new(STRAND_CALL_WATERMARKS, list);
  assert_non_null(call);
  *ticket = (strand_ticket){ .of = &consumer.tickets, .waiting = 1 };
  call->why = STRAND_WHY_TARGET;
  call->arg = ticket;
  call->high = end;
  call->epoch = assigned->epoch;
  assigned->seeking = true;
  strand_seek_answer(&member.seeks, assigned, call, strand_clock_us());
  check_parts();
  strand_call_free(call);
}

/* All from there on is read. */
static void seek_amid (int64_t offset, int64_t count) {
  strand_assigned *assigned = member.assignment.partitions[0];
  strand_failure failure;
  strand_ticket ticket;
  strand_event event;
  events_of("", &event);
  find_to(&ticket, assigned, offset, count);
  while (ticket.waiting > 0) {
    if (member.seeks.requests != NULL) read_or_ask(assigned);
    else take_answer();
    strand_seek_serve(&member.seeks);
  }
  assert_string_equal(ticket.failure.code, "");
  assigned = member.assignment.partitions[0];
  while (buffered_of(assigned) == 0) read_or_ask(assigned);
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, 0, &failure));
  read_from(assigned, offset, count);
}

/* A seek to a place that was in the log when it was looked for, and is not
** when it is read: of five records that are left, or none, from 'to' on. */
static void seek_too_late (const char *topic, const char *reset, int64_t to) {
  rd_kafka_t *client = member.owner.client;
  strand_helper *helper = member.owner.helper;
  strand_assigned *assigned;
  strand_ticket ticket;
  strand_event event;
  member.owner.client = open_client(reset);
  member.owner.helper = strand_helper_new(member.owner.client, &heard, gone,
                                          &member);
  create(topic);
  produce(topic, 3, 900000);
  assigned = assign(topic, 3);
  fetch(topic, 3);
  while (assigned->end < 3) read_or_ask(assigned);
  produce(topic, 9, 900000); /* 7 are dropped */
  events_of("", &event);
  find_to(&ticket, assigned, 1, 3);
  while (ticket.waiting > 0) take_answer();
  assert_string_equal(ticket.failure.code, "");
  assigned = member.assignment.partitions[0];
  while (assigned->end < 12) read_or_ask(assigned);
  assert_int_equal(buffered_of(assigned), 12 - to);
  member.starts.due_us = 0;
  strand_starts_tick(&member.starts, strand_clock_us());
  assert_true(assigned->gap.asked);
  take_answer();
  assert_int_equal(events_of("truncated", &event), 1);
  assert_int_equal(event.offset, 1);
  assert_int_equal(event.to, to);
  unassign();
  close_client();
  member.owner.client = client;
  member.owner.helper = helper;
}

static void what_is_deleted_before_a_seek_arrives_is_told (void **state) {
  (void)state;
  seek_too_late("overtaken", "earliest", 7);
  seek_too_late("passed", "latest", 12); /* what is left is not read */
}

/* The user's seek while librdkafka asks where the log ends. */
static void a_seek_waits_until_it_has_begun (void **state) {
  strand_failure failure;
  strand_assigned *assigned;
  (void)state;
  create("amid");
  produce("amid", 5, 1);
  assigned = assign("amid", -1);
  fetch("amid", RD_KAFKA_OFFSET_END);
  read_end(assigned->queue);
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, SLOW, &failure));
  rd_kafka_queue_destroy(assigned->queue);
  fetch("amid", RD_KAFKA_OFFSET_END);
  seek_amid(1, 5);
  unassign();
}

/* ...and after a seek to where auto.offset.reset says: latest, for the first
** offset is remembered. Also while it is paused. */
static void a_seek_waits_for_one_to_where_it_begins (void **state) {
  strand_failure failure;
  strand_assigned *assigned;
  (void)state;
  create("anywhere");
  produce("anywhere", 5, 1);
  assigned = assign("anywhere", -1);
  fetch("anywhere", RD_KAFKA_OFFSET_END);
  read_end(assigned->queue);
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, SLOW, &failure));
  strand_position_place(&member.positions, assigned, RD_KAFKA_OFFSET_END,
                        strand_clock_us());
  while (assigned->position.checking) take_answer();
  strand_engine_pause(member.owner.engine, assigned->partition, true);
  seek_amid(1, 5);
  unassign();
}

/* Nothing comes of it: there is no leader, say. */
static void a_seek_that_waits_is_given_up (void **state) {
  strand_assigned *assigned = assign(TOPIC, -1);
  strand_ticket one, two;
  strand_event event;
  (void)state;
  events_of("", &event);
  find_to(&one, assigned, 0, 0);
  seek_to(&two, TOPIC, 0);
  assert_true(one.waiting == 1 && two.waiting == 1);
  one.dropped = two.dropped = true;
  one.waiting = two.waiting = 2; /* these are no one's to free */
  strand_seek_serve(&member.seeks);
  assert_string_equal(one.failure.code, "TIMED_OUT");
  assert_string_equal(two.failure.code, "TIMED_OUT");
  assert_false(assigned->seeking);
  assert_int_equal(events_of("sought", &event), 0);
  unassign();
}

/* The log begins above it, which no seek tells. */
static void one_that_was_held_back_may_be_truncated (void **state) {
  strand_event event;
  strand_assigned *assigned;
  (void)state;
  create("above");
  produce("above", 12, 900000);
  assigned = assign("above", -2);
  fetch("above", RD_KAFKA_OFFSET_END);
  events_of("", &event);
  answer_unstable(assigned);
  answer_committed(assigned, 3, RD_KAFKA_RESP_ERR_NO_ERROR);
  while (events_of("truncated", &event) == 0) read_or_ask(assigned);
  assert_int_equal(event.offset, 3);
  unassign();
}

/* The group has no offset of it, after all. */
static void one_that_was_held_back_may_have_no_offset (void **state) {
  strand_assigned *assigned;
  (void)state;
  create("none");
  produce("none", 5, 1);
  assigned = assign("none", -2);
  fetch("none", RD_KAFKA_OFFSET_END);
  answer_unstable(assigned);
  answer_committed(assigned, -1, RD_KAFKA_RESP_ERR_NO_ERROR);
  read_from(assigned, 0, 5); /* auto.offset.reset */
  unassign();
}

/* librdkafka asks for the offsets of both at once, and has no answer while one
** of them is held back. */
static void one_beside_it_starts (void **state) {
  rd_kafka_topic_partition_list_t *both = rd_kafka_topic_partition_list_new(2);
  strand_assigned *beside, *held;
  strand_failure failure;
  (void)state;
  create("beside");
  create("held");
  produce("beside", 5, 1);
  produce("held", 5, 1);
  assert_true(strand_mock_fail(cluster, "OffsetFetch",
                               "UNSTABLE_OFFSET_COMMIT", 1000, &failure));
  beside = assign("beside", -2);
  fetch("beside", RD_KAFKA_OFFSET_INVALID);
  held = assign("held", -2);
  fetch("held", RD_KAFKA_OFFSET_INVALID);
  member.assignment.partitions[0] = beside;
  member.assignment.partitions[1] = held;
  member.assignment.count = 2;
  rd_kafka_topic_partition_list_add(both, "beside", 0);
  rd_kafka_topic_partition_list_add(both, "held", 0);
  give(both);
  answer_committed(beside, 2, RD_KAFKA_RESP_ERR_NO_ERROR);
  strand_reassign_serve(&member.reassign, strand_clock_us());
  assert_false(beside->position.given); /* nothing is known to be in its way */
  answer_unstable(held);
  strand_reassign_serve(&member.reassign, strand_clock_us());
  read_from(beside, 2, 5);
  assert_false(held->position.restored);
  answer_committed(held, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  read_from(held, 1, 5);
  member.assignment.count = 1;
  member.assignment.partitions[0] = beside;
  unassign();
  member.assignment.partitions[0] = held;
  member.assignment.count = 1;
  unassign();
}

/* Were one assigned again while the answer where its log ends is under way,
** librdkafka would ask again after it, and go there, past what it had begun
** with. So the seek of another, which has no offset to go on from, waits. */
static void one_that_asks_for_its_end_is_not_assigned_again (void **state) {
  rd_kafka_topic_partition_list_t *both = rd_kafka_topic_partition_list_new(2);
  strand_assigned *asks, *stuck;
  strand_failure failure;
  strand_ticket ticket;
  (void)state;
  create("asks");
  create("stuck");
  produce("asks", 5, 900000); /* more than one fetch */
  produce("stuck", 5, 1);
  asks = assign("asks", -2);
  fetch("asks", RD_KAFKA_OFFSET_END);
  read_end(asks->queue);
  stuck = assign("stuck", 1);
  fetch("stuck", RD_KAFKA_OFFSET_END);
  read_end(stuck->queue);
  member.assignment.partitions[0] = asks;
  member.assignment.partitions[1] = stuck;
  member.assignment.count = 2;
  rd_kafka_topic_partition_list_add(both, "asks", 0);
  rd_kafka_topic_partition_list_add(both, "stuck", 0);
  give(both);
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, SLOW, &failure));
  answer_unstable(asks);
  strand_reassign_serve(&member.reassign, strand_clock_us());
  answer_committed(asks, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  stuck->position.stuck = true; /* as with auto.offset.reset = error */
  assert_false(strand_reassign_one(&member.reassign, stuck, 2));
  seek_to(&ticket, "stuck", 2);
  assert_non_null(member.seeks.requests); /* not begun */
  ticket.dropped = true;
  ticket.waiting = 2; /* this is no one's to free */
  strand_seek_serve(&member.seeks);
  assert_string_equal(ticket.failure.code, "TIMED_OUT");
  while (asks->position.astray) read_or_ask(asks);
  assert_true(strand_reassign_one(&member.reassign, stuck, 2));
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, 0, &failure));
  read_from(asks, 1, 5);
  member.assignment.count = 1;
  member.assignment.partitions[0] = stuck;
  unassign();
  member.assignment.partitions[0] = asks;
  member.assignment.count = 1;
  unassign();
}

static void open_queue (void) {
  member.owner.queue = rd_kafka_queue_get_consumer(member.owner.client);
  while (rd_kafka_queue_length(member.owner.queue) > 0) /* of other tests */
    strand_group_serve(&member.group, strand_clock_us());
}

static void close_queue (void) {
  rd_kafka_queue_destroy(member.owner.queue);
  member.owner.queue = NULL;
}

/* A topic that comes to be while the next assignment is on its way back. */
static const char *late;

/* Until its records and the end are in its queue, or in that it is forwarded
** to. */
static void appear (rd_kafka_t *client, const char *topic) {
  rd_kafka_queue_t *queue = rd_kafka_queue_get_partition(client, topic, 0);
  strand_failure failure;
  /* who was asked about it may have made it: then it begins sooner */
  strand_mock_create_topic(cluster, topic, 1, &failure);
  produce(topic, 5, 1);
  wait_for_some(queue, 6);
  rd_kafka_queue_destroy(queue);
}

/* The library's; before whoever assigns goes on, 'late' was fetched. */
rd_kafka_resp_err_t
rd_kafka_assign (rd_kafka_t *client,
                 const rd_kafka_topic_partition_list_t *list) {
  rd_kafka_resp_err_t (*real)(rd_kafka_t *,
                              const rd_kafka_topic_partition_list_t *);
  void *symbol = dlsym(RTLD_NEXT, "rd_kafka_assign");
  const char *topic = late;
  rd_kafka_resp_err_t err;
  memcpy(&real, &symbol, sizeof(real));
  err = real(client, list);
  if (topic == NULL || list == NULL || list->cnt == 0) return err;
  late = NULL;
  appear(client, topic);
  return err;
}

/* Its queue is another one from its second assignment on, for librdkafka does
** not know it by its metadata yet. */
static void one_that_is_assigned_again_is_read_from_its_begin (void **state) {
  strand_assigned *assigned = assign("late", -2);
  (void)state;
  open_queue();
  fetch("late", RD_KAFKA_OFFSET_INVALID);
  answer_committed(assigned, 0, RD_KAFKA_RESP_ERR_NO_ERROR);
  member.positions.held_up = assigned->position.unstable = true;
  late = "late";
  strand_reassign_serve(&member.reassign, strand_clock_us());
  assert_null(late);
  read_from(assigned, 0, 5);
  close_queue();
  unassign();
}

/* Wherever they came from: none is lost. */
static void what_comes_to_the_consumers_queue_is_read_again (void **state) {
  int64_t limit_us = strand_clock_us() + 20000000;
  strand_assigned *assigned;
  (void)state;
  create("stray");
  produce("stray", 5, 1);
  assigned = assign("stray", 1);
  open_queue();
  fetch("stray", 1);
  rd_kafka_queue_forward(assigned->queue, member.owner.queue);
  while (!assigned->position.checking) {
    assert_true(strand_clock_us() < limit_us);
    strand_waker_sleep(&heard, strand_clock_us() + 10000);
    strand_group_serve(&member.group, strand_clock_us());
  }
  read_from(assigned, 1, 5);
  close_queue();
  unassign();
}

/* An assignment that is changed while librdkafka asks: an answer may have been
** for the one before. */
static void what_was_asked_for_before_is_not_believed (void **state) {
  strand_assigned *assigned = assign(TOPIC, -2);
  (void)state;
  strand_position_unsettle(&member.positions);
  assert_true(assigned->position.astray);
  unassign();
  assigned = assign(TOPIC, -2);
  strand_position_settle(&member.positions);
  assert_true(assigned->position.astray);
  unassign();
  assigned = assign(TOPIC, 3);
  strand_position_unsettle(&member.positions);
  unassign();
  assigned = assign(TOPIC, -2);
  strand_position_settle(&member.positions);
  assert_false(assigned->position.astray); /* that one had been answered */
  unassign();
}

/* librdkafka waits for a broker that is gone: then another tells of all topics,
** and it looks at them again. */
static void one_that_does_not_ask_to_join_hears_of_all_topics (void **state) {
  strand_call *call;
  (void)state;
  rd_kafka_topic_partition_list_add(consumer.settings.topics, "^nobody", -1);
  atomic_store(&member.signs.coordinator_up, true);
  strand_outage_tick(&member.outage, 1000000);
  strand_outage_tick(&member.outage, 5999999);
  assert_false(member.topics.asking);
  strand_outage_tick(&member.outage, 6000000);
  assert_true(member.topics.asking);
  while ((call = strand_helper_answer(member.owner.helper)) == NULL) {
    wait_for_answer();
  }
  assert_int_equal(call->kind, STRAND_CALL_TOPICS);
  assert_int_equal(call->err, 0);
  assert_non_null(call->topics);
  assert_true(call->topics->topic_cnt > 0);
  strand_topics_listed(&member.topics, call, 7000000);
  assert_false(member.topics.asking);
  strand_call_free(call);
  atomic_store(&member.signs.coordinator_up, false);
  strand_outage_joined(&member.outage, 8000000);
  rd_kafka_topic_partition_list_del(consumer.settings.topics, "^nobody", -1);
}

static void each_broker_that_lets_in_is_noted (void **state) {
  char text[64];
  (void)state;
  for (int i = 0; i < 40; i++) {
    snprintf(text, sizeof(text), "sasl_plaintext://b%d:9092/%d: no", i, i);
    strand_health_error(&member.health, RD_KAFKA_RESP_ERR__AUTHENTICATION,
                        text, NULL, -1, strand_clock_us());
  }
  for (int i = 0; i < 39; i++) {
    snprintf(text, sizeof(text), "b%d:9092/", i);
    strand_signs_note(&member.signs, strand_signs_broker(text));
  }
  assert_int_equal(member.known_errors.count, 40);
  check_parts();
  strand_known_errors_tick(&member.known_errors, strand_clock_us());
  assert_int_equal(member.known_errors.count, 1);
  strand_known_errors_tick(&member.known_errors, strand_clock_us());
  assert_int_equal(member.known_errors.count, 1);
  for (int i = 0; i < 2 * STRAND_SIGNS_UP; i++) { /* too many to note */
    strand_signs_note(&member.signs, (uint64_t)i + 1);
  }
  strand_known_errors_tick(&member.known_errors, strand_clock_us());
  assert_int_equal(member.known_errors.count, 0);
}

/* A broker that takes 3 s is asked something, and the client closes. The
** helper does nothing more. */
static void hurry (strand_helper *helper, const strand_call_kind *kinds,
                   int count) {
  strand_failure failure;
  int64_t began_us, until_us;
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, 3, &failure));
  for (int i = 0; i < count; i++) {
    strand_helper_leave(helper, strand_call_new(kinds[i], list_of(0, 0)));
  }
  until_us = strand_clock_us() + 300000;
  while (strand_clock_us() < until_us) { /* also after old wakes */
    strand_waker_sleep(&heard, until_us);
  }
  assert_null(strand_helper_answer(helper)); /* it is at it */
  began_us = strand_clock_us();
  strand_helper_hurry(helper);
  for (int taken = 0; taken < count;) {
    strand_call *call = strand_helper_answer(helper);
    if (call != NULL) taken++;
    else wait_for_answer();
    strand_call_free(call);
  }
  assert_true(strand_clock_us() - began_us < 1500000);
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, 0, &failure));
}

/* From 2.3 on librdkafka ends the connection of a request that it gives up. */
static void a_leader_that_takes_its_time_is_heard (void **state) {
  static const strand_call_kind kinds[] = { STRAND_CALL_START, STRAND_CALL_END,
                                            STRAND_CALL_STARTS,
                                            STRAND_CALL_REACH };
  strand_failure failure;
  (void)state;
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, 1.5, &failure));
  for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
    strand_call *call;
    strand_helper_leave(member.owner.helper,
                        strand_call_new(kinds[i], list_of(0, 0)));
    while ((call = strand_helper_answer(member.owner.helper)) == NULL)
      wait_for_answer();
    assert_int_equal(call->err, 0);
    strand_call_free(call);
  }
  assert_true(strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, 0, &failure));
}

/* librdkafka asks again by itself in one of its two ways. */
static void a_leader_that_comes_back_is_asked_again (void **state) {
  strand_failure failure;
  strand_call *call;
  (void)state;
  assert_true(strand_mock_set_up(cluster, 1, false, &failure));
  strand_helper_leave(member.owner.helper,
                      strand_call_new(STRAND_CALL_END, list_of(0, 0)));
  assert_null(strand_helper_answer(member.owner.helper));
  assert_true(strand_mock_set_up(cluster, 1, true, &failure));
  while ((call = strand_helper_answer(member.owner.helper)) == NULL)
    wait_for_answer();
  assert_int_equal(call->err, 0);
  strand_call_free(call);
}

static void a_hurry_ends_the_question_for_leaders (void **state) {
  static const strand_call_kind leaders = STRAND_CALL_LEADERS;
  strand_helper *helper = strand_helper_new(member.owner.client, &heard, gone,
                                            &member);
  (void)state;
  assert_non_null(helper);
  hurry(helper, &leaders, 1);
  strand_helper_end(helper);
  while (sem_wait(&ended) != 0) assert_int_equal(errno, EINTR);
}

/* The last. */
static void a_helper_in_a_hurry_ends_what_it_does (void **state) {
  static const strand_call_kind kinds[] = { STRAND_CALL_COMMITTED,
                                            STRAND_CALL_WATERMARKS };
  (void)state;
  hurry(member.owner.helper, kinds, 2);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_answer_for_an_earlier_epoch_is_dropped),
    cmocka_unit_test(an_end_below_the_position_is_a_reset_at_once),
    cmocka_unit_test(a_record_below_the_position_is_a_reset_at_once),
    cmocka_unit_test(a_jump_is_told_once),
    cmocka_unit_test(a_seek_outside_the_log_has_moved_nothing),
    cmocka_unit_test(a_log_shorter_than_its_metadata_is_a_reset),
    cmocka_unit_test(a_seek_moves_when_it_is_done),
    cmocka_unit_test(a_seek_that_was_given_up_does_not_happen),
    cmocka_unit_test(a_seek_waits_for_its_partition),
    cmocka_unit_test(a_seek_that_failed_goes_back),
    cmocka_unit_test(a_topic_that_is_seen_again_is_not_refused),
    cmocka_unit_test(who_has_what_is_asked_amid_assignments),
    cmocka_unit_test(a_turn_lasts_as_long_as_its_assignment),
    cmocka_unit_test(a_gap_is_asked_about_once),
    cmocka_unit_test(each_partition_has_its_own_answer),
    cmocka_unit_test(one_that_was_held_back_goes_to_its_offset),
    cmocka_unit_test(one_that_was_held_back_is_sought_when_it_has_begun),
    cmocka_unit_test(what_is_deleted_before_a_seek_arrives_is_told),
    cmocka_unit_test(a_seek_waits_until_it_has_begun),
    cmocka_unit_test(a_seek_waits_for_one_to_where_it_begins),
    cmocka_unit_test(a_seek_that_waits_is_given_up),
    cmocka_unit_test(one_that_was_held_back_may_be_truncated),
    cmocka_unit_test(one_that_was_held_back_may_have_no_offset),
    cmocka_unit_test(what_was_asked_for_before_is_not_believed),
    cmocka_unit_test(one_that_does_not_ask_to_join_hears_of_all_topics),
    cmocka_unit_test(each_broker_that_lets_in_is_noted),
    cmocka_unit_test(one_beside_it_starts),
    cmocka_unit_test(one_that_asks_for_its_end_is_not_assigned_again),
    cmocka_unit_test(one_that_is_assigned_again_is_read_from_its_begin),
    cmocka_unit_test(what_comes_to_the_consumers_queue_is_read_again),
    cmocka_unit_test(a_leader_that_takes_its_time_is_heard),
    cmocka_unit_test(a_leader_that_comes_back_is_asked_again),
    cmocka_unit_test(a_hurry_ends_the_question_for_leaders),
    cmocka_unit_test(a_helper_in_a_hurry_ends_what_it_does)
  };
  alarm(200); /* for all of it: its waits have no end of their own */
  cmocka_set_test_filter(getenv("STRAND_TEST")); /* one of them, or all */
  return cmocka_run_group_tests(tests, open_all, close_all);
}
