/*
** transactor_client.c - the transactor's client, and what it tells
*/
#include "member/transactor_client.h"

#include <stdlib.h>

#include "kafka/conf.h"
#include "kafka/errors.h"
#include "shared/staged.h"

/* librdkafka waits that long before it asks a coordinator again that is still
** busy with the transaction before: of its 100 ms most are in vain. */
#define BACKOFF_MS 10

static void set (rd_kafka_conf_t *conf, const char *name, int64_t value) {
  char text[32];
  snprintf(text, sizeof(text), "%lld", (long long)value);
  rd_kafka_conf_set(conf, name, text, NULL, 0);
}

static bool has (const strand_transactor_client *c, const char *name) {
  const strand_dead_letters_config *from = c->outbox->config;
  return strand_conf_has(from->kafka, from->kafka_count, name);
}

/* A topic that is not there is found out within the time of what is sent to it:
** else it is not told from brokers that are away. */
static void find_out_in_time (rd_kafka_conf_t *conf, int64_t timeout_ms) {
  static const char name[] = "topic.metadata.propagation.max.ms";
  char text[32] = "";
  size_t size = sizeof(text);
  rd_kafka_conf_get(conf, name, text, &size);
  if (strtoll(text, NULL, 10) > timeout_ms / 2)
    set(conf, name, timeout_ms / 2);
}

/* On a dup of the outbox's. */
static rd_kafka_conf_t *make_conf (strand_transactor_client *c,
                                   long batch_size, strand_failure *failure) {
  rd_kafka_conf_t *conf = rd_kafka_conf_dup(c->outbox->conf);
  char error[200];
  if (rd_kafka_conf_set(conf, "transactional.id", c->id, error, sizeof(error))
      != RD_KAFKA_CONF_OK) {
    strand_fail(failure, "OPTION", "option 'transactional_id': %s", error);
    rd_kafka_conf_destroy(conf);
    return NULL;
  }
  if (!has(c, "retry.backoff.ms")) set(conf, "retry.backoff.ms", BACKOFF_MS);
  if (!has(c, "queue.buffering.max.messages"))
    set(conf, "queue.buffering.max.messages",
        2 * (int64_t)c->owner->consumer->settings.transactional.records);
  set(conf, "transaction.timeout.ms", c->timeout_us / 1000);
  if (!has(c, "message.timeout.ms"))
    set(conf, "message.timeout.ms", c->timeout_us / 1000);
  if (!has(c, "topic.metadata.propagation.max.ms"))
    find_out_in_time(conf, c->timeout_us / 1000);
  set(conf, "batch.size", batch_size);
  return conf;
}

bool strand_transactor_client_open (strand_transactor_client *c,
                                    long batch_size, strand_failure *failure) {
  static const uint64_t one = 1;
  rd_kafka_conf_t *conf = make_conf(c, batch_size, failure);
  rd_kafka_t *client;
  if (conf == NULL) return false;
  client = strand_conf_open(RD_KAFKA_PRODUCER, conf, failure);
  if (client == NULL) return false;
  c->queue = rd_kafka_queue_get_main(client);
  rd_kafka_queue_io_event_enable(c->queue, c->waker.queue_fd, &one,
                                 sizeof(one));
  c->batch_size = batch_size;
  strand_lock_take(&c->lock);
  c->handle = client;
  strand_lock_release(&c->lock);
  return true;
}

rd_kafka_t *strand_transactor_client_let_go (strand_transactor_client *c) {
  rd_kafka_t *client = c->handle;
  if (client == NULL) return NULL;
  rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT
                           | RD_KAFKA_PURGE_F_NON_BLOCKING);
  rd_kafka_queue_io_event_enable(c->queue, -1, NULL, 0);
  rd_kafka_queue_destroy(c->queue);
  c->queue = NULL;
  strand_lock_take(&c->lock);
  c->handle = NULL;
  strand_lock_release(&c->lock);
  return client;
}

/*
** What its client tells
*/

/* What was purged is not its record's fault: the transaction has failed, or it
** is we who give it up. */
static void take_report (strand_transactor_client *c,
                         const rd_kafka_message_t *report) {
  strand_output *output = report->_private;
  strand_staged *s = output->of;
  if (report->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  c->failed = true;
  if (strand_error_kind_of(report->err) == STRAND_ERROR_PURGED
      || s->refused != NULL)
    return;
  s->refused = output;
  s->err = report->err;
}

bool strand_transactor_client_serve (strand_transactor_client *c, int ms) {
  rd_kafka_event_t *event = rd_kafka_queue_poll(c->queue, ms);
  const rd_kafka_message_t *report;
  if (event == NULL) return false;
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
      while ((report = rd_kafka_event_message_next(event)) != NULL)
        take_report(c, report);
      break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
      strand_shared_want_token(c->owner->consumer);
      break;
    default: break; /* the call that is made will say it */
  }
  rd_kafka_event_destroy(event);
  return true;
}

/*
** Tokens
*/

rd_kafka_resp_err_t
strand_transactor_client_token (strand_transactor_client *c, const char *token,
                                int64_t expires_ms, const char *principal,
                                char *error, size_t size) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  strand_lock_take(&c->lock);
  if (c->handle != NULL) {
    err = rd_kafka_oauthbearer_set_token(c->handle, token, expires_ms,
                                         principal, NULL, 0, error, size);
  }
  strand_lock_release(&c->lock);
  return err;
}

void strand_transactor_client_token_fail (strand_transactor_client *c,
                                          const char *message) {
  strand_lock_take(&c->lock);
  if (c->handle != NULL)
    rd_kafka_oauthbearer_set_token_failure(c->handle, message);
  strand_lock_release(&c->lock);
}

/*
** Opening
*/

void strand_transactor_client_init (strand_transactor_client *c,
                                    const strand_owner *owner,
                                    const strand_outbox *outbox) {
  *c = (strand_transactor_client){ .owner = owner, .outbox = outbox };
  strand_waker_init(&c->waker);
  strand_lock_init(&c->lock, STRAND_RANK_CLIENT);
}

/* With several members each has an id of its own. */
static char *id_of (const strand_owner *owner) {
  const strand_consumer *c = owner->consumer;
  const char *given = c->settings.transactional.id;
  size_t size = strlen(given) + 16;
  char *id = malloc(size);
  if (id == NULL) return NULL;
  if (c->inboxes.count > 1) snprintf(id, size, "%s-%u", given, owner->index);
  else snprintf(id, size, "%s", given);
  return id;
}

bool strand_transactor_client_begin (strand_transactor_client *c,
                                     strand_failure *failure) {
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  c->timeout_us = c->owner->consumer->settings.transactional.timeout_us;
  c->id = id_of(c->owner);
  if (c->id != NULL && strand_waker_open(&c->waker, failure)
      && strand_transactor_client_open(
        c, (long)strand_outbox_batch_size(c->outbox), failure))
    return true;
  strand_outbox_name_option(failure);
  return false;
}

void strand_transactor_client_free (strand_transactor_client *c) {
  rd_kafka_t *handle = strand_transactor_client_let_go(c);
  if (handle != NULL) rd_kafka_destroy(handle);
  strand_waker_close(&c->waker);
  strand_lock_free(&c->lock);
  free(c->id);
}
