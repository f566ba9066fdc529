/*
** kafka_stall_test.c - records that are out for too long are noticed, and what
** is said of them is true
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../support/c11_threads.h"
#include "kafka/placement.h"
#include "producer/stall.h"

#define S 1000000

static strand_stall stall;
static int64_t now;

static int begin (void **state) {
  (void)state;
  strand_stall_init(&stall, 0, 300000, true);
  now = 1000 * (int64_t)S;
  return 0;
}

static int sent (void) {
  int label = stall.label;
  if (stall.due_us == 0) strand_stall_begin(&stall, label, now);
  strand_stall_sent(&stall, label);
  strand_stall_check(&stall);
  return label;
}

static void taken (int label, int32_t partition) {
  strand_stall_reported(&stall, label, 0, "t", partition);
  strand_stall_check(&stall);
}

static void lost (int label) {
  strand_stall_reported(&stall, label, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, "t",
                        0);
}

/* Lets a quarter of a second pass. */
static bool passes (void) {
  bool due;
  now += S / 4;
  due = strand_stall_tick(&stall, now);
  strand_stall_check(&stall);
  return due;
}

/* Seconds until it is to be asked, at most 'limit'; -1. */
static double asked_within (double limit) {
  for (double t = 0.25; t <= limit; t += 0.25) {
    if (passes()) return t;
  }
  return -1;
}

static void close_to (double value, double low, double high) {
  if (value < low || value > high) {
    print_error("%.2f is not from %.2f to %.2f\n", value, low, high);
  }
  assert_true(value >= low && value <= high);
}

static rd_kafka_topic_partition_list_t *list_of (void) {
  return rd_kafka_topic_partition_list_new(4);
}

static void add (rd_kafka_topic_partition_list_t *list, const char *topic,
                 int32_t partition, rd_kafka_resp_err_t err, int in_sync,
                 int copies) {
  rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(
    list, topic, partition);
  p->err = err;
  p->offset = in_sync;
  p->opaque = (void *)(intptr_t)copies;
}

static void add_few (rd_kafka_topic_partition_list_t *list,
                     int32_t partition) {
  add(list, "t", partition, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 1, 3);
}

static void add_away (rd_kafka_topic_partition_list_t *list,
                      int32_t partition) {
  add(list, "t", partition, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, -1, 0);
}

/* The answer; true when it is told. Frees the list. */
static bool answered (rd_kafka_topic_partition_list_t *list,
                      strand_obstacle *obstacle) {
  bool told;
  assert_true(stall.asking);
  told = strand_stall_answered(&stall, 0, list, now, obstacle);
  assert_false(stall.asking);
  rd_kafka_topic_partition_list_destroy(list);
  return told;
}

/*
** When it is asked
*/

static void nothing_out_needs_no_tick (void **state) {
  int label;
  (void)state;
  assert_int_equal(stall.due_us, 0);
  label = sent();
  assert_true(stall.due_us > now);
  taken(label, 0);
  assert_int_equal(stall.due_us, 0);
  close_to(asked_within(60), -1, -1);
}

static void a_record_that_is_out_for_long_is_asked_for (void **state) {
  (void)state;
  sent();
  close_to(asked_within(60), 10, 10.25);
  assert_true(stall.asking);
}

static void records_that_are_taken_are_not (void **state) {
  (void)state;
  for (int i = 0; i < 400; i++) {
    int first = sent(), second = sent();
    assert_false(passes());
    taken(first, 0);
    taken(second, 1);
  }
  for (int i = 0, older = sent(); i < 400; i++) { /* one is always out */
    int label = sent();
    assert_false(passes());
    taken(older, 0);
    older = label;
  }
}

static void
one_that_is_stuck_is_asked_for_though_others_are_taken (void **state) {
  double seconds = 0;
  int older = sent();
  (void)state;
  for (int i = 0; i < 10; i++) {
    int label = sent();
    assert_false(passes());
    taken(older, 1);
    older = label;
  }
  sent(); /* it stays */
  while (!stall.asking) {
    int label = sent();
    passes();
    seconds += 0.25;
    assert_true(seconds < 60);
    taken(older, 1);
    older = label;
  }
  close_to(seconds, 10, 15);
}

static void it_is_not_asked_again_before_ten_seconds (void **state) {
  strand_obstacle obstacle;
  (void)state;
  strand_stall_init(&stall, 0, 4000, true); /* patience: 1 s */
  sent();
  close_to(asked_within(60), 1, 1.25);
  close_to(asked_within(30), -1, -1); /* not answered yet */
  answered(list_of(), &obstacle);
  assert_true(asked_within(1) > 0);
  answered(list_of(), &obstacle);
  close_to(asked_within(60), 10, 10.5);
}

static void patience_is_of_the_linger_and_the_timeout (void **state) {
  static const struct {
    int linger_ms, timeout_ms;
    int64_t patience_us;
  } cases[] = { { 0, 300000, 10 * S },
                { 5, 0, 10 * S + 5000 },
                { 60000, 300000, 70 * (int64_t)S },
                { 0, 20000, 5 * S },
                { 100, 4000, S + 100000 },
                { 0, 10, S / 2 },
                { 0, 2147483647, 10 * S } };
  (void)state;
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    strand_stall_init(&stall, cases[i].linger_ms, cases[i].timeout_ms, true);
    assert_int_equal(stall.patience_us, cases[i].patience_us);
  }
}

/*
** What is told
*/

static void it_is_told_at_once_and_again_with_back_off (void **state) {
  strand_obstacle obstacle;
  double told[4], seconds = 0;
  int count = 0;
  (void)state;
  sent();
  while (count < 4) {
    double t = asked_within(60);
    rd_kafka_topic_partition_list_t *list = list_of();
    assert_true(t > 0);
    seconds += t;
    add_few(list, 0);
    if (!answered(list, &obstacle)) continue;
    assert_string_equal(obstacle.type, "replicas_missing");
    told[count++] = seconds;
  }
  close_to(told[0], 10, 10.5);
  close_to(told[1] - told[0], 10, 12.5);
  close_to(told[2] - told[1], 20, 25);
  close_to(told[3] - told[2], 40, 45);
}

static void it_ends_with_an_answer_that_names_nothing (void **state) {
  strand_obstacle obstacle;
  rd_kafka_topic_partition_list_t *list = list_of();
  (void)state;
  sent();
  asked_within(60);
  add_few(list, 0);
  assert_true(answered(list, &obstacle));
  asked_within(60);
  assert_false(answered(list_of(), &obstacle));
  assert_null(obstacle.type);
  assert_int_equal(stall.replicas.since_us, 0);
}

static void
it_ends_when_all_are_taken_and_not_when_they_are_lost (void **state) {
  strand_obstacle obstacle;
  (void)state;
  for (int i = 0; i < 2; i++) {
    rd_kafka_topic_partition_list_t *list = list_of();
    int label = sent();
    asked_within(60);
    add_away(list, 0);
    assert_true(answered(list, &obstacle));
    assert_true(stall.leaders.since_us != 0);
    if (i == 0) taken(label, 0);
    else lost(label);
    now += S;
    sent(); /* the next one: a swap */
    assert_int_equal(stall.leaders.since_us != 0, i);
    taken(1 - stall.label, 0);
    begin(NULL);
  }
}

static void a_partition_that_takes_records_is_not_named (void **state) {
  strand_obstacle obstacle;
  rd_kafka_topic_partition_list_t *list = list_of();
  int label;
  (void)state;
  sent(); /* t/0 */
  label = sent();
  assert_true(asked_within(6) < 0);
  taken(label, 1);
  label = sent();
  assert_true(asked_within(60) > 0);
  taken(label, 2); /* while it is asked for */
  for (int32_t i = 0; i < 3; i++) add_few(list, i);
  assert_true(answered(list, &obstacle));
  assert_string_equal(obstacle.reason,
                      "too few in-sync replicas, it seems: t/0 (1 of 3)");
  assert_int_equal(obstacle.partition, 0);
}

static void what_was_taken_while_it_was_asked_for_is_not_told (void **state) {
  strand_obstacle obstacle;
  rd_kafka_topic_partition_list_t *list = list_of();
  int label = sent();
  (void)state;
  asked_within(60);
  taken(label, 0);
  sent(); /* a swap before the answer */
  add_few(list, 0);
  assert_false(answered(list, &obstacle));
}

static void a_question_that_fails_tells_nothing (void **state) {
  strand_obstacle obstacle;
  (void)state;
  sent();
  asked_within(60);
  assert_false(strand_stall_answered(&stall, RD_KAFKA_RESP_ERR__TIMED_OUT,
                                     NULL, now, &obstacle));
  assert_false(stall.asking);
  assert_true(asked_within(60) > 0);
}

/* Of the next doubt they would be taken out, though they may not take. */
static void what_was_taken_is_forgotten_with_its_doubt (void **state) {
  strand_obstacle obstacle;
  int label = sent();
  (void)state;
  asked_within(60);
  taken(sent(), 1);
  taken(label, 0);
  sent(); /* a swap before the answer: the doubt is over */
  assert_true(stall.taking_count > 0);
  assert_false(strand_stall_answered(&stall, RD_KAFKA_RESP_ERR__TIMED_OUT,
                                     NULL, now, &obstacle));
  strand_stall_check(&stall);
  assert_int_equal(stall.taking_count, 0);
}

static void more_partitions_than_are_noted_do_no_harm (void **state) {
  strand_obstacle obstacle;
  rd_kafka_topic_partition_list_t *list = list_of();
  (void)state;
  sent();
  assert_true(asked_within(3) < 0);
  for (int32_t i = 1; i < 4 * STRAND_STALL_TAKING; i++) taken(sent(), i);
  assert_true(asked_within(60) > 0);
  add_few(list, 0);
  for (int32_t i = 1; i <= STRAND_STALL_TAKING / 2; i++) add_few(list, i);
  assert_true(answered(list, &obstacle));
  assert_string_equal(obstacle.reason,
                      "too few in-sync replicas, it seems: t/0 (1 of 3)");
}

static void copies_are_no_matter_while_a_leader_is_away (void **state) {
  strand_obstacle obstacle;
  rd_kafka_topic_partition_list_t *list = list_of();
  (void)state;
  add_few(list, 0);
  strand_obstacle_of(list, false, &obstacle);
  assert_null(obstacle.type); /* acks=1 needs no copies */
  strand_obstacle_of(list, true, &obstacle);
  assert_string_equal(obstacle.type, "replicas_missing");
  add_away(list, 7);
  strand_obstacle_of(list, true, &obstacle);
  assert_string_equal(obstacle.type, "leader_missing");
  assert_string_equal(obstacle.reason, "no leader answers for t/7");
  assert_int_equal(obstacle.partition, 7);
  assert_int_equal(obstacle.err, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE);
  rd_kafka_topic_partition_list_destroy(list);
}

static void of_many_some_are_named (void **state) {
  strand_obstacle obstacle;
  rd_kafka_topic_partition_list_t *list = list_of();
  char name[250];
  (void)state;
  for (int32_t i = 0; i < 9; i++) add_away(list, i);
  strand_obstacle_of(list, true, &obstacle);
  assert_string_equal(obstacle.reason, "no leader answers for t/0, t/1, t/2, "
                                       "t/3, t/4, t/5, t/6, t/7 and 1 more");
  rd_kafka_topic_partition_list_destroy(list);
  list = list_of();
  memset(name, 'n', 100);
  name[100] = '\0';
  for (int32_t i = 0; i < 3; i++) {
    add(list, name, i, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 1, 3);
  }
  strand_obstacle_of(list, true, &obstacle);
  assert_non_null(strstr(obstacle.reason, "/0 (1 of 3) and 2 more"));
  rd_kafka_topic_partition_list_destroy(list);
  list = list_of();
  memset(name, 'n', 249);
  name[249] = '\0';
  add(list, name, 0, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 1, 3);
  add(list, name, 1, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 1, 3);
  strand_obstacle_of(list, true, &obstacle); /* it is cut */
  assert_int_equal(strlen(obstacle.reason), sizeof(obstacle.reason) - 1);
  rd_kafka_topic_partition_list_destroy(list);
}

/*
** Labels of records
*/

static void an_opaque_keeps_what_it_is_made_of (void **state) {
  static const strand_delivery_ticket records[] = {
    { 0, 0, 0 },          { 0, 0, 1 },          { 1, 0, 0 },
    { 1, UINT32_MAX, 0 }, { 1, UINT32_MAX, 1 }, { 1, 0x80000001, 1 }
  };
  (void)state;
  for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
    strand_delivery_ticket ticket = records[i];
    void *opaque = strand_placement_opaque(&records[i]);
    assert_null(strand_placement_ticket(opaque));
    assert_int_equal(strand_placement_label(opaque), records[i].label);
    assert_ptr_equal(strand_placement_ticket(&ticket), &ticket);
    assert_int_equal(strand_placement_label(&ticket), records[i].label);
  }
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(nothing_out_needs_no_tick, begin),
    cmocka_unit_test_setup(a_record_that_is_out_for_long_is_asked_for, begin),
    cmocka_unit_test_setup(records_that_are_taken_are_not, begin),
    cmocka_unit_test_setup(
      one_that_is_stuck_is_asked_for_though_others_are_taken, begin),
    cmocka_unit_test_setup(it_is_not_asked_again_before_ten_seconds, begin),
    cmocka_unit_test_setup(patience_is_of_the_linger_and_the_timeout, begin),
    cmocka_unit_test_setup(it_is_told_at_once_and_again_with_back_off, begin),
    cmocka_unit_test_setup(it_ends_with_an_answer_that_names_nothing, begin),
    cmocka_unit_test_setup(
      it_ends_when_all_are_taken_and_not_when_they_are_lost, begin),
    cmocka_unit_test_setup(a_partition_that_takes_records_is_not_named, begin),
    cmocka_unit_test_setup(what_was_taken_while_it_was_asked_for_is_not_told,
                           begin),
    cmocka_unit_test_setup(a_question_that_fails_tells_nothing, begin),
    cmocka_unit_test_setup(what_was_taken_is_forgotten_with_its_doubt, begin),
    cmocka_unit_test_setup(more_partitions_than_are_noted_do_no_harm, begin),
    cmocka_unit_test(copies_are_no_matter_while_a_leader_is_away),
    cmocka_unit_test(of_many_some_are_named),
    cmocka_unit_test(an_opaque_keeps_what_it_is_made_of)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
