/*
** plights.h - topics with which something is wrong
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
#ifndef STRAND_PLIGHTS_H
#define STRAND_PLIGHTS_H

#include "kafka/trouble.h"
#include "member/owner.h"
#include "shared/problem.h"

typedef enum strand_plight {
  STRAND_TOPIC_MISSING,
  STRAND_TOPIC_FOUND,
  STRAND_TOPIC_UNASSIGNED,
  STRAND_TOPIC_NO_ROUTE
} strand_plight;

typedef struct strand_topic {
  struct strand_topic *next;
  strand_trouble trouble;
  strand_plight plight;
  int32_t partitions; /* unassigned: how many there are */
  int32_t owned;      /* and are somebody's */
  char name[];
} strand_topic;

typedef struct strand_plights {
  /* set by init, and only read */
  const strand_owner *owner;
  strand_problem *problem;

  strand_topic *list;
} strand_plights;

void strand_plights_init (strand_plights *p, const strand_owner *owner,
                          strand_problem *problem);
void strand_plights_free (strand_plights *p);

/* The first; others are its 'next'. */
static inline const strand_topic *
strand_plights_first (const strand_plights *p) {
  return p->list;
}
/* NULL: nothing is wrong with it; but that no route takes it. */
const strand_topic *strand_plights_find (const strand_plights *p,
                                         const char *name);
size_t strand_plights_count (const strand_plights *p, strand_plight plight);

/* Notes it, and tells it when that is due. Without memory it is found again,
** but for one without a route. */
void strand_plights_missing (strand_plights *p, const char *name,
                             int64_t now_us);
void strand_plights_no_route (strand_plights *p, const char *name,
                              int64_t now_us);
/* 'owned' of its partitions have an owner. */
void strand_plights_unassigned (strand_plights *p, const char *name,
                                int32_t partitions, int32_t owned,
                                int64_t now_us);
/* A missing one is there now. What a pattern found has a name of its own, and
** the pattern is forgotten. Returns the next. */
const strand_topic *strand_plights_found (strand_plights *p,
                                          const strand_topic *topic);
/* Nothing is wrong with it any more. Returns the next. */
const strand_topic *strand_plights_drop (strand_plights *p,
                                         const strand_topic *topic);
/* Tells again what lasts. */
void strand_plights_tick (strand_plights *p, int64_t now_us);
/* For health(), what is so now. */
void strand_plights_publish (const strand_plights *p);
/* Between two turns, in debug builds. */
void strand_plights_check (const strand_plights *p);

#endif
