/*
** reader.h - records of partitions that are within their share
**
** Thread: owner.
*/
#ifndef STRAND_READER_H
#define STRAND_READER_H

#include "kafka/assignment.h"

typedef struct strand_member strand_member;

typedef struct strand_reader {
  size_t next;               /* round robin */
  bool ready;                /* librdkafka wrote to the waker */
  const strand_tag *reading; /* while its queue is read: errors are its */
} strand_reader;

void strand_reader_read (strand_member *m, int64_t now_us);
/* Inside of that: an error that librdkafka keeps to itself. */
void strand_reader_hear (strand_member *m, rd_kafka_resp_err_t err,
                         const char *text);
/* Something may be read at once. */
bool strand_reader_busy (const strand_member *m);

#endif
