/*
** pace.c - sends records at a steady rate, each with the time of its send
**
**   pace BROKERS TOPIC RECORDS PER_SECOND LINGER_MS [STUCK]
**
** 100 bytes, 10,000 keys; record number STUCK has the key "stuck", which no
** other has. Each is sent at its own moment, whether or not those before it
** have been acknowledged.
*/
#include <errno.h>

#include <librdkafka/rdkafka.h>

#include "base/clock.h"
#include "latency.h"

#define BYTES 100
#define KEYS 10000
#define WAIT_MS 20000

static long failures;

static void die (const char *what, const char *why) {
  fprintf(stderr, "pace: %s: %s\n", what, why);
  exit(1);
}

static void on_delivery (rd_kafka_t *rk, const rd_kafka_message_t *msg,
                         void *opaque) {
  (void)rk;
  (void)opaque;
  if (msg->err) failures++;
}

static void set (rd_kafka_conf_t *conf, const char *name, const char *value) {
  char error[512];
  if (rd_kafka_conf_set(conf, name, value, error, sizeof(error))
      != RD_KAFKA_CONF_OK)
    die(name, error);
}

static rd_kafka_t *open_producer (const char *brokers, const char *linger) {
  char error[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *rk;
  set(conf, "bootstrap.servers", brokers);
  set(conf, "linger.ms", linger);
  set(conf, "socket.nagle.disable", "true");
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
  if (rk == NULL) die("open", error);
  return rk;
}

static void send_one (rd_kafka_t *rk, const char *topic, long number,
                      long stuck) {
  char key[32], value[BYTES] = { 0 };
  strand_sent sent = { strand_realtime_ns(), number };
  rd_kafka_resp_err_t err;
  if (number == stuck) snprintf(key, sizeof(key), "stuck");
  else snprintf(key, sizeof(key), "key-%ld", number % KEYS);
  memcpy(value, &sent, sizeof(sent));
  err = rd_kafka_producev(
    rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, strlen(key)),
    RD_KAFKA_V_VALUE(value, sizeof(value)),
    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
  if (err) die("send", rd_kafka_err2str(err));
  rd_kafka_poll(rk, 0);
}

static void pace (rd_kafka_t *rk, const char *topic, long records,
                  double per_second, long stuck) {
  double begun = strand_clock_now();
  for (long i = 0; i < records; i++) {
    struct timespec t = strand_clock_timespec(begun + (double)i / per_second);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)
           == EINTR) {
    }
    send_one(rk, topic, i, stuck);
  }
}

/* Metadata is asked for before the clock starts. */
static void look_up (rd_kafka_t *rk, const char *topic) {
  rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
  const struct rd_kafka_metadata *metadata;
  rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, rkt, &metadata, WAIT_MS);
  if (err) die("metadata", rd_kafka_err2str(err));
  rd_kafka_metadata_destroy(metadata);
  rd_kafka_topic_destroy(rkt);
}

int main (int argc, char **argv) {
  rd_kafka_t *rk;
  if (argc != 6 && argc != 7) die("usage", "see pace.c");
  rk = open_producer(argv[1], argv[5]);
  look_up(rk, argv[2]);
  pace(rk, argv[2], atol(argv[3]), atof(argv[4]),
       argc == 7 ? atol(argv[6]) : -1);
  if (rd_kafka_flush(rk, WAIT_MS) || failures > 0) die("flush", "not all");
  rd_kafka_destroy(rk);
  return 0;
}
