/*
** wire.c - no headers?
**
** To ask librdkafka costs an allocation, and more than all else that is done
** to a short record. But a message lies where it was received, between the
** fields of its record (version 2: KIP-98):
**
**   Length Attributes TimestampDelta OffsetDelta KeyLength Key ValueLength
**   Value HeaderCount Headers
**
** so that the answer is the byte behind the value. That librdkafka leaves it
** there is no promise of its own, and the older formats have no such byte; so
** it is believed only where all in front of the value reads as that, with the
** lengths that librdkafka gave and a Length that ends behind HeaderCount.
**
** Nothing is read outside of the record. In the older formats a length is
** four bytes, big-endian: none of them ends in the varint of the same number
** (but for 0, which is not looked at), so these are told from version 2
** within their own length field. The other way round, a Length reaches behind
** the value, and librdkafka has seen that the record is there to its end.
*/
#include "kafka/wire.h"

#include <stdint.h>

#define VARINT_MOST 10

/* Steps back over the varint in front of '*at', if it is that of 'n', from
** its last byte on, which is below 0x80 as no other is; 0, -1, 1, -2, ... */
static inline bool back_over (const unsigned char **at, int64_t n) {
  uint64_t raw = ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
  int shift = 0;
  while (raw >> shift > 0x7f) shift += 7;
  if (*--*at != raw >> shift) return false;
  while ((shift -= 7) >= 0) {
    if (*--*at != ((raw >> shift & 0x7f) | 0x80)) return false;
  }
  return true;
}

/* The same, whatever its number. */
static inline bool back_over_any (const unsigned char **at) {
  if (*--*at & 0x80) return false;
  for (int i = 1; i < VARINT_MOST && (*at)[-1] & 0x80; i++) --*at;
  return true;
}

bool strand_wire_no_headers (const void *key, size_t key_length,
                             const void *value, size_t value_length) {
  const unsigned char *at = value, *end;
  if (value == NULL || value_length == 0) return false; /* lies elsewhere */
  end = at + value_length;
  if (!back_over(&at, (int64_t)value_length)) return false;
  if (key_length > 0) {
    if ((const unsigned char *)key + key_length != at) return false;
    at = key;
  }
  if (!back_over(&at, key == NULL ? -1 : (int64_t)key_length)) return false;
  if (!back_over_any(&at)) return false; /* OffsetDelta */
  if (!back_over_any(&at)) return false; /* TimestampDelta */
  if (*--at != 0) return false;          /* Attributes */
  return back_over(&at, end + 1 - at) && *end == 0;
}
