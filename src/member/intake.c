/*
** intake.c - see intake.h
*/
#include "member/intake.h"

#include <assert.h>

static size_t min_of (size_t a, size_t b) {
  return a < b ? a : b;
}

static size_t max_of (size_t a, size_t b) {
  return a > b ? a : b;
}

void strand_intake_init (strand_intake *i, size_t most, int64_t interval_us) {
  most = max_of(most, 1);
  *i = (strand_intake){ .most = most,
                        .least = min_of(most, STRAND_INTAKE_LEAST),
                        .interval_us = interval_us,
                        .size = most };
}

static void grow (strand_intake *i) {
  i->size = i->size < i->most / 2 ? i->size * 2 : i->most;
  i->before = 0;
}

/* It is so much smaller than the one before that its time says something. */
static bool is_smaller (const strand_intake *i, size_t outputs) {
  return i->before > 0 && outputs <= i->before / 4 * 3;
}

static bool is_faster (const strand_intake *i, int64_t took_us) {
  return took_us <= i->before_us / 4 * 3;
}

static void keep (strand_intake *i, int64_t now_us) {
  i->size = i->before;
  i->before = 0;
  i->keep_until_us = now_us + STRAND_INTAKE_KEEP_US;
}

static void lower (strand_intake *i, size_t outputs, int64_t took_us) {
  i->before = min_of(outputs, i->size);
  i->before_us = took_us;
  i->size = max_of(i->before / 2, i->least);
}

void strand_intake_committed (strand_intake *i, size_t outputs,
                              int64_t took_us, int64_t now_us) {
  if (took_us <= i->interval_us) grow(i);
  else if (is_smaller(i, outputs) && !is_faster(i, took_us)) keep(i, now_us);
  else if (min_of(outputs, i->size) > i->least && now_us >= i->keep_until_us)
    lower(i, outputs, took_us);
}

void strand_intake_timed_out (strand_intake *i, size_t outputs) {
  i->size = max_of(min_of(outputs, i->size) / 2, 1);
  i->before = 0;
}

void strand_intake_check (const strand_intake *i) {
  (void)i;
  assert(i->size >= 1 && i->size <= i->most);   /* (1) */
  assert(i->least >= 1 && i->least <= i->most); /* (2) */
}
