/*
** producer.h - records out, each with exactly one report
**
**   send -> librdkafka's queue -> broker -> delivery report -> collect
**    |                                                           |
**    +-> bounds.h                          deliveries.h  <-------+
**
** librdkafka's queue of reports is read by the thread that calls in here,
** never by one of ours or of librdkafka's. A report is copied out and its
** message destroyed at once: until then the record counts as queued.
**
** Where a record goes is decided inside librdkafka, in a callback of ours
** (placement.h), because only there the number of partitions is known without
** asking. The callback is C and looks at nothing but the record: a hash or a
** partition that came with it, or its key. (librdkafka's own sticky
** partitioner would not ask us for records without a key, so it is switched
** off, and done here.) A record for a partition that is not known yet is kept
** back (deferred.h), and what is found out about topics is told
** (topic_watch.h).
**
** Protocol:
**   (1) The fd is readable while something waits to be taken: a delivery, an
**       event, a log line; when reports have come that nobody collected, and
**       when a record's own time is over. It is not while there is nothing to
**       do.
**   (3) A record that is out for long, while brokers answer, is looked into
**       (unacked.h): the calls' thread wakes the fd for that, and asks.
**   (4) close ends within its timeout plus a fraction of a second: what
**       librdkafka does not finish by then goes on in a thread by itself.
**
** Invariants:
**   (2) With a record that send takes, at most max_queued_records deliveries
**       wait to be taken, or to be given on, with those of the records that are
**       out; then send says QUEUE_FULL, and nothing is dropped.
**   (5) What is in the queue is outstanding, or overdue (deliveries.h).
**
** Thread: lua (strand_calls and the closing thread see the client only).
*/
#ifndef STRAND_PRODUCER_H
#define STRAND_PRODUCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/conf.h"
#include "kafka/log.h"
#include "producer/deliveries.h"
#include "producer/outgoing.h"
#include "producer/producer_conf.h"
#include "producer/producer_events.h"
#include "producer/transaction.h"

typedef struct strand_producer strand_producer;

typedef struct strand_producer_counts {
  strand_delivery_counts records;
  int64_t events_dropped;
  int64_t log_dropped;
  int64_t max_queued_records;
  int64_t max_queued_bytes;
  bool detached; /* closed, and librdkafka had not ended in time */
} strand_producer_counts;

/* NULL and a failure ("OPTION": a property). */
strand_producer *strand_producer_open (const strand_producer_options *options,
                                       strand_failure *failure);

/* The same until it is closed and all was taken; then -1. */
int strand_producer_fd (const strand_producer *p);

bool strand_producer_is_closed (const strand_producer *p);

/* False and a failure. The record's report has 'id' (0: none), by which who
** waits for it knows it. */
bool strand_producer_send (strand_producer *p, const strand_outgoing *record,
                           int64_t id, strand_failure *failure);

/* NULL when none waits; the caller owns it (free). */
strand_delivery *strand_producer_next_delivery (strand_producer *p);
/* Nobody waits for that one any more: what failed is said in the log. */
void strand_producer_warn (strand_producer *p, const strand_delivery *report);

bool strand_producer_next_event (strand_producer *p,
                                 strand_producer_event *event);

bool strand_producer_next_log (strand_producer *p, strand_log_line *line);

/* Something that was taken is in the caller's hands, and not given on: the fd
** is readable as if it still waited. */
void strand_producer_hold (strand_producer *p, bool held);

/* The same for what the caller may keep for long: the fd becomes readable.
** 'reports' of what was taken are not given on, whether it is readable for
** them or not. 'full': the caller takes no events and lines for now, and it is
** not readable for those. */
void strand_producer_keep (strand_producer *p, bool kept, int64_t reports,
                           bool full);

/* Looks whether a token is due; until it is answered, by one of the two
** below. */
bool strand_producer_poll_oauth (strand_producer *p);

/* False and a failure ("OAUTH"). On a closed producer both do nothing. */
bool strand_producer_oauth_set (strand_producer *p, const char *token,
                                int64_t expires_ms, const char *principal,
                                strand_failure *failure);

/* The request is being answered: the fd is not readable for it meanwhile. */
void strand_producer_oauth_answering (strand_producer *p, bool on);

/* librdkafka asks again by itself, 10 s later. */
void strand_producer_oauth_fail (strand_producer *p, const char *message);

/* Waits until it is known of each of the option's topics how many partitions
** it has, or that nobody says; at most so many seconds. */
void strand_producer_await_topics (strand_producer *p, double seconds);

/* 0 and a failure ("NO_METADATA"), or their number. */
int32_t strand_producer_ask_partitions (strand_producer *p, const char *topic,
                                        strand_failure *failure);

/* Of the queue; 0: as it is. */
void strand_producer_set_bounds (strand_producer *p, int64_t max_records,
                                 int64_t max_bytes);

/* Records whose report has not been collected yet. Does not collect: so when
** this is 0, the reports of all can be taken. */
int64_t strand_producer_outstanding (const strand_producer *p);
/* Deliveries that wait to be taken. */
int64_t strand_producer_untaken (const strand_producer *p);

/* From now on nothing lingers, until nothing is outstanding: with the report
** that makes it so the flush ends, also one that nobody waits for any more. */
void strand_producer_flush_begin (strand_producer *p);

/* Somebody waits for a record, or for room in the queue: until as many have
** ended as began, nothing lingers. */
void strand_producer_hurry (strand_producer *p, bool on);

/* Waits, for callers without an event loop. What is still outstanding. Ends
** before its time when no broker can be reached. */
int64_t strand_producer_flush (strand_producer *p, double timeout);

/* Of one with a transactional_id; NULL of another. */
const strand_transaction *
strand_producer_transaction (const strand_producer *p);

/* Goes on towards the goal, which is none that strand_transaction_misuse
** speaks of, and never waits, but for librdkafka's queues to be emptied (1 s).
** 1: it is reached. 0: not yet: the fd tells when to call again; what waits for
** brokers does so until 'deadline' (clock.h). -1: 'error' says why not. */
int strand_producer_transact (strand_producer *p, strand_transaction_goal goal,
                              double deadline,
                              strand_transaction_error *error);

/* Why what is out may not end: what is known of brokers, topics and leaders; ""
** if nothing is. */
void strand_producer_obstacle (strand_producer *p,
                               char text[STRAND_DELIVERY_TEXT]);

/* Aborts what is open, and waits for that; for one that nobody closed: so what
** waits to be taken is given up. */
void strand_producer_end_transaction (strand_producer *p, double deadline);

/* Purges what is outstanding, collects the last reports and lets the client
** go. What is there to be taken stays. Twice is fine. */
void strand_producer_close (strand_producer *p, double timeout);

/* The same without waiting, in three steps, and then close. True: nothing is
** outstanding; else it is to be asked again, when the fd is readable and a
** tenth of a second later. */
bool strand_producer_purge_begin (strand_producer *p);
/* The client ends: the fd is readable when it has. */
void strand_producer_end_begin (strand_producer *p);
bool strand_producer_end_done (strand_producer *p);

/* From now on it is an event loop's: strand_producer_transact does not wait for
** what it purges, nor for a client to end. */
void strand_producer_enter_loop (strand_producer *p);

/* For a producer that nobody closed: flushes, and closes, in 'timeout' seconds
** and no more. Where records are out and all brokers were down, one has
** 'patience' seconds to prove that it is there after all; false: none did. */
bool strand_producer_discard (strand_producer *p, double timeout,
                              double patience);

/* Looks first what librdkafka has reported. */
void strand_producer_refresh_counts (strand_producer *p,
                                     strand_producer_counts *counts);

/* Closes first, without waiting, if nobody did. Accepts NULL. */
void strand_producer_free (strand_producer *p);

#endif
