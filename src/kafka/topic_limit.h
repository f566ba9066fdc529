/*
** topic_limit.h - how large a batch of records a topic takes
**
** Thread: any that may wait for a broker; that of calls.h does.
*/
#ifndef STRAND_TOPIC_LIMIT_H
#define STRAND_TOPIC_LIMIT_H

#include <stdatomic.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

/* What a batch takes at least, and a record and a header of it, beyond their
** bytes. So one that is not compressed is larger than a limit when the sum
** is. */
#define STRAND_BATCH_BYTES 61
#define STRAND_RECORD_BYTES 7
#define STRAND_HEADER_BYTES 2

/* A batch with one record takes no fewer, when it is not compressed. 'bytes':
** of its key, its value, and its headers' names and values. */
static inline int64_t strand_batch_bytes (int64_t bytes, int64_t headers) {
  return STRAND_BATCH_BYTES + STRAND_RECORD_BYTES + bytes
         + STRAND_HEADER_BYTES * headers;
}

/* The topic's max.message.bytes. 0 where nobody says: it may not be read, the
** mock cluster knows none, no broker answers in 5 s. Below 0: 'hurried' was set
** meanwhile, and it is to be asked again. */
int64_t strand_topic_limit_ask (rd_kafka_t *client, const char *topic,
                                const atomic_bool *hurried);

#endif
