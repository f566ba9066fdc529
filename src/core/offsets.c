#include "core/offsets.h"

#include <assert.h>
#include <stdlib.h>

#include "core/boundaries.h"
#include "core/runs.h"

#define NO_LIMIT SIZE_MAX

struct strand_offsets {
  strand_runs runs;
  strand_boundaries boundaries;
  int64_t position; /* -1: unknown */
  int64_t highest;
  int64_t described; /* highest offset of the restored payload */
  uint64_t version;
  size_t limit; /* that invariant (2) holds for */
};

strand_offsets *strand_offsets_new (int64_t committed) {
  strand_offsets *t = calloc(1, sizeof(*t));
  if (t == NULL) return NULL;
  t->position = committed;
  t->boundaries.frontier = committed;
  t->highest = -1;
  t->described = -1;
  t->limit = NO_LIMIT;
  return t;
}

void strand_offsets_free (strand_offsets *t) {
  if (t == NULL) return;
  strand_runs_free(&t->runs);
  free(t);
}

/* The caller has reserved; putting the old kind back right after needs
** nothing more. */
static void change (strand_offsets *t, strand_run_place p, int64_t offset,
                    int kind) {
  if (t->boundaries.counted) {
    strand_boundaries_change(&t->boundaries, &t->runs, p, offset, kind);
  }
  strand_runs_change(&t->runs, p, offset, kind);
}

/*
** Records come
*/

strand_err strand_offsets_restore (strand_offsets *t,
                                   const strand_payload *payload) {
  assert(t->runs.block_count == 0 && t->position >= 0);
  for (size_t i = 0; i < payload->run_count; i++) {
    if (strand_runs_reserve(&t->runs) != STRAND_OK) return STRAND_ENOMEM;
    strand_runs_append(&t->runs, payload->runs[i].first,
                       payload->runs[i].last);
  }
  if (payload->highest >= t->position) {
    t->highest = t->described = payload->highest;
    t->boundaries.frontier = payload->highest + 1;
  }
  return STRAND_OK;
}

/* Restored offsets in [from, to) were never delivered, so do not exist. They
** may split what the payload described. */
static strand_err drop_missing (strand_offsets *t, int64_t from, int64_t to) {
  if (strand_runs_reserve(&t->runs) != STRAND_OK) return STRAND_ENOMEM;
  if (!strand_runs_drop(&t->runs, from, to)) return STRAND_OK;
  if (t->boundaries.counted) {
    strand_boundaries_recount(&t->boundaries, &t->runs);
  }
  t->limit = NO_LIMIT;
  t->version++;
  return STRAND_OK;
}

strand_err strand_offsets_reach (strand_offsets *t, int64_t offset) {
  if (t->position < 0) {
    t->position = t->boundaries.frontier = offset;
    t->version++;
    return STRAND_OK;
  }
  if (offset <= t->position) return STRAND_OK;
  if (t->described >= t->position
      && drop_missing(t, t->position, offset) != STRAND_OK) {
    return STRAND_ENOMEM;
  }
  t->position = offset;
  t->version++;
  return STRAND_OK;
}

strand_added strand_offsets_add (strand_offsets *t, int64_t offset) {
  if (t->position >= 0 && offset < t->position) return STRAND_ADDED_EARLIER;
  if (strand_runs_reserve(&t->runs) != STRAND_OK) return STRAND_ADDED_ENOMEM;
  if (t->position != offset && strand_offsets_reach(t, offset) != STRAND_OK) {
    return STRAND_ADDED_ENOMEM;
  }
  t->position = offset + 1;
  if (offset <= t->described) {
    strand_run_place p = strand_runs_locate(&t->runs, offset);
    return strand_runs_kind(&t->runs, p, offset) == KIND_OPEN
             ? STRAND_ADDED
             : STRAND_ADDED_DONE;
  }
  assert(offset >= t->boundaries.frontier);
  if (t->boundaries.counted) {
    strand_boundaries_append(&t->boundaries, &t->runs, offset);
  }
  strand_runs_append(&t->runs, offset, offset);
  return STRAND_ADDED;
}

/*
** They start, and end
*/

/* One record in flight needs no payload: done, it is the commit itself. */
static size_t bound_of (const strand_offsets *t, const strand_boundaries *b) {
  int64_t range = b->frontier - strand_offsets_committable(t);
  return range <= 1 ? 0 : strand_payload_bound(range, b->cost, b->count);
}

static size_t with_reserve (size_t limit, size_t reserve_chars) {
  return limit - (reserve_chars < limit ? reserve_chars : limit);
}

/* In half the room where it is counted: not to and fro. */
static bool fits_plainly (const strand_offsets *t, int64_t offset,
                          size_t limit) {
  int64_t frontier = t->boundaries.frontier;
  int64_t committable = strand_offsets_committable(t);
  size_t room = with_reserve(limit, STRAND_OFFSETS_RESERVE(limit));
  if (offset >= frontier) frontier = offset + 1;
  return strand_payload_plain(frontier - committable)
         <= (t->boundaries.counted ? room / 2 : room);
}

/* New records stop first, then those below the frontier. 'was' is before the
** start. */
static bool fits (const strand_offsets *t, const strand_boundaries *was,
                  int64_t offset, size_t limit) {
  size_t bound = bound_of(t, &t->boundaries);
  if (bound <= with_reserve(limit, STRAND_OFFSETS_RESERVE(limit))) return true;
  return offset < was->frontier
         && bound <= with_reserve(limit, STRAND_OFFSETS_LAST_RESERVE(limit));
}

/* The lowest record of all may always start: when it ends, the payload is
** shorter. Beyond its limit already (read from another member, say), a payload
** only gains by any start below the frontier. */
static bool gains (const strand_offsets *t, const strand_boundaries *was,
                   int64_t offset, size_t limit) {
  if (offset == strand_offsets_committable(t)) return true;
  return offset < was->frontier && bound_of(t, was) > limit;
}

/* For the lowest record, which may always start. */
static bool had_room (const strand_offsets *t, const strand_boundaries *was,
                      size_t limit) {
  return bound_of(t, was) <= with_reserve(limit, STRAND_OFFSETS_LOWEST);
}

/* After a start from OPEN that is not to be. */
static void take_back (strand_offsets *t, const strand_boundaries *was,
                       int64_t offset) {
  change(t, strand_runs_locate(&t->runs, offset), offset, KIND_OPEN);
  t->boundaries = *was;
  if (!was->counted) strand_boundaries_recount(&t->boundaries, &t->runs);
}

strand_err strand_offsets_start (strand_offsets *t, int64_t offset,
                                 size_t limit) {
  strand_run_place p = strand_runs_locate(&t->runs, offset);
  strand_boundaries was;
  bool fit;
  if (strand_runs_kind(&t->runs, p, offset) != KIND_OPEN) {
    return STRAND_ENOTOPEN;
  }
  if (strand_runs_reserve(&t->runs) != STRAND_OK) return STRAND_ENOMEM;
  if (fits_plainly(t, offset, limit)) {
    t->boundaries.counted = false;
    strand_boundaries_raise(&t->boundaries, &t->runs, offset + 1);
    change(t, p, offset, KIND_FLIGHT);
    t->limit = limit;
    return STRAND_OK;
  }
  if (!t->boundaries.counted) {
    strand_boundaries_recount(&t->boundaries, &t->runs);
  }
  was = t->boundaries;
  strand_boundaries_raise(&t->boundaries, &t->runs, offset + 1);
  change(t, p, offset, KIND_FLIGHT);
  fit = fits(t, &was, offset, limit);
  if (!fit && !gains(t, &was, offset, limit)) {
    take_back(t, &was, offset);
    return STRAND_EFULL;
  }
  t->limit = fit || had_room(t, &was, limit) ? limit : NO_LIMIT;
  return STRAND_OK;
}

bool strand_offsets_may_start (strand_offsets *t, int64_t offset,
                               size_t limit) {
  strand_boundaries was;
  size_t kept = t->limit;
  if (fits_plainly(t, offset, limit)) return true;
  was = t->boundaries;
  if (strand_offsets_start(t, offset, limit) != STRAND_OK) return false;
  take_back(t, &was, offset);
  t->limit = kept;
  return true;
}

strand_err strand_offsets_finish (strand_offsets *t, int64_t offset) {
  strand_run_place p = strand_runs_locate(&t->runs, offset);
  if (strand_runs_kind(&t->runs, p, offset) != KIND_FLIGHT) {
    return STRAND_ENOTOPEN;
  }
  if (strand_runs_reserve(&t->runs) != STRAND_OK) return STRAND_ENOMEM;
  change(t, p, offset, KIND_DONE);
  t->version++;
  if (offset > t->highest) t->highest = offset;
  return STRAND_OK;
}

strand_err strand_offsets_unstart (strand_offsets *t, int64_t offset) {
  strand_run_place p = strand_runs_locate(&t->runs, offset);
  if (strand_runs_kind(&t->runs, p, offset) != KIND_FLIGHT) {
    return STRAND_ENOTOPEN;
  }
  if (strand_runs_reserve(&t->runs) != STRAND_OK) return STRAND_ENOMEM;
  change(t, p, offset, KIND_OPEN);
  return STRAND_OK;
}

/*
** Questions
*/

/* All of it is done: what is to come next. */
static int64_t end_of (const strand_offsets *t) {
  if (t->position < 0) return -1;
  return t->position > t->described ? t->position : t->described + 1;
}

int64_t strand_offsets_committable (const strand_offsets *t) {
  if (t->runs.block_count > 0) return t->runs.blocks[0]->runs[0].first;
  return end_of(t);
}

int64_t strand_offsets_position (const strand_offsets *t) {
  return t->position;
}

int64_t strand_offsets_highest (const strand_offsets *t) {
  return t->highest;
}

int64_t strand_offsets_frontier (const strand_offsets *t) {
  return t->boundaries.frontier;
}

uint64_t strand_offsets_version (const strand_offsets *t) {
  return t->version;
}

uint64_t strand_offsets_open (const strand_offsets *t) {
  return t->runs.open;
}

int strand_offsets_kind (const strand_offsets *t, int64_t offset) {
  strand_run_place p = strand_runs_locate(&t->runs, offset);
  return strand_runs_kind(&t->runs, p, offset);
}

size_t strand_offsets_bytes (const strand_offsets *t) {
  return sizeof(*t) + strand_runs_bytes(&t->runs);
}

size_t strand_offsets_bound (const strand_offsets *t) {
  strand_boundaries b = t->boundaries;
  if (!b.counted) strand_boundaries_recount(&b, &t->runs);
  return bound_of(t, &b);
}

/*
** Commits
*/

static const strand_cover nothing_more = { .below = -1 };

/* What a commit leaves open, stretch by stretch. */
typedef struct walk {
  const strand_runs *runs;
  strand_cover cover;
  strand_run_place at;
  int64_t from; /* of the run there: what is below was passed */
  size_t next;  /* of cover.offsets */
} walk;

static walk walk_of (const strand_offsets *t, strand_cover cover) {
  return (walk){ .runs = &t->runs, .cover = cover, .from = cover.below };
}

static bool is_covered (const strand_open_run *r, strand_cover cover) {
  return r->last < cover.below || (cover.flight && r->kind == KIND_FLIGHT);
}

/* The next offset that is covered by itself, from 'first' on. */
static int64_t next_offset (walk *w, int64_t first) {
  const strand_cover *c = &w->cover;
  while (w->next < c->count && c->offsets[w->next] < first) w->next++;
  return w->next < c->count ? c->offsets[w->next] : INT64_MAX;
}

/* False: there is no more. Stretches that touch come one by one. */
static bool next_open (walk *w, int64_t *first, int64_t *last) {
  const strand_open_run *r;
  for (; (r = strand_runs_at(w->runs, w->at)) != NULL;
       w->at = strand_runs_after(w->runs, w->at)) {
    int64_t covered;
    if (is_covered(r, w->cover)) continue;
    *first = r->first > w->from ? r->first : w->from;
    while ((covered = next_offset(w, *first)) == *first && *first <= r->last)
      ++*first;
    *last = covered <= r->last ? covered - 1 : r->last;
    w->from = *last + 1;
    if (*first <= *last) return true;
  }
  return false;
}

int64_t strand_offsets_committable_as (const strand_offsets *t,
                                       strand_cover cover) {
  walk w = walk_of(t, cover);
  int64_t first, last;
  return next_open(&w, &first, &last) ? first : end_of(t);
}

static int64_t highest_covered (const strand_offsets *t, strand_cover cover) {
  const strand_open_run *r;
  int64_t highest = t->highest;
  if (cover.count > 0 && cover.offsets[cover.count - 1] > highest)
    highest = cover.offsets[cover.count - 1];
  if (!cover.flight) return highest;
  for (strand_run_place p = strand_runs_last(&t->runs);
       (r = strand_runs_at(&t->runs, p)) != NULL && r->last > highest;
       p = strand_runs_before(&t->runs, p)) {
    if (r->kind == KIND_FLIGHT) return r->last;
  }
  return highest;
}

/* What is not covered, up to 'highest': OPEN and FLIGHT alike are open to a
** reader, and are joined where they touch. NULL when memory runs out. */
static strand_run *open_runs (const strand_offsets *t, strand_cover cover,
                              int64_t highest, size_t *count) {
  size_t most = (size_t)t->runs.block_count * STRAND_RUNS_BLOCK + cover.count;
  strand_run *runs = malloc((most > 0 ? most : 1) * sizeof(*runs));
  walk w = walk_of(t, cover);
  int64_t first, last;
  *count = 0;
  if (runs == NULL) return NULL;
  while (next_open(&w, &first, &last) && first <= highest) {
    if (last > highest) last = highest;
    if (*count > 0 && runs[*count - 1].last + 1 == first) {
      runs[*count - 1].last = last;
    }
    else {
      runs[*count].first = first;
      runs[(*count)++].last = last;
    }
  }
  return runs;
}

strand_err strand_offsets_payload_as (const strand_offsets *t,
                                      strand_cover cover, size_t limit,
                                      char *text, size_t *length,
                                      int64_t *committable) {
  int64_t committed = strand_offsets_committable_as(t, cover);
  int64_t highest = highest_covered(t, cover);
  const char *codec;
  strand_run *runs;
  size_t count;
  strand_err err;
  *length = 0;
  *committable = committed;
  if (committed < 0 || highest < committed) return STRAND_OK;
  runs = open_runs(t, cover, highest, &count);
  if (runs == NULL) return STRAND_ENOMEM;
  err = strand_payload_encode(committed, highest, runs, count, limit, text,
                              length, &codec);
  free(runs);
  return err;
}

strand_err strand_offsets_payload (const strand_offsets *t, size_t limit,
                                   char *text, size_t *length) {
  int64_t committable;
  return strand_offsets_payload_as(t, nothing_more, limit, text, length,
                                   &committable);
}

int64_t strand_offsets_covered (const strand_offsets *t) {
  int64_t committed = strand_offsets_committable(t), covered = t->highest + 1;
  const strand_open_run *r;
  if (committed < 0 || t->highest < committed) return committed;
  for (strand_run_place p = { 0, 0 };
       (r = strand_runs_at(&t->runs, p)) != NULL && r->first <= t->highest;
       p = strand_runs_after(&t->runs, p)) {
    covered -= (r->last < t->highest ? r->last : t->highest) - r->first + 1;
  }
  return covered;
}

strand_err strand_offsets_payload_part (const strand_offsets *t, size_t limit,
                                        char *text, size_t *length,
                                        int64_t *covered) {
  int64_t committed = strand_offsets_committable(t);
  size_t count, described;
  strand_run *runs = open_runs(t, nothing_more, t->highest, &count);
  if (runs == NULL) return STRAND_ENOMEM;
  strand_payload_encode_part(committed, runs, count, limit, text, length,
                             &described);
  *covered = described == 0 ? committed : runs[described].first;
  for (size_t i = 0; i < described; i++) {
    *covered -= runs[i].last - runs[i].first + 1;
  }
  free(runs);
  return STRAND_OK;
}

#ifndef NDEBUG

/* However the FLIGHT records end, nothing at or above the frontier is ever
** described without another start. */
static size_t bound_below (const strand_offsets *t) {
  strand_boundaries b = t->boundaries;
  b.frontier--;
  strand_boundaries_recount(&b, &t->runs);
  b.frontier++;
  return bound_of(t, &b);
}

void strand_offsets_check (const strand_offsets *t) {
  int64_t known = t->position, committable = strand_offsets_committable(t);
  const strand_open_run *first = strand_runs_at(&t->runs,
                                                (strand_run_place){ 0, 0 });
  const strand_open_run *last = strand_runs_at(&t->runs,
                                               strand_runs_last(&t->runs));
  strand_runs_check(&t->runs);
  strand_boundaries_check(&t->boundaries, &t->runs);
  assert(t->highest < t->boundaries.frontier || t->boundaries.frontier < 0);
  if (known >= 0 && t->described >= known) known = t->described + 1;
  assert(committable == (first != NULL ? first->first : known)); /* (1) */
  assert(last == NULL || last->last < known);                    /* (1) */
  assert(bound_below(t) <= t->limit);                            /* (2) */
}

#endif
