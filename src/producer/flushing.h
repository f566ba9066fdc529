/*
** flushing.h - when a producer's records do not linger
**
** librdkafka sends without lingering for as long as a flush lasts, and a
** thread makes it last (calls.h) while somebody waits: until nothing is
** outstanding, or for one record.
**
** Invariants:
**   (1) After an update: nothing lingers only while somebody waits, and
**       records are out;
**   (2) and a flush of all has ended when nothing is outstanding.
**
** Thread: lua.
*/
#ifndef STRAND_FLUSHING_H
#define STRAND_FLUSHING_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/calls.h"

typedef struct strand_flushing {
  int linger_ms;
  bool all;     /* until nothing is outstanding */
  int hurried;  /* how many wait for one record */
  bool hastens; /* for either of them nothing lingers now */
} strand_flushing;

void strand_flushing_init (strand_flushing *f, int linger_ms);

/* Somebody waits for all that is outstanding, */
void strand_flushing_begin (strand_flushing *f);
/* and not any more. */
void strand_flushing_end (strand_flushing *f);

/* Somebody waits for one; false: not any more. Said once too often is fine. */
void strand_flushing_hurry (strand_flushing *f, bool on);
static inline bool strand_flushing_is_hurried (const strand_flushing *f) {
  return f->hurried > 0;
}

/* So many are outstanding: the thread is told, if that changes something. */
void strand_flushing_update (strand_flushing *f, strand_calls *calls,
                             int64_t outstanding);
/* The calls are others from now on, which hasten nothing. */
void strand_flushing_move (strand_flushing *f);
/* After an update, in debug builds. */
void strand_flushing_check (const strand_flushing *f, int64_t outstanding);

#endif
