/*
** transaction_calls.h - a transaction's calls of librdkafka
**
** Each waits for brokers: strand_transaction_call makes one on whatever thread
** it is called, and strand_transaction_calls has a thread that makes them for
** one that must not wait, one at a time. What the calls may be in which order
** is not known here (producer/transaction.h).
**
** librdkafka resumes a call that timed out when it is made again, and takes no
** other meanwhile. So the thread makes it in slices, until its deadline, and
** ends within a slice when it is told to.
**
** A commit waits for all reports to be taken from the client's queue, and an
** abort purges and waits likewise: by who owns that queue, meanwhile.
**
** Invariants:
**   (1) A call is asked for only when none is out.
**   (2) One is out only when there is a thread.
**   (3) What is answered is a call that is out.
**
** Thread: any, but one thread asks and takes (lua): one mutex, under which
** nothing is allocated, no thread started and librdkafka not called.
*/
#ifndef STRAND_TRANSACTION_CALLS_H
#define STRAND_TRANSACTION_CALLS_H

#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include "kafka/transaction_errors.h"

typedef enum strand_transaction_call {
  STRAND_TRANSACTION_CALL_NONE,
  STRAND_TRANSACTION_CALL_INIT, /* an id of a producer; and what an earlier one
                                   with this transactional id left is aborted */
  STRAND_TRANSACTION_CALL_BEGIN,
  STRAND_TRANSACTION_CALL_COMMIT,
  STRAND_TRANSACTION_CALL_ABORT
} strand_transaction_call;

/* Makes it, and waits at most so long. BEGIN does not wait; on a transaction
** that has failed it changes nothing, and answers with the reason. */
void strand_transaction_make (rd_kafka_t *client, strand_transaction_call call,
                              int timeout_ms,
                              strand_transaction_answer *answer);

/* Offsets of a consumer of 'group' into the open transaction: flush before.
** Its timeout is not kept (8 s for 3, the broker killed). */
void strand_transaction_send_offsets (
  rd_kafka_t *client, const rd_kafka_topic_partition_list_t *offsets,
  const rd_kafka_consumer_group_metadata_t *group, int timeout_ms,
  strand_transaction_answer *answer);

typedef struct strand_transaction_calls strand_transaction_calls;

/* Borrows 'client' until it is freed; writes to 'wake_fd', an eventfd or -1,
** when an answer has come. NULL when memory runs out. */
strand_transaction_calls *strand_transaction_calls_new (rd_kafka_t *client,
                                                        int wake_fd);

/* No call begins after this. Does not wait. */
void strand_transaction_calls_stop (strand_transaction_calls *calls);
/* Waits for the slice that is under way: a second. Accepts NULL. */
void strand_transaction_calls_free (strand_transaction_calls *calls);

/* Until 'deadline' (clock.h). False and errno: there is no thread for it. */
bool strand_transaction_calls_ask (strand_transaction_calls *calls,
                                   strand_transaction_call call,
                                   double deadline);
/* False: none is out, or it is not answered yet. */
bool strand_transaction_calls_take (strand_transaction_calls *calls,
                                    strand_transaction_answer *answer);

#endif
