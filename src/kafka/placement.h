/*
** placement.h - strand's partitioner inside librdkafka
**
** Thread: any (librdkafka calls it from send and from its own threads; it
** reads what does not change).
*/
#ifndef STRAND_PLACEMENT_H
#define STRAND_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "codec/partitioner.h"

/* What a record's opaque points to, or is. Does not change. */
typedef struct strand_delivery_ticket {
  bool has_hash;
  uint32_t hash; /* of the partition key */
  int label;     /* 0 or 1; see stall.h */
} strand_delivery_ticket;

typedef struct strand_placement {
  strand_partitioner which;
  int sticky_ms; /* how long records without a key go to one partition */
} strand_placement;

/* All of it as an opaque, for records that need no ticket. */
void *strand_placement_opaque (const strand_delivery_ticket *record);

/* NULL for an opaque that is no ticket. */
strand_delivery_ticket *strand_placement_ticket (void *opaque);

int strand_placement_label (void *opaque);

/* Makes 'conf' use it. 'placement' is borrowed until the client is
** destroyed. */
void strand_placement_install (rd_kafka_conf_t *conf,
                               strand_placement *placement);

/* A copy of that 'conf', for a client with a placement of its own. */
void strand_placement_renew (rd_kafka_conf_t *conf,
                             strand_placement *placement);

#endif
