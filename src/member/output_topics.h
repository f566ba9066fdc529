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

/* What it needs; set when the member is made. */
typedef struct strand_output_topics {
  const strand_owner *owner;
  strand_outbox *outbox;
  /* exactly once: */
  strand_calls *calls; /* of the member's client; NULL: nothing is known */
  strand_placement placement; /* its places */
  int64_t patience_us;
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
/* An output is for a partition that its client does not know. True: the
** brokers, asked after 'since_us', say that there is none. Else it is asked. */
bool strand_output_topics_refutes (const strand_output_topics *topics,
                                   const char *name, int32_t partition,
                                   int64_t since_us);
/* The broker has refused what it takes, as far as is known. */
void strand_output_topics_doubt (const strand_output_topics *topics,
                                 const char *name);
/* What was answered is noted; what workers would like to know is asked. */
void strand_output_topics_tick (strand_output_topics *topics);

/* After each turn, in debug builds. */
void strand_output_topics_check (const strand_output_topics *topics);

#endif
