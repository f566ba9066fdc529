/*
** bucket.h - a token bucket: how many records a rate lets start
**
** Tokens are fractions, and time is the caller's. Without a rate (0 a second)
** there are as many as one wants, and a bucket is not touched.
**
** Invariants (strand_bucket_check), with a rate:
**   (1) What was spent was there, as far as sums of fractions go.
**   (2) It holds its burst at most.
**
** Thread: owner.
*/
#ifndef STRAND_BUCKET_H
#define STRAND_BUCKET_H

#include "core/types.h"

typedef struct strand_bucket {
  double tokens;
  int64_t filled_us;
} strand_bucket;

/* Full. */
void strand_bucket_open (strand_bucket *b, const strand_rate *rate);
/* '*rate' becomes 'to'; full where there was none. */
void strand_bucket_set (strand_bucket *b, strand_rate *rate, strand_rate to);
/* When it is worth to come again: 'least' tokens are there then, and of a
** high rate those of a millisecond, or half a burst. */
int64_t strand_bucket_due (const strand_bucket *b, const strand_rate *rate,
                           size_t least);
void strand_bucket_refund (strand_bucket *b, const strand_rate *rate,
                           uint32_t count);

void strand_bucket_check (const strand_bucket *b, const strand_rate *rate);

/* How many of 'most' there are by now; with a rate. */
size_t strand_bucket_filled (strand_bucket *b, const strand_rate *rate,
                             size_t most, int64_t now_us);

static inline size_t strand_bucket_tokens (strand_bucket *b,
                                           const strand_rate *rate,
                                           size_t most, int64_t now_us) {
  if (rate->per_second <= 0) return most;
  return strand_bucket_filled(b, rate, most, now_us);
}

static inline void strand_bucket_spend (strand_bucket *b,
                                        const strand_rate *rate,
                                        uint32_t count) {
  if (rate->per_second > 0) b->tokens -= count;
}

#endif
