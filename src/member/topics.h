/*
** topics.h - is each topic that is subscribed to somebody's? And is there
** something for this member?
**
** Invariants:
**   (1) A turn to subscribe again is known only after an assignment.
**   (2) Those who have what are asked for when there was an assignment.
**   (3) That a member stays idle is told once, after an assignment.
**
** Thread: owner.
*/
#ifndef STRAND_TOPICS_H
#define STRAND_TOPICS_H

#include "kafka/alert.h"
#include "kafka/helper.h"
#include "member/assignment.h"
#include "member/known_errors.h"
#include "member/membership.h"
#include "member/owner.h"
#include "member/topic_problems.h"
#include "shared/problem.h"

typedef struct strand_topics {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;
  const strand_membership *membership;
  strand_known_errors *known_errors;

  strand_topic_problems topic_problems;
  int64_t due_us; /* when to ask for the missing again */
  bool asking;
  strand_alert blind;   /* the group may not be asked */
  uint32_t assignments; /* so far, and revocations */
  size_t group_size;    /* as last heard of */
  int64_t assigned_us;
  int64_t unseen_us; /* the first assignment that no answer told of; 0: none */
  int64_t owners_us; /* when to ask who has what */
  int64_t owners_wait_us; /* from an assignment to the next try */
  int64_t turn_us;        /* when to subscribe again; 0: not known */
  int64_t idle_us; /* the first assignment of nothing; 0: it has something */
  bool idle_reported;
  bool asking_owners;
  int64_t asked_owners_us;
} strand_topics;

void strand_topics_init (strand_topics *t, const strand_owner *owner,
                         const strand_assignment *assignment,
                         const strand_membership *membership,
                         strand_known_errors *known_errors,
                         strand_problem *problem);
void strand_topics_subscribe (strand_topics *t);
/* librdkafka seems to wait for an answer about them that does not come: it
** looks at them again when another broker has told of them. */
void strand_topics_refresh (strand_topics *t);
/* Nothing that is subscribed to exists: then librdkafka joins no group. */
bool strand_topics_all_missing (const strand_topics *t);
/* librdkafka says that the topic does not exist. */
void strand_topics_missing (strand_topics *t, const char *topic,
                            int64_t now_us);
/* It was assigned, and no route takes it. */
void strand_topics_no_route (strand_topics *t, const char *topic,
                             int64_t now_us);
void strand_topics_assigned (strand_topics *t, int64_t now_us);
void strand_topics_revoked (strand_topics *t);
/* Answers of the helper. */
void strand_topics_listed (strand_topics *t, const strand_call *call,
                           int64_t now_us);
void strand_topics_owners (strand_topics *t, const strand_call *call,
                           int64_t now_us);
/* When it wants to be called again. */
int64_t strand_topics_tick (strand_topics *t, int64_t now_us);
void strand_topics_free (strand_topics *t);
/* Between two turns, in debug builds. */
void strand_topics_check (const strand_topics *t);

#endif
