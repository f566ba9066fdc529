#include "kafka/helper.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/thread.h"
#include "kafka/answer.h"
#include "kafka/committed.h"
#include "kafka/conf.h"
#include "kafka/errors.h"
#include "kafka/leader_offsets.h"
#include "kafka/leaders.h"

typedef struct call_queue {
  strand_call *first;
  strand_call **end;
} call_queue;

struct strand_helper {
  rd_kafka_t *client;
  strand_waker *waker;
  void (*gone)(void *);
  void *arg;
  strand_lock lock;
  strand_condition filled;
  call_queue todo;
  call_queue answers;
  bool ending;
  /* Set by the owner and for good, read by the thread between two slices of
  ** what it waits for. */
  atomic_bool hurried;
};

/* Most calls of librdkafka cannot be called off, and some are never answered
** once the group closes: so each of these is made with little time first, and
** again with more. What a partition's leader is asked for waits behind its
** fetch, half a second (fetch.wait.max.ms); the coordinator has a connection of
** its own. */
#define SLICE_COORDINATOR_MS 100
#define SLICE_MS 600

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
  call->together_ms = STRAND_CALL_TIMEOUT_MS;
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
  rd_kafka_resp_err_t err = strand_error_take(
    rd_kafka_seek_partitions(client, call->list, seek_timeout()));
  for (int i = 0; err == 0 && i < call->list->cnt; i++) {
    err = call->list->elems[i].err;
  }
  return err;
}

typedef rd_kafka_resp_err_t blocking (strand_helper *h, strand_call *call,
                                      int timeout_ms);

/* An error that comes sooner than it had time for is an answer. */
static rd_kafka_resp_err_t wait_for (strand_helper *h, strand_call *call,
                                     blocking *ask, int slice,
                                     int timeout_ms) {
  for (;;) {
    int64_t began_us = strand_clock_us(), took_ms;
    rd_kafka_resp_err_t err = ask(h, call, slice);
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return err;
    took_ms = (strand_clock_us() - began_us) / 1000;
    timeout_ms -= slice;
    if (took_ms + 1 < slice || timeout_ms <= 0 || atomic_load(&h->hurried))
      return err;
    slice = strand_answer_next_slice(slice, timeout_ms);
  }
}

static rd_kafka_resp_err_t committed (strand_helper *h, strand_call *call,
                                      int timeout_ms) {
  return rd_kafka_committed(h->client, call->list, timeout_ms);
}

/* Who holds the answer back is asked for where it is not the coordinator. */
static rd_kafka_resp_err_t wait_committed (strand_helper *h,
                                           strand_call *call) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
  int ms = call->together_ms;
  if (ms > 0) {
    err = wait_for(h, call, committed,
                   call->coordinator_up != NULL ? ms : SLICE_COORDINATOR_MS,
                   ms);
  }
  if (err != RD_KAFKA_RESP_ERR__TIMED_OUT || call->coordinator_up == NULL
      || !atomic_load(call->coordinator_up) || atomic_load(&h->hurried))
    return err;
  return strand_committed_read(h->client, call->list, STRAND_CALL_TIMEOUT_MS,
                               &h->hurried);
}

static rd_kafka_resp_err_t read_offsets (strand_helper *h,
                                         rd_kafka_topic_partition_list_t *list,
                                         int timeout_ms) {
  return strand_leader_offsets_read(h->client, list, timeout_ms, &h->hurried);
}

static rd_kafka_resp_err_t times (strand_helper *h, strand_call *call,
                                  int timeout_ms) {
  return read_offsets(h, call->list, timeout_ms);
}

/* 'when' is RD_KAFKA_OFFSET_BEGINNING or _END: as times, these are what the
** protocol calls the start and the end. rd_kafka_query_watermark_offsets has
** no limit of time in 2.0.2, whatever it is given. */
static rd_kafka_resp_err_t watermark (strand_helper *h,
                                      const strand_call *call, int64_t when,
                                      int timeout_ms, int64_t *offset) {
  rd_kafka_topic_partition_list_t *l;
  rd_kafka_resp_err_t err;
  l = rd_kafka_topic_partition_list_copy(call->list);
  l->elems[0].offset = when;
  err = read_offsets(h, l, timeout_ms);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) err = l->elems[0].err;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) *offset = l->elems[0].offset;
  rd_kafka_topic_partition_list_destroy(l);
  return err;
}

static rd_kafka_resp_err_t start (strand_helper *h, strand_call *call,
                                  int timeout_ms) {
  return watermark(h, call, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, &call->low);
}

static rd_kafka_resp_err_t end (strand_helper *h, strand_call *call,
                                int timeout_ms) {
  return watermark(h, call, RD_KAFKA_OFFSET_END, timeout_ms, &call->high);
}

/* The list stays as it is until there is an answer. */
static rd_kafka_resp_err_t starts (strand_helper *h, strand_call *call,
                                   int timeout_ms) {
  rd_kafka_topic_partition_list_t *l;
  rd_kafka_resp_err_t err;
  l = rd_kafka_topic_partition_list_copy(call->list);
  for (int i = 0; i < l->cnt; i++) {
    l->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  err = read_offsets(h, l, timeout_ms);
  for (int i = 0; err == RD_KAFKA_RESP_ERR_NO_ERROR && i < l->cnt; i++) {
    call->list->elems[i].offset = l->elems[i].offset;
    call->list->elems[i].err = l->elems[i].err;
  }
  rd_kafka_topic_partition_list_destroy(l);
  return err;
}

static rd_kafka_resp_err_t reach (strand_helper *h, strand_call *call,
                                  int timeout_ms) {
  return rd_kafka_metadata(h->client, false, NULL, &call->topics, timeout_ms);
}

static rd_kafka_resp_err_t all_topics (strand_helper *h, strand_call *call,
                                       int timeout_ms) {
  return rd_kafka_metadata(h->client, true, NULL, &call->topics, timeout_ms);
}

/* call->why: which of the list. call->low: it exists. */
static rd_kafka_resp_err_t find_topic (strand_helper *h, strand_call *call,
                                       int timeout_ms) {
  const char *name = call->list->elems[call->why].topic;
  const struct rd_kafka_metadata *found;
  rd_kafka_topic_t *topic = rd_kafka_topic_new(h->client, name, NULL);
  rd_kafka_resp_err_t err;
  if (topic == NULL) return rd_kafka_last_error();
  err = rd_kafka_metadata(h->client, false, topic, &found, timeout_ms);
  rd_kafka_topic_destroy(topic);
  if (err != 0) return err;
  if (found->topic_cnt == 1 && found->topics[0].err == 0) call->low = 1;
  rd_kafka_metadata_destroy(found);
  return err;
}

static rd_kafka_resp_err_t wait_metadata (strand_helper *h, strand_call *call,
                                          blocking *ask) {
  return wait_for(h, call, ask, SLICE_MS, STRAND_CALL_TIMEOUT_MS / 2);
}

/* librdkafka looks again at what the group subscribes to when it was asked
** for all topics, and from 2.4 on only at those that it has heard of by name
** before: thus first one by one. */
static rd_kafka_resp_err_t topics (strand_helper *h, strand_call *call) {
  for (call->why = 0; call->why < call->list->cnt; call->why++) {
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (call->list->elems[call->why].topic[0] == '^') call->low = 1;
    else err = wait_metadata(h, call, find_topic);
    if (err != 0) return err;
  }
  return call->low > 0 ? wait_metadata(h, call, all_topics)
                       : RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t owners (rd_kafka_t *client, strand_call *call) {
  call->owners = strand_owners_new();
  if (call->owners == NULL) return RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE;
  return strand_subscription_ask(call->subscription, client, call->given_up,
                                 call->owners);
}

static rd_kafka_resp_err_t wait_leader (strand_helper *h, strand_call *call,
                                        blocking *ask) {
  return wait_for(h, call, ask,
                  strand_leader_offsets_can_be_left() ? STRAND_CALL_TIMEOUT_MS
                                                      : SLICE_MS,
                  STRAND_CALL_TIMEOUT_MS);
}

static rd_kafka_resp_err_t make (strand_helper *h, strand_call *call) {
  rd_kafka_resp_err_t err;
  switch (call->kind) {
    case STRAND_CALL_COMMITTED: return wait_committed(h, call);
    case STRAND_CALL_WATERMARKS:
      err = wait_leader(h, call, start);
      return err == 0 ? wait_leader(h, call, end) : err;
    case STRAND_CALL_START: return wait_leader(h, call, start);
    case STRAND_CALL_STARTS: return wait_leader(h, call, starts);
    case STRAND_CALL_END: return wait_leader(h, call, end);
    case STRAND_CALL_TIMES: return wait_leader(h, call, times);
    case STRAND_CALL_REACH: return wait_metadata(h, call, reach);
    case STRAND_CALL_SEEK: return seek(h->client, call);
    case STRAND_CALL_TOPICS: return topics(h, call);
    case STRAND_CALL_OWNERS: return owners(h->client, call);
    case STRAND_CALL_LEADERS:
      return strand_leaders_ask(h->client, call->list, &h->hurried);
    case STRAND_CALL_STALLED:
      return strand_leaders_stalled(call->arg, &h->hurried, &call->list);
    default: return RD_KAFKA_RESP_ERR_NO_ERROR;
  }
}

static void drop (strand_call *call) {
  strand_calls_free(call->calls);
  rd_kafka_destroy(call->arg);
}

/* What is left before the last of them is not made when it is hurried. */
static void carry_out (strand_helper *h, strand_call *call) {
  if (call->kind == STRAND_CALL_DROP) drop(call);
  else if (call->kind == STRAND_CALL_DESTROY) {
    strand_calls_free(call->calls);
    /* The owner has closed it, or tried to: a second close waits for ever. */
    rd_kafka_destroy_flags(h->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  }
  else if (atomic_load(&h->hurried)) call->err = RD_KAFKA_RESP_ERR__DESTROY;
  else call->err = make(h, call);
}

static void free_helper (strand_helper *h) {
  strand_call *call;
  while ((call = pop(&h->todo)) != NULL) strand_call_free(call);
  while ((call = pop(&h->answers)) != NULL) strand_call_free(call);
  strand_condition_free(&h->filled);
  strand_lock_free(&h->lock);
  free(h);
}

static void *run (void *arg) {
  strand_helper *h = arg;
  strand_lock_take(&h->lock);
  for (;;) {
    strand_call *call = pop(&h->todo);
    if (call == NULL && h->ending) break;
    if (call == NULL) {
      strand_lock_wait(&h->lock, &h->filled);
      continue;
    }
    strand_lock_release(&h->lock);
    carry_out(h, call);
    strand_lock_take(&h->lock);
    push(&h->answers, call);
    strand_lock_release(&h->lock);
    strand_waker_wake(h->waker);
    strand_lock_take(&h->lock);
  }
  strand_lock_release(&h->lock);
  h->gone(h->arg);
  free_helper(h);
  return NULL;
}

strand_helper *strand_helper_new (rd_kafka_t *client, strand_waker *waker,
                                  void (*gone)(void *), void *arg) {
  strand_helper *h = calloc(1, sizeof(*h));
  pthread_t thread;
  if (h == NULL || !strand_condition_init(&h->filled)) {
    free(h);
    errno = ENOMEM;
    return NULL;
  }
  h->client = client;
  h->waker = waker;
  h->gone = gone;
  h->arg = arg;
  h->todo.end = &h->todo.first;
  h->answers.end = &h->answers.first;
  strand_lock_init(&h->lock, STRAND_RANK_LEAF);
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
  strand_lock_take(&h->lock);
  h->ending = true;
  pthread_cond_signal(&h->filled);
  strand_lock_release(&h->lock);
}

void strand_helper_hurry (strand_helper *h) {
  atomic_store(&h->hurried, true);
}

void strand_helper_leave (strand_helper *h, strand_call *call) {
  strand_lock_take(&h->lock);
  push(&h->todo, call);
  pthread_cond_signal(&h->filled);
  strand_lock_release(&h->lock);
}

strand_call *strand_helper_answer (strand_helper *h) {
  strand_call *call;
  strand_lock_take(&h->lock);
  call = pop(&h->answers);
  strand_lock_release(&h->lock);
  return call;
}
