/*
** unwritable.h - partitions of which some is done and in no commit, as it does
** not fit in the metadata
**
** Thread: owner.
*/
#ifndef STRAND_UNWRITABLE_H
#define STRAND_UNWRITABLE_H

#include "kafka/alert.h"
#include "member/owner.h"
#include "shared/problem.h"

#define STRAND_UNWRITABLE_SEARCH_US 1000000

typedef struct strand_unwritable {
  strand_alert lasts; /* there are some, and nothing of them is committed */
  int64_t search_us;  /* whether there are: not before */
} strand_unwritable;

/* There are some: the failure names them. */
bool strand_unwritable_find (const strand_owner *owner,
                             strand_failure *failure);
/* For health(), where they last and nothing of them is committed: but at least
** once, where a commit tells a part of what is done. */
void strand_unwritable_publish (strand_unwritable *u,
                                const strand_owner *owner,
                                strand_problem *problem, int64_t now_us);

#endif
