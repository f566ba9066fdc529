/*
** transaction.h - where a transaction stands, and what comes next
**
** Says for a goal which call is to be made next, and takes what it came to.
** Makes none itself: who owns this makes them, or has them made by a thread
** (kafka/transaction_calls.h).
**
**            BEGIN           goal COMMIT          COMMIT asked
**     IDLE ---------> OPEN ------------> FLUSHING ----------> COMMITTING
**      ^               |                    |                  |      |
**      |               v                    v                  |      |
**      |             FAILED <---------------+------------------+      |
**      |               | goal ABORT (also from OPEN, FLUSHING)        |
**      |               v                                              |
**      +----------- ABORTING                                          |
**      +--------------------------------------------------------------+
**
**   OVER      for good: another process has the id, or the brokers refuse us
**
** A client is *spent* when nothing works on it any more, or when the next
** transaction on it would fail: then an abort goes on until it is renewed and
** has an id again, and so does a begin.
**
** Fenced: if the transaction was not older than the transaction's timeout, it
** was another process with the same id. Each renewal fences that one in turn.
** So after STRAND_TRANSACTION_RENEWALS of them it is over; a commit by a client
** that lived STRAND_TRANSACTION_CALM_US begins the count anew.
**
** An abort that comes before the brokers have begun the transaction, because
** they are still busy with the commit before it, has librdkafka ask for the end
** of that one: INVALID_TXN_STATE, which is fatal. So after a commit an abort
** *settles* first: it waits until a record is acknowledged, or half a second
** has gone by since BEGIN. An END does not: its client has no next one.
**
** Invariants:
**   (1) A transaction is open at the brokers, as far as is known, only between
**       BEGIN and the end of COMMIT or ABORT, or a renewal: 'open_there'.
**   (2) In OPEN and FLUSHING the client is neither spent nor without an id.
**   (3) A commit that was asked for ends by its own answer alone: nothing else
**       leaves COMMITTING.
**   (4) In FAILED and OVER there is an error that says why.
**   (5) Only an open transaction that follows a commit has to settle.
**
** Thread: any, but one: whose transaction it is.
*/
#ifndef STRAND_TRANSACTION_H
#define STRAND_TRANSACTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/transaction_calls.h"
#include "kafka/transaction_errors.h"

#define STRAND_TRANSACTION_RENEWALS 3
#define STRAND_TRANSACTION_CALM_US 10000000
#define STRAND_TRANSACTION_SETTLE_US 500000

typedef enum strand_transaction_state {
  STRAND_TRANSACTION_IDLE,
  STRAND_TRANSACTION_OPEN,
  STRAND_TRANSACTION_FLUSHING,   /* before the commit is asked for */
  STRAND_TRANSACTION_COMMITTING, /* it was: its end is not known */
  STRAND_TRANSACTION_FAILED,     /* it cannot be committed any more */
  STRAND_TRANSACTION_ABORTING,
  STRAND_TRANSACTION_OVER
} strand_transaction_state;

/* What the user wants. */
typedef enum strand_transaction_goal {
  STRAND_TRANSACTION_BEGIN,
  STRAND_TRANSACTION_COMMIT,
  STRAND_TRANSACTION_ABORT,
  STRAND_TRANSACTION_END /* abort it, and no more after it */
} strand_transaction_goal;

typedef enum strand_transaction_step {
  STRAND_TRANSACTION_DONE,    /* the goal is reached */
  STRAND_TRANSACTION_REFUSED, /* 'error' says why */
  STRAND_TRANSACTION_FLUSH,   /* until nothing is queued */
  STRAND_TRANSACTION_SETTLE,  /* until 'settles_us', or an acknowledgement */
  STRAND_TRANSACTION_CALL,    /* make 'call' */
  STRAND_TRANSACTION_RENEW    /* a new client, when nothing is queued */
} strand_transaction_step;

/* At most one of the three says what helps. */
typedef struct strand_transaction_error {
  strand_failure failure; /* "": there is none */
  bool is_retriable;      /* the same again: it resumes */
  bool is_abortable;      /* abort, and begin anew */
  bool is_fatal;          /* nothing: close */
  bool is_certain;        /* nothing of it is committed, nor will be */
} strand_transaction_error;

typedef struct strand_transaction {
  strand_transaction_state state;
  strand_transaction_call call; /* the next, or the one that is out */
  strand_transaction_error error;
  bool open_there;
  bool needs_id; /* of a producer: INIT */
  bool is_spent;
  bool follows_commit; /* the one that is open, or the next */
  int64_t settles_us;  /* an abort waits until then; 0: for nothing */
  int fenced;          /* by another process, since a commit in calm */
  int64_t timeout_us;
  int64_t begun_us;
  int64_t since_us; /* when the client got its id */
} strand_transaction;

/* 'timeout': the transaction's, at the brokers. */
void strand_transaction_init (strand_transaction *t, double timeout);

/* Why this goal is no goal now, for people; NULL: it is one. */
const char *strand_transaction_misuse (const strand_transaction *t,
                                       strand_transaction_goal goal);

/* The next step. 'queued': records that librdkafka has not reported; also when
** their own time is over. */
strand_transaction_step strand_transaction_next (strand_transaction *t,
                                                 strand_transaction_goal goal,
                                                 int64_t queued);

/* What the call came to. False: 'error' is to be told. One that is retriable
** may be asked for again while there is time. */
bool strand_transaction_took (strand_transaction *t,
                              const strand_transaction_answer *answer,
                              int64_t now_us);

/* A record of it was acknowledged, so the brokers have begun it; or it has
** waited for that long enough. */
void strand_transaction_settled (strand_transaction *t);

/* There is a new client, without an id yet. */
void strand_transaction_renewed (strand_transaction *t);

/* A record of it was not delivered, or a send was refused: 'answer' is that of
** BEGIN, which says why the transaction has failed if it has. 'record' says
** what became of the record; NULL: nothing yet. */
void strand_transaction_verify (strand_transaction *t,
                                const strand_transaction_answer *answer,
                                const strand_transaction_answer *record,
                                int64_t now_us);

/* The same of one that no client was given: so the client stays. 'answer' is
** what became of the record. */
void strand_transaction_unsent (strand_transaction *t,
                                const strand_transaction_answer *answer,
                                int64_t now_us);

/* A transaction that has records, and is neither committed nor aborted. */
bool strand_transaction_is_open (const strand_transaction *t);
/* Records that end now without a word of a broker are of an abort. */
bool strand_transaction_is_aborted (const strand_transaction *t);

/* After a change, in debug builds. */
void strand_transaction_check (const strand_transaction *t);

#endif
