/*
** harvest.h - one slot's records back into the engine
**
** Thread: owner.
*/
#ifndef STRAND_HARVEST_H
#define STRAND_HARVEST_H

#include "member/batch_call.h"
#include "member/outputs.h"
#include "member/watchdog.h"

/* Borrows all; only read. */
typedef struct strand_harvest {
  const strand_owner *owner;
  strand_assignment *assignment;
  strand_watchdog *watchdog;
  strand_outputs *outputs;
} strand_harvest;

/* What is done of it, and its end. 'found': something was. False: memory ran
** out; it is to be looked at again. */
bool strand_harvest_slot (const strand_harvest *h, strand_lease_batch *batch,
                          strand_slot *slot, int64_t now_us, bool *found);
/* Nobody had claimed it. STRAND_ENOMEM: call again. */
strand_err strand_harvest_give_back (const strand_harvest *h,
                                     strand_slot *slot);
/* All of it is back. */
void strand_harvest_end (const strand_harvest *h, strand_lease_batch *batch,
                         strand_slot *slot);

#endif
