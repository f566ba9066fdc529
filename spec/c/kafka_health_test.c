/*
** kafka_health_test.c - what is wrong with the world is in health() when it
** is told, the worst first, and each problem ends by its own sign of life
**
** Without a consumer or a broker: a member's parts are called as its owner
** does, with errors and answers that a test makes up.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "member/member.h"

#define SECOND 1000000

enum { /* requests' keys */
       FETCH = 1,
       METADATA = 3,
       JOIN_GROUP = 11,
       SYNC_GROUP = 14,
       SASL_HANDSHAKE = 17,
       API_VERSIONS = 18,
       SASL_AUTHENTICATE = 36
};

static strand_consumer consumer; /* only what events need */
static strand_member member;
static strand_event told; /* the last */

static int open_member (void **state) {
  static const char *const topics[] = { "one", "two" };
  const strand_consumer_config config = { .topics = topics, .topic_count = 2 };
  (void)state;
  memset(&consumer, 0, sizeof(consumer));
  assert_true(strand_notifier_init(&consumer.notifier, true, false));
  strand_tally_init(&consumer.tally);
  assert_true(strand_settings_init(&consumer.settings, &config));
  member = (strand_member){ .owner.phase = STRAND_SERVING };
  assert_true(strand_inboxes_init(&consumer.inboxes, 1));
  strand_member_init(&member, &consumer, 0);
  return 0;
}

/* As the owner does between two turns. */
static void check_parts (void) {
  strand_known_errors_check(&member.known_errors);
  strand_topics_check(&member.topics);
  strand_outage_check(&member.outage);
  strand_membership_check(&member.membership);
  strand_problem_check(&member.problem);
}

static int close_member (void **state) {
  (void)state;
  check_parts();
  strand_event_clear(&told);
  strand_known_errors_free(&member.known_errors);
  strand_topics_free(&member.topics);
  strand_problem_free(&member.problem);
  strand_notifier_free(&consumer.notifier);
  strand_inboxes_free(&consumer.inboxes);
  strand_settings_free(&consumer.settings);
  strand_tally_free(&consumer.tally);
  return 0;
}

/* How many events there were; 'told' is the last. */
static int tell (void) {
  strand_event event;
  int count = 0;
  while (strand_events_pop(consumer.notifier.events, &event)) {
    strand_event_clear(&told);
    told = event;
    count++;
  }
  return count;
}

static void check_health (const char *code, const char *message) {
  strand_failure problem;
  strand_problem_get(&member.problem, &problem);
  assert_string_equal(problem.code, code);
  assert_non_null(strstr(problem.message, message));
}

static void hear (rd_kafka_resp_err_t err, const char *text, const char *topic,
                  int64_t now_us) {
  strand_health_error(&member.health, err, text, topic, -1, now_us);
  check_parts();
}

/* No turn comes between the event and who looks. */
static void why_no_group_is_joined_is_known_when_it_is_told (void **state) {
  (void)state;
  hear(RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED,
       "JoinGroup failed: the group is full", NULL, SECOND);
  assert_int_equal(tell(), 1);
  assert_string_equal(told.code, "GROUP_MAX_SIZE_REACHED");
  check_health("NOT_ASSIGNED", "the group is full");
  hear(RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED,
       "JoinGroup failed: the group is full", NULL, 2 * SECOND);
  assert_int_equal(tell(), 0); /* it was told */
  strand_health_joined(&member.health, 3 * SECOND);
  strand_membership_join(&member.membership);
  strand_outage_publish(&member.outage);
  check_health("", "");
}

static void a_refusal_is_the_worst_and_ends_when_it_is_read (void **state) {
  strand_failure away = { "UNREACHABLE", "no broker answers" };
  (void)state;
  strand_problem_set(&member.problem, STRAND_PROBLEM_UNREACHABLE, &away);
  check_health("UNREACHABLE", "no broker");
  hear(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "no", "one", SECOND);
  assert_int_equal(tell(), 1);
  assert_string_equal(told.type, "auth_failed");
  check_health("AUTH", "not authorized: one: no");
  strand_known_errors_works(&member.known_errors, "two", 0); /* another */
  check_health("AUTH", "not authorized: one: no");
  strand_known_errors_works(&member.known_errors, "one", 0);
  check_health("UNREACHABLE", "no broker");
  strand_problem_set(&member.problem, STRAND_PROBLEM_UNREACHABLE, NULL);
  check_health("", "");
}

/* A cluster may refuse as many topics as it has. */
static void so_many_errors_are_remembered_and_no_more (void **state) {
  char topic[16];
  (void)state;
  for (int i = 0; i < STRAND_ERRORS_KNOWN_MAX + 10; i++) {
    snprintf(topic, sizeof(topic), "t%d", i);
    hear(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "no", topic,
         SECOND + i);
    assert_int_equal(tell(), 1);
  }
  check_health("AUTH", "not authorized: t");
  hear(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "no", topic, 2 * SECOND);
  assert_int_equal(tell(), 0); /* it was told */
  hear(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "no", "t0", 2 * SECOND);
  assert_int_equal(tell(), 1); /* the oldest: forgotten, and told again */
}

/* A turn in which it is no member, and a broker has answered just before. */
static void look_whether_it_joins (int64_t now_us) {
  strand_outage_reached(&member.outage, now_us - 1);
  strand_outage_tick(&member.outage, now_us);
  check_parts();
}

static void answered (int16_t key, rd_kafka_resp_err_t err, int64_t now_us) {
  strand_signs_answered(&member.signs, key, err, now_us);
}

/* So many requests, a second each, from second 'at' on, and what becomes of
** them. */
static void ask_to_join (int count, int at, int16_t then,
                         rd_kafka_resp_err_t err) {
  for (; count > 0; count--, at++) {
    strand_signs_sent(&member.signs, JOIN_GROUP, at * SECOND);
    answered(JOIN_GROUP, err, at * SECOND);
    if (then != JOIN_GROUP) {
      strand_signs_sent(&member.signs, then, at * SECOND);
      answered(then, err, at * SECOND);
    }
  }
}

/* That the coordinator refuses is said only when it was asked. */
static void a_join_is_refused_when_it_was_asked_for (void **state) {
  (void)state;
  member.topics.asking = true; /* nobody carries out another call here */
  look_whether_it_joins(SECOND);
  atomic_store(&member.signs.connect_us, 2 * SECOND);
  atomic_store(&member.signs.coordinator_up, true);
  look_whether_it_joins(6 * SECOND);
  assert_int_equal(member.outage.silent.since_us, 0);
  look_whether_it_joins(7 * SECOND); /* it could ask for so long */
  assert_int_equal(member.outage.silent.since_us, 7 * SECOND);
  look_whether_it_joins(11 * SECOND);
  assert_int_equal(tell(), 1);
  assert_string_equal(told.type, "join_failed");
  assert_string_equal(told.code, "JOIN_NOT_SENT");
  check_health("CANNOT_JOIN", "does not ask it to join");
  for (int at = 17; at <= 20; at++) {
    strand_signs_sent(&member.signs, JOIN_GROUP, at * SECOND);
    answered(JOIN_GROUP, RD_KAFKA_RESP_ERR_NO_ERROR, at * SECOND);
  }
  look_whether_it_joins(21 * SECOND);
  assert_int_equal(member.outage.silent.since_us, 0);
  assert_int_equal(tell(), 1);
  assert_string_equal(told.code, "JOIN_REFUSED");
  check_health("CANNOT_JOIN", "does not let this member join");
  look_whether_it_joins(41 * SECOND); /* as one that is to assign, and waits */
  assert_int_equal(tell(), 1);
  assert_string_equal(told.code, "JOIN_NOT_SENT");
}

/* It waits for the others for long, is answered, and a turn comes before
** librdkafka has acted upon that: asked for the topics, say, as the one that
** is to assign. */
static void an_answer_that_comes_late_is_no_failure_to_join (void **state) {
  const int16_t joins[] = { JOIN_GROUP, JOIN_GROUP, SYNC_GROUP };
  int at = 2;
  (void)state;
  member.topics.asking = true;
  look_whether_it_joins(SECOND);
  atomic_store(&member.signs.connect_us, 1 * SECOND);
  atomic_store(&member.signs.coordinator_up, true);
  for (size_t i = 0; i < sizeof(joins) / sizeof(*joins); i++) {
    strand_signs_sent(&member.signs, joins[i], at * SECOND);
    look_whether_it_joins((at + 15) * SECOND);
    check_health("NOT_ASSIGNED", "other members");
    answered(joins[i], RD_KAFKA_RESP_ERR_NO_ERROR, (at + 16) * SECOND);
    look_whether_it_joins((at + 16) * SECOND + 1);
    check_health("NOT_ASSIGNED", "other members");
    look_whether_it_joins((at + 18) * SECOND);
    assert_int_equal(member.outage.silent.since_us, 0);
    at += 18;
  }
  assert_int_equal(tell(), 0);
}

/* What was lost with its connection was refused by nobody; answers that never
** make it a member are a refusal, also where SyncGroup follows each. */
static void a_join_is_refused_by_answers (void **state) {
  (void)state;
  member.topics.asking = true;
  look_whether_it_joins(SECOND);
  atomic_store(&member.signs.connect_us, 1 * SECOND);
  atomic_store(&member.signs.coordinator_up, true);
  ask_to_join(9, 5, JOIN_GROUP, RD_KAFKA_RESP_ERR__TRANSPORT);
  look_whether_it_joins(14 * SECOND);
  assert_int_equal(tell(), 0);
  ask_to_join(4, 15, SYNC_GROUP, RD_KAFKA_RESP_ERR_NO_ERROR);
  look_whether_it_joins(19 * SECOND);
  assert_int_equal(tell(), 1);
  assert_string_equal(told.code, "JOIN_REFUSED");
}

/* Each is a request about all topics of the cluster. */
static void topics_are_asked_for_again_with_back_off (void **state) {
  int64_t tells_us[] = { 6, 16, 36, 76 };
  (void)state;
  member.topics.asking = true;
  look_whether_it_joins(SECOND);
  atomic_store(&member.signs.coordinator_up, true);
  for (int i = 0; i < 3; i++) {
    look_whether_it_joins(tells_us[i] * SECOND);
    assert_int_equal(member.outage.silent.tell_us, tells_us[i + 1] * SECOND);
  }
  look_whether_it_joins(76 * SECOND - 1);
  assert_int_equal(member.outage.silent.tell_us, 76 * SECOND);
  strand_topics_missing(&member.topics, "one", 76 * SECOND);
  strand_topics_missing(&member.topics, "two", 76 * SECOND);
  look_whether_it_joins(76 * SECOND); /* without a topic none is joined */
  assert_int_equal(member.outage.silent.since_us, 0);
  tell();
}

/* It is told after ten seconds, and only when asking fails, too. */
static void a_broker_that_answers_ends_that_none_does (void **state) {
  strand_call asked = { .kind = STRAND_CALL_REACH,
                        .err = RD_KAFKA_RESP_ERR__TRANSPORT };
  (void)state;
  hear(RD_KAFKA_RESP_ERR__TRANSPORT, "refused", NULL, SECOND);
  strand_outage_reach(&member.outage, &asked, 2 * SECOND);
  assert_int_equal(tell(), 0);
  strand_outage_reach(&member.outage, &asked, 12 * SECOND);
  assert_int_equal(tell(), 1);
  assert_string_equal(told.type, "unreachable");
  check_health("UNREACHABLE", "no broker answers: refused");
  strand_outage_check(&member.outage);
  strand_health_committed(&member.health, 13 * SECOND);
  check_parts();
  check_health("", ""); /* before who waits for the commit is told */
}

/* A turn, and the question for any broker that is due has no answer. Returns
** how many events there were. */
static int ask_in_vain (int64_t now_us) {
  strand_call asked = { .kind = STRAND_CALL_REACH,
                        .err = RD_KAFKA_RESP_ERR__TIMED_OUT };
  member.outage.asking_reach = true; /* nobody carries out a call here */
  strand_outage_tick(&member.outage, now_us);
  strand_outage_reach(&member.outage, &asked, now_us);
  check_parts();
  return tell();
}

/* The question has less time than a slow broker takes. */
static void an_answer_to_any_request_shows_a_broker (void **state) {
  (void)state;
  member.topics.asking = true;
  assert_int_equal(ask_in_vain(SECOND), 0);
  answered(METADATA, RD_KAFKA_RESP_ERR_NO_ERROR, 5 * SECOND);
  assert_int_equal(ask_in_vain(11 * SECOND), 0);
  strand_outage_tick(&member.outage, 14 * SECOND); /* none is asked yet */
  assert_int_equal(ask_in_vain(15 * SECOND), 1);
  assert_string_equal(told.type, "unreachable");
  answered(METADATA, RD_KAFKA_RESP_ERR__TRANSPORT, 16 * SECOND); /* none */
  member.outage.asking_reach = true;
  strand_outage_tick(&member.outage, 16 * SECOND);
  check_health("UNREACHABLE", "no broker answers");
  answered(FETCH, RD_KAFKA_RESP_ERR_NO_ERROR, 17 * SECOND);
  strand_outage_tick(&member.outage, 17 * SECOND);
  check_parts();
  check_health("", "");
  assert_int_equal(tell(), 0);
}

/* While the group's other members take their time nothing else is asked, and
** the answer to the question comes after that was given up. */
static void a_slow_broker_that_is_asked_to_join_is_not_away (void **state) {
  (void)state;
  member.topics.asking = true;
  strand_signs_sent(&member.signs, JOIN_GROUP, SECOND);
  assert_int_equal(strand_outage_tick(&member.outage, SECOND), 6 * SECOND);
  member.outage.sought_us = 6 * SECOND;
  assert_int_equal(ask_in_vain(9 * SECOND), 0);
  member.outage.asking_reach = false;
  assert_int_equal(strand_outage_tick(&member.outage, 9 * SECOND),
                   11 * SECOND);
  answered(METADATA, RD_KAFKA_RESP_ERR_NO_ERROR, 10 * SECOND);
  assert_int_equal(ask_in_vain(13 * SECOND), 0);
  member.outage.asking_reach = false;
  assert_int_equal(strand_outage_tick(&member.outage, 13 * SECOND),
                   15 * SECOND);
  assert_int_equal(ask_in_vain(20 * SECOND), 1); /* it is, now */
  assert_string_equal(told.type, "unreachable");
}

/* Who does not let the client in answers up to there. */
static void an_answer_before_the_client_is_let_in_shows_none (void **state) {
  const int16_t opens[] = { API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE };
  (void)state;
  member.topics.asking = true;
  assert_int_equal(ask_in_vain(SECOND), 0);
  for (size_t i = 0; i < sizeof(opens) / sizeof(*opens); i++) {
    answered(opens[i], RD_KAFKA_RESP_ERR_NO_ERROR, 5 * SECOND);
  }
  assert_int_equal(ask_in_vain(11 * SECOND), 1);
  assert_string_equal(told.type, "unreachable");
}

/* A member that waits for no group is well again when an answer follows the
** error, and not when the error was the last. */
static void what_is_said_of_a_silence_is_what_began_it (void **state) {
  (void)state;
  strand_membership_join(&member.membership);
  hear(RD_KAFKA_RESP_ERR__TRANSPORT, "one is gone", NULL, SECOND);
  answered(FETCH, RD_KAFKA_RESP_ERR_NO_ERROR, 2 * SECOND);
  hear(RD_KAFKA_RESP_ERR__TRANSPORT, "two is gone", NULL, 3 * SECOND);
  assert_int_equal(ask_in_vain(11 * SECOND), 0);
  assert_int_equal(ask_in_vain(12 * SECOND), 1);
  check_health("UNREACHABLE", "no broker answers: two is gone");
  answered(FETCH, RD_KAFKA_RESP_ERR_NO_ERROR, 13 * SECOND);
  strand_outage_tick(&member.outage, 13 * SECOND);
  check_health("", "");
  assert_int_equal(member.outage.unreachable.since_us, 0);
}

/* It may take its time. */
static void a_coordinator_that_was_dialled_just_now_may_answer (void **state) {
  (void)state;
  member.topics.asking = true;
  look_whether_it_joins(SECOND);
  atomic_store(&member.signs.connect_us, 8 * SECOND);
  look_whether_it_joins(11 * SECOND);
  assert_int_equal(tell(), 0);
  look_whether_it_joins(13 * SECOND);
  assert_int_equal(tell(), 1);
  assert_string_equal(told.code, "COORDINATOR_UNREACHABLE");
}

/* Dialled again and again, it is refused each time. */
static void a_coordinator_that_refuses_connections_is_told (void **state) {
  (void)state;
  member.topics.asking = true;
  look_whether_it_joins(SECOND);
  hear(RD_KAFKA_RESP_ERR__TRANSPORT, "GroupCoordinator: refused", NULL,
       9 * SECOND);
  atomic_store(&member.signs.connect_us, 10 * SECOND);
  look_whether_it_joins(11 * SECOND);
  assert_int_equal(tell(), 1);
  assert_string_equal(told.code, "COORDINATOR_UNREACHABLE");
  check_health("CANNOT_JOIN", "does not answer: GroupCoordinator: refused");
}

/* They did when the join began, and are silent since. */
static void brokers_that_are_silent_do_not_fail_a_join (void **state) {
  (void)state;
  member.topics.asking = true;
  assert_int_equal(ask_in_vain(SECOND), 0);
  answered(METADATA, RD_KAFKA_RESP_ERR_NO_ERROR, 2 * SECOND);
  assert_int_equal(ask_in_vain(11 * SECOND), 0);
  assert_int_equal(ask_in_vain(12 * SECOND), 1);
  assert_string_equal(told.type, "unreachable");
}

/* No question is put where answers come. */
static void a_join_fails_where_slow_brokers_answer (void **state) {
  (void)state;
  member.topics.asking = true;
  assert_int_equal(ask_in_vain(SECOND), 0);
  answered(METADATA, RD_KAFKA_RESP_ERR_NO_ERROR, 8 * SECOND);
  assert_int_equal(ask_in_vain(11 * SECOND), 1);
  assert_string_equal(told.type, "join_failed");
}

static void a_topic_is_missing_until_a_broker_knows_it (void **state) {
  struct rd_kafka_metadata_topic found = { .topic = (char[]){ "two" },
                                           .partition_cnt = 1 };
  const struct rd_kafka_metadata listed = { .topic_cnt = 1, .topics = &found };
  strand_call answer = { .kind = STRAND_CALL_TOPICS, .topics = &listed };
  strand_failure problem;
  (void)state;
  for (int i = 0; i < 2; i++) {
    hear(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "where is it?",
         i == 0 ? "one" : "two", SECOND);
    assert_int_equal(tell(), 1);
    assert_string_equal(told.type, "topic_missing");
  }
  hear(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "where is it?", "two",
       SECOND + 1);
  assert_int_equal(tell(), 0); /* it was told */
  assert_true(strand_topics_all_missing(&member.topics));
  strand_topics_listed(&member.topics, &answer, 2 * SECOND);
  assert_false(strand_topics_all_missing(&member.topics));
  strand_topic_problems_publish(&member.topics.topic_problems);
  strand_problem_topic(&member.problem, &problem);
  assert_string_equal(problem.code, "TOPIC_MISSING");
  assert_non_null(strstr(problem.message, "'one'"));
  check_health("", ""); /* which is not about topics */
}

/* A topic without a route may be on the list beside what else is wrong. */
static void
a_topic_that_nobody_has_comes_before_one_without_a_route (void **state) {
  strand_topic_problems *p = &member.topics.topic_problems;
  strand_failure problem;
  (void)state;
  strand_topic_problems_no_route(p, "one", SECOND);
  strand_topic_problems_unassigned(p, "one", 3, 1, SECOND);
  assert_int_equal(tell(), 2);
  strand_topic_problems_check(p);
  strand_problem_topic(&member.problem, &problem);
  assert_string_equal(problem.code, "TOPIC_UNASSIGNED");
  assert_non_null(strstr(problem.message, "of its 3 partitions only 1"));
  strand_topic_problems_drop(p, strand_topic_problems_find(p, "one"));
  strand_topic_problems_publish(p);
  strand_problem_topic(&member.problem, &problem);
  assert_string_equal(problem.code, "NO_ROUTE");
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(
      why_no_group_is_joined_is_known_when_it_is_told, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(
      a_refusal_is_the_worst_and_ends_when_it_is_read, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(a_join_is_refused_when_it_was_asked_for,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(
      an_answer_that_comes_late_is_no_failure_to_join, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(a_join_is_refused_by_answers, open_member,
                                    close_member),
    cmocka_unit_test_setup_teardown(topics_are_asked_for_again_with_back_off,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(a_broker_that_answers_ends_that_none_does,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(an_answer_to_any_request_shows_a_broker,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(
      an_answer_before_the_client_is_let_in_shows_none, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(what_is_said_of_a_silence_is_what_began_it,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(
      a_coordinator_that_was_dialled_just_now_may_answer, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(
      a_coordinator_that_refuses_connections_is_told, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(brokers_that_are_silent_do_not_fail_a_join,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(
      a_slow_broker_that_is_asked_to_join_is_not_away, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(a_join_fails_where_slow_brokers_answer,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(so_many_errors_are_remembered_and_no_more,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(a_topic_is_missing_until_a_broker_knows_it,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(
      a_topic_that_nobody_has_comes_before_one_without_a_route, open_member,
      close_member)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
