/*
** signs.c - what librdkafka's requests and connections show
**
** librdkafka tells of errors that it gives up on; what it tries again for
** ever it only does: it looks for a coordinator that there is not, or dials
** one that is away. So its requests and connections are looked at, and what is
** rare among them is read: a Fetch costs comparisons and a store.
**
** Thread: those of librdkafka. rd_kafka_destroy waits for them, and the
** member is freed after that.
*/
#include "kafka/signs.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum {
  METADATA = 3,
  FIND_COORDINATOR = 10,
  JOIN_GROUP = 11,
  SYNC_GROUP = 14,
  SASL_HANDSHAKE = 17,
  API_VERSIONS = 18,
  SASL_AUTHENTICATE = 36,
  CONSUMER_GROUP_HEARTBEAT = 68 /* joins, where the coordinator assigns */
};

#define NO_TOKEN "Failed to acquire SASL OAUTHBEARER token" /* its words */
#define COORDINATOR "GroupCoordinator" /* librdkafka's name of it */

static bool is_join (int16_t key) {
  return key == JOIN_GROUP || key == SYNC_GROUP
         || key == CONSUMER_GROUP_HEARTBEAT;
}

void strand_signs_sent (strand_signs *s, int16_t key, int64_t now_us) {
  if (!is_join(key)) return;
  if (key != CONSUMER_GROUP_HEARTBEAT) atomic_store(&s->joining, true);
  atomic_store(&s->join_us, now_us);
}

/* A broker that answers these may yet refuse the client. */
static bool opens_connection (int16_t key) {
  return key == API_VERSIONS || key == SASL_HANDSHAKE
         || key == SASL_AUTHENTICATE;
}

/* The time first: who sees that it does not join sees since when. */
void strand_signs_answered (strand_signs *s, int16_t key,
                            rd_kafka_resp_err_t err, int64_t now_us) {
  bool answered = err == RD_KAFKA_RESP_ERR_NO_ERROR;
  if (answered && !opens_connection(key)) atomic_store(&s->heard_us, now_us);
  if (!is_join(key)) return;
  if (key == JOIN_GROUP && answered) atomic_fetch_add(&s->answers, 1);
  atomic_store(&s->join_us, now_us);
  atomic_store(&s->joining, false);
}

void strand_signs_joined (strand_signs *s) {
  atomic_store(&s->answers, 0);
}

static rd_kafka_resp_err_t sent (rd_kafka_t *client, int fd,
                                 const char *broker, int32_t id, int16_t key,
                                 int16_t version, int32_t correlation,
                                 size_t size, void *signs) {
  strand_signs *s = signs;
  (void)client, (void)fd, (void)broker, (void)id;
  (void)version, (void)correlation, (void)size;
  strand_signs_sent(s, key, strand_clock_us());
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
received (rd_kafka_t *client, int fd, const char *broker, int32_t id,
          int16_t key, int16_t version, int32_t correlation, size_t size,
          int64_t rtt, rd_kafka_resp_err_t err, void *signs) {
  strand_signs *s = signs;
  (void)client, (void)fd, (void)broker, (void)id;
  (void)version, (void)correlation, (void)size, (void)rtt;
  strand_signs_answered(s, key, err, strand_clock_us());
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return RD_KAFKA_RESP_ERR_NO_ERROR;
  if (key == METADATA && !atomic_load(&s->probing)) {
    atomic_fetch_add(&s->metadata, 1);
  }
  if (key == FIND_COORDINATOR) atomic_store(&s->found_us, strand_clock_us());
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* FNV-1a, of what stands before the first of the bytes in 'ends'. */
static uint64_t hash (const char *text, const char *ends) {
  uint64_t h = 14695981039346656037u;
  size_t length = strcspn(text, ends);
  for (size_t i = 0; i < length; i++) {
    h = (h ^ (unsigned char)text[i]) * 1099511628211u;
  }
  return h;
}

bool strand_signs_is_coordinator (const char *text) {
  return strncmp(text, COORDINATOR, strlen(COORDINATOR)) == 0;
}

bool strand_signs_is_token (const char *text) {
  return strncmp(text, NO_TOKEN, strlen(NO_TOKEN)) == 0;
}

/* "sasl_ssl://host:9092/1: text", "host:9092/1: text" or
** "GroupCoordinator: text". */
uint64_t strand_signs_broker (const char *text) {
  const char *scheme = strstr(text, "://");
  if (strand_signs_is_coordinator(text)) {
    return hash(COORDINATOR, "");
  }
  return hash(scheme != NULL ? scheme + 3 : text, "/");
}

/* Several threads, each of its broker, come here at the same time. */
void strand_signs_note (strand_signs *s, uint64_t broker) {
  size_t i = 0;
  for (; i < STRAND_SIGNS_UP; i++) {
    uint64_t there = 0;
    if (atomic_compare_exchange_strong(&s->up[i], &there, broker)
        || there == broker)
      break;
  }
  if (i == STRAND_SIGNS_UP) atomic_store(&s->up_more, true);
  atomic_fetch_add(&s->ups, 1);
}

static void note_up (strand_signs *s, const char *name, int port) {
  char address[300];
  snprintf(address, sizeof(address), "%s:%d", name, port);
  if (strcmp(name, COORDINATOR) == 0) {
    snprintf(address, sizeof(address), "%s", COORDINATOR);
  }
  strand_signs_note(s, hash(address, ""));
}

static rd_kafka_resp_err_t changed (rd_kafka_t *client, int32_t id,
                                    const char *protocol, const char *name,
                                    int port, const char *state, void *signs) {
  strand_signs *s = signs;
  bool up = strcmp(state, "UP") == 0;
  (void)client, (void)id, (void)protocol;
  if (up) note_up(s, name, port);
  if (strcmp(name, COORDINATOR) != 0) return RD_KAFKA_RESP_ERR_NO_ERROR;
  if (strcmp(state, "CONNECT") == 0) {
    atomic_store(&s->connect_us, strand_clock_us());
  }
  if (up) atomic_store(&s->coordinator_up, true);
  else if (strcmp(state, "DOWN") == 0) {
    atomic_store(&s->coordinator_up, false);
    atomic_store(&s->joining, false);
    strand_waker_wake(s->waker); /* one that leaves waits for this */
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t added (rd_kafka_t *client,
                                  const rd_kafka_conf_t *conf, void *signs,
                                  char *error, size_t size) {
  static const char name[] = "strand.signs";
  rd_kafka_resp_err_t err;
  (void)conf, (void)error, (void)size;
  err = rd_kafka_interceptor_add_on_request_sent(client, name, sent, signs);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  err = rd_kafka_interceptor_add_on_response_received(client, name, received,
                                                      signs);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  return rd_kafka_interceptor_add_on_broker_state_change(client, name, changed,
                                                         signs);
}

void strand_signs_watch (strand_signs *s, strand_waker *waker,
                         rd_kafka_conf_t *conf) {
  s->waker = waker;
  rd_kafka_conf_interceptor_add_on_new(conf, "strand.signs", added, s);
}
