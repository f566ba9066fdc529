/*
** problem.h - what is wrong with a member, for health()
**
** Each part says what is wrong with its own thing, and health() tells the
** worst.
**
** Invariants:
**   (1) Where nothing is wrong nothing is said: without a code there is no
**       message.
**
** Thread: owner sets it; any reads it.
*/
#ifndef STRAND_PROBLEM_H
#define STRAND_PROBLEM_H

#include "base/err.h"
#include "base/lock.h"

/* The worst first. */
typedef enum strand_problem_kind {
  STRAND_PROBLEM_REFUSED,         /* known_errors.c */
  STRAND_PROBLEM_UNREACHABLE,     /* outage.c */
  STRAND_PROBLEM_CANNOT_JOIN,     /* outage.c */
  STRAND_PROBLEM_NO_LEADER,       /* outage.c */
  STRAND_PROBLEM_COMMIT_FAILS,    /* committer.c */
  STRAND_PROBLEM_CANNOT_TRANSACT, /* transactions.c */
  STRAND_PROBLEM_METADATA,        /* unwritable.c */
  STRAND_PROBLEM_NOT_ASSIGNED,    /* outage.c */
  STRAND_PROBLEM_TOPIC,           /* topic_problems.c */
  STRAND_PROBLEMS
} strand_problem_kind;

typedef struct strand_problem {
  strand_lock lock; /* a leaf */
  /* Under the lock; code "": none. Written by the owner alone, so that it
  ** reads without the lock. */
  strand_failure failures[STRAND_PROBLEMS];
} strand_problem;

void strand_problem_init (strand_problem *p);
void strand_problem_free (strand_problem *p);
/* Thread: owner. Failure NULL: there is none of this kind. */
void strand_problem_set (strand_problem *p, strand_problem_kind kind,
                         const strand_failure *failure);
/* The worst of all that is not about a topic; code "": nothing is wrong. */
void strand_problem_get (strand_problem *p, strand_failure *failure);
/* The same of topics. */
void strand_problem_topic (strand_problem *p, strand_failure *failure);

/* Thread: owner. After each turn, in debug builds. */
void strand_problem_check (const strand_problem *p);

#endif
