/*
** answer.c - see answer.h
*/
#include "kafka/answer.h"

rd_kafka_event_t *strand_answer_wait (rd_kafka_queue_t *answers, int *left_ms,
                                      const atomic_bool *hurried) {
  rd_kafka_event_t *event = NULL;
  for (; event == NULL && *left_ms > 0 && !atomic_load(hurried);
       *left_ms -= STRAND_ANSWER_SLICE_MS) {
    event = rd_kafka_queue_poll(answers, STRAND_ANSWER_SLICE_MS);
  }
  return event;
}
