/*
** held.h - the shards of one consumer whose handlers run on after a revoke
**
** One table for all members: whoever gets the partition next must know which
** of its shards may not start yet. An entry is added when a partition is
** revoked with a lease of that shard out, and removed when its handler has
** returned. Also says which member has which partition.
**
** Invariants (strand_held_check):
**   (1) No shard is in it twice.
**   (2) Each holder is found by its partition, and has been given an epoch.
**   (3) A member that has a partition has not given it up.
**
** Thread: owner, under a lock (not taken here: the simulator has none).
*/
#ifndef STRAND_HELD_H
#define STRAND_HELD_H

#include "core/engine.h"
#include "core/places.h"

typedef struct strand_holder {
  char *topic;
  int32_t index;
  unsigned member;
  uint32_t epochs; /* given out so far */
  unsigned users;  /* members that were given it and have not given it up */
  bool assigned;
} strand_holder;

typedef struct strand_held_table {
  strand_held *entries; /* own their strings */
  size_t count;
  size_t capacity;
  strand_holder *holders; /* every partition ever assigned */
  size_t holder_count;
  size_t holder_capacity;
  strand_places places; /* to the number of a holder, from 1 */
} strand_held_table;

void strand_held_table_free (strand_held_table *t);

/* Copies 'held'. STRAND_ENOMEM: nothing was added. */
strand_err strand_held_add (strand_held_table *t, const strand_held *held);
/* True when it was there. */
bool strand_held_remove (strand_held_table *t, const strand_held *held);
/* The entries of a partition, to be freed with free(); they borrow from the
** table. NULL for none ('*count' 0), or when memory runs out ('*count' > 0,
** how many there are). */
strand_held *strand_held_of (const strand_held_table *t, const char *topic,
                             int32_t index, size_t *count);

/* 'member' has the partition from now on, with an epoch never used before
** (from 1). 0 when memory runs out. */
uint32_t strand_held_assign (strand_held_table *t, const char *topic,
                             int32_t index, unsigned member);
void strand_held_unassign (strand_held_table *t, const char *topic,
                           int32_t index, unsigned member);
/* An earlier member has not given it up: it does not know yet that it lost
** the partition, and its handlers run on, not held. */
bool strand_held_contested (const strand_held_table *t, const char *topic,
                            int32_t index);
/* The member that has the partition, or -1. */
int strand_held_member (const strand_held_table *t, const char *topic,
                        int32_t index);

void strand_held_check (const strand_held_table *t);

#endif
