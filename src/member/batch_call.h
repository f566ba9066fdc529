/*
** batch_call.h - several leases that go to one call of the handler
**
** A slot of a batch carries one where its route has batches: it is claimed,
** recalled and harvested as one, but each record has an outcome and
** each lease ends by itself.
**
**   owner                                worker
**   gathers leases, fills the records -> calls the handler once
**   each lease: done, until the first <- fills the outcomes
**   outcome that is not; what is
**   behind that goes back unstarted
**
** Thread: owner, but for what the worker reads and writes between the slot's
** claim and its end: 'call'.
*/
#ifndef STRAND_BATCH_CALL_H
#define STRAND_BATCH_CALL_H

#include "member/assignment.h"
#include "member/outputs.h"
#include "member/owner.h"
#include "shared/lease_batch.h"

/* A lease of it: the next 'count' of its records. */
typedef struct strand_part {
  strand_lease lease;
  strand_assigned *assigned; /* the lease's partition may be gone before */
  uint32_t first;
  uint32_t count;
  bool settled;
} strand_part;

typedef struct strand_batch_call {
  strand_slot_call call; /* first: what the worker gets */
  uint32_t part_count;
  strand_part parts[];
} strand_batch_call;

/* NULL: it has none. */
static inline strand_batch_call *
strand_batch_call_of (const strand_slot *slot) {
  return (strand_batch_call *)slot->call;
}

/* Room for 'most' records. NULL when memory runs out. */
strand_batch_call *strand_batch_call_new (size_t most);
/* 'first', and the leases that go to the same call. */
void strand_batch_call_fill (strand_engine *engine,
                             strand_batch_call *batch_call,
                             const strand_lease *first, int64_t now_us);
/* The slot has ended; 'has_outcome': the handler was called. STRAND_ENOMEM:
** call again. */
strand_err strand_batch_call_harvest (const strand_owner *o,
                                      strand_assignment *a,
                                      strand_outputs *outputs,
                                      strand_batch_call *batch_call,
                                      bool has_outcome, int64_t now_us);
/* The call has passed its deadline: each lease has. */
void strand_batch_call_expire (strand_engine *engine,
                               strand_batch_call *batch_call,
                               const char *reason);
/* What its records produced, and was not taken, goes with it. */
void strand_batch_call_free (strand_batch_call *batch_call,
                             strand_consumer *c);

#endif
