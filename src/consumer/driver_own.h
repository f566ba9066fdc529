/*
** driver_own.h - what the files of the driver without a broker share
**
** Thread: lua.
*/
#ifndef STRAND_DRIVER_OWN_H
#define STRAND_DRIVER_OWN_H

#include "consumer/driver.h"
#include "member/handover.h"
#include "member/shares.h"
#include "member/staged_dead_letter.h"

/* The engine has never made a commit: the last one was long ago. */
#define STRAND_DRIVER_BEGIN_US INT64_C(1000000000000)

typedef struct strand_driver_place {
  strand_assigned *assigned;
  int64_t committed; /* -1: not yet */
  char *metadata;
} strand_driver_place;

typedef struct strand_driver_dead_letter {
  struct strand_driver_dead_letter *next;
  strand_record *record;
} strand_driver_dead_letter;

struct strand_driver {
  strand_owner owner;
  char *group;
  strand_assignment assignment;
  strand_shares shares;
  strand_snapshot snapshot;
  strand_outbox outbox;
  strand_watchdog watchdog;
  strand_outputs outputs;
  strand_handover handover;
  bool has_deadlines;
  int64_t maintain_us; /* when the engine is to be looked at again */

  strand_driver_place *places;
  size_t place_count;
  strand_driver_dead_letter *dead_letters; /* the first that is wanted */
  strand_driver_dead_letter **dead_letters_end;
  strand_staged *dead_letter; /* that was given last, or NULL */
  strand_driver_note *notes;
  size_t note_count;
  size_t note_capacity;
  size_t note_next;
  bool short_of_memory;
};

static inline int64_t strand_driver_now_us (const strand_driver *d) {
  return strand_time_us(&d->owner.consumer->time);
}

/* Each assigned partition has its number as its epoch, from 1. */
static inline size_t strand_driver_number (const strand_partition *p) {
  return strand_partition_epoch(p) - 1;
}

/* The first in the queue goes. */
void strand_driver_take_dead_letter (strand_driver *d);
/* That which was given last goes. */
void strand_driver_drop_dead_letter (strand_driver *d);

#endif
