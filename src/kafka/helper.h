/*
** helper.h - the calls of librdkafka that block, for one member
**
** The owner must go on serving its group while the broker takes its time: it
** leaves a call here and finds the answer at strand_helper_answer, after
** a wake. Errands are done one after another.
**
** Thread: owner leaves calls and takes answers; helper makes them. One leaf
** mutex, not held during a call.
*/
#ifndef STRAND_HELPER_H
#define STRAND_HELPER_H

#include <stdatomic.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "base/waker.h"
#include "kafka/calls.h"
#include "kafka/subscription.h"

typedef enum strand_call_kind {
  STRAND_CALL_COMMITTED,  /* list: committed offsets and metadata come back */
  STRAND_CALL_START,      /* list of one, kept; its 'low' comes back */
  STRAND_CALL_STARTS,     /* list of many: their starts come back as offsets */
  STRAND_CALL_END,        /* 'high' */
  STRAND_CALL_WATERMARKS, /* both: twice as long, behind a fetch each */
  STRAND_CALL_TURN,       /* nothing; comes back after what was left before */
  STRAND_CALL_SEEK,       /* list: offsets to go to */
  STRAND_CALL_TIMES,      /* list: times in, offsets out */
  STRAND_CALL_TOPICS,     /* list of the missing; when one of them exists, or
                             'low' is 1, all topics come back, and librdkafka
                             has looked again at what the group subscribes to
                             */
  STRAND_CALL_OWNERS,     /* of 'subscription'; who has what comes back */
  STRAND_CALL_REACH,      /* is there any broker? */
  STRAND_CALL_LEADERS,    /* list of partitions: what keeps each one's leader
                             from answering comes back; see leaders.h */
  STRAND_CALL_STALLED,    /* arg: another client, a producer; the partitions
                             that take nothing come back in 'list' */
  STRAND_CALL_DROP,       /* arg: another client, which is destroyed, after
                             'calls', which are stopped */
  STRAND_CALL_DESTROY     /* the last: the client is gone after it, and after
                             'calls', which are stopped */
} strand_call_kind;

typedef struct strand_call {
  struct strand_call *next;
  strand_call_kind kind;
  uint32_t epoch; /* the partition's, for those with a list of one */
  int why;        /* the owner's; of TOPICS the helper's */
  void *arg;      /* the owner's */
  const strand_subscription *subscription; /* borrowed */
  const atomic_bool *given_up; /* of OWNERS: the answer is not waited for */
  /* of COMMITTED: where all of the list have no answer in 'together_ms', and
  ** this is true, each has its own. Or NULL. */
  const atomic_bool *coordinator_up;
  int together_ms;
  rd_kafka_topic_partition_list_t *list;  /* owned */
  const struct rd_kafka_metadata *topics; /* owned; or NULL */
  strand_owners *owners;                  /* owned; or NULL */
  strand_calls *calls;                    /* of these two: or NULL */
  int64_t low;
  int64_t high;
  rd_kafka_resp_err_t err;
} strand_call;

#define STRAND_CALL_TIMEOUT_MS 5000
#define STRAND_CALL_TOGETHER_MS 300

typedef struct strand_helper strand_helper;

/* Starts the thread. 'waker' is woken after each answer, and 'gone' is called
** on it at its end, the last use of both. NULL and errno when that did not
** work. 'client' is borrowed until DESTROY was done. */
strand_helper *strand_helper_new (rd_kafka_t *client, strand_waker *waker,
                                  void (*gone)(void *), void *arg);
/* The client closes: what is asked for now is given up at the next occasion,
** within a fraction of a second where a broker is there, and what was left and
** not begun is answered with _DESTROY; but DROP and DESTROY are done. */
void strand_helper_hurry (strand_helper *h);
/* Ends after what was left before; frees itself. Not waited for. */
void strand_helper_end (strand_helper *h);

/* NULL when memory runs out. 'list' is taken, also then. */
strand_call *strand_call_new (strand_call_kind kind,
                              rd_kafka_topic_partition_list_t *list);
void strand_call_free (strand_call *call);

/* Takes 'call'. */
void strand_helper_leave (strand_helper *h, strand_call *call);
/* NULL for none; the caller frees it. */
strand_call *strand_helper_answer (strand_helper *h);

#endif
