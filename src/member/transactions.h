/*
** transactions.h - exactly once: what handlers produced, and the transaction
** that is out
**
**            take            close           committed
**   handler ------> WAITING -------> CLOSED -----------> the engine is told
**                      ^               |
**                      +---------------+
**                           aborted
**
** What a record has produced, or its dead letter, waits until a transaction is
** closed; that is made by the transactor, while handlers go on, and what they
** produce waits for the next one. Bytes are kept until the commit is
** acknowledged: what was aborted is sent again from here, in its order. The
** committer makes the commit, and hears of the end.
**
** A record whose partition is revoked is forgotten. So its outputs are in no
** transaction that is closed after that; in one that is out they share its
** end, with the offsets of that moment.
**
** Invariants:
**   (1) What was taken is in one list: dead_letters, later, the queue,
**       left_out or settled; or it is closed.
**   (2) Only what is closed may have no record.
**   (3) 'waiting' is how many outputs the queue has.
**
** Thread: owner.
*/
#ifndef STRAND_TRANSACTIONS_H
#define STRAND_TRANSACTIONS_H

#include "kafka/alert.h"
#include "member/assignment.h"
#include "member/barred_topics.h"
#include "member/closed_answer.h"
#include "member/intake.h"
#include "member/outbox.h"
#include "member/output_topics.h"
#include "member/owner.h"
#include "member/snapshot.h"
#include "member/transactor.h"
#include "shared/problem.h"

#define STRAND_TRANSACTIONS_ALONE 1 /* batch.size: each output is a batch */

typedef struct strand_transactions {
  /* set by init, and only read */
  const strand_owner *owner;
  strand_transactor *transactor;
  strand_outbox *outbox; /* its group, its batch.size, and how dead letters
                            look */
  strand_output_topics *topics;
  strand_problem *problem;
  strand_snapshot *snapshot;

  strand_link dead_letters; /* dead letters that are not written yet */
  strand_link later;        /* dead letters that could not be taken yet */
  strand_link queue;        /* in the order they were taken */
  strand_link left_out;     /* the last commit had no room to tell of these */
  strand_link settled; /* ended; the engine is not told, for want of memory */
  size_t waiting;
  strand_closed *closed; /* being filled, or out; NULL: none */
  bool out;              /* the transactor has it */
  strand_intake intake;
  size_t alone;          /* so many outputs go alone next: one is sought */
  int64_t since_us;      /* since when something waits; 0: nothing does */
  int64_t not_before_us; /* after one that failed */
  int64_t wait_us;
  unsigned renewals;     /* that were told */
  bool ended;            /* none can be made any more: the consumer ends */
  int64_t later_us;      /* when 'later' is sent again, */
  int64_t later_wait_us; /* ...and the next pause; 0: none was taken yet */
  strand_barred_topics barred; /* may not be written to */
  strand_alert outage;
  strand_alert missing; /* the dead letter topic */
  bool fewer_reported;
} strand_transactions;

void strand_transactions_init (strand_transactions *x,
                               const strand_owner *owner,
                               strand_transactor *transactor,
                               strand_outbox *outbox,
                               strand_output_topics *topics,
                               strand_problem *problem,
                               strand_snapshot *snapshot);
/* The transactor is gone. */
void strand_transactions_free (strand_transactions *x);
/* The consumer is exactly once; else nothing of this is used. */
static inline bool strand_transactions_is_on (const strand_transactions *x) {
  return x->owner->consumer->settings.delivery == STRAND_EXACTLY_ONCE;
}

/* The lease's first record is done, but for what it produced, which is taken.
** Not of a stale lease. STRAND_ENOMEM: nothing was; call again. */
strand_err strand_transactions_take (strand_transactions *x,
                                     strand_assigned *assigned,
                                     strand_lease *lease,
                                     strand_staged *staged);
/* The engine wants a dead letter. False: memory ran out. */
bool strand_transactions_take_dead_letter (strand_transactions *x,
                                           strand_partition *p,
                                           strand_record *record);
/* The partition ends, before the engine hears of it. */
void strand_transactions_forget (strand_transactions *x,
                                 strand_assigned *assigned);
/* ...after that: where the end of the one that is out is not known, what the
** group has of it is not asked for. */
void strand_transactions_lose (strand_transactions *x, const char *topic,
                               int32_t index);
/* Handlers are to start nothing: enough waits, or none can be made yet. */
bool strand_transactions_is_full (const strand_transactions *x);
/* Something waits for a transaction. */
static inline bool strand_transactions_wait (const strand_transactions *x) {
  return x->waiting > 0 || !strand_list_empty(&x->dead_letters);
}

/* None will be made any more. */
static inline bool
strand_transactions_have_ended (const strand_transactions *x) {
  return x->ended;
}
/* One can be made: what the last one did is known to the engine. */
bool strand_transactions_may_begin (const strand_transactions *x);
/* ...from when on, for the last have failed. INT64_MAX: none can yet, and the
** owner is woken when that changes. */
int64_t strand_transactions_from (const strand_transactions *x);
/* What waits is closed, and the engine knows: a commit is to be made. False:
** memory ran out, and nothing was. */
bool strand_transactions_close (strand_transactions *x);
/* It was, or none was: what it has no room to tell of waits apart. */
void strand_transactions_commit_made (strand_transactions *x);
/* Nothing is sent: all waits again. */
void strand_transactions_reopen (strand_transactions *x);
/* To the transactor, with the commit that was made; takes 'offsets'. False:
** the member is none of its group; strand_transactions_reopen. */
bool strand_transactions_send (strand_transactions *x,
                               rd_kafka_topic_partition_list_t *offsets);
/* It is answered: what 'commit', which was in it, is to be told. The caller
** tells the engine, then calls strand_transactions_settle. */
bool strand_transactions_answer (strand_transactions *x,
                                 const strand_commit *commit,
                                 strand_closed_answer *ended, int64_t now_us);
void strand_transactions_settle (strand_transactions *x, int64_t now_us);
/* Its partitions are lost: it is not waited for. */
void strand_transactions_abandon (strand_transactions *x);

/* transaction_refusals.c */
/* True: one of its outputs goes to a topic that is barred, and is refused. */
bool strand_transactions_refuse_barred (const strand_transactions *x,
                                        strand_staged *s, int64_t now_us);
/* 'c' has been answered: who is to blame ends its record, and 'refused' of all
** others is NULL; what is learnt of batches is for the next. */
void strand_transactions_judge (strand_transactions *x, strand_closed *c,
                                strand_closed_answer *ended, int64_t now_us);

/* transaction_dead_letters.c */
/* Those that are new, or are to be sent again, are in the queue. */
void strand_transactions_write_dead_letters (strand_transactions *x,
                                             int64_t now_us);
/* One has failed: 'believed' to be its own fault. True: its record is parked.
** Else it goes otherwise, or later. */
bool strand_transactions_judge_dead_letter (strand_transactions *x,
                                            strand_staged *s, bool believed,
                                            int64_t now_us);
/* ...its record is parked: the engine is told. */
strand_err strand_transactions_refuse_dead_letter (strand_transactions *x,
                                                   const strand_staged *s,
                                                   int64_t now_us);
/* ...later: it is in no list. */
void strand_transactions_put_off (strand_transactions *x, strand_staged *s);

/* transactions.c */
/* It is refused, and in no list, nor was it in a transaction. */
void strand_transactions_turn_away (strand_transactions *x, strand_staged *s);
/* Out of all lists, and freed. */
void strand_transactions_drop (strand_transactions *x, strand_staged *s);
/* What stands in their way is told; the end of all is the consumer's. */
void strand_transactions_serve (strand_transactions *x, int64_t now_us);
/* When the next is to be closed. */
int64_t strand_transactions_due (const strand_transactions *x);
/* Between two turns, in debug builds. */
void strand_transactions_check (const strand_transactions *x);

#endif
