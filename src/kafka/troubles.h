/*
** troubles.h - what is wrong with the world, as one member knows it
**
** Each trouble is a thing of its own, with its own sign of life:
**
**   trouble                       ends when
**   no broker answers             any broker answers, a commit too
**   the group cannot be joined    an assignment comes
**   a partition's leader is away  a record or the end of it is read, or its
**                                 leader answers a question
**   credentials are refused       the same broker lets us in
**   a topic, a group is refused   it is read; joined or committed to
**   commits fail                  a commit succeeds, or nothing is left to
**                                 commit
**   any other error               it is not heard again for a while
**
** So no sign of life of one thing hides the trouble of another.
**
** Thread: owner.
*/
#ifndef STRAND_TROUBLES_H
#define STRAND_TROUBLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "core/err.h"
#include "kafka/assignment.h"
#include "kafka/helper.h"
#include "kafka/problem.h"
#include "kafka/trouble.h"

typedef struct strand_member strand_member;

/* Different errors that one member remembers; beyond, the one that was not
** heard for the longest time is forgotten. */
#define STRAND_ERRORS_KNOWN_MAX 64

/* The last error of a trouble, as it was heard. */
typedef struct strand_heard {
  rd_kafka_resp_err_t err; /* 0: none was heard */
  char text[256];
} strand_heard;

/* An error that was told, by code, topic and partition. */
typedef struct strand_known {
  struct strand_known *next;
  strand_trouble trouble;
  int64_t heard_us;
  int64_t again_us; /* when the partition is to be read again */
  strand_heard cause;
  bool refused;    /* credentials or rights */
  bool of_token;   /* there is none to send */
  unsigned tokens; /* of the signs, when it was heard last */
  uint64_t broker; /* that refused the credentials; see signs.h */
  int32_t partition;
  char topic[]; /* "": of none */
} strand_known;

typedef struct strand_troubles {
  strand_trouble away;
  strand_trouble join;
  strand_trouble leaders; /* tags say which */
  strand_trouble commits;
  strand_heard away_cause;
  strand_heard join_cause;
  strand_heard dial_cause; /* of a connection to the coordinator */
  strand_heard commit_cause;
  rd_kafka_resp_err_t leader_err;
  bool unreachable;         /* 'away' was told */
  bool waits;               /* joins for long; others do not, it seems */
  bool cannot_join;         /* 'join' was told, */
  strand_failure join_told; /* in these words */
  bool no_leader;           /* 'leaders' was told */
  strand_known *known;
  unsigned known_count;
  int64_t reached_us; /* a broker answered a question */
  int64_t sought_us;  /* when any was asked last, for 'away' */
  int64_t doubt_us;   /* when to ask the leaders; 0: never */
  int64_t asked_us;   /* when they were asked last */
  bool asking_leaders;
  bool asking_reach;
  strand_problem problem; /* for health */
  unsigned metadata_seen; /* of the signs */
  unsigned ups_seen;
} strand_troubles;

/* An event, and a line to the log. */
void strand_trouble_tell (strand_member *m, const char *type, const char *code,
                          const char *reason, const char *topic,
                          int32_t index);
void strand_trouble_error (strand_member *m, rd_kafka_resp_err_t err,
                           const char *text, const char *topic,
                           int32_t partition, int64_t now_us);
/* librdkafka's error_cb: what it puts on a partition's queue, and a read
** does not return. */
void strand_trouble_heard (rd_kafka_t *client, int err, const char *text,
                           void *member);
/* librdkafka's throttle_cb, inside the owner's polls. */
void strand_trouble_throttled (rd_kafka_t *client, const char *broker,
                               int32_t id, int wait_ms, void *member);
/* Signs of life, each of one thing. */
void strand_trouble_reached (strand_member *m, int64_t now_us);
void strand_trouble_joined (strand_member *m, int64_t now_us);
/* A record of it, or its end. */
void strand_trouble_read (strand_member *m, strand_tag *tag);
void strand_trouble_committed (strand_member *m, int64_t now_us);
/* Nothing is wrong with a partition that is not ours. */
void strand_trouble_revoked (strand_member *m, strand_tag *tag);
/* The next assignment should come soon, and did not yet. */
void strand_trouble_rejoins (strand_member *m, int64_t now_us);
void strand_trouble_commit_failed (strand_member *m, rd_kafka_resp_err_t err,
                                   int64_t now_us);
int64_t strand_trouble_tick (strand_member *m, int64_t now_us);

/*
** known.c: errors that were told
*/

/* Is it to be told now? Also without memory to remember it. 'refused':
** credentials or rights, which last until a sign of life. */
bool strand_known_hear (strand_member *m, rd_kafka_resp_err_t err,
                        const char *text, const char *topic, int32_t partition,
                        bool refused, int64_t now_us);
/* Tells again what lasts, and forgets what is over. */
void strand_known_tick (strand_member *m, int64_t now_us);
/* What was refused works: of the topic; NULL: of the group. */
void strand_known_works (strand_member *m, const char *topic,
                         int32_t partition);
/* A broker that was asked at 'asked_us' lets us see the topic, whoever in the
** group reads it. */
void strand_known_seen (strand_member *m, const char *topic, int64_t asked_us);
/* The partition is not ours any more. */
void strand_known_gone (strand_member *m, const char *topic,
                        int32_t partition);
/* A refusal, or NULL. */
const strand_known *strand_known_refusal (const strand_member *m);
void strand_known_free (strand_member *m);

/*
** outage.c: the group, its coordinator, and the leaders of partitions
*/

void strand_outage_doubt (strand_member *m, int64_t now_us);
void strand_outage_reach (strand_member *m, const strand_call *call,
                          int64_t now_us);
void strand_outage_leaders (strand_member *m, const strand_call *call,
                            int64_t now_us);
int64_t strand_outage_tick (strand_member *m, int64_t now_us);
/* Up to STRAND_PARTITIONS_NAMED_MAX of them. Returns 'text'. */
const char *strand_outage_partitions (const strand_member *m, char *text,
                                      size_t size);

#endif
