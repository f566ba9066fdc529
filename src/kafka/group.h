/*
** group.h - rebalances, and what the group says
**
** Thread: owner.
*/
#ifndef STRAND_GROUP_H
#define STRAND_GROUP_H

#include "kafka/assignment.h"
#include "kafka/shared.h"

typedef struct strand_member strand_member;

typedef struct strand_group {
  rd_kafka_event_t *rebalance; /* unanswered */
  int64_t grace_us;            /* until when it waits for handlers */
  int64_t answer_us;           /* until when for its commit */
  bool committing;             /* ...which is out, or to be sent */
} strand_group;

void strand_group_serve (strand_member *m, int64_t now_us);
/* Goes on with a rebalance that waits for handlers or for its commit. */
void strand_group_advance (strand_member *m, int64_t now_us);
int64_t strand_group_due (const strand_member *m);
/* The partition's epoch ends: leases that are out are held. */
void strand_group_revoke (strand_member *m, strand_tag *tag);
/* Goes on with what was given up. */
void strand_group_claim (strand_member *m);
/* A new epoch of the same partition begins, at 'offset'. NULL: memory ran
** out, and the consumer ends. */
strand_tag *strand_group_restart (strand_member *m, strand_tag *tag,
                                  int64_t offset);
/* The same of all whose log was made anew, or cut. */
void strand_group_reset (strand_member *m, int64_t now_us);
/* Nothing new of the partition starts; what runs ends with its record. */
void strand_group_leave (strand_member *m, strand_tag *tag);
void strand_group_stop_handlers (strand_member *m);

#endif
