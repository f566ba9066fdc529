/*
** admin_reader.h - records at an offset, read without a group
**
** librdkafka's simple consumer: it has no group id, so nothing is joined,
** asked of a coordinator or committed.
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_READER_H
#define STRAND_ADMIN_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/admin_reply.h"
#include "kafka/admin_client.h"

typedef struct strand_admin_reading {
  const char *topic;
  int32_t partition;
  int64_t offset;  /* of the first, or below it */
  int64_t end;     /* what is known of the log's end: behind its last record */
  int64_t records; /* at most, from 1 */
  int64_t bytes; /* of keys, values and headers: ends when there are so many */
} strand_admin_reading;

/* What a reader's client has in place of what a group's would: to be set in a
** configuration that may be any other client's. */
void strand_admin_reader_configure (rd_kafka_conf_t *conf);

/* { records = { { id, topic, partition, offset, key, value, timestamp,
** timestamp_type, leader_epoch, headers = { { name, value } } } },
** ended = "records" | "bytes" | "end" | "timeout" }
**
** 'c' is a client of its own, which ends after this. False and a failure; one
** that times out before the first record is a failure. */
bool strand_admin_reader_read (strand_admin_client *c,
                               const strand_admin_reading *reading,
                               double deadline, strand_reply *reply,
                               strand_failure *failure);

#endif
