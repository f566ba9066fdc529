/*
** reader.h - records of partitions that are within their share
**
** Invariants:
**   (1) No queue is being read: an error that is heard now is an event, too.
**
** Thread: owner.
*/
#ifndef STRAND_READER_H
#define STRAND_READER_H

#include "member/assignment.h"
#include "member/health.h"
#include "member/membership.h"
#include "member/outage.h"
#include "member/owner.h"
#include "member/position.h"
#include "member/snapshot.h"
#include "member/starts.h"

typedef struct strand_reader {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;
  const strand_membership *membership;
  strand_positions *positions;
  const strand_health *health;
  strand_outage *outage;
  strand_snapshot *snapshot;

  size_t max_ready;               /* records that are handed over at most */
  size_t next;                    /* round robin */
  bool ready;                     /* librdkafka wrote to the waker */
  const strand_assigned *reading; /* while its queue is read: errors are its */
} strand_reader;

void strand_reader_init (strand_reader *reader, const strand_owner *owner,
                         const strand_assignment *assignment,
                         const strand_membership *membership,
                         strand_positions *positions,
                         const strand_health *health, strand_outage *outage,
                         strand_snapshot *snapshot);
/* So many records are handed over at most: twice as many are enough. */
void strand_reader_limit (strand_reader *reader, size_t max_ready);
/* librdkafka has written: each queue may hold something. */
void strand_reader_wake (strand_reader *reader);
/* What comes below its position is left for strand_position_take_reset. */
void strand_reader_read (strand_reader *reader, int64_t now_us);
/* Inside of that: an error that librdkafka keeps to itself. */
void strand_reader_hear (strand_reader *reader, rd_kafka_resp_err_t err,
                         const char *text);
/* Something may be read at once. */
bool strand_reader_busy (const strand_reader *reader);
/* Between two turns, in debug builds. */
void strand_reader_check (const strand_reader *reader);

#endif
