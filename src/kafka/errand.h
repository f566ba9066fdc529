/*
** errand.h - what a producer must have done without waiting for it
**
** Calls of librdkafka wait and have no other form: rd_kafka_metadata, which
** tells how many partitions a topic has, rd_kafka_flush, which sends without
** lingering for as long as it lasts, and what is asked when records are out
** for too long. One thread makes them, started with the first errand; a
** producer that has sent a record has one, for it reminds of those.
**
**   partitions known    asked for again when older than a minute; the old
**                       number is given meanwhile
**   reminder            wakes the producer once, when nobody else would
**   stalled             what keeps partitions from taking records; 8 s at
**                       most, ended early by a question for partitions.
**                       Meanwhile a flush does not hasten
**
** Thread: lua asks and the thread of the errands answers: one mutex, and no
** call of librdkafka under it.
*/
#ifndef STRAND_ERRAND_H
#define STRAND_ERRAND_H

#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "core/err.h"

#define STRAND_ERRAND_FRESH 60.0 /* seconds */

typedef struct strand_errand strand_errand;

/* Borrows 'client' until strand_errand_free; writes to 'wake_fd', an eventfd
** or -1, when an answer has come. NULL when memory runs out. */
strand_errand *strand_errand_new (rd_kafka_t *client, int wake_fd);

/* No errand begins after this. Does not wait. */
void strand_errand_stop (strand_errand *errand);

/* Waits for the call that is under way: 5 s at most (of 'stalled': 1 s). */
void strand_errand_free (strand_errand *errand);

/* The number of partitions, or 0 and a failure: "NO_METADATA" while it is not
** known; then it has been asked for. */
int32_t strand_errand_ask_partitions (strand_errand *errand, const char *topic,
                                      strand_failure *failure);

/* The number is doubtful: a partition turned out not to exist. */
void strand_errand_doubt (strand_errand *errand, const char *topic);

/* Waits until each topic that was asked for has been answered, well or not,
** or until the deadline (clock.h). */
void strand_errand_wait (strand_errand *errand, double deadline);

/* Sends without lingering until told to end; while something is outstanding,
** since a flush of nothing returns at once. Whether it does: without a thread
** records linger. */
int strand_errand_flush (strand_errand *errand, int on);

/* At 'at_us' (strand_clock_us; 0: never) 'wake_fd' is written to, once. Without
** a thread it is not. */
void strand_errand_remind (strand_errand *errand, int64_t at_us);

/* That came to pass, since this was asked last. */
int strand_errand_take_reminder (strand_errand *errand);

/* Asks what is in the way of records that are out; see leaders.h. 0: without
** a thread it is not asked. */
int strand_errand_ask_stalled (strand_errand *errand);

/* 0: not answered yet. Else the error, or the caller's list. */
int strand_errand_take_stalled (strand_errand *errand,
                                rd_kafka_resp_err_t *err,
                                rd_kafka_topic_partition_list_t **list);

#endif
