/*
** leaders.c - which partitions' leaders do not answer
**
** librdkafka looks for a leader again and again without a word, and dials one
** whose address leads nowhere. So it is asked for what the brokers say of the
** topics, and of each broker that leads one of the partitions a question is
** asked that only a leader answers.
*/
#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/helper.h"

#define ASK_MS 2000
#define ASK_ALL_US 6000000 /* of several that do not answer */

static const struct rd_kafka_metadata_topic *topic_of (
    const struct rd_kafka_metadata *all, const char *name) {
  for (int i = 0; i < all->topic_cnt; i++) {
    if (strcmp(all->topics[i].topic, name) == 0) return &all->topics[i];
  }
  return NULL;
}

/* The leader's id; or what is wrong with it, and -1. */
static int32_t leader_of (const struct rd_kafka_metadata *all,
                          rd_kafka_topic_partition_t *p) {
  const struct rd_kafka_metadata_topic *t = topic_of(all, p->topic);
  p->err = RD_KAFKA_RESP_ERR__IN_PROGRESS; /* not known */
  if (t == NULL) return -1;
  p->err = t->err;
  if (t->err != RD_KAFKA_RESP_ERR_NO_ERROR) return -1;
  p->err = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
  for (int i = 0; i < t->partition_cnt; i++) {
    if (t->partitions[i].id != p->partition) continue;
    p->err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    return t->partitions[i].leader;
  }
  return -1;
}

/* A leader that refuses to say has answered. rd_kafka_query_watermark_offsets
** would wait for socket.timeout.ms, whatever it is asked (2.0.2). */
static rd_kafka_resp_err_t ask_leader (rd_kafka_t *client,
                                       const rd_kafka_topic_partition_t *p) {
  rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
  rd_kafka_resp_err_t err;
  rd_kafka_topic_partition_list_add(one, p->topic, p->partition)->offset =
    RD_KAFKA_OFFSET_END;
  err = rd_kafka_offsets_for_times(client, one, ASK_MS);
  if (err == 0) err = one->elems[0].err;
  rd_kafka_topic_partition_list_destroy(one);
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_AWAY:
    case STRAND_ERROR_LEADER:
      return err;
    default:
      return RD_KAFKA_RESP_ERR_NO_ERROR;
  }
}

/* One question for all that the broker leads. */
static void ask_broker (rd_kafka_t *client, int32_t broker,
                        const struct rd_kafka_metadata *all,
                        rd_kafka_topic_partition_list_t *list, int from,
                        int64_t until_us) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__IN_PROGRESS;
  if (strand_clock_us() < until_us) {
    err = ask_leader(client, &list->elems[from]);
  }
  for (int i = from; i < list->cnt; i++) {
    rd_kafka_topic_partition_t *p = &list->elems[i];
    if (p->offset >= 0) continue; /* it has been asked */
    if (leader_of(all, p) != broker) continue;
    p->err = err;
    p->offset = broker;
  }
}

/* Its partitions' errors are what was found: __IN_PROGRESS for nothing. */
rd_kafka_resp_err_t strand_leaders_ask (
    rd_kafka_t *client, rd_kafka_topic_partition_list_t *list) {
  const struct rd_kafka_metadata *all;
  int64_t until_us = strand_clock_us() + ASK_ALL_US;
  rd_kafka_resp_err_t err = rd_kafka_metadata(client, 0, NULL, &all,
                                              STRAND_CALL_TIMEOUT_MS / 2);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  for (int i = 0; i < list->cnt; i++) list->elems[i].offset = -1;
  for (int i = 0; i < list->cnt; i++) {
    rd_kafka_topic_partition_t *p = &list->elems[i];
    int32_t broker = p->offset >= 0 ? -1 : leader_of(all, p);
    if (broker >= 0) ask_broker(client, broker, all, list, i, until_us);
  }
  rd_kafka_metadata_destroy(all);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}
