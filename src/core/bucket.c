#include "core/bucket.h"

#include <assert.h>

#define TOKEN 0.999999999 /* sums of fractions may stay just below one */

static void keep_burst (strand_bucket *b, const strand_rate *rate) {
  if (b->tokens > rate->burst) b->tokens = rate->burst;
}

void strand_bucket_open (strand_bucket *b, const strand_rate *rate) {
  b->tokens = rate->burst;
}

void strand_bucket_set (strand_bucket *b, strand_rate *rate, strand_rate to) {
  if (rate->per_second <= 0) b->tokens = to.burst;
  *rate = to;
  keep_burst(b, rate);
}

size_t strand_bucket_filled (strand_bucket *b, const strand_rate *rate,
                             size_t most, int64_t now_us) {
  double whole;
  if (now_us > b->filled_us) {
    b->tokens += (double)(now_us - b->filled_us) * rate->per_second / 1e6;
    b->filled_us = now_us;
  }
  keep_burst(b, rate);
  whole = b->tokens + (1 - TOKEN);
  return whole < (double)most ? (whole < 1 ? 0 : (size_t)whole) : most;
}

void strand_bucket_refund (strand_bucket *b, const strand_rate *rate,
                           uint32_t count) {
  if (rate->per_second <= 0) return;
  b->tokens += count;
  keep_burst(b, rate);
}

int64_t strand_bucket_due (const strand_bucket *b, const strand_rate *rate,
                           size_t least) {
  double wanted = rate->per_second / 1000, missing;
  if (wanted > rate->burst / 2) wanted = rate->burst / 2;
  if (wanted < (double)least) wanted = (double)least;
  missing = wanted - (1 - TOKEN) - b->tokens;
  if (missing <= 0) return b->filled_us;
  missing = missing * 1e6 / rate->per_second;
  if (missing > 1e15) missing = 1e15;
  return b->filled_us + (int64_t)missing + 1;
}

#ifndef NDEBUG

void strand_bucket_check (const strand_bucket *b, const strand_rate *rate) {
  if (rate->per_second <= 0) return;
  assert(b->tokens > -1e-3);        /* (1) */
  assert(b->tokens <= rate->burst); /* (2) */
}

#endif
