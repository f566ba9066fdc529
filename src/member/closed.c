/*
** closed.c - a transaction that is closed, on its way to the brokers
*/
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "member/output_record.h"
#include "member/transactor_own.h"

strand_closed *strand_closed_new (size_t most) {
  strand_closed *c = calloc(1, sizeof(*c) + most * sizeof(c->staged[0]));
  if (c != NULL) atomic_init(&c->abandoned, false);
  return c;
}

void strand_closed_free (strand_closed *c) {
  if (c == NULL) return;
  if (c->offsets != NULL) rd_kafka_topic_partition_list_destroy(c->offsets);
  if (c->committed != NULL)
    rd_kafka_topic_partition_list_destroy(c->committed);
  if (c->group != NULL) rd_kafka_consumer_group_metadata_destroy(c->group);
  free(c->gone);
  free(c);
}

void strand_closed_fill (strand_closed *c,
                         rd_kafka_topic_partition_list_t *offsets) {
  c->offsets = offsets;
  c->gone = malloc((size_t)offsets->cnt * sizeof(*c->gone));
  for (int i = 0; c->gone != NULL && i < offsets->cnt; i++)
    atomic_init(&c->gone[i], false);
}

void strand_closed_lose (strand_closed *c, const char *topic, int32_t index) {
  for (int i = 0; c->gone != NULL && i < c->offsets->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &c->offsets->elems[i];
    if (p->partition == index && strcmp(p->topic, topic) == 0)
      atomic_store(&c->gone[i], true);
  }
}

rd_kafka_topic_partition_list_t *strand_closed_names (const strand_closed *c) {
  const rd_kafka_topic_partition_list_t *of = c->offsets;
  rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(
    of->cnt);
  for (int i = 0; i < of->cnt; i++) {
    if (c->gone != NULL && atomic_load(&c->gone[i])) continue;
    rd_kafka_topic_partition_list_add(l, of->elems[i].topic,
                                      of->elems[i].partition);
  }
  return l;
}

size_t strand_closed_outputs (const strand_closed *c) {
  size_t outputs = 0;
  for (size_t i = 0; i < c->count; i++) outputs += c->staged[i]->count;
  return outputs;
}

/*
** A transaction
*/

static rd_kafka_resp_err_t produce (strand_transactor *t,
                                    strand_output *output) {
  rd_kafka_headers_t *headers = strand_output_record_headers(output);
  rd_kafka_resp_err_t err;
  strand_outgoing record = strand_output_record(output);
  err = strand_outgoing_produce(t->client.handle, &record, headers, output);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR && headers != NULL)
    rd_kafka_headers_destroy(headers);
  return err;
}

static bool is_out (strand_transactor *t) {
  return rd_kafka_outq_len(t->client.handle) > 0;
}

/* It will come to nothing: so it is not waited for. */
static bool is_lost (strand_transactor *t, strand_closed *c) {
  return t->client.failed || atomic_load(&c->abandoned)
         || strand_transactor_is_stopping(t)
         || strand_clock_us() >= c->began_us + t->client.timeout_us;
}

/* False: nothing more of this transaction is to be sent. */
static bool send_one (strand_transactor *t, strand_closed *c,
                      strand_output *output) {
  rd_kafka_resp_err_t err;
  while ((err = produce(t, output)) == RD_KAFKA_RESP_ERR__QUEUE_FULL
         && is_out(t) && !is_lost(t, c))
    strand_transactor_client_serve(&t->client, STRAND_TRANSACTOR_SERVE_MS);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
  if (err == RD_KAFKA_RESP_ERR__STATE || err == RD_KAFKA_RESP_ERR__FATAL
      || is_lost(t, c))
    return false; /* the transaction's own error */
  t->client.failed = true;
  output->of->refused = output;
  output->of->err = err;
  return false;
}

static bool send_all (strand_transactor *t, strand_closed *c) {
  for (size_t i = 0; i < c->count; i++) {
    strand_output *o = c->staged[i]->first;
    for (; o != NULL; o = o->next)
      if (!send_one(t, c, o)) return false;
    while (strand_transactor_client_serve(&t->client, 0)) continue;
  }
  return true;
}

/* By another error than a delivery's, a partition that may not be added to it:
** then librdkafka reports none of what it has. */
static bool has_failed (strand_transactor *t) {
  strand_transaction_answer answer;
  strand_transaction_make(t->client.handle, STRAND_TRANSACTION_CALL_BEGIN, 0,
                          &answer);
  return answer.is_fatal || answer.is_abortable;
}

/* Until all is acknowledged. */
static bool flush (strand_transactor *t, strand_closed *c) {
  while (is_out(t) && !is_lost(t, c)) {
    if (!strand_transactor_client_serve(&t->client, STRAND_TRANSACTOR_SERVE_MS)
        && has_failed(t))
      return false;
  }
  return !t->client.failed && !is_out(t);
}

static const strand_staged *first_refused (const strand_closed *c) {
  for (size_t i = 0; i < c->count; i++)
    if (c->staged[i]->refused != NULL) return c->staged[i];
  return NULL;
}

/* What the client knows nothing of. */
static void give_reason (strand_closed *c, bool late) {
  const strand_staged *s = first_refused(c);
  strand_transaction_answer *a = &c->answer;
  if (late)
    snprintf(a->reason, sizeof(a->reason),
             "outputs were not acknowledged within transaction_timeout");
  else if (s != NULL)
    snprintf(a->reason, sizeof(a->reason), "topic '%.150s': %.80s",
             strand_output_topic(s->refused),
             rd_kafka_err2str((rd_kafka_resp_err_t)s->err));
  else
    snprintf(a->reason, sizeof(a->reason), "%s",
             atomic_load(&c->abandoned) ? "its partitions were lost"
                                        : "it was given up");
}

/* Why it cannot be committed: BEGIN of an open transaction says that, and does
** nothing. Where the client knows nothing of it, the abort is ours; what it had
** then makes gaps in its sequence, so it is renewed all the same. */
static strand_transaction_kind why_failed (strand_transactor *t,
                                           strand_closed *c) {
  bool late = !t->client.failed
              && strand_clock_us() >= c->began_us + t->client.timeout_us;
  strand_transaction_make(t->client.handle, STRAND_TRANSACTION_CALL_BEGIN, 0,
                          &c->answer);
  if (c->answer.is_fatal || c->answer.is_abortable)
    return strand_transaction_kind_of(&c->answer);
  memset(&c->answer, 0, sizeof(c->answer));
  c->answer.err = late ? RD_KAFKA_RESP_ERR__TIMED_OUT
                       : RD_KAFKA_RESP_ERR__PARTIAL;
  give_reason(c, late);
  return late ? STRAND_TRANSACTION_LOST : STRAND_TRANSACTION_UNDELIVERED;
}

strand_transaction_kind strand_transactor_carry_out (strand_transactor *t,
                                                     strand_closed *c) {
  strand_transaction_kind kind;
  c->step = "begin";
  t->client.failed = false;
  kind = strand_transactor_call(t, STRAND_TRANSACTION_CALL_BEGIN, c, 0,
                                &c->answer);
  c->began_us = strand_clock_us();
  if (kind != STRAND_TRANSACTION_WORKED) return kind;
  c->step = STRAND_CLOSED_STEP_OUTPUTS;
  if (!send_all(t, c) || !flush(t, c) || atomic_load(&c->abandoned))
    return why_failed(t, c);
  c->step = "offsets";
  kind = strand_transactor_call(t, STRAND_TRANSACTION_CALL_NONE, c,
                                c->began_us + t->client.timeout_us,
                                &c->answer);
  if (kind != STRAND_TRANSACTION_WORKED) return kind;
  c->step = "commit";
  c->asked = true;
  return strand_transactor_call(t, STRAND_TRANSACTION_CALL_COMMIT, c,
                                c->began_us + t->client.timeout_us,
                                &c->answer);
}

/* 'began_us' is the time of this one: it has as long as any. */
strand_transaction_kind
strand_transactor_try (strand_transactor *t, strand_closed *c,
                       strand_output *output,
                       strand_transaction_answer *answer) {
  strand_transaction_kind kind;
  t->client.failed = false;
  kind = strand_transactor_call(t, STRAND_TRANSACTION_CALL_BEGIN, c, 0,
                                answer);
  c->began_us = strand_clock_us();
  if (kind != STRAND_TRANSACTION_WORKED
      || (send_one(t, c, output) && flush(t, c)))
    return kind;
  strand_transaction_make(t->client.handle, STRAND_TRANSACTION_CALL_BEGIN, 0,
                          answer);
  return strand_transaction_kind_of(answer);
}

static void purge_queue (strand_transactor *t) {
  rd_kafka_purge(t->client.handle,
                 RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

/* In flight it is not purged: that would leave gaps in the producer's
** sequence, and librdkafka waits for it too. But what was in flight behind an
** output that is refused comes back into the queue, and is sent no more. */
void strand_transactor_purge (strand_transactor *t, int64_t deadline_us) {
  purge_queue(t);
  while (is_out(t) && strand_clock_us() < deadline_us
         && !strand_transactor_is_stopping(t)) {
    if (!strand_transactor_client_serve(&t->client,
                                        STRAND_TRANSACTOR_SERVE_MS))
      purge_queue(t);
  }
}
