/*
** transaction.c - see transaction.h
*/
#include "producer/transaction.h"

#include <assert.h>
#include <string.h>

#include "kafka/errors.h"

void strand_transaction_init (strand_transaction *t, double timeout) {
  memset(t, 0, sizeof(*t));
  t->needs_id = true;
  t->timeout_us = (int64_t)(timeout * 1e6);
}

/*
** Goals
*/

static const char *misuse_of_begin (const strand_transaction *t) {
  switch (t->state) {
    case STRAND_TRANSACTION_OPEN: return "a transaction is open already";
    case STRAND_TRANSACTION_FLUSHING:
    case STRAND_TRANSACTION_COMMITTING:
      return "commit() has not ended: call it again";
    case STRAND_TRANSACTION_FAILED:
      return "the transaction has failed: abort() comes first";
    case STRAND_TRANSACTION_ABORTING:
      return "abort() has not ended: call it again";
    default: return NULL;
  }
}

const char *strand_transaction_misuse (const strand_transaction *t,
                                       strand_transaction_goal goal) {
  if (goal == STRAND_TRANSACTION_BEGIN) return misuse_of_begin(t);
  if (goal == STRAND_TRANSACTION_END) return NULL;
  if (t->state == STRAND_TRANSACTION_IDLE)
    return "no transaction is open: begin() comes first";
  if (goal == STRAND_TRANSACTION_COMMIT
      && t->state == STRAND_TRANSACTION_ABORTING)
    return "abort() has not ended: call it again";
  return NULL;
}

static strand_transaction_step call (strand_transaction *t,
                                     strand_transaction_call which) {
  t->call = which;
  return STRAND_TRANSACTION_CALL;
}

static strand_transaction_step next_of_begin (strand_transaction *t) {
  if (t->state != STRAND_TRANSACTION_IDLE) return STRAND_TRANSACTION_DONE;
  if (t->is_spent) return STRAND_TRANSACTION_RENEW;
  if (t->needs_id) return call(t, STRAND_TRANSACTION_CALL_INIT);
  return call(t, STRAND_TRANSACTION_CALL_BEGIN);
}

static strand_transaction_step next_of_commit (strand_transaction *t,
                                               int64_t queued) {
  switch (t->state) {
    case STRAND_TRANSACTION_IDLE: return STRAND_TRANSACTION_DONE;
    case STRAND_TRANSACTION_OPEN: t->state = STRAND_TRANSACTION_FLUSHING;
    /* fall through */
    case STRAND_TRANSACTION_FLUSHING:
      if (queued > 0) return STRAND_TRANSACTION_FLUSH;
      t->state = STRAND_TRANSACTION_COMMITTING;
    /* fall through */
    case STRAND_TRANSACTION_COMMITTING:
      return call(t, STRAND_TRANSACTION_CALL_COMMIT);
    default: return STRAND_TRANSACTION_REFUSED;
  }
}

static strand_transaction_step
refuse_abort (strand_transaction *t, const char *code, const char *text) {
  memset(&t->error, 0, sizeof(t->error));
  strand_fail(&t->error.failure, code, "%s", text);
  return STRAND_TRANSACTION_REFUSED;
}

/* librdkafka takes no abort while a commit may go on. */
static strand_transaction_step refuse_early (strand_transaction *t) {
  return refuse_abort(t, "COMMITTING",
                      "commit() was asked for, and its end is not known: call "
                      "it again, or close");
}

/* An abort that ends says so itself: so the commit that was out has ended,
** and well, since the abort was asked for. */
static strand_transaction_step refuse_late (strand_transaction *t) {
  return refuse_abort(t, "COMMITTED",
                      "too late: the commit() before it has ended, and the "
                      "transaction is committed");
}

static strand_transaction_step next_of_abort (strand_transaction *t,
                                              bool goes_on, int64_t queued) {
  if (t->state == STRAND_TRANSACTION_IDLE)
    return goes_on ? refuse_late(t) : STRAND_TRANSACTION_DONE;
  if (t->state == STRAND_TRANSACTION_COMMITTING) return refuse_early(t);
  t->state = STRAND_TRANSACTION_ABORTING;
  if (t->open_there && goes_on && t->settles_us != 0 && queued > 0)
    return STRAND_TRANSACTION_SETTLE;
  if (t->open_there) return call(t, STRAND_TRANSACTION_CALL_ABORT);
  if (goes_on && t->is_spent) return STRAND_TRANSACTION_RENEW;
  if (goes_on && t->needs_id) return call(t, STRAND_TRANSACTION_CALL_INIT);
  t->state = STRAND_TRANSACTION_IDLE;
  return STRAND_TRANSACTION_DONE;
}

strand_transaction_step strand_transaction_next (strand_transaction *t,
                                                 strand_transaction_goal goal,
                                                 int64_t queued) {
  if (t->state == STRAND_TRANSACTION_OVER) return STRAND_TRANSACTION_REFUSED;
  switch (goal) {
    case STRAND_TRANSACTION_BEGIN: return next_of_begin(t);
    case STRAND_TRANSACTION_COMMIT: return next_of_commit(t, queued);
    case STRAND_TRANSACTION_ABORT: return next_of_abort(t, true, queued);
    default: return next_of_abort(t, false, queued);
  }
}

/*
** Errors
*/

static void set_error (strand_transaction *t,
                       const strand_transaction_answer *answer) {
  char code[sizeof(t->error.failure.code)];
  bool certain = t->state != STRAND_TRANSACTION_COMMITTING
                 || answer->is_abortable;
  memset(&t->error, 0, sizeof(t->error));
  t->error.is_certain = certain;
  strand_fail(&t->error.failure,
              strand_code_of(answer->err, code, sizeof(code)), "%s",
              answer->reason[0] != '\0' ? answer->reason
                                        : rd_kafka_err2str(answer->err));
}

static void end (strand_transaction *t) {
  t->state = STRAND_TRANSACTION_OVER;
  t->open_there = false;
  t->error.is_retriable = t->error.is_abortable = false;
  t->error.is_fatal = true;
}

/* By ourselves, through waiting too long, or by another. A commit that was
** asked for may have come first, and only its answer been lost. */
static void fence (strand_transaction *t, int64_t now_us) {
  double age = (double)(now_us - t->begun_us) / 1e6;
  bool expired = t->open_there && now_us - t->begun_us >= t->timeout_us;
  strand_failure *f = &t->error.failure;
  if (expired) {
    strand_fail(f, "FENCED",
                "the brokers have aborted the transaction%s: it was open for "
                "%.3g s, longer than 'transaction_timeout' (%.14g)",
                t->error.is_certain ? "" : ", unless they committed it before",
                age, (double)t->timeout_us / 1e6);
    return;
  }
  t->fenced++;
  strand_fail(f, "FENCED", "another process uses this transactional_id");
  if (t->fenced > STRAND_TRANSACTION_RENEWALS) end(t);
}

/* Nothing can be asked of this client any more. */
static void lose (strand_transaction *t) {
  t->is_spent = true;
  t->open_there = false;
}

static void fail (strand_transaction *t,
                  const strand_transaction_answer *answer,
                  strand_transaction_kind kind, int64_t now_us) {
  set_error(t, answer);
  if (kind == STRAND_TRANSACTION_FENCED) fence(t, now_us);
  else if (kind == STRAND_TRANSACTION_FINAL) end(t);
  if (t->state == STRAND_TRANSACTION_OVER) return;
  if (kind == STRAND_TRANSACTION_UNDELIVERED) t->is_spent = true;
  else if (kind != STRAND_TRANSACTION_ABORTABLE) lose(t);
}

/*
** Answers
*/

static void succeed (strand_transaction *t, int64_t now_us) {
  switch (t->call) {
    case STRAND_TRANSACTION_CALL_NONE: break;
    case STRAND_TRANSACTION_CALL_INIT:
      t->needs_id = false;
      t->since_us = now_us;
      break;
    case STRAND_TRANSACTION_CALL_BEGIN:
      memset(&t->error, 0, sizeof(t->error));
      t->state = STRAND_TRANSACTION_OPEN;
      t->open_there = true;
      t->begun_us = now_us;
      if (t->follows_commit)
        t->settles_us = now_us + STRAND_TRANSACTION_SETTLE_US;
      break;
    case STRAND_TRANSACTION_CALL_COMMIT:
      t->state = STRAND_TRANSACTION_IDLE;
      if (now_us - t->since_us >= STRAND_TRANSACTION_CALM_US) t->fenced = 0;
      t->open_there = false;
      t->follows_commit = true;
      t->settles_us = 0;
      break;
    case STRAND_TRANSACTION_CALL_ABORT:
      t->open_there = t->follows_commit = false;
      t->settles_us = 0;
      break;
  }
}

/* Of INIT and BEGIN: the same again renews the client. */
static bool fail_unbegun (strand_transaction *t) {
  if (t->state == STRAND_TRANSACTION_OVER) return false;
  lose(t);
  t->error.is_retriable = true;
  return false;
}

bool strand_transaction_took (strand_transaction *t,
                              const strand_transaction_answer *answer,
                              int64_t now_us) {
  strand_transaction_kind kind = strand_transaction_kind_of(answer);
  strand_transaction_call made = t->call;
  if (kind == STRAND_TRANSACTION_WORKED) {
    succeed(t, now_us);
    t->call = STRAND_TRANSACTION_CALL_NONE;
    return true;
  }
  t->call = STRAND_TRANSACTION_CALL_NONE;
  if (kind == STRAND_TRANSACTION_RETRIABLE) {
    set_error(t, answer);
    if (answer->err == RD_KAFKA_RESP_ERR__TIMED_OUT)
      strand_fail(&t->error.failure, "TIMED_OUT",
                  "the brokers did not answer in time: the same call again "
                  "goes on from there");
    t->error.is_retriable = true;
    return false;
  }
  fail(t, answer, kind, now_us);
  if (made == STRAND_TRANSACTION_CALL_INIT
      || made == STRAND_TRANSACTION_CALL_BEGIN)
    return fail_unbegun(t);
  if (t->state == STRAND_TRANSACTION_OVER) return false;
  if (made == STRAND_TRANSACTION_CALL_ABORT) {
    lose(t); /* what it left open ends with the client */
    return true;
  }
  t->state = STRAND_TRANSACTION_FAILED;
  t->error.is_abortable = true;
  return false;
}

void strand_transaction_settled (strand_transaction *t) {
  t->settles_us = 0;
}

void strand_transaction_renewed (strand_transaction *t) {
  t->is_spent = t->open_there = t->follows_commit = false;
  t->settles_us = 0;
  t->needs_id = true;
}

static void set_failed (strand_transaction *t,
                        const strand_transaction_answer *answer,
                        strand_transaction_kind kind, int64_t now_us) {
  fail(t, answer, kind, now_us);
  if (t->state == STRAND_TRANSACTION_OVER) return;
  t->state = STRAND_TRANSACTION_FAILED;
  t->error.is_abortable = true;
}

/* The client says why; else the record does. */
static void fail_open (strand_transaction *t,
                       const strand_transaction_answer *answer,
                       const strand_transaction_answer *record,
                       int64_t now_us) {
  if (answer->is_fatal || answer->is_abortable)
    set_failed(t, answer, strand_transaction_kind_of(answer), now_us);
  else if (record != NULL)
    set_failed(t, record, STRAND_TRANSACTION_UNDELIVERED, now_us);
}

void strand_transaction_verify (strand_transaction *t,
                                const strand_transaction_answer *answer,
                                const strand_transaction_answer *record,
                                int64_t now_us) {
  if (t->state == STRAND_TRANSACTION_OPEN
      || t->state == STRAND_TRANSACTION_FLUSHING)
    fail_open(t, answer, record, now_us);
  if (record == NULL
      || strand_error_kind_of(record->err) == STRAND_ERROR_PURGED
      || t->is_spent)
    return;
  if (t->state == STRAND_TRANSACTION_ABORTING) set_error(t, record);
  t->is_spent = true; /* its sequence numbers have a gap */
}

void strand_transaction_unsent (strand_transaction *t,
                                const strand_transaction_answer *answer,
                                int64_t now_us) {
  if (t->state == STRAND_TRANSACTION_OPEN
      || t->state == STRAND_TRANSACTION_FLUSHING)
    set_failed(t, answer, STRAND_TRANSACTION_ABORTABLE, now_us);
}

bool strand_transaction_is_open (const strand_transaction *t) {
  return t->state != STRAND_TRANSACTION_IDLE
         && t->state != STRAND_TRANSACTION_OVER;
}

bool strand_transaction_is_aborted (const strand_transaction *t) {
  return t->state == STRAND_TRANSACTION_FAILED
         || t->state == STRAND_TRANSACTION_ABORTING
         || t->state == STRAND_TRANSACTION_OVER;
}

void strand_transaction_check (const strand_transaction *t) {
  bool open = t->state == STRAND_TRANSACTION_OPEN
              || t->state == STRAND_TRANSACTION_FLUSHING;
  assert(!t->open_there || strand_transaction_is_open(t)); /* (1) */
  assert(!open || t->open_there);                          /* (1) */
  assert(!open || (!t->is_spent && !t->needs_id));         /* (2) */
  assert(t->state != STRAND_TRANSACTION_COMMITTING
         || t->call == STRAND_TRANSACTION_CALL_NONE
         || t->call == STRAND_TRANSACTION_CALL_COMMIT); /* (3) */
  assert((t->state != STRAND_TRANSACTION_FAILED
          && t->state != STRAND_TRANSACTION_OVER)
         || t->error.failure.code[0] != '\0');     /* (4) */
  assert(t->settles_us == 0 || t->follows_commit); /* (5) */
  (void)open;
}
