/*
** kafka_transaction_test.c - where a transaction goes from each answer
**
** No broker: the answers are made up, and so are the times.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/c11_threads.h"
#include "producer/transaction.h"

#define SECOND 1000000
#define TIMEOUT 60.0

#define BEGIN STRAND_TRANSACTION_BEGIN
#define COMMIT STRAND_TRANSACTION_COMMIT
#define ABORT STRAND_TRANSACTION_ABORT
#define END STRAND_TRANSACTION_END

static const strand_transaction_answer worked = { 0 };
static const strand_transaction_answer slow = {
  .err = RD_KAFKA_RESP_ERR__TIMED_OUT, .is_retriable = true
};
static const strand_transaction_answer fenced = {
  .err = RD_KAFKA_RESP_ERR__FENCED, .is_fatal = true
};
static const strand_transaction_answer expelled = {
  .err = RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, .is_abortable = true
};
static const strand_transaction_answer undelivered = {
  .err = RD_KAFKA_RESP_ERR__INCONSISTENT, .is_abortable = true
};
static const strand_transaction_answer purged = {
  .err = RD_KAFKA_RESP_ERR__PURGE_QUEUE
};
static const strand_transaction_answer too_large = {
  .err = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
};
static const strand_transaction_answer too_late = {
  .err = RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, .reason = "topic 't': too late"
};
/* What BEGIN says on a transaction with which nothing is wrong. */
static const strand_transaction_answer nothing_wrong = {
  .err = RD_KAFKA_RESP_ERR__STATE
};

static void expect_step (strand_transaction *t, strand_transaction_goal goal,
                         strand_transaction_step step) {
  assert_int_equal(strand_transaction_next(t, goal, 0), step);
  strand_transaction_check(t);
}

static void expect_call (strand_transaction *t, strand_transaction_goal goal,
                         strand_transaction_call call) {
  expect_step(t, goal, STRAND_TRANSACTION_CALL);
  assert_int_equal(t->call, call);
}

static bool take (strand_transaction *t,
                  const strand_transaction_answer *answer, int64_t now_us) {
  bool on = strand_transaction_took(t, answer, now_us);
  strand_transaction_check(t);
  return on;
}

/* The next call is this one, and works. */
static void make (strand_transaction *t, strand_transaction_goal goal,
                  strand_transaction_call call, int64_t now_us) {
  expect_call(t, goal, call);
  assert_true(take(t, &worked, now_us));
}

static void begin (strand_transaction *t, int64_t now_us) {
  if (t->needs_id) make(t, BEGIN, STRAND_TRANSACTION_CALL_INIT, now_us);
  make(t, BEGIN, STRAND_TRANSACTION_CALL_BEGIN, now_us);
  expect_step(t, BEGIN, STRAND_TRANSACTION_DONE);
  assert_int_equal(t->state, STRAND_TRANSACTION_OPEN);
}

static void renew (strand_transaction *t, strand_transaction_goal goal,
                   int64_t now_us) {
  expect_step(t, goal, STRAND_TRANSACTION_RENEW);
  strand_transaction_renewed(t);
  make(t, goal, STRAND_TRANSACTION_CALL_INIT, now_us);
}

static strand_transaction opened (void) {
  strand_transaction t;
  strand_transaction_init(&t, TIMEOUT);
  begin(&t, 0);
  return t;
}

/* It fails with this when it is committed. */
static strand_transaction
failed_in_commit (const strand_transaction_answer *answer) {
  strand_transaction t = opened();
  expect_call(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT);
  assert_false(take(&t, answer, SECOND));
  return t;
}

static void expect_error (const strand_transaction *t, const char *code,
                          bool retriable, bool abortable, bool fatal) {
  assert_string_equal(t->error.failure.code, code);
  assert_int_equal(t->error.is_retriable, retriable);
  assert_int_equal(t->error.is_abortable, abortable);
  assert_int_equal(t->error.is_fatal, fatal);
}

/*
** The table
*/

static strand_transaction_kind kind (rd_kafka_resp_err_t err, bool fatal,
                                     bool abortable, bool retriable) {
  strand_transaction_answer answer = { .err = err,
                                       .is_fatal = fatal,
                                       .is_abortable = abortable,
                                       .is_retriable = retriable };
  return strand_transaction_kind_of(&answer);
}

static void librdkafkas_word_goes_before_the_table (void **state) {
  (void)state;
  assert_int_equal(kind(RD_KAFKA_RESP_ERR__TIMED_OUT, 0, 0, 1),
                   STRAND_TRANSACTION_RETRIABLE);
  /* send_offsets says so of a timeout; the same again would be refused */
  assert_int_equal(kind(RD_KAFKA_RESP_ERR__TIMED_OUT, 0, 1, 0),
                   STRAND_TRANSACTION_UNDELIVERED);
  assert_int_equal(kind(RD_KAFKA_RESP_ERR__TIMED_OUT, 1, 0, 0),
                   STRAND_TRANSACTION_LOST);
  assert_int_equal(kind(RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, 0, 1, 0),
                   STRAND_TRANSACTION_ABORTABLE);
  assert_int_equal(kind(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, 0, 0, 1),
                   STRAND_TRANSACTION_RETRIABLE);
}

static void
only_what_the_group_refuses_leaves_the_client_as_it_was (void **state) {
  const struct rd_kafka_err_desc *all;
  size_t count, kept = 0;
  (void)state;
  rd_kafka_get_err_descs(&all, &count);
  for (size_t i = 0; i < count; i++) {
    if (all[i].name == NULL || all[i].code == RD_KAFKA_RESP_ERR_NO_ERROR)
      continue;
    kept += kind(all[i].code, 0, 1, 0) == STRAND_TRANSACTION_ABORTABLE;
  }
  assert_in_range(kept, 6, 8);
  assert_int_equal(kind(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 0, 1, 0),
                   STRAND_TRANSACTION_UNDELIVERED);
}

static void a_fatal_error_is_never_less (void **state) {
  const struct rd_kafka_err_desc *all;
  size_t count;
  (void)state;
  rd_kafka_get_err_descs(&all, &count);
  for (size_t i = 0; i < count; i++)
    if (all[i].name != NULL && all[i].code != RD_KAFKA_RESP_ERR_NO_ERROR)
      assert_true(kind(all[i].code, 1, 0, 0) >= STRAND_TRANSACTION_LOST);
}

/*
** The way
*/

static void a_commit_waits_until_nothing_is_outstanding (void **state) {
  strand_transaction t = opened();
  (void)state;
  assert_int_equal(strand_transaction_next(&t, COMMIT, 3),
                   STRAND_TRANSACTION_FLUSH);
  make(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT, SECOND);
  expect_step(&t, COMMIT, STRAND_TRANSACTION_DONE);
  make(&t, BEGIN, STRAND_TRANSACTION_CALL_BEGIN, SECOND); /* and no INIT */
}

static void a_commit_that_timed_out_is_resumed_and_not_aborted (void **state) {
  strand_transaction t = failed_in_commit(&slow);
  (void)state;
  expect_error(&t, "TIMED_OUT", true, false, false);
  expect_step(&t, ABORT, STRAND_TRANSACTION_REFUSED);
  expect_error(&t, "COMMITTING", false, false, false);
  expect_step(&t, END, STRAND_TRANSACTION_REFUSED);
  make(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT, SECOND);
  expect_step(&t, COMMIT, STRAND_TRANSACTION_DONE);
}

/* The commit's answer comes when the abort has been asked for. */
static void what_was_committed_after_all_is_not_called_aborted (void **state) {
  strand_transaction t = opened();
  (void)state;
  expect_call(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT);
  assert_null(strand_transaction_misuse(&t, ABORT));
  assert_true(take(&t, &worked, SECOND));
  expect_step(&t, ABORT, STRAND_TRANSACTION_REFUSED);
  expect_error(&t, "COMMITTED", false, false, false);
  assert_false(t.error.is_certain);
  assert_non_null(strand_transaction_misuse(&t, ABORT));
  expect_step(&t, END, STRAND_TRANSACTION_DONE);
  begin(&t, SECOND);
}

static void a_commit_that_only_flushed_can_be_aborted (void **state) {
  strand_transaction t = opened();
  (void)state;
  assert_int_equal(strand_transaction_next(&t, COMMIT, 1),
                   STRAND_TRANSACTION_FLUSH);
  make(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
}

static void what_the_group_refuses_needs_no_new_client (void **state) {
  strand_transaction t = failed_in_commit(&expelled);
  (void)state;
  expect_error(&t, "ILLEGAL_GENERATION", false, true, false);
  assert_true(t.error.is_certain);
  expect_step(&t, COMMIT, STRAND_TRANSACTION_REFUSED);
  make(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
  begin(&t, SECOND);
}

static void after_a_failed_delivery_the_client_is_renewed (void **state) {
  strand_transaction t = failed_in_commit(&undelivered);
  (void)state;
  assert_true(t.error.is_certain);
  make(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT, SECOND);
  renew(&t, ABORT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
  begin(&t, SECOND);
}

static void a_report_of_a_failure_says_so_before_the_commit (void **state) {
  strand_transaction t = opened();
  (void)state;
  strand_transaction_verify(&t, &nothing_wrong, &too_late, SECOND);
  strand_transaction_check(&t);
  expect_error(&t, "MSG_TIMED_OUT", false, true, false);
  assert_string_equal(t.error.failure.message, too_late.reason);
  expect_step(&t, COMMIT, STRAND_TRANSACTION_REFUSED);
  make(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT, SECOND);
  renew(&t, ABORT, SECOND);
}

/* What no client was given leaves no gap in its numbers. */
static void a_record_that_was_never_sent_costs_no_client (void **state) {
  static const strand_transaction_answer unknown = {
    .err = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
    .is_abortable = true,
    .reason = "topic 't'"
  };
  strand_transaction t = opened();
  (void)state;
  expect_step(&t, ABORT, STRAND_TRANSACTION_CALL);
  strand_transaction_unsent(&t, &unknown, SECOND); /* it is of the abort */
  assert_true(take(&t, &worked, SECOND));
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
  begin(&t, SECOND);
  strand_transaction_unsent(&t, &unknown, SECOND);
  strand_transaction_check(&t);
  expect_error(&t, "UNKNOWN_PARTITION", false, true, false);
  assert_true(t.error.is_certain);
  assert_string_equal(t.error.failure.message, "topic 't'");
  expect_step(&t, COMMIT, STRAND_TRANSACTION_REFUSED);
  make(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
  begin(&t, SECOND);
}

static void a_send_that_is_refused_for_itself_changes_nothing (void **state) {
  strand_transaction t = opened();
  (void)state;
  strand_transaction_verify(&t, &nothing_wrong, NULL, SECOND);
  assert_int_equal(t.state, STRAND_TRANSACTION_OPEN);
  make(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT, SECOND);
}

/* What an abort purges is no failure: the client is as good as before. */
static void a_record_that_fails_in_an_abort_renews_the_client (void **state) {
  strand_transaction t = opened();
  (void)state;
  expect_call(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT);
  strand_transaction_verify(&t, &worked, &purged, SECOND);
  assert_true(take(&t, &worked, SECOND));
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
  begin(&t, SECOND);
  expect_call(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT);
  strand_transaction_verify(&t, &worked, &too_large, SECOND);
  assert_true(take(&t, &worked, SECOND));
  renew(&t, ABORT, SECOND);
}

static void a_lost_client_is_not_asked_to_abort (void **state) {
  strand_transaction t = failed_in_commit(&fenced);
  (void)state;
  expect_error(&t, "FENCED", false, true, false);
  renew(&t, ABORT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
}

static void
the_end_of_a_commit_that_was_asked_for_may_be_unknown (void **state) {
  strand_transaction t = failed_in_commit(&fenced);
  (void)state;
  assert_false(t.error.is_certain);
  t = opened();
  strand_transaction_verify(&t, &fenced, NULL, SECOND);
  expect_error(&t, "FENCED", false, true, false);
  assert_true(t.error.is_certain); /* none was asked for */
}

static void an_abort_that_fails_ends_with_the_client (void **state) {
  strand_transaction t = opened();
  (void)state;
  expect_call(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT);
  assert_true(take(&t, &undelivered, SECOND));
  renew(&t, ABORT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
}

static void an_abort_that_timed_out_goes_on_where_it_was (void **state) {
  strand_transaction t = failed_in_commit(&undelivered);
  (void)state;
  expect_call(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT);
  assert_false(take(&t, &slow, SECOND));
  expect_error(&t, "TIMED_OUT", true, false, false);
  make(&t, ABORT, STRAND_TRANSACTION_CALL_ABORT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_RENEW);
  strand_transaction_renewed(&t);
  expect_call(&t, ABORT, STRAND_TRANSACTION_CALL_INIT);
  assert_false(take(&t, &slow, SECOND));
  make(&t, ABORT, STRAND_TRANSACTION_CALL_INIT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
}

static strand_transaction after_a_commit (void) {
  strand_transaction t = opened();
  make(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT, SECOND);
  begin(&t, SECOND);
  return t;
}

/* So many records of it are out. */
static void expect_abort (strand_transaction *t, int64_t queued,
                          strand_transaction_step step) {
  assert_int_equal(strand_transaction_next(t, ABORT, queued), step);
  strand_transaction_check(t);
}

/* The brokers may not have begun it: see transaction.h. */
static void
an_abort_after_a_commit_waits_for_an_acknowledgement (void **state) {
  strand_transaction t = after_a_commit();
  (void)state;
  expect_abort(&t, 2, STRAND_TRANSACTION_SETTLE);
  assert_int_equal(t.settles_us, SECOND + STRAND_TRANSACTION_SETTLE_US);
  expect_abort(&t, 2, STRAND_TRANSACTION_SETTLE);
  strand_transaction_settled(&t);
  expect_abort(&t, 1, STRAND_TRANSACTION_CALL);
  assert_int_equal(t.call, STRAND_TRANSACTION_CALL_ABORT);
  assert_true(take(&t, &worked, SECOND));
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
  begin(&t, SECOND); /* and the next one follows an abort */
  expect_abort(&t, 2, STRAND_TRANSACTION_CALL);
}

static void an_abort_waits_for_nothing_where_nothing_comes (void **state) {
  strand_transaction t = after_a_commit();
  (void)state;
  expect_abort(&t, 0, STRAND_TRANSACTION_CALL); /* no records */
  t = after_a_commit();
  assert_int_equal(strand_transaction_next(&t, END, 2),
                   STRAND_TRANSACTION_CALL);
  t = after_a_commit(); /* a new client has no commit behind it */
  strand_transaction_verify(&t, &fenced, NULL, SECOND);
  renew(&t, ABORT, SECOND);
  expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
  begin(&t, SECOND);
  expect_abort(&t, 2, STRAND_TRANSACTION_CALL);
}

static void an_end_aborts_and_renews_nothing (void **state) {
  strand_transaction t = failed_in_commit(&undelivered);
  (void)state;
  make(&t, END, STRAND_TRANSACTION_CALL_ABORT, SECOND);
  expect_step(&t, END, STRAND_TRANSACTION_DONE);
}

static void a_begin_renews_a_client_that_fails_it (void **state) {
  strand_transaction t;
  (void)state;
  strand_transaction_init(&t, TIMEOUT);
  expect_call(&t, BEGIN, STRAND_TRANSACTION_CALL_INIT);
  assert_false(take(&t, &fenced, SECOND));
  expect_error(&t, "FENCED", true, false, false);
  renew(&t, BEGIN, SECOND);
  make(&t, BEGIN, STRAND_TRANSACTION_CALL_BEGIN, SECOND);
}

static void what_is_refused_for_good_is_over (void **state) {
  static const strand_transaction_answer refused = {
    .err = RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    .is_fatal = true
  };
  strand_transaction t;
  (void)state;
  strand_transaction_init(&t, TIMEOUT);
  expect_call(&t, BEGIN, STRAND_TRANSACTION_CALL_INIT);
  assert_false(take(&t, &refused, SECOND));
  expect_error(&t, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", false, false,
               true);
  expect_step(&t, BEGIN, STRAND_TRANSACTION_REFUSED);
  expect_step(&t, ABORT, STRAND_TRANSACTION_REFUSED);
}

/*
** Fencing
*/

static void
an_expired_commit_may_have_worked_before_and_says_so (void **state) {
  strand_transaction t = opened();
  (void)state;
  expect_call(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT);
  assert_false(take(&t, &fenced, (int64_t)(TIMEOUT * SECOND)));
  assert_false(t.error.is_certain);
  assert_non_null(
    strstr(t.error.failure.message, "unless they committed it before"));
}

/* Each transaction begins at this time, and is fenced so much later. */
static void be_fenced (strand_transaction *t, int64_t *now_us, int64_t after) {
  begin(t, *now_us);
  *now_us += after;
  strand_transaction_verify(t, &fenced, NULL, *now_us);
  strand_transaction_check(t);
}

static void two_with_one_id_do_not_fence_each_other_for_ever (void **state) {
  strand_transaction t;
  int64_t now_us = 0;
  (void)state;
  strand_transaction_init(&t, TIMEOUT);
  for (int i = 0; i < STRAND_TRANSACTION_RENEWALS; i++) {
    be_fenced(&t, &now_us, SECOND);
    expect_error(&t, "FENCED", false, true, false);
    renew(&t, ABORT, now_us);
    expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
    /* It commits now and then: that is no peace yet. */
    begin(&t, now_us);
    make(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT, now_us + SECOND);
  }
  be_fenced(&t, &now_us, SECOND);
  expect_error(&t, "FENCED", false, false, true);
  assert_non_null(strstr(t.error.failure.message, "another process"));
  expect_step(&t, BEGIN, STRAND_TRANSACTION_REFUSED);
}

static void a_commit_in_calm_forgets_the_fencing (void **state) {
  strand_transaction t;
  int64_t now_us = 0;
  (void)state;
  strand_transaction_init(&t, TIMEOUT);
  for (int i = 0; i < 3 * STRAND_TRANSACTION_RENEWALS; i++) {
    be_fenced(&t, &now_us, SECOND);
    renew(&t, ABORT, now_us);
    expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
    now_us += STRAND_TRANSACTION_CALM_US;
    begin(&t, now_us);
    make(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT, now_us);
  }
}

static void
a_transaction_that_was_open_too_long_is_nobodys_fault (void **state) {
  strand_transaction t;
  int64_t now_us = 0;
  (void)state;
  strand_transaction_init(&t, TIMEOUT);
  for (int i = 0; i < 3 * STRAND_TRANSACTION_RENEWALS; i++) {
    be_fenced(&t, &now_us, (int64_t)(TIMEOUT * SECOND));
    expect_error(&t, "FENCED", false, true, false);
    assert_non_null(
      strstr(t.error.failure.message, "'transaction_timeout' (60)"));
    assert_true(t.error.is_certain);
    assert_null(strstr(t.error.failure.message, "unless"));
    renew(&t, ABORT, now_us);
    expect_step(&t, ABORT, STRAND_TRANSACTION_DONE);
  }
}

/*
** Misuse
*/

static void what_makes_no_sense_is_said (void **state) {
  strand_transaction t;
  (void)state;
  strand_transaction_init(&t, TIMEOUT);
  assert_null(strand_transaction_misuse(&t, BEGIN));
  assert_non_null(strand_transaction_misuse(&t, COMMIT));
  assert_non_null(strand_transaction_misuse(&t, ABORT));
  assert_null(strand_transaction_misuse(&t, END));
  begin(&t, 0);
  assert_non_null(strand_transaction_misuse(&t, BEGIN));
  assert_null(strand_transaction_misuse(&t, COMMIT));
  expect_call(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT);
  assert_false(take(&t, &slow, 0));
  assert_non_null(strand_transaction_misuse(&t, BEGIN));
  assert_null(strand_transaction_misuse(&t, COMMIT));
  assert_null(strand_transaction_misuse(&t, ABORT)); /* COMMITTING says it */
}

/*
** Every order
*/

static const strand_transaction_answer *any_answer (void) {
  static const strand_transaction_answer *const answers[] = {
    &worked, &worked, &worked, &slow, &fenced, &expelled, &undelivered
  };
  return answers[(size_t)rand() % (sizeof(answers) / sizeof(answers[0]))];
}

/* One call of the user's, in which a record may fail. */
static void go (strand_transaction *t, strand_transaction_goal goal,
                int64_t *now_us) {
  strand_transaction_step step;
  int steps = 0;
  while ((step = strand_transaction_next(t, goal, rand() % 2))
         != STRAND_TRANSACTION_DONE) {
    assert_true(++steps < 100);
    *now_us += rand() % (20 * SECOND);
    if (rand() % 8 == 0 && t->open_there)
      strand_transaction_verify(t, &nothing_wrong, &too_late, *now_us);
    if (step == STRAND_TRANSACTION_REFUSED) return;
    if (step == STRAND_TRANSACTION_RENEW) strand_transaction_renewed(t);
    if (step == STRAND_TRANSACTION_SETTLE) strand_transaction_settled(t);
    if (step == STRAND_TRANSACTION_CALL && !take(t, any_answer(), *now_us))
      return;
    strand_transaction_check(t);
  }
}

static void whatever_happens_an_abort_leads_to_a_new_begin (void **state) {
  (void)state;
  for (unsigned seed = 1; seed <= 2000; seed++) {
    strand_transaction t;
    int64_t now_us = 0;
    srand(seed);
    strand_transaction_init(&t, TIMEOUT);
    for (int i = 0; i < 30; i++) {
      strand_transaction_goal goal = (strand_transaction_goal)(rand() % 3);
      if (strand_transaction_misuse(&t, goal) == NULL) go(&t, goal, &now_us);
      strand_transaction_check(&t);
    }
    if (t.state == STRAND_TRANSACTION_OVER) continue;
    if (t.state == STRAND_TRANSACTION_COMMITTING)
      make(&t, COMMIT, STRAND_TRANSACTION_CALL_COMMIT, now_us);
    while (strand_transaction_is_open(&t)) {
      if (strand_transaction_next(&t, ABORT, 0) == STRAND_TRANSACTION_RENEW)
        strand_transaction_renewed(&t);
      else if (t.state == STRAND_TRANSACTION_ABORTING)
        assert_true(take(&t, &worked, now_us));
    }
    if (t.is_spent) strand_transaction_renewed(&t);
    begin(&t, now_us);
  }
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(librdkafkas_word_goes_before_the_table),
    cmocka_unit_test(only_what_the_group_refuses_leaves_the_client_as_it_was),
    cmocka_unit_test(a_fatal_error_is_never_less),
    cmocka_unit_test(a_commit_waits_until_nothing_is_outstanding),
    cmocka_unit_test(a_commit_that_timed_out_is_resumed_and_not_aborted),
    cmocka_unit_test(what_was_committed_after_all_is_not_called_aborted),
    cmocka_unit_test(a_commit_that_only_flushed_can_be_aborted),
    cmocka_unit_test(what_the_group_refuses_needs_no_new_client),
    cmocka_unit_test(after_a_failed_delivery_the_client_is_renewed),
    cmocka_unit_test(a_report_of_a_failure_says_so_before_the_commit),
    cmocka_unit_test(a_send_that_is_refused_for_itself_changes_nothing),
    cmocka_unit_test(a_record_that_was_never_sent_costs_no_client),
    cmocka_unit_test(a_record_that_fails_in_an_abort_renews_the_client),
    cmocka_unit_test(a_lost_client_is_not_asked_to_abort),
    cmocka_unit_test(the_end_of_a_commit_that_was_asked_for_may_be_unknown),
    cmocka_unit_test(an_abort_that_fails_ends_with_the_client),
    cmocka_unit_test(an_abort_that_timed_out_goes_on_where_it_was),
    cmocka_unit_test(an_abort_after_a_commit_waits_for_an_acknowledgement),
    cmocka_unit_test(an_abort_waits_for_nothing_where_nothing_comes),
    cmocka_unit_test(an_end_aborts_and_renews_nothing),
    cmocka_unit_test(a_begin_renews_a_client_that_fails_it),
    cmocka_unit_test(what_is_refused_for_good_is_over),
    cmocka_unit_test(two_with_one_id_do_not_fence_each_other_for_ever),
    cmocka_unit_test(a_commit_in_calm_forgets_the_fencing),
    cmocka_unit_test(an_expired_commit_may_have_worked_before_and_says_so),
    cmocka_unit_test(a_transaction_that_was_open_too_long_is_nobodys_fault),
    cmocka_unit_test(what_makes_no_sense_is_said),
    cmocka_unit_test(whatever_happens_an_abort_leads_to_a_new_begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
