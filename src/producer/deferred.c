/*
** deferred.c - see deferred.h
*/
#include "producer/deferred.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CHECKED_MOST 64

static strand_deferred_record *record_of (strand_link *link) {
  return strand_list_entry(link, strand_deferred_record, link);
}

static strand_deferred_place *place_of (strand_link *link) {
  return strand_list_entry(link, strand_deferred_place, link);
}

/* Nothing is to be looked at. */
static void scan_nothing (strand_deferred *d) {
  d->released = &d->all;
  d->answered = &d->places;
}

void strand_deferred_init (strand_deferred *d, int propagation_ms,
                           int timeout_ms) {
  memset(d, 0, sizeof(*d));
  strand_list_init(&d->all);
  strand_list_init(&d->places);
  scan_nothing(d);
  d->patient = &d->all;
  d->patience_us = (int64_t)propagation_ms * 1000;
  d->timeout_us = (int64_t)timeout_ms * 1000;
  if (d->timeout_us > 0 && d->timeout_us < d->patience_us) {
    d->patience_us = d->timeout_us;
  }
}

/*
** Places
*/

/* Where the place stands in its bucket, or would. */
static strand_deferred_place **slot_of (const strand_deferred *d,
                                        const strand_cached_topic *t,
                                        int32_t partition) {
  size_t hash = t->index * 31 + (size_t)(partition + 1);
  strand_deferred_place **at;
  at = (strand_deferred_place **)&d->buckets[hash % STRAND_DEFERRED_BUCKETS];
  while (*at != NULL && ((*at)->topic != t || (*at)->partition != partition))
    at = &(*at)->same_bucket;
  return at;
}

/* NULL: memory ran out. */
static strand_deferred_place *
place_for (strand_deferred *d, strand_cached_topic *t, int32_t partition) {
  strand_deferred_place **slot = slot_of(d, t, partition), *p = *slot;
  if (p != NULL || (p = calloc(1, sizeof(*p))) == NULL) return p;
  p->topic = t;
  p->partition = partition;
  strand_list_init(&p->records);
  strand_list_push(&d->places, &p->link);
  *slot = p;
  return p;
}

static void drop_if_empty (strand_deferred *d, strand_deferred_place *p) {
  if (!strand_list_empty(&p->records)) return;
  *slot_of(d, p->topic, p->partition) = p->same_bucket;
  if (d->answered == &p->link) d->answered = p->link.next;
  strand_list_remove(&p->link);
  free(p);
}

/* While nothing is known of a topic librdkafka keeps its records itself. */
bool strand_deferred_must (const strand_deferred *d,
                           const strand_topic_watch *watch,
                           const strand_cached_topic *t, int32_t partition) {
  int32_t count = strand_topic_watch_partitions(watch, t);
  if (d->held) return true;
  if (partition < 0) return false;
  return count > 0 ? partition >= count : *slot_of(d, t, partition) != NULL;
}

/*
** In and out
*/

static void append (strand_deferred *d, strand_deferred_place *p,
                    strand_deferred_record *r) {
  r->place = p;
  strand_list_push(&d->all, &r->link);
  strand_list_push(&p->records, &r->mine);
  if (d->patient == &d->all) d->patient = &r->link;
  d->count++;
}

static void step_over (strand_link **at, const strand_link *link) {
  if (*at == link) *at = link->next;
}

void strand_deferred_remove (strand_deferred *d, strand_deferred_record *r) {
  step_over(&d->released, &r->link);
  step_over(&d->patient, &r->link);
  strand_list_remove(&r->link);
  strand_list_remove(&r->mine);
  d->count--;
  drop_if_empty(d, r->place);
  r->place = NULL;
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

strand_deferred_record *strand_deferred_add (
  strand_deferred *d, strand_cached_topic *t, const strand_outgoing *record,
  rd_kafka_headers_t *headers, void *opaque, int64_t now_us, int64_t due_us) {
  size_t size = strand_outgoing_size(record);
  strand_deferred_record *r = calloc(1, sizeof(*r) + size + 1);
  strand_deferred_place *p = NULL;
  if (r != NULL) p = place_for(d, t, record->partition);
  if (p == NULL) {
    free(r);
    return NULL;
  }
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
  append(d, p, r);
  return r;
}

/*
** What becomes of them
*/

/* Only an answer to a question that came after the record says that there is
** no such partition: one older may be from before it was added. */
static bool is_refuted (const strand_deferred_record *r, strand_calls *calls) {
  strand_topic_facts answer;
  strand_calls_facts(calls, r->topic, &answer);
  return answer.partitions > 0 && answer.partitions <= r->outgoing.partition
         && (int64_t)(answer.answered * 1e6) >= r->sent_us;
}

static bool is_overdue (const strand_deferred_record *r, int64_t now_us) {
  return r->due_us != 0 && now_us >= r->due_us;
}

static bool is_patient (const strand_deferred *d,
                        const strand_deferred_record *r, int64_t now_us) {
  return now_us - r->sent_us < d->patience_us;
}

/* What is sent too late would be an outcome that nobody believes. */
static rd_kafka_resp_err_t outcome_of_known (const strand_deferred_record *r,
                                             int64_t now_us) {
  return is_overdue(r, now_us) ? RD_KAFKA_RESP_ERR__TIMED_OUT
                               : RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Where its records go is, or librdkafka decides it. */
static bool is_known (const strand_deferred_place *p,
                      const strand_topic_watch *watch) {
  return p->partition < strand_topic_watch_partitions(watch, p->topic);
}

/* In the order of all: what was held may be for one partition, named or not. */
static strand_deferred_record *next_released (strand_deferred *d,
                                              const strand_topic_watch *watch,
                                              int64_t now_us,
                                              rd_kafka_resp_err_t *err) {
  for (; d->released != &d->all; d->released = d->released->next) {
    strand_deferred_record *r = record_of(d->released);
    if (!is_known(r->place, watch)) continue;
    *err = outcome_of_known(r, now_us);
    return r;
  }
  return NULL;
}

/* Of a partition's records the older ones are refuted, or none. */
static strand_deferred_record *
next_answered (strand_deferred *d, const strand_topic_watch *watch,
               strand_calls *calls, int64_t now_us, rd_kafka_resp_err_t *err) {
  for (; d->answered != &d->places; d->answered = d->answered->next) {
    strand_deferred_place *p = place_of(d->answered);
    strand_deferred_record *r = strand_list_entry(
      p->records.next, strand_deferred_record, mine);
    if (is_known(p, watch)) *err = outcome_of_known(r, now_us);
    else if (!is_patient(d, r, now_us) && is_refuted(r, calls))
      *err = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    else {
      strand_calls_want(calls, p->topic, p->partition + 1);
      continue;
    }
    return r;
  }
  return NULL;
}

static strand_deferred_record *next_impatient (strand_deferred *d,
                                               strand_calls *calls,
                                               int64_t now_us,
                                               rd_kafka_resp_err_t *err) {
  while (d->patient != &d->all) {
    strand_deferred_record *r = record_of(d->patient);
    if (is_patient(d, r, now_us)) return NULL;
    d->patient = d->patient->next;
    if (!is_refuted(r, calls)) continue;
    *err = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    return r;
  }
  return NULL;
}

/* By message.timeout.ms, which is the same for all. */
static strand_deferred_record *next_late (strand_deferred *d, int64_t now_us,
                                          rd_kafka_resp_err_t *err) {
  strand_deferred_record *r;
  if (d->timeout_us == 0 || strand_list_empty(&d->all)) return NULL;
  r = record_of(d->all.next);
  if (now_us - r->sent_us < d->timeout_us) return NULL;
  *err = is_overdue(r, now_us) ? RD_KAFKA_RESP_ERR__TIMED_OUT
                               : RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
  return r;
}

strand_deferred_record *strand_deferred_next (strand_deferred *d,
                                              const strand_topic_watch *watch,
                                              strand_calls *calls,
                                              int64_t now_us,
                                              rd_kafka_resp_err_t *err) {
  strand_deferred_record *r = NULL;
  *err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (!d->held) {
    r = next_released(d, watch, now_us, err);
    if (r == NULL) r = next_answered(d, watch, calls, now_us, err);
    if (r == NULL) r = next_impatient(d, calls, now_us, err);
  }
  return r != NULL ? r : next_late(d, now_us, err);
}

rd_kafka_resp_err_t strand_deferred_overdue (const strand_deferred *d,
                                             const strand_deferred_record *r,
                                             strand_calls *calls) {
  return !d->held && is_refuted(r, calls)
           ? RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
           : RD_KAFKA_RESP_ERR__TIMED_OUT;
}

void strand_deferred_answered (strand_deferred *d) {
  if (!d->held) d->answered = d->places.next;
}

/*
** Held
*/

void strand_deferred_hold (strand_deferred *d) {
  d->held = true;
  scan_nothing(d);
}

void strand_deferred_move (strand_deferred *d, const strand_calls *calls) {
  for (strand_link *l = d->places.next; l != &d->places; l = l->next) {
    strand_deferred_place *p = place_of(l);
    strand_cached_topic *t = strand_calls_topics(calls);
    while (t->index != p->topic->index) t = t->next;
    p->topic = t;
  }
  for (strand_link *l = d->all.next; l != &d->all; l = l->next) {
    strand_deferred_record *r = record_of(l);
    r->topic = r->place->topic;
    r->outgoing.topic = r->topic->name;
  }
}

/* The calls may be others, which were asked for nothing. */
void strand_deferred_release (strand_deferred *d) {
  d->held = false;
  d->released = d->all.next;
  d->answered = d->places.next;
}

strand_deferred_record *strand_deferred_first (const strand_deferred *d) {
  return strand_list_empty(&d->all) ? NULL : record_of(d->all.next);
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

/* How many records they have. */
static int64_t count_placed (const strand_deferred *d) {
  const strand_link *l = d->places.next, *m;
  int64_t count = 0;
  for (; l != &d->places && count < CHECKED_MOST; l = l->next) {
    const strand_deferred_place *p = place_of((strand_link *)(uintptr_t)l);
    for (m = p->records.next; m != &p->records && count < CHECKED_MOST;
         m = m->next)
      count++;
  }
  return count;
}

static bool is_in_order (const strand_deferred *d, const strand_link *l) {
  const strand_deferred_record *r = record_of((strand_link *)(uintptr_t)l);
  return r->place->topic == r->topic
         && (l->next == &d->all || record_of(l->next)->sent_us >= r->sent_us);
}

void strand_deferred_check (const strand_deferred *d,
                            const strand_topic_watch *watch) {
  const strand_link *l = d->places.next;
  int64_t count = 0, places = 0;
  bool patient = false, good = true;
  for (; l != &d->places && places < CHECKED_MOST; l = l->next, places++) {
    const strand_deferred_place *p = place_of((strand_link *)(uintptr_t)l);
    assert(*slot_of(d, p->topic, p->partition) == p); /* (2) */
    assert(!strand_list_empty(&p->records));          /* (2) */
    assert(d->held || !is_known(p, watch));           /* (3) */
    (void)p;
  }
  for (l = d->all.next; l != &d->all && count < CHECKED_MOST; l = l->next) {
    good = is_in_order(d, l);
    assert(good); /* (1) */
    patient = patient || l == d->patient;
    count++;
  }
  good = count >= CHECKED_MOST || count_placed(d) == count;
  assert(good); /* (1) */
  (void)good;
  (void)patient;
  (void)watch;
  assert(l != &d->all || count == d->count);                   /* (1) */
  assert(l != &d->all || patient || d->patient == &d->all);    /* (4) */
  assert(d->released == &d->all && d->answered == &d->places); /* (3) */
}
