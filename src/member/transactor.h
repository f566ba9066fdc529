/*
** transactor.h - exactly once: the thread that makes a member's transactions
**
** A transaction is closed by the owner: what is in it, its offsets, and the
** group's metadata of that moment. Then it is the transactor's until it is
** answered:
**
**   begin -> outputs -> all are acknowledged -> offsets -> commit
**     |         |              |                   |          |
**     +---------+--------------+---- abort --------+          |
**                              \--- renew <-------------------+
**
** Each of these waits for brokers. So the owner makes none of them: it goes on
** serving its group. To renew is to destroy the client and to open one with
** the same id, whose first call aborts what the old one left open, or ends
** what it was committing; what the group has then, by its committed offsets, is
** read before anything else is sent. What an error means is in one table,
** kafka/transaction_errors.h.
**
** Fenced: by another process with this id, unless the transaction was open for
** longer than transaction_timeout. Each renewal fences that one in turn. So
** after STRAND_TRANSACTOR_RENEWALS of them it has ended; a commit by a client
** that lived STRAND_TRANSACTOR_CALM_US begins the count anew.
**
** Protocol:
**   (2) Its offsets go to the brokers only when all its outputs are there.
**   (3) Nothing is sent after a commit whose end is not known, before the
**       client is renewed and the group's offsets were read.
**
** Invariants:
**   (1) One transaction is closed and not taken back, at most.
**   (4) What is answered is in no client: none reports it any more.
**   (5) When it has ended it is known why; and of an outage, since when.
**
** Thread: owner, but for the functions that say otherwise. One leaf mutex for
** what owner and transactor share, another for the client, which lua gives
** tokens to.
*/
#ifndef STRAND_TRANSACTOR_H
#define STRAND_TRANSACTOR_H

#include <pthread.h>

#include "base/lock.h"
#include "base/waker.h"
#include "kafka/transaction_errors.h"
#include "member/outbox.h"
#include "member/owner.h"
#include "member/transactor_client.h"
#include "shared/staged.h"

#define STRAND_TRANSACTOR_RENEWALS 3
#define STRAND_TRANSACTOR_CALM_US 10000000

typedef enum strand_closed_end {
  STRAND_CLOSED_COMMITTED,
  STRAND_CLOSED_ABORTED, /* nothing of it was taken, nor will be */
  STRAND_CLOSED_RENEWED, /* its end was not known: 'committed' says what the
                            group has now; NULL: the member ends, and nobody
                            has looked */
  STRAND_CLOSED_ENDED    /* no transaction can be made any more */
} strand_closed_end;

/* A transaction that nothing enters any more. */
typedef struct strand_closed {
  /* the owner's, and only read by the transactor */
  rd_kafka_topic_partition_list_t *offsets;  /* owned */
  rd_kafka_consumer_group_metadata_t *group; /* owned */
  long batch_size;                           /* of the client */
  atomic_bool abandoned; /* its partitions are gone: no offsets any more */
  atomic_bool *gone; /* owned; of each of 'offsets': its epoch has ended. NULL:
                        there was no memory for it */
  /* the transactor's, until it is taken back; so are 'refused' and 'err' of
  ** what is staged */
  strand_closed_end end;
  strand_transaction_answer answer;           /* why */
  const char *step;                           /* what said so */
  rd_kafka_topic_partition_list_t *committed; /* owned */
  bool asked;       /* the commit was: its end may not be known */
  int64_t began_us; /* of the transaction */
  size_t count;
  strand_staged *staged[];
} strand_closed;

/* Room for so many. NULL: memory ran out. */
strand_closed *strand_closed_new (size_t most);
/* Thread: owner. Takes 'offsets'; before it is asked for. */
void strand_closed_fill (strand_closed *c,
                         rd_kafka_topic_partition_list_t *offsets);
/* Thread: owner. The partition's epoch has ended: what the group has of it says
** nothing of what is to be sent again. Another member may hold it back, who
** is not waited for. */
void strand_closed_lose (strand_closed *c, const char *topic, int32_t index);
/* Not what is staged. Accepts NULL. */
void strand_closed_free (strand_closed *c);
/* How many outputs are in it. */
size_t strand_closed_outputs (const strand_closed *c);

typedef struct strand_transactor {
  /* set by init and open, and only read */
  const strand_owner *owner;
  strand_waker *owners_waker;

  /* the owner's */
  pthread_t thread;
  bool running;

  strand_lock lock; /* of these: */
  strand_closed *asked;
  strand_closed *answered;
  bool stopping;
  bool gone;  /* the thread is about to end, the client is destroyed */
  bool ready; /* it has had a producer's id, and may serve */
  bool ended;
  strand_failure failure;           /* ended: why */
  strand_transaction_answer outage; /* what it waits for; err 0: nothing */
  int64_t outage_us;
  unsigned renewals;
  strand_transaction_answer why; /* of the last */
  long next_size; /* batch.size of the next client; -1: the owner, which has
                     the answer, has not said it yet */

  /* the transactor's */
  strand_transactor_client client;
  bool spent;  /* the client is to be replaced */
  bool has_id; /* it has begun to serve */
  bool same;   /* both clients reach one cluster */
  int fenced;
  int64_t since_us; /* when the client got its id */
  int64_t wait_us;  /* before the next client */
} strand_transactor;

/* Thread: lua. */
void strand_transactor_init (strand_transactor *t, const strand_owner *owner,
                             strand_outbox *outbox, strand_waker *waker);
/* Thread: lua. Makes the client; connects to nothing. False and a failure. */
bool strand_transactor_open (strand_transactor *t, strand_failure *failure);
/* After a turn of the owner, in debug builds. */
void strand_transactor_check (strand_transactor *t);
/* Thread: any, whoever is last. Not while its thread runs. */
void strand_transactor_free (strand_transactor *t);

/* False and errno: there is no thread for it. */
bool strand_transactor_start (strand_transactor *t);
/* It takes no transaction any more, and lets its client go. */
void strand_transactor_stop (strand_transactor *t);
/* Its thread is joined, when it has ended. False: not yet. */
bool strand_transactor_join (strand_transactor *t);
/* Thread: lua. A member that never ran: the client is for the helper. */
rd_kafka_t *strand_transactor_dismiss (strand_transactor *t);

/* Takes 'c', until it is taken back. */
void strand_transactor_ask (strand_transactor *t, strand_closed *c);
/* NULL: it is not answered yet. */
strand_closed *strand_transactor_take (strand_transactor *t);

/* After each that was taken back: the next will need a client of this
** batch.size, as far as is known. So one that is spent is replaced once. */
void strand_transactor_expect (strand_transactor *t, long batch_size);

/* It has a producer's id. */
bool strand_transactor_is_ready (strand_transactor *t);
/* No transaction can be made any more: why. */
bool strand_transactor_has_ended (strand_transactor *t,
                                  strand_failure *failure);
/* Since when something is in its way, and what; 0: nothing is. */
int64_t strand_transactor_outage (strand_transactor *t,
                                  strand_transaction_answer *answer);
/* How often its client was replaced, and why the last time: MSG_SIZE_TOO_LARGE,
** for another batch.size. */
unsigned strand_transactor_renewals (strand_transactor *t,
                                     strand_transaction_answer *why);

#endif
