/*
** pending_reports.c - see pending_reports.h
*/
#include "producer/pending_reports.h"

#include <assert.h>
#include <stdlib.h>

#define USES_MAX 0xfffffu /* 20 bits beside the slot's 32 */
#define CHECKED_MOST 64

static bool grow (strand_pending_reports *all) {
  uint32_t size = all->size == 0 ? 16 : all->size * 2;
  strand_pending_report **slots;
  uint32_t *numbers;
  uint32_t i;
  if (size < all->size) return false;
  slots = realloc(all->slots, size * sizeof(*slots));
  if (slots == NULL) return false;
  all->slots = slots;
  numbers = realloc(all->uses, size * sizeof(*numbers));
  if (numbers == NULL) return false;
  all->uses = numbers;
  numbers = realloc(all->free, size * sizeof(*numbers));
  if (numbers == NULL) return false;
  all->free = numbers;
  for (i = size; i-- > all->size;) {
    all->slots[i] = NULL;
    all->uses[i] = 0;
    all->free[all->free_count++] = i;
  }
  all->size = size;
  return true;
}

strand_pending_report *strand_pending_reports_add (strand_pending_reports *all,
                                                   strand_delivery *report) {
  strand_pending_report *pending;
  uint32_t slot;
  if (all->free_count == 0 && !grow(all)) return NULL;
  pending = calloc(1, sizeof(*pending));
  if (pending == NULL) return NULL;
  pending->report = report;
  slot = all->free[--all->free_count];
  all->uses[slot] = (all->uses[slot] + 1) & USES_MAX;
  all->slots[slot] = pending;
  pending->id = (int64_t)all->uses[slot] << 32 | slot;
  return pending;
}

strand_pending_report *
strand_pending_reports_find (const strand_pending_reports *all, int64_t id) {
  uint32_t slot = (uint32_t)id;
  strand_pending_report *pending = slot < all->size ? all->slots[slot] : NULL;
  return pending != NULL && pending->id == id && !pending->dropped ? pending
                                                                   : NULL;
}

strand_delivery *
strand_pending_reports_remove (strand_pending_reports *all,
                               strand_pending_report *pending) {
  strand_delivery *report = pending->report;
  uint32_t slot = (uint32_t)pending->id;
  if (pending->done) all->ready--;
  all->slots[slot] = NULL;
  all->free[all->free_count++] = slot;
  free(pending);
  return report;
}

void strand_pending_reports_finish (strand_pending_reports *all,
                                    strand_pending_report *pending) {
  pending->done = true;
  all->ready++;
  if (pending->dropped) free(strand_pending_reports_remove(all, pending));
}

void strand_pending_reports_drop (strand_pending_reports *all,
                                  strand_pending_report *pending) {
  if (pending->done) free(strand_pending_reports_remove(all, pending));
  else pending->dropped = true; /* its record still points here */
}

void strand_pending_reports_destroy (strand_pending_reports *all,
                                     bool also_flying) {
  uint32_t i;
  for (i = 0; i < all->size; i++) {
    strand_pending_report *pending = all->slots[i];
    if (pending != NULL && (pending->done || also_flying))
      free(strand_pending_reports_remove(all, pending));
  }
  free(all->slots);
  free(all->uses);
  free(all->free);
}

void strand_pending_reports_check (const strand_pending_reports *all) {
  uint32_t used = 0;
  int64_t ready = 0;
  if (all->size > CHECKED_MOST) return;
  for (uint32_t i = 0; i < all->size; i++) {
    const strand_pending_report *pending = all->slots[i];
    if (pending == NULL) continue;
    assert((uint32_t)pending->id == i); /* (1) */
    used++;
    ready += pending->done;
  }
  assert(used + all->free_count == all->size); /* (1) */
  assert(ready == all->ready);                 /* (2) */
}
