#include "core/boundaries.h"

#include <assert.h>

#include "codec/payload.h"

static bool is_boundary (int below, int above) {
  return below != above || below == KIND_FLIGHT || above == KIND_FLIGHT;
}

static uint64_t step_cost (int64_t from, int64_t to) {
  int64_t distance = to - from;
  return distance < STRAND_PAYLOAD_BREAK_BITS ? (uint64_t)distance
                                              : STRAND_PAYLOAD_BREAK_BITS;
}

/*
** Around one offset
*/

/* The nearest boundary below 'offset', which is in the run at 'p' and has
** kind 'below' under it; -1 for none. */
static int64_t boundary_below (const strand_runs *runs, int64_t offset,
                               strand_run_place p, int below) {
  const strand_open_run *r = strand_runs_at(runs, p);
  if (r->first == offset)
    r = strand_runs_at(runs, strand_runs_before(runs, p));
  if (r == NULL) return -1;
  if (below == KIND_FLIGHT) return offset - 1;
  return below == KIND_OPEN ? r->first : r->last + 1;
}

/* The nearest boundary above 'offset' + 1; -1 for none up to 'frontier'. */
static int64_t boundary_above (const strand_runs *runs, int64_t offset,
                               strand_run_place p, int above,
                               int64_t frontier) {
  const strand_open_run *r = strand_runs_at(runs, p);
  int64_t x;
  if (above == KIND_FLIGHT) x = offset + 2;
  else if (above == KIND_OPEN) {
    if (r == NULL || r->last < offset + 1) {
      r = strand_runs_at(runs, strand_runs_after(runs, p));
    }
    x = r->last + 1;
  }
  else {
    r = strand_runs_at(runs, strand_runs_after(runs, p));
    if (r == NULL) return -1;
    x = r->first;
  }
  return x <= frontier ? x : -1;
}

/* Adds (sign 1) or takes away (sign -1) what the boundaries at 'offset' and
** 'offset' + 1 cost, given the kinds around them. */
static void count_around (strand_boundaries *b, int64_t offset, int64_t low,
                          int64_t high, const int kinds[3], int sign) {
  int64_t last = low;
  uint64_t cost = 0, count = 0;
  for (int i = 0; i < 2; i++) {
    int64_t x = offset + i;
    if (x > b->frontier || !is_boundary(kinds[i], kinds[i + 1])) continue;
    if (last >= 0) cost += step_cost(last, x);
    last = x;
    count++;
  }
  if (high >= 0 && last >= 0) cost += step_cost(last, high);
  b->cost += sign > 0 ? cost : (uint64_t)0 - cost;
  b->count += sign > 0 ? count : (uint64_t)0 - count;
}

void strand_boundaries_change (strand_boundaries *b, const strand_runs *runs,
                               strand_run_place p, int64_t offset, int kind) {
  const strand_open_run *r = strand_runs_at(runs, p);
  int was = (int)r->kind, kinds[3];
  int64_t low, high;
  assert(b->counted);
  kinds[0] = r->first < offset
               ? was
               : strand_runs_kind(runs, strand_runs_before(runs, p),
                                  offset - 1);
  kinds[2] = r->last > offset ? was
                              : strand_runs_kind(
                                runs, strand_runs_after(runs, p), offset + 1);
  low = boundary_below(runs, offset, p, kinds[0]);
  high = boundary_above(runs, offset, p, kinds[2], b->frontier);
  kinds[1] = was;
  count_around(b, offset, low, high, kinds, -1);
  kinds[1] = kind;
  count_around(b, offset, low, high, kinds, 1);
}

/* At the frontier the boundary between it and the last run comes, stays or
** goes; above, there is nothing to count yet. */
void strand_boundaries_append (strand_boundaries *b, const strand_runs *runs,
                               int64_t offset) {
  const strand_open_run *last = strand_runs_at(runs, strand_runs_last(runs));
  int64_t low = -1;
  int kinds[3] = { KIND_DONE, KIND_DONE, KIND_DONE };
  assert(b->counted);
  if (offset != b->frontier) return;
  if (last != NULL) {
    if (last->last == offset - 1) kinds[0] = (int)last->kind;
    low = kinds[0] == KIND_FLIGHT ? offset - 1
          : kinds[0] == KIND_OPEN ? last->first
                                  : last->last + 1;
  }
  count_around(b, offset, low, -1, kinds, -1);
  kinds[1] = KIND_OPEN;
  count_around(b, offset, low, -1, kinds, 1);
}

/*
** All of a range
*/

/* Visits the boundaries in (from, to] in rising order. */
static void count_range (strand_boundaries *b, const strand_runs *runs,
                         int64_t last, int64_t from, int64_t to) {
  strand_run_place p = strand_runs_locate(runs, from);
  const strand_open_run *r;
  if (p.b < 0) p = (strand_run_place){ 0, 0 };
  for (; (r = strand_runs_at(runs, p)) != NULL && r->first <= to;
       p = strand_runs_after(runs, p)) {
    int64_t ends[2];
    ends[0] = r->first;
    ends[1] = r->last + 1;
    for (int64_t x = ends[0]; x <= ends[1];
         x = r->kind == KIND_FLIGHT || x == ends[1] ? x + 1 : ends[1]) {
      if (x <= from || x > to || x == last) continue;
      if (last >= 0) b->cost += step_cost(last, x);
      last = x;
      b->count++;
    }
  }
}

/* The highest boundary at or below the frontier; -1 for none. */
static int64_t top_boundary (const strand_boundaries *b,
                             const strand_runs *runs) {
  const strand_open_run *r = strand_runs_at(
    runs, strand_runs_locate(runs, b->frontier));
  if (r == NULL) return -1;
  return r->last + 1 <= b->frontier ? r->last + 1 : r->first;
}

void strand_boundaries_recount (strand_boundaries *b,
                                const strand_runs *runs) {
  b->counted = true;
  b->cost = b->count = 0;
  if (runs->block_count > 0) count_range(b, runs, -1, -1, b->frontier);
}

void strand_boundaries_extend (strand_boundaries *b, const strand_runs *runs,
                               int64_t frontier) {
  assert(b->counted);
  count_range(b, runs, top_boundary(b, runs), b->frontier, frontier);
}

#ifndef NDEBUG

void strand_boundaries_check (const strand_boundaries *b,
                              const strand_runs *runs) {
  strand_boundaries anew = *b;
  const strand_open_run *r;
  for (strand_run_place p = { 0, 0 }; (r = strand_runs_at(runs, p)) != NULL;
       p = strand_runs_after(runs, p)) {
    assert(r->kind == KIND_OPEN || r->last < b->frontier); /* (2) */
  }
  if (!b->counted) return;
  strand_boundaries_recount(&anew, runs);
  assert(anew.cost == b->cost && anew.count == b->count); /* (1) */
}

#endif
