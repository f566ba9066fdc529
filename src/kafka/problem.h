/*
** problem.h - what is wrong, for health()
**
** Thread: owner sets it; any reads it.
*/
#ifndef STRAND_PROBLEM_H
#define STRAND_PROBLEM_H

#include "core/err.h"
#include "kafka/lock.h"

typedef struct strand_problem {
  strand_lock lock;       /* a leaf */
  strand_failure failure; /* lock; code "": none. Written by the owner alone,
                             so that it reads without the lock */
} strand_problem;

void strand_problem_init (strand_problem *p);
void strand_problem_free (strand_problem *p);
/* Thread: owner. */
void strand_problem_set (strand_problem *p, const strand_failure *failure);
void strand_problem_get (strand_problem *p, strand_failure *failure);

#endif
