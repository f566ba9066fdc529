/*
** outcome.h - what a handler's outcome makes of a lease
**
** Thread: owner.
*/
#ifndef STRAND_OUTCOME_H
#define STRAND_OUTCOME_H

#include "member/owner.h"
#include "shared/handler.h"

/* The lease's first record, or more of them, end as 'v' says. If the retry
** function failed for it, that is told: once, however often this is tried for
** want of memory. STRAND_ENOMEM: call again. */
strand_err strand_outcome_end (const strand_owner *o, strand_lease *lease,
                               strand_outcome *v, int64_t now_us);

#endif
