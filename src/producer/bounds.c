/*
** bounds.c - see bounds.h
*/
#include "producer/bounds.h"

#include <assert.h>

void strand_bounds_fail (const strand_bounds *b, const char *topic,
                         size_t bytes, strand_failure *failure) {
  if ((int64_t)bytes > b->max_bytes) {
    strand_fail(failure, "MSG_SIZE_TOO_LARGE",
                "topic '%.249s': the record is larger than 'max_queued_bytes' "
                "(%lld)",
                topic, (long long)b->max_bytes);
    return;
  }
  strand_fail(failure, "QUEUE_FULL",
              "the producer's queue is full "
              "(max_queued_records %lld, max_queued_bytes %lld)",
              (long long)b->max_records, (long long)b->max_bytes);
}

void strand_bounds_check (const strand_bounds *b) {
  (void)b;
  assert(b->records >= 0 && b->bytes >= 0); /* (1) */
  assert(b->records > 0 || b->bytes == 0);  /* (1) */
  assert(b->max_records > 0 && b->max_bytes > 0);
}
