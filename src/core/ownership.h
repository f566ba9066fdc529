/*
** ownership.h - the shards of one consumer whose handlers run on after a revoke
**
** One table for all members: whoever gets the partition next must know which
** of its shards may not start yet. An entry is added when a partition is
** revoked with a lease of that shard out, and removed when its handler has
** returned. Also says which member has which partition.
**
** Invariants (strand_ownership_check):
**   (1) No shard is in it twice.
**   (2) Each owned partition is found, and has been given an epoch.
**   (3) A member that has a partition has not given it up.
**
** Thread: owner, under a lock (not taken here: the simulator has none). What
** allocates has a second form, for under a lock: there nothing is allocated or
** freed.
*/
#ifndef STRAND_OWNERSHIP_H
#define STRAND_OWNERSHIP_H

#include "core/engine.h"
#include "core/places.h"

typedef struct strand_owned strand_owned;

/* One of the table, or taken from it. Its strings go with it. */
typedef struct strand_orphan_entry {
  struct strand_orphan_entry *next; /* of who has it */
  strand_orphan orphan;
} strand_orphan_entry;

typedef struct strand_ownership {
  strand_orphan_entry *first; /* the oldest */
  strand_orphan_entry *last;
  strand_owned *owned;  /* every partition ever assigned */
  strand_places places; /* finds it */
} strand_ownership;

void strand_ownership_free (strand_ownership *t);

/* Copies 'orphan'. STRAND_ENOMEM: nothing was added. */
strand_err strand_ownership_add (strand_ownership *t,
                                 const strand_orphan *orphan);
/* The same in two steps. NULL: memory ran out. */
strand_orphan_entry *strand_orphan_new (const strand_orphan *orphan);
void strand_ownership_put (strand_ownership *t, strand_orphan_entry *entry);
/* True when it was there. */
bool strand_ownership_remove (strand_ownership *t,
                              const strand_orphan *orphan);
/* The entry, for free(); or NULL. */
strand_orphan_entry *strand_ownership_take (strand_ownership *t,
                                            const strand_orphan *orphan);
/* Copies of a partition's entries, to be freed with free(), in one. NULL for
** none ('*count' 0), or when memory runs out ('*count' > 0, how many there
** are). */
strand_orphan *strand_ownership_of (const strand_ownership *t,
                                    const char *topic, int32_t index,
                                    size_t *count);
/* The same into 'room' bytes at 'to', if they suffice. How many are needed; 0:
** there are none. */
size_t strand_ownership_copy (const strand_ownership *t, const char *topic,
                              int32_t index, void *to, size_t room,
                              size_t *count);

/* 'member' has the partition from now on, with an epoch never used before
** (from 1). 0 when memory runs out. */
uint32_t strand_ownership_assign (strand_ownership *t, const char *topic,
                                  int32_t index, unsigned member);
/* What one that was never assigned needs. All 0: nothing yet. */
typedef struct strand_ownership_spare {
  strand_owned *owned;
  strand_places_spare room;
} strand_ownership_spare;
/* The same with what is spare. 0: that was not enough; 'lacks' is for
** strand_ownership_spare_make. */
uint32_t strand_ownership_assign_with (strand_ownership *t, const char *topic,
                                       int32_t index, unsigned member,
                                       strand_ownership_spare *spare,
                                       size_t *lacks);
/* False: memory ran out. */
bool strand_ownership_spare_make (strand_ownership_spare *spare,
                                  const char *topic, int32_t index,
                                  size_t lacks);
void strand_ownership_spare_free (strand_ownership_spare *spare);

void strand_ownership_unassign (strand_ownership *t, const char *topic,
                                int32_t index, unsigned member);
/* An earlier member has not given it up: it does not know yet that it lost
** the partition, and its handlers run on, not yet orphans. */
bool strand_ownership_contested (const strand_ownership *t, const char *topic,
                                 int32_t index);
/* The member that has the partition, or -1. */
int strand_ownership_member (const strand_ownership *t, const char *topic,
                             int32_t index);

/* Is it one of the table's? */
bool strand_ownership_has (const strand_ownership *t,
                           const strand_orphan_entry *entry);
void strand_ownership_check (const strand_ownership *t);

#endif
