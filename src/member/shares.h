/*
** shares.h - a member's part of what the consumer may
**
** Budgets are the consumer's, and each member has as much of them as it has of
** the partitions: inbox.h counts those.
**
** Invariants:
**   (1) Its part is of the partitions that it has. After memory ran out in one
**       it may have fewer: then the consumer ends.
**
** Thread: owner, where nothing else is said.
*/
#ifndef STRAND_SHARES_H
#define STRAND_SHARES_H

#include "member/owner.h"

typedef struct strand_shares {
  const strand_owner *owner;   /* set by init, and only read */
  strand_route_limits *routes; /* as the engine has them */
} strand_shares;

/* What is not the engine's. */
typedef struct strand_share {
  size_t max_ready;
  size_t batch_most; /* records of the largest batch of a route; 0: none */
  int64_t slow_after_us;
} strand_share;

void strand_shares_init (strand_shares *s, const strand_owner *owner);
/* Thread: lua. False: memory ran out. */
bool strand_shares_open (strand_shares *s);
void strand_shares_free (strand_shares *s);
/* The limits of now; what it borrows stays until it is called again. */
void strand_shares_take (strand_shares *s, strand_engine_config *config,
                         strand_share *share);
/* Its assignment has changed, and with it every member's share. */
void strand_shares_change (strand_shares *s);
/* Between two turns, in debug builds. */
void strand_shares_check (const strand_shares *s);

#endif
