/*
** reassign.h - what is assigned is assigned again, with offsets of ours
**
** librdkafka asks for the committed offsets of an assignment in one request.
** While a transaction holds one of them back there is no answer for any, and
** none starts. Nor does it take a seek of a partition that has not started. So
** what is known is assigned again with its offset, and is asked for no more;
** what is not known with the end of its log, where it waits for a seek. It
** never is with the committed offset: an answer to the first request that
** comes then sends it where auto.offset.reset says.
**
** Thread: owner.
*/
#ifndef STRAND_REASSIGN_H
#define STRAND_REASSIGN_H

#include "base/waker.h"
#include "member/assignment.h"
#include "member/health.h"
#include "member/membership.h"
#include "member/owner.h"
#include "member/position.h"

typedef struct strand_reassign {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;
  const strand_membership *membership;
  const strand_health *health;
  const strand_waker *waker; /* the owner's, for queues */
  strand_positions *positions;
} strand_reassign;

void strand_reassign_init (strand_reassign *r, const strand_owner *owner,
                           const strand_assignment *assignment,
                           const strand_membership *membership,
                           const strand_health *health,
                           const strand_waker *waker,
                           strand_positions *positions);
/* 'assigned' is not to go elsewhere yet, for others would be assigned again
** for it while librdkafka asks where their logs end. An answer to that which
** comes after another assignment has it ask once more, and it goes there from
** wherever it has been assigned to (2.0 to 2.15): what is between is passed
** over. */
bool strand_reassign_must_wait (const strand_reassign *r,
                                const strand_assigned *assigned);
/* 'assigned' goes on at 'offset': under the eager protocol all are assigned
** again for it. False: librdkafka did not take it. */
bool strand_reassign_one (strand_reassign *r, strand_assigned *assigned,
                          int64_t offset);
/* Lets those start that wait for one whose offset is not stable. */
void strand_reassign_serve (strand_reassign *r, int64_t now_us);

#endif
