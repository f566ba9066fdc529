/*
** transaction_errors.h - what an error of a transaction means
**
** The one table of them; docs/producer.md shows it. librdkafka says of an
** error that it is fatal, that the transaction must be aborted, or that the
** same call works again; the table says what that does not: which client is
** of no use afterwards, and which error no new client mends.
**
**   kind        what is done about it                        of what
**   RETRIABLE   the same call again: it resumes              time, brokers
**   ABORTABLE   abort; the client goes on                    the group, offsets
**   UNDELIVERED abort, and renew the client: else the next   a record
**               transaction fails (OUT_OF_ORDER_SEQUENCE_NUMBER)
**   LOST        renew the client: nothing else is taken      the producer's id
**   FENCED      the same                                     a second instance,
**               with the same id; or the transaction's time was over, and the
**               broker aborted it: the error is the same
**   FINAL       nothing: a new client is refused as well     rights, settings
**
** To renew is to destroy the client and to open one with the same id; its
** first call aborts what the old one left open.
**
** Thread: any. Nothing is kept.
*/
#ifndef STRAND_TRANSACTION_ERRORS_H
#define STRAND_TRANSACTION_ERRORS_H

#include <stdbool.h>

#include <librdkafka/rdkafka.h>

typedef enum strand_transaction_kind {
  STRAND_TRANSACTION_WORKED,
  STRAND_TRANSACTION_RETRIABLE,
  STRAND_TRANSACTION_ABORTABLE,
  STRAND_TRANSACTION_UNDELIVERED,
  STRAND_TRANSACTION_LOST,
  STRAND_TRANSACTION_FENCED,
  STRAND_TRANSACTION_FINAL
} strand_transaction_kind;

/* What a call came to. */
typedef struct strand_transaction_answer {
  rd_kafka_resp_err_t err; /* 0: it worked */
  bool is_fatal;           /* by librdkafka's word; at most one of the three */
  bool is_abortable;
  bool is_retriable;
  char reason[257]; /* for people */
} strand_transaction_answer;

strand_transaction_kind
strand_transaction_kind_of (const strand_transaction_answer *answer);

#endif
