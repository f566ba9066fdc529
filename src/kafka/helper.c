#include "kafka/helper.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "kafka/conf.h"
#include "kafka/member.h"
#include "kafka/thread.h"

typedef struct call_queue {
  strand_call *first;
  strand_call **end;
} call_queue;

struct strand_helper {
  rd_kafka_t *client;
  void (*wake) (void *);
  void (*gone) (void *);
  void *arg;
  pthread_mutex_t lock;
  pthread_cond_t filled;
  call_queue todo;
  call_queue answers;
  bool ending;
};

static void push (call_queue *q, strand_call *call) {
  call->next = NULL;
  *q->end = call;
  q->end = &call->next;
}

static strand_call *pop (call_queue *q) {
  strand_call *call = q->first;
  if (call == NULL) return NULL;
  q->first = call->next;
  if (q->first == NULL) q->end = &q->first;
  return call;
}

strand_call *strand_call_new (strand_call_kind kind,
                              rd_kafka_topic_partition_list_t *list) {
  strand_call *call = calloc(1, sizeof(*call));
  if (call == NULL) {
    if (list != NULL) rd_kafka_topic_partition_list_destroy(list);
    return NULL;
  }
  call->kind = kind;
  call->list = list;
  call->low = call->high = -1;
  return call;
}

void strand_call_free (strand_call *call) {
  if (call == NULL) return;
  if (call->list != NULL) rd_kafka_topic_partition_list_destroy(call->list);
  if (call->topics != NULL) rd_kafka_metadata_destroy(call->topics);
  strand_owners_free(call->owners);
  free(call);
}

/* Below 2.1 rd_kafka_seek_partitions takes its milliseconds for microseconds:
** on a busy machine a seek that was on its way had then "timed out". */
static int seek_timeout (void) {
  int unit = strand_conf_version_at_least(2, 1, 0) ? 1 : 1000;
  return STRAND_CALL_TIMEOUT_MS * unit;
}

static rd_kafka_resp_err_t seek (rd_kafka_t *client, strand_call *call) {
  rd_kafka_error_t *error = rd_kafka_seek_partitions(client, call->list,
                                                     seek_timeout());
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (error != NULL) {
    err = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
  }
  for (int i = 0; err == 0 && i < call->list->cnt; i++) {
    err = call->list->elems[i].err;
  }
  return err;
}

static rd_kafka_resp_err_t ask (rd_kafka_t *client, bool all,
                                rd_kafka_topic_t *topic,
                                const struct rd_kafka_metadata **found) {
  *found = NULL;
  return rd_kafka_metadata(client, all, topic, found,
                           STRAND_CALL_TIMEOUT_MS / 2);
}

static rd_kafka_resp_err_t reach (rd_kafka_t *client, strand_call *call) {
  return ask(client, false, NULL, &call->topics);
}

static rd_kafka_resp_err_t look_for (rd_kafka_t *client, const char *name,
                                     bool *exists) {
  const struct rd_kafka_metadata *found;
  rd_kafka_topic_t *topic = rd_kafka_topic_new(client, name, NULL);
  rd_kafka_resp_err_t err;
  if (topic == NULL) return rd_kafka_last_error();
  err = ask(client, false, topic, &found);
  rd_kafka_topic_destroy(topic);
  if (err != 0) return err;
  if (found->topic_cnt == 1 && found->topics[0].err == 0) *exists = true;
  rd_kafka_metadata_destroy(found);
  return err;
}

/* librdkafka looks again at what the group subscribes to when it was asked
** for all topics, and from 2.4 on only at those that it has heard of by name
** before: thus first one by one. */
static rd_kafka_resp_err_t topics (rd_kafka_t *client, strand_call *call) {
  bool any = false;
  for (int i = 0; i < call->list->cnt; i++) {
    const char *name = call->list->elems[i].topic;
    rd_kafka_resp_err_t err = look_for(client, name, &any);
    if (err != 0) return err;
  }
  return any ? ask(client, true, NULL, &call->topics) : 0;
}

/* rd_kafka_query_watermark_offsets does not end at its timeout (2.0.2): while
** a leader is away it waits for socket.timeout.ms, and again, and nothing
** else would be asked. */
static rd_kafka_resp_err_t watermark (
    rd_kafka_t *client, const rd_kafka_topic_partition_list_t *of,
    int64_t which, int64_t *offset) {
  rd_kafka_topic_partition_list_t *list =
    rd_kafka_topic_partition_list_copy(of);
  rd_kafka_resp_err_t err;
  list->elems[0].offset = which;
  err = rd_kafka_offsets_for_times(client, list, STRAND_CALL_TIMEOUT_MS / 2);
  if (err == 0) err = list->elems[0].err;
  *offset = list->elems[0].offset;
  rd_kafka_topic_partition_list_destroy(list);
  return err;
}

static rd_kafka_resp_err_t owners (rd_kafka_t *client, strand_call *call) {
  const strand_member *m = call->arg;
  call->owners = strand_owners_new();
  if (call->owners == NULL) return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
  return strand_subscription_ask(m->consumer->subscription, client, &m->ending,
                                 call->owners);
}

static void make (rd_kafka_t *client, strand_call *call) {
  rd_kafka_topic_partition_list_t *l = call->list;
  switch (call->kind) {
    case STRAND_CALL_COMMITTED:
      call->err = rd_kafka_committed(client, l, STRAND_CALL_TIMEOUT_MS);
      break;
    case STRAND_CALL_WATERMARKS:
      call->err = watermark(client, l, RD_KAFKA_OFFSET_BEGINNING, &call->low);
      if (call->err != 0) break;
      call->err = watermark(client, l, RD_KAFKA_OFFSET_END, &call->high);
      break;
    case STRAND_CALL_SEEK:
      call->err = seek(client, call);
      break;
    case STRAND_CALL_TIMES:
      call->err = rd_kafka_offsets_for_times(client, l,
                                             STRAND_CALL_TIMEOUT_MS);
      break;
    case STRAND_CALL_TOPICS:
      call->err = topics(client, call);
      break;
    case STRAND_CALL_OWNERS:
      call->err = owners(client, call);
      break;
    case STRAND_CALL_REACH:
      call->err = reach(client, call);
      break;
    case STRAND_CALL_LEADERS:
      call->err = strand_leaders_ask(client, l);
      break;
    case STRAND_CALL_DROP:
      rd_kafka_destroy(call->arg);
      break;
    case STRAND_CALL_DESTROY: /* the owner has closed it, or tried to: */
      rd_kafka_destroy_flags(client, /* a second close waits for ever */
                             RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
      break;
  }
}

static void free_helper (strand_helper *h) {
  strand_call *call;
  while ((call = pop(&h->todo)) != NULL) strand_call_free(call);
  while ((call = pop(&h->answers)) != NULL) strand_call_free(call);
  pthread_cond_destroy(&h->filled);
  pthread_mutex_destroy(&h->lock);
  free(h);
}

static void *run (void *arg) {
  strand_helper *h = arg;
  pthread_mutex_lock(&h->lock);
  for (;;) {
    strand_call *call = pop(&h->todo);
    if (call == NULL && h->ending) break;
    if (call == NULL) {
      pthread_cond_wait(&h->filled, &h->lock);
      continue;
    }
    pthread_mutex_unlock(&h->lock);
    make(h->client, call);
    pthread_mutex_lock(&h->lock);
    push(&h->answers, call);
    pthread_mutex_unlock(&h->lock);
    h->wake(h->arg);
    pthread_mutex_lock(&h->lock);
  }
  pthread_mutex_unlock(&h->lock);
  h->gone(h->arg);
  free_helper(h);
  return NULL;
}

strand_helper *strand_helper_new (rd_kafka_t *client, void (*wake) (void *),
                                  void (*gone) (void *), void *arg) {
  strand_helper *h = calloc(1, sizeof(*h));
  pthread_t thread;
  if (h == NULL) {
    errno = ENOMEM;
    return NULL;
  }
  h->client = client;
  h->wake = wake;
  h->gone = gone;
  h->arg = arg;
  h->todo.end = &h->todo.first;
  h->answers.end = &h->answers.first;
  pthread_mutex_init(&h->lock, NULL);
  strand_thread_condition(&h->filled);
  if (!strand_thread_start(&thread, run, h)) {
    int error = errno;
    free_helper(h);
    errno = error;
    return NULL;
  }
  pthread_detach(thread);
  return h;
}

void strand_helper_end (strand_helper *h) {
  pthread_mutex_lock(&h->lock);
  h->ending = true;
  pthread_cond_signal(&h->filled);
  pthread_mutex_unlock(&h->lock);
}

void strand_helper_leave (strand_helper *h, strand_call *call) {
  pthread_mutex_lock(&h->lock);
  push(&h->todo, call);
  pthread_cond_signal(&h->filled);
  pthread_mutex_unlock(&h->lock);
}

strand_call *strand_helper_answer (strand_helper *h) {
  strand_call *call;
  pthread_mutex_lock(&h->lock);
  call = pop(&h->answers);
  pthread_mutex_unlock(&h->lock);
  return call;
}
