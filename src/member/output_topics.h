/*
** output_topics.h - the topics that a member's outputs go to
**
** Each is opened when the first output goes to it, and asked for: how many
** partitions it has, and which limit (kafka/calls.h). What is learnt is noted
** for the workers (shared/known_topics.h). A limit below the client's
** batch.size gets the outbox another client.
**
** Of a topic that is one too many, or that cannot be opened, nothing is known:
** it is sent to by its name.
**
** Thread: owner.
*/
#ifndef STRAND_OUTPUT_TOPICS_H
#define STRAND_OUTPUT_TOPICS_H

#include "member/outbox.h"
#include "member/owner.h"

/* What it needs; set when the member is made. */
typedef struct strand_output_topics {
  const strand_owner *owner;
  strand_outbox *outbox;
} strand_output_topics;

/* An output goes to it. NULL: by its name. Lives as long as the client. */
rd_kafka_topic_t *strand_output_topics_use (const strand_output_topics *topics,
                                            const char *name);
/* The broker has refused what it takes, as far as is known. */
void strand_output_topics_doubt (const strand_output_topics *topics,
                                 const char *name);
/* What was answered is noted; what workers would like to know is asked. */
void strand_output_topics_tick (const strand_output_topics *topics);

#endif
