/*
** transactor_client.c - the transactor's client, and what it tells
*/
#include "kafka/conf.h"
#include "member/transactor_own.h"

/* librdkafka waits that long before it asks a coordinator again that is still
** busy with the transaction before: of its 100 ms most are in vain. */
#define BACKOFF_MS 10

static void set (rd_kafka_conf_t *conf, const char *name, int64_t value) {
  char text[32];
  snprintf(text, sizeof(text), "%lld", (long long)value);
  rd_kafka_conf_set(conf, name, text, NULL, 0);
}

static bool has (const strand_transactor *t, const char *name) {
  const strand_dead_letters_config *c = t->outbox->config;
  for (size_t i = 0; i < c->kafka_count; i++) {
    if (strcmp(c->kafka[i].name, name) == 0) return true;
  }
  return false;
}

/* On a dup of the outbox's. 'batch_size' 0: as it is there. */
static rd_kafka_conf_t *make_conf (strand_transactor *t, long batch_size,
                                   strand_failure *failure) {
  rd_kafka_conf_t *conf = rd_kafka_conf_dup(t->outbox->conf);
  char error[200];
  if (rd_kafka_conf_set(conf, "transactional.id", t->id, error, sizeof(error))
      != RD_KAFKA_CONF_OK) {
    strand_fail(failure, "OPTION", "option 'transactional_id': %s", error);
    rd_kafka_conf_destroy(conf);
    return NULL;
  }
  if (!has(t, "retry.backoff.ms")) set(conf, "retry.backoff.ms", BACKOFF_MS);
  if (!has(t, "queue.buffering.max.messages"))
    set(conf, "queue.buffering.max.messages",
        2 * (int64_t)t->owner->consumer->settings.transactional.records);
  set(conf, "transaction.timeout.ms", t->timeout_us / 1000);
  set(conf, "message.timeout.ms", t->timeout_us / 1000);
  if (batch_size > 0) set(conf, "batch.size", batch_size);
  return conf;
}

bool strand_transactor_open_client (strand_transactor *t, long batch_size,
                                    strand_failure *failure) {
  static const uint64_t one = 1;
  rd_kafka_conf_t *conf = make_conf(t, batch_size, failure);
  rd_kafka_t *client;
  if (conf == NULL) return false;
  client = strand_conf_open(RD_KAFKA_PRODUCER, conf, failure);
  if (client == NULL) return false;
  t->queue = rd_kafka_queue_get_main(client);
  rd_kafka_queue_io_event_enable(t->queue, t->waker.queue_fd, &one,
                                 sizeof(one));
  t->spent = t->has_id = false;
  t->batch_size = batch_size;
  strand_lock_take(&t->client_lock);
  t->client = client;
  strand_lock_release(&t->client_lock);
  return true;
}

/* Whoever gets it destroys it. What it has is purged: it must not ask for a
** place of records whose opaques are gone. */
rd_kafka_t *strand_transactor_let_go (strand_transactor *t) {
  rd_kafka_t *client = t->client;
  if (client == NULL) return NULL;
  rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT
                           | RD_KAFKA_PURGE_F_NON_BLOCKING);
  rd_kafka_queue_io_event_enable(t->queue, -1, NULL, 0);
  rd_kafka_queue_destroy(t->queue);
  t->queue = NULL;
  strand_lock_take(&t->client_lock);
  t->client = NULL;
  strand_lock_release(&t->client_lock);
  return client;
}

/*
** What its client tells
*/

/* What was purged is not its record's fault. */
static void take_report (strand_transactor *t,
                         const rd_kafka_message_t *report) {
  strand_output *output = report->_private;
  strand_staged *s = output->of;
  if (report->err == RD_KAFKA_RESP_ERR_NO_ERROR
      || report->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE
      || report->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
    return;
  t->failed = true;
  if (s->refused != NULL) return;
  s->refused = output;
  s->err = report->err;
}

/* Waits at most so long for one. False: there was none. */
bool strand_transactor_serve (strand_transactor *t, int ms) {
  rd_kafka_event_t *event = rd_kafka_queue_poll(t->queue, ms);
  const rd_kafka_message_t *report;
  if (event == NULL) return false;
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
      while ((report = rd_kafka_event_message_next(event)) != NULL)
        take_report(t, report);
      break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
      strand_shared_want_token(t->owner->consumer);
      break;
    default: break; /* the call that is made will say it */
  }
  rd_kafka_event_destroy(event);
  return true;
}

/*
** Tokens
*/

rd_kafka_resp_err_t strand_transactor_token (strand_transactor *t,
                                             const char *token,
                                             int64_t expires_ms,
                                             const char *principal,
                                             char *error, size_t size) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  strand_lock_take(&t->client_lock);
  if (t->client != NULL) {
    err = rd_kafka_oauthbearer_set_token(t->client, token, expires_ms,
                                         principal, NULL, 0, error, size);
  }
  strand_lock_release(&t->client_lock);
  return err;
}

void strand_transactor_token_fail (strand_transactor *t, const char *message) {
  strand_lock_take(&t->client_lock);
  if (t->client != NULL)
    rd_kafka_oauthbearer_set_token_failure(t->client, message);
  strand_lock_release(&t->client_lock);
}
