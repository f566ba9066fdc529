/*
** bundle.h - several leases that go to one call of the handler
**
** A slot of a batch carries a bundle where its route has batches: it is
** claimed, recalled and harvested as one, but each record has a verdict and
** each lease ends by itself.
**
**   owner                                worker
**   gathers leases, fills the records -> calls the handler once
**   each lease: done, until the first <- fills the verdicts
**   verdict that is not; what is
**   behind that goes back unstarted
**
** Thread: owner, but for what the worker reads and writes between the slot's
** claim and its end: 'call'.
*/
#ifndef STRAND_BUNDLE_H
#define STRAND_BUNDLE_H

#include "member/assignment.h"
#include "member/owner.h"
#include "shared/batch.h"

/* A lease of it: the next 'count' of its records. */
typedef struct strand_part {
  strand_lease lease;
  strand_tag *tag; /* the lease's partition may be gone before */
  uint32_t first;
  uint32_t count;
  bool over;
} strand_part;

typedef struct strand_bundle {
  strand_slot_call call; /* first: what the worker gets */
  uint32_t part_count;
  strand_part parts[];
} strand_bundle;

/* NULL: it has none. */
static inline strand_bundle *strand_bundle_of (const strand_slot *slot) {
  return (strand_bundle *)slot->call;
}

/* Room for 'most' records. NULL when memory runs out. */
strand_bundle *strand_bundle_new (size_t most);
/* 'first', and the leases that go to the same call. */
void strand_bundle_fill (strand_engine *engine, strand_bundle *bundle,
                         const strand_lease *first, int64_t now_us);
/* The slot has ended; 'judged': the handler was called. STRAND_ENOMEM: call
** again. */
strand_err strand_bundle_harvest (const strand_owner *o, strand_assignment *a,
                                  strand_bundle *bundle, bool judged,
                                  int64_t now_us);
/* The call has passed its deadline: each lease has. */
void strand_bundle_expire (strand_engine *engine, strand_bundle *bundle,
                           const char *reason);
void strand_bundle_free (strand_bundle *bundle);

#endif
