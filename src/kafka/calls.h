/*
** calls.h - calls of librdkafka that wait, made for a client that does not
**
** Some have no other form: rd_kafka_metadata, which tells how many partitions
** a topic has, rd_kafka_flush, which sends without lingering for as long as it
** lasts, and what is asked when records are out for too long. One thread makes
** them, started with the first call; a producer that has sent a record has
** one, for it reminds of those.
**
**   partitions known    see topic_cache.h
**   limit known         see topic_limit.h; of topics that are sent to
**   reminder            wakes the producer once, when nobody else would
**   stalled             what keeps partitions from taking records; 8 s at
**                       most, ended early by a question for partitions.
**                       Meanwhile a flush does not hasten
**
** Invariants:
**   (1) There is a list of what is stalled only with an answer to take.
**   (2) Something is wanted of the thread only when there is one.
**
** Thread: lua or owner, always the same one, asks, and the thread of the calls
** answers: one mutex, under which nothing is allocated, no thread started and
** librdkafka not called.
*/
#ifndef STRAND_CALLS_H
#define STRAND_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "kafka/topic_cache.h"

typedef struct strand_calls strand_calls;

/* Borrows 'client' until strand_calls_free, and 'placement', which gets the
** places of topics, for as long as the client lives; writes to 'wake_fd', an
** eventfd or -1, when an answer has come. NULL when memory runs out. */
strand_calls *strand_calls_new (rd_kafka_t *client, int wake_fd,
                                strand_placement *placement);

/* No call begins after this. Does not wait. */
void strand_calls_stop (strand_calls *calls);

/* Waits for the call that is under way: 5 s at most (of 'stalled': 1 s).
** Accepts NULL. */
void strand_calls_free (strand_calls *calls);

/* The topic, of which no question has been asked yet when it is new; it stays
** until strand_calls_free. NULL and a failure. */
strand_cached_topic *strand_calls_topic (strand_calls *calls,
                                         const char *topic,
                                         strand_failure *failure);
/* All topics, by 'next', the newest first: for what does not change. */
strand_cached_topic *strand_calls_topics (const strand_calls *calls);
/* What is known of it. */
void strand_calls_facts (strand_calls *calls, const strand_cached_topic *topic,
                         strand_topic_facts *answer);
/* Some answer has come, since this was asked last. */
bool strand_calls_take_answered (strand_calls *calls);

/* It is sent to, and is not known to have so many partitions: it is asked for,
** now or soon, and again until it is, or nobody has wanted it for a while. */
void strand_calls_want (strand_calls *calls, strand_cached_topic *topic,
                        int32_t partitions);
/* Its limit is asked for, once its partitions are known: the first time, and
** again where it is to be verified, every 10 s at most. */
void strand_calls_want_limit (strand_calls *calls, strand_cached_topic *topic,
                              bool verify);

/* The number of partitions, or 0 and a failure: "NO_METADATA" while it is not
** known; then it has been asked for. */
int32_t strand_calls_ask_partitions (strand_calls *calls, const char *topic,
                                     strand_failure *failure);

/* The same of each; waits for the answers, at most so many seconds. */
void strand_calls_ask_all (strand_calls *calls, const char *const *topics,
                           size_t count, double seconds);

/* The number is doubtful: a partition turned out not to exist. */
void strand_calls_verify (strand_calls *calls, const char *topic);

/* Waits until each topic that was asked for has been answered, well or not,
** or until the deadline (clock.h). */
void strand_calls_wait (strand_calls *calls, double deadline);

/* Sends without lingering until told to end; while something is outstanding,
** since a flush of nothing returns at once. Whether it does: without a thread
** records linger. */
bool strand_calls_flush (strand_calls *calls, bool on);

/* At 'at_us' (strand_clock_us; 0: never) 'wake_fd' is written to, once. Without
** a thread it is not. */
void strand_calls_remind (strand_calls *calls, int64_t at_us);

/* That came to pass, since this was asked last. */
bool strand_calls_take_reminder (strand_calls *calls);

/* Asks what is in the way of records that are out; see leaders.h. False:
** without a thread it is not asked. */
bool strand_calls_ask_stalled (strand_calls *calls);

/* False: not answered yet. Else the error, or the caller's list. */
bool strand_calls_take_stalled (strand_calls *calls, rd_kafka_resp_err_t *err,
                                rd_kafka_topic_partition_list_t **list);

#endif
