/*
** transaction_refusals.c - exactly once: outputs that brokers refuse
**
** Brokers refuse whole batches, and each refusal costs the transaction and its
** client. One that fills batch.size by itself has no other in its batch: it is
** to blame, and that is believed at once. Under a batch.size that all topics
** take no other is refused for its size. So batches get as small as the limits
** that are known, and where one cannot be read, as what was refused alone.
**
** Else each output of the transaction goes in a batch of its own, until one is
** refused again. Where none is, batches are smaller from then on.
**
** A topic that may not be written to refuses all its records. So those that
** wait for a transaction end as well, and those that come for a while.
*/
#include <string.h>

#include "kafka/errors.h"
#include "kafka/topic_limit.h"
#include "member/transactions.h"

#define BATCH_LEAST 1000
/* What librdkafka takes for the lengths and stamps of a record, at most. */
#define NEXT_BYTES 36

static int64_t batch_bytes (const strand_output *o) {
  const char *packed = strand_output_headers((strand_output *)(uintptr_t)o);
  int64_t bytes = (int64_t)o->key_length + o->value_length, headers = 0;
  uint32_t at = 0;
  strand_header h;
  for (; strand_header_next(packed, o->headers_length, &at, &h); headers++)
    bytes += (int64_t)h.name_length + h.value_length;
  return strand_batch_bytes(bytes, headers);
}

/* Nothing had room beside it: librdkafka counts the request's own header, and
** the longest that a record may be, too. */
static bool was_alone (const strand_closed *c, const strand_output *o) {
  return batch_bytes(o) + NEXT_BYTES > c->batch_size;
}

/* Believed at once of a topic that is not there or not allowed, and of a
** partition after a while; else of one that was alone in its batch. */
static bool believe (const strand_transactions *x, const strand_closed *c,
                     const strand_staged *s, int64_t now_us) {
  rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)s->err;
  bool dead_letter = !s->refused->sent.is_output;
  if (!dead_letter && err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
    return !strand_output_topics_await(x->topics, s->refused, now_us);
  if (s->refused->alone || err == RD_KAFKA_RESP_ERR__QUEUE_FULL
      || err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
    return true;
  if (!dead_letter && strand_error_kind_of(err) == STRAND_ERROR_MISSING)
    return true;
  return strand_error_is_final(err) && was_alone(c, s->refused);
}

static bool is_open (const strand_staged *s) {
  return s->open > 0 && s->refused == NULL;
}

/*
** One that was too large
*/

static bool is_too_large (const strand_closed *c, const strand_staged *s) {
  return s->open > 0 && s->refused != NULL
         && s->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
         && was_alone(c, s->refused);
}

/* The smallest; NULL: there was none. */
static const strand_output *too_large_in (const strand_closed *c) {
  const strand_output *smallest = NULL;
  for (size_t i = 0; i < c->count; i++) {
    const strand_staged *s = c->staged[i];
    if (!is_too_large(c, s)) continue;
    if (smallest == NULL || batch_bytes(s->refused) < batch_bytes(smallest))
      smallest = s->refused;
  }
  return smallest;
}

/* In a batch of its own. By all lengths, or by more than their encoding makes
** of them. */
static bool is_as_large (const strand_output *a, const strand_output *o) {
  if (o->headers_length == 0 && a->key_length >= o->key_length
      && a->value_length >= o->value_length)
    return true;
  return batch_bytes(a)
         >= batch_bytes(o) + NEXT_BYTES + (int64_t)o->headers_length;
}

/* An output that the topic of 'o' refuses as well. */
static const strand_output *as_large (const strand_staged *s,
                                      const strand_output *o) {
  const strand_output *at = s->first;
  for (; at != NULL; at = at->next) {
    if (at->sent.is_output && is_as_large(at, o)
        && strcmp(strand_output_topic(at), strand_output_topic(o)) == 0)
      return at;
  }
  return NULL;
}

/* What is as large needs no transaction of its own to be refused in. Of what is
** compressed that is not known. */
static void refuse_as_large (const strand_transactions *x, strand_closed *c,
                             const strand_output *o) {
  if (!o->sent.is_output || x->owner->consumer->staging.compressed) return;
  for (size_t i = 0; i < c->count; i++) {
    strand_staged *s = c->staged[i];
    if (!is_open(s) || (s->refused = as_large(s, o)) == NULL) continue;
    s->err = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
  }
}

static void learn_limit (strand_transactions *x, strand_closed *c) {
  const strand_output *o = too_large_in(c);
  if (o == NULL) return;
  refuse_as_large(x, c, o);
  if (batch_bytes(o) >= BATCH_LEAST)
    strand_outbox_fit(x->outbox, strand_output_topic(o), batch_bytes(o));
}

/*
** Who is to blame is sought
*/

/* Not where a limit was learnt meanwhile: the next has smaller batches. */
static void seek (strand_transactions *x, const strand_closed *c) {
  if (x->alone > 0 || strand_outbox_batch_size(x->outbox) < c->batch_size)
    return;
  x->alone = strand_closed_outputs(c);
}

static void end_search (strand_transactions *x, bool blamed) {
  int64_t half = strand_outbox_batch_size(x->outbox) / 2;
  x->alone = 0;
  if (!blamed)
    strand_outbox_fit(x->outbox, NULL,
                      half < BATCH_LEAST ? BATCH_LEAST : half);
}

/* 'blamed': one is to blame by itself. */
static void learn_batch (strand_transactions *x, const strand_closed *c,
                         bool blamed, bool committed) {
  size_t outputs = strand_closed_outputs(c);
  if (c->batch_size != STRAND_TRANSACTIONS_ALONE || (!blamed && !committed))
    return;
  if (blamed || outputs >= x->alone) end_search(x, blamed);
  else x->alone -= outputs;
}

/* True: its record ends. Where others of its batch may be to blame, each goes
** alone next; what may be taken well later is sent again. */
static bool judge (strand_transactions *x, const strand_closed *c,
                   strand_staged *s, bool believed, int64_t now_us) {
  if (!believed && strand_error_is_final((rd_kafka_resp_err_t)s->err))
    seek(x, c);
  else if (!s->refused->sent.is_output)
    return strand_transactions_judge_dead_letter(x, s, believed, now_us);
  else if (believed) return true;
  s->refused = NULL;
  return false;
}

/*
** Topics that may not be written to
*/

bool strand_transactions_refuse_barred (const strand_transactions *x,
                                        strand_staged *s, int64_t now_us) {
  const strand_output *o = x->barred.count > 0 ? s->first : NULL;
  while (
    o != NULL
    && !strand_barred_topics_has(&x->barred, strand_output_topic(o), now_us))
    o = o->next;
  if (o == NULL) return false;
  s->refused = o;
  s->err = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
  return true;
}

/* Those that wait for the next transaction would fail it. */
static void turn_away (strand_transactions *x, int64_t now_us) {
  strand_link *l = x->queue.next, *next;
  for (; l != &x->queue; l = next) {
    strand_staged *s = strand_list_entry(l, strand_staged, link);
    next = l->next;
    if (!strand_transactions_refuse_barred(x, s, now_us)) continue;
    strand_list_remove(l);
    x->waiting -= s->count;
    strand_transactions_turn_away(x, s);
  }
  if (!strand_transactions_wait(x)) x->since_us = 0;
}

static bool is_refused_by_topic (const strand_staged *s) {
  return s->open > 0 && s->refused != NULL
         && s->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
}

/* What the same transaction has for such a topic ends too, reported or not. */
static void bar (strand_transactions *x, strand_closed *c, int64_t now_us) {
  bool some = false;
  for (size_t i = 0; i < c->count; i++) {
    const strand_staged *s = c->staged[i];
    if (!is_refused_by_topic(s)) continue;
    strand_barred_topics_add(&x->barred, strand_output_topic(s->refused),
                             now_us);
    some = true;
  }
  if (!some) return;
  for (size_t i = 0; i < c->count; i++)
    if (is_open(c->staged[i]))
      strand_transactions_refuse_barred(x, c->staged[i], now_us);
  turn_away(x, now_us);
}

/* Those of a partition that is gone are dropped, whatever they are. */
void strand_transactions_judge (strand_transactions *x, strand_closed *c,
                                strand_closed_answer *ended, int64_t now_us) {
  bool committed = ended->answer == STRAND_COMMITTED;
  bool blamed = false, refused = false;
  if (!committed) {
    learn_limit(x, c);
    bar(x, c, now_us);
  }
  for (size_t i = 0; !committed && i < c->count; i++) {
    strand_staged *s = c->staged[i];
    bool believed;
    if (s->open == 0 || s->refused == NULL) continue;
    believed = believe(x, c, s, now_us);
    blamed = blamed || believed;
    refused = refused || strand_error_is_final((rd_kafka_resp_err_t)s->err);
    if (s->record != NULL) /* later: its topic's event has told it */
      ended->reported |= judge(x, c, s, believed, now_us) || s->later;
  }
  ended->reported |= refused && c->batch_size != STRAND_TRANSACTIONS_ALONE;
  learn_batch(x, c, blamed, committed);
}
