/*
** leader_offsets.c - see leader_offsets.h
*/
#include "kafka/leader_offsets.h"

#include <string.h>

#include "kafka/symbols.h"

#define SLICE_MS 100
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

static bool find (void *to, const char *name) {
  void *symbol = strand_symbol(name);
  memcpy(to, &symbol, sizeof(symbol));
  return symbol != NULL;
}

/* Looked up each time: such questions are rare. */
static bool find_all (functions *f) {
  return find(&f->isolate, "rd_kafka_AdminOptions_set_isolation_level")
         && find(&f->send, "rd_kafka_ListOffsets")
         && find(&f->result, "rd_kafka_event_ListOffsets_result")
         && find(&f->infos, "rd_kafka_ListOffsets_result_infos")
         && find(&f->partition,
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

/* What comes later is dropped with its queue. */
rd_kafka_resp_err_t
strand_leader_offsets_read (rd_kafka_t *client,
                            rd_kafka_topic_partition_list_t *list,
                            int timeout_ms, bool (*over)(void *), void *arg) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
  rd_kafka_queue_t *answers;
  rd_kafka_event_t *event = NULL;
  functions f = { 0 };
  if (!find_all(&f)) return RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
  answers = rd_kafka_queue_new(client);
  ask(&f, client, list, answers);
  for (; event == NULL && timeout_ms > 0 && !over(arg);
       timeout_ms -= SLICE_MS) {
    event = rd_kafka_queue_poll(answers, SLICE_MS);
  }
  if (event != NULL) {
    err = take(&f, list, event);
    rd_kafka_event_destroy(event);
  }
  rd_kafka_queue_destroy(answers);
  return err;
}
