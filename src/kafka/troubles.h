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
** Thread: owner, but for strand_signs.
*/
#ifndef STRAND_TROUBLES_H
#define STRAND_TROUBLES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "core/err.h"
#include "kafka/trouble.h"

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
  uint64_t broker; /* that refused the credentials; see strand_signs */
  int32_t partition;
  char topic[]; /* "": of none */
} strand_known;

#define STRAND_SIGNS_UP 64 /* brokers that come up within a second */

/* What librdkafka's requests and connections show; written on its threads. */
typedef struct strand_signs {
  atomic_uint tokens;         /* that the program has given */
  atomic_bool probing;        /* the leaders are asked: that is no sign */
  atomic_uint metadata;       /* answers: librdkafka looked for something */
  atomic_bool joining;        /* the coordinator has not answered JoinGroup */
  atomic_uint joins;          /* JoinGroup requests */
  _Atomic int64_t found_us;   /* FindCoordinator was answered */
  _Atomic int64_t connect_us; /* a coordinator was known, and dialled */
  atomic_bool coordinator_up;
  atomic_uint ups;                      /* connections that came up, */
  _Atomic uint64_t up[STRAND_SIGNS_UP]; /* by address, until taken; 0: free */
  atomic_bool up_more; /* and others that there was no room for */
} strand_signs;

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
  unsigned metadata_seen; /* of the signs */
  unsigned ups_seen;
} strand_troubles;

#endif
