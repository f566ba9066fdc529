/*
** topics.h - is each topic that is subscribed to somebody's?
**
** Thread: owner.
*/
#ifndef STRAND_TOPICS_H
#define STRAND_TOPICS_H

#include "kafka/helper.h"
#include "kafka/problem.h"
#include "kafka/trouble.h"

typedef struct strand_member strand_member;

/* What is wrong with a topic (topics.c). */
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

typedef struct strand_topics {
  strand_topic *list;     /* with which something is wrong */
  strand_problem problem; /* for health */
  int64_t due_us;         /* when to ask for the missing again */
  bool asking;
  strand_trouble blind; /* the group may not be asked */
  uint32_t assignments; /* so far, and revocations */
  size_t group_size;    /* as last heard of */
  int64_t assigned_us;
  int64_t owners_us;      /* when to ask who has what */
  int64_t owners_wait_us; /* from an assignment to the next try */
  int64_t turn_us;        /* when to subscribe again; 0: not known */
  bool asking_owners;
  int64_t asked_owners_us;
} strand_topics;

void strand_topics_init (strand_member *m);
void strand_topics_subscribe (strand_member *m);
/* Nothing that is subscribed to exists: then librdkafka joins no group. */
bool strand_topics_all_missing (const strand_member *m);
/* librdkafka says that the topic does not exist. */
void strand_topics_missing (strand_member *m, const char *topic,
                            int64_t now_us);
/* It was assigned, and no route takes it. */
void strand_topics_no_route (strand_member *m, const char *topic,
                             int64_t now_us);
void strand_topics_assigned (strand_member *m, int64_t now_us);
void strand_topics_revoked (strand_member *m);
/* Answers of the helper. */
void strand_topics_listed (strand_member *m, const strand_call *call,
                           int64_t now_us);
void strand_topics_owners (strand_member *m, const strand_call *call,
                           int64_t now_us);
/* When it wants to be called again. */
int64_t strand_topics_tick (strand_member *m, int64_t now_us);
void strand_topics_free (strand_member *m);

#endif
