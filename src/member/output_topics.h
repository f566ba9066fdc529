/*
** output_topics.h - the topics that a member's outputs go to
**
** Each is opened when the first output goes to it, and asked for: how many
** partitions it has, and which limit (kafka/calls.h). What is learnt is noted
** for the workers (shared/known_topics.h). A limit below the client's
** batch.size gets the outbox, or the transactor, another client.
**
** The outbox's client is asked. Exactly once it has none, and the transactor's
** comes and goes in its own thread: there the member's own is asked. That makes
** no topic, where brokers make those that are missing: the transactor does, in
** its next transaction. So a topic is missing for that much longer first.
**
** Of a topic that is one too many, or that cannot be opened, nothing is known:
** it is sent to by its name.
**
** Invariants:
**   (1) The member's own client is asked exactly once alone: else there are
**       neither calls nor places of it.
**
** Thread: owner.
*/
#ifndef STRAND_OUTPUT_TOPICS_H
#define STRAND_OUTPUT_TOPICS_H

#include "member/outbox.h"
#include "member/owner.h"
#include "shared/staged.h"

/* A partition that is not known is waited for, so long; what brokers say of it
** counts after the second, since some know it later than others. */
#define STRAND_AWAIT_PARTITION_US 10000000
#define STRAND_ASK_PARTITION_US 1000000

/* What it needs; set when the member is made. */
typedef struct strand_output_topics {
  const strand_owner *owner;
  strand_outbox *outbox;
  /* exactly once: */
  strand_calls *calls; /* of the member's client; NULL: nothing is known */
  strand_placement placement; /* its places */
  int64_t patience_us;
  char awaited[250]; /* a topic, of which a partition is waited for, or was */
  int32_t awaited_partition;
  int64_t awaited_us; /* since then; 0: of none */
} strand_output_topics;

/* Thread: lua. The member's client is there. */
void strand_output_topics_open (strand_output_topics *topics,
                                strand_waker *waker);
/* Nothing more is asked. Whoever gets it frees it, before the member's client
** is destroyed; NULL: there is none. */
strand_calls *strand_output_topics_leave (strand_output_topics *topics);
/* Thread: any. The member's client is destroyed. */
void strand_output_topics_free (strand_output_topics *topics);

/* These will be sent, by the transactor. */
void strand_output_topics_expect (const strand_output_topics *topics,
                                  const strand_staged *staged);
/* An output goes to it. NULL: by its name. Lives as long as the client. */
rd_kafka_topic_t *strand_output_topics_use (const strand_output_topics *topics,
                                            const char *name);
/* An output is for a partition that its client does not know. True: it is to
** be sent again, since that may just have been added, of which the brokers are
** asked; or librdkafka, which was to place it, did not know the topic's at that
** moment. It holds up all behind it, so not for long. */
bool strand_output_topics_await (strand_output_topics *topics,
                                 const strand_output *output, int64_t now_us);
/* The broker has refused what it takes, as far as is known. */
void strand_output_topics_verify (const strand_output_topics *topics,
                                  const char *name);
/* What was answered is noted; what workers would like to know is asked. */
void strand_output_topics_tick (strand_output_topics *topics);

/* After each turn, in debug builds. */
void strand_output_topics_check (const strand_output_topics *topics);

#endif
