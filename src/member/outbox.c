/*
** outbox.c - the producer of a member's dead letters and outputs
*/
#include "member/outbox.h"

#include <assert.h>
#include <stdlib.h>

#include "kafka/conf.h"
#include "kafka/errors.h"
#include "producer/stall.h"

#define PATIENCE_US 10000000 /* without a report, before that is told */

/*
** Problems: told at once, and again with back-off while it lasts
*/

static void tell_text (strand_outbox *o, strand_alert *t, const char *type,
                       rd_kafka_resp_err_t err, const char *text,
                       int32_t partition, int64_t now_us) {
  char code[48], reason[300];
  strand_alert_begin(t, now_us, 0);
  if (!strand_alert_take_due(t, now_us)) return;
  snprintf(reason, sizeof(reason), "%s wait: %s",
           !o->config->produces       ? "dead letters"
           : o->config->topic == NULL ? "outputs"
                                      : "outputs and dead letters",
           text);
  strand_owner_tell(o->owner, type, strand_code_of(err, code, sizeof(code)),
                    reason, o->config->topic, partition);
}

static void tell (strand_outbox *o, strand_alert *t, const char *type,
                  rd_kafka_resp_err_t err, int64_t now_us) {
  tell_text(o, t, type, err, rd_kafka_err2str(err), -1, now_us);
}

void strand_outbox_hear (strand_outbox *o, rd_kafka_resp_err_t err,
                         int64_t now_us) {
  if (err == RD_KAFKA_RESP_ERR__FATAL) {
    o->broken = true;
    return;
  }
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_UNREACHABLE:
      o->unreachable_err = err; /* see tell_silence */
      return;
    case STRAND_ERROR_MISSING:
      tell(o, &o->missing, "topic_missing", err, now_us);
      return;
    case STRAND_ERROR_UNAUTHENTICATED:
    case STRAND_ERROR_UNAUTHORIZED:
      tell(o, &o->refused, "auth_failed", err, now_us);
      return;
    default: tell(o, &o->failing, "error", err, now_us);
  }
}

/* The helper does one after another: the client outlives the question. */
static bool ask_why (strand_outbox *o) {
  strand_call *call;
  if (o->client == NULL) return false;
  call = strand_call_new(STRAND_CALL_STALLED, NULL);
  if (call == NULL) return false;
  call->arg = o->client;
  o->asking = true;
  strand_helper_leave(o->owner->helper, call);
  return true;
}

/* librdkafka's own word for it comes and goes with each connection, and it
** has none for leaders that are away and for too few copies. */
void strand_outbox_tick (strand_outbox *o, int64_t now_us) {
  if (o->out > 0) {
    strand_alert_begin(&o->unreachable, o->heard_us, PATIENCE_US);
  }
  if (!strand_alert_is_due(&o->unreachable, now_us)) return;
  if (o->asking || ask_why(o)) return;
  tell(o, &o->unreachable, "unreachable", o->unreachable_err, now_us);
}

void strand_outbox_stalled (strand_outbox *o, const strand_call *call,
                            int64_t now_us) {
  static const char text[] = "the leaders answer, and acknowledge nothing";
  strand_obstacle obstacle;
  o->asking = false;
  if (o->left || o->unreachable.since_us == 0) return; /* one was heard of */
  if (strand_error_kind_of(call->err) == STRAND_ERROR_PASSING) {
    strand_alert_take_due(&o->unreachable,
                          now_us); /* not known: asked again */
    return;
  }
  if (call->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    tell(o, &o->unreachable, "unreachable", o->unreachable_err, now_us);
    return;
  }
  strand_obstacle_of(call->list, o->all_acks, &obstacle);
  if (obstacle.type == NULL) {
    tell_text(o, &o->unreachable, "error", o->unreachable_err, text, -1,
              now_us);
  }
  else {
    tell_text(o, &o->unreachable, obstacle.type, obstacle.err, obstacle.reason,
              obstacle.partition, now_us);
  }
}

/*
** The client
*/

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
static bool read_acks (strand_outbox *o, rd_kafka_conf_t *conf,
                       strand_failure *failure) {
  int acks = strand_conf_acks(conf);
  o->all_acks = acks == STRAND_ACKS_ALL;
  if (acks != 0) return true;
  strand_fail(failure, "OPTION",
              "option 'producer.kafka': property 'acks': "
              "%s counts when it is acknowledged",
              o->config->produces ? "an output" : "a dead letter");
  return false;
}

void strand_outbox_name_option (strand_failure *failure) {
  static const char was[] = "option 'kafka'";
  char text[sizeof(failure->message)];
  if (strncmp(failure->message, was, sizeof(was) - 1) != 0) return;
  snprintf(text, sizeof(text), "%.480s", failure->message + sizeof(was) - 1);
  strand_fail(failure, "OPTION", "option 'producer.kafka'%s", text);
}

/* An output to a topic that is not there ends its record, so a topic that has
** just been made gets the time to be known; and no output is given up. */
static const strand_property of_outputs[] = {
  { "topic.metadata.propagation.max.ms", "10000" },
  { "message.timeout.ms", "0" },
};

static void set_defaults (const strand_dead_letters_config *c,
                          rd_kafka_conf_t *conf, const strand_property *set,
                          size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (strand_conf_has(c->kafka, c->kafka_count, set[i].name)) continue;
    rd_kafka_conf_set(conf, set[i].name, set[i].value, NULL, 0);
  }
}

static const char *get (const rd_kafka_conf_t *conf, const char *name,
                        char *text, size_t size) {
  text[0] = '\0';
  rd_kafka_conf_get(conf, name, text, &size);
  return text;
}

static void note_limits (strand_outbox *o, const rd_kafka_conf_t *conf) {
  strand_staging *s = &o->owner->consumer->staging;
  char text[32];
  s->max_message = (size_t)strtoull(
    get(conf, "message.max.bytes", text, sizeof(text)), NULL, 10);
  s->compressed = strcmp(get(conf, "compression.codec", text, sizeof(text)),
                         "none")
                  != 0;
  s->partitioner = o->placement.which;
}

static int64_t batch_size_of (const rd_kafka_conf_t *conf) {
  char text[32];
  return strtoll(get(conf, "batch.size", text, sizeof(text)), NULL, 10);
}

static rd_kafka_conf_t *make_conf (strand_outbox *o, strand_opaque *opaque,
                                   strand_failure *failure) {
  const strand_dead_letters_config *c = o->config;
  rd_kafka_conf_t *conf = strand_conf_new(RD_KAFKA_PRODUCER, c->kafka,
                                          c->kafka_count, failure);
  if (conf == NULL) return NULL;
  set_defaults(c, conf, defaults, sizeof(defaults) / sizeof(defaults[0]));
  if (c->produces) {
    set_defaults(c, conf, of_outputs,
                 sizeof(of_outputs) / sizeof(of_outputs[0]));
    note_limits(o, conf);
  }
  o->batch_size = batch_size_of(conf);
  rd_kafka_conf_set_opaque(conf, opaque);
  rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR
                                   | RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
  strand_placement_install(conf, &o->placement);
  if (read_acks(o, conf, failure)) return conf;
  rd_kafka_conf_destroy(conf);
  return NULL;
}

static bool open_client (strand_outbox *o, strand_failure *failure) {
  static const uint64_t one = 1;
  rd_kafka_t *client = strand_conf_open(RD_KAFKA_PRODUCER,
                                        rd_kafka_conf_dup(o->conf), failure);
  if (client == NULL) return false;
  o->queue = rd_kafka_queue_get_main(client);
  rd_kafka_queue_io_event_enable(o->queue, o->waker->fd, &one, sizeof(one));
  if (o->config->produces) { /* without memory nothing is known */
    o->calls = strand_calls_new(client, o->waker->fd, &o->placement);
  }
  strand_lock_take(&o->lock);
  o->client = client;
  strand_lock_release(&o->lock);
  return true;
}

/* Whoever gets it destroys it. */
static rd_kafka_t *let_go (strand_outbox *o) {
  rd_kafka_t *client = o->client;
  if (client == NULL) return NULL;
  rd_kafka_queue_io_event_enable(o->queue, -1, NULL, 0);
  rd_kafka_queue_destroy(o->queue);
  o->queue = NULL;
  strand_lock_take(&o->lock);
  o->client = NULL;
  strand_lock_release(&o->lock);
  return client;
}

/* They end before their client. */
static strand_calls *take_calls (strand_outbox *o) {
  strand_calls *calls = o->calls;
  o->calls = NULL;
  if (calls != NULL) strand_calls_stop(calls);
  return calls;
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

void strand_outbox_init (strand_outbox *o, const strand_owner *owner,
                         strand_waker *waker) {
  const strand_dead_letters_config *config =
    &owner->consumer->settings.dead_letters;
  const char *partitioner = config->partitioner;
  *o = (strand_outbox){ .owner = owner,
                        .waker = waker,
                        .config = config,
                        .unreachable_err = RD_KAFKA_RESP_ERR__TIMED_OUT };
  if (partitioner == NULL) partitioner = "murmur2_random";
  strand_partitioner_find(partitioner, &o->placement.which);
  o->left = owner->consumer->settings.delivery == STRAND_EXACTLY_ONCE;
  strand_lock_init(&o->lock, STRAND_RANK_CLIENT);
}

bool strand_outbox_open (strand_outbox *o, strand_opaque *opaque,
                         strand_failure *failure) {
  if (!strand_outbox_is_wanted(o) && !o->left) return true;
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  o->group = group_of(o->owner->client);
  if (o->group == NULL) return false;
  o->conf = make_conf(o, opaque, failure);
  if (o->conf != NULL && (o->left || open_client(o, failure))) return true;
  strand_outbox_name_option(failure);
  return false;
}

void strand_outbox_free (strand_outbox *o) {
  rd_kafka_t *client = let_go(o);
  strand_calls_free(take_calls(o));
  if (client != NULL) rd_kafka_destroy(client);
  strand_placement_free(&o->placement);
  if (o->conf != NULL) rd_kafka_conf_destroy(o->conf);
  free(o->group);
  strand_lock_free(&o->lock);
}

/* To the helper. False: memory ran out. */
static bool leave_client (strand_outbox *o) {
  strand_call *call;
  if (o->client == NULL) return true;
  call = strand_call_new(STRAND_CALL_DROP, NULL);
  if (call == NULL) return false;
  call->arg = let_go(o);
  call->calls = take_calls(o);
  o->dropping++;
  strand_helper_leave(o->owner->helper, call);
  return true;
}

bool strand_outbox_leave (strand_outbox *o) {
  bool left = leave_client(o);
  o->left = o->left || left;
  return left;
}

void strand_outbox_gone (strand_outbox *o) {
  o->dropping--;
}

bool strand_outbox_has_client (const strand_outbox *o) {
  return o->client != NULL;
}

bool strand_outbox_is_gone (const strand_outbox *o) {
  return o->dropping == 0;
}

/* What it has is purged first: it must not ask for a place of records whose
** opaques are gone. */
bool strand_outbox_renew (strand_outbox *o) {
  strand_failure failure;
  if (o->client != NULL) {
    rd_kafka_purge(o->client, RD_KAFKA_PURGE_F_QUEUE
                                | RD_KAFKA_PURGE_F_INFLIGHT
                                | RD_KAFKA_PURGE_F_NON_BLOCKING);
  }
  if (!leave_client(o)) return false;
  o->out = 0;
  o->one_alone = o->full = o->draining = false;
  o->broken = !open_client(o, &failure);
  return true;
}

/* librdkafka takes any size of 1 byte or more. */
static void drain_into (strand_outbox *o, const char *size) {
  if (o->client == NULL) return; /* 'conf' is the transactor's to read */
  rd_kafka_conf_set(o->conf, "batch.size", size, NULL, 0);
  o->draining = true;
}

static bool sends (const strand_outbox *o) {
  return o->client != NULL
         || o->owner->consumer->settings.delivery == STRAND_EXACTLY_ONCE;
}

void strand_outbox_fit (strand_outbox *o, const char *topic, int64_t bytes) {
  int64_t before = o->batch_size;
  char reason[200], size[32];
  if (bytes >= before || !sends(o)) return;
  snprintf(size, sizeof(size), "%lld", (long long)bytes);
  drain_into(o, size);
  o->batch_size = bytes;
  snprintf(
    reason, sizeof(reason),
    "batches of outputs of more than %s bytes are refused: 'batch.size' "
    "was %lld, and is that from now on; set it in 'producer.kafka'",
    size, (long long)before);
  strand_owner_tell(o->owner, "batch_limit", "MSG_SIZE_TOO_LARGE", reason,
                    topic, -1);
}

/*
** Tokens
*/

rd_kafka_resp_err_t strand_outbox_token (strand_outbox *o, const char *token,
                                         int64_t expires_ms,
                                         const char *principal, char *error,
                                         size_t size) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  strand_lock_take(&o->lock);
  if (o->client != NULL) {
    err = rd_kafka_oauthbearer_set_token(o->client, token, expires_ms,
                                         principal, NULL, 0, error, size);
  }
  strand_lock_release(&o->lock);
  return err;
}

void strand_outbox_token_fail (strand_outbox *o, const char *message) {
  strand_lock_take(&o->lock);
  if (o->client != NULL) {
    rd_kafka_oauthbearer_set_token_failure(o->client, message);
  }
  strand_lock_release(&o->lock);
}

/*
** Out, and in
*/

bool strand_outbox_has_room (const strand_outbox *o, bool alone,
                             const void *opaque) {
  if (o->client == NULL || o->full || o->one_alone || o->draining)
    return false;
  if (o->next_alone != NULL && o->next_alone != opaque) return false;
  return !alone || o->out == 0;
}

void strand_outbox_await_alone (strand_outbox *o, const void *opaque) {
  if (o->next_alone == NULL) o->next_alone = opaque;
}

void strand_outbox_waive (strand_outbox *o, const void *opaque) {
  if (o->next_alone == opaque) o->next_alone = NULL;
}

rd_kafka_resp_err_t
strand_outbox_send (strand_outbox *o, rd_kafka_topic_t *topic,
                    const strand_outgoing *record, rd_kafka_headers_t *headers,
                    bool alone, void *opaque, int64_t now_us) {
  rd_kafka_resp_err_t err = topic != NULL
                              ? strand_outgoing_produce_to(
                                o->client, topic, record, headers, opaque)
                              : strand_outgoing_produce(o->client, record,
                                                        headers, opaque);
  o->full = err == RD_KAFKA_RESP_ERR__QUEUE_FULL && o->out > 0;
  if (!o->full) strand_outbox_waive(o, opaque);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (headers != NULL) rd_kafka_headers_destroy(headers);
    return err;
  }
  if (o->out++ == 0 && o->unreachable.since_us == 0) o->heard_us = now_us;
  o->one_alone = alone;
  return err;
}

static void take_error (strand_outbox *o, rd_kafka_event_t *event,
                        int64_t now_us) {
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  char text[512];
  if (err != RD_KAFKA_RESP_ERR__FATAL) {
    strand_outbox_hear(o, err, now_us);
    return;
  }
  err = rd_kafka_fatal_error(o->client, text, sizeof(text));
  o->broken = true;
  tell(o, &o->failing, "error", err, now_us);
}

rd_kafka_event_t *strand_outbox_poll (strand_outbox *o, int64_t now_us) {
  rd_kafka_event_t *event = o->queue == NULL
                              ? NULL
                              : rd_kafka_queue_poll(o->queue, 0);
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_ERROR: take_error(o, event, now_us); break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
      strand_shared_want_token(o->owner->consumer);
      break;
    default: break;
  }
  return event;
}

void strand_outbox_report (strand_outbox *o, rd_kafka_resp_err_t err,
                           int64_t now_us) {
  o->out--;
  o->one_alone = o->full = false;
  if (strand_error_kind_of(err) == STRAND_ERROR_UNREACHABLE) return;
  o->heard_us = now_us;
  o->unreachable.since_us = 0;
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  o->missing.since_us = o->refused.since_us = o->failing.since_us = 0;
}

int64_t strand_outbox_due (const strand_outbox *o) {
  if (o->unreachable.since_us == 0 || o->asking) return INT64_MAX;
  return o->unreachable.tell_us;
}

void strand_outbox_check (const strand_outbox *o) {
  strand_placement_check(&o->placement);
  assert((o->client == NULL) == (o->queue == NULL)); /* (1) */
  assert(o->client != NULL || o->calls == NULL);     /* (1) */
  assert(!o->full || o->out > 0);                    /* (2) */
  assert(!o->one_alone || o->out == 1);              /* (3) */
}
