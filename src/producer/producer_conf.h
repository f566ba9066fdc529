/*
** producer_conf.h - what a producer is opened with
**
** Thread: any; values.
*/
#ifndef STRAND_PRODUCER_CONF_H
#define STRAND_PRODUCER_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kafka/conf.h"
#include "kafka/placement.h"
#include "producer/bounds.h"

typedef struct strand_producer_options {
  const strand_property *props;
  size_t prop_count;
  const char *partitioner;   /* librdkafka's name; NULL: murmur2_random */
  const char *const *topics; /* whose partitions are asked for at once */
  size_t topic_count;
  double topics_timeout;      /* seconds to wait for the answers */
  int64_t max_queued_records; /* 0: librdkafka's; the user's property wins */
  int64_t max_queued_bytes;
  const char *transactional_id; /* NULL: no transactions */
  double transaction_timeout;   /* seconds; with an id */
  bool reports_all;             /* deliveries are kept, not only counted */
  bool keeps_log;               /* in the ring, not to stderr */
  bool has_oauth;               /* the caller answers requests for a token */
} strand_producer_options;

/* What the producer itself must know of its configuration. */
typedef struct strand_producer_limits {
  int linger_ms;
  int timeout_ms;     /* of a record */
  int propagation_ms; /* until brokers know of what was made just now */
  int64_t batch_size;
  bool compressed; /* batches are, so a record may take less than it has */
  bool all_acks;   /* each is acknowledged by all replicas in sync */
  char max_message_bytes[16];
} strand_producer_limits;

/* Its partitioner goes to 'placement', which the client borrows. NULL and a
** failure. */
rd_kafka_conf_t *
strand_producer_conf_new (const strand_producer_options *options,
                          strand_placement *placement,
                          strand_failure *failure);
/* The bounds of the queue go out of 'conf'. */
void strand_producer_conf_read (rd_kafka_conf_t *conf,
                                strand_producer_limits *limits,
                                strand_bounds *bounds);

#endif
