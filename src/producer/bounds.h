/*
** bounds.h - how much a producer has in its queue
**
** A record counts from the moment it is sent until librdkafka has reported it
** and somebody has looked. librdkafka bounds its queue too, but cannot be told
** another bound while it runs: so its own is as far away as it gets.
**
** Invariants:
**   (1) Neither is below 0; without records there are no bytes.
**
** Thread: lua.
*/
#ifndef STRAND_BOUNDS_H
#define STRAND_BOUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct strand_bounds {
  int64_t max_records;
  int64_t max_bytes; /* of keys and values */
  int64_t records;
  int64_t bytes;
} strand_bounds;

/* Is there room for one more of so many bytes? Where the bounds were lowered,
** not before as much has left. */
static inline bool strand_bounds_has_room (const strand_bounds *b,
                                           size_t bytes) {
  return b->records < b->max_records
         && (int64_t)bytes <= b->max_bytes - b->bytes;
}

/* Why there is none. */
void strand_bounds_fail (const strand_bounds *b, const char *topic,
                         size_t bytes, strand_failure *failure);
/* It is in the queue, and not any more. */
static inline void strand_bounds_add (strand_bounds *b, size_t bytes) {
  b->records++;
  b->bytes += (int64_t)bytes;
}

static inline void strand_bounds_remove (strand_bounds *b, size_t bytes) {
  b->records--;
  b->bytes -= (int64_t)bytes;
}

/* After a change, in debug builds. */
void strand_bounds_check (const strand_bounds *b);

#endif
