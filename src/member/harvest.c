/*
** harvest.c - one slot's records back into the engine
*/
#include "member/harvest.h"

#include <stdlib.h>

#include "member/outcome.h"

/* What is left of it is of records that are not done after all. */
static void drop_staged (const strand_harvest *h, strand_lease_batch *batch,
                         const strand_slot *slot) {
  strand_staged **taken = strand_slot_taken(batch, slot), *s;
  strand_staged_take(strand_slot_staged(batch, slot), taken);
  while ((s = *taken) != NULL) {
    *taken = s->next;
    strand_shared_unstage(h->owner->consumer, s);
  }
}

void strand_harvest_end (const strand_harvest *h, strand_lease_batch *batch,
                         strand_slot *slot) {
  strand_assigned *assigned = slot->assigned;
  strand_watchdog_forget(h->watchdog, batch, slot);
  slot->settled = true;
  batch->open--;
  if (slot->call != NULL) {
    strand_batch_call_free(strand_batch_call_of(slot), h->owner->consumer);
    return;
  }
  drop_staged(h, batch, slot);
  if (--assigned->leases == 0 && assigned->partition == NULL)
    strand_assignment_drop(h->assignment, assigned);
}

static void clear_outcome (strand_outcome *v) {
  free(v->reason);
  free(v->policy_problem);
}

/* The lease ends with what its outcome says; without one, what is left goes
** back unstarted (recalled, stopped). */
static strand_err end_lease (const strand_harvest *h, strand_slot *slot,
                             strand_outcome *v, int64_t now_us) {
  strand_err err;
  if (slot->lease.count == 0) return STRAND_OK;
  if (!slot->has_outcome || v->kind == STRAND_OUTCOME_DONE) {
    return strand_engine_give_back(h->owner->engine, &slot->lease);
  }
  err = strand_outcome_end(h->owner, &slot->lease, v, now_us);
  if (err != STRAND_OK || slot->lease.count == 0) return err;
  clear_outcome(v); /* what is left of the lease has none */
  slot->has_outcome = false;
  return strand_engine_give_back(h->owner->engine, &slot->lease);
}

/* False: memory ran out; the slot is looked at again. In local mode one that
** has ended again has MARKED beside: it is looked at when its mark comes. */
static bool harvest_batch_call (const strand_harvest *h,
                                strand_lease_batch *batch, strand_slot *slot,
                                int64_t now_us, bool *found) {
  if (atomic_load_explicit(&slot->state, memory_order_acquire)
      != STRAND_SLOT_ENDED) {
    strand_watchdog_inspect(h->watchdog, batch, slot, now_us);
    return true;
  }
  *found = true;
  if (strand_batch_call_harvest(h->owner, h->assignment, h->outputs,
                                strand_batch_call_of(slot), slot->has_outcome,
                                now_us)
      != STRAND_OK)
    return false;
  strand_harvest_end(h, batch, slot);
  return true;
}

/* The first of them produced that: it is done when that is acknowledged. Of a
** stale lease nothing is sent. */
static strand_err take_staged (const strand_harvest *h, strand_slot *slot,
                               strand_staged **taken, int64_t now_us) {
  strand_staged *s = *taken;
  strand_err err = STRAND_OK;
  if (strand_engine_is_stale(&slot->lease)) {
    *taken = s->next;
    strand_shared_unstage(h->owner->consumer, s);
    return strand_engine_done(h->owner->engine, &slot->lease, 1, now_us);
  }
  err = strand_outputs_take(h->outputs, slot->assigned, &slot->lease, s);
  if (err == STRAND_OK) *taken = s->next;
  return err;
}

/* So many more records are done, or handled and have produced something. */
static strand_err end_done (const strand_harvest *h, strand_lease_batch *batch,
                            strand_slot *slot, uint32_t done, int64_t now_us) {
  strand_staged **taken = strand_slot_taken(batch, slot);
  strand_err err = STRAND_OK;
  if (strand_staging_is_open(&h->owner->consumer->staging)) {
    strand_staged_take(strand_slot_staged(batch, slot), taken);
  }
  while (err == STRAND_OK && slot->harvested < done) {
    uint32_t before = slot->lease.count;
    uint32_t next = *taken != NULL && (*taken)->index < done ? (*taken)->index
                                                             : done;
    if (next == slot->harvested) err = take_staged(h, slot, taken, now_us);
    else {
      err = strand_engine_done(h->owner->engine, &slot->lease,
                               next - slot->harvested, now_us);
    }
    slot->harvested += before - slot->lease.count;
  }
  return err;
}

static bool harvest_lease (const strand_harvest *h, strand_lease_batch *batch,
                           strand_slot *slot, int64_t now_us, bool *found) {
  uint32_t state = atomic_load_explicit(&slot->state, memory_order_acquire);
  uint32_t done = atomic_load_explicit(&slot->done, memory_order_acquire)
                  & ~STRAND_SLOT_EXPIRED;
  strand_outcome *outcome;
  if (done > slot->harvested) {
    strand_err err = end_done(h, batch, slot, done, now_us);
    slot->since_us = now_us;
    strand_watchdog_forget(h->watchdog, batch, slot);
    *found = true;
    if (err != STRAND_OK) return false;
  }
  if (state != STRAND_SLOT_ENDED) { /* with none left it is about to */
    if (slot->lease.count > 0)
      strand_watchdog_inspect(h->watchdog, batch, slot, now_us);
    return true;
  }
  *found = true;
  outcome = strand_slot_outcome(batch, slot);
  if (end_lease(h, slot, outcome, now_us) != STRAND_OK) return false;
  if (slot->has_outcome) clear_outcome(outcome);
  strand_harvest_end(h, batch, slot);
  return true;
}

bool strand_harvest_slot (const strand_harvest *h, strand_lease_batch *batch,
                          strand_slot *slot, int64_t now_us, bool *found) {
  return slot->call != NULL ? harvest_batch_call(h, batch, slot, now_us, found)
                            : harvest_lease(h, batch, slot, now_us, found);
}

strand_err strand_harvest_give_back (const strand_harvest *h,
                                     strand_slot *slot) {
  if (slot->call == NULL) {
    return strand_engine_give_back(h->owner->engine, &slot->lease);
  }
  return strand_batch_call_harvest(h->owner, h->assignment, h->outputs,
                                   strand_batch_call_of(slot), false, 0);
}
