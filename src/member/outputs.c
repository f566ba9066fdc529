/*
** outputs.c - see outputs.h
*/
#include "member/outputs.h"

#include <assert.h>
#include <string.h>

#include "kafka/errors.h"
#include "member/output_record.h"

#define AGAIN_FIRST_US 100000
#define AGAIN_MOST_US 10000000
#define SETTLE_AGAIN_US 100000 /* after memory ran out */
#define CHECKED_MOST 64        /* of thousands, at each turn */
#define BATCH_LEAST 16384      /* bytes: it is not made smaller by guess */

/*
** Lists
*/

static strand_staged *behind (const strand_outputs *o,
                              const strand_staged *s) {
  if (s->link.next == &o->queue) return NULL;
  return strand_list_entry(s->link.next, strand_staged, link);
}

static void move (strand_outputs *o, strand_staged *s, strand_link *to) {
  if (s->at != NULL) strand_outbox_waive(o->outbox, s->at);
  if (o->next == s) o->next = behind(o, s);
  strand_list_remove(&s->link);
  strand_list_push(to, &s->link);
}

static void drop (strand_outputs *o, strand_staged *s) {
  if (s->at != NULL) strand_outbox_waive(o->outbox, s->at);
  if (o->next == s) o->next = behind(o, s);
  strand_list_remove(&s->link);
  strand_list_remove(&s->mine);
  strand_shared_unstage(o->owner->consumer, s);
}

void strand_outputs_init (strand_outputs *o, const strand_owner *owner,
                          strand_outbox *outbox, strand_output_topics *topics,
                          strand_snapshot *snapshot) {
  *o = (strand_outputs){ .owner = owner,
                         .outbox = outbox,
                         .topics = topics,
                         .snapshot = snapshot,
                         .wait_us = AGAIN_FIRST_US };
  strand_list_init(&o->queue);
  strand_list_init(&o->settled);
  strand_list_init(&o->gone);
}

static void drop_all (strand_outputs *o, strand_link *list) {
  strand_staged *s;
  while ((s = strand_staged_first(list)) != NULL) drop(o, s);
}

void strand_outputs_free (strand_outputs *o) {
  o->next = NULL;
  drop_all(o, &o->queue);
  drop_all(o, &o->settled);
  drop_all(o, &o->gone);
}

strand_err strand_outputs_take (strand_outputs *o, strand_assigned *assigned,
                                strand_lease *lease, strand_staged *staged) {
  strand_record *r = lease->record;
  strand_err err;
  if (o->transactions != NULL) {
    strand_output_topics_expect(o->topics, staged);
    return strand_transactions_take(o->transactions, assigned, lease, staged);
  }
  err = strand_engine_sent(o->owner->engine, lease);
  if (err != STRAND_OK) return err;
  staged->record = r;
  staged->at = staged->first;
  staged->open = staged->count;
  strand_list_push(&o->queue, &staged->link);
  strand_list_push(&assigned->outputs, &staged->mine);
  if (o->next == NULL) o->next = staged;
  return STRAND_OK;
}

void strand_outputs_forget (strand_outputs *o, strand_assigned *assigned,
                            const char *topic, int32_t index) {
  if (o->transactions != NULL) {
    strand_transactions_forget(o->transactions, assigned);
    strand_transactions_lose(o->transactions, topic, index);
    return;
  }
  while (!strand_list_empty(&assigned->outputs)) {
    strand_staged *s = strand_list_entry(assigned->outputs.next, strand_staged,
                                         mine);
    s->record = NULL;
    strand_list_remove(&s->mine);
    if (s->out == 0) drop(o, s);
    else move(o, s, &o->gone);
  }
}

/*
** What became of one
*/

/* Nothing more of it is sent or heard: the engine is told. */
static void settle_if_ended (strand_outputs *o, strand_staged *s) {
  if (s->out > 0 || (s->open > 0 && s->refused == NULL)) return;
  move(o, s, &o->settled);
}

static void refuse (strand_output *output, rd_kafka_resp_err_t err) {
  strand_staged *s = output->of;
  if (s->refused == NULL) {
    s->refused = output;
    s->err = err;
  }
  atomic_fetch_add_explicit(&s->staging->failed, 1, memory_order_relaxed);
}

static void send_later (strand_outputs *o, int64_t now_us) {
  o->failed = true;
  if (o->again_us > now_us) return;
  o->again_us = now_us + o->wait_us;
  o->wait_us *= 2;
  if (o->wait_us > AGAIN_MOST_US) o->wait_us = AGAIN_MOST_US;
}

static void fail_later (strand_outputs *o, rd_kafka_resp_err_t err,
                        int64_t now_us) {
  strand_outbox_hear(o->outbox, err, now_us);
  send_later(o, now_us);
}

static bool await_partition (const strand_outputs *o,
                             const strand_output *output,
                             rd_kafka_resp_err_t err, int64_t now_us) {
  return err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
         && strand_output_topics_await(o->topics, output, now_us);
}

/* Others of its batch may be to blame. Meanwhile later ones were written. */
static void fail_mixed (strand_outputs *o, strand_output *output,
                        rd_kafka_resp_err_t err, int64_t now_us) {
  char code[48], reason[300];
  output->alone = true;
  o->failed = true;
  if (strand_error_kind_of(err) == STRAND_ERROR_TOO_LARGE) {
    o->refused_size = strand_outbox_batch_size(o->outbox);
    strand_output_topics_verify(o->topics, strand_output_topic(output));
  }
  strand_alert_begin(&o->mixed, now_us, 0);
  if (!strand_alert_take_due(&o->mixed, now_us)) return;
  snprintf(reason, sizeof(reason),
           "a batch of outputs was refused (%.80s): each is sent again alone, "
           "this once maybe after later ones of its key; a lower 'batch.size' "
           "keeps them apart",
           rd_kafka_err2str(err));
  strand_owner_tell(o->owner, "error", strand_code_of(err, code, sizeof(code)),
                    reason, strand_output_topic(output), -1);
}

/* At most once, what may have been written is not sent again. */
static bool is_spent (const strand_outputs *o, bool maybe_written) {
  return maybe_written
         && o->owner->consumer->settings.delivery == STRAND_AT_MOST_ONCE;
}

/* By itself: it was not in a batch, of which another may be to blame. */
static void judge (strand_outputs *o, strand_output *output,
                   rd_kafka_resp_err_t err, bool by_itself, int64_t now_us) {
  if (await_partition(o, output, err, now_us)) send_later(o, now_us);
  else if (strand_error_kind_of(err) == STRAND_ERROR_MISSING
           || err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
    refuse(output, err);
  else if (!strand_error_is_final(err)) fail_later(o, err, now_us);
  else if (by_itself) {
    o->refused_size = 0; /* it was to blame */
    refuse(output, err);
  }
  else fail_mixed(o, output, err, now_us);
}

/*
** Out
*/

static rd_kafka_resp_err_t produce (strand_outputs *o, strand_output *output,
                                    int64_t now_us) {
  strand_outgoing record = strand_output_record(output);
  return strand_outbox_send(
    o->outbox, strand_output_topics_use(o->topics, record.topic), &record,
    strand_output_record_headers(output), output->alone, output, now_us);
}

static void note_out (strand_outputs *o, strand_output *output) {
  strand_staged *s = output->of;
  output->out = true;
  s->out++;
  o->out++;
  if (output->counted) return;
  output->counted = true;
  atomic_fetch_add_explicit(&s->staging->sent, 1, memory_order_relaxed);
}

/* Of a batch that was too large each record was taken alone, and nobody says
** what the topic's limit is: else the batches would be smaller by now. */
static bool shrinks (strand_outputs *o) {
  int64_t size = o->refused_size;
  o->refused_size = 0;
  if (size / 2 < BATCH_LEAST || strand_outbox_batch_size(o->outbox) < size)
    return false;
  strand_outbox_fit(o->outbox, NULL, size / 2);
  return true;
}

/* False: it has to wait. */
static bool send_one (strand_outputs *o, strand_output *output,
                      int64_t now_us) {
  rd_kafka_resp_err_t err;
  if (output->acked || output->out) return true;
  if (!strand_outbox_has_room(o->outbox, output->alone, output)) {
    if (output->alone) strand_outbox_await_alone(o->outbox, output);
    return false;
  }
  if (o->refused_size > 0 && !output->alone && shrinks(o)) return false;
  err = produce(o, output, now_us);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) note_out(o, output);
  else if (strand_outbox_is_full(o->outbox)) return false;
  else if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) refuse(output, err);
  else judge(o, output, err, true, now_us);
  return !o->failed;
}

/* All of the record's, up to one that is refused. */
static bool send_all (strand_outputs *o, strand_staged *s, int64_t now_us) {
  for (; s->at != NULL && s->refused == NULL; s->at = s->at->next) {
    if (!send_one(o, s->at, now_us)) return false;
  }
  return true;
}

/* What failed goes first, and what is acknowledged is passed over. So who was
** to be out alone next is not any more. */
static void rewind_queue (strand_outputs *o) {
  o->failed = false;
  if (o->next != NULL) strand_outbox_waive(o->outbox, o->next->at);
  o->next = strand_staged_first(&o->queue);
  for (strand_staged *s = o->next; s != NULL; s = behind(o, s)) {
    s->at = s->first;
  }
}

static bool is_held (const strand_outputs *o, int64_t now_us) {
  return now_us < o->again_us || (o->failed && o->out > 0);
}

static void send_ready (strand_outputs *o, int64_t now_us) {
  strand_staged *s;
  if (is_held(o, now_us)) return;
  if (o->failed) rewind_queue(o);
  while ((s = o->next) != NULL && send_all(o, s, now_us)) {
    o->next = behind(o, s);
    settle_if_ended(o, s); /* one that is refused, and not out */
  }
}

/*
** In
*/

void strand_outputs_report (strand_outputs *o, strand_output *output,
                            rd_kafka_resp_err_t err, bool maybe_written,
                            int64_t now_us) {
  strand_staged *s = output->of;
  output->out = false;
  s->out--;
  o->out--;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    output->acked = true;
    s->open--;
    if (!o->failed) o->wait_us = AGAIN_FIRST_US;
    atomic_fetch_add_explicit(&s->staging->acked, 1, memory_order_relaxed);
  }
  else if (s->record != NULL) {
    if (!strand_error_is_final(err) && is_spent(o, maybe_written))
      refuse(output, err);
    else judge(o, output, err, output->alone, now_us);
  }
  if (s->record != NULL) settle_if_ended(o, s);
  else if (s->out == 0) drop(o, s);
}

/* Nobody will say what became of those that are out. */
static void recall (strand_outputs *o, strand_staged *s) {
  for (strand_output *at = s->first; at != NULL; at = at->next) {
    if (at->out && is_spent(o, true)) refuse(at, RD_KAFKA_RESP_ERR__FATAL);
    at->out = false;
  }
  s->out = 0;
  settle_if_ended(o, s);
}

void strand_outputs_again (strand_outputs *o, int64_t now_us) {
  strand_staged *next, *s = strand_staged_first(&o->queue);
  drop_all(o, &o->gone);
  for (; s != NULL; s = next) {
    next = behind(o, s);
    recall(o, s);
  }
  o->out = 0;
  o->failed = true;
  o->again_us = now_us + o->wait_us;
}

void strand_outputs_regroup (strand_outputs *o) {
  o->refused_size = 0;
  for (strand_staged *s = strand_staged_first(&o->queue); s != NULL;
       s = behind(o, s)) {
    for (strand_output *at = s->first; at != NULL; at = at->next) {
      strand_outbox_waive(o->outbox, at);
      at->alone = false;
    }
  }
}

const strand_staged *strand_outputs_accept (strand_outputs *o,
                                            int64_t now_us) {
  strand_staged *s = o->next;
  if (s == NULL) return NULL;
  for (; s->at != NULL; s->at = s->at->next) note_out(o, s->at);
  o->next = behind(o, s);
  for (strand_output *at = s->first; at != NULL; at = at->next) {
    strand_outputs_report(o, at, RD_KAFKA_RESP_ERR_NO_ERROR, false, now_us);
  }
  return s;
}

/*
** The engine is told
*/

static void tell_engine (strand_outputs *o, int64_t now_us) {
  strand_staged *s;
  while ((s = strand_staged_first(&o->settled)) != NULL) {
    strand_err err = s->refused != NULL
                       ? strand_output_record_refused(o->owner->engine, s,
                                                      now_us)
                       : strand_engine_output_acked(o->owner->engine,
                                                    s->record, now_us);
    if (err != STRAND_OK) return; /* memory ran out: in a later turn */
    drop(o, s);
    strand_snapshot_change(o->snapshot);
  }
}

void strand_outputs_serve (strand_outputs *o, int64_t now_us) {
  if (!strand_outbox_is_open(o->outbox)) return;
  send_ready(o, now_us);
  tell_engine(o, now_us);
}

/* Room comes with a report, which wakes the owner. */
int64_t strand_outputs_due (const strand_outputs *o, int64_t now_us) {
  int64_t due = INT64_MAX;
  bool waits = o->next != NULL || o->failed;
  if (!strand_outbox_is_open(o->outbox)) return due;
  if (waits && now_us < o->again_us) due = o->again_us;
  if (!strand_list_empty(&o->settled) && now_us + SETTLE_AGAIN_US < due) {
    due = now_us + SETTLE_AGAIN_US;
  }
  return due;
}

void strand_outputs_check (const strand_outputs *o) {
  const strand_link *l = o->queue.next;
  bool found = o->next == NULL;
  size_t out = 0, count = 0;
  for (; l != &o->queue && count < CHECKED_MOST; l = l->next, count++) {
    const strand_staged *s = strand_list_entry(l, strand_staged, link);
    if (s == o->next) found = true;
    assert(s->record != NULL);                                 /* (2) */
    assert(s->out <= s->open);                                 /* (3) */
    assert(found || o->failed || s->at == NULL || s->refused); /* (4) */
    out += s->out;
  }
  for (l = o->gone.next; l != &o->gone && count < CHECKED_MOST;
       l = l->next, count++) {
    const strand_staged *s = strand_list_entry(l, strand_staged, link);
    assert(s->record == NULL && s->out > 0); /* (2) */
    out += s->out;
  }
  (void)out;
  (void)found;
  assert(count == CHECKED_MOST || found);         /* (1) */
  assert(count == CHECKED_MOST || out == o->out); /* (3) */
}
