#include "core/runs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void strand_runs_free (strand_runs *t) {
  for (int b = 0; b < t->block_count; b++) free(t->blocks[b]);
  free(t->spare);
  free(t->blocks);
  *t = (strand_runs){ 0 };
}

size_t strand_runs_bytes (const strand_runs *t) {
  return (size_t)t->block_capacity * sizeof(*t->blocks)
         + (size_t)(t->block_count + (t->spare != NULL))
             * sizeof(strand_run_block);
}

strand_run_place strand_runs_locate (const strand_runs *t, int64_t offset) {
  int low = 0, high = t->block_count; /* blocks[low-1] begins <= offset */
  const strand_run_block *b;
  int r_low = 0, r_high;
  while (low < high) {
    int mid = (low + high) / 2;
    if (t->blocks[mid]->runs[0].first <= offset) low = mid + 1;
    else high = mid;
  }
  if (low == 0) return (strand_run_place){ -1, 0 };
  b = t->blocks[low - 1];
  r_high = b->count;
  while (r_low < r_high) {
    int mid = (r_low + r_high) / 2;
    if (b->runs[mid].first <= offset) r_low = mid + 1;
    else r_high = mid;
  }
  return (strand_run_place){ low - 1, r_low - 1 };
}

/*
** Inserting and removing
*/

/* No change needs more than one block, since one that was just split has
** room. So no change fails half way. */
strand_err strand_runs_reserve (strand_runs *t) {
  if (t->block_count == t->block_capacity) {
    int capacity = t->block_capacity == 0 ? 4 : t->block_capacity * 2;
    strand_run_block **grown = realloc(t->blocks,
                                       (size_t)capacity * sizeof(*grown));
    if (grown == NULL) return STRAND_ENOMEM;
    t->blocks = grown;
    t->block_capacity = capacity;
  }
  if (t->spare == NULL) t->spare = malloc(sizeof(*t->spare));
  return t->spare == NULL ? STRAND_ENOMEM : STRAND_OK;
}

static strand_run_block *add_block (strand_runs *t, int b) {
  strand_run_block *fresh = t->spare;
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
static void split (strand_runs *t, strand_run_place *p) {
  strand_run_block *b = t->blocks[p->b], *next = add_block(t, p->b + 1);
  bool last = p->b + 2 == t->block_count && p->r == b->count - 1;
  int keep = last ? b->count - 1 : b->count / 2;
  next->count = b->count - keep;
  memcpy(next->runs, b->runs + keep, (size_t)next->count * sizeof(*b->runs));
  b->count = keep;
  if (p->r >= keep) *p = (strand_run_place){ p->b + 1, p->r - keep };
}

/* Puts 'run' behind the one at '*p' (b == -1: in front of all). */
static void insert_after (strand_runs *t, strand_run_place *p,
                          strand_open_run run) {
  int r = 0;
  strand_run_block *b;
  if (t->block_count == 0) add_block(t, 0);
  if (p->b >= 0) {
    if (t->blocks[p->b]->count == STRAND_RUNS_BLOCK) split(t, p);
    r = p->r + 1;
  }
  else if (t->blocks[0]->count == STRAND_RUNS_BLOCK) {
    strand_run_place first = { 0, 0 };
    split(t, &first);
  }
  b = t->blocks[p->b < 0 ? 0 : p->b];
  memmove(b->runs + r + 1, b->runs + r,
          (size_t)(b->count - r) * sizeof(*b->runs));
  b->runs[r] = run;
  b->count++;
}

static void remove_at (strand_runs *t, strand_run_place p) {
  strand_run_block *b = t->blocks[p.b];
  b->count--;
  memmove(b->runs + p.r, b->runs + p.r + 1,
          (size_t)(b->count - p.r) * sizeof(*b->runs));
  if (b->count > 0) return;
  if (t->spare == NULL) t->spare = b;
  else free(b);
  t->block_count--;
  memmove(t->blocks + p.b, t->blocks + p.b + 1,
          (size_t)(t->block_count - p.b) * sizeof(*t->blocks));
}

/*
** Changes
*/

void strand_runs_append (strand_runs *t, int64_t first, int64_t last) {
  strand_run_place end = strand_runs_last(t);
  strand_open_run *top = strand_runs_at(t, end);
  t->open += (uint64_t)(last - first + 1);
  if (top != NULL && top->kind == KIND_OPEN && top->last == first - 1) {
    top->last = last;
  }
  else {
    strand_open_run fresh = { first, last, KIND_OPEN };
    insert_after(t, &end, fresh);
  }
}

/* Joins [offset, offset] of 'kind' to its neighbours, or makes it a run. 'p'
** is the run below it (b == -1: none). */
static void join (strand_runs *t, strand_run_place p, int64_t offset,
                  int kind) {
  strand_run_place q = strand_runs_after(t, p);
  strand_open_run *below = strand_runs_at(t, p), *above = strand_runs_at(t, q);
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
    strand_open_run fresh = { offset, offset, (unsigned)kind };
    insert_after(t, &p, fresh);
  }
}

/* Takes 'offset' out of the run at 'p'; '*p' becomes the run below it. */
static void cut (strand_runs *t, strand_run_place *p, int64_t offset) {
  strand_open_run *r = strand_runs_at(t, *p);
  if (r->first == offset && r->last == offset) {
    strand_run_place q = strand_runs_before(t, *p);
    remove_at(t, *p);
    *p = q;
  }
  else if (r->first == offset) {
    r->first++;
    *p = strand_runs_before(t, *p);
  }
  else if (r->last == offset) r->last--;
  else {
    strand_open_run upper = { offset + 1, r->last, r->kind };
    r->last = offset - 1;
    insert_after(t, p, upper);
  }
}

void strand_runs_change (strand_runs *t, strand_run_place p, int64_t offset,
                         int kind) {
  cut(t, &p, offset);
  if (kind != KIND_DONE) join(t, p, offset, kind);
  else t->open--;
}

bool strand_runs_drop (strand_runs *t, int64_t from, int64_t to) {
  uint64_t open = t->open;
  strand_run_place p = strand_runs_locate(t, from);
  strand_open_run *r = strand_runs_at(t, p);
  if (r == NULL || r->last < from) p = strand_runs_after(t, p);
  while ((r = strand_runs_at(t, p)) != NULL && r->first < to) {
    int64_t first = r->first > from ? r->first : from;
    int64_t last = r->last < to - 1 ? r->last : to - 1;
    t->open -= (uint64_t)(last - first + 1);
    if (r->first < first && r->last > last) {
      strand_open_run upper = { last + 1, r->last, r->kind };
      r->last = first - 1;
      insert_after(t, &p, upper);
      break;
    }
    if (r->first < first) {
      r->last = first - 1;
      p = strand_runs_after(t, p);
    }
    else if (r->last > last) {
      r->first = last + 1;
      break;
    }
    else {
      strand_run_place below = strand_runs_before(t, p);
      remove_at(t, p);
      p = strand_runs_after(t, below);
    }
  }
  return t->open != open;
}

#ifndef NDEBUG

void strand_runs_check (const strand_runs *t) {
  int64_t last = -2;
  int kind = KIND_DONE;
  uint64_t open = 0;
  assert(t->block_count <= t->block_capacity); /* (2) */
  for (int b = 0; b < t->block_count; b++) {
    const strand_run_block *block = t->blocks[b];
    assert(block->count > 0 && block->count <= STRAND_RUNS_BLOCK); /* (2) */
    for (int r = 0; r < block->count; r++) {
      const strand_open_run *run = &block->runs[r];
      assert(run->first <= run->last && run->first > last);    /* (1) */
      assert(run->first > last + 1 || (int)run->kind != kind); /* (1) */
      assert(run->kind == KIND_OPEN || run->kind == KIND_FLIGHT);
      open += (uint64_t)(run->last - run->first + 1);
      last = run->last;
      kind = (int)run->kind;
    }
  }
  assert(open == t->open); /* (3) */
}

#endif
