/*
** starts.h - where the logs of what is old begin
**
** Thread: owner.
*/
#ifndef STRAND_STARTS_H
#define STRAND_STARTS_H

#include "kafka/helper.h"

typedef struct strand_member strand_member;

typedef struct strand_starts {
  bool asking;
  int64_t due_us; /* when the helper may be asked for starts */
  int64_t old_us; /* when old records are looked at again */
} strand_starts;

int64_t strand_starts_tick (strand_member *m, int64_t now_us);
void strand_starts_answer (strand_member *m, const strand_call *call,
                           int64_t now_us);

#endif
