/*
** starts.h - where the logs of what is old begin
**
** Invariants:
**   (1) A gap waits for an answer only while there is a question.
**   (2) A gap has a size.
**
** Thread: owner.
*/
#ifndef STRAND_STARTS_H
#define STRAND_STARTS_H

#include "kafka/helper.h"
#include "member/assignment.h"
#include "member/owner.h"
#include "member/position.h"

typedef struct strand_starts {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;

  bool asking;
  int64_t due_us; /* when the helper may be asked for starts */
  int64_t old_us; /* when old records are looked at again */
} strand_starts;

void strand_starts_init (strand_starts *s, const strand_owner *owner,
                         const strand_assignment *assignment);
/* A record, or the end, came at 'to', and 'from' was expected. While none is
** asked about, the widest is kept. */
void strand_starts_gap (strand_assigned *assigned, int64_t from, int64_t to);
/* When it wants to be called again. */
int64_t strand_starts_tick (strand_starts *s, int64_t now_us);
void strand_starts_answer (strand_starts *s, const strand_call *call,
                           int64_t now_us);
/* Between two turns, in debug builds. */
void strand_starts_check (const strand_starts *s);

#endif
