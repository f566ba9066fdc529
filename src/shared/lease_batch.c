/*
** lease_batch.c - slots of leases, which cross from an owner to the workers
** and back
*/
#include "shared/lease_batch.h"

#include <stdlib.h>

bool strand_slot_call_stopped (const strand_slot_call *call) {
  for (uint32_t i = 0; i < call->stop_count; i++) {
    if (atomic_load_explicit(call->stops[i], memory_order_acquire)) {
      return true;
    }
  }
  return false;
}

/* In one piece: the slots, and what stands behind them. */
strand_lease_batch *strand_batch_new (uint32_t capacity) {
  size_t slots = sizeof(strand_lease_batch) + capacity * sizeof(strand_slot);
  size_t each = sizeof(strand_outcome) + sizeof(strand_staged_slot)
                + 2 * sizeof(void *) + sizeof(strand_mark);
  size_t size = (slots + capacity * each + 63) & ~(size_t)63;
  strand_lease_batch *batch = aligned_alloc(64, size);
  if (batch == NULL) return NULL;
  batch->capacity = capacity;
  batch->outcomes = (void *)((char *)batch + slots);
  batch->marks = (void *)(batch->outcomes + capacity);
  batch->staged = (void *)(batch->marks + capacity);
  batch->taken = (void *)(batch->staged + capacity);
  batch->overdue = (void *)(batch->taken + capacity);
  for (uint32_t i = 0; i < capacity; i++) {
    atomic_init(&batch->staged[i], NULL);
    batch->taken[i] = NULL;
    batch->overdue[i] = NULL;
    batch->marks[i].batch = batch;
  }
  return batch;
}

uint32_t strand_lease_batch_recall (strand_lease_batch *batch) {
  uint32_t at = atomic_exchange_explicit(&batch->cursor, batch->count,
                                         memory_order_acq_rel);
  return at < batch->count ? at : batch->count;
}

void strand_lease_batch_unref (strand_lease_batch *batch) {
  if (atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel) == 1) {
    free(batch);
  }
}

/* The owner clears MARKED before it looks: so of two ends it sees each, and a
** slot that has ended is in the list once more at most. */
bool strand_slot_mark (strand_lease_batch *batch, strand_slot *slot,
                       bool ended) {
  uint8_t bits = STRAND_SLOT_MARKED | (ended ? STRAND_SLOT_ENDED : 0);
  strand_mark *mark = &batch->marks[slot - batch->slots];
  strand_progress *progress = batch->progress;
  uint8_t before = atomic_fetch_or_explicit(&slot->state, bits,
                                            memory_order_acq_rel);
  if (before & STRAND_SLOT_MARKED) return false;
  return strand_progress_add(progress, mark);
}

strand_slot *strand_mark_slot (const strand_mark *mark, bool *ended) {
  strand_lease_batch *batch = mark->batch;
  strand_slot *slot = &batch->slots[mark - batch->marks];
  uint8_t before = atomic_fetch_and_explicit(
    &slot->state, (uint8_t)~STRAND_SLOT_MARKED, memory_order_acq_rel);
  *ended = (before & STRAND_SLOT_ENDED) != 0;
  return slot;
}
