/*
** outgoing.c - a record that is sent
*/
#include "kafka/outgoing.h"

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

rd_kafka_resp_err_t strand_outgoing_produce (rd_kafka_t *client,
                                             const strand_outgoing *record,
                                             rd_kafka_headers_t *headers,
                                             void *opaque) {
  return rd_kafka_producev(
    client, RD_KAFKA_V_TOPIC(record->topic),
    RD_KAFKA_V_PARTITION(record->partition),
    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
    RD_KAFKA_V_KEY(record->key, record->key_length),
    RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value, record->value_length),
    RD_KAFKA_V_TIMESTAMP(record->timestamp_ms), RD_KAFKA_V_HEADERS(headers),
    RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
}
