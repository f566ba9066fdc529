/*
** position.h - where a partition is read from
**
** Thread: owner.
*/
#ifndef STRAND_POSITION_H
#define STRAND_POSITION_H

#include "kafka/assignment.h"
#include "kafka/helper.h"

typedef struct strand_member strand_member;

#define STRAND_NOWHERE RD_KAFKA_OFFSET_INVALID

/* What a position's question to the helper is for. */
typedef enum strand_why {
  STRAND_WHY_DOUBT = 1, /* what came was not expected */
  STRAND_WHY_PLACE,     /* it goes there */
  STRAND_WHY_TARGET,    /* the user's: where is it to go? */
  STRAND_WHY_SEEK       /* the user's: it goes there */
} strand_why;

typedef struct strand_positions {
  bool displaced; /* 'below' of a tag is set */
} strand_positions;

void strand_position_restore (strand_member *m);
void strand_position_answers (strand_member *m, int64_t now_us);
/* The first of what was read is at 'offset', or the end is there. False: it
** is in doubt; drop what was read. */
bool strand_position_expected (strand_member *m, strand_tag *tag,
                               int64_t offset, int64_t now_us);
/* Is the log as long as the commit's metadata says? If not, it is not the
** log of that commit, and what it says is done is not: false, the message is
** to be dropped, and the leader is asked. */
bool strand_position_has_claimed (strand_member *m, strand_tag *tag,
                                  const rd_kafka_message_t *msg,
                                  int64_t now_us);
/* A record, or the end, is at 'offset', below the position: read from there,
** by strand_position_settle, which may free the tag. */
void strand_position_below (strand_member *m, strand_tag *tag, int64_t offset);
void strand_position_settle (strand_member *m, int64_t now_us);
/* librdkafka has no offset to go on from. */
void strand_position_stuck (strand_member *m, strand_tag *tag, int64_t now_us);
/* Goes on at 'offset'; until the helper was there, nothing is read. */
void strand_position_place (strand_member *m, strand_tag *tag, int64_t offset,
                            int64_t now_us);
/* Where it is read from now, also when nothing was read yet. */
int64_t strand_position_home (const strand_tag *tag);
/* A seek did not work: to 'target', after a back-off. */
void strand_position_back (strand_tag *tag, int64_t now_us);
/* False: memory ran out. */
bool strand_position_ask (strand_member *m, const strand_tag *tag,
                          strand_call_kind kind, int64_t offset,
                          strand_why why, void *arg);
/* After a cooperative rebalance: what stays goes on where it was. */
void strand_position_keep (strand_member *m);
/* Reads on from where it is: the next thing read is new, also the end. */
void strand_position_again (strand_member *m, strand_tag *tag);
/* The same of those whose tags say so. */
void strand_position_reread (strand_member *m);
int64_t strand_position_tick (strand_member *m, int64_t now_us);

#endif
