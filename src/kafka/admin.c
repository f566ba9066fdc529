/*
** admin.c - see admin.h
*/
#include "kafka/admin.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/client.h"
#include "kafka/clock.h"
#include "kafka/errors.h"

#define AGAIN_MS 100
#define LATE_MS 500 /* librdkafka says that a request has timed out */
#define REQUEST_MOST_MS 3600000 /* librdkafka allows a request no more */
#define GROUP_WAIT_MOST_MS                                                    \
  (REQUEST_MOST_MS - 60000) /* its client ends first */

/* Both are librdkafka's: its mock names its clusters so. */
static const char mock_id[] = "mockCluster";

struct strand_admin {
  strand_client *client;
  rd_kafka_queue_t *answers;
  int has_oauth;
  int oauth_wanted;
  char *token; /* NULL: none */
  char *principal;
  int64_t expires_ms;
};

static int no_memory (strand_failure *failure) {
  strand_fail(failure, "NO_MEMORY", "out of memory");
  return 0;
}

/* ---- opening and closing ------------------------------------------------- */

/* RD_KAFKA_EVENT_... that are read. */
static int events_of (const strand_admin *admin) {
  return admin->has_oauth ? RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH : 0;
}

static int open_client (strand_admin *admin, const strand_property *props,
                        size_t count, strand_log *log,
                        strand_failure *failure) {
  rd_kafka_conf_t *conf;
  admin->client = strand_client_new(log, -1, failure);
  if (admin->client == NULL) return 0;
  conf = strand_conf_new(RD_KAFKA_PRODUCER, props, count, failure);
  if (conf == NULL) return 0;
  /* Nothing is produced: no need for a producer id. */
  rd_kafka_conf_set(conf, "enable.idempotence", "false", NULL, 0);
  return strand_client_open(admin->client, RD_KAFKA_PRODUCER, conf,
                            events_of(admin), failure);
}

/* A client of the group: without one librdkafka crashes on an answer that is
** "not the coordinator" (seen with 2.8.0, on a broker that has just started).
** It joins nothing. */
static int open_reader (const strand_admin *admin, const char *group,
                        strand_admin *reader, strand_failure *failure) {
  rd_kafka_conf_t *conf;
  char errstr[256];
  memset(reader, 0, sizeof(*reader));
  reader->client = strand_client_new(admin->client->opaque.log, -1, failure);
  if (reader->client == NULL) return 0;
  conf = rd_kafka_conf_dup(rd_kafka_conf(admin->client->handle));
  rd_kafka_conf_set(conf, "group.id", group, errstr, sizeof(errstr));
  /* no warnings of properties that a producer has and a consumer has not */
  rd_kafka_conf_set(conf, "log_level", "3", errstr, sizeof(errstr));
  return strand_client_open(reader->client, RD_KAFKA_CONSUMER, conf,
                            events_of(admin), failure)
         && (admin->token == NULL
             || strand_client_token(reader->client, admin->token,
                                    admin->expires_ms, admin->principal,
                                    failure));
}

static void forget_token (strand_admin *admin) {
  free(admin->token);
  free(admin->principal);
  admin->token = admin->principal = NULL;
}

static void close_client (strand_admin *admin, double timeout) {
  if (admin->answers != NULL) rd_kafka_queue_destroy(admin->answers);
  if (admin->client != NULL)
    strand_client_end(admin->client, strand_clock_now() + timeout);
}

strand_admin *strand_admin_open (const strand_property *props, size_t count,
                                 strand_log *log, int has_oauth,
                                 strand_failure *failure) {
  strand_admin *admin = calloc(1, sizeof(*admin));
  if (admin == NULL) {
    no_memory(failure);
    return NULL;
  }
  admin->has_oauth = has_oauth;
  if (open_client(admin, props, count, log, failure)) return admin;
  strand_admin_close(admin, STRAND_ADMIN_END);
  return NULL;
}

void strand_admin_close (strand_admin *admin, double timeout) {
  if (admin == NULL) return;
  close_client(admin, timeout);
  forget_token(admin);
  free(admin);
}

/* ---- tokens -------------------------------------------------------------- */

int strand_admin_oauth_needed (strand_admin *admin) {
  rd_kafka_event_t *event;
  while ((event = rd_kafka_queue_poll(admin->client->queue, 0)) != NULL) {
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH)
      admin->oauth_wanted = 1;
    rd_kafka_event_destroy(event);
  }
  return admin->oauth_wanted;
}

int strand_admin_oauth_set (strand_admin *admin, const char *token,
                            int64_t expires_ms, const char *principal,
                            strand_failure *failure) {
  if (!strand_client_token(admin->client, token, expires_ms, principal,
                           failure))
    return 0;
  forget_token(admin);
  admin->token = strdup(token);
  admin->principal = strdup(principal);
  admin->expires_ms = expires_ms;
  if (admin->token == NULL || admin->principal == NULL) {
    forget_token(admin);
    return no_memory(failure);
  }
  admin->oauth_wanted = 0;
  return 1;
}

void strand_admin_oauth_fail (strand_admin *admin, const char *message) {
  admin->oauth_wanted = 1;
  rd_kafka_oauthbearer_set_token_failure(admin->client->handle, message);
}

/* ---- asking -------------------------------------------------------------- */

/* What is left, as the limit of a request: librdkafka takes no less and no
** more. */
static int request_ms (double deadline) {
  int ms = strand_clock_left_ms(deadline);
  if (ms < 1) return 1;
  return ms < REQUEST_MOST_MS ? ms : REQUEST_MOST_MS;
}

/* The options of a request that ends by itself after 'ms', and a new queue
** for its answer: one to an earlier request may still come, and must not be
** taken for this one's. */
static rd_kafka_AdminOptions_t *options_new (strand_admin *admin,
                                             rd_kafka_admin_op_t operation,
                                             int ms, strand_failure *failure) {
  char errstr[256];
  rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(
    admin->client->handle, operation);
  if (options == NULL) {
    strand_fail(failure, "UNSUPPORTED_FEATURE",
                "librdkafka %s cannot do "
                "this",
                rd_kafka_version_str());
    return NULL;
  }
  if (admin->answers != NULL) rd_kafka_queue_destroy(admin->answers);
  admin->answers = rd_kafka_queue_new(admin->client->handle);
  rd_kafka_AdminOptions_set_request_timeout(options, ms, errstr,
                                            sizeof(errstr));
  if (operation != RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS)
    rd_kafka_AdminOptions_set_operation_timeout(options, ms, errstr,
                                                sizeof(errstr));
  return options;
}

/* A request that was sent is not taken back, and may be carried out. */
static void fail_late (strand_admin *admin, const char *what,
                       strand_failure *failure) {
  char cause[sizeof(admin->client->cause.text)];
  strand_log_cause_read(&admin->client->cause, cause, sizeof(cause));
  strand_fail(failure, "TIMED_OUT", "%s: no broker answered in time%s%s", what,
              cause[0] != '\0' ? ": " : "", cause);
}

/* The answer to the only request that is out, or NULL and a failure. */
static rd_kafka_event_t *wait_answer (strand_admin *admin, int ms,
                                      const char *what,
                                      strand_failure *failure) {
  rd_kafka_resp_err_t err;
  rd_kafka_event_t *event = rd_kafka_queue_poll(admin->answers, ms);
  if (event == NULL) {
    fail_late(admin, what, failure);
    return NULL;
  }
  err = rd_kafka_event_error(event);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    strand_log_cause_note(&admin->client->cause, ""); /* what failed before */
    return event;
  }
  if (err == RD_KAFKA_RESP_ERR__TIMED_OUT) fail_late(admin, what, failure);
  else strand_fail_kafka(failure, err, what);
  rd_kafka_event_destroy(event);
  return NULL;
}

/* A brokers' answer is needed to tell; then it is known at once. */
static int check_not_mock (strand_admin *admin, double deadline,
                           const char *what, const char *instead,
                           strand_failure *failure) {
  int is_mock;
  char *id = rd_kafka_clusterid(admin->client->handle,
                                strand_clock_left_ms(deadline));
  if (id == NULL) {
    fail_late(admin, what, failure);
    return 0;
  }
  is_mock = strncmp(id, mock_id, sizeof(mock_id) - 1) == 0;
  rd_kafka_mem_free(admin->client->handle, id);
  if (!is_mock) return 1;
  strand_fail(failure, "UNSUPPORTED_FEATURE",
              "%s: the mock cluster cannot; "
              "%s",
              what, instead);
  return 0;
}

static void read_result (strand_topic_answer *to,
                         const rd_kafka_topic_result_t *result) {
  rd_kafka_resp_err_t err = rd_kafka_topic_result_error(result);
  const char *text = rd_kafka_topic_result_error_string(result);
  char code[sizeof(to->failure.code)];
  char reason[257];
  snprintf(to->topic, sizeof(to->topic), "%s",
           rd_kafka_topic_result_name(result));
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  if (text == NULL) text = rd_kafka_err2str(err);
  strand_log_escape(reason, sizeof(reason), text, strlen(text));
  strand_fail(&to->failure, strand_code_of(err, code, sizeof(code)), "%s",
              reason);
}

/* The first that failed, and how many more. 1: none. */
static int sum_up (const strand_topic_answers *answers,
                   strand_failure *failure) {
  const strand_topic_answer *first = NULL;
  size_t failed = 0;
  size_t i;
  for (i = 0; i < answers->count; i++) {
    if (answers->list[i].failure.code[0] == '\0') continue;
    if (failed++ == 0) first = &answers->list[i];
  }
  if (first == NULL) return 1;
  if (failed == 1)
    strand_fail(failure, first->failure.code, "topic '%.200s': %.250s",
                first->topic, first->failure.message);
  else
    strand_fail(failure, first->failure.code,
                "topic '%.200s': %.200s (and "
                "%zu more of %zu)",
                first->topic, first->failure.message, failed - 1,
                answers->count);
  return 0;
}

/* 0: some failed, or memory ran out; then 'answers' may be empty. */
static int take_results (const rd_kafka_topic_result_t **results, size_t count,
                         strand_topic_answers *answers,
                         strand_failure *failure) {
  size_t i;
  answers->list = calloc(count + 1, sizeof(*answers->list));
  if (answers->list == NULL) return no_memory(failure);
  answers->count = count;
  for (i = 0; i < count; i++) read_result(&answers->list[i], results[i]);
  if (!sum_up(answers, failure)) return 0;
  strand_topic_answers_free(answers);
  return 1;
}

void strand_topic_answers_free (strand_topic_answers *answers) {
  free(answers->list);
  answers->list = NULL;
  answers->count = 0;
}

/* ---- topics -------------------------------------------------------------- */

static rd_kafka_NewTopic_t *new_topic (const strand_new_topic *topic,
                                       strand_failure *failure) {
  char errstr[256];
  size_t i;
  rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(
    topic->name, topic->partitions, topic->replication, errstr,
    sizeof(errstr));
  if (made == NULL) {
    strand_fail(failure, "INVALID_ARG", "topic '%.200s': %s", topic->name,
                errstr);
    return NULL;
  }
  for (i = 0; i < topic->config_count; i++)
    rd_kafka_NewTopic_set_config(made, topic->config[i].name,
                                 topic->config[i].value);
  return made;
}

static int ask_create (strand_admin *admin, rd_kafka_NewTopic_t **topics,
                       size_t count, double deadline,
                       strand_topic_answers *answers,
                       strand_failure *failure) {
  const rd_kafka_topic_result_t **results;
  rd_kafka_event_t *event;
  size_t result_count;
  int ok;
  rd_kafka_AdminOptions_t *options = options_new(
    admin, RD_KAFKA_ADMIN_OP_CREATETOPICS, request_ms(deadline), failure);
  if (options == NULL) return 0;
  rd_kafka_CreateTopics(admin->client->handle, topics, count, options,
                        admin->answers);
  rd_kafka_AdminOptions_destroy(options);
  event = wait_answer(admin, strand_clock_left_ms(deadline) + LATE_MS,
                      "create_topics", failure);
  if (event == NULL) return 0;
  results = rd_kafka_CreateTopics_result_topics(
    rd_kafka_event_CreateTopics_result(event), &result_count);
  ok = take_results(results, result_count, answers, failure);
  rd_kafka_event_destroy(event);
  return ok;
}

int strand_admin_create_topics (strand_admin *admin,
                                const strand_new_topic *topics, size_t count,
                                double timeout, strand_topic_answers *answers,
                                strand_failure *failure) {
  double deadline = strand_clock_now() + timeout;
  rd_kafka_NewTopic_t **list;
  size_t made = 0;
  int ok;
  if (count == 0) return 1;
  if (!check_not_mock(admin, deadline, "create_topics",
                      "use mock:create_topic()", failure))
    return 0;
  list = calloc(count, sizeof(*list));
  if (list == NULL) return no_memory(failure);
  while (made < count
         && (list[made] = new_topic(&topics[made], failure)) != NULL)
    made++;
  ok = made == count
       && ask_create(admin, list, count, deadline, answers, failure);
  rd_kafka_NewTopic_destroy_array(list, made);
  free(list);
  return ok;
}

static int ask_delete (strand_admin *admin, rd_kafka_DeleteTopic_t **topics,
                       size_t count, double deadline,
                       strand_topic_answers *answers,
                       strand_failure *failure) {
  const rd_kafka_topic_result_t **results;
  rd_kafka_event_t *event;
  size_t result_count;
  int ok;
  rd_kafka_AdminOptions_t *options = options_new(
    admin, RD_KAFKA_ADMIN_OP_DELETETOPICS, request_ms(deadline), failure);
  if (options == NULL) return 0;
  rd_kafka_DeleteTopics(admin->client->handle, topics, count, options,
                        admin->answers);
  rd_kafka_AdminOptions_destroy(options);
  event = wait_answer(admin, strand_clock_left_ms(deadline) + LATE_MS,
                      "delete_topics", failure);
  if (event == NULL) return 0;
  results = rd_kafka_DeleteTopics_result_topics(
    rd_kafka_event_DeleteTopics_result(event), &result_count);
  ok = take_results(results, result_count, answers, failure);
  rd_kafka_event_destroy(event);
  return ok;
}

int strand_admin_delete_topics (strand_admin *admin, const char *const *topics,
                                size_t count, double timeout,
                                strand_topic_answers *answers,
                                strand_failure *failure) {
  double deadline = strand_clock_now() + timeout;
  rd_kafka_DeleteTopic_t **list;
  size_t i;
  int ok;
  if (count == 0) return 1;
  if (!check_not_mock(admin, deadline, "delete_topics",
                      "its topics last as long as it does", failure))
    return 0;
  list = calloc(count, sizeof(*list));
  if (list == NULL) return no_memory(failure);
  for (i = 0; i < count; i++) list[i] = rd_kafka_DeleteTopic_new(topics[i]);
  ok = ask_delete(admin, list, count, deadline, answers, failure);
  rd_kafka_DeleteTopic_destroy_array(list, count);
  free(list);
  return ok;
}

/* ---- offsets of a group -------------------------------------------------- */

void strand_group_offsets_free (strand_group_offsets *offsets) {
  size_t i;
  for (i = 0; i < offsets->count; i++) {
    free(offsets->list[i].topic);
    free(offsets->list[i].metadata);
  }
  free(offsets->list);
  offsets->list = NULL;
  offsets->count = 0;
}

/* All of a topic's partitions, added to 'partitions'. */
static int add_partitions (strand_admin *admin, const char *topic,
                           rd_kafka_topic_partition_list_t *partitions,
                           double deadline, strand_failure *failure) {
  strand_errand *errand = admin->client->errand;
  int32_t count = strand_errand_ask_partitions(errand, topic, failure);
  if (count == 0) { /* asked for now */
    strand_errand_wait(errand, deadline);
    count = strand_errand_ask_partitions(errand, topic, failure);
  }
  if (count == 0) return 0;
  rd_kafka_topic_partition_list_add_range(partitions, topic, 0, count - 1);
  return 1;
}

static int copy_offset (strand_group_offset *to,
                        const rd_kafka_topic_partition_t *from) {
  to->topic = strdup(from->topic);
  to->partition = from->partition;
  to->offset = from->offset;
  to->metadata_size = from->metadata_size;
  to->metadata = malloc(from->metadata_size + 1);
  if (to->topic == NULL || to->metadata == NULL) return 0;
  if (from->metadata_size > 0)
    memcpy(to->metadata, from->metadata, from->metadata_size);
  return 1;
}

static int copy_offsets (strand_group_offsets *offsets,
                         const rd_kafka_topic_partition_list_t *from,
                         strand_failure *failure) {
  char what[300];
  int i;
  offsets->list = calloc((size_t)from->cnt + 1, sizeof(*offsets->list));
  if (offsets->list == NULL) return no_memory(failure);
  for (i = 0; i < from->cnt; i++) {
    const rd_kafka_topic_partition_t *partition = &from->elems[i];
    if (partition->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      snprintf(what, sizeof(what), "topic '%.249s', partition %d",
               partition->topic, (int)partition->partition);
      strand_fail_kafka(failure, partition->err, what);
      return 0;
    }
    if (partition->offset < 0) continue; /* nothing committed */
    offsets->count++;
    if (!copy_offset(&offsets->list[offsets->count - 1], partition))
      return no_memory(failure);
  }
  return 1;
}

static int read_answer (rd_kafka_event_t *event, const char *what,
                        strand_group_offsets *offsets,
                        strand_failure *failure) {
  size_t count = 0;
  const rd_kafka_group_result_t **groups =
    rd_kafka_ListConsumerGroupOffsets_result_groups(
      rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
  const rd_kafka_topic_partition_list_t *partitions;
  const rd_kafka_error_t *error;
  if (count != 1) {
    strand_fail(failure, "BAD_MSG", "%s: no answer for the group", what);
    return 0;
  }
  error = rd_kafka_group_result_error(groups[0]);
  if (error != NULL) {
    strand_fail_kafka(failure, rd_kafka_error_code(error), what);
    return 0;
  }
  partitions = rd_kafka_group_result_partitions(groups[0]);
  if (partitions == NULL) return 1;
  return copy_offsets(offsets, partitions, failure);
}

static int by_place (const void *a, const void *b) {
  const strand_group_offset *x = a;
  const strand_group_offset *y = b;
  int order = strcmp(x->topic, y->topic);
  if (order != 0) return order;
  return (x->partition > y->partition) - (x->partition < y->partition);
}

/* The deadline ends the wait, not the request, which ends with its client:
** of one that has timed out librdkafka (2.0 to 2.15) drops a reference twice
** as soon as the coordinator is connected, and that ends the process. */
static int ask_offsets (strand_admin *admin, const char *group,
                        const rd_kafka_topic_partition_list_t *partitions,
                        double deadline, strand_group_offsets *offsets,
                        strand_failure *failure) {
  static const char what[] = "group_offsets";
  rd_kafka_ListConsumerGroupOffsets_t *request;
  rd_kafka_event_t *event;
  int ms;
  int ok;
  rd_kafka_AdminOptions_t *options = options_new(
    admin, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, REQUEST_MOST_MS,
    failure);
  if (options == NULL) return 0;
  request = rd_kafka_ListConsumerGroupOffsets_new(group, partitions);
  rd_kafka_ListConsumerGroupOffsets(admin->client->handle, &request, 1,
                                    options, admin->answers);
  rd_kafka_ListConsumerGroupOffsets_destroy(request);
  rd_kafka_AdminOptions_destroy(options);
  ms = strand_clock_left_ms(deadline);
  if (ms > GROUP_WAIT_MOST_MS) ms = GROUP_WAIT_MOST_MS;
  event = wait_answer(admin, ms, what, failure);
  if (event == NULL) return 0;
  ok = read_answer(event, what, offsets, failure);
  rd_kafka_event_destroy(event);
  return ok;
}

/* The group's coordinator moves, or has just started. */
static int is_passing (const char *code) {
  return strcmp(code, "NOT_COORDINATOR") == 0
         || strcmp(code, "COORDINATOR_NOT_AVAILABLE") == 0
         || strcmp(code, "COORDINATOR_LOAD_IN_PROGRESS") == 0;
}

static int read_offsets (const strand_admin *admin, const char *group,
                         const rd_kafka_topic_partition_list_t *partitions,
                         double deadline, strand_group_offsets *offsets,
                         strand_failure *failure) {
  strand_admin reader;
  int ok = open_reader(admin, group, &reader, failure);
  if (ok) {
    while (!(ok = ask_offsets(&reader, group, partitions, deadline, offsets,
                              failure))
           && is_passing(failure->code)
           && strand_clock_now() + AGAIN_MS / 1e3 < deadline)
      poll(NULL, 0, AGAIN_MS);
  }
  close_client(&reader, STRAND_ADMIN_END);
  return ok;
}

int strand_admin_group_offsets (strand_admin *admin, const char *group,
                                const char *const *topics, size_t count,
                                double timeout, strand_group_offsets *offsets,
                                strand_failure *failure) {
  double deadline = strand_clock_now() + timeout;
  rd_kafka_topic_partition_list_t *partitions = NULL;
  size_t i;
  int ok = 1;
  offsets->list = NULL;
  offsets->count = 0;
  if (topics == NULL
      && !check_not_mock(admin, deadline, "group_offsets", "name the topics",
                         failure))
    return 0;
  if (topics != NULL) partitions = rd_kafka_topic_partition_list_new(16);
  for (i = 0; ok && topics != NULL && i < count; i++)
    ok = add_partitions(admin, topics[i], partitions, deadline, failure);
  if (ok && (topics == NULL || count > 0))
    ok = read_offsets(admin, group, partitions, deadline, offsets, failure);
  if (partitions != NULL) rd_kafka_topic_partition_list_destroy(partitions);
  if (!ok) strand_group_offsets_free(offsets);
  else if (offsets->count > 1)
    qsort(offsets->list, offsets->count, sizeof(*offsets->list), by_place);
  return ok;
}
