/*
** committer.h - a commit when one is due, and its answer
**
** Invariants:
**   (1) One commit is out at most, and its answer has a queue to come to.
**   (2) Who waits for what is being committed waits for the commit that is out.
**
** Thread: owner.
*/
#ifndef STRAND_COMMITTER_H
#define STRAND_COMMITTER_H

#include "base/waker.h"
#include "kafka/alert.h"
#include "kafka/join_watch.h"
#include "member/health.h"
#include "member/membership.h"
#include "member/owner.h"
#include "member/snapshot.h"
#include "member/transactions.h"
#include "member/unwritable.h"
#include "shared/problem.h"

typedef struct strand_committer {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_membership *membership;
  const strand_join_watch *join_watch;
  const strand_health *health;
  strand_problem *problem;
  strand_snapshot *snapshot;
  strand_transactions *transactions; /* exactly once; else NULL */

  rd_kafka_queue_t *queue; /* of answers */
  strand_commit *commit;   /* unanswered */
  bool must_rejoin;        /* the last was refused until the next join */
  int tries;               /* inside a rebalance */
  strand_waiter *waiters;
  strand_failure failure; /* of the last commit; code "": none */
  strand_alert failing;   /* until one succeeds, or nothing is left of it */
  strand_heard cause;
  strand_unwritable unwritable;
} strand_committer;

void strand_committer_init (strand_committer *t, const strand_owner *owner,
                            const strand_membership *membership,
                            const strand_join_watch *join_watch,
                            const strand_health *health,
                            strand_problem *problem,
                            strand_snapshot *snapshot);
/* Before it is opened: each commit goes into a transaction. */
static inline void strand_committer_transact (strand_committer *t,
                                              strand_transactions *x) {
  t->transactions = x;
}
/* The queue of answers. Thread: lua. */
void strand_committer_open (strand_committer *t, strand_waker *waker);
void strand_committer_close (strand_committer *t);
/* Between two turns, in debug builds. */
void strand_committer_check (const strand_committer *t);

void strand_committer_serve (strand_committer *t, int64_t now_us);
/* Plans and sends one now, unless one is out. False: nothing to send. */
bool strand_committer_send (strand_committer *t, int64_t now_us);
/* After one that sent nothing: there is something, but no memory for it. */
bool strand_committer_starved (const strand_committer *t);
/* The last have failed: it waits before the next. */
bool strand_committer_is_blocked (const strand_committer *t, int64_t now_us);
/* There is something to send, when librdkafka has joined. */
bool strand_committer_waits (const strand_committer *t);
void strand_committer_wait (strand_committer *t, strand_waiter *waiter);
/* Is there still something to commit? If not, nothing fails any more. */
void strand_committer_tick (strand_committer *t, int64_t now_us);
int64_t strand_committer_due (const strand_committer *t, int64_t now_us);
static inline bool strand_committer_is_open (const strand_committer *t) {
  return t->queue != NULL;
}
/* A commit is not answered yet. */
static inline bool strand_committer_is_out (const strand_committer *t) {
  return t->commit != NULL;
}
/* A rebalance begins, */
void strand_committer_begin_revoke (strand_committer *t);
/* ...and something of what it takes away is in no commit. True: it is to wait
** for an answer, or for a back-off. */
bool strand_committer_serve_revoke (strand_committer *t, int64_t now_us);
/* What is out is not waited for: its partitions go. */
void strand_committer_abandon (strand_committer *t);
/* All is committed that can be. An earlier commit that failed is no failure
** then: it was repeated, or its partitions were lost. */
void strand_committer_forgive (strand_committer *t);
/* No answer will come any more. */
void strand_committer_end (strand_committer *t);

#endif
