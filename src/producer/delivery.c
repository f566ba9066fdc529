/*
** delivery.c - what became of a record that was sent
*/
#include "producer/delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "kafka/placement.h"
#include "producer/outgoing.h"

strand_delivery_end
strand_delivery_end_of (const rd_kafka_message_t *message) {
  return (strand_delivery_end){
    .err = message->err,
    .detail = "",
    .certain = message->err != RD_KAFKA_RESP_ERR_NO_ERROR
               && rd_kafka_message_status(message)
                    == RD_KAFKA_MSG_STATUS_NOT_PERSISTED,
    .topic = rd_kafka_topic_name(message->rkt),
    .partition = message->partition >= 0
                   ? message->partition
                   : strand_placement_picked(message->_private),
    .offset = message->offset,
    .message = message,
    .key = message->key,
    .key_length = message->key != NULL ? message->key_len : 0,
    .size = strand_outgoing_reported_size(message),
    .opaque = message->_private,
  };
}

static void set_failed (strand_delivery *report, rd_kafka_resp_err_t err,
                        const char *error, const char *detail) {
  char *text = report->room + STRAND_DELIVERY_CODE;
  strand_code_of(err, report->room, STRAND_DELIVERY_CODE);
  report->err = err;
  report->code = report->room;
  report->error = error;
  if (detail[0] == '\0') return;
  snprintf(text, STRAND_DELIVERY_TEXT, "%s (%s)", error, detail);
  report->error = text;
}

#define ERROR_ROOM (STRAND_DELIVERY_CODE + STRAND_DELIVERY_TEXT)

/* With 'room' bytes for an error. */
static strand_delivery *report_of (const char *topic, const void *key,
                                   size_t key_length, size_t room) {
  size_t name_size = strlen(topic) + 1;
  strand_delivery *report = malloc(sizeof(*report) + name_size + key_length
                                   + room);
  if (report == NULL) return NULL;
  *report = (strand_delivery){
    .partition = -1,
    .offset = -1,
    .timestamp_ms = -1,
    .latency_us = -1,
    .code = "",
    .topic = report->bytes,
  };
  memcpy(report->bytes, topic, name_size);
  if (room > 0) report->room = report->bytes + name_size + key_length;
  if (key == NULL) return report;
  if (key_length > 0) memcpy(report->bytes + name_size, key, key_length);
  report->key = report->bytes + name_size;
  report->key_length = key_length;
  return report;
}

strand_delivery *strand_delivery_open (const char *topic, const void *key,
                                       size_t key_length) {
  return report_of(topic, key, key_length, ERROR_ROOM);
}

void strand_delivery_fill (strand_delivery *report,
                           const strand_delivery_end *end) {
  report->partition = end->partition;
  report->offset = end->offset;
  report->latency_us = end->latency_us;
  if (end->message != NULL) {
    report->timestamp_ms = rd_kafka_message_timestamp(end->message, NULL);
    report->latency_us = rd_kafka_message_latency(end->message);
  }
  if (end->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  set_failed(report, end->err,
             end->error != NULL ? end->error : rd_kafka_err2str(end->err),
             end->detail);
  report->certain = end->certain;
}

void strand_delivery_time_out (strand_delivery *report, const char *detail) {
  set_failed(report, RD_KAFKA_RESP_ERR__TIMED_OUT,
             "not acknowledged within its timeout; it may still be", detail);
}

void strand_delivery_abort (strand_delivery *report) {
  if (strand_error_kind_of(report->err) != STRAND_ERROR_PURGED) return;
  report->code = "ABORTED";
  report->error = report->certain
                    ? "the transaction was aborted before the record was sent"
                    : "the transaction was aborted before the record was "
                      "acknowledged";
}

strand_delivery *strand_delivery_new (const strand_delivery_end *end) {
  bool failed = end->err != RD_KAFKA_RESP_ERR_NO_ERROR;
  strand_delivery *report = report_of(end->topic, end->key, end->key_length,
                                      failed ? ERROR_ROOM : 0);
  if (report != NULL) strand_delivery_fill(report, end);
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
  snprintf(event.code, sizeof(event.code), "%s", report->code);
  strand_warnings_take(warnings, &event, strand_clock_us());
  strand_event_clear(&event);
}
