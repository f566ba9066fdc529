/*
** admin_topics.c - see admin_topics.h
*/
#include "kafka/admin_topics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/errors.h"

/*
** What the brokers said
*/

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

/* The first that failed, and how many more. True: none. */
static bool sum_up (const strand_topic_answers *answers,
                    strand_failure *failure) {
  const strand_topic_answer *first = NULL;
  size_t failed = 0;
  size_t i;
  for (i = 0; i < answers->count; i++) {
    if (answers->list[i].failure.code[0] == '\0') continue;
    if (failed++ == 0) first = &answers->list[i];
  }
  if (first == NULL) return true;
  if (failed == 1)
    strand_fail(failure, first->failure.code, "topic '%.200s': %.250s",
                first->topic, first->failure.message);
  else
    strand_fail(failure, first->failure.code,
                "topic '%.200s': %.200s (and "
                "%zu more of %zu)",
                first->topic, first->failure.message, failed - 1,
                answers->count);
  return false;
}

/* False: some failed, or memory ran out; then 'answers' may be empty. */
static bool take_results (const rd_kafka_topic_result_t **results,
                          size_t count, strand_topic_answers *answers,
                          strand_failure *failure) {
  size_t i;
  answers->list = calloc(count + 1, sizeof(*answers->list));
  if (answers->list == NULL) return strand_admin_no_memory(failure);
  answers->count = count;
  for (i = 0; i < count; i++) read_result(&answers->list[i], results[i]);
  if (!sum_up(answers, failure)) return false;
  strand_topic_answers_free(answers);
  return true;
}

void strand_topic_answers_free (strand_topic_answers *answers) {
  free(answers->list);
  answers->list = NULL;
  answers->count = 0;
}

static const rd_kafka_topic_result_t **results_of (rd_kafka_event_t *event,
                                                   size_t *count) {
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
      return rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event), count);
    case RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT:
      return rd_kafka_CreatePartitions_result_topics(
        rd_kafka_event_CreatePartitions_result(event), count);
    default:
      return rd_kafka_DeleteTopics_result_topics(
        rd_kafka_event_DeleteTopics_result(event), count);
  }
}

/*
** Asking
*/

static bool take_answer (strand_admin_client *c, const char *what,
                         double deadline, strand_topic_answers *answers,
                         strand_failure *failure) {
  const rd_kafka_topic_result_t **results;
  size_t count;
  bool ok;
  rd_kafka_event_t *event = strand_admin_client_wait_until(c, deadline, what,
                                                           failure);
  if (event == NULL) return false;
  results = results_of(event, &count);
  ok = take_results(results, count, answers, failure);
  rd_kafka_event_destroy(event);
  return ok;
}

/*
** Create
*/

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

static bool ask_create (strand_admin_client *c, rd_kafka_NewTopic_t **topics,
                        size_t count, double deadline,
                        strand_topic_answers *answers,
                        strand_failure *failure) {
  rd_kafka_AdminOptions_t *options = strand_admin_client_request_until(
    c, RD_KAFKA_ADMIN_OP_CREATETOPICS, deadline, failure);
  if (options == NULL) return false;
  rd_kafka_CreateTopics(c->client->handle, topics, count, options, c->answers);
  rd_kafka_AdminOptions_destroy(options);
  return take_answer(c, "create_topics", deadline, answers, failure);
}

bool strand_admin_topics_create (strand_admin_client *c,
                                 const strand_new_topic *topics, size_t count,
                                 double deadline,
                                 strand_topic_answers *answers,
                                 strand_failure *failure) {
  rd_kafka_NewTopic_t **list;
  size_t made = 0;
  bool ok;
  if (count == 0) return true;
  if (!strand_admin_client_is_real(c, deadline, "create_topics",
                                   "use mock:create_topic()", failure))
    return false;
  list = calloc(count, sizeof(*list));
  if (list == NULL) return strand_admin_no_memory(failure);
  while (made < count
         && (list[made] = new_topic(&topics[made], failure)) != NULL)
    made++;
  ok = made == count && ask_create(c, list, count, deadline, answers, failure);
  rd_kafka_NewTopic_destroy_array(list, made);
  free(list);
  return ok;
}

/*
** Delete
*/

static bool ask_delete (strand_admin_client *c,
                        rd_kafka_DeleteTopic_t **topics, size_t count,
                        double deadline, strand_topic_answers *answers,
                        strand_failure *failure) {
  rd_kafka_AdminOptions_t *options = strand_admin_client_request_until(
    c, RD_KAFKA_ADMIN_OP_DELETETOPICS, deadline, failure);
  if (options == NULL) return false;
  rd_kafka_DeleteTopics(c->client->handle, topics, count, options, c->answers);
  rd_kafka_AdminOptions_destroy(options);
  return take_answer(c, "delete_topics", deadline, answers, failure);
}

bool strand_admin_topics_delete (strand_admin_client *c,
                                 const char *const *topics, size_t count,
                                 double deadline,
                                 strand_topic_answers *answers,
                                 strand_failure *failure) {
  rd_kafka_DeleteTopic_t **list;
  size_t i;
  bool ok;
  if (count == 0) return true;
  if (!strand_admin_client_is_real(c, deadline, "delete_topics",
                                   "its topics last as long as it does",
                                   failure))
    return false;
  list = calloc(count, sizeof(*list));
  if (list == NULL) return strand_admin_no_memory(failure);
  for (i = 0; i < count; i++) list[i] = rd_kafka_DeleteTopic_new(topics[i]);
  ok = ask_delete(c, list, count, deadline, answers, failure);
  rd_kafka_DeleteTopic_destroy_array(list, count);
  free(list);
  return ok;
}

/*
** More partitions
*/

static bool ask_more (strand_admin_client *c,
                      rd_kafka_NewPartitions_t **topics, size_t count,
                      double deadline, strand_topic_answers *answers,
                      strand_failure *failure) {
  rd_kafka_AdminOptions_t *options = strand_admin_client_request_until(
    c, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, deadline, failure);
  if (options == NULL) return false;
  rd_kafka_CreatePartitions(c->client->handle, topics, count, options,
                            c->answers);
  rd_kafka_AdminOptions_destroy(options);
  return take_answer(c, "create_partitions", deadline, answers, failure);
}

static rd_kafka_NewPartitions_t *new_partitions (const strand_new_topic *topic,
                                                 strand_failure *failure) {
  char errstr[256];
  rd_kafka_NewPartitions_t *made = rd_kafka_NewPartitions_new(
    topic->name, (size_t)topic->partitions, errstr, sizeof(errstr));
  if (made == NULL)
    strand_fail(failure, "INVALID_ARG", "topic '%.200s': %s", topic->name,
                errstr);
  return made;
}

bool strand_admin_topics_extend (strand_admin_client *c,
                                 const strand_new_topic *topics, size_t count,
                                 double deadline,
                                 strand_topic_answers *answers,
                                 strand_failure *failure) {
  rd_kafka_NewPartitions_t **list;
  size_t made = 0;
  bool ok;
  if (count == 0) return true;
  if (!strand_admin_client_is_real(c, deadline, "create_partitions",
                                   "make the topic with as many", failure))
    return false;
  list = calloc(count, sizeof(*list));
  if (list == NULL) return strand_admin_no_memory(failure);
  while (made < count
         && (list[made] = new_partitions(&topics[made], failure)) != NULL)
    made++;
  ok = made == count && ask_more(c, list, count, deadline, answers, failure);
  rd_kafka_NewPartitions_destroy_array(list, made);
  free(list);
  return ok;
}
