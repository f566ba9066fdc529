/*
** letters.c - see letters.h
*/
#include "kafka/letters.h"

#include <stdlib.h>

#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/letter.h"
#include "kafka/lock.h"
#include "kafka/placement.h"
#include "kafka/stall.h"

#define EVENTS_MOST 100 /* of one turn */
#define AGAIN_FIRST_US 100000
#define AGAIN_MOST_US 10000000
#define SETTLE_AGAIN_US 100000 /* after memory ran out */
#define PATIENCE_US 10000000   /* without a report, before that is told */

typedef struct letter {
  strand_link link;      /* of its queue */
  strand_link mine;      /* of its tag's */
  strand_record *record; /* NULL: its partition was revoked */
  const char *problem;   /* why it is settled; NULL: acknowledged */
  strand_letter_cut cut;
  bool out;
  bool alone;  /* nothing else is out while it is */
  bool by_key; /* the partition of the same number is not there */
} letter;

struct strand_letters {
  const strand_owner *owner;
  strand_snapshot *snapshot;
  strand_waker *waker;
  const strand_letters_config *config;
  strand_placement placement;
  rd_kafka_conf_t *conf; /* to make a client of */
  strand_lock lock;      /* who changes 'client' has it, and the lua thread
                              while it uses it */
  rd_kafka_t *client;    /* NULL: left, or none could be made */
  rd_kafka_queue_t *queue;
  char *group;
  strand_link ready;
  strand_link again;
  strand_link out;
  strand_link settled;
  size_t out_count;
  bool one_alone; /* what is out is to be out alone */
  bool full;      /* librdkafka's queue, until the next report */
  bool broken;    /* the client is to be replaced */
  bool left;
  bool all_acks;     /* the copies count */
  bool asking;       /* the helper asks what is in the way */
  unsigned dropping; /* clients that the helper is to destroy */
  bool fewer_told;
  int64_t again_us; /* INT64_MAX: 'again' is empty */
  int64_t wait_us;
  int64_t heard_us; /* the last report, or when there was none to come */
  rd_kafka_resp_err_t away_err;
  strand_trouble away;    /* no broker */
  strand_trouble missing; /* no topic */
  strand_trouble refused; /* credentials */
  strand_trouble failing; /* anything else */
};

/*
** Trouble: told at once, and again with back-off while it lasts
*/

static void tell_text (strand_letters *l, strand_trouble *t, const char *type,
                       rd_kafka_resp_err_t err, const char *text,
                       int32_t partition, int64_t now_us) {
  char code[48], reason[300];
  strand_trouble_begin(t, now_us, 0);
  if (!strand_trouble_take_due(t, now_us)) return;
  snprintf(reason, sizeof(reason), "dead letters wait: %s", text);
  strand_owner_tell(l->owner, type, strand_code_of(err, code, sizeof(code)),
                    reason, l->config->topic, partition);
}

static void tell (strand_letters *l, strand_trouble *t, const char *type,
                  rd_kafka_resp_err_t err, int64_t now_us) {
  tell_text(l, t, type, err, rd_kafka_err2str(err), -1, now_us);
}

static void tell_error (strand_letters *l, rd_kafka_resp_err_t err,
                        int64_t now_us) {
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_AWAY:
      l->away_err = err; /* see tell_silence */
      return;
    case STRAND_ERROR_MISSING:
      tell(l, &l->missing, "topic_missing", err, now_us);
      return;
    case STRAND_ERROR_UNAUTHENTICATED:
    case STRAND_ERROR_UNAUTHORIZED:
      tell(l, &l->refused, "auth_failed", err, now_us);
      return;
    default: tell(l, &l->failing, "error", err, now_us);
  }
}

/* The helper does one after another: the client outlives the question. */
static bool ask_why (strand_letters *l) {
  strand_call *call;
  if (l->client == NULL) return false;
  call = strand_call_new(STRAND_CALL_STALLED, NULL);
  if (call == NULL) return false;
  call->arg = l->client;
  l->asking = true;
  strand_helper_leave(l->owner->helper, call);
  return true;
}

/* librdkafka's own word for it comes and goes with each connection, and it
** has none for leaders that are away and for too few copies. */
static void tell_silence (strand_letters *l, int64_t now_us) {
  if (l->out_count > 0) {
    strand_trouble_begin(&l->away, l->heard_us, PATIENCE_US);
  }
  if (!strand_trouble_is_due(&l->away, now_us)) return;
  if (l->asking || ask_why(l)) return;
  tell(l, &l->away, "unreachable", l->away_err, now_us);
}

void strand_letters_stalled (strand_letters *l, const strand_call *call,
                             int64_t now_us) {
  static const char text[] = "the leaders answer, and acknowledge nothing";
  strand_obstacle obstacle;
  l->asking = false;
  if (l->left || l->away.since_us == 0) return; /* one was heard of */
  if (strand_error_kind_of(call->err) == STRAND_ERROR_PASSING) {
    strand_trouble_take_due(&l->away, now_us); /* not known: asked again */
    return;
  }
  if (call->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    tell(l, &l->away, "unreachable", l->away_err, now_us);
    return;
  }
  strand_obstacle_of(call->list, l->all_acks, &obstacle);
  if (obstacle.type == NULL) {
    tell_text(l, &l->away, "error", l->away_err, text, -1, now_us);
  }
  else {
    tell_text(l, &l->away, obstacle.type, obstacle.err, obstacle.reason,
              obstacle.partition, now_us);
  }
}

static void note_report (strand_letters *l, rd_kafka_resp_err_t err,
                         int64_t now_us) {
  if (strand_error_kind_of(err) == STRAND_ERROR_AWAY) return;
  l->heard_us = now_us;
  l->away.since_us = 0;
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  l->missing.since_us = l->refused.since_us = l->failing.since_us = 0;
  if (strand_list_empty(&l->again)) l->wait_us = AGAIN_FIRST_US;
}

/* Once: the dead letter topic has fewer partitions than a source. */
static void tell_fewer (strand_letters *l, const letter *a) {
  static const char reason[] =
    "the dead letter topic has no partition of this number: placed by key";
  const strand_partition *p = strand_record_partition(a->record);
  if (l->fewer_told) return;
  l->fewer_told = true;
  strand_owner_tell(l->owner, "error", "UNKNOWN_PARTITION", reason,
                    l->config->topic, strand_partition_index(p));
}

/*
** Queues
*/

static letter *first_of (const strand_link *queue) {
  if (strand_list_empty(queue)) return NULL;
  return strand_list_entry(queue->next, letter, link);
}

static void move (letter *a, strand_link *queue) {
  strand_list_remove(&a->link);
  strand_list_push(queue, &a->link);
}

static void drop (letter *a) {
  strand_list_remove(&a->link);
  strand_list_remove(&a->mine);
  free(a);
}

bool strand_letters_take (strand_letters *l, strand_partition *p,
                          strand_record *record) {
  strand_tag *tag = strand_partition_tag(p);
  letter *a = calloc(1, sizeof(*a));
  if (a == NULL) return false;
  a->record = record;
  strand_list_push(&l->ready, &a->link);
  strand_list_push(&tag->letters, &a->mine);
  return true;
}

void strand_letters_forget (strand_tag *tag) {
  while (!strand_list_empty(&tag->letters)) {
    letter *a = strand_list_entry(tag->letters.next, letter, mine);
    a->record = NULL;
    strand_list_remove(&a->mine);
    if (!a->out) drop(a);
  }
}

/*
** The client
*/

static bool has (const strand_letters_config *c, const char *name) {
  for (size_t i = 0; i < c->kafka_count; i++) {
    if (strcmp(c->kafka[i].name, name) == 0) return true;
  }
  return false;
}

/* How large a record may be is the topic's business. librdkafka's queue holds
** the largest, but no gigabyte. It waits half a minute for a topic to appear
** before it says that there is none; and when it was refused one, it asks
** again only with the next refresh, in five. */
static const strand_property defaults[] = {
  { "message.max.bytes", "100000000" },
  { "queue.buffering.max.kbytes", "131072" },
  { "topic.metadata.propagation.max.ms", "1000" },
  { "topic.metadata.refresh.interval.ms", "10000" }
};

/* Without an acknowledgement nothing is known to be there. */
static bool check_acks (strand_letters *l, rd_kafka_conf_t *conf,
                        strand_failure *failure) {
  char value[16] = "";
  size_t size = sizeof(value);
  rd_kafka_conf_get(conf, "acks", value, &size);
  l->all_acks = strand_stall_is_all(value);
  if (strcmp(value, "0") != 0) return true;
  strand_fail(failure, "OPTION",
              "option 'producer.kafka': property 'acks': "
              "a dead letter counts when it is acknowledged");
  return false;
}

/* What conf.c says of properties, said of these. */
static void name_option (strand_failure *failure) {
  static const char was[] = "option 'kafka'";
  char text[sizeof(failure->message)];
  if (strncmp(failure->message, was, sizeof(was) - 1) != 0) return;
  snprintf(text, sizeof(text), "%.480s", failure->message + sizeof(was) - 1);
  strand_fail(failure, "OPTION", "option 'producer.kafka'%s", text);
}

static rd_kafka_conf_t *make_conf (strand_letters *l, strand_opaque *opaque,
                                   strand_failure *failure) {
  const strand_letters_config *c = l->config;
  rd_kafka_conf_t *conf = strand_conf_new(RD_KAFKA_PRODUCER, c->kafka,
                                          c->kafka_count, failure);
  if (conf == NULL) return NULL;
  for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
    if (has(c, defaults[i].name)) continue;
    rd_kafka_conf_set(conf, defaults[i].name, defaults[i].value, NULL, 0);
  }
  rd_kafka_conf_set_opaque(conf, opaque);
  rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR
                                   | RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
  strand_placement_install(conf, &l->placement);
  if (check_acks(l, conf, failure)) return conf;
  rd_kafka_conf_destroy(conf);
  return NULL;
}

static bool open_client (strand_letters *l, strand_failure *failure) {
  static const uint64_t one = 1;
  rd_kafka_t *client = strand_conf_open(RD_KAFKA_PRODUCER,
                                        rd_kafka_conf_dup(l->conf), failure);
  if (client == NULL) return false;
  l->queue = rd_kafka_queue_get_main(client);
  rd_kafka_queue_io_event_enable(l->queue, l->waker->fd, &one, sizeof(one));
  strand_lock_take(&l->lock);
  l->client = client;
  strand_lock_release(&l->lock);
  return true;
}

/* Whoever gets it destroys it. */
static rd_kafka_t *let_go (strand_letters *l) {
  rd_kafka_t *client = l->client;
  if (client == NULL) return NULL;
  rd_kafka_queue_io_event_enable(l->queue, -1, NULL, 0);
  rd_kafka_queue_destroy(l->queue);
  l->queue = NULL;
  strand_lock_take(&l->lock);
  l->client = NULL;
  strand_lock_release(&l->lock);
  return client;
}

static strand_letters *new_letters (const strand_owner *owner,
                                    strand_snapshot *snapshot,
                                    strand_waker *waker) {
  const strand_consumer *c = owner->consumer;
  strand_letters *l = calloc(1, sizeof(*l));
  const char *partitioner = c->settings.letters.partitioner;
  if (l == NULL) return NULL;
  l->owner = owner;
  l->snapshot = snapshot;
  l->waker = waker;
  l->config = &c->settings.letters;
  if (partitioner == NULL) partitioner = "murmur2_random";
  strand_partitioner_find(partitioner, &l->placement.which);
  l->placement.by_key = 1;
  strand_lock_init(&l->lock, STRAND_RANK_CLIENT);
  strand_list_init(&l->ready);
  strand_list_init(&l->again);
  strand_list_init(&l->out);
  strand_list_init(&l->settled);
  l->again_us = INT64_MAX;
  l->wait_us = AGAIN_FIRST_US;
  l->away_err = RD_KAFKA_RESP_ERR__TIMED_OUT;
  return l;
}

static char *group_of (rd_kafka_t *client) {
  const rd_kafka_conf_t *conf = rd_kafka_conf(client);
  size_t size = 0;
  char *group;
  rd_kafka_conf_get(conf, "group.id", NULL, &size);
  group = calloc(1, size + 1);
  if (group != NULL) rd_kafka_conf_get(conf, "group.id", group, &size);
  return group;
}

bool strand_letters_open (strand_letters **letters, const strand_owner *owner,
                          strand_snapshot *snapshot, strand_waker *waker,
                          strand_opaque *opaque, strand_failure *failure) {
  strand_letters *l;
  if (owner->consumer->settings.letters.topic == NULL) return true;
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  *letters = l = new_letters(owner, snapshot, waker);
  if (l == NULL) return false;
  l->group = group_of(owner->client);
  if (l->group == NULL) return false;
  l->conf = make_conf(l, opaque, failure);
  if (l->conf != NULL && open_client(l, failure)) return true;
  name_option(failure);
  return false;
}

static void drop_all (strand_link *queue) {
  letter *a;
  while ((a = first_of(queue)) != NULL) drop(a);
}

void strand_letters_free (strand_letters *l) {
  rd_kafka_t *client;
  if (l == NULL) return;
  client = let_go(l);
  if (client != NULL) rd_kafka_destroy(client);
  drop_all(&l->ready);
  drop_all(&l->again);
  drop_all(&l->out);
  drop_all(&l->settled);
  if (l->conf != NULL) rd_kafka_conf_destroy(l->conf);
  free(l->group);
  strand_lock_free(&l->lock);
  free(l);
}

/* To the helper. False: memory ran out. */
static bool leave_client (strand_letters *l) {
  strand_call *call;
  if (l->client == NULL) return true;
  call = strand_call_new(STRAND_CALL_DROP, NULL);
  if (call == NULL) return false;
  call->arg = let_go(l);
  l->dropping++;
  strand_helper_leave(l->owner->helper, call);
  return true;
}

bool strand_letters_leave (strand_letters *l) {
  if (l == NULL) return true;
  l->left = leave_client(l);
  return l->left;
}

void strand_letters_gone (strand_letters *l) {
  l->dropping--;
}

bool strand_letters_have_client (const strand_letters *l) {
  return l != NULL && l->client != NULL;
}

bool strand_letters_are_gone (const strand_letters *l) {
  return l == NULL || l->dropping == 0;
}

/*
** Tokens
*/

rd_kafka_resp_err_t strand_letters_token (strand_letters *l, const char *token,
                                          int64_t expires_ms,
                                          const char *principal, char *error,
                                          size_t size) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  strand_lock_take(&l->lock);
  if (l->client != NULL) {
    err = rd_kafka_oauthbearer_set_token(l->client, token, expires_ms,
                                         principal, NULL, 0, error, size);
  }
  strand_lock_release(&l->lock);
  return err;
}

void strand_letters_token_fail (strand_letters *l, const char *message) {
  if (l == NULL) return;
  strand_lock_take(&l->lock);
  if (l->client != NULL) {
    rd_kafka_oauthbearer_set_token_failure(l->client, message);
  }
  strand_lock_release(&l->lock);
}

/*
** What became of one
*/

static void settle (strand_letters *l, letter *a, const char *problem) {
  a->problem = problem;
  move(a, &l->settled);
}

static void wait_again (strand_letters *l, letter *a, int64_t now_us) {
  move(a, &l->again);
  if (l->again_us != INT64_MAX) return;
  l->again_us = now_us + l->wait_us;
  l->wait_us *= 2;
  if (l->wait_us > AGAIN_MOST_US) l->wait_us = AGAIN_MOST_US;
}

static void cut (strand_letters *l, letter *a, rd_kafka_resp_err_t err) {
  const strand_letters_config *c = l->config;
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

static void refuse (strand_letters *l, letter *a, bool by_itself,
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
static void judge (strand_letters *l, letter *a, rd_kafka_resp_err_t err,
                   bool by_itself, int64_t now_us) {
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) settle(l, a, NULL);
  else if (strand_error_is_final(err)) refuse(l, a, by_itself, err);
  else if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
           && l->config->same_partition && !a->by_key) {
    a->by_key = true;
    move(a, &l->ready);
  }
  else {
    if (err == RD_KAFKA_RESP_ERR__FATAL) l->broken = true;
    else tell_error(l, err, now_us);
    a->by_key = false; /* the topic may appear, or grow */
    wait_again(l, a, now_us);
  }
}

/*
** Out
*/

static rd_kafka_resp_err_t produce (strand_letters *l, letter *a,
                                    int64_t now_us) {
  const strand_record *r = a->record;
  bool key = r->flags & STRAND_RECORD_KEY;
  bool value = r->flags & STRAND_RECORD_VALUE && a->cut != STRAND_CUT_VALUE;
  bool dated = r->timestamp_type != STRAND_TIMESTAMP_NONE;
  int32_t partition = l->config->same_partition && !a->by_key
                        ? strand_partition_index(strand_record_partition(r))
                        : RD_KAFKA_PARTITION_UA;
  rd_kafka_headers_t *headers;
  rd_kafka_resp_err_t err;
  headers = strand_letter_headers(l->config, l->group, r, a->cut, now_us);
  err = rd_kafka_producev(
    l->client, RD_KAFKA_V_TOPIC(l->config->topic),
    RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
    RD_KAFKA_V_KEY(key ? strand_record_key(r) : NULL, (size_t)r->key_length),
    RD_KAFKA_V_VALUE(
      (void *)(uintptr_t)(value ? strand_record_value(r) : NULL),
      value ? (size_t)r->value_length : 0),
    RD_KAFKA_V_TIMESTAMP(dated ? r->timestamp_ms : 0),
    RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(a), RD_KAFKA_V_END);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_headers_destroy(headers);
  return err;
}

static void send_one (strand_letters *l, letter *a, int64_t now_us) {
  static const char returned[] =
    "it comes from the dead letter topic, where this group had sent it";
  rd_kafka_resp_err_t err;
  if (strand_letter_returns(l->config, l->group, a->record)) {
    settle(l, a, returned);
    return;
  }
  if (a->by_key) tell_fewer(l, a);
  err = produce(l, a, now_us);
  l->full = err == RD_KAFKA_RESP_ERR__QUEUE_FULL && l->out_count > 0;
  if (l->full) return;
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    judge(l, a, err, true, now_us);
    return;
  }
  if (l->out_count++ == 0 && l->away.since_us == 0) l->heard_us = now_us;
  l->one_alone = a->alone;
  a->out = true;
  move(a, &l->out);
}

/* What is ready has to wait for a report. */
static bool is_held_up (const strand_letters *l) {
  const letter *a = first_of(&l->ready);
  if (l->client == NULL || l->full || l->one_alone) return true;
  return a != NULL && a->alone && l->out_count > 0;
}

static void send_ready (strand_letters *l, int64_t now_us) {
  letter *a;
  while (!is_held_up(l) && (a = first_of(&l->ready)) != NULL) {
    send_one(l, a, now_us);
  }
}

static void send_again (strand_letters *l, int64_t now_us) {
  letter *a;
  if (now_us < l->again_us) return;
  l->again_us = INT64_MAX;
  while ((a = first_of(&l->again)) != NULL) move(a, &l->ready);
}

/*
** In
*/

static void come_in (strand_letters *l, letter *a) {
  l->out_count--;
  l->one_alone = l->full = a->out = false;
}

static void take_report (strand_letters *l, const rd_kafka_message_t *report,
                         int64_t now_us) {
  letter *a = report->_private;
  come_in(l, a);
  note_report(l, report->err, now_us);
  if (a->record == NULL) drop(a);
  else judge(l, a, report->err, a->alone, now_us);
}

static void take_error (strand_letters *l, rd_kafka_event_t *event,
                        int64_t now_us) {
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  char text[512];
  if (err != RD_KAFKA_RESP_ERR__FATAL) {
    tell_error(l, err, now_us);
    return;
  }
  err = rd_kafka_fatal_error(l->client, text, sizeof(text));
  l->broken = true;
  tell(l, &l->failing, "error", err, now_us);
}

static void take_event (strand_letters *l, rd_kafka_event_t *event,
                        int64_t now_us) {
  const rd_kafka_message_t *report;
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
      while ((report = rd_kafka_event_message_next(event)) != NULL) {
        take_report(l, report, now_us);
      }
      break;
    case RD_KAFKA_EVENT_ERROR: take_error(l, event, now_us); break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
      strand_shared_want_token(l->owner->consumer);
      break;
    default: break;
  }
  rd_kafka_event_destroy(event);
}

static void take_events (strand_letters *l, int64_t now_us) {
  rd_kafka_event_t *event;
  int served = 0;
  while (l->queue != NULL
         && (event = rd_kafka_queue_poll(l->queue, 0)) != NULL) {
    take_event(l, event, now_us);
    strand_snapshot_change(l->snapshot);
    if (++served < EVENTS_MOST) continue;
    l->waker->more = true; /* the next turn comes at once */
    return;
  }
}

/* What is out of a client that goes will not be heard of. */
static void recall (strand_letters *l, int64_t now_us) {
  letter *a;
  while ((a = first_of(&l->out)) != NULL) {
    come_in(l, a);
    if (a->record == NULL) drop(a);
    else wait_again(l, a, now_us);
  }
}

static void renew (strand_letters *l, int64_t now_us) {
  strand_failure failure;
  if (!leave_client(l)) return; /* the next turn tries again */
  recall(l, now_us);
  l->broken = !open_client(l, &failure);
}

/*
** The engine is told
*/

static strand_err park (strand_letters *l, const letter *a, int64_t now_us) {
  char reason[STRAND_REASON_MAX];
  size_t length = strand_letter_excuse(reason, a->record, a->problem);
  return strand_engine_unlettered(l->owner->engine, a->record, reason, length,
                                  now_us);
}

static void tell_engine (strand_letters *l, int64_t now_us) {
  letter *a;
  while ((a = first_of(&l->settled)) != NULL) {
    strand_err err = a->problem != NULL ? park(l, a, now_us)
                                        : strand_engine_lettered(
                                          l->owner->engine, a->record, now_us);
    if (err != STRAND_OK) return; /* memory ran out: in a later turn */
    drop(a);
    strand_snapshot_change(l->snapshot);
  }
}

void strand_letters_serve (strand_letters *l, int64_t now_us) {
  if (l == NULL || l->left) return;
  take_events(l, now_us);
  if (l->broken) renew(l, now_us);
  send_again(l, now_us);
  send_ready(l, now_us);
  tell_engine(l, now_us);
  tell_silence(l, now_us);
}

int64_t strand_letters_due (const strand_letters *l, int64_t now_us) {
  int64_t due;
  if (l == NULL || l->left) return INT64_MAX;
  if (!strand_list_empty(&l->ready) && !is_held_up(l)) return now_us;
  due = l->again_us;
  if (l->away.since_us != 0 && !l->asking && l->away.tell_us < due) {
    due = l->away.tell_us;
  }
  if ((!strand_list_empty(&l->settled) || l->broken)
      && now_us + SETTLE_AGAIN_US < due)
    due = now_us + SETTLE_AGAIN_US;
  return due;
}
