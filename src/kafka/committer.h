/*
** committer.h - a commit when one is due, and its answer
**
** Invariants:
**   (1) One commit is out at most, and its answer has a queue to come to.
**   (2) Who waits for what was planned waits for the commit that is out.
**
** Thread: owner.
*/
#ifndef STRAND_COMMITTER_H
#define STRAND_COMMITTER_H

#include "kafka/shared.h"
#include "kafka/trouble.h"

typedef struct strand_member strand_member;

typedef struct strand_committer {
  rd_kafka_queue_t *queue; /* of answers */
  strand_commit *commit;   /* unanswered */
  bool must_rejoin;        /* the last was refused until the next join */
  strand_waiter *waiters;
  strand_failure failure; /* of the last commit; code "": none */
  strand_trouble
    failing; /* commits do, until one succeeds or nothing is left */
  strand_heard cause;
} strand_committer;

/* Between two turns, in debug builds. */
void strand_committer_check (const strand_committer *c);

void strand_committer_serve (strand_member *m, int64_t now_us);
/* Plans and sends one now, unless one is out. False: nothing to send. */
bool strand_committer_send (strand_member *m, int64_t now_us);
/* After one that sent nothing: there is something, but no memory for it. */
bool strand_committer_starved (const strand_member *m);
/* Some of what is done is in no commit, and does not fit in one. */
bool strand_committer_untold (const strand_member *m, strand_failure *failure);
/* There is something to send, when librdkafka has joined. */
bool strand_committer_waits (const strand_member *m);
void strand_committer_wait (strand_member *m, strand_waiter *waiter);
/* Is there still something to commit? If not, nothing fails any more. */
void strand_committer_look (strand_member *m, int64_t now_us);
int64_t strand_committer_due (const strand_member *m, int64_t now_us);
void strand_committer_end (strand_member *m);

#endif
