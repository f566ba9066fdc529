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

strand_lease_batch *strand_batch_new (void) {
  size_t size = (sizeof(strand_lease_batch) + 63) & ~(size_t)63;
  strand_lease_batch *batch = aligned_alloc(64, size);
  if (batch == NULL) return NULL;
  for (int i = 0; i < STRAND_LEASE_BATCH_SLOTS; i++) {
    atomic_init(&batch->staged[i], NULL);
    batch->taken[i] = NULL;
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
