/*
** placement.h - strand's partitioner inside librdkafka
**
** Where a record goes is decided when it is sent, in one callback for every
** way: a hash of its key, a hash that came with it, a partition that was
** picked before, or whatever is free. librdkafka calls it with the number of
** partitions that it goes by; that number is noted at the topic's place, so
** that all who ask know the same (topic_cache.h).
**
** Protocol:
**   (1) A place lives until its client is destroyed: topics point to it.
**
** Invariants:
**   (2) No count is below 0; 0 is one that is not known.
**   (3) Each place is of the placement that has it, and has a count of its own:
**       nothing is noted at the one of all the others.
**
** Thread: any. librdkafka calls from send and from its own threads; counts are
** atomic, and the rest does not change. Places are added by one thread: of a
** producer by lua, of an outbox by the owner.
*/
#ifndef STRAND_PLACEMENT_H
#define STRAND_PLACEMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "codec/partitioner.h"

/* By what a record is placed. */
typedef enum strand_placed_by {
  STRAND_PLACED_BY_KEY,
  STRAND_PLACED_BY_HASH,      /* of a partition key: 'where' */
  STRAND_PLACED_BY_NOTHING,   /* a partition key that is spread */
  STRAND_PLACED_BY_PARTITION, /* 'where' is the partition */
} strand_placed_by;

/* What a record's opaque points to, or is. Does not change. */
typedef struct strand_delivery_ticket {
  strand_placed_by by;
  uint32_t where;
  int label; /* 0 or 1; see stall.h */
} strand_delivery_ticket;

typedef struct strand_placement strand_placement;

/* Of one topic. */
typedef struct strand_topic_place {
  struct strand_topic_place *next;
  strand_placement *placement;
  /* How many partitions it has, as librdkafka sees it; 0: not known. Written
  ** by whoever learns it last. */
  atomic_int count;
} strand_topic_place;

/* All 0, then strand_placement_install. */
struct strand_placement {
  strand_partitioner which;
  int sticky_ms; /* how long records without a key go to one partition */
  strand_topic_place shared; /* of topics that have no place of their own */
  strand_topic_place *first; /* places, owned */
  atomic_bool changed; /* a count did; taken by strand_placement_changed */
};

/* All of it as an opaque, for records that need no ticket. */
void *strand_placement_opaque (const strand_delivery_ticket *record);

/* Bits of such an opaque. Tickets come from malloc: their lowest bit is 0. */
#define STRAND_PLACEMENT_VALUE ((uintptr_t)1)
#define STRAND_PLACEMENT_LABEL ((uintptr_t)2)

/* NULL for an opaque that is no ticket. */
static inline strand_delivery_ticket *strand_placement_ticket (void *opaque) {
  return (uintptr_t)opaque & STRAND_PLACEMENT_VALUE ? NULL : opaque;
}

static inline int strand_placement_label (void *opaque) {
  const strand_delivery_ticket *ticket = strand_placement_ticket(opaque);
  if (ticket != NULL) return ticket->label;
  return ((uintptr_t)opaque & STRAND_PLACEMENT_LABEL) != 0;
}

/* The partition that was picked before, or -1: a record that fails before
** librdkafka has placed it was for that one all the same. */
int32_t strand_placement_picked (void *opaque);

/* How a record with this partition key (not NULL) is placed. */
void strand_placement_hash (strand_partitioner which, const void *key,
                            size_t length, strand_delivery_ticket *record);

/* Makes 'conf' use it. 'placement' is borrowed until the client is
** destroyed. */
void strand_placement_install (rd_kafka_conf_t *conf,
                               strand_placement *placement);

/* For a copy of that 'conf', and of a client with 'from', the same in a
** placement of its own, all 0 before. */
void strand_placement_renew (rd_kafka_conf_t *conf,
                             const strand_placement *from,
                             strand_placement *placement);

/* Of a topic that is opened with it as its opaque. NULL: memory ran out. */
strand_topic_place *strand_placement_add (strand_placement *placement);
/* After a change, in debug builds; by who adds places. */
void strand_placement_check (const strand_placement *placement);
/* The client is destroyed. */
void strand_placement_free (strand_placement *placement);

/* The topic turned out to have so many partitions, more than 0. */
void strand_topic_place_note (strand_topic_place *place, int32_t count);
static inline int32_t
strand_topic_place_count (const strand_topic_place *place) {
  return atomic_load_explicit(&place->count, memory_order_relaxed);
}

/* A count is not what it was, since this was asked last; or without asking. */
bool strand_placement_changed (strand_placement *placement);
static inline bool
strand_placement_has_changed (const strand_placement *placement) {
  return atomic_load_explicit(&placement->changed, memory_order_relaxed);
}

/* The callback; for tests. */
int32_t strand_placement_place (const rd_kafka_topic_t *topic, const void *key,
                                size_t length, int32_t count,
                                void *topic_opaque, void *opaque);

#endif
