/*
** placement.c - see placement.h
*/
#include "kafka/placement.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CHECKED_MOST 64 /* places of many topics, at each turn */
#define VALUE_BIT STRAND_PLACEMENT_VALUE
#define LABEL_BIT STRAND_PLACEMENT_LABEL
#define BY_SHIFT 2
#define BY_MASK 3u
#define WHERE_SHIFT 4 /* pointers have 64 bits */

void *strand_placement_opaque (const strand_delivery_ticket *record) {
  uintptr_t value = (uintptr_t)record->where << WHERE_SHIFT
                    | (uintptr_t)record->by << BY_SHIFT | VALUE_BIT;
  if (record->label) value |= LABEL_BIT;
  return (void *)value;
}

static strand_delivery_ticket record_of (void *opaque) {
  const strand_delivery_ticket *ticket = strand_placement_ticket(opaque);
  uintptr_t value = (uintptr_t)opaque;
  if (ticket != NULL) return *ticket;
  return (strand_delivery_ticket){
    .by = (strand_placed_by)(value >> BY_SHIFT & BY_MASK),
    .where = (uint32_t)(value >> WHERE_SHIFT),
    .label = (value & LABEL_BIT) != 0,
  };
}

int32_t strand_placement_picked (void *opaque) {
  strand_delivery_ticket record = record_of(opaque);
  return record.by == STRAND_PLACED_BY_PARTITION ? (int32_t)record.where : -1;
}

void strand_placement_hash (strand_partitioner which, const void *key,
                            size_t length, strand_delivery_ticket *record) {
  record->by = strand_partitioner_hash(which, key, length, &record->where)
                 ? STRAND_PLACED_BY_HASH
                 : STRAND_PLACED_BY_NOTHING;
}

/*
** Counts
*/

strand_topic_place *strand_placement_add (strand_placement *placement) {
  strand_topic_place *place = calloc(1, sizeof(*place));
  if (place == NULL) return NULL;
  place->placement = placement;
  place->next = placement->first;
  placement->first = place;
  return place;
}

void strand_placement_free (strand_placement *placement) {
  while (placement->first != NULL) {
    strand_topic_place *first = placement->first;
    placement->first = first->next;
    free(first);
  }
}

void strand_placement_check (const strand_placement *placement) {
  const strand_topic_place *place = placement->first;
  for (int i = 0; place != NULL && i < CHECKED_MOST; i++) {
    assert(strand_topic_place_count(place) >= 0); /* (2) */
    assert(place->placement == placement);        /* (3) */
    place = place->next;
  }
  assert(strand_topic_place_count(&placement->shared) == 0); /* (3) */
}

void strand_topic_place_note (strand_topic_place *place, int32_t count) {
  assert(count >= 0);                         /* (2) */
  assert(place != &place->placement->shared); /* (3) */
  if (atomic_load_explicit(&place->count, memory_order_relaxed) == count) {
    return;
  }
  atomic_store(&place->count, count);
  atomic_store(&place->placement->changed, true);
}

bool strand_placement_changed (strand_placement *placement) {
  if (!strand_placement_has_changed(placement)) return false;
  return atomic_exchange(&placement->changed, false);
}

/*
** The partitioner
*/

/* Records without a key: for a few milliseconds all to one partition, so
** that batches fill, then to the next. Time picks it, so nothing is shared. */
static int32_t spread (const strand_placement *placement,
                       const rd_kafka_topic_t *topic, bool sticky,
                       int32_t count) {
  if (placement->sticky_ms > 0 && sticky) {
    uint64_t turn = (uint64_t)(strand_clock_now() * 1000)
                    / (uint64_t)placement->sticky_ms;
    const char *name = rd_kafka_topic_name(topic);
    uint32_t hash = strand_murmur2(&turn, sizeof(turn))
                    ^ strand_murmur2(name, strlen(name));
    int32_t partition = strand_partitioner_place(hash, count);
    if (rd_kafka_topic_partition_available(topic, partition)) return partition;
  }
  return rd_kafka_msg_partitioner_random(topic, NULL, 0, count, NULL, NULL);
}

/* As librdkafka does: what is random for its want of a key is sticky, what is
** random by order is not. */
static int32_t by_key (const strand_placement *placement,
                       const rd_kafka_topic_t *topic, const void *key,
                       size_t length, int32_t count) {
  uint32_t hash;
  bool sticky = key == NULL || placement->which != STRAND_PARTITIONER_RANDOM;
  if (strand_partitioner_hash(placement->which, key, length, &hash))
    return strand_partitioner_place(hash, count);
  return spread(placement, topic, sticky, count);
}

/* A partition that was picked and is none any more is an error of librdkafka's
** (UNKNOWN_PARTITION). */
int32_t strand_placement_place (const rd_kafka_topic_t *topic, const void *key,
                                size_t length, int32_t count,
                                void *topic_opaque, void *opaque) {
  strand_topic_place *place = topic_opaque;
  const strand_placement *placement = place->placement;
  const strand_delivery_ticket record = record_of(opaque);
  if (place != &placement->shared) strand_topic_place_note(place, count);
  switch (record.by) {
    case STRAND_PLACED_BY_PARTITION: return (int32_t)record.where;
    case STRAND_PLACED_BY_HASH:
      return strand_partitioner_place(record.where, count);
    case STRAND_PLACED_BY_NOTHING:
      return spread(placement, topic,
                    placement->which != STRAND_PARTITIONER_RANDOM, count);
    case STRAND_PLACED_BY_KEY: break;
  }
  return by_key(placement, topic, key, length, count);
}

void strand_placement_install (rd_kafka_conf_t *conf,
                               strand_placement *placement) {
  char value[32] = "0";
  size_t size = sizeof(value);
  rd_kafka_topic_conf_t *topics;
  if (rd_kafka_conf_get(conf, "sticky.partitioning.linger.ms", value, &size)
      == RD_KAFKA_CONF_OK)
    placement->sticky_ms = atoi(value);
  /* With 0 librdkafka asks the partitioner for every record. */
  rd_kafka_conf_set(conf, "sticky.partitioning.linger.ms", "0", NULL, 0);
  topics = rd_kafka_conf_get_default_topic_conf(conf);
  if (topics == NULL) {
    topics = rd_kafka_topic_conf_new();
    rd_kafka_conf_set_default_topic_conf(conf, topics);
  }
  placement->shared.placement = placement;
  rd_kafka_topic_conf_set_partitioner_cb(topics, strand_placement_place);
  rd_kafka_topic_conf_set_opaque(topics, &placement->shared);
}

void strand_placement_renew (rd_kafka_conf_t *conf,
                             const strand_placement *from,
                             strand_placement *placement) {
  placement->which = from->which;
  placement->sticky_ms = from->sticky_ms;
  placement->shared.placement = placement;
  rd_kafka_topic_conf_set_opaque(rd_kafka_conf_get_default_topic_conf(conf),
                                 &placement->shared);
}
