/*
** mailbox.h - where leases cross from the owners to the workers
**
**   owner                                    worker
**   1 fills the slots of a batch
**   2 strand_mailbox_post  ----------------> 3 strand_mailbox_take_now, or
**                                              strand_mailbox_take
**                                            4 claims a slot: fetch-and-add
**                                              on the cursor, until it is at
**                                              the end
**                                            5 reads the lease's records in
**                                              order; 'done' after each
**   7 harvests done and outcome  <---------- 6 state = ENDED, last of all
**
** What passes is a batch of slots (lease_batch.h), which its owner may recall.
**
** An owner that sleeps is woken when a batch has no slot left to claim, when a
** worker that ended a slot finds nothing more to do, and when a record failed
** or took longer than a tick of the coarse clock.
**
** At most 'max_in_flight' workers hold a batch, and each runs one slot at a
** time. A limit that falls takes effect with the next claim.
**
** Invariants:
**   (1) Workers that wait are in the list, and counted.
**   (2) One that waits holds no batch.
**
** A worker that stays in a handler past its deadline is *lost*: it neither
** serves nor is active until it comes back, so that another may take its
** place. It comes back at its next claim, and before it leaves.
**
** Waking a thread costs more than a short handler. So a post wakes as many
** workers as have work for STRAND_WAKE_NS each, by how long slots took lately;
** where that was wrong, and slots lie unclaimed after a millisecond, the owner
** wakes the others (strand_mailbox_spread).
**
** A worker that does not wait here is *called*: the lua thread of local mode by
** its notifier, one with an event loop by its bell. These work on many slots at
** once. It claims one slot at a time, and is called when it found nothing and
** something comes, once. It *ends* when too many serve, or the mailbox is
** closed: it claims no more, and what it has begun goes on.
**
** Thread: owner posts and recalls; worker takes. One mutex for the list.
*/
#ifndef STRAND_MAILBOX_H
#define STRAND_MAILBOX_H

#include <stdatomic.h>

#include "base/interrupt.h"
#include "base/lock.h"
#include "shared/bell.h"
#include "shared/lease_batch.h"
#include "shared/notifier.h"

#define STRAND_WAKE_NS 100000

/* Where the handler of a slot was. */
typedef struct strand_traceback {
  const strand_slot *of;
  char text[];
} strand_traceback;

/* A worker's place in the mailbox. */
typedef struct strand_worker_slot {
  strand_lease_batch *batch; /* held, or NULL; written under lock */
  unsigned generation;
  unsigned index; /* the worker's, from 1 */
  bool waits;     /* lock; until it is taken off the list */
  bool lost;      /* lock */
  bool ends; /* written under lock by its worker, who alone reads it without */
  strand_interrupt interrupt; /* open while it holds a batch */
  /* Of a handler, when it was asked for: written by the worker, taken by that
  ** slot's owner. */
  _Atomic(strand_traceback *) traceback;
  /* Asked for, of a worker with an event loop: written by owners where there is
  ** none, taken by the worker. */
  _Atomic(const strand_slot *) traced;
  struct strand_worker_slot *below; /* in 'waiting', or in 'left' */
  strand_condition woken;
  bool called; /* it does not wait for that; set before it is in a list */
  strand_notifier *notifier; /* calls the lua thread; NULL: 'bell' does */
  strand_bell bell;
  struct strand_worker_slot *next_called; /* lock */
} strand_worker_slot;

typedef struct strand_mailbox {
  strand_lock lock;
  strand_lease_batch *first;
  strand_lease_batch *last;
  strand_worker_slot *waiting; /* who came last first */
  strand_worker_slot *called;  /* all of these workers */
  strand_worker_slot *left; /* kept until the mailbox goes: one that was woken
                             may have left before the signal comes */
  unsigned idle;            /* that wait */
  unsigned active;          /* workers that hold a batch, but for the lost */
  unsigned lost;            /* workers; neither active nor serving */
  unsigned max_in_flight;
  unsigned wanted; /* workers that should serve */
  unsigned serving;
  /* Written under the lock, once; local mode reads it without after each
  ** record that leaves nothing running. Seen late, its call is to come: who
  ** found nothing to do is in a list that the close reads. */
  atomic_bool closed;
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
void strand_mailbox_post (strand_mailbox *m, strand_lease_batch *batch);
/* Thread: owner. Slots lie unclaimed: wakes every worker that may run. */
void strand_mailbox_spread (strand_mailbox *m);

/* Thread: any. A place for one more worker; NULL without memory. */
strand_worker_slot *strand_mailbox_enter (strand_mailbox *m);
/* Thread: any. The worker has ended, or never began. */
void strand_mailbox_leave (strand_mailbox *m, strand_worker_slot *worker_slot);
/* Thread: worker. Gives back the batch it holds and takes one with slots to
** claim, if there is one now. */
bool strand_mailbox_take_now (strand_mailbox *m,
                              strand_worker_slot *worker_slot);
/* Thread: worker. The same, and waits for one. False when this worker should
** end: too many serve, or the mailbox is closed. */
bool strand_mailbox_take (strand_mailbox *m, strand_worker_slot *worker_slot);
/* Thread: worker that is called. From now on it is: by 'notifier', or where
** that is NULL by its bell. */
void strand_mailbox_enter_called (strand_mailbox *m,
                                  strand_worker_slot *worker_slot,
                                  strand_notifier *notifier);
/* Thread: any. Calls such a worker. */
void strand_worker_call (strand_worker_slot *worker_slot);
/* Thread: worker that is called. The next slot of any batch, which is then
** held; NULL: it is called when there is one, or it ends. */
strand_slot *strand_mailbox_next (strand_mailbox *m,
                                  strand_worker_slot *worker_slot);
/* Thread: worker that is called. Is there such a slot? Claims none. Without one
** it is called later, or ends. */
bool strand_mailbox_want_next (strand_mailbox *m,
                               strand_worker_slot *worker_slot);
/* Thread: worker that is called. What it holds goes back, and nobody calls it
** any more. */
void strand_mailbox_give_back (strand_mailbox *m,
                               strand_worker_slot *worker_slot);
/* Thread: any. */
bool strand_mailbox_is_closed (strand_mailbox *m);
/* Thread: worker. The next slot of its batch, or NULL: take again. */
strand_slot *strand_mailbox_claim (strand_mailbox *m,
                                   strand_worker_slot *worker_slot);
/* Thread: worker. It ran so many slots in that time. */
void strand_mailbox_took (strand_mailbox *m, uint32_t slots, int64_t us);
/* Thread: owner. A word to the worker that runs the slot, if one still
** does. */
void strand_mailbox_interrupt (strand_mailbox *m, strand_lease_batch *batch,
                               strand_slot *slot, unsigned what);
/* Thread: owner. The slot's worker counts as lost until it comes back. How
** many are lost now; 0: the slot has ended. */
unsigned strand_mailbox_lose (strand_mailbox *m, strand_lease_batch *batch,
                              strand_slot *slot);
/* Thread: owner. The same of a worker that is called, and works on the slot
** among others; 0: the slot has ended, or it was lost before, or it ends. */
unsigned strand_mailbox_lose_worker (strand_mailbox *m, strand_slot *slot);
/* Thread: any. */
unsigned strand_mailbox_lost (strand_mailbox *m);
/* Thread: any. So many more workers serve; one less does. */
void strand_mailbox_serve (strand_mailbox *m, unsigned workers);
unsigned strand_mailbox_unserve (strand_mailbox *m); /* how many are left */
/* Thread: any. Workers end when they come for more. */
void strand_mailbox_close (strand_mailbox *m);
/* Thread: worker. It is dropped where memory runs out. */
void strand_worker_leave_traceback (strand_worker_slot *worker_slot,
                                    const strand_slot *of, const char *text,
                                    size_t length);
/* Thread: owner. That of the slot's, or NULL; the caller frees it. */
strand_traceback *strand_worker_take_traceback (strand_slot *slot);
/* Thread: any. Between two turns of an owner, in debug builds. */
void strand_mailbox_check (strand_mailbox *m);

#endif
