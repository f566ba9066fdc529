/*
** leaders.c - which partitions' leaders do not answer, and which lack copies
**
** librdkafka looks for a leader again and again without a word, and dials one
** whose address leads nowhere. So it is asked for what the brokers say of the
** topics, and of each broker that leads one of the partitions a question is
** asked that only a leader answers.
*/
#include "kafka/leaders.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/answer.h"
#include "kafka/errors.h"
#include "kafka/leader_offsets.h"

#define ASK_MS 2000
#define SLICE_MS 250       /* the first */
#define ASK_ALL_US 6000000 /* of several that do not answer */

typedef struct inquiry {
  rd_kafka_t *client;
  const atomic_bool *hurried; /* a close does not wait for it */
  const struct rd_kafka_metadata *all;
  rd_kafka_topic_partition_list_t *list;
  int64_t until_us;
} inquiry;

static const struct rd_kafka_metadata_topic *
topic_of (const struct rd_kafka_metadata *all, const char *name) {
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

/* For the start: of the end a leader that was elected while copies are
** missing says LEADER_NOT_AVAILABLE, until they are back (Kafka 4.1). */
static rd_kafka_resp_err_t ask_once (const inquiry *q,
                                     const rd_kafka_topic_partition_t *p,
                                     int timeout_ms) {
  rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
  rd_kafka_resp_err_t err;
  rd_kafka_topic_partition_list_add(one, p->topic, p->partition)->offset =
    RD_KAFKA_OFFSET_BEGINNING;
  err = strand_leader_offsets_read(q->client, one, timeout_ms, q->hurried);
  if (err == 0) err = one->elems[0].err;
  rd_kafka_topic_partition_list_destroy(one);
  return err;
}

/* A leader that refuses to say has answered. */
static rd_kafka_resp_err_t ask_leader (const inquiry *q,
                                       const rd_kafka_topic_partition_t *p) {
  int left_ms = ASK_MS;
  int slice = strand_leader_offsets_can_be_left() ? ASK_MS : SLICE_MS;
  for (;;) {
    rd_kafka_resp_err_t err = ask_once(q, p, slice);
    strand_error_kind kind = strand_error_kind_of(err);
    if (kind != STRAND_ERROR_UNREACHABLE && kind != STRAND_ERROR_LEADER)
      return 0;
    if (atomic_load(q->hurried)) return RD_KAFKA_RESP_ERR__IN_PROGRESS;
    left_ms -= slice;
    if (left_ms <= 0) return err;
    slice = strand_answer_next_slice(slice, left_ms);
  }
}

/* One question for all that the broker leads. */
static void ask_broker (const inquiry *q, int32_t broker, int from) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__IN_PROGRESS;
  if (strand_clock_us() < q->until_us && !atomic_load(q->hurried)) {
    err = ask_leader(q, &q->list->elems[from]);
  }
  for (int i = from; i < q->list->cnt; i++) {
    rd_kafka_topic_partition_t *p = &q->list->elems[i];
    if (p->offset >= 0) continue; /* it has been asked */
    if (leader_of(q->all, p) != broker) continue;
    p->err = err;
    p->offset = broker;
  }
}

static rd_kafka_resp_err_t ask_metadata (inquiry *q) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__DESTROY;
  int left_ms = ASK_MS;
  for (int slice = SLICE_MS; left_ms > 0 && !atomic_load(q->hurried);
       slice = strand_answer_next_slice(slice, left_ms)) {
    err = rd_kafka_metadata(q->client, 0, NULL, &q->all, slice);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return err;
    left_ms -= slice;
  }
  return err;
}

static void ask_brokers (const inquiry *q) {
  for (int i = 0; i < q->list->cnt; i++) q->list->elems[i].offset = -1;
  for (int i = 0; i < q->list->cnt; i++) {
    rd_kafka_topic_partition_t *p = &q->list->elems[i];
    int32_t broker = p->offset >= 0 ? -1 : leader_of(q->all, p);
    if (broker >= 0) ask_broker(q, broker, i);
  }
}

rd_kafka_resp_err_t strand_leaders_ask (rd_kafka_t *client,
                                        rd_kafka_topic_partition_list_t *list,
                                        const atomic_bool *hurried) {
  inquiry q = { client, hurried, NULL, list, strand_clock_us() + ASK_ALL_US };
  rd_kafka_resp_err_t err = ask_metadata(&q);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  ask_brokers(&q);
  rd_kafka_metadata_destroy(q.all);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/*
** Copies
*/

int strand_leaders_in_sync (const rd_kafka_topic_partition_t *p) {
  return (int)p->offset;
}

int strand_leaders_copies (const rd_kafka_topic_partition_t *p) {
  return (int)(intptr_t)p->opaque;
}

static void add_topic (rd_kafka_topic_partition_list_t *list,
                       const struct rd_kafka_metadata_topic *t) {
  for (int i = 0; i < t->partition_cnt; i++) {
    if (list->cnt >= STRAND_STALLED_MAX) return;
    rd_kafka_topic_partition_list_add(list, t->topic, t->partitions[i].id);
  }
}

static const rd_kafka_metadata_partition_t *
described (const struct rd_kafka_metadata *all,
           const rd_kafka_topic_partition_t *p) {
  const struct rd_kafka_metadata_topic *t = topic_of(all, p->topic);
  for (int i = 0; t != NULL && i < t->partition_cnt; i++) {
    if (t->partitions[i].id == p->partition) return &t->partitions[i];
  }
  return NULL;
}

static bool has_no_leader (const rd_kafka_topic_partition_t *p) {
  strand_error_kind kind = strand_error_kind_of(p->err);
  return kind == STRAND_ERROR_UNREACHABLE || kind == STRAND_ERROR_LEADER;
}

/* Whether copies are too few is the topic's setting, which not everybody may
** read: that some are missing is told to who knows that nothing goes on. */
static bool lacks_copies (const rd_kafka_topic_partition_t *p,
                          const rd_kafka_metadata_partition_t *known) {
  return p->err == RD_KAFKA_RESP_ERR_NO_ERROR && known != NULL
         && known->isr_cnt < known->replica_cnt;
}

static rd_kafka_topic_partition_list_t *stalled_of (const inquiry *q) {
  rd_kafka_topic_partition_list_t *stalled = rd_kafka_topic_partition_list_new(
    0);
  for (int i = 0; i < q->list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &q->list->elems[i];
    const rd_kafka_metadata_partition_t *known = described(q->all, p);
    rd_kafka_topic_partition_t *one;
    if (!has_no_leader(p) && !lacks_copies(p, known)) continue;
    one = rd_kafka_topic_partition_list_add(stalled, p->topic, p->partition);
    one->err = p->err;
    if (has_no_leader(p)) continue;
    one->err = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    one->offset = known->isr_cnt;
    one->opaque = (void *)(intptr_t)known->replica_cnt;
  }
  return stalled;
}

/* Of each partition, and there is one. */
static bool is_all_known (const rd_kafka_topic_partition_list_t *list) {
  for (int i = 0; i < list->cnt; i++) {
    if (strand_error_kind_of(list->elems[i].err) == STRAND_ERROR_PASSING) {
      return false;
    }
  }
  return list->cnt > 0;
}

rd_kafka_resp_err_t
strand_leaders_stalled (rd_kafka_t *client, const atomic_bool *hurried,
                        rd_kafka_topic_partition_list_t **stalled) {
  inquiry q = { client, hurried, NULL, NULL, strand_clock_us() + ASK_ALL_US };
  rd_kafka_resp_err_t err = ask_metadata(&q);
  *stalled = NULL;
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  q.list = rd_kafka_topic_partition_list_new(0);
  for (int i = 0; i < q.all->topic_cnt; i++) {
    add_topic(q.list, &q.all->topics[i]);
  }
  ask_brokers(&q);
  *stalled = stalled_of(&q);
  if ((*stalled)->cnt == 0 && !is_all_known(q.list)) {
    rd_kafka_topic_partition_list_destroy(*stalled);
    *stalled = NULL;
    err = RD_KAFKA_RESP_ERR__IN_PROGRESS;
  }
  rd_kafka_topic_partition_list_destroy(q.list);
  rd_kafka_metadata_destroy(q.all);
  return err;
}
