/*
** troubles.h - what is wrong with the world: each error and each sign of life
** to the part that it is about
**
** Each trouble is a thing of its own, with its own sign of life:
**
**   trouble                       part          ends when
**   no broker answers             outage.h      any broker answers
**   the group cannot be joined    outage.h      an assignment comes
**   a partition's leader is away  outage.h      it is read, or the leader
**                                               answers
**   credentials are refused       known.h       the same broker lets us in
**   a topic, a group is refused   known.h       it is read; joined or
**                                               committed to
**   any other error               known.h       it is not heard again for a
**                                               while
**   a topic is not there          topics.h      a broker knows it
**   commits fail                  committer.h   a commit succeeds, or nothing
**                                               is left to commit
**
** So no sign of life of one thing hides the trouble of another.
**
** Thread: owner.
*/
#ifndef STRAND_TROUBLES_H
#define STRAND_TROUBLES_H

#include "kafka/helper.h"
#include "member/assignment.h"
#include "member/known.h"
#include "member/outage.h"
#include "member/owner.h"
#include "member/topics.h"

typedef struct strand_troubles {
  const strand_owner *owner;
  const strand_assignment *assignment;
  strand_known *known;
  strand_topics *topics;
  strand_outage *outage;
} strand_troubles;

void strand_trouble_error (const strand_troubles *t, rd_kafka_resp_err_t err,
                           const char *text, const char *topic,
                           int32_t partition, int64_t now_us);
/* A broker makes us wait. */
void strand_trouble_throttled (const strand_troubles *t, const char *broker,
                               int32_t id, int wait_ms);
/* What keeps leaders from answering. */
void strand_trouble_leaders (const strand_troubles *t, const strand_call *call,
                             int64_t now_us);
/* Signs of life, each of one thing. */
void strand_trouble_joined (const strand_troubles *t, int64_t now_us);
/* A record of it, or its end. */
void strand_trouble_read (const strand_troubles *t, strand_tag *tag);
void strand_trouble_committed (const strand_troubles *t, int64_t now_us);
/* Nothing is wrong with a partition that is not ours. */
void strand_trouble_revoked (const strand_troubles *t, strand_tag *tag);

#endif
