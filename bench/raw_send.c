/*
** raw_send.c - the peer of strand's producer: rd_kafka_producev, one by one
**
**   raw_send BROKERS TOPIC RECORDS BYTES
**
** With the settings that strand makes for its producers, its bounds and Java's
** placement. Reports are served in the same thread, and counted. A tenth of
** the records goes before, to warm what there is. It prints "records N",
** "seconds S", "cpu C": S from the first record to the last acknowledgement, C
** the process's CPU seconds (user and system, all threads) of that time.
** send.lua measures the same.
*/
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/conf.h"

#define KEYS 10000 /* send.lua's too, as the next three */
#define VALUES 1000
#define SERVE_EACH 1000
#define PATIENCE_MS 120000
#define KEY_SIZE 16

typedef struct load {
  const char *topic;
  long bytes;
  char keys[KEYS][KEY_SIZE];
  char *values; /* one behind the other */
} load;

static long acknowledged;

static void die (const char *what, const char *why) {
  fprintf(stderr, "raw_send: %s: %s\n", what, why);
  exit(1);
}

static void report (rd_kafka_t *client, const rd_kafka_message_t *message,
                    void *opaque) {
  (void)client, (void)opaque;
  if (message->err) die("a record", rd_kafka_err2str(message->err));
  acknowledged++;
}

static void set (rd_kafka_conf_t *conf, const char *name, const char *value) {
  char why[256];
  if (rd_kafka_conf_set(conf, name, value, why, sizeof(why))
      != RD_KAFKA_CONF_OK)
    die(name, why);
}

static rd_kafka_t *open_producer (const char *brokers) {
  strand_failure failure;
  strand_property props[] = { { "bootstrap.servers", brokers } };
  rd_kafka_conf_t *conf = strand_conf_new(RD_KAFKA_PRODUCER, props, 1,
                                          &failure);
  rd_kafka_t *client;
  if (conf == NULL) die("settings", failure.message);
  set(conf, "queue.buffering.max.messages", "100000");
  set(conf, "queue.buffering.max.kbytes", "65536");
  rd_kafka_conf_set_dr_msg_cb(conf, report);
  client = strand_conf_open(RD_KAFKA_PRODUCER, conf, &failure);
  if (client == NULL) die("open", failure.message);
  return client;
}

/* Values are random bytes: nothing in between can make them smaller. */
static void fill (load *l, const char *topic, long bytes) {
  size_t size = (size_t)(VALUES * bytes);
  FILE *urandom = fopen("/dev/urandom", "rb");
  l->topic = topic;
  l->bytes = bytes;
  l->values = malloc(size);
  if (urandom == NULL || l->values == NULL
      || fread(l->values, 1, size, urandom) != size)
    die("values", "none");
  fclose(urandom);
  for (int i = 0; i < KEYS; i++)
    snprintf(l->keys[i], KEY_SIZE, "key-%d", i + 1);
}

static rd_kafka_resp_err_t produce (rd_kafka_t *client, load *l, long i) {
  const char *key = l->keys[i % KEYS];
  return rd_kafka_producev(
    client, RD_KAFKA_V_TOPIC(l->topic),
    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, strlen(key)),
    RD_KAFKA_V_VALUE(l->values + i % VALUES * l->bytes, (size_t)l->bytes),
    RD_KAFKA_V_END);
}

static void send_all (rd_kafka_t *client, load *l, long records) {
  acknowledged = 0;
  for (long i = 0; i < records; i++) {
    rd_kafka_resp_err_t err;
    while ((err = produce(client, l, i)) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
      rd_kafka_poll(client, 1000);
    if (err) die("send", rd_kafka_err2str(err));
    if (i % SERVE_EACH == 0) rd_kafka_poll(client, 0);
  }
  rd_kafka_flush(client, PATIENCE_MS);
  if (acknowledged != records) die("flush", "not every record was delivered");
}

int main (int argc, char **argv) {
  static load l;
  rd_kafka_t *client;
  long records;
  double start, cpu;
  if (argc != 5) die("usage", "see raw_send.c");
  records = atol(argv[3]);
  fill(&l, argv[2], atol(argv[4]));
  client = open_producer(argv[1]);
  send_all(client, &l, records / 10);
  cpu = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID);
  start = strand_clock_now();
  send_all(client, &l, records);
  printf("records %ld\nseconds %.6f\ncpu %.6f\n", records,
         strand_clock_now() - start,
         strand_clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu);
  rd_kafka_destroy(client);
  return 0;
}
