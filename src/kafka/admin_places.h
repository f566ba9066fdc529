/*
** admin_places.h - offsets by time, and records deleted before an offset
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_PLACES_H
#define STRAND_ADMIN_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/admin_reply.h"
#include "kafka/admin_client.h"

/* In place of a time, as the protocol has it. */
#define STRAND_AT_LATEST (-1)
#define STRAND_AT_EARLIEST (-2)

typedef struct strand_admin_place {
  const char *topic;
  int32_t partition;
  int64_t at; /* an offset; or milliseconds since 1970, or one of the above */
} strand_admin_place;

/* The caller's, with the offset in 'at'. */
rd_kafka_topic_partition_list_t *
strand_admin_places_list (const strand_admin_place *places, size_t count);

/* { { topic, partition, offset, message, code } }: of the first record of that
** time or later; no offset: there is none. The end is that of a reader with
** the client's isolation.level. False and a failure: of none it is known. */
bool strand_admin_places_find (const strand_admin_client *c,
                               const strand_admin_place *places, size_t count,
                               double deadline, strand_reply *reply,
                               strand_failure *failure);

/* The same list, with the offset where each log begins now. */
bool strand_admin_places_delete (strand_admin_client *c,
                                 const strand_admin_place *places,
                                 size_t count, double deadline,
                                 strand_reply *reply, strand_failure *failure);

/* The answer's entry of a partition, with its offset when that is one. */
void strand_admin_places_add (strand_reply *a,
                              const rd_kafka_topic_partition_t *partition);

/* The same of all, as one list. */
void strand_admin_places_add_all (strand_reply *a,
                                  const rd_kafka_topic_partition_list_t *list);

#endif
