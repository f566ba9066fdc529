/*
** placement.c - see placement.h
*/
#include "kafka/placement.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Tickets come from malloc, so their lowest bit is 0. */
#define VALUE_BIT ((uintptr_t)1)
#define LABEL_BIT ((uintptr_t)2)
#define HAS_HASH_BIT ((uintptr_t)4)
#define HASH_SHIFT 3 /* pointers have 64 bits */

void *strand_placement_opaque (const strand_delivery_ticket *record) {
  uintptr_t value = (uintptr_t)record->hash << HASH_SHIFT | VALUE_BIT;
  if (record->has_hash) value |= HAS_HASH_BIT;
  if (record->label) value |= LABEL_BIT;
  return (void *)value;
}

strand_delivery_ticket *strand_placement_ticket (void *opaque) {
  return (uintptr_t)opaque & VALUE_BIT ? NULL : opaque;
}

static strand_delivery_ticket record_of (void *opaque) {
  const strand_delivery_ticket *ticket = strand_placement_ticket(opaque);
  uintptr_t value = (uintptr_t)opaque;
  if (ticket != NULL) return *ticket;
  return (strand_delivery_ticket){ .has_hash = (value & HAS_HASH_BIT) != 0,
                                   .hash = (uint32_t)(value >> HASH_SHIFT),
                                   .label = (value & LABEL_BIT) != 0 };
}

int strand_placement_label (void *opaque) {
  return record_of(opaque).label;
}

static bool hash_of (void *opaque, uint32_t *hash) {
  strand_delivery_ticket record = record_of(opaque);
  *hash = record.hash;
  return record.has_hash;
}

/* Records without a key: for a few milliseconds all to one partition, so
** that batches fill, then to the next. Time picks it, so nothing is shared. */
static int32_t spread (const strand_placement *placement,
                       const rd_kafka_topic_t *topic, const void *key,
                       int32_t count) {
  if (placement->sticky_ms > 0 && key == NULL) {
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

static int32_t place (const rd_kafka_topic_t *topic, const void *key,
                      size_t length, int32_t count, void *topic_opaque,
                      void *opaque) {
  const strand_placement *placement = topic_opaque;
  uint32_t hash;
  if (hash_of(opaque, &hash)
      || strand_partitioner_hash(placement->which, key, length, &hash))
    return strand_partitioner_place(hash, count);
  return spread(placement, topic, key, count);
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
  rd_kafka_topic_conf_set_partitioner_cb(topics, place);
  rd_kafka_topic_conf_set_opaque(topics, placement);
}

void strand_placement_renew (rd_kafka_conf_t *conf,
                             strand_placement *placement) {
  rd_kafka_topic_conf_set_opaque(rd_kafka_conf_get_default_topic_conf(conf),
                                 placement);
}
