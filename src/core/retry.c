#include "core/retry.h"

#include <assert.h>
#include <stdlib.h>

strand_err strand_retry_reserve (strand_retry *r) {
  size_t capacity = r->capacity == 0 ? 16 : r->capacity * 2;
  strand_due *grown;
  if (r->count < r->capacity) return STRAND_OK;
  grown = realloc(r->heap, capacity * sizeof(*grown));
  if (grown == NULL) return STRAND_ENOMEM;
  r->heap = grown;
  r->capacity = capacity;
  return STRAND_OK;
}

static void sift_up (strand_retry *r, size_t i) {
  strand_due moving = r->heap[i];
  while (i > 0 && r->heap[(i - 1) / 2].at_us > moving.at_us) {
    r->heap[i] = r->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  r->heap[i] = moving;
}

static void sift_down (strand_retry *r, size_t i) {
  strand_due moving = r->heap[i];
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= r->count) break;
    if (child + 1 < r->count
        && r->heap[child + 1].at_us < r->heap[child].at_us)
      child++;
    if (r->heap[child].at_us >= moving.at_us) break;
    r->heap[i] = r->heap[child];
    i = child;
  }
  r->heap[i] = moving;
}

void strand_retry_push (strand_retry *r, int64_t at_us,
                        struct strand_record *record) {
  assert(r->count < r->capacity);
  r->heap[r->count] = (strand_due){ at_us, record };
  sift_up(r, r->count++);
}

struct strand_record *strand_retry_pop (strand_retry *r, int64_t now_us) {
  struct strand_record *record;
  if (r->count == 0 || r->heap[0].at_us > now_us) return NULL;
  record = r->heap[0].record;
  r->heap[0] = r->heap[--r->count];
  if (r->count > 0) sift_down(r, 0);
  return record;
}

int64_t strand_retry_next (const strand_retry *r) {
  return r->count == 0 ? INT64_MAX : r->heap[0].at_us;
}

void strand_retry_filter (strand_retry *r,
                          bool (*drop)(const struct strand_record *, void *),
                          void *arg) {
  size_t kept = 0;
  for (size_t i = 0; i < r->count; i++) {
    if (!drop(r->heap[i].record, arg)) r->heap[kept++] = r->heap[i];
  }
  r->count = kept;
  for (size_t i = kept / 2; i-- > 0;) sift_down(r, i);
}

void strand_retry_free (strand_retry *r) {
  free(r->heap);
  *r = (strand_retry){ 0 };
}

#ifndef NDEBUG

void strand_retry_check (const strand_retry *r) {
  assert(r->count <= r->capacity); /* (2) */
  for (size_t i = 1; i < r->count; i++) {
    assert(r->heap[(i - 1) / 2].at_us <= r->heap[i].at_us); /* (1) */
  }
}

#endif
