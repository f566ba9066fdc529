/*
** producer_events.c - what a producer tells, until it is taken
*/
#include "producer/producer_events.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"

/* NULL for what librdkafka says in passing and mends by itself. */
static const char *event_type (rd_kafka_resp_err_t err) {
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_UNREACHABLE:
      return err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ? "unreachable" : NULL;
    case STRAND_ERROR_UNAUTHENTICATED:
    case STRAND_ERROR_UNAUTHORIZED: return "auth_failed";
    default: return "error";
  }
}

static strand_producer_event *slot_of (strand_producer_events *e) {
  if (e->count == STRAND_PRODUCER_EVENTS_MAX) {
    e->first = (e->first + 1) % STRAND_PRODUCER_EVENTS_MAX;
    e->count--;
    e->dropped++;
  }
  return &e->ring[(e->first + e->count++) % STRAND_PRODUCER_EVENTS_MAX];
}

strand_producer_event *strand_producer_events_add (strand_producer_events *e,
                                                   const char *type,
                                                   const char *topic,
                                                   rd_kafka_resp_err_t err) {
  strand_producer_event *slot = slot_of(e);
  *slot = (strand_producer_event){ .type = type,
                                   .time = strand_clock_wall(),
                                   .partition = -1 };
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
    strand_code_of(err, slot->code, sizeof(slot->code));
  snprintf(slot->topic, sizeof(slot->topic), "%s", topic);
  return slot;
}

bool strand_producer_events_take (strand_producer_events *e,
                                  rd_kafka_event_t *event) {
  const char *text = rd_kafka_event_error_string(event);
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  const char *type = event_type(err);
  bool down = err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
  strand_producer_event *slot;
  if (type == NULL) return false;
  slot = strand_producer_events_add(e, type, "", err);
  strand_log_escape(slot->reason, sizeof(slot->reason), text, strlen(text));
  return down;
}

void strand_producer_events_tell (strand_producer_events *e, strand_log *log,
                                  const strand_obstacle *obstacle) {
  strand_producer_event *slot = strand_producer_events_add(
    e, obstacle->type, obstacle->topic, obstacle->err);
  slot->partition = obstacle->partition;
  snprintf(slot->reason, sizeof(slot->reason), "%s", obstacle->reason);
  strand_log_printf(log, STRAND_LOG_WARNING, "strand",
                    "records wait: %s: %s (%s)", obstacle->type,
                    obstacle->reason, slot->code);
}

static strand_producer_event *add_failed (strand_producer_events *e,
                                          const char *type,
                                          const strand_failure *failure) {
  strand_producer_event *slot = strand_producer_events_add(
    e, type, "", RD_KAFKA_RESP_ERR_NO_ERROR);
  snprintf(slot->code, sizeof(slot->code), "%s", failure->code);
  snprintf(slot->reason, sizeof(slot->reason), "%.256s", failure->message);
  return slot;
}

void strand_producer_events_ended (strand_producer_events *e, strand_log *log,
                                   const strand_failure *failure) {
  strand_producer_event *slot = add_failed(e, "error", failure);
  slot->fatal = true;
  strand_log_printf(log, STRAND_LOG_WARNING, "strand",
                    "the producer is at its end: %s (%s)", slot->reason,
                    slot->code);
}

void strand_producer_events_renewed (strand_producer_events *e,
                                     strand_log *log,
                                     const strand_failure *failure) {
  strand_producer_event *slot = add_failed(e, "renewed", failure);
  strand_log_printf(log, STRAND_LOG_WARNING, "strand",
                    "the producer's client was replaced: %s (%s)",
                    slot->reason, slot->code);
}

bool strand_producer_events_pop (strand_producer_events *e,
                                 strand_producer_event *event) {
  if (e->count == 0) return false;
  *event = e->ring[e->first];
  e->first = (e->first + 1) % STRAND_PRODUCER_EVENTS_MAX;
  e->count--;
  return true;
}

void strand_producer_events_check (const strand_producer_events *e) {
  (void)e;
  assert(e->count >= 0 && e->count <= STRAND_PRODUCER_EVENTS_MAX); /* (1) */
  assert(e->first >= 0 && e->first < STRAND_PRODUCER_EVENTS_MAX);  /* (1) */
}
