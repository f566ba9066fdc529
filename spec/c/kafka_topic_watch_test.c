/*
** kafka_topic_watch_test.c - what a producer tells of its topics, and what
** becomes of records for a partition that is not there yet
**
** Without a broker: answers are written where those of the brokers would be.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "producer/deferred.h"
#include "producer/topic_watch.h"
#include "../support/c11_threads.h"

#define MISSING RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART

static rd_kafka_t *client;
static strand_calls *calls;
static strand_placement placement;
static strand_log *lines;
static strand_topic_watch topics;
static strand_producer_events events;

static int open_all (void **state) {
  char errstr[256];
  (void)state;
  client = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, errstr, sizeof(errstr));
  if (client == NULL) return -1;
  memset(&placement, 0, sizeof(placement));
  memset(&topics, 0, sizeof(topics));
  memset(&events, 0, sizeof(events));
  topics.batch_size = 1000000;
  calls = strand_calls_new(client, -1, &placement);
  lines = strand_log_new(0);
  return calls != NULL && lines != NULL ? 0 : -1;
}

static int close_all (void **state) {
  (void)state;
  strand_topic_watch_free(&topics);
  strand_calls_free(calls);
  rd_kafka_destroy(client);
  strand_placement_free(&placement);
  strand_log_release(lines);
  return 0;
}

static strand_cached_topic *use (const char *name) {
  strand_failure failure = { "", "" };
  strand_cached_topic *t = strand_topic_watch_use(&topics, calls, name,
                                                  &failure);
  if (t == NULL) fail_msg("%s", failure.message);
  return t;
}

/* Not strand_topic_watch_use: that would ask, and nobody answers. */
static strand_cached_topic *topic_of (const char *name, int32_t partitions) {
  strand_failure failure;
  strand_cached_topic *t = strand_calls_topic(calls, name, &failure);
  assert_non_null(t);
  if (partitions > 0) strand_topic_place_note(t->place, partitions);
  return t;
}

static void turn (void) {
  strand_topic_watch_turn(&topics, calls, &placement, &events, lines);
  strand_topic_watch_check(&topics, calls);
}

/* As if a broker had answered; the callback's note is what wakes. */
static void answered (strand_cached_topic *t, rd_kafka_resp_err_t err,
                      int32_t partitions) {
  strand_topic_facts facts = { strand_clock_now(), err, partitions,
                               t->answer.limit };
  t->answer = facts;
  if (partitions > 0) strand_topic_place_note(t->place, partitions);
  atomic_store(&placement.changed, true);
  turn();
}

static strand_producer_event next_event (void) {
  strand_producer_event event = { .type = "" };
  strand_producer_events_pop(&events, &event);
  return event;
}

/*
** Events
*/

static void
a_change_of_the_count_is_told_once_in_both_directions (void **state) {
  strand_cached_topic *t = topic_of("orders", 3);
  strand_producer_event event;
  (void)state;
  turn();
  assert_int_equal(events.count, 0); /* the first number changes nothing */
  answered(t, 0, 3);
  assert_int_equal(events.count, 0);
  answered(t, 0, 5);
  turn();
  assert_int_equal(events.count, 1);
  event = next_event();
  assert_string_equal(event.type, "partitions_changed");
  assert_string_equal(event.topic, "orders");
  assert_string_equal(event.code, "");
  assert_int_equal(event.partitions, 5);
  assert_int_equal(event.partition, -1);
  assert_string_equal(event.reason, "it has 5 partitions now, and had 3");
  answered(t, RD_KAFKA_RESP_ERR__TRANSPORT, 0); /* says nothing of it */
  assert_int_equal(events.count, 0);
  answered(t, 0, 2);
  assert_int_equal(next_event().partitions, 2);
}

static void a_missing_topic_is_told_and_again_only_later (void **state) {
  strand_cached_topic *t = use("nowhere");
  strand_producer_event event;
  (void)state;
  strand_calls_stop(calls); /* no answer but ours */
  answered(t, MISSING, 0);
  assert_int_equal(events.count, 0); /* the broker may make it just now */
  assert_true(strand_topic_watch_is_missing(&topics, t));
  topics.watched[t->index].missing.tell_us -= 600000;
  answered(t, MISSING, 0);
  event = next_event();
  assert_string_equal(event.type, "topic_missing");
  assert_string_equal(event.topic, "nowhere");
  assert_string_equal(event.code, "UNKNOWN_TOPIC_OR_PART");
  answered(t, MISSING, 0);
  assert_int_equal(events.count, 0);
  topics.watched[t->index].missing.tell_us -= 11000000;
  answered(t, MISSING, 0);
  assert_int_equal(events.count, 1);
  answered(t, 0, 4); /* it was made */
  assert_false(strand_topic_watch_is_missing(&topics, t));
}

/* The topic may have been made since: the next question is under way. */
static void an_old_answer_does_not_tell_of_a_missing_topic (void **state) {
  strand_cached_topic *t = use("nowhere");
  (void)state;
  strand_calls_stop(calls);
  answered(t, MISSING, 0);
  topics.watched[t->index].missing.tell_us -= 600000;
  t->answer.answered -= 0.6; /* so long ago */
  answered(topic_of("orders", 1), 0, 1);
  assert_int_equal(events.count, 0);
  answered(t, MISSING, 0);
  assert_int_equal(events.count, 1);
}

static void a_limit_below_batch_size_is_told_with_what_to_set (void **state) {
  strand_cached_topic *small = topic_of("small", 1);
  strand_cached_topic *large = topic_of("large", 1);
  strand_producer_event event;
  (void)state;
  small->answer.limit = 20000;
  large->answer.limit = 1048588;
  answered(large, 0, 1);
  assert_int_equal(events.count, 1);
  event = next_event();
  assert_string_equal(event.type, "batch_limit");
  assert_string_equal(event.topic, "small");
  assert_int_equal(event.limit, 20000);
  assert_non_null(strstr(event.reason, "set kafka[\"batch.size\"] = 20000"));
  assert_int_equal(strand_topic_watch_limit(&topics, small), 20000);
  assert_int_equal(strand_topic_watch_limit(&topics, large), 1048588);
  answered(small, 0, 1);
  assert_int_equal(events.count, 0);
}

/*
** Records that wait
*/

#define PATIENCE_MS 1000
#define TIMEOUT_MS 5000

/* It has so many, as is told. */
static void grow (strand_cached_topic *t, int32_t partitions) {
  strand_topic_place_note(t->place, partitions);
  turn();
}

static strand_deferred_record *add_due (strand_deferred *d,
                                        strand_cached_topic *t,
                                        int32_t partition, char *opaque,
                                        int64_t now_us, int64_t due_us) {
  strand_outgoing record = { .topic = t->name,
                             .key = opaque,
                             .key_length = 1,
                             .value = "value",
                             .value_length = 5,
                             .partition = partition };
  strand_deferred_record *r = strand_deferred_add(d, t, &record, NULL, opaque,
                                                  now_us, due_us);
  assert_non_null(r);
  strand_deferred_check(d, &topics);
  return r;
}

static void add (strand_deferred *d, strand_cached_topic *t, int32_t partition,
                 char *opaque, int64_t now_us) {
  add_due(d, t, partition, opaque, now_us, 0);
}

/* Nobody asks, and so nobody answers. */
static void begin (strand_deferred *d) {
  strand_calls_stop(calls);
  strand_deferred_init(d, PATIENCE_MS, TIMEOUT_MS);
}

static void drop (strand_deferred *d, strand_deferred_record *r) {
  strand_deferred_remove(d, r);
  strand_deferred_free(r);
}

static void drop_all (strand_deferred *d) {
  strand_deferred_record *r;
  while ((r = strand_deferred_first(d)) != NULL) drop(d, r);
  assert_int_equal(d->count, 0);
  assert_true(strand_list_empty(&d->places));
}

/* The opaque of what is taken, and its error. */
static const char *take (strand_deferred *d, int64_t now_us,
                         rd_kafka_resp_err_t *err) {
  strand_deferred_record *r = strand_deferred_next(d, &topics, calls, now_us,
                                                   err);
  const char *opaque = r != NULL ? r->opaque : NULL;
  if (r == NULL) strand_deferred_check(d, &topics);
  if (r == NULL) return "none";
  assert_int_equal(*(const char *)r->outgoing.key, *opaque);
  assert_memory_equal(r->outgoing.value, "value", 5);
  drop(d, r);
  return opaque;
}

static bool must (const strand_deferred *d, const strand_cached_topic *t,
                  int32_t partition) {
  return strand_deferred_must(d, &topics, t, partition);
}

/* It has so many, and that is the answer. */
static void grow_for (strand_deferred *d, strand_cached_topic *t,
                      int32_t partitions) {
  grow(t, partitions);
  strand_deferred_answered(d);
}

static void
only_what_is_not_known_is_kept_and_what_comes_after (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 0), *other = topic_of("other", 3);
  (void)state;
  begin(&d);
  assert_false(must(&d, t, 5)); /* librdkafka waits itself */
  add(&d, t, 5, "a", 0);        /* but for one that it refused */
  assert_true(must(&d, t, 5));
  assert_false(must(&d, t, 4));
  grow(t, 3);
  assert_false(must(&d, t, 2));
  assert_true(must(&d, t, 3));
  assert_false(must(&d, other, 2));
  drop_all(&d);
  assert_true(must(&d, t, 3));
}

/* Answers come at any moment, also while records are looked at. */
static void
what_is_learned_within_a_turn_lets_none_pass_another (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 1);
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  turn();
  add(&d, t, 2, "a", 0);
  add(&d, t, 1, "b", 0);
  add(&d, t, 2, "c", 0);
  grow_for(&d, t, 2);
  assert_string_equal(take(&d, 10, &err), "b"); /* past the first */
  strand_topic_place_note(t->place, 3);
  assert_true(must(&d, t, 2)); /* what is sent now comes behind them */
  assert_string_equal(take(&d, 10, &err), "none");
  turn();
  strand_deferred_answered(&d);
  assert_string_equal(take(&d, 10, &err), "a");
  assert_string_equal(take(&d, 10, &err), "c");
  assert_string_equal(take(&d, 10, &err), "none");
}

static void those_of_a_partition_go_on_in_order (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 1);
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  turn();
  add(&d, t, 2, "a", 0);
  add(&d, t, 1, "b", 0);
  add(&d, t, 1, "c", 0);
  assert_int_equal(d.count, 3);
  assert_string_equal(take(&d, 10, &err), "none");
  grow_for(&d, t, 2);
  assert_string_equal(take(&d, 10, &err), "b");
  assert_int_equal(err, 0);
  assert_string_equal(take(&d, 10, &err), "c");
  assert_string_equal(take(&d, 10, &err), "none");
  grow_for(&d, t, 3);
  assert_string_equal(take(&d, 10, &err), "a");
  assert_int_equal(d.count, 0);
}

static void an_old_answer_refutes_nothing (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 3);
  int64_t now_us = 100000000;
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  t->answer = (strand_topic_facts){ 99.9, 0, 3, 0 };
  add(&d, t, 3, "a", now_us);
  assert_string_equal(take(&d, now_us + 2000000, &err), "none");
  drop_all(&d);
  add(&d, t, 3, "b", now_us);
  t->answer.answered = 101;
  assert_string_equal(take(&d, now_us + 999999, &err), "none");
  assert_string_equal(take(&d, now_us + 1000000, &err), "b");
  assert_int_equal(err, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
}

/* Without another answer. */
static void the_patience_of_each_ends_by_itself (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 3);
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  turn();
  add(&d, t, 3, "a", 0);
  add(&d, t, 4, "b", 400000);
  add(&d, t, 3, "c", 400000);
  t->answer = (strand_topic_facts){ 0.5, 0, 3, 0 };
  assert_string_equal(take(&d, 1000000, &err), "a");
  assert_string_equal(take(&d, 1399999, &err), "none");
  assert_string_equal(take(&d, 1400000, &err), "b");
  assert_string_equal(take(&d, 1400000, &err), "c");
  assert_int_equal(err, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
  assert_int_equal(d.count, 0);
}

/* Then each answer may be the one that says so: of what was sent before it. */
static void a_later_answer_refutes_what_is_not_patient_any_more (void **s_) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 3);
  int64_t now_us = 100000000;
  rd_kafka_resp_err_t err;
  (void)s_;
  begin(&d);
  add(&d, t, 3, "a", now_us);
  add(&d, t, 3, "b", now_us + 900000);
  add(&d, t, 3, "c", now_us + 1900000);
  now_us += 2000000;
  assert_string_equal(take(&d, now_us, &err), "none");
  t->answer = (strand_topic_facts){ 101.8, 0, 3, 0 };
  strand_deferred_answered(&d);
  assert_string_equal(take(&d, now_us, &err), "a");
  assert_int_equal(err, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
  assert_string_equal(take(&d, now_us, &err), "b");
  assert_string_equal(take(&d, now_us, &err), "none");
  assert_string_equal(take(&d, now_us + 1000000, &err), "none");
  drop_all(&d);
}

/* Named or not, they may be for one partition. */
static void what_was_held_goes_on_in_one_order (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 2), *other = topic_of("other", 1);
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  turn();
  strand_deferred_hold(&d);
  assert_true(must(&d, t, 0));
  add(&d, t, -1, "a", 0);
  add(&d, t, 1, "b", 0);
  add(&d, t, 7, "c", 0);
  add(&d, other, -1, "d", 0);
  add(&d, t, -1, "e", 0);
  assert_string_equal(take(&d, 10, &err), "none");
  strand_deferred_release(&d);
  assert_string_equal(take(&d, 10, &err), "a");
  assert_int_equal(err, 0);
  assert_string_equal(take(&d, 10, &err), "b");
  strand_deferred_hold(&d); /* that client is at its end, too */
  assert_string_equal(take(&d, 10, &err), "none");
  strand_deferred_release(&d);
  assert_string_equal(take(&d, 10, &err), "d");
  assert_string_equal(take(&d, 10, &err), "e");
  assert_string_equal(take(&d, 10, &err), "none");
  assert_int_equal(d.count, 1);
  drop_all(&d);
}

static void what_is_held_ends_by_its_time_alone (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 2);
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  turn();
  strand_deferred_hold(&d);
  add(&d, t, 0, "a", 0);
  add(&d, t, 5, "b", 1);
  t->answer = (strand_topic_facts){ 100, 0, 2, 0 };
  strand_deferred_answered(&d);
  assert_string_equal(take(&d, 4999999, &err), "none");
  assert_string_equal(take(&d, 5000000, &err), "a");
  assert_int_equal(err, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  assert_int_equal(
    strand_deferred_overdue(&d, strand_deferred_first(&d), calls),
    RD_KAFKA_RESP_ERR__TIMED_OUT);
  drop_all(&d);
}

/* In any order they are found, and forgotten with their last record. */
static void partitions_are_kept_apart (void **state) {
  static char names[3][300];
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 1);
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  turn();
  for (int i = 0; i < 3 * 300; i++) {
    names[i / 300][i % 300] = (char)('a' + i / 300);
    add(&d, t, 1 + i % 300, &names[i / 300][i % 300], 0);
  }
  for (int i = 299; i >= 0; i--) assert_true(must(&d, t, 1 + i));
  grow_for(&d, t, 151); /* up to 150 */
  for (int i = 0; i < 150; i++)
    for (int n = 0; n < 3; n++) assert_int_equal(*take(&d, 10, &err), 'a' + n);
  assert_string_equal(take(&d, 10, &err), "none");
  assert_int_equal(d.count, 3 * 150);
  drop_all(&d);
}

static void without_an_answer_its_own_time_ends_it (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 3);
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  turn();
  add(&d, t, 3, "a", 0);
  assert_string_equal(take(&d, 4999999, &err), "none");
  assert_string_equal(take(&d, 5000000, &err), "a");
  assert_int_equal(err, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  strand_deferred_init(&d, 30000, 2000); /* patience is no longer than that */
  assert_int_equal(d.patience_us, 2000000);
}

static void its_own_timeout_ends_it_before_patience (void **state) {
  static char a[] = "a", b[] = "b";
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 3);
  strand_deferred_record *r;
  (void)state;
  begin(&d);
  turn();
  r = add_due(&d, t, 3, a, 0, 300000);
  assert_int_equal(strand_deferred_overdue(&d, r, calls),
                   RD_KAFKA_RESP_ERR__TIMED_OUT); /* nobody has answered */
  drop(&d, r);
  r = add_due(&d, t, 3, b, 0, 400000);
  t->answer = (strand_topic_facts){ 0.1, 0, 3, 0 };
  assert_int_equal(strand_deferred_overdue(&d, r, calls),
                   RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
  drop_all(&d);
}

static void what_is_known_too_late_is_not_sent (void **state) {
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 3);
  rd_kafka_resp_err_t err;
  (void)state;
  begin(&d);
  turn();
  add_due(&d, t, 3, "a", 0, 300000);
  add_due(&d, t, 3, "b", 0, 300001);
  grow_for(&d, t, 4);
  assert_string_equal(take(&d, 300000, &err), "a");
  assert_int_equal(err, RD_KAFKA_RESP_ERR__TIMED_OUT);
  assert_string_equal(take(&d, 300000, &err), "b");
  assert_int_equal(err, 0);
}

static void what_was_never_sent_is_certain (void **state) {
  static char a[] = "a";
  strand_deferred d;
  strand_cached_topic *t = topic_of("t", 3);
  strand_deferred_record *r;
  strand_delivery_end end;
  (void)state;
  begin(&d);
  turn();
  add(&d, t, 3, a, 1000);
  r = strand_deferred_first(&d);
  strand_deferred_remove(&d, r);
  end = strand_deferred_end_of(r, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, 5000);
  assert_true(end.certain);
  assert_int_equal(end.latency_us, 4000);
  assert_int_equal(end.size, 6); /* as it was counted when it was sent */
  assert_int_equal(end.partition, 3);
  assert_ptr_equal(end.opaque, a);
  strand_deferred_free(r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main (void) {
  const struct CMUnitTest tests[] = {
    TEST(a_change_of_the_count_is_told_once_in_both_directions),
    TEST(a_missing_topic_is_told_and_again_only_later),
    TEST(an_old_answer_does_not_tell_of_a_missing_topic),
    TEST(a_limit_below_batch_size_is_told_with_what_to_set),
    TEST(only_what_is_not_known_is_kept_and_what_comes_after),
    TEST(what_is_learned_within_a_turn_lets_none_pass_another),
    TEST(those_of_a_partition_go_on_in_order),
    TEST(an_old_answer_refutes_nothing),
    TEST(the_patience_of_each_ends_by_itself),
    TEST(a_later_answer_refutes_what_is_not_patient_any_more),
    TEST(what_was_held_goes_on_in_one_order),
    TEST(what_is_held_ends_by_its_time_alone),
    TEST(partitions_are_kept_apart),
    TEST(without_an_answer_its_own_time_ends_it),
    TEST(its_own_timeout_ends_it_before_patience),
    TEST(what_is_known_too_late_is_not_sent),
    TEST(what_was_never_sent_is_certain)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
