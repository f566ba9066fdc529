#include "core/offsets.h"

#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"

#define BLOCK_RUNS 24

enum { DONE = 0, OPEN = 1, FLIGHT = 2 };

typedef struct orun {
  int64_t first;
  int64_t last : 62;
  unsigned kind : 2;
} orun;

typedef struct block {
  int count; /* 1 to BLOCK_RUNS; an empty block is freed */
  orun runs[BLOCK_RUNS];
} block;

struct strand_offsets {
  block **blocks;
  block *spare; /* see reserve */
  int block_count;
  int block_capacity;
  int64_t position; /* -1: unknown */
  int64_t frontier;
  int64_t highest;
  int64_t described; /* highest offset of the restored payload */
  uint64_t cost;
  uint64_t boundaries;
  bool counted; /* 'cost' and 'boundaries' are kept */
  uint64_t open;
  uint64_t version;
};

/* A place in the blocks: the run 'r' of block 'b'. b == block_count is the
** end; b == -1 is before the first. */
typedef struct place {
  int b;
  int r;
} place;

strand_offsets *strand_offsets_new (int64_t committed) {
  strand_offsets *t = calloc(1, sizeof(*t));
  if (t == NULL) return NULL;
  t->position = committed;
  t->frontier = committed;
  t->highest = -1;
  t->described = -1;
  return t;
}

void strand_offsets_free (strand_offsets *t) {
  if (t == NULL) return;
  for (int b = 0; b < t->block_count; b++) free(t->blocks[b]);
  free(t->spare);
  free(t->blocks);
  free(t);
}

/*
** Places
*/

static orun *at (const strand_offsets *t, place p) {
  if (p.b < 0 || p.b >= t->block_count) return NULL;
  return &t->blocks[p.b]->runs[p.r];
}

static place after (const strand_offsets *t, place p) {
  if (p.b < 0) return (place){ 0, 0 };
  if (p.r + 1 < t->blocks[p.b]->count) return (place){ p.b, p.r + 1 };
  return (place){ p.b + 1, 0 };
}

static place before (const strand_offsets *t, place p) {
  if (p.b < t->block_count && p.r > 0) return (place){ p.b, p.r - 1 };
  if (p.b == 0) return (place){ -1, 0 };
  return (place){ p.b - 1, t->blocks[p.b - 1]->count - 1 };
}

/* The last run that begins at or below 'offset'; b == -1 when none does. */
static place locate (const strand_offsets *t, int64_t offset) {
  int low = 0, high = t->block_count; /* blocks[low-1] begins <= offset */
  const block *b;
  int r_low = 0, r_high;
  while (low < high) {
    int mid = (low + high) / 2;
    if (t->blocks[mid]->runs[0].first <= offset) low = mid + 1;
    else high = mid;
  }
  if (low == 0) return (place){ -1, 0 };
  b = t->blocks[low - 1];
  r_high = b->count;
  while (r_low < r_high) {
    int mid = (r_low + r_high) / 2;
    if (b->runs[mid].first <= offset) r_low = mid + 1;
    else r_high = mid;
  }
  return (place){ low - 1, r_low - 1 };
}

static int kind_at (const strand_offsets *t, place p, int64_t offset) {
  const orun *r = at(t, p);
  if (r == NULL || r->first > offset) return DONE;
  return offset <= r->last - MUTANT(tracker_border_off_by_one) ? (int)r->kind
                                                               : DONE;
}

/*
** Inserting and removing runs
*/

/* Makes sure that one block can be added: no change needs more, since a block
** that was just split has room. So no change fails half way. */
static strand_err reserve (strand_offsets *t) {
  if (t->block_count == t->block_capacity) {
    int capacity = t->block_capacity == 0 ? 4 : t->block_capacity * 2;
    block **grown = realloc(t->blocks, (size_t)capacity * sizeof(*grown));
    if (grown == NULL) return STRAND_ENOMEM;
    t->blocks = grown;
    t->block_capacity = capacity;
  }
  if (t->spare == NULL) t->spare = malloc(sizeof(*t->spare));
  return t->spare == NULL ? STRAND_ENOMEM : STRAND_OK;
}

static block *add_block (strand_offsets *t, int b) {
  block *fresh = t->spare;
  assert(fresh != NULL && t->block_count < t->block_capacity);
  t->spare = NULL;
  fresh->count = 0;
  memmove(t->blocks + b + 1, t->blocks + b,
          (size_t)(t->block_count - b) * sizeof(*t->blocks));
  t->blocks[b] = fresh;
  t->block_count++;
  return fresh;
}

/* Splits the full block of '*p', which follows its run. At the end of the
** last block nothing is halved: offsets arrive in order, so blocks stay
** full. */
static void split (strand_offsets *t, place *p) {
  block *b = t->blocks[p->b], *next = add_block(t, p->b + 1);
  bool last = p->b + 2 == t->block_count && p->r == b->count - 1;
  int keep = last ? b->count - 1 : b->count / 2;
  next->count = b->count - keep;
  memcpy(next->runs, b->runs + keep, (size_t)next->count * sizeof(orun));
  b->count = keep;
  if (p->r >= keep) *p = (place){ p->b + 1, p->r - keep };
}

/* Puts 'run' behind the one at '*p' (b == -1: in front of all). */
static void insert_after (strand_offsets *t, place *p, orun run) {
  int r = 0;
  block *b;
  if (t->block_count == 0) add_block(t, 0);
  if (p->b >= 0) {
    if (t->blocks[p->b]->count == BLOCK_RUNS) split(t, p);
    r = p->r + 1;
  }
  else if (t->blocks[0]->count == BLOCK_RUNS) {
    place first = { 0, 0 };
    split(t, &first);
  }
  b = t->blocks[p->b < 0 ? 0 : p->b];
  memmove(b->runs + r + 1, b->runs + r, (size_t)(b->count - r) * sizeof(orun));
  b->runs[r] = run;
  b->count++;
}

static void remove_at (strand_offsets *t, place p) {
  block *b = t->blocks[p.b];
  b->count--;
  memmove(b->runs + p.r, b->runs + p.r + 1,
          (size_t)(b->count - p.r) * sizeof(orun));
  if (b->count > 0) return;
  if (t->spare == NULL) t->spare = b;
  else free(b);
  t->block_count--;
  memmove(t->blocks + p.b, t->blocks + p.b + 1,
          (size_t)(t->block_count - p.b) * sizeof(*t->blocks));
}

/*
** Cost: invariant (4)
*/

static bool is_boundary (int below, int above) {
  return below != above || below == FLIGHT || above == FLIGHT;
}

static uint64_t step_cost (int64_t from, int64_t to) {
  int64_t distance = to - from;
  return distance < STRAND_PAYLOAD_BREAK_BITS ? (uint64_t)distance
                                              : STRAND_PAYLOAD_BREAK_BITS;
}

/* The nearest boundary below 'offset', which is in the run at 'p' and has
** kind 'below' under it; -1 for none. */
static int64_t boundary_below (const strand_offsets *t, int64_t offset,
                               place p, int below) {
  const orun *r = at(t, p);
  if (r->first == offset) r = at(t, before(t, p));
  if (r == NULL) return -1;
  if (below == FLIGHT) return offset - 1;
  return below == OPEN ? r->first : r->last + 1;
}

/* The nearest boundary above 'offset' + 1; -1 for none up to the frontier. */
static int64_t boundary_above (const strand_offsets *t, int64_t offset,
                               place p, int above) {
  const orun *r = at(t, p);
  int64_t x;
  if (above == FLIGHT) x = offset + 2;
  else if (above == OPEN) {
    if (r == NULL || r->last < offset + 1) r = at(t, after(t, p));
    x = r->last + 1;
  }
  else {
    r = at(t, after(t, p));
    if (r == NULL) return -1;
    x = r->first;
  }
  return x <= t->frontier ? x : -1;
}

/* Adds (sign 1) or takes away (sign -1) what the boundaries at 'offset' and
** 'offset' + 1 cost, given the kinds around them. */
static void count_around (strand_offsets *t, int64_t offset, int64_t low,
                          int64_t high, const int kinds[3], int sign) {
  int64_t last = low;
  uint64_t cost = 0, count = 0;
  for (int i = 0; i < 2; i++) {
    int64_t x = offset + i;
    if (x > t->frontier || !is_boundary(kinds[i], kinds[i + 1])) continue;
    if (last >= 0) cost += step_cost(last, x);
    last = x;
    count++;
  }
  if (high >= 0 && last >= 0) cost += step_cost(last, high);
  t->cost += sign > 0 ? cost : (uint64_t)0 - cost;
  t->boundaries += sign > 0 ? count : (uint64_t)0 - count;
}

/* Visits the boundaries in (from, to] in rising order. */
static void count_range (strand_offsets *t, int64_t last, int64_t from,
                         int64_t to) {
  place p = locate(t, from);
  const orun *r;
  if (p.b < 0) p = (place){ 0, 0 };
  for (; (r = at(t, p)) != NULL && r->first <= to; p = after(t, p)) {
    int64_t ends[2];
    ends[0] = r->first;
    ends[1] = r->last + 1;
    for (int64_t x = ends[0]; x <= ends[1];
         x = r->kind == FLIGHT || x == ends[1] ? x + 1 : ends[1]) {
      if (x <= from || x > to || x == last) continue;
      if (last >= 0) t->cost += step_cost(last, x);
      last = x;
      t->boundaries++;
    }
  }
}

/* The highest boundary at or below the frontier; -1 for none. */
static int64_t top_boundary (const strand_offsets *t) {
  place p = locate(t, t->frontier);
  const orun *r = at(t, p);
  if (r == NULL) return -1;
  return r->last + 1 <= t->frontier ? r->last + 1 : r->first;
}

static void recount (strand_offsets *t) {
  t->cost = t->boundaries = 0;
  if (t->block_count > 0) count_range(t, -1, -1, t->frontier);
}

static void raise_frontier (strand_offsets *t, int64_t frontier) {
  int64_t from = t->frontier, top;
  if (frontier <= from) return;
  if (!t->counted) {
    t->frontier = frontier;
    return;
  }
  top = top_boundary(t);
  t->frontier = frontier;
  count_range(t, top, from, frontier);
}

/*
** Changing the kind of one offset
*/

/* Joins [offset, offset] of 'kind' to its neighbours, or makes it a run. 'p'
** is the run below it (b == -1: none). */
static void join (strand_offsets *t, place p, int64_t offset, int kind) {
  place q = after(t, p);
  orun *below = at(t, p), *above = at(t, q);
  bool low = below != NULL && (int)below->kind == kind
             && below->last + 1 == offset;
  bool high = above != NULL && (int)above->kind == kind
              && above->first - 1 == offset;
  if (low && high) {
    below->last = above->last;
    remove_at(t, q);
  }
  else if (low) below->last = offset;
  else if (high) above->first = offset;
  else {
    orun fresh = { offset, offset, (unsigned)kind };
    insert_after(t, &p, fresh);
  }
}

/* Takes 'offset' out of the run at 'p'; '*p' becomes the run below it. */
static void cut (strand_offsets *t, place *p, int64_t offset) {
  orun *r = at(t, *p);
  if (r->first == offset && r->last == offset) {
    place q = before(t, *p);
    remove_at(t, *p);
    *p = q;
  }
  else if (r->first == offset) {
    r->first++;
    *p = before(t, *p);
  }
  else if (r->last == offset) r->last--;
  else {
    orun upper = { offset + 1, r->last, r->kind };
    r->last = offset - 1;
    insert_after(t, p, upper);
  }
}

static void count_change (strand_offsets *t, place p, int64_t offset,
                          int kind) {
  const orun *r = at(t, p);
  int was = (int)r->kind, kinds[3];
  int64_t low, high;
  kinds[0] = r->first < offset ? was : kind_at(t, before(t, p), offset - 1);
  kinds[2] = r->last > offset ? was : kind_at(t, after(t, p), offset + 1);
  low = boundary_below(t, offset, p, kinds[0]);
  high = boundary_above(t, offset, p, kinds[2]);
  kinds[1] = was;
  count_around(t, offset, low, high, kinds, -1);
  kinds[1] = kind;
  count_around(t, offset, low, high, kinds, 1);
}

/* 'offset', in the run at 'p', goes from one kind to another. The caller has
** reserved; putting the old kind back right after needs nothing more. */
static void change (strand_offsets *t, place p, int64_t offset, int kind) {
  if (t->counted) count_change(t, p, offset, kind);
  cut(t, &p, offset);
  if (kind != DONE) join(t, p, offset, kind);
}

/*
** What happens to records
*/

strand_err strand_offsets_restore (strand_offsets *t,
                                   const strand_payload *payload) {
  assert(t->block_count == 0 && t->position >= 0);
  for (size_t i = 0; i < payload->run_count; i++) {
    orun run = { payload->runs[i].first, payload->runs[i].last, OPEN };
    place end = { t->block_count - 1, 0 };
    if (reserve(t) != STRAND_OK) return STRAND_ENOMEM;
    if (end.b >= 0) end.r = t->blocks[end.b]->count - 1;
    insert_after(t, &end, run);
    t->open += (uint64_t)(run.last - run.first + 1);
  }
  if (payload->highest >= t->position) {
    t->highest = t->described = payload->highest;
    t->frontier = payload->highest + 1;
  }
  return STRAND_OK;
}

/* Restored offsets in [from, to) were never delivered, so do not exist. */
static strand_err drop_missing (strand_offsets *t, int64_t from, int64_t to) {
  bool changed = false;
  place p;
  orun *r;
  if (reserve(t) != STRAND_OK) return STRAND_ENOMEM;
  p = locate(t, from);
  if (at(t, p) == NULL || at(t, p)->last < from) p = after(t, p);
  while ((r = at(t, p)) != NULL && r->first < to) {
    int64_t first = r->first > from ? r->first : from;
    int64_t last = r->last < to - 1 ? r->last : to - 1;
    t->open -= (uint64_t)(last - first + 1);
    changed = true;
    if (r->first < first && r->last > last) {
      orun upper = { last + 1, r->last, r->kind };
      r->last = first - 1;
      insert_after(t, &p, upper);
      break;
    }
    if (r->first < first) {
      r->last = first - 1;
      p = after(t, p);
    }
    else if (r->last > last) {
      r->first = last + 1;
      break;
    }
    else {
      place below = before(t, p);
      remove_at(t, p);
      p = after(t, below);
    }
  }
  if (changed) {
    if (t->counted) recount(t);
    t->version++;
  }
  return STRAND_OK;
}

strand_err strand_offsets_reach (strand_offsets *t, int64_t offset) {
  if (t->position < 0) {
    t->position = t->frontier = offset;
    t->version++;
    return STRAND_OK;
  }
  if (offset <= t->position) return STRAND_OK;
  if (t->described >= t->position
      && drop_missing(t, t->position,
                      offset + MUTANT(gap_takes_the_record_behind_it))
           != STRAND_OK) {
    return STRAND_ENOMEM;
  }
  t->position = offset;
  t->version += !MUTANT(gap_alone_is_never_committed);
  return STRAND_OK;
}

/* A record enters at the frontier, above all runs, of which 'last' is the
** last: the boundary between them comes, stays or goes. */
static void count_frontier (strand_offsets *t, const orun *last) {
  int64_t offset = t->frontier, low = -1;
  int kinds[3] = { DONE, DONE, DONE };
  if (last != NULL) {
    if (last->last == offset - 1) kinds[0] = (int)last->kind;
    low = kinds[0] == FLIGHT ? offset - 1
          : kinds[0] == OPEN ? last->first
                             : last->last + 1;
  }
  count_around(t, offset, low, -1, kinds, -1);
  kinds[1] = OPEN;
  count_around(t, offset, low, -1, kinds, 1);
}

/* The caller has reserved. */
static void append (strand_offsets *t, int64_t offset) {
  place end = { t->block_count - 1, 0 };
  orun fresh = { offset, offset, OPEN };
  orun *last;
  if (end.b >= 0) end.r = t->blocks[end.b]->count - 1;
  last = at(t, end);
  assert(offset >= t->frontier);
  if (t->counted && offset == t->frontier) count_frontier(t, last);
  if (last != NULL && last->kind == OPEN && last->last == offset - 1) {
    last->last = offset;
  }
  else insert_after(t, &end, fresh);
}

strand_added strand_offsets_add (strand_offsets *t, int64_t offset) {
  if (t->position >= 0 && offset < t->position
      && !MUTANT(offset_is_accepted_twice))
    return STRAND_ADDED_EARLIER;
  if (reserve(t) != STRAND_OK) return STRAND_ADDED_ENOMEM;
  if (t->position != offset && strand_offsets_reach(t, offset) != STRAND_OK) {
    return STRAND_ADDED_ENOMEM;
  }
  if (offset <= t->described - MUTANT(top_of_a_payload_is_run_again)) {
    t->position = offset + 1;
    return kind_at(t, locate(t, offset), offset) == OPEN ? STRAND_ADDED
                                                         : STRAND_ADDED_DONE;
  }
  append(t, offset);
  t->position = offset + 1;
  t->open++;
  return STRAND_ADDED;
}

/* One record in flight needs no payload: done, it is the commit itself. */
static size_t bound_of (const strand_offsets *t, int64_t frontier,
                        uint64_t cost, uint64_t boundaries) {
  int64_t range = frontier - strand_offsets_committable(t);
  return range <= 1 ? 0 : strand_payload_bound(range, cost, boundaries);
}

static size_t with_reserve (size_t limit, size_t reserve_chars) {
  return limit - (reserve_chars < limit ? reserve_chars : limit);
}

/* In half the room where it is counted: not to and fro. */
static bool fits_plainly (const strand_offsets *t, int64_t offset,
                          size_t limit) {
  int64_t frontier = offset < t->frontier ? t->frontier : offset + 1;
  int64_t range = frontier - strand_offsets_committable(t);
  size_t room = with_reserve(limit, STRAND_OFFSETS_RESERVE(limit));
  return strand_payload_plain(range) <= (t->counted ? room / 2 : room);
}

/* New records stop first, then those below the frontier; the lowest record
** of all may always start: when it ends, the payload is shorter. Beyond its
** limit already (read from another member, say), a payload only gains by any
** start below the frontier. 'was' is the tracker before the start. */
static bool may_start (const strand_offsets *t, const strand_offsets *was,
                       int64_t offset, size_t limit) {
  size_t bound = bound_of(t, t->frontier, t->cost, t->boundaries);
  if (bound <= with_reserve(limit, STRAND_OFFSETS_RESERVE(limit))) return true;
  if (offset == strand_offsets_committable(t)
      && !MUTANT(lowest_record_may_not_start))
    return true;
  if (offset >= was->frontier) return false;
  return bound <= with_reserve(limit, STRAND_OFFSETS_LAST_RESERVE(limit))
         || bound_of(t, was->frontier, was->cost, was->boundaries) > limit;
}

/* After a start from OPEN that is not to be. */
static void take_back (strand_offsets *t, const strand_offsets *was,
                       int64_t offset) {
  change(t, locate(t, offset), offset, OPEN);
  t->frontier = was->frontier;
  t->cost = was->cost;
  t->boundaries = was->boundaries;
}

strand_err strand_offsets_start (strand_offsets *t, int64_t offset,
                                 size_t limit) {
  place p = locate(t, offset);
  strand_offsets was;
  if (kind_at(t, p, offset) != OPEN) return STRAND_ENOTOPEN;
  if (reserve(t) != STRAND_OK) return STRAND_ENOMEM;
  if (fits_plainly(t, offset, limit)) {
    t->counted = false;
    raise_frontier(t, offset + 1);
    change(t, p, offset, FLIGHT);
    return STRAND_OK;
  }
  if (!t->counted) recount(t);
  t->counted = true;
  was = *t;
  raise_frontier(t, offset + 1);
  change(t, p, offset, FLIGHT);
  if (may_start(t, &was, offset, limit)) return STRAND_OK;
  take_back(t, &was, offset);
  return STRAND_EFULL;
}

bool strand_offsets_may_start (strand_offsets *t, int64_t offset,
                               size_t limit) {
  strand_offsets was;
  if (fits_plainly(t, offset, limit)) return true;
  was = *t; /* its numbers */
  if (strand_offsets_start(t, offset, limit) != STRAND_OK) return false;
  take_back(t, &was, offset);
  if (!was.counted) recount(t);
  return true;
}

strand_err strand_offsets_finish (strand_offsets *t, int64_t offset) {
  place p = locate(t, offset);
  if (kind_at(t, p, offset) != FLIGHT) return STRAND_ENOTOPEN;
  if (reserve(t) != STRAND_OK) return STRAND_ENOMEM;
  change(t, p, offset, DONE);
  t->open--;
  t->version++;
  if (offset > t->highest || MUTANT(highest_is_the_last_that_ended)) {
    t->highest = offset;
  }
  return STRAND_OK;
}

strand_err strand_offsets_unstart (strand_offsets *t, int64_t offset) {
  place p = locate(t, offset);
  if (kind_at(t, p, offset) != FLIGHT) return STRAND_ENOTOPEN;
  if (reserve(t) != STRAND_OK) return STRAND_ENOMEM;
  change(t, p, offset, OPEN);
  return STRAND_OK;
}

/*
** Questions
*/

int64_t strand_offsets_committable (const strand_offsets *t) {
  if (t->block_count > 0) return t->blocks[0]->runs[0].first;
  if (t->position < 0) return -1;
  return t->position > t->described ? t->position : t->described + 1;
}

int64_t strand_offsets_position (const strand_offsets *t) {
  return t->position;
}

int64_t strand_offsets_highest (const strand_offsets *t) {
  return t->highest;
}

int64_t strand_offsets_frontier (const strand_offsets *t) {
  return t->frontier;
}

uint64_t strand_offsets_version (const strand_offsets *t) {
  return t->version;
}

uint64_t strand_offsets_open (const strand_offsets *t) {
  return t->open;
}

size_t strand_offsets_bytes (const strand_offsets *t) {
  return sizeof(*t) + (size_t)t->block_capacity * sizeof(*t->blocks)
         + (size_t)(t->block_count + (t->spare != NULL)) * sizeof(block);
}

size_t strand_offsets_bound (const strand_offsets *t) {
  strand_offsets copy = *t;
  if (!t->counted) recount(&copy);
  return bound_of(t, t->frontier, copy.cost, copy.boundaries);
}

/* OPEN and FLIGHT alike are open to a reader, and are joined where they
** touch. NULL when memory runs out. */
static strand_run *open_runs (const strand_offsets *t, size_t *count) {
  size_t most = (size_t)t->block_count * BLOCK_RUNS;
  strand_run *runs = malloc((most > 0 ? most : 1) * sizeof(*runs));
  const orun *r;
  *count = 0;
  if (runs == NULL) return NULL;
  for (place p = { 0, 0 }; (r = at(t, p)) != NULL && r->first <= t->highest;
       p = after(t, p)) {
    int64_t last = r->last < t->highest ? r->last : t->highest;
    if (*count > 0 && runs[*count - 1].last + 1 == r->first) {
      runs[*count - 1].last = last;
    }
    else {
      runs[*count].first = r->first;
      runs[(*count)++].last = last;
    }
  }
  return runs;
}

strand_err strand_offsets_payload (const strand_offsets *t, size_t limit,
                                   char *text, size_t *length) {
  int64_t committed = strand_offsets_committable(t);
  int64_t highest = t->highest + MUTANT(payload_highest_off_by_one);
  const char *codec;
  strand_run *runs;
  size_t count;
  strand_err err;
  *length = 0;
  if (committed < 0 || highest < committed) return STRAND_OK;
  runs = open_runs(t, &count);
  if (runs == NULL) return STRAND_ENOMEM;
  err = strand_payload_encode(committed, highest, runs, count, limit, text,
                              length, &codec);
  free(runs);
  return err;
}

int64_t strand_offsets_told (const strand_offsets *t) {
  int64_t committed = strand_offsets_committable(t), told = t->highest + 1;
  const orun *r;
  if (committed < 0 || t->highest < committed) return committed;
  for (place p = { 0, 0 }; (r = at(t, p)) != NULL && r->first <= t->highest;
       p = after(t, p)) {
    told -= (r->last < t->highest ? r->last : t->highest) - r->first + 1;
  }
  return told;
}

strand_err strand_offsets_payload_part (const strand_offsets *t, size_t limit,
                                        char *text, size_t *length,
                                        int64_t *told) {
  int64_t committed = strand_offsets_committable(t);
  size_t count, described;
  strand_run *runs = open_runs(t, &count);
  if (runs == NULL) return STRAND_ENOMEM;
  strand_payload_encode_part(committed, runs, count, limit, text, length,
                             &described);
  *told = described == 0 ? committed : runs[described].first;
  for (size_t i = 0; i < described; i++) {
    *told -= runs[i].last - runs[i].first + 1;
  }
  free(runs);
  return STRAND_OK;
}

#ifndef NDEBUG

void strand_offsets_check (const strand_offsets *t) {
  strand_offsets copy = *t;
  int64_t last = -2;
  unsigned kind = DONE;
  uint64_t open = 0;
  for (int b = 0; b < t->block_count; b++) {
    assert(t->blocks[b]->count > 0 && t->blocks[b]->count <= BLOCK_RUNS);
    for (int r = 0; r < t->blocks[b]->count; r++) {
      const orun *run = &t->blocks[b]->runs[r];
      assert(run->first <= run->last && run->first > last); /* (1) */
      assert(run->first > last + 1 || run->kind != kind);   /* (1) */
      assert(run->kind == OPEN || run->last < t->frontier); /* (3) */
      open += (uint64_t)(run->last - run->first + 1);
      last = run->last;
      kind = run->kind;
    }
  }
  assert(open == t->open);
  assert(t->highest < t->frontier || t->frontier < 0);
  recount(&copy);
  assert(!t->counted || copy.cost == t->cost);             /* (4) */
  assert(!t->counted || copy.boundaries == t->boundaries); /* (4) */
}

#endif
