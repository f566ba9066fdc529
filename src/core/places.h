/*
** places.h - a table from a topic and the number of a partition to something
**
** A consumer of a thousand topics is given and loses thousands of partitions
** at once, and each is looked for: one by one that is millions of comparisons
** under a lock, or while a close waits.
**
** Open addressing with linear probing. It borrows the topics.
**
** Invariants (strand_places_check):
**   (1) It is half full at most.
**   (2) Nothing is free between the place where an entry is looked for first
**       and where it is.
**
** Thread: owner, and under a lock where it is shared (not taken here): nothing
** is allocated under that one, but before it.
*/
#ifndef STRAND_PLACES_H
#define STRAND_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct strand_place_entry {
  const char *topic; /* NULL: free */
  void *value;
  uint32_t hash;
  int32_t index;
} strand_place_entry;

typedef struct strand_places { /* all 0: empty */
  strand_place_entry *entries;
  size_t size; /* a power of two, or 0 */
  size_t count;
} strand_places;

void strand_places_free (strand_places *t);
/* Room for one more, so that it can be put. STRAND_ENOMEM: as it was. */
strand_err strand_places_room (strand_places *t);
/* The same in steps, where a lock is held: how many entries it must get to have
** room for one more; 0: none. */
size_t strand_places_lacks (const strand_places *t);
/* Entries that are made before the lock, and freed after it. All 0: none. */
typedef struct strand_places_spare {
  strand_place_entry *entries;
  size_t size;
} strand_places_spare;
/* So many; 0: as they are. False: memory ran out. */
bool strand_places_spare_make (strand_places_spare *spare, size_t lacks);
void strand_places_spare_free (strand_places_spare *spare);
/* There is room, maybe by what is spare, for which it gives what it had.
** False: it lacks others. */
bool strand_places_fit (strand_places *t, strand_places_spare *spare);
/* Needs room. 'topic' stays until it is taken out. */
void strand_places_put (strand_places *t, const char *topic, int32_t index,
                        void *value);
/* NULL: it is not in it. Of several, one of them. */
void *strand_places_get (const strand_places *t, const char *topic,
                         int32_t index);
/* The one with this value; nothing, when it is not in it. */
void strand_places_take (strand_places *t, const char *topic, int32_t index,
                         const void *value);

void strand_places_check (const strand_places *t);

#endif
