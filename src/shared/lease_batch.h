/*
** lease_batch.h - slots of leases, which cross from an owner to the workers
** and back
**
** Recall: the owner exchanges the cursor for the end. What was not claimed
** before is the owner's again; what was, runs.
**
** A batch is counted: the owner until it has harvested every slot, the
** mailbox while it may be taken, each worker while it holds it. Nothing else
** is shared between owners and workers but the stop flag of an assignment,
** which a worker reads before each further record of a lease.
**
** Protocol:
**   (1) A slot is claimed by one worker, or recalled, never both.
**   (2) A worker writes 'done' and the outcome before ENDED (release), and
**       nothing of the slot after it.
**   (3) What a record produced is there before 'done' counts the record; once
**       a slot is over, nothing is.
**
** Thread: owner and worker, by turns: each field says who.
*/
#ifndef STRAND_LEASE_BATCH_H
#define STRAND_LEASE_BATCH_H

#include <stdatomic.h>

#include "base/waker.h"
#include "core/engine.h"
#include "shared/handler.h"
#include "shared/progress.h"
#include "shared/staged.h"

#define STRAND_LEASE_BATCH_SLOTS 256
/* Where handlers are coroutines: one that never ends keeps the memory of so
** few. */
#define STRAND_LOCAL_BATCH_SLOTS 16
/* In a slot's 'done': the record of that number has passed its deadline, and
** no other of the lease may begin. */
#define STRAND_SLOT_EXPIRED UINT32_C(0x80000000)

typedef struct strand_assigned strand_assigned;

/* Bits. MARKED, with a 'progress': the slot's mark is in its owner's list, and
** the owner looks at its end when it takes that, not before. */
typedef enum strand_slot_state {
  STRAND_SLOT_READY,
  STRAND_SLOT_ENDED = 1,
  STRAND_SLOT_MARKED = 2
} strand_slot_state;

struct strand_worker_slot;
struct strand_overdue;

/* What one call of the handler gets, of a slot with several leases. */
typedef struct strand_slot_call {
  strand_records records;
  const atomic_bool **stops; /* of its assignments: nothing of it may start */
  uint32_t stop_count;
} strand_slot_call;

/* Thread: worker. */
bool strand_slot_call_stopped (const strand_slot_call *call);

/* In lines of the cache by who writes when: the first goes to a worker and
** back, the last never leaves the owner. With a deadline 'done' is changed by
** compare-and-swap: the worker's next step, or the owner's EXPIRED. */
typedef struct strand_slot {
  /* written by the owner before the post, read by the worker */
  _Alignas(64) const strand_record *first;
  const atomic_bool *stop; /* the assignment's: no further record */
  strand_slot_call *call;  /* or NULL: 'lease' */
  int64_t deadline_us;     /* of one call of the handler; 0: none */
  uint32_t count;
  unsigned route : 31;
  unsigned exact : 1; /* 'started' is kept */
  /* written by the worker, read by the owner: 'done' and the outcome before
  ** ENDED, which is a release store (invariant 2); with a deadline both
  ** change 'done', by compare-and-swap */
  _Atomic uint32_t done;
  _Atomic uint8_t state; /* strand_slot_state */
  /* At most once, of 'lease': records that have begun, or that 'stop' has just
  ** kept from it. The worker writes it, then reads 'stop'; the owner writes
  ** 'stop', then reads it: none begins that the owner does not see. */
  _Atomic uint8_t started;
  bool has_outcome; /* there is an outcome on the record after 'done' */
  struct strand_worker_slot *worker_slot; /* whose it is, before 'began_us' */
  _Atomic int64_t began_us; /* 0: nobody's; coarse: the slot, and with a
                               deadline each record, before 'done' says so */
  /* the owner's */
  _Alignas(64) uint32_t harvested;
  bool settled;
  int64_t since_us;          /* when 'harvested' last grew */
  strand_assigned *assigned; /* the lease's partition may be gone before */
  strand_lease lease;
} strand_slot;

typedef struct strand_lease_batch {
  struct strand_lease_batch *next; /* in the mailbox */
  strand_waker *waker;             /* the owner's */
  strand_progress *progress;       /* the owner's; NULL: it looks itself */
  uint32_t capacity;
  uint32_t count;
  atomic_int refs; /* by who holds it; who is last frees it */
  /* Workers claim by fetch-and-add, the owner recalls by an exchange: so each
  ** slot is one's (invariant 1). */
  _Alignas(64) _Atomic uint32_t cursor;
  /* the owner's */
  _Alignas(
    64) struct strand_lease_batch *older; /* out, or kept for the next */
  struct strand_lease_batch *newer;       /* of those that are out */
  uint32_t records;                       /* of all slots */
  uint32_t open;       /* slots the owner has not harvested */
  uint32_t first_open; /* all before it are over */
  int64_t spread_us;   /* when all workers are woken for it */
  /* One for each slot, behind the slots: what is seldom there, so not where
  ** their lines go to and fro. */
  strand_outcome *outcomes; /* the worker's, of slots that have one */
  /* of leases: what their records produced, by the worker; and what of that
  ** the owner has taken and not used */
  strand_staged_slot *staged;
  strand_staged **taken;
  struct strand_overdue **overdue; /* the owner's, of one that runs too long */
  strand_mark *marks;              /* with a 'progress' */
  _Alignas(64) strand_slot slots[];
} strand_lease_batch;

static inline strand_outcome *strand_slot_outcome (strand_lease_batch *batch,
                                                   const strand_slot *slot) {
  return &batch->outcomes[slot - batch->slots];
}

static inline strand_staged_slot *
strand_slot_staged (strand_lease_batch *batch, const strand_slot *slot) {
  return &batch->staged[slot - batch->slots];
}

static inline strand_staged **strand_slot_taken (strand_lease_batch *batch,
                                                 const strand_slot *slot) {
  return &batch->taken[slot - batch->slots];
}

/* Thread: owner. For so many slots; nothing but (3) holds of it yet. NULL:
** memory ran out. */
strand_lease_batch *strand_batch_new (uint32_t capacity);
/* Thread: owner. Takes all slots that are not claimed out of the workers'
** reach: returns the first of them, batch->count for none. */
uint32_t strand_lease_batch_recall (strand_lease_batch *batch);
/* Thread: any. Slots that nobody has claimed. */
static inline uint32_t
strand_lease_batch_unclaimed (const strand_lease_batch *batch) {
  uint32_t at = atomic_load_explicit(&batch->cursor, memory_order_relaxed);
  return at < batch->count ? batch->count - at : 0;
}

/* Thread: worker, or the owner of what nobody has claimed. With a 'progress':
** some record of the slot has ended, or all of it has; after that nothing of it
** is the caller's. True: its owner is to be woken. */
bool strand_slot_mark (strand_lease_batch *batch, strand_slot *slot,
                       bool ended);
/* Thread: owner. Of a mark that was taken: its slot, and whether it ended. */
strand_slot *strand_mark_slot (const strand_mark *mark, bool *ended);

/* Thread: any. */
void strand_lease_batch_unref (strand_lease_batch *batch);

#endif
