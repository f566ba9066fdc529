/*
** errand.h - what a producer must have done without waiting for it
**
** Two calls of librdkafka wait and have no other form: rd_kafka_metadata,
** which tells how many partitions a topic has, and rd_kafka_flush, which
** sends without lingering for as long as it lasts. One thread makes them,
** started when the first is needed; without a Lua partitioner and with the
** usual linger.ms there is none.
**
**   partitions known    asked for again when older than a minute; the old
**                       number is given meanwhile
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

/* Waits for the call that is under way: 5 s at most. */
void strand_errand_free (strand_errand *errand);

/* The number of partitions, or 0 and a failure: "NO_METADATA" while it is not
** known; then it has been asked for. */
int32_t strand_errand_partitions (strand_errand *errand, const char *topic,
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

#endif
