/*
** watch.h - records whose report somebody waits for, by id
**
** An id is a slot and the number of times the slot was used before, so that
** a stale id finds nothing. It stays below 2^53: every Lua can hold it.
**
**   in flight --report--> done --take--> free
**       |                   |
**       +------drop---------+--> dropped (until its report) or free
**
** Thread: lua.
*/
#ifndef STRAND_WATCH_H
#define STRAND_WATCH_H

#include <stdint.h>

#include "kafka/delivery.h"
#include "kafka/placement.h"

typedef struct strand_watch {
  strand_pending ticket; /* first: the record's opaque points here */
  int64_t id;
  int done;
  int dropped;
  strand_delivery *report; /* owned; filled when it has come: then there need
                              be no memory for it */
} strand_watch;

typedef struct strand_watches {
  strand_watch **slots; /* NULL: free */
  uint32_t *uses;       /* of each slot */
  uint32_t *free;       /* stack of free slots */
  uint32_t size;
  uint32_t free_count;
  int64_t ready; /* done, and not taken */
} strand_watches;

/* Takes 'report'. NULL when memory runs out. */
strand_watch *strand_watches_add (strand_watches *all,
                                  strand_delivery *report);

/* NULL when there is no such id. */
strand_watch *strand_watches_find (const strand_watches *all, int64_t id);

/* The record's report has come. */
void strand_watches_finish (strand_watches *all, strand_watch *watch);

/* Frees the watch; its report is the caller's. */
strand_delivery *strand_watches_remove (strand_watches *all,
                                        strand_watch *watch);

/* Nobody waits any more. */
void strand_watches_drop (strand_watches *all, strand_watch *watch);

/* 'also_flying': no record points to a watch any more. */
void strand_watches_destroy (strand_watches *all, int also_flying);

#endif
