/*
** outgoing.c - a record that is sent
*/
#include "producer/outgoing.h"

#include <stdio.h>

#include "kafka/errors.h"
#include "kafka/topic_limit.h"

rd_kafka_headers_t *strand_outgoing_headers (const strand_outgoing *record) {
  rd_kafka_headers_t *headers;
  size_t i;
  if (record->header_count == 0) return NULL;
  headers = rd_kafka_headers_new(record->header_count);
  for (i = 0; i < record->header_count; i++) {
    const strand_outgoing_header *h = &record->headers[i];
    rd_kafka_header_add(headers, h->name, (ssize_t)h->name_length, h->value,
                        (ssize_t)h->value_length);
  }
  return headers;
}

/* librdkafka copies it. */
static void *value_of (const strand_outgoing *record) {
  return (void *)(uintptr_t)record->value;
}

rd_kafka_resp_err_t strand_outgoing_produce (rd_kafka_t *client,
                                             const strand_outgoing *record,
                                             rd_kafka_headers_t *headers,
                                             void *opaque) {
  return rd_kafka_producev(
    client, RD_KAFKA_V_TOPIC(record->topic),
    RD_KAFKA_V_PARTITION(record->partition),
    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
    RD_KAFKA_V_KEY(record->key, record->key_length),
    RD_KAFKA_V_VALUE(value_of(record), record->value_length),
    RD_KAFKA_V_TIMESTAMP(record->timestamp_ms), RD_KAFKA_V_HEADERS(headers),
    RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
}

/* With nothing beside key and value, as nearly all are: librdkafka reads no
** list of arguments for it, and counts no further user of the topic. */
static rd_kafka_resp_err_t produce_bare (rd_kafka_topic_t *topic,
                                         const strand_outgoing *record,
                                         void *opaque) {
  if (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
                       value_of(record), record->value_length, record->key,
                       record->key_length, opaque)
      == 0)
    return RD_KAFKA_RESP_ERR_NO_ERROR;
  return rd_kafka_last_error();
}

rd_kafka_resp_err_t strand_outgoing_produce_to (rd_kafka_t *client,
                                                rd_kafka_topic_t *topic,
                                                const strand_outgoing *record,
                                                rd_kafka_headers_t *headers,
                                                void *opaque) {
  if (headers == NULL && record->timestamp_ms == 0)
    return produce_bare(topic, record, opaque);
  return rd_kafka_producev(
    client, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
    RD_KAFKA_V_KEY(record->key, record->key_length),
    RD_KAFKA_V_VALUE(value_of(record), record->value_length),
    RD_KAFKA_V_TIMESTAMP(record->timestamp_ms), RD_KAFKA_V_HEADERS(headers),
    RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
}

int64_t strand_outgoing_bytes (const strand_outgoing *record) {
  int64_t bytes = (int64_t)(record->key_length + record->value_length);
  for (size_t i = 0; i < record->header_count; i++) {
    const strand_outgoing_header *h = &record->headers[i];
    bytes += (int64_t)(h->name_length + h->value_length);
  }
  return strand_batch_bytes(bytes, (int64_t)record->header_count);
}

void strand_outgoing_fail (rd_kafka_t *client, rd_kafka_resp_err_t err,
                           const strand_outgoing *record,
                           const strand_producer_limits *limits,
                           strand_failure *failure) {
  char text[300];
  if (err == RD_KAFKA_RESP_ERR__FATAL) {
    err = rd_kafka_fatal_error(client, text, sizeof(text));
    strand_fail_kafka(failure, err, "the producer cannot go on");
  }
  else if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
    strand_fail(failure, "MSG_SIZE_TOO_LARGE",
                "topic '%.249s': the record is "
                "larger than 'message.max.bytes' (%s)",
                record->topic, limits->max_message_bytes);
  }
  else {
    snprintf(text, sizeof(text), "topic '%.249s'", record->topic);
    strand_fail_kafka(failure, err, text);
  }
}
