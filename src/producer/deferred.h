/*
** deferred.h - records for a partition that their topic has not, yet
**
** Partitions that were just added are not known until the brokers are asked
** again, and some of them know later than others. So a record for one is kept
** here, as Java's client does, while the topic is asked for again:
**
**   send -> not known -> kept -> known: to librdkafka's queue
**                          |
**                          +---> 'patience' is over, and the brokers have
**                          |     answered without it: UNKNOWN_PARTITION
**                          +---> its time is over, and they have not:
**                                TIMED_OUT, of its own; else MSG_TIMED_OUT
**
** Patience is topic.metadata.propagation.max.ms, or message.timeout.ms, or the
** record's own timeout, where that is less. Kept records count as queued, and
** hold up only those for the same partition, which are kept behind them. What
** ends here was never in librdkafka's hands: that is certain.
**
** A turn looks at what may have changed, and at nothing else: at each partition
** when there are new answers, at the oldest records for their times. A record's
** own time is pending_reports.h's.
**
** Invariants:
**   (1) 'count' records are kept, each in the list of its partition, and all of
**       them in one: in the order of sending.
**   (2) A partition stands here as long as it has records, once.
**   (3) Between two turns nothing is to be looked at, and none is kept whose
**       partition is known, unless all are held: so none is sent past it.
**   (4) All before 'patient' have waited for 'patience'.
**
** While they are held all that is sent is kept, in one order: until the client,
** which is at its end, is replaced (fatal.h). Only their times end them then.
**
** What is known of a topic is what topic_watch.h has told: that changes only
** in this thread, between two turns. Counted anew by each record, two for one
** partition could change places.
**
** Thread: lua.
*/
#ifndef STRAND_DEFERRED_H
#define STRAND_DEFERRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/list.h"
#include "kafka/calls.h"
#include "producer/delivery.h"
#include "producer/outgoing.h"
#include "producer/topic_watch.h"

#define STRAND_DEFERRED_BUCKETS 64

/* A topic's partition, which is not there yet; -1: librdkafka decides. */
typedef struct strand_deferred_place {
  strand_link link; /* of all */
  struct strand_deferred_place *same_bucket;
  strand_cached_topic *topic;
  int32_t partition;
  strand_link records;
} strand_deferred_place;

typedef struct strand_deferred_record {
  strand_link link; /* of all */
  strand_link mine; /* of its place's */
  strand_deferred_place *place;
  strand_cached_topic *topic;
  rd_kafka_headers_t *headers; /* owned; NULL: none */
  void *opaque;
  int64_t sent_us;
  int64_t due_us;           /* its own time is over; 0: it has none */
  strand_outgoing outgoing; /* key and value in 'bytes' */
  unsigned char bytes[];
} strand_deferred_record;

typedef struct strand_deferred {
  strand_link all;
  strand_link places;
  strand_deferred_place *buckets[STRAND_DEFERRED_BUCKETS];
  /* the end of its list: none */
  strand_link *released; /* the next of all that may go on since the hold */
  strand_link *answered; /* the next place that an answer may be about */
  strand_link *patient;  /* the first whose patience is not over */
  int64_t count;
  bool held; /* all of them, whatever is known: there is no client for them */
  int64_t patience_us;
  int64_t timeout_us; /* message.timeout.ms; 0: none */
} strand_deferred;

void strand_deferred_init (strand_deferred *d, int propagation_ms,
                           int timeout_ms);

/* A record for this partition has to be kept. */
bool strand_deferred_must (const strand_deferred *d,
                           const strand_topic_watch *watch,
                           const strand_cached_topic *topic,
                           int32_t partition);
/* Takes 'headers' when it worked; NULL: memory ran out. 'due_us': of its own
** time; 0: none. */
strand_deferred_record *strand_deferred_add (strand_deferred *d,
                                             strand_cached_topic *topic,
                                             const strand_outgoing *record,
                                             rd_kafka_headers_t *headers,
                                             void *opaque, int64_t now_us,
                                             int64_t due_us);

/* The next turn looks at all partitions: answers have come. */
void strand_deferred_answered (strand_deferred *d);
/* One whose partition is known now, or whose time is over: '*err'. The caller
** removes it, or all are held from now on. NULL: there is none in this turn;
** what goes on waiting is asked for again. */
strand_deferred_record *strand_deferred_next (strand_deferred *d,
                                              const strand_topic_watch *watch,
                                              strand_calls *calls,
                                              int64_t now_us,
                                              rd_kafka_resp_err_t *err);
/* The record's own time is over: its error. */
rd_kafka_resp_err_t strand_deferred_overdue (const strand_deferred *d,
                                             const strand_deferred_record *r,
                                             strand_calls *calls);
/* The oldest. NULL: there is none. */
strand_deferred_record *strand_deferred_first (const strand_deferred *d);
/* It is the caller's. */
void strand_deferred_remove (strand_deferred *d, strand_deferred_record *r);

void strand_deferred_hold (strand_deferred *d);
/* These calls take the place of those before, and have the same topics. */
void strand_deferred_move (strand_deferred *d, const strand_calls *calls);
void strand_deferred_release (strand_deferred *d);
/* How it ended, when it was never sent. */
strand_delivery_end strand_deferred_end_of (const strand_deferred_record *r,
                                            rd_kafka_resp_err_t err,
                                            int64_t now_us);
/* With its headers, unless those were given away. */
void strand_deferred_free (strand_deferred_record *r);

/* After a change, in debug builds. */
void strand_deferred_check (const strand_deferred *d,
                            const strand_topic_watch *watch);

#endif
