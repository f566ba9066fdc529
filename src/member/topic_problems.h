/*
** topic_problems.h - topics with which something is wrong
**
**   missing     no broker that was asked knows it
**   found       one does; it is somebody's soon, and is looked at until then
**   unassigned  it exists, and nobody in the group has it
**   no route    this member has it, and no handler takes it
**
** Each is told at once, and again with back-off while it lasts.
**
** Invariants:
**   (1) A topic is on the list once, or twice if one of these lacks a route.
**   (2) Of one that is nobody's not all partitions have an owner.
**
** Thread: owner.
*/
#ifndef STRAND_TOPIC_PROBLEMS_H
#define STRAND_TOPIC_PROBLEMS_H

#include "kafka/alert.h"
#include "member/owner.h"
#include "shared/problem.h"

typedef enum strand_topic_problem_kind {
  STRAND_TOPIC_MISSING,
  STRAND_TOPIC_FOUND,
  STRAND_TOPIC_UNASSIGNED,
  STRAND_TOPIC_NO_ROUTE
} strand_topic_problem_kind;

typedef struct strand_topic_problem {
  struct strand_topic_problem *next;
  strand_alert alert;
  strand_topic_problem_kind kind;
  int32_t partitions; /* unassigned: how many there are */
  int32_t owned;      /* and are somebody's */
  char name[];
} strand_topic_problem;

typedef struct strand_topic_problems {
  /* set by init, and only read */
  const strand_owner *owner;
  strand_problem *problem;

  strand_topic_problem *list;
} strand_topic_problems;

void strand_topic_problems_init (strand_topic_problems *p,
                                 const strand_owner *owner,
                                 strand_problem *problem);
void strand_topic_problems_free (strand_topic_problems *p);

/* The first; others are its 'next'. */
static inline const strand_topic_problem *
strand_topic_problems_first (const strand_topic_problems *p) {
  return p->list;
}
/* NULL: nothing is wrong with it; but that no route takes it. */
const strand_topic_problem *
strand_topic_problems_find (const strand_topic_problems *p, const char *name);
size_t strand_topic_problems_count (const strand_topic_problems *p,
                                    strand_topic_problem_kind kind);

/* Notes it, and tells it when that is due. Without memory it is found again,
** but for one without a route. */
void strand_topic_problems_missing (strand_topic_problems *p, const char *name,
                                    int64_t now_us);
void strand_topic_problems_no_route (strand_topic_problems *p,
                                     const char *name, int64_t now_us);
/* 'owned' of its partitions have an owner. */
void strand_topic_problems_unassigned (strand_topic_problems *p,
                                       const char *name, int32_t partitions,
                                       int32_t owned, int64_t now_us);
/* A missing one is there now. What a pattern found has a name of its own, and
** the pattern is forgotten. Returns the next. */
const strand_topic_problem *
strand_topic_problems_found (strand_topic_problems *p,
                             const strand_topic_problem *topic);
/* Nothing is wrong with it any more. Returns the next. */
const strand_topic_problem *
strand_topic_problems_drop (strand_topic_problems *p,
                            const strand_topic_problem *topic);
/* Tells again what lasts. */
void strand_topic_problems_tick (strand_topic_problems *p, int64_t now_us);
/* For health(), what is so now. */
void strand_topic_problems_publish (const strand_topic_problems *p);
/* Between two turns, in debug builds. */
void strand_topic_problems_check (const strand_topic_problems *p);

#endif
