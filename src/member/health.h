/*
** health.h - what is wrong with the world: each error and each sign of life
** to the part that it is about
**
** Each problem is a thing of its own, with its own sign of life:
**
**   problem                       part            ends when
**   no broker answers             outage.h        any broker answers
**   the group cannot be joined    outage.h        an assignment comes
**   a partition's leader is away  outage.h        it is read, or the leader
**                                                 answers
**   credentials are refused       known_errors.h  the same broker lets us in
**   a topic, a group is refused   known_errors.h  it is read; joined or
**                                                 committed to
**   any other error               known_errors.h  it is not heard again for a
**                                                 while
**   a topic is not there          topics.h        a broker knows it
**   commits fail                  committer.h     a commit succeeds, or nothing
**                                                 is left to commit
**
** So no sign of life of one thing hides the problem of another.
**
** Thread: owner.
*/
#ifndef STRAND_HEALTH_H
#define STRAND_HEALTH_H

#include "kafka/helper.h"
#include "member/assignment.h"
#include "member/known_errors.h"
#include "member/outage.h"
#include "member/owner.h"
#include "member/topics.h"

typedef struct strand_health {
  const strand_owner *owner;
  const strand_assignment *assignment;
  strand_known_errors *known_errors;
  strand_topics *topics;
  strand_outage *outage;
} strand_health;

void strand_health_error (const strand_health *t, rd_kafka_resp_err_t err,
                          const char *text, const char *topic,
                          int32_t partition, int64_t now_us);
/* A broker makes us wait. */
void strand_health_throttled (const strand_health *t, const char *broker,
                              int32_t id, int wait_ms);
/* What keeps leaders from answering. */
void strand_health_leaders (const strand_health *t, const strand_call *call,
                            int64_t now_us);
/* Signs of life, each of one thing. */
void strand_health_joined (const strand_health *t, int64_t now_us);
/* A record of it, or its end. */
void strand_health_read (const strand_health *t, strand_assigned *assigned);
void strand_health_committed (const strand_health *t, int64_t now_us);
/* Nothing is wrong with a partition that is not ours. */
void strand_health_revoked (const strand_health *t, strand_assigned *assigned);

#endif
