/*
** boundaries.h - how long the payload of a tracker may get, counted as its
** runs change
**
** An offset x is a boundary when x-1 and x differ in kind, or one of them is
** FLIGHT: so a FLIGHT record may end either way without adding one. What
** matters is what may be described some day: boundaries at or below
** 'frontier', the offset above the highest that was ever started or
** described.
**
** Nothing is counted while the range is so narrow that its raw bits fit,
** whatever is open in it.
**
** Invariants (strand_boundaries_check):
**   (1) While 'counted', 'count' is the number of boundaries, and 'cost' the
**       sum of min(distance, STRAND_PAYLOAD_BREAK_BITS) over neighbouring
**       ones.
**   (2) No FLIGHT run reaches 'frontier'.
**
** Thread: owner.
*/
#ifndef STRAND_BOUNDARIES_H
#define STRAND_BOUNDARIES_H

#include "core/runs.h"

typedef struct strand_boundaries {
  int64_t frontier; /* -1: unknown */
  uint64_t cost;
  uint64_t count;
  bool counted;
} strand_boundaries;

/* All of them, anew. */
void strand_boundaries_recount (strand_boundaries *b, const strand_runs *runs);

/*
** While they are counted
*/

/* Those up to 'frontier', to which it will be raised. */
void strand_boundaries_extend (strand_boundaries *b, const strand_runs *runs,
                               int64_t frontier);
/* Before 'offset', which is above all runs, is OPEN. */
void strand_boundaries_append (strand_boundaries *b, const strand_runs *runs,
                               int64_t offset);
/* Before 'offset', in the run at 'p', gets that kind. */
void strand_boundaries_change (strand_boundaries *b, const strand_runs *runs,
                               strand_run_place p, int64_t offset, int kind);

/*
** Always
*/

/* The frontier is 'frontier' now, if that is higher. */
static inline void strand_boundaries_raise (strand_boundaries *b,
                                            const strand_runs *runs,
                                            int64_t frontier) {
  if (frontier <= b->frontier) return;
  if (b->counted) strand_boundaries_extend(b, runs, frontier);
  b->frontier = frontier;
}

void strand_boundaries_check (const strand_boundaries *b,
                              const strand_runs *runs);

#endif
