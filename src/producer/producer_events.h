/*
** producer_events.h - what a producer tells, until it is taken
**
** Invariants:
**   (1) At most STRAND_PRODUCER_EVENTS_MAX wait, from 'first' on, around.
**
** Thread: lua.
*/
#ifndef STRAND_PRODUCER_EVENTS_H
#define STRAND_PRODUCER_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "kafka/log.h"
#include "producer/stall.h"

#define STRAND_PRODUCER_EVENTS_MAX 64

typedef struct strand_producer_event {
  const char *type;   /* "unreachable", "auth_failed", "leader_missing",
                       "replicas_missing", "topic_missing",
                       "partitions_changed", "batch_limit", "renewed",
                       "error" */
  double time;        /* seconds since 1970 */
  bool fatal;         /* the producer is at its end */
  int32_t partition;  /* with a topic; -1: of none */
  int32_t partitions; /* that it has now; 0: the event says nothing of it */
  int64_t limit;      /* the same: its max.message.bytes */
  char code[48];      /* "": nothing went wrong */
  char topic[250];    /* "": of none */
  char reason[257];
} strand_producer_event;

/* All 0: none. The oldest makes room for the newest, and is counted. */
typedef struct strand_producer_events {
  strand_producer_event ring[STRAND_PRODUCER_EVENTS_MAX];
  int first;
  int count;
  int64_t dropped;
} strand_producer_events;

/* An error of librdkafka's. True: no broker is there. */
bool strand_producer_events_take (strand_producer_events *events,
                                  rd_kafka_event_t *event);
/* Records wait for this; also a line in the log. */
void strand_producer_events_tell (strand_producer_events *events,
                                  strand_log *log,
                                  const strand_obstacle *obstacle);
/* The client was replaced, after this error; also a line in the log. */
void strand_producer_events_renewed (strand_producer_events *events,
                                     strand_log *log,
                                     const strand_failure *failure);
/* It is not, and will not be: the producer is at its end; the same. */
void strand_producer_events_ended (strand_producer_events *events,
                                   strand_log *log,
                                   const strand_failure *failure);
/* Of a topic, all but its reason; also a line in the log, by the caller. */
strand_producer_event *
strand_producer_events_add (strand_producer_events *events, const char *type,
                            const char *topic, rd_kafka_resp_err_t err);
/* The oldest. False: there is none. */
bool strand_producer_events_pop (strand_producer_events *events,
                                 strand_producer_event *event);

/* After a change, in debug builds. */
void strand_producer_events_check (const strand_producer_events *events);

#endif
