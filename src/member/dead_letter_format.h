/*
** dead_letter_format.h - what a dead letter looks like
**
** The record's own headers come first, in their order, without those of the
** names below, which an earlier dead letter may have left; then these. All
** are text in UTF-8, and times are seconds since 1970 with milliseconds.
**
**   strand.topic strand.partition strand.offset   where it was read
**   strand.timestamp       the record's; absent when it has none
**   strand.group           who gave it up
**   strand.attempts        how often its handler was called, in this life of
**                          the consumer
**   strand.reason          of the last failure, or its class; may be absent
**   strand.first_failure   when it first ended without being done
**   strand.last_failure
**   strand.value_dropped   the length of a value that was too large
**
** Thread: any (no state).
*/
#ifndef STRAND_DEAD_LETTER_FORMAT_H
#define STRAND_DEAD_LETTER_FORMAT_H

#include <librdkafka/rdkafka.h>

#include "base/clock.h"
#include "shared/settings.h"

/* How far a record that is too large for the topic has been cut. */
typedef enum strand_dead_letter_cut {
  STRAND_CUT_NOTHING,
  STRAND_CUT_REASON,
  STRAND_CUT_VALUE /* and the reason */
} strand_dead_letter_cut;

/* Of a record whose dead letter is wanted. 'time' is the consumer's. The caller
** frees them. */
rd_kafka_headers_t *strand_dead_letter_headers (
  const strand_dead_letters_config *c, const char *group,
  const strand_record *r, strand_dead_letter_cut cut, const strand_time *time);

/* Why the record is to be parked, and what had been the reason before that:
** 'to' has room for STRAND_REASON_MAX. Returns the length. */
size_t strand_dead_letter_excuse (char *to, const strand_record *r,
                                  const char *problem);

/* Why those that come back are parked, and what is told once where the topic
** has fewer partitions than a source. */
#define STRAND_DEAD_LETTER_RETURNED                                           \
  "it comes from the dead letter topic, where this group had sent it"
#define STRAND_DEAD_LETTER_BY_KEY                                             \
  "the dead letter topic has no partition of this number: placed by key"

/* It was read from the dead letter topic, where this group had sent it. */
bool strand_dead_letter_returns (const strand_dead_letters_config *c,
                                 const char *group, const strand_record *r);

/* 'from' as UTF-8, at most 'most' bytes of it, no character cut in half: for
** each byte that is none of a character stands U+FFFD. An unfinished last
** character is left out. Returns how many bytes were written. */
size_t strand_dead_letter_text (char *to, size_t most, const char *from,
                                size_t length);

#endif
