/*
** outage.h - no broker answers, the group cannot be joined, or a partition's
** leader is away
**
**   problem                       ends when
**   no broker answers             any broker answers, a commit too
**   the group cannot be joined    an assignment comes
**   a partition's leader is away  a record or the end of it is read, or its
**                                 leader answers a question
**
** Invariants:
**   (1) That no broker answers is told only while none does.
**   (2) That the group cannot be joined is told only while it is tried.
**   (3) That a leader is away is told only while one is.
**
** Thread: owner.
*/
#ifndef STRAND_OUTAGE_H
#define STRAND_OUTAGE_H

#include "kafka/alert.h"
#include "kafka/helper.h"
#include "kafka/signs.h"
#include "member/assignment.h"
#include "member/membership.h"
#include "member/owner.h"
#include "member/topics.h"
#include "shared/problem.h"

typedef struct strand_outage {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;
  strand_topics *topics;
  strand_membership *membership;
  strand_signs *signs;
  strand_problem *problem;

  strand_alert unreachable;
  strand_alert join;
  strand_alert silent;  /* librdkafka does not ask to join */
  strand_alert leaders; /* partitions say which */
  strand_heard unreachable_cause;
  strand_heard join_cause;
  strand_heard dial_cause; /* of a connection to the coordinator */
  rd_kafka_resp_err_t leader_err;
  bool unreachable_reported;    /* 'unreachable' was told */
  bool waits;                   /* joins for long; others do not, it seems */
  bool cannot_join;             /* 'join' was told, */
  strand_failure join_reported; /* in these words */
  bool no_leader;               /* 'leaders' was told */
  int64_t reached_us;           /* a broker answered a question */
  int64_t blamed_us;            /* an error said that one is away */
  int64_t sought_us; /* when any was asked last, for 'unreachable' */
  int64_t verify_us; /* when to ask the leaders; 0: never */
  int64_t asked_us;  /* when they were asked last */
  bool asking_leaders;
  bool asking_reach;
  unsigned metadata_seen; /* of the signs */
} strand_outage;

void strand_outage_init (strand_outage *o, const strand_owner *owner,
                         const strand_assignment *assignment,
                         strand_topics *topics, strand_membership *membership,
                         strand_signs *signs, strand_problem *problem);

/* Signs of life. */
void strand_outage_reached (strand_outage *o, int64_t now_us);
void strand_outage_joined (strand_outage *o, int64_t now_us);
/* The next assignment should come soon, and did not yet. */
void strand_outage_rejoins (strand_outage *o, int64_t now_us);
/* Errors of librdkafka: of the group, */
void strand_outage_hear_join (strand_outage *o, rd_kafka_resp_err_t err,
                              const char *text);
/* ...of a broker that is away, the one of a topic's partition or any. */
void strand_outage_hear_unreachable (strand_outage *o, rd_kafka_resp_err_t err,
                                     const char *text, bool of_topic,
                                     int64_t now_us);
/* It was told as what keeps the member from joining. */
bool strand_outage_tells (const strand_outage *o, rd_kafka_resp_err_t err);
/* The partition's leader does, or need not any more. */
static inline void strand_outage_answered (strand_assigned *assigned) {
  assigned->no_leader = false;
}
/* Something is wrong with a leader: they are to be asked. */
void strand_outage_verify (strand_outage *o, int64_t now_us);
/* Answers of the helper. */
void strand_outage_reach (strand_outage *o, const strand_call *call,
                          int64_t now_us);
void strand_outage_leaders (strand_outage *o, const strand_call *call,
                            int64_t now_us);
/* For health(), what is so now. */
void strand_outage_publish (const strand_outage *o);
/* When it wants to be called again. */
int64_t strand_outage_tick (strand_outage *o, int64_t now_us);
/* Between two turns, in debug builds. */
void strand_outage_check (const strand_outage *o);

#endif
