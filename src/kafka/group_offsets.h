/*
** group_offsets.h - what a group has committed, read from outside
**
** Thread: lua.
*/
#ifndef STRAND_GROUP_OFFSETS_H
#define STRAND_GROUP_OFFSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "kafka/admin_client.h"

/* One entry for each partition that has an offset. */
typedef struct strand_group_offset {
  char *topic;
  int32_t partition;
  int64_t offset;
  char *metadata; /* bytes, not ended by NUL */
  size_t metadata_size;
} strand_group_offset;

typedef struct strand_group_offsets {
  strand_group_offset *list;
  size_t count;
} strand_group_offsets;

/* 'reader' is a client of the group, which has joined nothing: without one
** librdkafka crashes on an answer that is "not the coordinator" (seen with
** 2.8.0, on a broker that has just started). 'partitions' NULL: all that the
** group has offsets of. False and a failure, and then no offsets; or they are
** there, sorted, to be freed. */
bool strand_group_offsets_read (
  strand_admin_client *reader, const char *group,
  const rd_kafka_topic_partition_list_t *partitions, double deadline,
  strand_group_offsets *offsets, strand_failure *failure);

void strand_group_offsets_free (strand_group_offsets *offsets);

#endif
