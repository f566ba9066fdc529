/*
** group.h - rebalances, and what the group says
**
** Invariants:
**   (1) A member is rebalancing while it owes librdkafka an answer.
**   (2) A rebalance that is not answered waits for something, until a time.
**
** Thread: owner.
*/
#ifndef STRAND_GROUP_H
#define STRAND_GROUP_H

#include "base/waker.h"
#include "member/assignment.h"
#include "member/committer.h"
#include "member/epochs.h"
#include "member/handover.h"
#include "member/health.h"
#include "member/membership.h"
#include "member/outage.h"
#include "member/owner.h"
#include "member/position.h"
#include "member/shares.h"
#include "member/snapshot.h"
#include "member/topics.h"

typedef struct strand_group {
  /* set when the member is made, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;
  strand_membership *membership;
  const strand_health *health;
  strand_topics *topics;
  strand_outage *outage;
  strand_positions *positions;
  strand_handover *handover;
  strand_committer *committer;
  strand_shares *shares;
  strand_snapshot *snapshot;
  const strand_epochs *epochs;
  strand_waker *waker;

  rd_kafka_event_t *rebalance; /* unanswered */
  int64_t grace_us;            /* until when it waits for handlers */
  int64_t began_us;
  int64_t answer_us;   /* until when for its commit */
  bool committing;     /* ...which is out, or to be sent */
  int64_t limit_us;    /* of a close, for handlers and */
  int64_t deadline_us; /* ...for commits */
} strand_group;

void strand_group_serve (strand_group *g, int64_t now_us);
/* Goes on with a rebalance that waits for handlers or for its commit. */
void strand_group_advance (strand_group *g, int64_t now_us);
int64_t strand_group_due (const strand_group *g);
/* The member closes: a rebalance waits no longer than there is time. */
void strand_group_limit (strand_group *g, int64_t limit_us,
                         int64_t deadline_us);
/* Between two turns, in debug builds. */
void strand_group_check (const strand_group *g);

#endif
