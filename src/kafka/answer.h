/*
** answer.h - an answer of librdkafka's that is waited for, and may be left
**
** Thread: helper.
*/
#ifndef STRAND_ANSWER_H
#define STRAND_ANSWER_H

#include <stdatomic.h>

#include <librdkafka/rdkafka.h>

#define STRAND_ANSWER_SLICE_MS 100 /* so soon is seen that it is hurried */

/* The next event of 'answers', the caller's. NULL: none came before 'left_ms',
** which counts down, was over, or 'hurried' was set. */
rd_kafka_event_t *strand_answer_wait (rd_kafka_queue_t *answers, int *left_ms,
                                      const atomic_bool *hurried);

/* Of what is asked in slices, anew each time: the next is twice as long, or all
** that is left where the one after it would be less. */
static inline int strand_answer_next_slice (int slice_ms, int left_ms) {
  return left_ms - slice_ms * 2 >= slice_ms * 2 ? slice_ms * 2 : left_ms;
}

#endif
