/*
** mock.c - see mock.h
*/
#include "kafka/mock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "base/system.h"
#include "base/thread.h"
#include "kafka/conf.h"

/* Beside a listening socket for each broker: pipes of the cluster, of the
** holder's internal broker and of the mock's, and one to accept with; their
** threads and the holder's own. */
#define OWN_DESCRIPTORS 7
#define OWN_THREADS 4
#include "kafka/errors.h"
#include "kafka/symbols.h"
#include "kafka/topic_name.h"

typedef rd_kafka_resp_err_t answer;

/* What 2.0.2 to 2.15 have in common, under the names of rdkafka_mock.h
** without their prefix. */
typedef struct mock_calls {
  void *(*cluster_new)(rd_kafka_t *, int);
  void (*cluster_destroy)(void *);
  const char *(*cluster_bootstraps)(const void *);
  answer (*topic_create)(void *, const char *, int, int);
  answer (*broker_set_down)(void *, int32_t);
  answer (*broker_set_up)(void *, int32_t);
  answer (*broker_set_rtt)(void *, int32_t, int);
  void (*push_request_errors_array)(void *, int16_t, size_t,
                                    const rd_kafka_resp_err_t *);
  answer (*partition_set_leader)(void *, const char *, int32_t, int32_t);
  answer (*coordinator_set)(void *, const char *, const char *, int32_t);
  answer (*set_apiversion)(void *, int16_t, int16_t, int16_t);
} mock_calls;

typedef struct mock_topic {
  struct mock_topic *next;
  int32_t partitions;
  char name[];
} mock_topic;

struct strand_mock {
  strand_opaque opaque; /* of the holder */
  rd_kafka_t *holder;   /* the cluster needs a client to live in */
  void *cluster;
  int brokers;
  mock_topic *topics;
  mock_calls call;
};

enum { PRODUCE = 0, FETCH = 1 };

/* Requests that the mock of 2.0.2 speaks, with their protocol numbers. */
static const struct {
  const char *name;
  int16_t key;
} requests[] = { { "Produce", PRODUCE },    { "Fetch", FETCH },
                 { "ListOffsets", 2 },      { "Metadata", 3 },
                 { "OffsetCommit", 8 },     { "OffsetFetch", 9 },
                 { "FindCoordinator", 10 }, { "JoinGroup", 11 },
                 { "Heartbeat", 12 },       { "LeaveGroup", 13 },
                 { "SyncGroup", 14 },       { "ApiVersions", 18 },
                 { "InitProducerId", 22 },  { "AddPartitionsToTxn", 24 },
                 { "AddOffsetsToTxn", 25 }, { "EndTxn", 26 },
                 { "TxnOffsetCommit", 28 } };

/* Kafka's names where librdkafka has others. */
static const struct {
  const char *name;
  rd_kafka_resp_err_t code;
} kafka_names[] = {
  { "UNKNOWN_SERVER_ERROR", RD_KAFKA_RESP_ERR_UNKNOWN },
  { "CORRUPT_MESSAGE", RD_KAFKA_RESP_ERR_INVALID_MSG },
  { "UNKNOWN_TOPIC_OR_PARTITION", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART },
  { "INVALID_FETCH_SIZE", RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE },
  { "NOT_LEADER_OR_FOLLOWER", RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION },
  { "MESSAGE_TOO_LARGE", RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE },
  { "STALE_CONTROLLER_EPOCH", RD_KAFKA_RESP_ERR_STALE_CTRL_EPOCH },
  { "INVALID_TOPIC_EXCEPTION", RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION },
  { "RECORD_LIST_TOO_LARGE", RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE }
};

static bool find_call (void *place, const char *name,
                       strand_failure *failure) {
  if (strand_symbol(place, name)) return true;
  strand_fail(failure, "UNSUPPORTED_FEATURE",
              "librdkafka %s has no %s: no mock cluster here",
              rd_kafka_version_str(), name);
  return false;
}

#define FIND(name) find_call(&call->name, "rd_kafka_mock_" #name, failure)

static bool find_calls (mock_calls *call, strand_failure *failure) {
  return FIND(cluster_new) && FIND(cluster_destroy) && FIND(cluster_bootstraps)
         && FIND(topic_create) && FIND(broker_set_down) && FIND(broker_set_up)
         && FIND(broker_set_rtt) && FIND(push_request_errors_array)
         && FIND(partition_set_leader) && FIND(coordinator_set)
         && FIND(set_apiversion);
}

/* A listening socket on any port of this host; -1 and errno. */
static int listen_somewhere (void) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int error;
  if (fd < 0) return -1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0
      && listen(fd, 1) == 0)
    return fd;
  error = errno;
  close(fd);
  errno = error;
  return -1;
}

/* Without any of these librdkafka ends the process in an assert, or takes
** descriptor 0 for its own. */
static bool has_room (int brokers, strand_failure *failure) {
  int fds[STRAND_MOCK_BROKERS_MAX];
  char what[96];
  int made = 0;
  int ok = 0;
  snprintf(what, sizeof(what),
           "a mock cluster of %d brokers needs %d file "
           "descriptors and %d threads",
           brokers, brokers + OWN_DESCRIPTORS, OWN_THREADS);
  while (made < brokers && (fds[made] = listen_somewhere()) >= 0) made++;
  if (made == brokers)
    ok = strand_system_has(OWN_DESCRIPTORS, OWN_THREADS, what, failure);
  else strand_fail_descriptor(failure, what, errno);
  while (made > 0) close(fds[--made]);
  return ok;
}

/* librdkafka blocks signals in its other threads, and not in the cluster's:
** that ends for good when one interrupts its poll. */
static void *new_cluster (const strand_mock *mock) {
  sigset_t before;
  void *cluster;
  strand_thread_block_signals(&before);
  cluster = mock->call.cluster_new(mock->holder, mock->brokers);
  strand_thread_restore_signals(&before);
  return cluster;
}

static bool open_cluster (strand_mock *mock, strand_failure *failure) {
  rd_kafka_conf_t *conf;
  if (!find_calls(&mock->call, failure)) return false;
  if (!has_room(mock->brokers, failure)) return false;
  conf = strand_conf_new(RD_KAFKA_PRODUCER, NULL, 0, failure);
  if (conf == NULL) return false;
  rd_kafka_conf_set(conf, "enable.idempotence", "false", NULL, 0);
  rd_kafka_conf_set_opaque(conf, &mock->opaque);
  mock->holder = strand_conf_open(RD_KAFKA_PRODUCER, conf, failure);
  if (mock->holder == NULL) return false;
  mock->cluster = new_cluster(mock);
  if (mock->cluster != NULL) return true;
  strand_fail(failure, "FAIL",
              "the mock cluster could not be made (see the "
              "log)");
  return false;
}

const char *strand_mock_bootstrap (const strand_mock *mock) {
  return mock->call.cluster_bootstraps(mock->cluster);
}

/*
** The cluster's thread
**
** What the calls below ask for is an op in a queue of the cluster's thread,
** and a byte in a pipe that wakes it. The thread, once awake, first does what
** is in the queue and then empties the pipe (rdkafka_mock.c, _io_poll): a
** call right behind another comes between the two, its byte is thrown away,
** and it waits until the thread wakes by itself, after a second.
**
** So each call waits until the thread is past the pipe: a connection that
** ends as soon as it is made is closed by the thread in a later round, and
** the pipe stands before it in every round.
*/

#define PASS_MS 200 /* of a thread that is not scheduled; then go on */

/* -1: no broker listens there. */
static int connect_port (unsigned port) {
  struct sockaddr_in address = { .sin_family = AF_INET };
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons((uint16_t)port);
  if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
    return fd;
  close(fd);
  return -1;
}

/* With all brokers down there is nothing to connect to, and the second may be
** lost. */
static void pass_thread (const strand_mock *mock) {
  const char *at = strand_mock_bootstrap(mock);
  struct pollfd gone = { -1, POLLIN, 0 };
  while (gone.fd < 0 && (at = strchr(at, ':')) != NULL)
    gone.fd = connect_port((unsigned)strtoul(++at, NULL, 10));
  if (gone.fd < 0) return;
  shutdown(gone.fd, SHUT_WR);
  poll(&gone, 1, PASS_MS);
  close(gone.fd);
}

/*
** Opening and closing
*/

/* From 2.5 on, refusing a request of a later version, the cluster names the
** partition's leader (KIP-951); without one it ends the process. */
static void stay_below_kip951 (const strand_mock *mock) {
  if (!strand_conf_version_at_least(2, 5, 0)) return;
  pass_thread(mock);
  mock->call.set_apiversion(mock->cluster, PRODUCE, 0, 9);
  pass_thread(mock);
  mock->call.set_apiversion(mock->cluster, FETCH, 0, 11);
}

strand_mock *strand_mock_open (int brokers, strand_log *log,
                               strand_failure *failure) {
  strand_mock *mock;
  if (brokers < 1 || brokers > STRAND_MOCK_BROKERS_MAX) {
    strand_fail(failure, "INVALID_ARG", "a mock cluster has 1 to %d brokers",
                STRAND_MOCK_BROKERS_MAX);
    return NULL;
  }
  mock = calloc(1, sizeof(*mock));
  if (mock == NULL) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return NULL;
  }
  mock->brokers = brokers;
  mock->opaque.log = log;
  if (!open_cluster(mock, failure)) {
    strand_mock_close(mock);
    return NULL;
  }
  stay_below_kip951(mock);
  return mock;
}

void strand_mock_close (strand_mock *mock) {
  if (mock == NULL) return;
  if (mock->cluster != NULL) {
    pass_thread(mock);
    mock->call.cluster_destroy(mock->cluster);
  }
  if (mock->holder != NULL) rd_kafka_destroy(mock->holder);
  while (mock->topics != NULL) {
    mock_topic *topic = mock->topics;
    mock->topics = topic->next;
    free(topic);
  }
  free(mock);
}

bool strand_mock_is_id (const char *cluster_id) {
  static const char name[] = "mockCluster";
  return strncmp(cluster_id, name, sizeof(name) - 1) == 0;
}

/*
** Calls
*/

static bool answered (rd_kafka_resp_err_t err, const char *what,
                      strand_failure *failure) {
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return true;
  strand_fail_kafka(failure, err, what);
  return false;
}

/* 'lowest': 1, or STRAND_MOCK_ALL where the call takes it. */
static bool check_broker (const strand_mock *mock, int64_t broker,
                          int64_t lowest, strand_failure *failure) {
  if (broker >= lowest && broker <= mock->brokers) return true;
  strand_fail(failure, "UNKNOWN_BROKER",
              "there is no broker %lld: the mock cluster has 1 to %d",
              (long long)broker, mock->brokers);
  return false;
}

/* librdkafka says -1 for all. */
static int32_t broker_or_all (int64_t broker) {
  return broker == STRAND_MOCK_ALL ? -1 : (int32_t)broker;
}

static mock_topic *find_topic (const strand_mock *mock, const char *name) {
  mock_topic *topic = mock->topics;
  while (topic != NULL && strcmp(topic->name, name) != 0) topic = topic->next;
  return topic;
}

static bool check_topic (const char *name, int64_t partitions,
                         strand_failure *failure) {
  if (!strand_is_topic_name(name, strlen(name))) {
    strand_fail(failure, "TOPIC_EXCEPTION",
                "not the name of a topic: 1 to "
                "249 letters, digits, '.', '_' and '-'");
    return false;
  }
  if (partitions < 1 || partitions > STRAND_MOCK_PARTITIONS_MAX) {
    strand_fail(failure, "INVALID_PARTITIONS",
                "topic '%s': 1 to %d partitions expected, got %lld", name,
                STRAND_MOCK_PARTITIONS_MAX, (long long)partitions);
    return false;
  }
  return true;
}

bool strand_mock_create_topic (strand_mock *mock, const char *name,
                               int64_t partitions, strand_failure *failure) {
  char what[300];
  int replicas = mock->brokers < 3 ? mock->brokers : 3;
  mock_topic *topic;
  if (!check_topic(name, partitions, failure)) return false;
  topic = malloc(sizeof(*topic) + strlen(name) + 1);
  if (topic == NULL) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return false;
  }
  snprintf(what, sizeof(what), "topic '%s'", name);
  pass_thread(mock);
  if (!answered(mock->call.topic_create(mock->cluster, name, (int)partitions,
                                        replicas),
                what, failure)) {
    free(topic);
    return false;
  }
  strcpy(topic->name, name);
  topic->partitions = (int32_t)partitions;
  topic->next = mock->topics;
  mock->topics = topic;
  return true;
}

bool strand_mock_set_up (strand_mock *mock, int64_t broker, bool up,
                         strand_failure *failure) {
  answer (*call)(void *, int32_t) = up ? mock->call.broker_set_up
                                       : mock->call.broker_set_down;
  if (!check_broker(mock, broker, STRAND_MOCK_ALL, failure)) return false;
  pass_thread(mock);
  return answered(call(mock->cluster, broker_or_all(broker)), "broker",
                  failure);
}

bool strand_mock_set_rtt (strand_mock *mock, int64_t broker, double seconds,
                          strand_failure *failure) {
  if (!check_broker(mock, broker, STRAND_MOCK_ALL, failure)) return false;
  if (!(seconds >= 0 && seconds <= STRAND_MOCK_RTT_MAX)) {
    strand_fail(failure, "INVALID_ARG",
                "a round trip of 0 to %.0f seconds expected",
                STRAND_MOCK_RTT_MAX);
    return false;
  }
  pass_thread(mock);
  return answered(mock->call.broker_set_rtt(mock->cluster,
                                            broker_or_all(broker),
                                            (int)(seconds * 1000 + 0.5)),
                  "broker", failure);
}

static bool find_request (const char *name, int16_t *key,
                          strand_failure *failure) {
  size_t i;
  for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
    if (strcmp(requests[i].name, name) == 0) {
      *key = requests[i].key;
      return true;
    }
  strand_fail(failure, "INVALID_ARG",
              "'%.64s' is no request that the mock cluster speaks (Produce, "
              "Fetch, OffsetCommit, JoinGroup, ...)",
              name);
  return false;
}

static bool find_error (const char *name, rd_kafka_resp_err_t *err,
                        strand_failure *failure) {
  const struct rd_kafka_err_desc *errors;
  const char *plain = *name == '_' ? name + 1 : name;
  size_t count;
  size_t i;
  for (i = 0; i < sizeof(kafka_names) / sizeof(kafka_names[0]); i++)
    if (strcmp(kafka_names[i].name, name) == 0) {
      *err = kafka_names[i].code;
      return true;
    }
  rd_kafka_get_err_descs(&errors, &count);
  for (i = 0; i < count; i++) {
    const char *known = errors[i].name;
    if (known == NULL || known[0] == '\0') continue;
    if (strcmp(known[0] == '_' ? known + 1 : known, plain) == 0) {
      *err = errors[i].code;
      return true;
    }
  }
  strand_fail(failure, "INVALID_ARG",
              "'%.64s' is no name of an error of "
              "Kafka or librdkafka",
              name);
  return false;
}

bool strand_mock_fail (strand_mock *mock, const char *request,
                       const char *code, int64_t count,
                       strand_failure *failure) {
  rd_kafka_resp_err_t errors[STRAND_MOCK_ERRORS_MAX];
  rd_kafka_resp_err_t err;
  int16_t key;
  int64_t i;
  if (!find_request(request, &key, failure)) return false;
  if (!find_error(code, &err, failure)) return false;
  if (count < 1 || count > STRAND_MOCK_ERRORS_MAX) {
    strand_fail(failure, "INVALID_ARG", "1 to %d failures expected, got %lld",
                STRAND_MOCK_ERRORS_MAX, (long long)count);
    return false;
  }
  for (i = 0; i < count; i++) errors[i] = err;
  mock->call.push_request_errors_array(mock->cluster, key, (size_t)count,
                                       errors);
  return true;
}

bool strand_mock_set_leader (strand_mock *mock, const char *name,
                             int64_t partition, int64_t broker,
                             strand_failure *failure) {
  const mock_topic *topic = find_topic(mock, name);
  if (topic == NULL || partition < 0 || partition >= topic->partitions) {
    strand_fail(failure, "UNKNOWN_TOPIC_OR_PART",
                "the mock cluster has no partition %lld of topic '%.64s' "
                "that was made with create_topic",
                (long long)partition, name);
    return false;
  }
  if (broker != -1 && !check_broker(mock, broker, 1, failure)) return false;
  pass_thread(mock);
  return answered(mock->call.partition_set_leader(
                    mock->cluster, name, (int32_t)partition, (int32_t)broker),
                  "partition", failure);
}

bool strand_mock_set_coordinator (strand_mock *mock, const char *group,
                                  int64_t broker, strand_failure *failure) {
  if (!check_broker(mock, broker, 1, failure)) return false;
  pass_thread(mock);
  return answered(
    mock->call.coordinator_set(mock->cluster, "group", group, (int32_t)broker),
    "group", failure);
}
