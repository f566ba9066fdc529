/*
** topic_limit.c - see topic_limit.h
*/
#include "kafka/topic_limit.h"

#include <stdlib.h>
#include <string.h>

#include "kafka/mock.h"

#define ASK_MS 5000
#define SLICE_MS 250 /* how late 'hurried' is seen, at most */

static const char name_of_limit[] = "max.message.bytes";

/* librdkafka would wait for a controller, which a mock cluster has not. */
static bool is_real (rd_kafka_t *client) {
  char *id = rd_kafka_clusterid(client, SLICE_MS);
  bool real = id != NULL && !strand_mock_is_id(id);
  if (id != NULL) rd_kafka_mem_free(client, id);
  return real;
}

static int64_t limit_of (const rd_kafka_event_t *event) {
  const rd_kafka_DescribeConfigs_result_t *result =
    rd_kafka_event_DescribeConfigs_result((rd_kafka_event_t *)event);
  const rd_kafka_ConfigResource_t **resources;
  const rd_kafka_ConfigEntry_t **entries;
  size_t count = 0;
  if (result == NULL) return 0;
  resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
  if (count != 1) return 0;
  entries = rd_kafka_ConfigResource_configs(resources[0], &count);
  for (size_t i = 0; i < count; i++) {
    const char *value = rd_kafka_ConfigEntry_value(entries[i]);
    if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name_of_limit) == 0)
      return value != NULL ? strtoll(value, NULL, 10) : 0;
  }
  return 0;
}

static void describe (rd_kafka_t *client, const char *topic,
                      rd_kafka_queue_t *answers) {
  rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(
    client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
  rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(
    RD_KAFKA_RESOURCE_TOPIC, topic);
  rd_kafka_AdminOptions_set_request_timeout(options, ASK_MS, NULL, 0);
  rd_kafka_DescribeConfigs(client, &resource, 1, options, answers);
  rd_kafka_ConfigResource_destroy(resource);
  rd_kafka_AdminOptions_destroy(options);
}

static int64_t wait_answer (rd_kafka_queue_t *answers,
                            const atomic_bool *hurried) {
  for (int left_ms = ASK_MS; left_ms > 0; left_ms -= SLICE_MS) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(answers, SLICE_MS);
    int64_t bytes;
    if (event == NULL && atomic_load(hurried)) return -1;
    if (event == NULL) continue;
    bytes = limit_of(event);
    rd_kafka_event_destroy(event);
    return bytes;
  }
  return 0;
}

int64_t strand_topic_limit_ask (rd_kafka_t *client, const char *topic,
                                const atomic_bool *hurried) {
  rd_kafka_queue_t *answers;
  int64_t bytes;
  if (!is_real(client)) return 0;
  answers = rd_kafka_queue_new(client);
  describe(client, topic, answers);
  bytes = wait_answer(answers, hurried);
  rd_kafka_queue_destroy(answers);
  return bytes;
}
