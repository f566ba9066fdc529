/*
** seek.h - the user's seeks
**
** Thread: owner.
*/
#ifndef STRAND_SEEK_H
#define STRAND_SEEK_H

#include "kafka/assignment.h"
#include "kafka/helper.h"
#include "kafka/shared.h"

typedef struct strand_member strand_member;

typedef struct strand_seeks {
  strand_seek_request *requests; /* not begun, in order */
} strand_seeks;

/* Takes the list, which has the last that was asked for first. */
void strand_seek_take (strand_member *m, strand_seek_request *seeks);
/* Begins those whose turn it is, and drops those nobody waits for. */
void strand_seek_serve (strand_member *m);
/* 'tag' is NULL when the partition is gone. */
void strand_seek_answer (strand_member *m, strand_tag *tag,
                         const strand_call *call, int64_t now_us);

#endif
