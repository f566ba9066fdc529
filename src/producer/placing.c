/*
** placing.c - where records go, and what keeps them from there; see producer.h
*/
#include <stdio.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "producer/producer_own.h"

/* A batch of one record that is not compressed is no smaller than that: so no
** broker would take it. */
static bool is_too_large (const strand_producer *p,
                          const strand_cached_topic *t,
                          const strand_outgoing *record,
                          strand_failure *failure) {
  int64_t limit = strand_topic_watch_limit(&p->watch, t);
  int64_t bytes;
  if (limit == 0 || p->limits.compressed) return false;
  bytes = strand_outgoing_bytes(record);
  if (bytes <= limit) return false;
  strand_fail(failure, "MSG_SIZE_TOO_LARGE",
              "topic '%.249s': the record, of %lld bytes, is larger than the "
              "topic's 'max.message.bytes' (%lld)",
              record->topic, (long long)bytes, (long long)limit);
  strand_calls_want_limit(p->client->calls, (strand_cached_topic *)t, true);
  return true;
}

strand_cached_topic *strand_placing_begin (strand_producer *p,
                                           const strand_outgoing *record,
                                           strand_delivery_ticket *ticket,
                                           strand_failure *failure) {
  strand_cached_topic *t = strand_topic_watch_use(&p->watch, p->client->calls,
                                                  record->topic, failure);
  if (t == NULL || is_too_large(p, t, record, failure)) return NULL;
  if (record->partition >= 0) {
    ticket->by = STRAND_PLACED_BY_PARTITION;
    ticket->where = (uint32_t)record->partition;
  }
  else if (record->hash_key != NULL) {
    strand_placement_hash(p->client->placement.which, record->hash_key,
                          record->hash_key_length, ticket);
  }
  return t;
}

static rd_kafka_resp_err_t defer (strand_producer *p, strand_cached_topic *t,
                                  const strand_outgoing *record,
                                  rd_kafka_headers_t *headers, void *opaque) {
  strand_pending_report *pending = strand_pending_report_of(opaque);
  strand_deferred_record *r = strand_deferred_add(
    &p->deferred, t, record, headers, opaque, strand_clock_us(),
    pending != NULL ? pending->due_us : 0);
  if (r == NULL) return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
  if (pending != NULL) pending->kept = r;
  if (record->partition >= 0)
    strand_calls_want(p->client->calls, t, record->partition + 1);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* What librdkafka did not take now, and may take later. */
static bool is_to_wait (strand_producer *p, const strand_outgoing *record,
                        rd_kafka_resp_err_t err) {
  switch (err) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return record->partition >= 0;
    case RD_KAFKA_RESP_ERR__FATAL: return strand_recovery_noted(p);
    default: return false;
  }
}

rd_kafka_resp_err_t strand_placing_produce (strand_producer *p,
                                            strand_cached_topic *t,
                                            const strand_outgoing *record,
                                            rd_kafka_headers_t *headers,
                                            void *opaque) {
  rd_kafka_resp_err_t err;
  if (strand_deferred_must(&p->deferred, &p->watch, t, record->partition))
    return defer(p, t, record, headers, opaque);
  err = strand_outgoing_produce_to(p->client->handle, t->handle, record,
                                   headers, opaque);
  if (!is_to_wait(p, record, err)) return err;
  return defer(p, t, record, headers, opaque);
}

void strand_placing_refused (strand_producer *p, strand_cached_topic *t,
                             rd_kafka_resp_err_t err) {
  if (strand_error_kind_of(err) == STRAND_ERROR_MISSING)
    strand_calls_want(p->client->calls, t, 1);
}

/*
** What ended
*/

/* Its partition is not there, or not known. */
static void explain_partition (const strand_cached_topic *t,
                               const strand_delivery_end *end, char *text) {
  int32_t count = strand_topic_place_count(t->place);
  if (end->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
      || (count > 0 && end->partition >= count))
    snprintf(text, STRAND_DELIVERY_TEXT, "the topic has %d partitions",
             (int)count);
}

void strand_placing_explain (strand_producer *p, strand_delivery_end *end,
                             char text[STRAND_DELIVERY_TEXT]) {
  strand_calls *calls = p->client->calls;
  strand_failure failure;
  strand_cached_topic *t = strand_calls_topic(calls, end->topic, &failure);
  if (t == NULL) return;
  text[0] = '\0';
  switch (strand_error_kind_of(end->err)) {
    case STRAND_ERROR_TOO_LARGE:
      strand_calls_want_limit(calls, t, true);
      if (strand_topic_watch_limit(&p->watch, t) > 0)
        snprintf(text, STRAND_DELIVERY_TEXT,
                 "the topic's max.message.bytes is %lld",
                 (long long)strand_topic_watch_limit(&p->watch, t));
      break;
    case STRAND_ERROR_MISSING:
      strand_calls_verify(calls, end->topic);
      explain_partition(t, end, text);
      break;
    case STRAND_ERROR_UNREACHABLE:
      explain_partition(t, end, text);
      if (text[0] == '\0') strand_placing_obstacle(p, end->topic, text);
      break;
    default: break;
  }
  end->detail = text;
}

void strand_placing_obstacle (strand_producer *p, const char *topic,
                              char text[STRAND_DELIVERY_TEXT]) {
  strand_failure ignored;
  const strand_cached_topic *t = strand_calls_topic(p->client->calls, topic,
                                                    &ignored);
  strand_producer_cause(p, text);
  if (t != NULL && strand_topic_watch_is_missing(&p->watch, t))
    snprintf(text, STRAND_DELIVERY_TEXT, "the topic does not exist");
}

void strand_producer_obstacle (strand_producer *p,
                               char text[STRAND_DELIVERY_TEXT]) {
  const strand_cached_topic *t;
  const char *reason;
  text[0] = '\0';
  if (p->client == NULL) return;
  strand_producer_cause(p, text);
  if (p->bounds.records == 0) return;
  reason = strand_unacked_reason(&p->unacked);
  if (reason != NULL && text[0] == '\0')
    snprintf(text, STRAND_DELIVERY_TEXT, "%s", reason);
  for (t = strand_calls_topics(p->client->calls); t != NULL; t = t->next)
    if (strand_topic_watch_is_missing(&p->watch, t))
      snprintf(text, STRAND_DELIVERY_TEXT, "topic '%.150s' does not exist",
               t->name);
}

static void end_deferred (strand_producer *p, strand_deferred_record *r,
                          rd_kafka_resp_err_t err, int64_t now_us) {
  char text[STRAND_DELIVERY_TEXT];
  strand_delivery_end end = strand_deferred_end_of(r, err, now_us);
  strand_deferred_remove(&p->deferred, r);
  strand_placing_explain(p, &end, text);
  strand_producer_ended(p, &end);
  if (p->transactional) strand_producer_unsent(p, &end);
  strand_deferred_free(r);
}

/* librdkafka's queue has room: its bounds are above ours. */
static void go_on (strand_producer *p, strand_deferred_record *r,
                   int64_t now_us) {
  rd_kafka_resp_err_t err = strand_outgoing_produce_to(
    p->client->handle, r->topic->handle, &r->outgoing, r->headers, r->opaque);
  strand_pending_report *pending = strand_pending_report_of(r->opaque);
  if (err == RD_KAFKA_RESP_ERR__FATAL && strand_recovery_noted(p))
    return; /* all are held */
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    end_deferred(p, r, err, now_us);
    return;
  }
  if (pending != NULL) pending->kept = NULL;
  strand_deferred_remove(&p->deferred, r);
  r->headers = NULL;
  strand_deferred_free(r);
}

bool strand_placing_expire (strand_producer *p, int64_t now_us) {
  strand_pending_report *pending = strand_pending_reports_overdue(
    &p->deliveries.pending, now_us);
  strand_deferred_record *r = pending != NULL ? pending->kept : NULL;
  if (r == NULL) return false;
  end_deferred(
    p, r, strand_deferred_overdue(&p->deferred, r, p->client->calls), now_us);
  return true;
}

void strand_placing_turn (strand_producer *p, int64_t now_us) {
  strand_calls *calls = p->client->calls;
  strand_deferred_record *r;
  rd_kafka_resp_err_t err;
  if (strand_topic_watch_turn(&p->watch, calls, &p->client->placement,
                              &p->events, p->log))
    strand_deferred_answered(&p->deferred);
  while (
    (r = strand_deferred_next(&p->deferred, &p->watch, calls, now_us, &err))
    != NULL) {
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) end_deferred(p, r, err, now_us);
    else go_on(p, r, now_us);
  }
}

void strand_placing_give_up (strand_producer *p, rd_kafka_resp_err_t err) {
  int64_t now_us = strand_clock_us();
  strand_deferred_record *r;
  while ((r = strand_deferred_first(&p->deferred)) != NULL)
    end_deferred(p, r, err, now_us);
}

void strand_placing_purge (strand_producer *p) {
  strand_placing_give_up(p, RD_KAFKA_RESP_ERR__PURGE_QUEUE);
}

/*
** Questions
*/

int32_t strand_producer_ask_partitions (strand_producer *p, const char *topic,
                                        strand_failure *failure) {
  return strand_calls_ask_partitions(p->client->calls, topic, failure);
}

void strand_producer_await_topics (strand_producer *p, double seconds) {
  if (p->client == NULL) return;
  strand_calls_wait(p->client->calls, strand_clock_now() + seconds);
}
