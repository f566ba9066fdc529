/*
** kafka_committer_test.c - a commit that fails says of what, and why
**
** Without a consumer or a broker: a member's committer.c is called as its
** owner does; its allocations can fail. No commit leaves, for lack of memory
** or of a client.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "member/member.h"

static char *failing_strdup (const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = malloc(size);
  return copy == NULL ? NULL : memcpy(copy, text, size);
}

static bool no_room; /* for a transaction */

static bool close_transaction (strand_transactions *x) {
  return !no_room && strand_transactions_close(x);
}

#define strdup(text) failing_strdup(text)
#define strand_transactions_close(x) close_transaction(x)
#include "../../src/member/committer.c"
#undef strdup

static strand_consumer consumer; /* only what events and answers need */
static strand_member member;
static strand_lease running[16];
static int running_count;
static const strand_route_limits route = { .policy = { 1000, 1000, 1, 0, 0,
                                                       STRAND_OUTCOME_PARK } };

static void on_notice (void *arg, const strand_notice *notice) {
  (void)arg;
  (void)notice;
}

static int open_member (void **state) {
  strand_engine_config config = { .routes = &route,
                                  .route_count = 1,
                                  .max_metadata = 4096,
                                  .max_buffered_records = 100,
                                  .max_buffered_bytes = 100000,
                                  .max_waiting_records = 100,
                                  .max_waiting_bytes = 100000,
                                  .notice = on_notice };
  (void)state;
  assert_true(strand_notifier_init(&consumer.notifier, true, false));
  strand_tickets_init(&consumer.tickets);
  strand_tally_init(&consumer.tally);
  member = (strand_member){ .owner.phase = STRAND_SERVING };
  assert_true(strand_inboxes_init(&consumer.inboxes, 1));
  strand_member_init(&member, &consumer, 0);
  member.owner.engine = strand_engine_new(&config);
  return 0;
}

static int close_member (void **state) {
  (void)state;
  for (int i = 0; i < running_count; i++) {
    strand_engine_give_back(member.owner.engine, &running[i]);
  }
  running_count = 0;
  strand_engine_free(member.owner.engine);
  strand_notifier_free(&consumer.notifier);
  strand_inboxes_free(&consumer.inboxes);
  strand_tally_free(&consumer.tally);
  return 0;
}

/* Two records, of which the second is done and the first runs on: the commit
** needs metadata. */
static void have_something_to_say (const char *topic, int32_t index) {
  strand_partition *p = strand_engine_assign(member.owner.engine, topic, index,
                                             1, 0, NULL, 0);
  strand_lease lease;
  assert_int_equal(strand_engine_restored(member.owner.engine, p, 0, NULL),
                   STRAND_OK);
  for (int i = 0; i < 2; i++) {
    strand_record *r = strand_engine_room(member.owner.engine, p, 1);
    r->flags |= STRAND_RECORD_KEY;
    r->offset = i;
    r->key_length = 1;
    r->value_length = r->headers_length = 0;
    r->bytes[0] = (char)('a' + i);
    assert_int_equal(strand_engine_admit(member.owner.engine, p, r, 0),
                     STRAND_ADDED);
    assert_true(strand_engine_lease(member.owner.engine, 1, 0, &lease));
    if (i == 0) running[running_count++] = lease;
  }
  assert_int_equal(strand_engine_done(member.owner.engine, &lease, 1, 0),
                   STRAND_OK);
}

static strand_event next_event (void) {
  strand_event event;
  assert_true(strand_events_pop(consumer.notifier.events, &event));
  return event;
}

static strand_ticket *ask (void) {
  strand_ticket *ticket = calloc(1, sizeof(*ticket));
  strand_waiter *w = calloc(1, sizeof(*w));
  ticket->of = &consumer.tickets;
  ticket->waiting = 1;
  w->ticket = ticket;
  strand_committer_wait(&member.committer, w);
  return ticket;
}

/* It was called TIMED_OUT_QUEUE. */
static void no_memory_for_a_commit_is_called_so (void **state) {
  strand_event event;
  (void)state;
  have_something_to_say("t", 3);
  member.owner.client = (rd_kafka_t *)(void *)&member; /* is not reached */
  fail_alloc(0);
  assert_true(strand_committer_send(&member.committer, 0));
  assert_true(alloc_failed);
  event = next_event();
  assert_string_equal(event.type, "commit_failed");
  assert_string_equal(event.code, "NO_MEMORY");
  assert_string_equal(event.reason, "commit of t/3: memory ran out");
  assert_string_equal(event.topic, "t");
  assert_int_equal(event.partition, 3);
  strand_event_clear(&event);
  assert_null(member.committer.commit);
  assert_true(strand_engine_commit_due(member.owner.engine, 0) < INT64_MAX);
}

static void up_to_eight_partitions_are_named (void **state) {
  strand_failure failure;
  strand_commit *commit;
  (void)state;
  for (int32_t i = 0; i < 11; i++) have_something_to_say("orders", i);
  commit = strand_engine_commit(member.owner.engine, 0, NULL);
  describe(commit, "CODE", "text", &failure);
  strand_engine_commit_answer(member.owner.engine, commit, STRAND_COMMITTED,
                              0);
  assert_string_equal(failure.message,
                      "commit of 11 partitions (orders/0, orders/1, orders/2, "
                      "orders/3, orders/4, orders/5, orders/6, orders/7 and 3 "
                      "more): text");
}

/* Names that are too long for the message are counted. */
static void long_names_leave_room_for_the_error (void **state) {
  strand_failure failure;
  strand_commit *commit;
  char topic[250];
  (void)state;
  memset(topic, 'x', 249);
  topic[249] = '\0';
  for (int32_t i = 0; i < 4; i++) have_something_to_say(topic, i);
  commit = strand_engine_commit(member.owner.engine, 0, NULL);
  describe(commit, "CODE", "the error's own text", &failure);
  strand_engine_commit_answer(member.owner.engine, commit, STRAND_COMMITTED,
                              0);
  assert_string_equal(strstr(failure.message, "x/0"),
                      "x/0 and 3 more): the error's own text");
  assert_null(strstr(failure.message, "x/1"));
}

/* There is something to commit, and no client for it any more: that was called
** NO_MEMORY. */
static void who_waits_at_the_end_is_told_that_it_is_the_end (void **state) {
  strand_ticket *ticket = NULL;
  (void)state;
  have_something_to_say("t", 0);
  ticket = ask();
  serve_waiters(&member.committer, 0);
  assert_int_equal(ticket->waiting, 1);
  strand_committer_end(&member.committer);
  assert_int_equal(ticket->waiting, 0);
  assert_string_equal(ticket->failure.code, "CLOSED");
  free(ticket);
}

/* The next commit may do it: nobody is answered, nor left with the one that
** has failed. */
static void
who_waits_for_a_commit_that_failed_waits_for_the_next (void **state) {
  strand_ticket *ticket;
  (void)state;
  have_something_to_say("t", 0);
  ticket = ask();
  member.owner.client = (rd_kafka_t *)(void *)&member; /* is not reached */
  fail_alloc(0);
  assert_true(strand_committer_send(&member.committer, 0));
  assert_true(alloc_failed);
  strand_committer_check(&member.committer);
  assert_int_equal(ticket->waiting, 1);
  assert_true(has_uncommitted(&member.committer));
  strand_committer_end(&member.committer);
  free(ticket);
}

static void no_memory_for_a_commit_is_told_to_who_waits (void **state) {
  strand_ticket *ticket = NULL;
  (void)state;
  have_something_to_say("t", 0);
  ticket = ask();
  answer_uncommitted(
    &member.committer); /* as after a plan for which memory ran out */
  assert_int_equal(ticket->waiting, 0);
  assert_string_equal(ticket->failure.code, "NO_MEMORY");
  free(ticket);
}

/* Exactly once. The transactor's thread is not there. */
static int open_transacting (void **state) {
  consumer.settings.delivery = STRAND_EXACTLY_ONCE;
  consumer.settings.transactional.records = 10;
  open_member(state);
  no_room = false;
  member.owner.client = (rd_kafka_t *)(void *)&member; /* is not reached */
  return 0;
}

static int close_transacting (void **state) {
  close_member(state);
  consumer.settings.delivery = STRAND_AT_LEAST_ONCE;
  return 0;
}

/* Nothing can be sent before it is ready, and it says when. */
static void nobody_turns_round_until_a_transaction_can_begin (void **state) {
  int64_t now_us = INT64_C(1) << 40;
  (void)state;
  have_something_to_say("t", 0);
  assert_true(due_of(&member.committer, now_us) <= now_us);
  assert_int_equal(strand_committer_due(&member.committer, now_us), INT64_MAX);
  member.transactor.ready = true;
  assert_true(strand_committer_due(&member.committer, now_us) <= now_us);
}

static void no_memory_for_a_transaction_is_waited_for (void **state) {
  (void)state;
  have_something_to_say("t", 0);
  member.transactor.ready = true;
  no_room = true;
  assert_false(strand_committer_send(&member.committer, 0));
  assert_null(member.committer.commit);
  assert_true(strand_committer_starved(&member.committer));
}

static void take_metadata_of (size_t most) {
  strand_engine_config config = { .routes = &route,
                                  .route_count = 1,
                                  .max_metadata = most,
                                  .max_buffered_records = 100,
                                  .max_buffered_bytes = 100000,
                                  .max_waiting_records = 100,
                                  .max_waiting_bytes = 100000,
                                  .notice = on_notice };
  strand_engine_configure(member.owner.engine, &config);
}

static void commit_what_fits (void) {
  strand_commit *c = strand_engine_commit(member.owner.engine, 0, NULL);
  if (c != NULL)
    strand_engine_commit_answer(member.owner.engine, c, STRAND_COMMITTED, 0);
}

static void health_is (int64_t now_us, const char *code) {
  strand_failure problem;
  strand_committer_tick(&member.committer, now_us);
  strand_problem_get(&member.problem, &problem);
  assert_string_equal(problem.code, code);
}

/* Such a member goes on, and its partition is never committed. */
static void what_fits_in_no_commit_is_a_problem_after_a_while (void **state) {
  int64_t now_us = 1000;
  strand_failure problem;
  (void)state;
  have_something_to_say("t", 3);
  take_metadata_of(1);
  commit_what_fits();
  health_is(now_us, "");
  now_us += STRAND_ALERT_PATIENCE_US - 1;
  health_is(now_us, "");
  health_is(++now_us, "METADATA_UNWRITABLE");
  strand_problem_get(&member.problem, &problem);
  assert_non_null(strstr(problem.message, "t/3"));
  take_metadata_of(4096);
  commit_what_fits();
  health_is(now_us, "");
}

/* At least once a part of it is told. */
static void where_a_part_is_committed_nothing_is_wrong (void **state) {
  (void)state;
  have_something_to_say("t", 3);
  take_metadata_of(1);
  commit_what_fits();
  health_is(1000, "");
  health_is(1000 + STRAND_ALERT_PATIENCE_US, "");
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(
      nobody_turns_round_until_a_transaction_can_begin, open_transacting,
      close_transacting),
    cmocka_unit_test_setup_teardown(no_memory_for_a_transaction_is_waited_for,
                                    open_transacting, close_transacting),
    cmocka_unit_test_setup_teardown(
      what_fits_in_no_commit_is_a_problem_after_a_while, open_transacting,
      close_transacting),
    cmocka_unit_test_setup_teardown(where_a_part_is_committed_nothing_is_wrong,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(no_memory_for_a_commit_is_called_so,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(up_to_eight_partitions_are_named,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(long_names_leave_room_for_the_error,
                                    open_member, close_member),
    cmocka_unit_test_setup_teardown(
      who_waits_at_the_end_is_told_that_it_is_the_end, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(
      who_waits_for_a_commit_that_failed_waits_for_the_next, open_member,
      close_member),
    cmocka_unit_test_setup_teardown(
      no_memory_for_a_commit_is_told_to_who_waits, open_member, close_member)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
