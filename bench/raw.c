/*
** raw.c - the peer of strand: rd_kafka_consumer_poll, one by one
**
**   raw read BROKERS TOPIC RECORDS
**   raw shown BROKERS TOPIC RECORDS
**   raw copy BROKERS TOPIC RECORDS OUT
**   raw latency BROKERS TOPIC RECORDS FROM
**   raw idle BROKERS TOPIC SECONDS
**   raw                              prints the settings alone
**
** A member of a group of its own, with the settings that strand makes for its
** consumers. Each message is destroyed at once. It prints
**
**   read      "records N", "seconds S", "cpu C": S from the first record to
**             the last, C the process's CPU seconds (user and system, all
**             threads) from the subscription to the last record. consume.lua
**             measures the same two.
**   shown     nothing: a reader of what is committed gets so many, and no more
**   copy      the same as read, and each record goes on to the topic OUT, by a
**             producer with the settings that strand makes for outputs; its
**             last record is the last acknowledgement. produce.lua measures
**             the same.
**   latency   "ready" when it is assigned, then what latency.h says of
**             pace.c's records from number FROM on
**   idle      "ready" when it is assigned, then "cpu C" of so many seconds,
**             after as many as follow.lua gives itself to come to rest
*/
#include <stdbool.h>
#include <unistd.h>

#include "base/clock.h"
#include "kafka/conf.h"
#include "latency.h"

#define PATIENCE 60.0   /* seconds without a record */
#define SERVE_EACH 1000 /* records, when there is no report to wait for */
#define REST 3.0        /* follow.lua's too */
#define POLL_MS 100
#define IDLE_POLL_MS 1000 /* to be idle is then cheap */

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
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_resp_err_t err;
  rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
  err = rd_kafka_subscribe(client, list);
  if (err) die("subscribe", rd_kafka_err2str(err));
  rd_kafka_topic_partition_list_destroy(list);
}

/* The next message, or NULL; dies of an error. */
static rd_kafka_message_t *next (rd_kafka_t *client, int wait_ms) {
  rd_kafka_message_t *msg = rd_kafka_consumer_poll(client, wait_ms);
  if (msg == NULL) return NULL;
  if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) return msg;
  if (msg->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    die("consume", rd_kafka_message_errstr(msg));
  }
  rd_kafka_message_destroy(msg);
  return NULL;
}

/* When the first of 'records' came, and the last. */
static void consume (rd_kafka_t *client, long records, double *first,
                     double *last) {
  double deadline = strand_clock_now() + PATIENCE;
  for (long seen = 0; seen < records;) {
    rd_kafka_message_t *msg = next(client, POLL_MS);
    if (msg == NULL) {
      if (strand_clock_now() > deadline) die("consume", "no more records");
      continue;
    }
    if (seen++ == 0) *first = strand_clock_now();
    rd_kafka_message_destroy(msg);
  }
  *last = strand_clock_now();
}

/* Positions start at 0 and each record moves one by one: when as many came
** as they add up to, each came once. */
static void check_positions (rd_kafka_t *client, long records) {
  rd_kafka_topic_partition_list_t *list;
  long sum = 0;
  if (rd_kafka_assignment(client, &list) || rd_kafka_position(client, list))
    die("positions", "unknown");
  for (int i = 0; i < list->cnt; i++) {
    if (list->elems[i].offset > 0) sum += (long)list->elems[i].offset;
  }
  rd_kafka_topic_partition_list_destroy(list);
  if (sum != records) die("positions", "not every record came once");
}

static void read_all (rd_kafka_t *client, const char *topic, long records) {
  double first = 0, last = 0;
  double cpu = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID);
  subscribe(client, topic);
  consume(client, records, &first, &last);
  cpu = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  check_positions(client, records);
  printf("records %ld\nseconds %.6f\ncpu %.6f\n", records, last - first, cpu);
}

/* The end of a transaction takes an offset too: positions say nothing. */
static void check_shown (rd_kafka_t *client, const char *topic, long records) {
  double first = 0, last = 0;
  subscribe(client, topic);
  consume(client, records, &first, &last);
  if (next(client, IDLE_POLL_MS) != NULL) die("shown", "there are more");
}

/*
** copy
*/

static long acknowledged;

static void report (rd_kafka_t *client, const rd_kafka_message_t *message,
                    void *opaque) {
  (void)client, (void)opaque;
  if (message->err) die("a record", rd_kafka_err2str(message->err));
  acknowledged++;
}

/* The bound in bytes is the outbox's (member/outbox.c). */
static rd_kafka_t *open_producer (const char *brokers) {
  strand_failure failure;
  strand_property props[] = { { "bootstrap.servers", brokers },
                              { "queue.buffering.max.kbytes", "131072" } };
  rd_kafka_conf_t *conf = strand_conf_new(RD_KAFKA_PRODUCER, props, 2,
                                          &failure);
  rd_kafka_t *client;
  if (conf == NULL) die("settings", failure.message);
  rd_kafka_conf_set_dr_msg_cb(conf, report);
  client = strand_conf_open(RD_KAFKA_PRODUCER, conf, &failure);
  if (client == NULL) die("open", failure.message);
  return client;
}

static void send_on (rd_kafka_t *producer, const char *out,
                     const rd_kafka_message_t *msg) {
  rd_kafka_resp_err_t err;
  while ((err = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(out),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                  RD_KAFKA_V_KEY(msg->key, msg->key_len),
                                  RD_KAFKA_V_VALUE(msg->payload, msg->len),
                                  RD_KAFKA_V_END))
         == RD_KAFKA_RESP_ERR__QUEUE_FULL)
    rd_kafka_poll(producer, 1000);
  if (err) die("send", rd_kafka_err2str(err));
}

/* When the first record came. */
static double copy_each (rd_kafka_t *client, rd_kafka_t *producer,
                         const char *out, long records) {
  double first = 0, deadline = strand_clock_now() + PATIENCE;
  for (long seen = 0; seen < records;) {
    rd_kafka_message_t *msg = next(client, POLL_MS);
    if (msg == NULL) {
      if (strand_clock_now() > deadline) die("copy", "no more records");
      continue;
    }
    if (seen++ == 0) first = strand_clock_now();
    send_on(producer, out, msg);
    rd_kafka_message_destroy(msg);
    if (seen % SERVE_EACH == 0) rd_kafka_poll(producer, 0);
  }
  return first;
}

static void copy_all (rd_kafka_t *client, const char *brokers,
                      const char *topic, long records, const char *out) {
  rd_kafka_t *producer = open_producer(brokers);
  double cpu = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID), first, last;
  subscribe(client, topic);
  first = copy_each(client, producer, out, records);
  rd_kafka_flush(producer, (int)(PATIENCE * 1000));
  last = strand_clock_now();
  cpu = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  if (acknowledged != records) die("copy", "not every record was delivered");
  check_positions(client, records);
  printf("records %ld\nseconds %.6f\ncpu %.6f\n", records, last - first, cpu);
  rd_kafka_destroy(producer);
}

static bool is_assigned (rd_kafka_t *client) {
  rd_kafka_topic_partition_list_t *list;
  bool assigned;
  if (rd_kafka_assignment(client, &list)) return false;
  assigned = list->cnt > 0;
  rd_kafka_topic_partition_list_destroy(list);
  return assigned;
}

/* The topic must be empty. */
static void join (rd_kafka_t *client, const char *topic) {
  double deadline = strand_clock_now() + PATIENCE;
  subscribe(client, topic);
  while (!is_assigned(client)) {
    if (next(client, POLL_MS) != NULL) die("join", "the topic has records");
    if (strand_clock_now() > deadline) die("join", "no assignment");
  }
  printf("ready\n");
  fflush(stdout);
}

static void follow (rd_kafka_t *client, const char *topic, long records,
                    long from) {
  strand_latency latency;
  double deadline = strand_clock_now() + PATIENCE;
  if (!strand_latency_init(&latency, records)) die("memory", "exhausted");
  join(client, topic);
  while (latency.came < records) {
    rd_kafka_message_t *msg = next(client, POLL_MS);
    if (msg != NULL) {
      strand_latency_value(&latency, msg->payload, msg->len);
      rd_kafka_message_destroy(msg);
      deadline = strand_clock_now() + PATIENCE;
    }
    else if (strand_clock_now() > deadline) die("follow", "no more records");
  }
  if (!strand_latency_print(&latency, from)) exit(1);
}

/* Polls until 'deadline'; returns the CPU seconds it took. */
static double rest_until (rd_kafka_t *client, double deadline) {
  double cpu = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID);
  int left;
  while ((left = strand_clock_left_ms(deadline)) > 0) {
    if (next(client, left < IDLE_POLL_MS ? left : IDLE_POLL_MS) != NULL) {
      die("idle", "the topic has records");
    }
  }
  return strand_clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
}

static void idle (rd_kafka_t *client, const char *topic, double seconds) {
  join(client, topic);
  rest_until(client, strand_clock_now() + REST);
  printf("seconds %.0f\ncpu %.6f\n", seconds,
         rest_until(client, strand_clock_now() + seconds));
}

static void print_settings (void) {
  strand_property settings[STRAND_CONF_DEFAULTS_MAX];
  size_t count = strand_conf_dump(RD_KAFKA_CONSUMER, NULL, 0, settings);
  for (size_t i = 0; i < count; i++) {
    printf("%s = %s\n", settings[i].name, settings[i].value);
  }
}

int main (int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "settings";
  rd_kafka_t *client;
  if (argc == 1) {
    print_settings();
    return 0;
  }
  if (argc < 5) die("usage", "see raw.c");
  client = open_consumer(argv[2]);
  if (strcmp(what, "read") == 0) read_all(client, argv[3], atol(argv[4]));
  else if (strcmp(what, "shown") == 0) {
    check_shown(client, argv[3], atol(argv[4]));
  }
  else if (strcmp(what, "copy") == 0 && argc == 6) {
    copy_all(client, argv[2], argv[3], atol(argv[4]), argv[5]);
  }
  else if (strcmp(what, "idle") == 0) idle(client, argv[3], atof(argv[4]));
  else if (strcmp(what, "latency") == 0 && argc == 6) {
    follow(client, argv[3], atol(argv[4]), atol(argv[5]));
  }
  else die("usage", "see raw.c");
  rd_kafka_consumer_close(client);
  rd_kafka_destroy(client);
  return 0;
}
