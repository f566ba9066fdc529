/*
** tool.c - what specs need done to a broker and strand has no call for (yet)
**
**   tool acl BROKER allow|deny|forget topic|group NAME read|write|describe|all
**       for everybody; the broker has an authorizer
**   tool commit BROKER GROUP TOPIC PARTITION OFFSET METADATA
**       as another client of the group, which must be empty
**   tool transact BROKER TOPIC PARTITION commit|abort COUNT
**       COUNT records in one transaction
**   tool read BROKER TOPIC PARTITION committed|uncommitted
**       prints each value, on a line, up to where the partition ends for it
**   tool stamp BROKER TOPIC PARTITION TIMESTAMP
**       one record of that time in milliseconds, which may be 0; the broker
**       must be the partition's leader
**   tool ignore BROKER GROUP TOPIC IGNORED
**       a member of the group, subscribed to TOPIC, that knows nothing of
**       IGNORED and so assigns it to nobody when it leads; prints a line when
**       it is assigned, and leaves when its input ends
*/
#include <librdkafka/rdkafka.h>

#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 20000

static void die (const char *what, const char *why) {
  fprintf(stderr, "tool: %s: %s\n", what, why);
  exit(1);
}

static void check (const char *what, rd_kafka_resp_err_t err) {
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) die(what, rd_kafka_err2str(err));
}

static void check_error (const char *what, rd_kafka_error_t *error) {
  if (error != NULL) die(what, rd_kafka_error_string(error));
}

static rd_kafka_t *client (rd_kafka_type_t type, const char *broker,
                           const char *name, const char *value) {
  char error[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *rk;
  if (rd_kafka_conf_set(conf, "bootstrap.servers", broker, error,
                        sizeof(error))
        != RD_KAFKA_CONF_OK
      || (name != NULL
          && rd_kafka_conf_set(conf, name, value, error, sizeof(error))
               != RD_KAFKA_CONF_OK))
    die("conf", error);
  rk = rd_kafka_new(type, conf, error, sizeof(error));
  if (rk == NULL) die("client", error);
  return rk;
}

static rd_kafka_topic_partition_list_t *
place (const char *topic, const char *partition, const char *offset) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, topic, atoi(partition))->offset =
    atoll(offset);
  return list;
}

static rd_kafka_AclOperation_t operation_of (const char *name) {
  if (strcmp(name, "read") == 0) return RD_KAFKA_ACL_OPERATION_READ;
  if (strcmp(name, "write") == 0) return RD_KAFKA_ACL_OPERATION_WRITE;
  if (strcmp(name, "describe") == 0) return RD_KAFKA_ACL_OPERATION_DESCRIBE;
  return RD_KAFKA_ACL_OPERATION_ALL;
}

static void acl (char **arg) {
  int adds = strcmp(arg[1], "forget") != 0;
  int denies = strcmp(arg[1], "deny") == 0;
  rd_kafka_ResourceType_t type = strcmp(arg[2], "topic") == 0
                                   ? RD_KAFKA_RESOURCE_TOPIC
                                   : RD_KAFKA_RESOURCE_GROUP;
  rd_kafka_AclOperation_t operation = operation_of(arg[4]);
  rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, arg[0], NULL, NULL);
  rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
  rd_kafka_AclBinding_t *binding;
  rd_kafka_event_t *event;
  if (adds) {
    binding = rd_kafka_AclBinding_new(
      type, arg[3], RD_KAFKA_RESOURCE_PATTERN_LITERAL, "User:*", "*",
      operation,
      denies ? RD_KAFKA_ACL_PERMISSION_TYPE_DENY
             : RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
      NULL, 0);
    rd_kafka_CreateAcls(rk, &binding, 1, NULL, queue);
  }
  else {
    binding = rd_kafka_AclBindingFilter_new(
      type, arg[3], RD_KAFKA_RESOURCE_PATTERN_LITERAL, NULL, NULL,
      operation == RD_KAFKA_ACL_OPERATION_ALL ? RD_KAFKA_ACL_OPERATION_ANY
                                              : operation,
      RD_KAFKA_ACL_PERMISSION_TYPE_ANY, NULL, 0);
    rd_kafka_DeleteAcls(rk, &binding, 1, NULL, queue);
  }
  event = rd_kafka_queue_poll(queue, WAIT_MS);
  if (event == NULL) die("acl", "no answer");
  check("acl", rd_kafka_event_error(event));
  rd_kafka_event_destroy(event);
  rd_kafka_AclBinding_destroy(binding);
  rd_kafka_queue_destroy(queue);
  rd_kafka_destroy(rk);
}

static void commit (char **arg) {
  rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, arg[0], "group.id", arg[1]);
  rd_kafka_topic_partition_list_t *list = place(arg[2], arg[3], arg[4]);
  list->elems[0].metadata = strdup(arg[5]);
  list->elems[0].metadata_size = strlen(arg[5]);
  check("commit", rd_kafka_commit(rk, list, 0));
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_destroy(rk);
}

static void transact (char **arg) {
  char id[64];
  rd_kafka_t *rk;
  snprintf(id, sizeof(id), "tool-%s", arg[1]);
  rk = client(RD_KAFKA_PRODUCER, arg[0], "transactional.id", id);
  check_error("init", rd_kafka_init_transactions(rk, WAIT_MS));
  check_error("begin", rd_kafka_begin_transaction(rk));
  for (int i = 0; i < atoi(arg[4]); i++) {
    check("produce",
          rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(arg[1]), RD_KAFKA_V_PARTITION(atoi(arg[2])),
            RD_KAFKA_V_VALUE(arg[3], strlen(arg[3])), RD_KAFKA_V_END));
  }
  check("flush", rd_kafka_flush(rk, WAIT_MS));
  if (strcmp(arg[3], "commit") == 0) {
    check_error("commit", rd_kafka_commit_transaction(rk, WAIT_MS));
  }
  else check_error("abort", rd_kafka_abort_transaction(rk, WAIT_MS));
  rd_kafka_destroy(rk);
}

static void set (rd_kafka_conf_t *conf, const char *name, const char *value) {
  char error[512];
  if (rd_kafka_conf_set(conf, name, value, error, sizeof(error))
      != RD_KAFKA_CONF_OK)
    die(name, error);
}

static void read_all (char **arg) {
  char error[512], level[32];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_topic_partition_list_t *list = place(arg[1], arg[2], "0");
  rd_kafka_t *rk;
  bool ended = false;
  snprintf(level, sizeof(level), "read_%s", arg[3]);
  set(conf, "bootstrap.servers", arg[0]);
  set(conf, "group.id", "tool");
  set(conf, "enable.auto.commit", "false");
  set(conf, "enable.partition.eof", "true");
  set(conf, "isolation.level", level);
  rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
  if (rk == NULL) die("client", error);
  check("assign", rd_kafka_assign(rk, list));
  rd_kafka_topic_partition_list_destroy(list);
  while (!ended) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 1000);
    if (message == NULL) continue;
    ended = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
      printf("%.*s\n", (int)message->len, (const char *)message->payload);
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(rk);
  rd_kafka_destroy(rk);
}

/* A request as bytes: librdkafka has no way to send the time 0. */

typedef struct request {
  char bytes[1024];
  size_t length;
} request;

static void put (request *r, int64_t n, int bytes) {
  while (bytes-- > 0) {
    r->bytes[r->length++] = (char)((uint64_t)n >> (8 * bytes));
  }
}

static void put_bytes (request *r, const char *bytes, size_t length) {
  memcpy(r->bytes + r->length, bytes, length);
  r->length += length;
}

static void put_text (request *r, const char *text) {
  put(r, (int64_t)strlen(text), 2);
  put_bytes(r, text, strlen(text));
}

/* As its length, which stands before it, of 'bytes' bytes. */
static void put_request (request *r, const request *inner, int bytes) {
  put(r, (int64_t)inner->length, bytes);
  put_bytes(r, inner->bytes, inner->length);
}

static uint32_t crc32c (const char *bytes, size_t length) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < length * 8; i++) {
    if (i % 8 == 0) crc ^= (unsigned char)bytes[i / 8];
    crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
  }
  return ~crc;
}

/* A batch of one record, "key" and "value"; lengths are zigzag. */
static void put_batch (request *r, int64_t timestamp) {
  static const char record[] = "\x1c\0\0\0\x06key\x0avalue\0";
  request checked = { .length = 0 };
  put(&checked, 0, 2 + 4); /* attributes, last offset */
  put(&checked, timestamp, 8);
  put(&checked, timestamp, 8);
  put(&checked, -1, 8 + 2 + 4); /* no producer's id, epoch, sequence */
  put(&checked, 1, 4);
  put_bytes(&checked, record, sizeof(record) - 1);
  put(r, 0, 8);
  put(r, (int64_t)checked.length + 9, 4);
  put(r, -1, 4); /* leader epoch */
  put(r, 2, 1);
  put(r, crc32c(checked.bytes, checked.length), 4);
  put_bytes(r, checked.bytes, checked.length);
}

/* Produce, version 3, of all replicas. */
static request make_produce (char **arg) {
  request batch = { .length = 0 }, body = { .length = 0 };
  request whole = { .length = 0 };
  put_batch(&batch, atoll(arg[3]));
  put(&body, 3, 2 + 2); /* key 0, version 3 */
  put(&body, 1, 4);
  put_text(&body, "tool");
  put(&body, -1, 2); /* no transaction */
  put(&body, -1, 2);
  put(&body, WAIT_MS, 4);
  put(&body, 1, 4);
  put_text(&body, arg[1]);
  put(&body, 1, 4);
  put(&body, atoi(arg[2]), 4);
  put_request(&body, &batch, 4);
  put_request(&whole, &body, 4);
  return whole;
}

static int dial (const char *broker) {
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
  char host[256];
  const char *colon = strrchr(broker, ':');
  int fd;
  snprintf(host, sizeof(host), "%.*s", (int)(colon - broker), broker);
  if (getaddrinfo(host, colon + 1, &hints, &found) != 0) die(host, "unknown");
  fd = socket(found->ai_family, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
    die(broker, "no connection");
  }
  freeaddrinfo(found);
  return fd;
}

static rd_kafka_resp_err_t try_to_stamp (char **arg) {
  request r = make_produce(arg);
  unsigned char answer[512];
  /* length, correlation, count, name, count, partition */
  size_t at = 4 + 4 + 4 + 2 + strlen(arg[1]) + 4 + 4;
  int fd = dial(arg[0]);
  if (write(fd, r.bytes, r.length) != (ssize_t)r.length
      || recv(fd, answer, at + 2, MSG_WAITALL) != (ssize_t)at + 2) {
    die("stamp", "no answer");
  }
  close(fd);
  return (rd_kafka_resp_err_t)(int16_t)(answer[at] << 8 | answer[at + 1]);
}

/* A topic that is new may not be known to its broker yet. */
static void stamp (char **arg) {
  rd_kafka_resp_err_t err;
  int tries = 500;
  do {
    err = try_to_stamp(arg);
    if (err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        && err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
        && err != RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION)
      break;
    usleep(20000);
  } while (--tries > 0);
  check("stamp", err);
}

static void assigned (rd_kafka_t *rk, rd_kafka_resp_err_t err,
                      rd_kafka_topic_partition_list_t *list, void *opaque) {
  (void)opaque;
  if (err != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) list = NULL;
  check("assign", rd_kafka_assign(rk, list));
  if (list == NULL) return;
  printf("assigned %d\n", list->cnt);
  fflush(stdout);
}

static int input_ended (void) {
  struct pollfd input = { 0, POLLIN, 0 };
  char byte;
  return poll(&input, 1, 0) > 0 && read(0, &byte, 1) <= 0;
}

static void ignore (char **args) {
  char pattern[300], error[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_topic_partition_list_t *list = place(args[2], "-1", "0");
  rd_kafka_t *rk;
  snprintf(pattern, sizeof(pattern), "^%s$", args[3]);
  set(conf, "bootstrap.servers", args[0]);
  set(conf, "group.id", args[1]);
  set(conf, "topic.blacklist", pattern);
  set(conf, "heartbeat.interval.ms", "200");
  rd_kafka_conf_set_rebalance_cb(conf, assigned);
  rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
  if (rk == NULL) die("client", error);
  rd_kafka_poll_set_consumer(rk);
  check("subscribe", rd_kafka_subscribe(rk, list));
  rd_kafka_topic_partition_list_destroy(list);
  while (!input_ended()) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 100);
    if (message != NULL) rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(rk);
  rd_kafka_destroy(rk);
}

int main (int argc, char **argv) {
  if (argc == 7 && strcmp(argv[1], "acl") == 0) acl(argv + 2);
  else if (argc == 8 && strcmp(argv[1], "commit") == 0) commit(argv + 2);
  else if (argc == 7 && strcmp(argv[1], "transact") == 0) transact(argv + 2);
  else if (argc == 6 && strcmp(argv[1], "read") == 0) read_all(argv + 2);
  else if (argc == 6 && strcmp(argv[1], "stamp") == 0) stamp(argv + 2);
  else if (argc == 6 && strcmp(argv[1], "ignore") == 0) ignore(argv + 2);
  else die("usage", "see tool.c");
  return 0;
}
