/*
** transactor_own.h - what the transactor's files share
**
** Thread: any; that of the transactor.
*/
#ifndef STRAND_TRANSACTOR_OWN_H
#define STRAND_TRANSACTOR_OWN_H

#include "kafka/transaction_calls.h"
#include "member/transactor.h"

#define STRAND_TRANSACTOR_SERVE_MS 100
#define STRAND_CLOSED_STEP_OUTPUTS "outputs" /* of 'step' */

/* transactor.c */
bool strand_transactor_is_stopping (strand_transactor *t);
/* The call 'which', or with NONE that of the offsets of 'c', until
** 'deadline_us', or it is told to stop. */
strand_transaction_kind
strand_transactor_call (strand_transactor *t, strand_transaction_call which,
                        strand_closed *c, int64_t deadline_us,
                        strand_transaction_answer *answer);

/* There is a client of this batch.size that may begin a transaction. False:
** none will. */
bool strand_transactor_make_ready (strand_transactor *t, long batch_size);
/* The client is to be replaced. */
void strand_transactor_spend (strand_transactor *t,
                              const strand_transaction_answer *why);
/* Of an answer: a topic may not be written to, none says which. */
static inline bool
strand_transactor_is_refused (const strand_transaction_answer *answer) {
  return answer->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
}
/* What failed for that reason. False: it is open still, or the client is of no
** use: it is to be replaced. */
bool strand_transactor_abort (strand_transactor *t,
                              const strand_transaction_answer *why);

/* refused_topic.c: 'c' has failed. Where that is for a topic that may not be
** written to, its records are 'refused' from now on. */
void strand_transactor_name_refused (strand_transactor *t, strand_closed *c);

/* closed.c: the partitions whose epoch goes on; the caller's. */
rd_kafka_topic_partition_list_t *strand_closed_names (const strand_closed *c);
/* All of it, up to the commit's answer. */
strand_transaction_kind strand_transactor_carry_out (strand_transactor *t,
                                                     strand_closed *c);
/* One output of it, up to its acknowledgement; the transaction stays open. */
strand_transaction_kind
strand_transactor_try (strand_transactor *t, strand_closed *c,
                       strand_output *output,
                       strand_transaction_answer *answer);
/* What is not sent yet never is, and the rest is waited for. */
void strand_transactor_purge (strand_transactor *t, int64_t deadline_us);

#endif
