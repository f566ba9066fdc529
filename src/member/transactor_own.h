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

/* transactor.c */
bool strand_transactor_is_stopping (strand_transactor *t);
/* The call 'which', or with NONE that of the offsets of 'c', until
** 'deadline_us', or it is told to stop. */
strand_transaction_kind
strand_transactor_call (strand_transactor *t, strand_transaction_call which,
                        strand_closed *c, int64_t deadline_us,
                        strand_transaction_answer *answer);

/* closed.c: all of it, up to the commit's answer. */
strand_transaction_kind strand_transactor_carry_out (strand_transactor *t,
                                                     strand_closed *c);
/* What is not sent yet never is, and the rest is waited for. */
void strand_transactor_purge (strand_transactor *t, int64_t deadline_us);

#endif
