/*
** producer_transaction.c - the transactions of a producer
**
** transaction.h says what comes next. What waits for brokers is done by a
** thread (kafka/transaction_calls.h), so that who waits for it serves reports,
** events and tokens meanwhile: librdkafka needs them taken to go on.
*/
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/system.h"
#include "producer/producer_own.h"

#define PURGE_S 1.0  /* for librdkafka to give back what it has */
#define RENEW_S 0.25 /* for the old client to end; then in the background */
#define AGAIN_US                                                              \
  100000              /* purged again: what a thread was retrying slips past */
#define ANSWER_S 0.05 /* before the deadline: that the cause is told in time */

const strand_transaction *
strand_producer_transaction (const strand_producer *p) {
  return p->transactional ? &p->transaction : NULL;
}

/*
** Towards a goal
*/

void strand_producer_enter_loop (strand_producer *p) {
  p->in_loop = true;
}

/* 0: not yet. In a loop the fd is readable when it is to be tried again. */
static int purge_all (strand_producer *p) {
  double wait = p->in_loop ? 0 : PURGE_S;
  if (p->bounds.records > 0)
    strand_producer_purge(p, strand_clock_now() + wait);
  if (p->bounds.records == 0) return 1;
  if (p->in_loop)
    strand_readiness_set(&p->readiness, strand_clock_us() + AGAIN_US);
  return 0;
}

/* 1: there is a new client. */
static int renew (strand_producer *p, strand_transaction_error *error) {
  strand_failure cause = p->transaction.error.failure;
  strand_client *client;
  if (purge_all(p) == 0) return 0;
  *error = (strand_transaction_error){ .is_retriable = true };
  client = strand_renewal_client(p, &error->failure);
  if (client == NULL) return -1;
  strand_renewal_take(p, client, p->in_loop ? 0 : RENEW_S);
  strand_transaction_renewed(&p->transaction);
  strand_producer_events_renewed(&p->events, p->log, &cause);
  return 1;
}

static int tell (strand_producer *p, strand_transaction_error *error) {
  const strand_failure *why = &p->transaction.error.failure;
  char cause[STRAND_DELIVERY_TEXT];
  *error = p->transaction.error;
  strand_producer_cause(p, cause);
  if (error->is_retriable && cause[0] != '\0')
    strand_fail(&error->failure, why->code, "%.300s (%s)", why->message,
                cause);
  return -1;
}

/* 1: on to the next step. */
static int took (strand_producer *p, const strand_transaction_answer *answer,
                 double deadline, strand_transaction_error *error) {
  bool again;
  p->asked = false;
  if (strand_transaction_took(&p->transaction, answer, strand_clock_us()))
    return 1;
  again = strand_transaction_kind_of(answer) == STRAND_TRANSACTION_RETRIABLE
          && deadline - strand_clock_now() > 2 * ANSWER_S;
  return again ? 1 : tell(p, error);
}

static int call (strand_producer *p, double deadline,
                 strand_transaction_error *error) {
  strand_transaction_call which = p->transaction.call;
  if (which == STRAND_TRANSACTION_CALL_BEGIN) { /* does not wait */
    strand_transaction_answer answer;
    strand_transaction_make(p->client->handle, which, 0, &answer);
    return took(p, &answer, 0, error);
  }
  p->asked = strand_transaction_calls_ask(p->client->transaction, which,
                                          deadline - ANSWER_S);
  if (p->asked) return 0;
  *error = (strand_transaction_error){ .is_retriable = true };
  strand_fail_thread(&error->failure, "the thread of the transactions", errno);
  return -1;
}

/* A report goes on with it, or the timer: which whoever serves sets back, as
** the abort may not be called again. */
static int settle (strand_producer *p) {
  int64_t due_us = strand_pending_reports_due_us(&p->deliveries.pending);
  int64_t until_us = p->transaction.settles_us;
  if (strand_clock_us() >= until_us) {
    strand_transaction_settled(&p->transaction);
    return 1;
  }
  strand_readiness_set(&p->readiness,
                       due_us > 0 && due_us < until_us ? due_us : until_us);
  return 0;
}

/* As took; 2: the goal is reached. */
static int step (strand_producer *p, strand_transaction_goal goal,
                 double deadline, strand_transaction_error *error) {
  switch (strand_transaction_next(&p->transaction, goal, p->bounds.records)) {
    case STRAND_TRANSACTION_DONE: return 2;
    case STRAND_TRANSACTION_REFUSED: return tell(p, error);
    case STRAND_TRANSACTION_FLUSH: strand_producer_flush_begin(p); return 0;
    case STRAND_TRANSACTION_SETTLE: return settle(p);
    case STRAND_TRANSACTION_RENEW: return renew(p, error);
    default: return call(p, deadline, error);
  }
}

/* A call that is out is waited for, but not for an id by an end. */
static int poll_call (strand_producer *p, strand_transaction_goal goal,
                      double deadline, strand_transaction_error *error) {
  strand_transaction_answer answer;
  if (!p->asked) return 1;
  if (strand_transaction_calls_take(p->client->transaction, &answer))
    return took(p, &answer, deadline, error);
  return goal == STRAND_TRANSACTION_END
             && p->transaction.call == STRAND_TRANSACTION_CALL_INIT
           ? 2
           : 0;
}

/* After each change: what is purged from now on is of an abort. Records that
** wait for their partition have no part in it any more. */
static void changed (strand_producer *p) {
  p->deliveries.aborts = strand_transaction_is_aborted(&p->transaction);
  strand_transaction_check(&p->transaction);
  if (p->deliveries.aborts) strand_placing_purge(p);
}

int strand_producer_transact (strand_producer *p, strand_transaction_goal goal,
                              double deadline,
                              strand_transaction_error *error) {
  int result;
  strand_producer_refresh(p);
  result = poll_call(p, goal, deadline, error);
  while (result == 1) {
    result = step(p, goal, deadline, error);
    changed(p);
  }
  changed(p);
  return result == 2 ? 1 : result;
}

/* Nobody takes it any more, and the fd is not to be readable for it. */
static void give_up_waiting (strand_producer *p) {
  strand_delivery *report;
  strand_producer_event event;
  strand_log_line line;
  while ((report = strand_deliveries_next(&p->deliveries)) != NULL)
    free(report);
  while (strand_producer_events_pop(&p->events, &event)) continue;
  while (strand_log_pop(p->log, &line)) continue;
  p->held = p->kept = p->oauth_wanted = false;
}

void strand_producer_end_transaction (strand_producer *p, double deadline) {
  strand_transaction_error ignored;
  while (
    strand_producer_transact(p, STRAND_TRANSACTION_END, deadline, &ignored)
    == 0) {
    struct pollfd ready = { .fd = p->readiness.fd, .events = POLLIN };
    int ms = strand_clock_left_ms(deadline);
    if (ms == 0) return;
    give_up_waiting(p);
    poll(&ready, 1, ms);
  }
}

/*
** Records
*/

bool strand_producer_admit (strand_producer *p, strand_failure *failure) {
  const strand_transaction *t = &p->transaction;
  switch (t->state) {
    case STRAND_TRANSACTION_OPEN: return true;
    case STRAND_TRANSACTION_FAILED:
    case STRAND_TRANSACTION_OVER: *failure = t->error.failure; return false;
    case STRAND_TRANSACTION_IDLE:
      strand_fail(failure, "NO_TRANSACTION",
                  "no transaction is open: begin() comes first");
      return false;
    default:
      strand_fail(failure, "NO_TRANSACTION",
                  "the transaction ends: nothing can be sent until begin()");
      return false;
  }
}

/* BEGIN of an open transaction does nothing, and says what is wrong with it. */
static void verify (strand_producer *p,
                    const strand_transaction_answer *record) {
  strand_transaction_answer answer = { 0 };
  if (p->transaction.state == STRAND_TRANSACTION_OPEN
      || p->transaction.state == STRAND_TRANSACTION_FLUSHING)
    strand_transaction_make(p->client->handle, STRAND_TRANSACTION_CALL_BEGIN,
                            0, &answer);
  strand_transaction_verify(&p->transaction, &answer, record,
                            strand_clock_us());
  changed(p);
}

bool strand_producer_refused (strand_producer *p, rd_kafka_resp_err_t err,
                              strand_failure *failure) {
  if (err != RD_KAFKA_RESP_ERR__STATE && err != RD_KAFKA_RESP_ERR__FATAL)
    return false;
  verify(p, NULL);
  if (!strand_transaction_is_aborted(&p->transaction)) return false;
  *failure = p->transaction.error.failure;
  return true;
}

static strand_transaction_answer answer_of (const strand_delivery_end *end) {
  strand_transaction_answer answer = { .err = end->err, .is_abortable = true };
  bool more = end->detail[0] != '\0';
  snprintf(answer.reason, sizeof(answer.reason), "topic '%.100s': %s%s%s%s",
           end->topic,
           end->error != NULL ? end->error : rd_kafka_err2str(end->err),
           more ? " (" : "", end->detail, more ? ")" : "");
  return answer;
}

void strand_producer_undelivered (strand_producer *p,
                                  const strand_delivery_end *end) {
  strand_transaction_answer answer = answer_of(end);
  verify(p, &answer);
}

/* The others that wait end with it, and come here: they change nothing. */
void strand_producer_unsent (strand_producer *p,
                             const strand_delivery_end *end) {
  strand_transaction_answer answer = answer_of(end);
  if (p->deliveries.aborts) return;
  strand_transaction_unsent(&p->transaction, &answer, strand_clock_us());
  changed(p);
}
