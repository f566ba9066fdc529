/*
** seek.h - the user's seeks
**
** Invariants:
**   (1) Each that has not begun is of a topic, and somebody is to be answered.
**   (2) One that was found goes to an offset, the start or the end: no time is
**       asked for again.
**
** Thread: owner.
*/
#ifndef STRAND_SEEK_H
#define STRAND_SEEK_H

#include "kafka/helper.h"
#include "member/assignment.h"
#include "member/owner.h"
#include "member/position.h"
#include "member/reassign.h"

typedef struct strand_seeks {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;
  strand_positions *positions;
  strand_reassign *reassign;

  strand_seek_request *requests; /* not begun, in order */
} strand_seeks;

void strand_seeks_init (strand_seeks *s, const strand_owner *owner,
                        const strand_assignment *assignment,
                        strand_positions *positions,
                        strand_reassign *reassign);
/* Takes the list, which has the last that was asked for first. */
void strand_seek_take (strand_seeks *s, strand_seek_request *seeks);
/* Begins those whose turn it is, and drops those nobody waits for. */
void strand_seek_serve (strand_seeks *s);
/* 'assigned' is NULL when the partition is gone. True: it has gone where it
** should, and whoever calls begins a new epoch there, */
bool strand_seek_answer (strand_seeks *s, strand_assigned *assigned,
                         const strand_call *call, int64_t now_us);
/* ...which is 'assigned'; NULL: there was no memory for it. 'again': a
** rebalance came between. */
void strand_seek_arrived (strand_seeks *s, strand_assigned *assigned,
                          const strand_call *call, bool again, int64_t now_us);

/* After each turn, in debug builds. */
void strand_seeks_check (const strand_seeks *s);

#endif
