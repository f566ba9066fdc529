/*
** mailbox.h - where leases cross from the owners to the workers
**
**   owner                                    worker
**   1 fills the slots of a batch
**   2 strand_mailbox_post  ----------------> 3 strand_mailbox_take
**                                            4 claims a slot: fetch-and-add
**                                              on the cursor, until it is at
**                                              the end
**                                            5 reads the lease's records in
**                                              order; 'done' after each
**   7 harvests done and verdict  <---------- 6 state = ENDED, last of all
**
** Recall: the owner exchanges the cursor for the end. What was not claimed
** before is the owner's again; what was, runs.
**
** A batch is counted: the owner until it has harvested every slot, the
** mailbox while it may be taken, each worker while it holds it. Nothing else
** is shared between owners and workers but the stop flag of an assignment,
** which a worker reads before each further record of a lease.
**
** Invariants:
**   (1) A slot is claimed by one worker, or recalled, never both.
**   (2) A worker writes 'done' and the verdict before ENDED (release), and
**       nothing of the slot after it.
**   (3) An owner that sleeps is woken when a batch has no slot left to claim,
**       when a worker that ended a slot finds nothing more to do, and when a
**       record failed or took longer than a tick of the coarse clock.
**   (4) At most 'max_in_flight' workers hold a batch, and each runs one slot
**       at a time. A limit that falls takes effect with the next claim.
**
** A worker that stays in a handler past its deadline is *lost*: it neither
** serves nor is active until it comes back, so that another may take its
** place. It comes back at its next claim.
**
** Waking a thread costs more than a short handler. So a post wakes as many
** workers as have work for STRAND_WAKE_NS each, by how long slots took lately;
** where that was wrong, and slots lie unclaimed after a millisecond, the owner
** wakes the others (strand_mailbox_spread).
**
** Thread: owner posts and recalls; worker takes. One mutex for the list.
*/
#ifndef STRAND_MAILBOX_H
#define STRAND_MAILBOX_H

#include <stdatomic.h>

#include "core/engine.h"
#include "kafka/interrupt.h"
#include "kafka/handler.h"
#include "kafka/lock.h"
#include "kafka/waker.h"

#define STRAND_BATCH_SLOTS 256
#define STRAND_WAKE_NS 100000
/* In a slot's 'done': the record of that number has passed its deadline, and
** no other of the lease may begin. */
#define STRAND_SLOT_EXPIRED UINT32_C(0x80000000)

typedef struct strand_tag strand_tag;
typedef struct strand_bundle strand_bundle;

typedef enum strand_slot_state {
  STRAND_SLOT_READY,
  STRAND_SLOT_ENDED
} strand_slot_state;

struct strand_taker;

/* In lines of the cache by who writes when: the first goes to a worker and
** back, the last never leaves the owner. With a deadline 'done' is changed by
** compare-and-swap: the worker's next step, or the owner's EXPIRED. */
typedef struct strand_slot {
  /* written by the owner before the post, read by the worker */
  _Alignas(64) const strand_record *first;
  const atomic_bool *stop; /* the assignment's: no further record */
  strand_bundle *bundle;   /* or NULL: 'lease' */
  int64_t deadline_us;     /* of one call of the handler; 0: none */
  uint32_t count;
  unsigned route;
  /* written by the worker, read by the owner: 'done' and the verdict before
  ** ENDED, which is a release store (invariant 2); with a deadline both
  ** change 'done', by compare-and-swap */
  _Atomic uint32_t done;
  _Atomic uint8_t state; /* strand_slot_state */
  bool judged;           /* there is a verdict on the record after 'done' */
  struct strand_taker *taker; /* whose it is, before 'began_us' */
  _Atomic int64_t began_us;   /* 0: nobody's; coarse: the slot, and with a
                               deadline each record, before 'done' says so */
  /* the owner's */
  _Alignas(64) uint32_t harvested;
  bool over;
  int64_t since_us; /* when 'harvested' last grew */
  strand_tag *tag;  /* the lease's partition may be gone before */
  strand_lease lease;
} strand_slot;

typedef struct strand_batch {
  struct strand_batch *next; /* in the mailbox */
  strand_waker *waker;       /* the owner's */
  uint32_t count;
  atomic_int refs; /* by who holds it; who is last frees it */
  /* Workers claim by fetch-and-add, the owner recalls by an exchange: so each
  ** slot is one's (invariant 1). */
  _Alignas(64) _Atomic uint32_t cursor;
  /* the owner's */
  _Alignas(64) struct strand_batch *older; /* out, or kept for the next */
  uint32_t records;                        /* of all slots */
  uint32_t open;       /* slots the owner has not harvested */
  uint32_t first_open; /* all before it are over */
  int64_t spread_us;   /* when all workers are woken for it */
  _Alignas(64) strand_slot slots[STRAND_BATCH_SLOTS];
  strand_verdict verdicts[STRAND_BATCH_SLOTS]; /* of slots that are judged:
                              seldom, so not where their lines go to and fro */
} strand_batch;

static inline strand_verdict *strand_slot_verdict (strand_batch *batch,
                                                   const strand_slot *slot) {
  return &batch->verdicts[slot - batch->slots];
}

/* A worker's place in the mailbox. */
typedef struct strand_taker {
  strand_batch *batch; /* held, or NULL; written under lock */
  unsigned generation;
  unsigned index;             /* the worker's, from 1 */
  bool waits;                 /* until it is taken off the list */
  bool lost;                  /* lock */
  strand_interrupt interrupt; /* open while it holds a batch */
  _Atomic(char *) traceback;  /* of the handler, when it was asked for */
  struct strand_taker *below; /* in 'waiting', or in 'left' */
  strand_condition woken;
} strand_taker;

typedef struct strand_mailbox {
  strand_lock lock;
  strand_batch *first;
  strand_batch *last;
  strand_taker *waiting; /* who came last first */
  strand_taker *left;    /* kept until the mailbox goes: one that was woken
                             may have left before the signal comes */
  unsigned idle;         /* that wait */
  unsigned active;       /* workers that hold a batch, but for the lost */
  unsigned lost;         /* workers; neither active nor serving */
  unsigned max_in_flight;
  unsigned wanted; /* workers that should serve */
  unsigned serving;
  bool closed;
  /* Written under the lock, read by workers without: rises when a limit
  ** changes, come back and look. Seen late it is one more slot. */
  atomic_uint generation;
  /* Written and read by any without order: a guess, what a slot took. */
  _Atomic uint32_t slot_ns;
} strand_mailbox;

void strand_mailbox_init (strand_mailbox *m);
void strand_mailbox_destroy (strand_mailbox *m);
/* How many serve. */
unsigned strand_mailbox_limit (strand_mailbox *m, unsigned max_in_flight,
                               unsigned workers);

/* Thread: owner. Keeps a reference of its own. */
void strand_mailbox_post (strand_mailbox *m, strand_batch *batch);
/* Thread: owner. Slots lie unclaimed: wakes every worker that may run. */
void strand_mailbox_spread (strand_mailbox *m);
/* Thread: owner. Takes all slots that are not claimed out of the workers'
** reach: returns the first of them, batch->count for none. */
uint32_t strand_batch_recall (strand_batch *batch);
/* Thread: owner. Slots that nobody has claimed. */
uint32_t strand_batch_unclaimed (const strand_batch *batch);

/* Thread: any. A place for one more worker; NULL without memory. */
strand_taker *strand_mailbox_enter (strand_mailbox *m);
/* Thread: any. The worker has ended, or never began. */
void strand_mailbox_leave (strand_mailbox *m, strand_taker *taker);
/* Thread: worker. Gives back the batch it holds and takes one with slots to
** claim; waits for one. 'idle' is called without the lock before the worker
** waits. False when this worker should end: too many serve, or the mailbox
** is closed. */
bool strand_mailbox_take (strand_mailbox *m, strand_taker *taker,
                          void (*idle)(void *), void *arg);
/* Thread: worker. The next slot of its batch, or NULL: take again. */
strand_slot *strand_mailbox_claim (strand_mailbox *m, strand_taker *taker);
/* Thread: worker. It ran so many slots in that time. */
void strand_mailbox_took (strand_mailbox *m, uint32_t slots, int64_t us);
/* Thread: owner. A word to the worker that runs the slot, if one still
** does. */
void strand_mailbox_interrupt (strand_mailbox *m, strand_batch *batch,
                               strand_slot *slot, unsigned what);
/* Thread: owner. The slot's worker counts as lost until it comes back. How
** many are lost now; 0: the slot has ended. */
unsigned strand_mailbox_lose (strand_mailbox *m, strand_batch *batch,
                              strand_slot *slot);
/* Thread: any. */
unsigned strand_mailbox_lost (strand_mailbox *m);
/* Thread: any. Workers end when they come for more. */
void strand_mailbox_close (strand_mailbox *m);

void strand_batch_unref (strand_batch *batch);

#endif
