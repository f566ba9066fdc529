/*
** subscription.h - what is subscribed, and whether somebody has it
**
** librdkafka joins as soon as one broker knows a topic; the group's leader
** asks the coordinator, and when that one does not know it yet, the topic is
** assigned to nobody, without an error, and never asked about again. A
** pattern's topics and new partitions go the same way. So the group itself is
** asked after each assignment.
**
** Not with the protocol "consumer": there the coordinator assigns.
**
** Thread: any; nothing in it changes. strand_subscription_ask blocks.
*/
#ifndef STRAND_SUBSCRIPTION_H
#define STRAND_SUBSCRIPTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

typedef struct strand_subscription strand_subscription;

/* 'conf': of a client that subscribes to 'topics', names and ^patterns; both
** are only looked at. NULL when memory runs out. */
strand_subscription *
strand_subscription_new (const rd_kafka_topic_partition_list_t *topics,
                         const rd_kafka_conf_t *conf);
void strand_subscription_free (strand_subscription *s);

/* Is it this client's business who has which topic? */
bool strand_subscription_is_watched (const strand_subscription *s);

/* So long one that has crashed is a member. */
int64_t strand_subscription_session_us (const strand_subscription *s);

/* Does the pattern, one of those that are subscribed, find the topic? */
bool strand_subscription_finds (const strand_subscription *s,
                                const char *pattern, const char *topic);

/* Who has what. */
typedef struct strand_owners {
  bool settled;   /* no rebalance goes on; else the rest says nothing */
  size_t members; /* of the group; 0: it did not have to be asked */
  size_t turn;    /* how many of them come before this one: those with fewer
                     partitions, who lose less by joining again */
  /* Those that exist: 'partition' is how many partitions there are, 'offset'
  ** how many of them are somebody's. */
  rd_kafka_topic_partition_list_t *topics;
} strand_owners;

strand_owners *strand_owners_new (void);
void strand_owners_free (strand_owners *owners);

/* Asks the brokers what exists, and the group who has it. A topic of which
** this client has partitions, but not the first, is for others to look at,
** and counted as somebody's. Ends early, with __DESTROY, when 'stop' is set. */
rd_kafka_resp_err_t strand_subscription_ask (const strand_subscription *s,
                                             rd_kafka_t *client,
                                             const atomic_bool *stop,
                                             strand_owners *owners);

#endif
