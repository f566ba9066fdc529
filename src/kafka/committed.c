/*
** committed.c - see committed.h
*/
#include "kafka/committed.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/answer.h"

/* librdkafka's most. It ends by an answer, or with the connection: of a request
** to a coordinator that has timed out librdkafka (2.0 to 2.15) drops a
** reference twice. */
#define REQUEST_MS 3600000

/* Freed by the caller; NULL: memory ran out. */
static char *setting (rd_kafka_t *client, const char *name) {
  const rd_kafka_conf_t *conf = rd_kafka_conf(client);
  size_t size = 0;
  char *value;
  rd_kafka_conf_get(conf, name, NULL, &size);
  value = calloc(1, size + 1);
  if (value != NULL) rd_kafka_conf_get(conf, name, value, &size);
  return value;
}

static rd_kafka_AdminOptions_t *options_of (rd_kafka_t *client) {
  char *isolation = setting(client, "isolation.level");
  rd_kafka_AdminOptions_t *options;
  rd_kafka_error_t *error;
  char text[200];
  if (isolation == NULL) return NULL;
  options = rd_kafka_AdminOptions_new(
    client, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
  rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_MS, text,
                                            sizeof(text));
  error = rd_kafka_AdminOptions_set_require_stable_offsets(
    options, strcmp(isolation, "read_committed") == 0);
  if (error != NULL) rd_kafka_error_destroy(error);
  free(isolation);
  return options;
}

/* False: memory ran out. */
static bool ask (rd_kafka_t *client,
                 const rd_kafka_topic_partition_list_t *list,
                 rd_kafka_queue_t *answers) {
  char *group = setting(client, "group.id");
  rd_kafka_AdminOptions_t *options = options_of(client);
  bool both = group != NULL && options != NULL;
  rd_kafka_ListConsumerGroupOffsets_t *request;
  if (both) {
    request = rd_kafka_ListConsumerGroupOffsets_new(group, list);
    rd_kafka_ListConsumerGroupOffsets(client, &request, 1, options, answers);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
  }
  if (options != NULL) rd_kafka_AdminOptions_destroy(options);
  free(group);
  return both;
}

/*
** The answer
*/

/* False: memory ran out. */
static bool copy_metadata (rd_kafka_topic_partition_t *to,
                           const rd_kafka_topic_partition_t *from) {
  free(to->metadata);
  to->metadata = NULL;
  to->metadata_size = 0;
  if (from->metadata_size == 0) return true;
  to->metadata = malloc(from->metadata_size);
  if (to->metadata == NULL) return false;
  memcpy(to->metadata, from->metadata, from->metadata_size);
  to->metadata_size = from->metadata_size;
  return true;
}

static rd_kafka_resp_err_t copy (rd_kafka_topic_partition_list_t *list,
                                 const rd_kafka_topic_partition_list_t *from) {
  for (int i = 0; i < list->cnt; i++) {
    rd_kafka_topic_partition_t *to = &list->elems[i];
    const rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_find(
      from, to->topic, to->partition);
    if (p == NULL) return RD_KAFKA_RESP_ERR__BAD_MSG;
    to->offset = p->offset;
    to->err = p->err;
    if (!copy_metadata(to, p)) return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t take (rd_kafka_topic_partition_list_t *list,
                                 rd_kafka_event_t *event) {
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  const rd_kafka_topic_partition_list_t *partitions;
  const rd_kafka_group_result_t **groups;
  const rd_kafka_error_t *error;
  size_t count = 0;
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
    rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
  if (count != 1) return RD_KAFKA_RESP_ERR__BAD_MSG;
  error = rd_kafka_group_result_error(groups[0]);
  if (error != NULL) return rd_kafka_error_code(error);
  partitions = rd_kafka_group_result_partitions(groups[0]);
  return partitions != NULL ? copy(list, partitions)
                            : RD_KAFKA_RESP_ERR__BAD_MSG;
}

/* What comes later is dropped with its queue. */
rd_kafka_resp_err_t
strand_committed_read (rd_kafka_t *client,
                       rd_kafka_topic_partition_list_t *list, int timeout_ms,
                       const atomic_bool *hurried) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
  rd_kafka_queue_t *answers = rd_kafka_queue_new(client);
  rd_kafka_event_t *event = NULL;
  if (ask(client, list, answers)) {
    event = strand_answer_wait(answers, &timeout_ms, hurried);
    err = event != NULL ? take(list, event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
  }
  if (event != NULL) rd_kafka_event_destroy(event);
  rd_kafka_queue_destroy(answers);
  return err;
}
