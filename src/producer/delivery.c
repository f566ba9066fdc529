/*
** delivery.c - what became of a record that was sent
*/
#include "producer/delivery.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"

strand_delivery *strand_delivery_room (const char *topic, size_t key_length) {
  return calloc(1,
                sizeof(strand_delivery) + strlen(topic) + 1 + key_length + 1);
}

void strand_delivery_fill (strand_delivery *report,
                           const rd_kafka_message_t *message) {
  const char *topic = rd_kafka_topic_name(message->rkt);
  size_t name_size = strlen(topic) + 1;
  size_t key_length = message->key != NULL ? message->key_len : 0;
  report->partition = message->partition;
  report->offset = message->offset;
  report->timestamp_ms = rd_kafka_message_timestamp(message, NULL);
  memcpy(report->bytes, topic, name_size);
  report->topic = report->bytes;
  if (message->key != NULL) {
    memcpy(report->bytes + name_size, message->key, key_length);
    report->key = report->bytes + name_size;
    report->key_length = key_length;
  }
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    strand_code_of(message->err, report->code, sizeof(report->code));
    report->error = rd_kafka_err2str(message->err);
  }
}

strand_delivery *strand_delivery_new (const rd_kafka_message_t *message) {
  size_t key_length = message->key != NULL ? message->key_len : 0;
  strand_delivery *report = strand_delivery_room(
    rd_kafka_topic_name(message->rkt), key_length);
  if (report != NULL) strand_delivery_fill(report, message);
  return report;
}

void strand_delivery_warn (strand_warnings *warnings,
                           const rd_kafka_message_t *message) {
  const char *reason = rd_kafka_err2str(message->err);
  strand_event event;
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR
      || strand_error_kind_of(message->err) == STRAND_ERROR_PURGED)
    return;
  event = strand_event_of("not_delivered", -1);
  strand_event_set_topic(&event, rd_kafka_topic_name(message->rkt),
                         message->partition);
  if (message->key != NULL)
    strand_event_set_key(&event, message->key, message->key_len);
  strand_event_set_reason(&event, reason, strlen(reason));
  strand_code_of(message->err, event.code, sizeof(event.code));
  strand_warnings_take(warnings, &event, strand_clock_us());
  strand_event_clear(&event);
}
