/*
** outgoing.h - a record that is sent
**
** Thread: any.
*/
#ifndef STRAND_OUTGOING_H
#define STRAND_OUTGOING_H

#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "producer/producer_conf.h"

typedef struct strand_outgoing_header {
  const char *name;
  size_t name_length;
  const void *value; /* NULL: null */
  size_t value_length;
} strand_outgoing_header;

/* Everything is borrowed until strand_producer_send returns. */
typedef struct strand_outgoing {
  const char *topic;
  const void *key; /* NULL: null, not empty */
  size_t key_length;
  const void *value;
  size_t value_length;
  const strand_outgoing_header *headers;
  size_t header_count;
  int64_t timestamp_ms; /* 0: now */
  int32_t partition;    /* -1: by hash_key or key */
  const void *hash_key; /* NULL: hash the key */
  size_t hash_key_length;
  int64_t timeout_us; /* of strand_producer_send; 0: none of its own */
} strand_outgoing;

/* Of a time in seconds, which may be 0: that is over at once. */
static inline int64_t strand_outgoing_timeout_us (double seconds) {
  return (int64_t)(seconds * 1e6) + 1;
}

/* What a record takes of the queue's bound, */
static inline size_t strand_outgoing_size (const strand_outgoing *record) {
  return record->key_length + record->value_length;
}

/* and the same of it, when it is reported. */
static inline size_t
strand_outgoing_reported_size (const rd_kafka_message_t *message) {
  return message->len + (message->key != NULL ? message->key_len : 0);
}

/* NULL for a record without headers. */
rd_kafka_headers_t *strand_outgoing_headers (const strand_outgoing *record);
/* Takes 'headers' when it worked. */
rd_kafka_resp_err_t strand_outgoing_produce (rd_kafka_t *client,
                                             const strand_outgoing *record,
                                             rd_kafka_headers_t *headers,
                                             void *opaque);
/* The same to a topic that is open, where the opaque says (placement.h). */
rd_kafka_resp_err_t strand_outgoing_produce_to (rd_kafka_t *client,
                                                rd_kafka_topic_t *topic,
                                                const strand_outgoing *record,
                                                rd_kafka_headers_t *headers,
                                                void *opaque);

/* Bytes of a batch with this record alone, not compressed: no fewer. */
int64_t strand_outgoing_bytes (const strand_outgoing *record);

/* Why that did not work. */
void strand_outgoing_fail (rd_kafka_t *client, rd_kafka_resp_err_t err,
                           const strand_outgoing *record,
                           const strand_producer_limits *limits,
                           strand_failure *failure);

#endif
