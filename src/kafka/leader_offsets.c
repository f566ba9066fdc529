/*
** leader_offsets.c - see leader_offsets.h
*/
#include "kafka/leader_offsets.h"

#include <string.h>

#include "kafka/answer.h"
#include "kafka/errors.h"
#include "kafka/symbols.h"

/* Longer than anybody waits for the answer: what is late does not end the
** connection. Not for ever: while a leader is not known librdkafka looks for
** it for so long. */
#define REQUEST_MS 15000

typedef struct functions {
  rd_kafka_error_t *(*isolate)(rd_kafka_AdminOptions_t *, int);
  void (*send)(rd_kafka_t *, rd_kafka_topic_partition_list_t *,
               const rd_kafka_AdminOptions_t *, rd_kafka_queue_t *);
  const void *(*result)(rd_kafka_event_t *);
  const void **(*infos)(const void *, size_t *);
  const rd_kafka_topic_partition_t *(*partition)(const void *);
} functions;

typedef struct question {
  rd_kafka_topic_partition_list_t *wanted;
  rd_kafka_topic_partition_list_t *list; /* gets the answer */
  const atomic_bool *hurried;
} question;

/* Looked up each time: such questions are rare. */
static bool find_all (functions *f) {
  return strand_symbol(&f->isolate,
                       "rd_kafka_AdminOptions_set_isolation_level")
         && strand_symbol(&f->send, "rd_kafka_ListOffsets")
         && strand_symbol(&f->result, "rd_kafka_event_ListOffsets_result")
         && strand_symbol(&f->infos, "rd_kafka_ListOffsets_result_infos")
         && strand_symbol(&f->partition,
                          "rd_kafka_ListOffsetsResultInfo_topic_partition");
}

bool strand_leader_offsets_can_be_left (void) {
  functions f = { 0 };
  return find_all(&f);
}

/* As rd_kafka_offsets_for_times has it of the client. */
static bool is_read_committed (rd_kafka_t *client) {
  char value[32];
  size_t size = sizeof(value);
  return rd_kafka_conf_get(rd_kafka_conf(client), "isolation.level", value,
                           &size)
           == RD_KAFKA_CONF_OK
         && strcmp(value, "read_committed") == 0;
}

static void ask (const functions *f, rd_kafka_t *client,
                 rd_kafka_topic_partition_list_t *list,
                 rd_kafka_queue_t *answers) {
  rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(
    client, RD_KAFKA_ADMIN_OP_ANY);
  rd_kafka_error_t *error = f->isolate(options, is_read_committed(client));
  char text[200];
  if (error != NULL) rd_kafka_error_destroy(error);
  rd_kafka_AdminOptions_set_request_timeout(options, REQUEST_MS, text,
                                            sizeof(text));
  f->send(client, list, options, answers);
  rd_kafka_AdminOptions_destroy(options);
}

static rd_kafka_resp_err_t take (const functions *f,
                                 rd_kafka_topic_partition_list_t *list,
                                 rd_kafka_event_t *event) {
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  const void **infos;
  size_t count = 0;
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  infos = f->infos(f->result(event), &count);
  for (int i = 0; i < list->cnt; i++) {
    list->elems[i].err = RD_KAFKA_RESP_ERR__BAD_MSG; /* if it is not there */
  }
  for (size_t i = 0; i < count; i++) {
    const rd_kafka_topic_partition_t *p = f->partition(infos[i]);
    rd_kafka_topic_partition_t *to = rd_kafka_topic_partition_list_find(
      list, p->topic, p->partition);
    if (to == NULL) continue;
    to->offset = p->offset;
    to->err = p->err;
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Where a leader moves, or its connection ends, librdkafka says so at once: it
** asks again by itself for rd_kafka_offsets_for_times alone. */
static bool passes (rd_kafka_resp_err_t err) {
  strand_error_kind kind = strand_error_kind_of(err);
  return kind == STRAND_ERROR_UNREACHABLE || kind == STRAND_ERROR_LEADER;
}

static bool one_passes (const rd_kafka_topic_partition_list_t *list) {
  for (int i = 0; i < list->cnt; i++) {
    if (passes(list->elems[i].err)) return true;
  }
  return false;
}

/* What comes later is dropped with its queue. */
static rd_kafka_resp_err_t ask_once (const functions *f, rd_kafka_t *client,
                                     const question *q,
                                     rd_kafka_queue_t *answers, int *left_ms) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
  rd_kafka_event_t *event;
  ask(f, client, q->wanted, answers);
  event = strand_answer_wait(answers, left_ms, q->hurried);
  if (event == NULL) return err;
  err = take(f, q->list, event);
  rd_kafka_event_destroy(event);
  /* none of them has a leader */
  return err == RD_KAFKA_RESP_ERR__NOENT
           ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
           : err;
}

static rd_kafka_resp_err_t ask_until (const functions *f, rd_kafka_t *client,
                                      rd_kafka_topic_partition_list_t *list,
                                      int timeout_ms,
                                      const atomic_bool *hurried) {
  question q = { rd_kafka_topic_partition_list_copy(list), list, hurried };
  rd_kafka_queue_t *answers = rd_kafka_queue_new(client);
  rd_kafka_resp_err_t err;
  for (;;) {
    err = ask_once(f, client, &q, answers, &timeout_ms);
    if (!passes(err) && !(err == 0 && one_passes(list))) break;
    if (timeout_ms <= 0 || atomic_load(hurried)) break;
    /* none comes: a pause */
    rd_kafka_queue_poll(answers, STRAND_ANSWER_SLICE_MS);
    timeout_ms -= STRAND_ANSWER_SLICE_MS;
  }
  rd_kafka_queue_destroy(answers);
  rd_kafka_topic_partition_list_destroy(q.wanted);
  return err;
}

rd_kafka_resp_err_t
strand_leader_offsets_read (rd_kafka_t *client,
                            rd_kafka_topic_partition_list_t *list,
                            int timeout_ms, const atomic_bool *hurried) {
  functions f = { 0 };
  return find_all(&f) ? ask_until(&f, client, list, timeout_ms, hurried)
                      : rd_kafka_offsets_for_times(client, list, timeout_ms);
}
