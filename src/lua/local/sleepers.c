/*
** sleepers.c - see sleepers.h
*/
#include "lua/local/sleepers.h"

#include <assert.h>
#include <stdlib.h>

bool strand_sleepers_reserve (strand_sleepers *s, uint32_t count) {
  uint32_t capacity = s->capacity > 0 ? s->capacity : 64;
  strand_sleeper **heap;
  if (count <= s->capacity) return true;
  while (capacity < count) capacity *= 2;
  heap = realloc(s->heap, (capacity + 1) * sizeof(strand_sleeper *));
  if (heap == NULL) return false;
  s->heap = heap;
  s->capacity = capacity;
  return true;
}

void strand_sleepers_free (strand_sleepers *s) {
  for (uint32_t i = 1; i <= s->count; i++) s->heap[i]->at = 0;
  free(s->heap);
  *s = (strand_sleepers){ 0 };
}

static bool is_before (const strand_sleeper *a, const strand_sleeper *b) {
  return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void set (strand_sleepers *s, uint32_t at, strand_sleeper *sleeper) {
  s->heap[at] = sleeper;
  sleeper->at = at;
}

static void rise (strand_sleepers *s, uint32_t at, strand_sleeper *sleeper) {
  while (at > 1 && is_before(sleeper, s->heap[at / 2])) {
    set(s, at, s->heap[at / 2]);
    at /= 2;
  }
  set(s, at, sleeper);
}

static void sink (strand_sleepers *s, uint32_t at, strand_sleeper *sleeper) {
  while (2 * at <= s->count) {
    uint32_t child = 2 * at;
    if (child < s->count && is_before(s->heap[child + 1], s->heap[child]))
      child++;
    if (!is_before(s->heap[child], sleeper)) break;
    set(s, at, s->heap[child]);
    at = child;
  }
  set(s, at, sleeper);
}

void strand_sleepers_add (strand_sleepers *s, strand_sleeper *sleeper,
                          int64_t due_us) {
  assert(sleeper->at == 0 && s->count < s->capacity);
  sleeper->due_us = due_us;
  sleeper->order = s->order++;
  rise(s, ++s->count, sleeper);
}

void strand_sleepers_remove (strand_sleepers *s, strand_sleeper *sleeper) {
  uint32_t at = sleeper->at;
  strand_sleeper *last;
  if (at == 0) return;
  sleeper->at = 0;
  last = s->heap[s->count--];
  if (last == sleeper) return;
  if (at > 1 && is_before(last, s->heap[at / 2])) rise(s, at, last);
  else sink(s, at, last);
}

void strand_sleepers_check (const strand_sleepers *s) {
  for (uint32_t i = 1; i <= s->count; i++) {
    assert(i == 1 || !is_before(s->heap[i], s->heap[i / 2])); /* (1) */
    assert(s->heap[i]->at == i);                              /* (2) */
  }
}
