/*
** stall.h - records that are out for too long, and why that is
**
** librdkafka tries again inside, without a word, while a partition's leader is
** away or its copies are too few. That records go on being out is seen here,
** also while other partitions take theirs:
**
**   send -> new label --swap--> old label -> all are reported: swap
**                                   |
**                                   +-> some are out for 'patience': ask
**
** A swap turns the two labels over, when nothing wears the old one. So what
** wears the old one is older than the last swap, and two counts are enough.
** What the answer names is no problem where a record was acknowledged since
** a record was in doubt. A problem ends when an answer does not name it, or
** when all records of a label were acknowledged. A question comes no sooner
** than STRAND_STALL_AGAIN_US after the one before.
**
** Invariants:
**   (1) Nothing out: no tick is due.
**   (2) One question at a time, and it has the time when it was asked.
**   (3) Acknowledgements are noted only in doubt, or for an answer to come,
**       and leave places free.
**
** Thread: lua. The functions that take a list alone: any.
*/
#ifndef STRAND_STALL_H
#define STRAND_STALL_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "kafka/alert.h"

#define STRAND_STALL_PATIENCE_US 10000000
#define STRAND_STALL_AGAIN_US 10000000
/* Places for partitions that are known to take records: for half as many of
** them. Of more, some may be named as if they took none. */
#define STRAND_STALL_TAKING 1024

typedef struct strand_stall {
  int64_t patience_us;
  bool all_acks;    /* the copies count: acks is all */
  int64_t out[2];   /* records, by label */
  bool took[2];     /* one of these was acknowledged, */
  bool failed[2];   /* one was not */
  int label;        /* the new one */
  int64_t since_us; /* the last swap */
  int64_t due_us;   /* the next tick; 0: none */
  int64_t asked_us; /* 0: never */
  bool asking;
  bool noting; /* acknowledgements are noted */
  strand_alert leaders;
  strand_alert replicas;
  unsigned taking_count;
  uint64_t taking[STRAND_STALL_TAKING]; /* hashes of partitions; 0: free */
} strand_stall;

/* What keeps records from being taken. */
typedef struct strand_obstacle {
  const char *type; /* of the event: leader_missing, replicas_missing; NULL:
                         nothing is known */
  rd_kafka_resp_err_t err;
  const char *topic; /* the first partition; of the list */
  int32_t partition;
  char reason[256];
} strand_obstacle;

/* 'patience' is what linger.ms and message.timeout.ms (0: for ever) leave. */
void strand_stall_init (strand_stall *s, int linger_ms, int timeout_ms,
                        bool all_acks);

/* Nothing is out; a record with this label will be. */
void strand_stall_begin (strand_stall *s, int label, int64_t now_us);
/* A record is out, with a label that s->label was when it was sent. */
static inline void strand_stall_sent (strand_stall *s, int label) {
  s->out[label]++;
}

/* It is not any more; acknowledged, when 'err' is 0. */
void strand_stall_reported (strand_stall *s, int label,
                            rd_kafka_resp_err_t err, const char *topic,
                            int32_t partition);
/* s->due_us is over. True: what is in the way is to be asked for, and
** s->asking is set. */
bool strand_stall_tick (strand_stall *s, int64_t now_us);
/* The answer: see strand_leaders_stalled. What takes records is taken out of
** 'list'. True: the obstacle is to be told now. */
bool strand_stall_answered (strand_stall *s, rd_kafka_resp_err_t err,
                            rd_kafka_topic_partition_list_t *list,
                            int64_t now_us, strand_obstacle *obstacle);

/* No answer will come. */
void strand_stall_forget (strand_stall *s);

/* After a change, in debug builds. */
void strand_stall_check (const strand_stall *s);

/* Of what strand_leaders_stalled found. While a leader is away nothing is
** said of copies: it may be for that that one is missing. */
void strand_obstacle_of (const rd_kafka_topic_partition_list_t *list,
                         bool all_acks, strand_obstacle *obstacle);

#endif
