/*
** admin_cluster.c - see admin_cluster.h
*/
#include "kafka/admin_cluster.h"

#include <stdio.h>

#include "base/clock.h"
#include "kafka/errors.h"

static const char what[] = "describe";

typedef const struct rd_kafka_metadata *metadata;

/*
** What the brokers said
*/

static void add_ids (strand_reply *a, const char *name, const int32_t *ids,
                     int count) {
  strand_reply_open(a, name);
  for (int i = 0; i < count; i++) strand_reply_integer(a, NULL, ids[i]);
  strand_reply_close(a);
}

static void add_partition (strand_reply *a,
                           const rd_kafka_metadata_partition_t *partition) {
  strand_reply_open(a, NULL);
  strand_reply_integer(a, "partition", partition->id);
  if (partition->leader >= 0)
    strand_reply_integer(a, "leader", partition->leader);
  add_ids(a, "replicas", partition->replicas, partition->replica_cnt);
  add_ids(a, "isr", partition->isrs, partition->isr_cnt);
  strand_reply_error(a, partition->err, NULL);
  strand_reply_close(a);
}

static void add_topic (strand_reply *a,
                       const rd_kafka_metadata_topic_t *topic) {
  strand_reply_open(a, NULL);
  strand_reply_text(a, "topic", topic->topic);
  strand_reply_open(a, "partitions");
  for (int i = 0; i < topic->partition_cnt; i++)
    add_partition(a, &topic->partitions[i]);
  strand_reply_close(a);
  strand_reply_error(a, topic->err, NULL);
  strand_reply_close(a);
}

static void add_brokers (strand_reply *a, metadata known) {
  strand_reply_open(a, "brokers");
  for (int i = 0; i < known->broker_cnt; i++) {
    strand_reply_open(a, NULL);
    strand_reply_integer(a, "id", known->brokers[i].id);
    strand_reply_text(a, "host", known->brokers[i].host);
    strand_reply_integer(a, "port", known->brokers[i].port);
    strand_reply_close(a);
  }
  strand_reply_close(a);
}

/* Both are known, for metadata has come. */
static void add_cluster (strand_reply *a, rd_kafka_t *client,
                         double deadline) {
  int ms = strand_clock_left_ms(deadline);
  char *id = rd_kafka_clusterid(client, ms);
  int32_t controller = rd_kafka_controllerid(client, ms);
  strand_reply_text(a, "cluster_id", id);
  if (controller >= 0) strand_reply_integer(a, "controller", controller);
  if (id != NULL) rd_kafka_mem_free(client, id);
}

/*
** Asking
*/

static bool ask (const strand_admin_client *c, int all, rd_kafka_topic_t *one,
                 double deadline, metadata *known, strand_failure *failure) {
  rd_kafka_resp_err_t err = rd_kafka_metadata(
    c->client->handle, all, one, known, strand_clock_left_ms(deadline));
  return err == RD_KAFKA_RESP_ERR_NO_ERROR
         || strand_admin_client_fail(c, err, what, failure);
}

static bool ask_topic (const strand_admin_client *c, const char *name,
                       double deadline, metadata *known,
                       strand_failure *failure) {
  bool ok;
  rd_kafka_topic_t *topic = rd_kafka_topic_new(c->client->handle, name, NULL);
  if (topic == NULL)
    return strand_admin_client_fail(c, rd_kafka_last_error(), what, failure);
  ok = ask(c, 0, topic, deadline, known, failure);
  rd_kafka_topic_destroy(topic);
  return ok;
}

static void add_topics (strand_reply *a, metadata known) {
  for (int i = 0; i < known->topic_cnt; i++) add_topic(a, &known->topics[i]);
}

/* The first question: the brokers, and all topics when that is wanted. */
static bool ask_cluster (const strand_admin_client *c, bool all,
                         double deadline, strand_reply *reply,
                         strand_failure *failure) {
  metadata known;
  if (!ask(c, all, NULL, deadline, &known, failure)) return false;
  add_cluster(reply, c->client->handle, deadline);
  add_brokers(reply, known);
  strand_reply_open(reply, "topics");
  if (all) add_topics(reply, known);
  rd_kafka_metadata_destroy(known);
  return true;
}

bool strand_admin_cluster_describe (strand_admin_client *c,
                                    const char *const *topics, size_t count,
                                    double deadline, strand_reply *reply,
                                    strand_failure *failure) {
  strand_reply_open(reply, NULL);
  if (!ask_cluster(c, topics == NULL, deadline, reply, failure)) return false;
  for (size_t i = 0; topics != NULL && i < count; i++) {
    metadata known;
    if (!ask_topic(c, topics[i], deadline, &known, failure)) return false;
    add_topics(reply, known);
    rd_kafka_metadata_destroy(known);
  }
  strand_reply_close(reply);
  strand_reply_close(reply);
  return strand_reply_complete(reply, failure);
}

/*
** Partitions alone
*/

static bool list_partitions (const rd_kafka_metadata_topic_t *topic,
                             rd_kafka_topic_partition_list_t *list,
                             strand_failure *failure) {
  char name[300];
  snprintf(name, sizeof(name), "topic '%.249s'", topic->topic);
  if (topic->partition_cnt == 0) {
    strand_fail_kafka(failure,
                      topic->err != RD_KAFKA_RESP_ERR_NO_ERROR
                        ? topic->err
                        : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                      name);
    return false;
  }
  for (int i = 0; i < topic->partition_cnt; i++)
    rd_kafka_topic_partition_list_add(list, topic->topic,
                                      topic->partitions[i].id);
  return true;
}

bool strand_admin_cluster_partitions (const strand_admin_client *c,
                                      const char *topic, double deadline,
                                      rd_kafka_topic_partition_list_t *list,
                                      strand_failure *failure) {
  metadata known;
  bool ok = true;
  if (!ask_topic(c, topic, deadline, &known, failure)) return false;
  for (int i = 0; ok && i < known->topic_cnt; i++)
    ok = list_partitions(&known->topics[i], list, failure);
  rd_kafka_metadata_destroy(known);
  return ok;
}
