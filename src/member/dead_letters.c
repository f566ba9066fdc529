/*
** dead_letters.c - see dead_letters.h
*/
#include "member/dead_letters.h"

#include <assert.h>
#include <stdlib.h>

#include "kafka/errors.h"
#include "member/dead_letter_format.h"

#define AGAIN_FIRST_US 100000
#define AGAIN_MOST_US 10000000
#define SETTLE_AGAIN_US 100000 /* after memory ran out */
#define CHECKED_MOST 64        /* of thousands, at each turn */

typedef struct dead_letter {
  strand_sent sent;      /* first: its client's opaque */
  strand_link link;      /* of its queue */
  strand_link mine;      /* of its partition's */
  strand_record *record; /* NULL: its partition was revoked */
  const char *problem;   /* why it is settled; NULL: acknowledged */
  strand_dead_letter_cut cut;
  bool out;
  bool alone;  /* nothing else is out while it is */
  bool by_key; /* the partition of the same number is not there */
} dead_letter;

/* Once: the dead letter topic has fewer partitions than a source. */
static void tell_fewer (strand_dead_letters *l, const dead_letter *a) {
  const strand_partition *p = strand_record_partition(a->record);
  if (l->fewer_reported) return;
  l->fewer_reported = true;
  strand_owner_tell(l->owner, "error", "UNKNOWN_PARTITION",
                    STRAND_DEAD_LETTER_BY_KEY, l->outbox->config->topic,
                    strand_partition_index(p));
}

/*
** Queues
*/

static dead_letter *first_of (const strand_link *queue) {
  if (strand_list_empty(queue)) return NULL;
  return strand_list_entry(queue->next, dead_letter, link);
}

static void move (dead_letter *a, strand_link *queue) {
  strand_list_remove(&a->link);
  strand_list_push(queue, &a->link);
}

static void drop (strand_dead_letters *l, dead_letter *a) {
  strand_outbox_waive(l->outbox, a);
  strand_list_remove(&a->link);
  strand_list_remove(&a->mine);
  free(a);
}

bool strand_dead_letters_take (strand_dead_letters *l, strand_partition *p,
                               strand_record *record) {
  strand_assigned *assigned = strand_partition_opaque(p);
  dead_letter *a = calloc(1, sizeof(*a));
  if (a == NULL) return false;
  a->record = record;
  strand_list_push(&l->ready, &a->link);
  strand_list_push(&assigned->dead_letters, &a->mine);
  return true;
}

void strand_dead_letters_forget (strand_dead_letters *l,
                                 strand_assigned *assigned) {
  while (!strand_list_empty(&assigned->dead_letters)) {
    dead_letter *a = strand_list_entry(assigned->dead_letters.next,
                                       dead_letter, mine);
    a->record = NULL;
    strand_list_remove(&a->mine);
    if (!a->out) drop(l, a);
  }
}

static void drop_all (strand_dead_letters *l, strand_link *queue) {
  dead_letter *a;
  while ((a = first_of(queue)) != NULL) drop(l, a);
}

void strand_dead_letters_init (strand_dead_letters *l,
                               const strand_owner *owner,
                               strand_outbox *outbox,
                               strand_snapshot *snapshot) {
  *l = (strand_dead_letters){ .owner = owner,
                              .outbox = outbox,
                              .snapshot = snapshot,
                              .again_us = INT64_MAX,
                              .wait_us = AGAIN_FIRST_US };
  strand_list_init(&l->ready);
  strand_list_init(&l->again);
  strand_list_init(&l->out);
  strand_list_init(&l->settled);
}

void strand_dead_letters_free (strand_dead_letters *l) {
  drop_all(l, &l->ready);
  drop_all(l, &l->again);
  drop_all(l, &l->out);
  drop_all(l, &l->settled);
}

/*
** What became of one
*/

static void settle (strand_dead_letters *l, dead_letter *a,
                    const char *problem) {
  a->problem = problem;
  move(a, &l->settled);
}

static void wait_again (strand_dead_letters *l, dead_letter *a,
                        int64_t now_us) {
  move(a, &l->again);
  if (l->again_us != INT64_MAX) return;
  l->again_us = now_us + l->wait_us;
  l->wait_us *= 2;
  if (l->wait_us > AGAIN_MOST_US) l->wait_us = AGAIN_MOST_US;
}

static void cut (strand_dead_letters *l, dead_letter *a,
                 rd_kafka_resp_err_t err) {
  const strand_dead_letters_config *c = l->outbox->config;
  if (a->cut == STRAND_CUT_NOTHING) a->cut = STRAND_CUT_REASON;
  else if (a->cut == STRAND_CUT_REASON && c->allow_value_drop
           && a->record->value_length > 0)
    a->cut = STRAND_CUT_VALUE;
  else {
    settle(l, a, rd_kafka_err2str(err));
    return;
  }
  move(a, &l->ready);
}

static void refuse (strand_dead_letters *l, dead_letter *a, bool by_itself,
                    rd_kafka_resp_err_t err) {
  if (!by_itself) {
    a->alone = true;
    move(a, &l->ready);
  }
  else if (strand_error_kind_of(err) == STRAND_ERROR_TOO_LARGE) {
    cut(l, a, err);
  }
  else settle(l, a, rd_kafka_err2str(err));
}

/* 'by_itself': not in a batch, of which another may be to blame. */
static void judge (strand_dead_letters *l, dead_letter *a,
                   rd_kafka_resp_err_t err, bool by_itself, int64_t now_us) {
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) settle(l, a, NULL);
  else if (strand_error_is_final(err)) refuse(l, a, by_itself, err);
  else if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
           && l->outbox->config->same_partition && !a->by_key) {
    a->by_key = true;
    move(a, &l->ready);
  }
  else {
    strand_outbox_hear(l->outbox, err, now_us);
    a->by_key = false; /* the topic may appear, or grow */
    wait_again(l, a, now_us);
  }
}

/*
** Out
*/

static rd_kafka_resp_err_t produce (strand_dead_letters *l, dead_letter *a,
                                    int64_t now_us) {
  const strand_record *r = a->record;
  const strand_dead_letters_config *c = l->outbox->config;
  bool value = r->flags & STRAND_RECORD_VALUE && a->cut != STRAND_CUT_VALUE;
  strand_outgoing record = {
    .topic = c->topic,
    .key = r->flags & STRAND_RECORD_KEY ? strand_record_key(r) : NULL,
    .key_length = r->key_length,
    .value = value ? strand_record_value(r) : NULL,
    .value_length = value ? r->value_length : 0,
    .timestamp_ms = r->timestamp_type != STRAND_TIMESTAMP_NONE
                      ? r->timestamp_ms
                      : 0,
    .partition = c->same_partition && !a->by_key
                   ? strand_partition_index(strand_record_partition(r))
                   : RD_KAFKA_PARTITION_UA
  };
  return strand_outbox_send(
    l->outbox, NULL, &record,
    strand_dead_letter_headers(c, l->outbox->group, r, a->cut,
                               &l->owner->consumer->time),
    a->alone, a, now_us);
}

static void send_one (strand_dead_letters *l, dead_letter *a, int64_t now_us) {
  rd_kafka_resp_err_t err;
  if (strand_dead_letter_returns(l->outbox->config, l->outbox->group,
                                 a->record)) {
    settle(l, a, STRAND_DEAD_LETTER_RETURNED);
    return;
  }
  if (a->by_key) tell_fewer(l, a);
  err = produce(l, a, now_us);
  if (strand_outbox_is_full(l->outbox)) return;
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    judge(l, a, err, true, now_us);
    return;
  }
  a->out = true;
  l->out_count++;
  move(a, &l->out);
}

/* What is ready has to wait for a report. */
static bool is_held_up (const strand_dead_letters *l) {
  const dead_letter *a = first_of(&l->ready);
  return !strand_outbox_has_room(l->outbox, a != NULL && a->alone, a);
}

static void send_ready (strand_dead_letters *l, int64_t now_us) {
  dead_letter *a;
  while ((a = first_of(&l->ready)) != NULL && !is_held_up(l)) {
    send_one(l, a, now_us);
  }
  if (a != NULL && a->alone) strand_outbox_await_alone(l->outbox, a);
}

static void send_again (strand_dead_letters *l, int64_t now_us) {
  dead_letter *a;
  if (now_us < l->again_us) return;
  l->again_us = INT64_MAX;
  while ((a = first_of(&l->again)) != NULL) move(a, &l->ready);
}

/*
** In
*/

void strand_dead_letters_report (strand_dead_letters *l,
                                 const rd_kafka_message_t *report,
                                 int64_t now_us) {
  dead_letter *a = report->_private;
  a->out = false;
  l->out_count--;
  if (report->err == RD_KAFKA_RESP_ERR_NO_ERROR
      && strand_list_empty(&l->again)) {
    l->wait_us = AGAIN_FIRST_US;
  }
  if (a->record == NULL) drop(l, a);
  else judge(l, a, report->err, a->alone, now_us);
}

void strand_dead_letters_again (strand_dead_letters *l, int64_t now_us) {
  dead_letter *a;
  l->out_count = 0;
  while ((a = first_of(&l->out)) != NULL) {
    a->out = false;
    if (a->record == NULL) drop(l, a);
    else wait_again(l, a, now_us);
  }
}

/*
** The engine is told
*/

static strand_err park (strand_dead_letters *l, const dead_letter *a,
                        int64_t now_us) {
  char reason[STRAND_REASON_MAX];
  size_t length = strand_dead_letter_excuse(reason, a->record, a->problem);
  return strand_engine_dead_letter_refused(l->owner->engine, a->record, reason,
                                           length, now_us);
}

static void tell_engine (strand_dead_letters *l, int64_t now_us) {
  dead_letter *a;
  while ((a = first_of(&l->settled)) != NULL) {
    strand_err err = a->problem != NULL ? park(l, a, now_us)
                                        : strand_engine_dead_letter_acked(
                                          l->owner->engine, a->record, now_us);
    if (err != STRAND_OK) return; /* memory ran out: in a later turn */
    drop(l, a);
    strand_snapshot_change(l->snapshot);
  }
}

void strand_dead_letters_serve (strand_dead_letters *l, int64_t now_us) {
  if (!strand_outbox_is_open(l->outbox)) return;
  send_again(l, now_us);
  send_ready(l, now_us);
  tell_engine(l, now_us);
}

int64_t strand_dead_letters_due (const strand_dead_letters *l,
                                 int64_t now_us) {
  int64_t due;
  if (!strand_outbox_is_open(l->outbox)) return INT64_MAX;
  if (!strand_list_empty(&l->ready) && !is_held_up(l)) return now_us;
  due = l->again_us;
  if (!strand_list_empty(&l->settled) && now_us + SETTLE_AGAIN_US < due) {
    due = now_us + SETTLE_AGAIN_US;
  }
  return due;
}

static size_t count_of (const strand_link *queue) {
  size_t count = 0;
  for (const strand_link *at = queue->next;
       at != queue && count < CHECKED_MOST; at = at->next)
    count++;
  return count;
}

static bool are_out (const strand_link *queue, bool out) {
  size_t count = count_of(queue);
  for (const strand_link *at = queue->next; count > 0; at = at->next, count--)
    if (strand_list_entry(at, dead_letter, link)->out != out) return false;
  return true;
}

static bool have_records (const strand_link *queue) {
  size_t count = count_of(queue);
  for (const strand_link *at = queue->next; count > 0; at = at->next, count--)
    if (strand_list_entry(at, dead_letter, link)->record == NULL) return false;
  return true;
}

void strand_dead_letters_check (const strand_dead_letters *l) {
  const strand_link *in[] = { &l->ready, &l->again, &l->settled };
  size_t out = count_of(&l->out);
  bool good = are_out(&l->out, true);
  assert(good); /* (1) */
  for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
    good = are_out(in[i], false);
    assert(good); /* (1) */
    good = have_records(in[i]);
    assert(good); /* (2) */
  }
  (void)out;
  (void)good;
  assert(out == CHECKED_MOST || out == l->out_count);              /* (3) */
  assert(strand_list_empty(&l->again) || l->again_us < INT64_MAX); /* (4) */
}
