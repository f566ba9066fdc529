/*
** slice.c - see slice.h
*/
#include "lua/local/slice.h"

#include <stddef.h>

#include "base/clock.h"
#include "base/thread.h"

#define BUSY_US 100     /* in which no loop has waited for long */
#define WAKE_FIRST 64   /* bodies in one turn, until a slice had ended */
#define WAKE_MOST 65536 /* bodies in one turn */

void strand_slice_init (strand_slice *s, int64_t most_us) {
  *s = (strand_slice){ .most_us = most_us, .wake_most = 1 };
}

void strand_slice_share (strand_slice *s, bool strict) {
  s->shared = true;
  s->strict = strict;
  s->wake_limit = strict ? WAKE_FIRST : WAKE_MOST;
}

void strand_slice_begin (strand_slice *s, int64_t now_us) {
  s->came_us = now_us;
  s->last = NULL;
  s->spent_us = 0;
  s->ended = false;
  s->came = 0;
}

/* What others of the loop do between our turn and the first that comes, bodies
** of another consumer too, is not of this slice. */
static void begin_with_first (strand_slice *s, int64_t now_us) {
  s->came_us = now_us;
  s->cpu_us = strand_clock_cpu_us();
  s->waits = strand_thread_waits();
}

/* Since the last came, or the first. */
static bool take_waited (strand_slice *s) {
  long waits = strand_thread_waits();
  if (waits == s->waits) return false;
  s->waits = waits;
  return true;
}

/* Others have had their turn, and what comes now is a slice of its own. */
static void begin_anew (strand_slice *s) {
  s->cpu_us = strand_clock_cpu_us();
  s->spent_us = 0;
  s->ended = false;
  s->last = NULL;
  s->came = 0;
}

/* Where the thread has waited, it was for all that the loop has; but of one
** that comes twice in a row the handler may have blocked it. */
static void spend (strand_slice *s, const struct strand_body *body,
                   int64_t gap_us) {
  bool waited = s->strict && gap_us >= BUSY_US && take_waited(s);
  int64_t cpu_us;
  if (waited && s->last != body) {
    begin_anew(s);
    return;
  }
  if (s->last == body || (s->strict && gap_us < BUSY_US)) {
    s->spent_us += gap_us;
    return;
  }
  if (!s->strict) return;
  cpu_us = strand_clock_cpu_us() - s->cpu_us;
  if (cpu_us > s->spent_us) s->spent_us = cpu_us;
}

bool strand_slice_come (strand_slice *s, const struct strand_body *body,
                        int64_t now_us) {
  if (!s->shared) return now_us - s->came_us >= s->most_us;
  if (s->strict && s->came == 0) begin_with_first(s, now_us);
  spend(s, body, now_us - s->came_us);
  if (s->last != body) s->came++;
  s->last = body;
  s->came_us = now_us;
  return s->spent_us >= s->most_us;
}

static void limit_wakes (strand_slice *s) {
  if (s->wake_most > s->wake_limit) s->wake_most = s->wake_limit;
}

bool strand_slice_end (strand_slice *s) {
  if (s->ended) return false;
  s->ended = true;
  if (s->strict) {
    s->wake_limit = (s->came + 1) / 2;
    limit_wakes(s);
  }
  else s->wake_most = 1; /* who does not wait needs no company */
  return true;
}

void strand_slice_forget (strand_slice *s, const struct strand_body *body) {
  if (s->last == body) s->last = NULL;
}

void strand_slice_wake_more (strand_slice *s) {
  if (s->wake_most >= s->wake_limit && s->wake_limit < WAKE_MOST)
    s->wake_limit += s->wake_limit / 8 + 1;
  s->wake_most *= 2;
  limit_wakes(s);
}

void strand_slice_wake_one (strand_slice *s) {
  s->wake_most = 1;
}
