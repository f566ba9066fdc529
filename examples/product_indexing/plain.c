/*
** plain.c - a plain consumer: polls a record, handles it, polls the next
**
**   plain TOPIC SHARE WORK_MS JOURNAL NAME=VALUE...
**
** librdkafka alone, at its defaults but for the properties that are given;
** nothing of strand is in here. What it is told, by lines of its input, and
** what it answers: consume.lua, which is the same on strand.
*/
#include <librdkafka/rdkafka.h>

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 100
#define IDLE_POLL_MS 20 /* the input is looked at in between */

typedef struct {
  rd_kafka_t *client;
  FILE *journal;
  int work_ms;
  int assigned; /* partitions */
  long done;
  bool going; /* else records stay in their partitions' queues */
} plain;

static void die (const char *what, const char *why) {
  fprintf(stderr, "plain: %s: %s\n", what, why);
  exit(1);
}

static double now (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- one record at a time ------------------------------------------------ */

/* poll waits as index.lua's core.wait does, to the millisecond. */
static void handle (plain *p, const rd_kafka_message_t *msg) {
  double start = now();
  poll(NULL, 0, p->work_ms);
  fprintf(p->journal, "%.*s %d %lld %.6f %.6f\n", (int)msg->key_len,
          (const char *)msg->key, (int)msg->partition, (long long)msg->offset,
          start, now());
  p->done++;
}

static void turn (plain *p, int wait_ms) {
  rd_kafka_message_t *msg = rd_kafka_consumer_poll(p->client, wait_ms);
  if (msg == NULL) return;
  if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) handle(p, msg);
  else fprintf(stderr, "plain: %s\n", rd_kafka_message_errstr(msg));
  rd_kafka_message_destroy(msg);
}

/* ---- the group ----------------------------------------------------------- */

/* Where records of these partitions go: to rd_kafka_consumer_poll, or nowhere.
** Not rd_kafka_pause_partitions: a resume takes up to a second. */
static void forward (rd_kafka_t *client, bool to_poll,
                     const rd_kafka_topic_partition_list_t *list) {
  rd_kafka_queue_t *to = to_poll ? rd_kafka_queue_get_consumer(client) : NULL;
  for (int i = 0; i < list->cnt; i++) {
    rd_kafka_queue_t *from = rd_kafka_queue_get_partition(
      client, list->elems[i].topic, list->elems[i].partition);
    rd_kafka_queue_forward(from, to);
    rd_kafka_queue_destroy(from);
  }
  if (to != NULL) rd_kafka_queue_destroy(to);
}

/* Called by rd_kafka_consumer_poll. */
static void rebalance (rd_kafka_t *client, rd_kafka_resp_err_t err,
                       rd_kafka_topic_partition_list_t *list, void *arg) {
  plain *p = arg;
  bool gain = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
  if (gain) forward(client, p->going, list);
  rd_kafka_assign(client, gain ? list : NULL);
  p->assigned = gain ? list->cnt : 0;
}

static void open_client (plain *p, char **properties, int count) {
  char why[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  for (int i = 0; i < count; i++) {
    char *value = strchr(properties[i], '=');
    if (value == NULL) die("usage", "see plain.c");
    *value++ = '\0';
    if (rd_kafka_conf_set(conf, properties[i], value, why, sizeof(why))
        != RD_KAFKA_CONF_OK)
      die("settings", why);
  }
  rd_kafka_conf_set_rebalance_cb(conf, rebalance);
  rd_kafka_conf_set_opaque(conf, p);
  p->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
  if (p->client == NULL) die("open", why);
  rd_kafka_poll_set_consumer(p->client);
}

static void subscribe (plain *p, const char *topic) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_resp_err_t err;
  rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
  err = rd_kafka_subscribe(p->client, list);
  if (err) die("subscribe", rd_kafka_err2str(err));
  rd_kafka_topic_partition_list_destroy(list);
}

static rd_kafka_topic_partition_list_t *assignment (plain *p) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err = rd_kafka_assignment(p->client, &list);
  if (err) die("assignment", rd_kafka_err2str(err));
  return list;
}

/* ---- what it is told ----------------------------------------------------- */

/* The end of each partition is known from the first fetch of it. */
static bool fetched (plain *p) {
  rd_kafka_topic_partition_list_t *list = assignment(p);
  bool all = true;
  for (int i = 0; i < list->cnt; i++) {
    int64_t low, high = -1;
    rd_kafka_get_watermark_offsets(p->client, list->elems[i].topic,
                                   list->elems[i].partition, &low, &high);
    if (high < 0) all = false;
  }
  rd_kafka_topic_partition_list_destroy(list);
  return all;
}

static void say_assignment (plain *p, int share) {
  rd_kafka_topic_partition_list_t *list;
  while (p->assigned != share || !fetched(p)) turn(p, POLL_MS);
  list = assignment(p);
  printf("has");
  for (int i = 0; i < list->cnt; i++) {
    printf(" %d", (int)list->elems[i].partition);
  }
  printf("\n");
  rd_kafka_topic_partition_list_destroy(list);
}

static void go (plain *p, long records) {
  rd_kafka_topic_partition_list_t *list = assignment(p);
  p->going = true;
  forward(p->client, true, list);
  rd_kafka_topic_partition_list_destroy(list);
  while (p->done < records) turn(p, POLL_MS);
  printf("done\n");
}

/* A member that does not poll would hold up its group's rebalances. */
static bool next_line (plain *p, char *line, int size) {
  struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
  while (poll(&input, 1, 0) == 0) turn(p, IDLE_POLL_MS);
  return fgets(line, size, stdin) != NULL;
}

int main (int argc, char **argv) {
  plain p = { 0 };
  char line[64];
  if (argc < 6) die("usage", "see plain.c");
  p.work_ms = atoi(argv[3]);
  p.journal = fopen(argv[4], "w");
  if (p.journal == NULL) die(argv[4], "cannot be written");
  setvbuf(stdout, NULL, _IOLBF, 0);
  open_client(&p, argv + 5, argc - 5);
  subscribe(&p, argv[1]);
  while (next_line(&p, line, sizeof(line))) {
    if (strncmp(line, "go ", 3) == 0) go(&p, atol(line + 3));
    else say_assignment(&p, atoi(argv[2]));
  }
  rd_kafka_consumer_close(p.client);
  rd_kafka_destroy(p.client);
  if (fclose(p.journal) != 0) die(argv[4], "is not complete");
  printf("closed\n");
  return 0;
}
