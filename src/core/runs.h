/*
** runs.h - the offsets of a partition that are not done, as runs of one kind
**
**      41    42    43    44    45    46    47
**     done FLIGHT done  OPEN  done FLIGHT OPEN
**
** OPEN: polled and not running, or described as open by a restored payload.
** FLIGHT: leased, its end unknown. An offset that is in no run is done, was
** never there, or has not come. Runs are kept in blocks of a few, so that
** cost follows boundaries and not records.
**
** What changes runs needs the room of strand_runs_reserve, and then cannot
** fail.
**
** Invariants (strand_runs_check):
**   (1) Runs are strictly increasing; runs of one kind never touch.
**   (2) A block has at least one run, at most STRAND_RUNS_BLOCK, and a place
**       in the list of blocks.
**   (3) 'open' is how many offsets are in runs.
**
** Thread: owner.
*/
#ifndef STRAND_RUNS_H
#define STRAND_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STRAND_RUNS_BLOCK 24

enum { KIND_DONE = 0, KIND_OPEN = 1, KIND_FLIGHT = 2 };

typedef struct strand_open_run {
  int64_t first;
  int64_t last : 62;
  unsigned kind : 2; /* OPEN or FLIGHT */
} strand_open_run;

typedef struct strand_run_block {
  int count;
  strand_open_run runs[STRAND_RUNS_BLOCK];
} strand_run_block;

typedef struct strand_runs { /* all 0: empty */
  strand_run_block **blocks;
  strand_run_block *spare; /* see strand_runs_reserve */
  int block_count;
  int block_capacity;
  uint64_t open;
} strand_runs;

/* The run 'r' of block 'b'. b == block_count is the end; b == -1 is before
** the first. */
typedef struct strand_run_place {
  int b;
  int r;
} strand_run_place;

void strand_runs_free (strand_runs *t);
size_t strand_runs_bytes (const strand_runs *t);

/* Room for one change. */
strand_err strand_runs_reserve (strand_runs *t);

/* The last run that begins at or below 'offset'; b == -1 when none does. */
strand_run_place strand_runs_locate (const strand_runs *t, int64_t offset);

/* [first, last] is OPEN; it lies above all runs. Needs room. */
void strand_runs_append (strand_runs *t, int64_t first, int64_t last);
/* 'offset', in the run at 'p', goes from one kind to another. Needs room;
** putting the old kind back right after needs nothing more. */
void strand_runs_change (strand_runs *t, strand_run_place p, int64_t offset,
                         int kind);
/* What of [from, to) is in runs leaves them; false: nothing was. Needs
** room. */
bool strand_runs_drop (strand_runs *t, int64_t from, int64_t to);

void strand_runs_check (const strand_runs *t);

/* NULL: before the first, or the end. */
static inline strand_open_run *strand_runs_at (const strand_runs *t,
                                               strand_run_place p) {
  if (p.b < 0 || p.b >= t->block_count) return NULL;
  return &t->blocks[p.b]->runs[p.r];
}

static inline strand_run_place strand_runs_after (const strand_runs *t,
                                                  strand_run_place p) {
  if (p.b < 0) return (strand_run_place){ 0, 0 };
  if (p.r + 1 < t->blocks[p.b]->count) {
    return (strand_run_place){ p.b, p.r + 1 };
  }
  return (strand_run_place){ p.b + 1, 0 };
}

static inline strand_run_place strand_runs_before (const strand_runs *t,
                                                   strand_run_place p) {
  if (p.b < t->block_count && p.r > 0) {
    return (strand_run_place){ p.b, p.r - 1 };
  }
  if (p.b == 0) return (strand_run_place){ -1, 0 };
  return (strand_run_place){ p.b - 1, t->blocks[p.b - 1]->count - 1 };
}

/* b == -1 when there is none. */
static inline strand_run_place strand_runs_last (const strand_runs *t) {
  strand_run_place p = { t->block_count - 1, 0 };
  if (p.b >= 0) p.r = t->blocks[p.b]->count - 1;
  return p;
}

/* Of 'offset', where 'p' is the last run that begins at or below it, or the
** one behind that. */
static inline int strand_runs_kind (const strand_runs *t, strand_run_place p,
                                    int64_t offset) {
  const strand_open_run *r = strand_runs_at(t, p);
  if (r == NULL || r->first > offset) return KIND_DONE;
  return offset <= r->last ? (int)r->kind : KIND_DONE;
}

#endif
