/*
** membership.h - what a member is of its group
**
** The group writes it, and what is below the group reads it. How many of a
** consumer's members have joined is counted with it.
**
** Invariants:
**   (1) One that has joined is among those that its consumer counts.
**
** The other flags say nothing of each other.
**
** Thread: owner.
*/
#ifndef STRAND_MEMBERSHIP_H
#define STRAND_MEMBERSHIP_H

#include <stdbool.h>

#include "shared/shared.h"

typedef struct strand_membership {
  strand_consumer *consumer; /* set by init, and only read */
  bool joined;
  bool cooperative; /* what is assigned or revoked is added or taken away */
  bool rebalancing; /* a revocation is not answered yet */
  bool fatal;       /* it can never join again */
} strand_membership;

void strand_membership_init (strand_membership *s, strand_consumer *consumer);
/* An assignment has come. */
void strand_membership_join (strand_membership *s);
/* It is not a member of the group any more, or cannot become one. */
void strand_membership_leave (strand_membership *s);

/* What is assigned now is assigned by this protocol. */
void strand_membership_follow (strand_membership *s, bool cooperative);
/* A revocation is to be answered; or it was. */
void strand_membership_rebalance (strand_membership *s, bool rebalancing);
void strand_membership_fail (strand_membership *s);

/* After each turn, in debug builds. */
void strand_membership_check (const strand_membership *s);

#endif
