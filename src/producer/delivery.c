/*
** delivery.c - what became of a record that was sent
*/
#include "producer/delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"

static void set_failed (strand_delivery *report, rd_kafka_resp_err_t err,
                        const char *error) {
  report->err = err;
  report->error = error;
  strand_code_of(err, report->code, sizeof(report->code));
}

strand_delivery *strand_delivery_open (const char *topic, const void *key,
                                       size_t key_length) {
  size_t name_size = strlen(topic) + 1;
  strand_delivery *report = calloc(1,
                                   sizeof(*report) + name_size + key_length);
  if (report == NULL) return NULL;
  report->partition = -1;
  report->offset = report->timestamp_ms = report->latency_us = -1;
  memcpy(report->bytes, topic, name_size);
  report->topic = report->bytes;
  if (key == NULL) return report;
  if (key_length > 0) memcpy(report->bytes + name_size, key, key_length);
  report->key = report->bytes + name_size;
  report->key_length = key_length;
  return report;
}

void strand_delivery_fill (strand_delivery *report,
                           const rd_kafka_message_t *message) {
  report->partition = message->partition;
  report->offset = message->offset;
  report->timestamp_ms = rd_kafka_message_timestamp(message, NULL);
  report->latency_us = rd_kafka_message_latency(message);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  set_failed(report, message->err, rd_kafka_err2str(message->err));
  report->certain = rd_kafka_message_status(message)
                    == RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
}

void strand_delivery_time_out (strand_delivery *report) {
  set_failed(report, RD_KAFKA_RESP_ERR__TIMED_OUT,
             "not acknowledged within its timeout; it may still be");
}

void strand_delivery_abort (strand_delivery *report) {
  if (strand_error_kind_of(report->err) != STRAND_ERROR_PURGED) return;
  snprintf(report->code, sizeof(report->code), "ABORTED");
  report->error = "the transaction was aborted before the record was sent";
}

strand_delivery *strand_delivery_new (const rd_kafka_message_t *message) {
  strand_delivery *report = strand_delivery_open(
    rd_kafka_topic_name(message->rkt), message->key,
    message->key != NULL ? message->key_len : 0);
  if (report != NULL) strand_delivery_fill(report, message);
  return report;
}

void strand_delivery_warn (strand_warnings *warnings,
                           const strand_delivery *report) {
  strand_event event;
  if (report->code[0] == '\0'
      || strand_error_kind_of(report->err) == STRAND_ERROR_PURGED)
    return;
  event = strand_event_of("not_delivered", -1);
  strand_event_set_topic(&event, report->topic, report->partition);
  if (report->key != NULL)
    strand_event_set_key(&event, report->key, report->key_length);
  strand_event_set_reason(&event, report->error, strlen(report->error));
  memcpy(event.code, report->code, sizeof(event.code));
  strand_warnings_take(warnings, &event, strand_clock_us());
  strand_event_clear(&event);
}
