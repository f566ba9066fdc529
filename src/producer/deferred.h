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
** Invariants:
**   (1) 'count' records are kept, those for one partition in the order of
**       sending.
**   (2) There is a last one when there is a first.
**   (3) Between two turns nothing is looked at, and none is kept whose
**       partition is known, unless all are held: so none is sent past it.
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

#include "kafka/calls.h"
#include "producer/delivery.h"
#include "producer/outgoing.h"
#include "producer/topic_watch.h"

typedef struct strand_deferred_record {
  struct strand_deferred_record *next;
  strand_cached_topic *topic;
  rd_kafka_headers_t *headers; /* owned; NULL: none */
  void *opaque;
  int64_t sent_us;
  int64_t due_us;           /* its own time is over; 0: it has none */
  strand_outgoing outgoing; /* key and value in 'bytes' */
  unsigned char bytes[];
} strand_deferred_record;

typedef struct strand_deferred {
  strand_deferred_record *first;
  strand_deferred_record *last;
  strand_deferred_record
    *looked_at; /* in this turn, and stays, with all before
                                        it; NULL: none */
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
/* Takes 'headers' when it worked; false: memory ran out. 'due_us': of its own
** time; 0: none. */
bool strand_deferred_add (strand_deferred *d, strand_cached_topic *topic,
                          const strand_outgoing *record,
                          rd_kafka_headers_t *headers, void *opaque,
                          int64_t now_us, int64_t due_us);

/* One whose partition is known now, or whose time is over: '*err'. It is taken
** out, and the caller's. NULL: there is none in this turn. */
strand_deferred_record *strand_deferred_take (strand_deferred *d,
                                              const strand_topic_watch *watch,
                                              strand_calls *calls,
                                              int64_t now_us,
                                              rd_kafka_resp_err_t *err);
/* It cannot be sent now after all, and was the first that went on. */
void strand_deferred_put_back (strand_deferred *d, strand_deferred_record *r);
/* These calls take the place of those before, and have the same topics. */
void strand_deferred_move (strand_deferred *d, const strand_calls *calls);
/* The oldest. NULL: there is none. */
strand_deferred_record *strand_deferred_pop (strand_deferred *d);
/* All of them go on being asked for. */
void strand_deferred_want (const strand_deferred *d, strand_calls *calls);

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
