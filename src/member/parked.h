/*
** parked.h - looking at parked records, and resolving them
**
** Thread: owner.
*/
#ifndef STRAND_PARKED_H
#define STRAND_PARKED_H

#include "member/assignment.h"
#include "member/owner.h"
#include "member/snapshot.h"

/* What they need; set when the member is made. */
typedef struct strand_parking {
  const strand_owner *owner;
  const strand_assignment *assignment;
  strand_snapshot *snapshot;
} strand_parking;

/* Takes the list, which has the last that was asked for first. */
void strand_parked_serve (const strand_parking *k,
                          strand_parked_request *requests, int64_t now_us);

#endif
