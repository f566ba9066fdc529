/*
** deferred.c - see deferred.h
*/
#include "producer/deferred.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CHECKED_MOST 64

void strand_deferred_init (strand_deferred *d, int propagation_ms,
                           int timeout_ms) {
  memset(d, 0, sizeof(*d));
  d->patience_us = (int64_t)propagation_ms * 1000;
  d->timeout_us = (int64_t)timeout_ms * 1000;
  if (d->timeout_us > 0 && d->timeout_us < d->patience_us) {
    d->patience_us = d->timeout_us;
  }
}

static bool has_one (const strand_deferred *d, const strand_cached_topic *t,
                     int32_t partition) {
  const strand_deferred_record *r = d->first;
  while (r != NULL && (r->topic != t || r->outgoing.partition != partition))
    r = r->next;
  return r != NULL;
}

/* While nothing is known of a topic librdkafka keeps its records itself. */
bool strand_deferred_must (const strand_deferred *d,
                           const strand_topic_watch *watch,
                           const strand_cached_topic *t, int32_t partition) {
  int32_t count = strand_topic_watch_partitions(watch, t);
  if (d->held) return true;
  if (partition < 0) return false;
  return count > 0 ? partition >= count : has_one(d, t, partition);
}

/*
** The list
*/

static void append (strand_deferred *d, strand_deferred_record *r) {
  if (d->last != NULL) d->last->next = r;
  else d->first = r;
  d->last = r;
  d->count++;
}

/* 'before' is NULL for the first. */
static strand_deferred_record *take_out (strand_deferred *d,
                                         strand_deferred_record *before) {
  strand_deferred_record **link = before != NULL ? &before->next : &d->first;
  strand_deferred_record *r = *link;
  *link = r->next;
  if (d->last == r) d->last = before;
  d->looked_at = before;
  r->next = NULL;
  d->count--;
  return r;
}

static void copy_bytes (strand_deferred_record *r,
                        const strand_outgoing *record) {
  unsigned char *value = r->bytes + record->key_length;
  if (record->key != NULL) {
    memcpy(r->bytes, record->key, record->key_length);
    r->outgoing.key = r->bytes;
  }
  if (record->value == NULL) return;
  memcpy(value, record->value, record->value_length);
  r->outgoing.value = value;
}

bool strand_deferred_add (strand_deferred *d, strand_cached_topic *t,
                          const strand_outgoing *record,
                          rd_kafka_headers_t *headers, void *opaque,
                          int64_t now_us, int64_t due_us) {
  size_t size = strand_outgoing_size(record);
  strand_deferred_record *r = calloc(1, sizeof(*r) + size + 1);
  if (r == NULL) return false;
  r->topic = t;
  r->headers = headers;
  r->opaque = opaque;
  r->sent_us = now_us;
  r->due_us = due_us;
  r->outgoing = (strand_outgoing){ .topic = t->name,
                                   .key_length = record->key_length,
                                   .value_length = record->value_length,
                                   .timestamp_ms = record->timestamp_ms,
                                   .partition = record->partition };
  if (r->outgoing.timestamp_ms == 0) { /* now, not when it goes on */
    r->outgoing.timestamp_ms = (int64_t)(strand_clock_wall() * 1000);
  }
  copy_bytes(r, record);
  append(d, r);
  return true;
}

/*
** What becomes of them
*/

/* Only an answer to a question that came after the record says that there is
** no such partition: one older may be from before it was added. */
static bool is_refuted (const strand_deferred_record *r, strand_calls *calls) {
  strand_topic_facts answer;
  strand_calls_look(calls, r->topic, &answer);
  return answer.partitions > 0 && answer.partitions <= r->outgoing.partition
         && (int64_t)(answer.answered * 1e6) >= r->sent_us;
}

static bool is_overdue (const strand_deferred_record *r, int64_t now_us) {
  return r->due_us != 0 && now_us >= r->due_us;
}

static rd_kafka_resp_err_t outcome_of (const strand_deferred *d,
                                       const strand_deferred_record *r,
                                       strand_calls *calls, int64_t now_us) {
  int64_t waited_us = now_us - r->sent_us;
  bool overdue = is_overdue(r, now_us);
  if (waited_us < d->patience_us && !overdue)
    return RD_KAFKA_RESP_ERR_NO_ERROR;
  if (is_refuted(r, calls)) return RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
  if (overdue) return RD_KAFKA_RESP_ERR__TIMED_OUT;
  if (d->timeout_us > 0 && waited_us >= d->timeout_us)
    return RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* What is sent too late would be an outcome that nobody believes. */
static rd_kafka_resp_err_t outcome_of_known (const strand_deferred_record *r,
                                             int64_t now_us) {
  return is_overdue(r, now_us) ? RD_KAFKA_RESP_ERR__TIMED_OUT
                               : RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t outcome_of_held (const strand_deferred *d,
                                            const strand_deferred_record *r,
                                            int64_t now_us) {
  if (is_overdue(r, now_us)) return RD_KAFKA_RESP_ERR__TIMED_OUT;
  return d->timeout_us > 0 && now_us - r->sent_us >= d->timeout_us
           ? RD_KAFKA_RESP_ERR__MSG_TIMED_OUT
           : RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Where it goes is, or librdkafka decides it. */
static bool is_known (const strand_deferred_record *r,
                      const strand_topic_watch *watch) {
  return r->outgoing.partition
         < strand_topic_watch_partitions(watch, r->topic);
}

strand_deferred_record *strand_deferred_take (strand_deferred *d,
                                              const strand_topic_watch *watch,
                                              strand_calls *calls,
                                              int64_t now_us,
                                              rd_kafka_resp_err_t *err) {
  strand_deferred_record *before = d->looked_at;
  strand_deferred_record *r = before != NULL ? before->next : d->first;
  *err = RD_KAFKA_RESP_ERR_NO_ERROR;
  for (; r != NULL; before = r, r = r->next) {
    bool known = !d->held && is_known(r, watch);
    if (d->held) *err = outcome_of_held(d, r, now_us);
    else if (known) *err = outcome_of_known(r, now_us);
    else *err = outcome_of(d, r, calls, now_us);
    if (known || *err != RD_KAFKA_RESP_ERR_NO_ERROR) break;
  }
  d->looked_at = NULL;
  return r != NULL ? take_out(d, before) : NULL;
}

void strand_deferred_put_back (strand_deferred *d, strand_deferred_record *r) {
  r->next = d->first;
  d->first = r;
  if (d->last == NULL) d->last = r;
  d->count++;
  d->looked_at = NULL;
}

void strand_deferred_move (strand_deferred *d, const strand_calls *calls) {
  const strand_cached_topic *old = NULL;
  strand_cached_topic *t = NULL;
  for (strand_deferred_record *r = d->first; r != NULL; r = r->next) {
    if (r->topic != old) t = strand_calls_topics(calls);
    old = r->topic;
    while (t->index != old->index) t = t->next;
    r->topic = t;
    r->outgoing.topic = t->name;
  }
}

strand_deferred_record *strand_deferred_pop (strand_deferred *d) {
  return d->first != NULL ? take_out(d, NULL) : NULL;
}

void strand_deferred_want (const strand_deferred *d, strand_calls *calls) {
  const strand_cached_topic *wanted = NULL;
  int32_t at_least = 0;
  for (const strand_deferred_record *r = d->first; r != NULL; r = r->next) {
    int32_t count = r->outgoing.partition + 1;
    if (count == 0) continue;
    if (r->topic == wanted && count <= at_least) continue; /* it is, already */
    wanted = r->topic;
    at_least = count;
    strand_calls_want(calls, r->topic, count);
  }
}

strand_delivery_end strand_deferred_end_of (const strand_deferred_record *r,
                                            rd_kafka_resp_err_t err,
                                            int64_t now_us) {
  return (strand_delivery_end){
    .err = err,
    .error = err == RD_KAFKA_RESP_ERR__TIMED_OUT
               ? "not sent within its timeout"
               : NULL,
    .detail = "",
    .certain = true,
    .topic = r->topic->name,
    .partition = r->outgoing.partition,
    .offset = -1,
    .timestamp_ms = -1,
    .latency_us = now_us - r->sent_us,
    .key = r->outgoing.key,
    .key_length = r->outgoing.key_length,
    .size = strand_outgoing_size(&r->outgoing),
    .opaque = r->opaque,
  };
}

void strand_deferred_free (strand_deferred_record *r) {
  if (r->headers != NULL) rd_kafka_headers_destroy(r->headers);
  free(r);
}

void strand_deferred_check (const strand_deferred *d,
                            const strand_topic_watch *watch) {
  const strand_deferred_record *r = d->first;
  int64_t count = 0;
  for (; r != NULL && count < CHECKED_MOST; r = r->next) {
    assert(d->held || !is_known(r, watch)); /* (3) */
    count++;
  }
  assert(r != NULL || count == d->count);          /* (1) */
  assert((d->first == NULL) == (d->last == NULL)); /* (2) */
  assert(d->looked_at == NULL);                    /* (3) */
  (void)watch;
}
