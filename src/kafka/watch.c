/*
** watch.c - see watch.h
*/
#include "kafka/watch.h"

#include <stdlib.h>

#define USES_MAX 0xfffffu /* 20 bits beside the slot's 32 */

static int grow (strand_watches *all) {
  uint32_t size = all->size == 0 ? 16 : all->size * 2;
  strand_watch **slots;
  uint32_t *numbers;
  uint32_t i;
  if (size < all->size) return 0;
  slots = realloc(all->slots, size * sizeof(*slots));
  if (slots == NULL) return 0;
  all->slots = slots;
  numbers = realloc(all->uses, size * sizeof(*numbers));
  if (numbers == NULL) return 0;
  all->uses = numbers;
  numbers = realloc(all->free, size * sizeof(*numbers));
  if (numbers == NULL) return 0;
  all->free = numbers;
  for (i = size; i-- > all->size;) {
    all->slots[i] = NULL;
    all->uses[i] = 0;
    all->free[all->free_count++] = i;
  }
  all->size = size;
  return 1;
}

strand_watch *strand_watches_add (strand_watches *all,
                                  strand_delivery *report) {
  strand_watch *watch;
  uint32_t slot;
  if (all->free_count == 0 && !grow(all)) return NULL;
  watch = calloc(1, sizeof(*watch));
  if (watch == NULL) return NULL;
  watch->report = report;
  slot = all->free[--all->free_count];
  all->uses[slot] = (all->uses[slot] + 1) & USES_MAX;
  all->slots[slot] = watch;
  watch->id = (int64_t)all->uses[slot] << 32 | slot;
  return watch;
}

strand_watch *strand_watches_find (const strand_watches *all, int64_t id) {
  uint32_t slot = (uint32_t)id;
  strand_watch *watch = slot < all->size ? all->slots[slot] : NULL;
  return watch != NULL && watch->id == id && !watch->dropped ? watch : NULL;
}

strand_delivery *strand_watches_remove (strand_watches *all,
                                        strand_watch *watch) {
  strand_delivery *report = watch->report;
  uint32_t slot = (uint32_t)watch->id;
  if (watch->done) all->ready--;
  all->slots[slot] = NULL;
  all->free[all->free_count++] = slot;
  free(watch);
  return report;
}

void strand_watches_finish (strand_watches *all, strand_watch *watch) {
  watch->done = 1;
  all->ready++;
  if (watch->dropped) free(strand_watches_remove(all, watch));
}

void strand_watches_drop (strand_watches *all, strand_watch *watch) {
  if (watch->done) free(strand_watches_remove(all, watch));
  else watch->dropped = 1; /* its record still points here */
}

void strand_watches_destroy (strand_watches *all, int also_flying) {
  uint32_t i;
  for (i = 0; i < all->size; i++) {
    strand_watch *watch = all->slots[i];
    if (watch != NULL && (watch->done || also_flying))
      free(strand_watches_remove(all, watch));
  }
  free(all->slots);
  free(all->uses);
  free(all->free);
}
