/*
** raw.c - the peer of consume.lua: rd_kafka_consumer_poll, one by one
**
**   raw BROKERS TOPIC RECORDS
**   raw                          prints the settings alone
**
** A member of a group of its own, with the settings that strand makes for its
** consumers. Each message is destroyed at once and nothing is done with it.
** Prints "records N seconds S cpu C": S from the first record to the last, C
** the process's CPU seconds (user and system, all threads) from the
** subscription to the last record. consume.lua measures the same two.
*/
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "kafka/clock.h"
#include "kafka/conf.h"

#define PATIENCE 60.0 /* seconds without a record */

static void die (const char *what, const char *why) {
  fprintf(stderr, "raw: %s: %s\n", what, why);
  exit(1);
}

static rd_kafka_t *open_consumer (const char *brokers) {
  char group[64];
  strand_failure failure;
  strand_property props[] = { { "bootstrap.servers", brokers },
                              { "group.id", group } };
  rd_kafka_conf_t *conf;
  rd_kafka_t *client;
  snprintf(group, sizeof(group), "raw-%ld", (long)getpid());
  conf = strand_conf_new(RD_KAFKA_CONSUMER, props, 2, &failure);
  if (conf == NULL) die("settings", failure.message);
  client = strand_conf_open(RD_KAFKA_CONSUMER, conf, &failure);
  if (client == NULL) die("open", failure.message);
  rd_kafka_poll_set_consumer(client);
  return client;
}

static void subscribe (rd_kafka_t *client, const char *topic) {
  rd_kafka_topic_partition_list_t *list =
    rd_kafka_topic_partition_list_new(1);
  rd_kafka_resp_err_t err;
  rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
  err = rd_kafka_subscribe(client, list);
  if (err) die("subscribe", rd_kafka_err2str(err));
  rd_kafka_topic_partition_list_destroy(list);
}

/* When the first of 'records' came, and the last. */
static void consume (rd_kafka_t *client, long records, double *first,
                     double *last) {
  double deadline = strand_clock_now() + PATIENCE;
  for (long seen = 0; seen < records;) {
    rd_kafka_message_t *msg = rd_kafka_consumer_poll(client, 100);
    if (msg == NULL) {
      if (strand_clock_now() > deadline) die("consume", "no more records");
      continue;
    }
    if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (seen++ == 0) *first = strand_clock_now();
    }
    else if (msg->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      die("consume", rd_kafka_message_errstr(msg));
    }
    rd_kafka_message_destroy(msg);
  }
  *last = strand_clock_now();
}

static void print_settings (void) {
  strand_property settings[STRAND_CONF_DEFAULTS_MAX];
  size_t count = strand_conf_dump(RD_KAFKA_CONSUMER, NULL, 0, settings);
  for (size_t i = 0; i < count; i++) {
    printf("%s = %s\n", settings[i].name, settings[i].value);
  }
}

int main (int argc, char **argv) {
  long records = argc == 4 ? atol(argv[3]) : 0;
  double first = 0, last = 0, cpu;
  rd_kafka_t *client;
  if (argc == 1) {
    print_settings();
    return 0;
  }
  if (records <= 0) die("usage", "raw BROKERS TOPIC RECORDS");
  client = open_consumer(argv[1]);
  cpu = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID);
  subscribe(client, argv[2]);
  consume(client, records, &first, &last);
  cpu = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  printf("records %ld seconds %.6f cpu %.6f\n", records, last - first, cpu);
  rd_kafka_consumer_close(client);
  rd_kafka_destroy(client);
  return 0;
}
