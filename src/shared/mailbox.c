#include "shared/mailbox.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"

void strand_mailbox_init (strand_mailbox *m) {
  *m = (strand_mailbox){ .max_in_flight = 1, .slot_ns = STRAND_WAKE_NS };
  strand_lock_init(&m->lock, STRAND_RANK_LEAF);
}

strand_worker_slot *strand_mailbox_enter (strand_mailbox *m) {
  strand_worker_slot *worker_slot;
  strand_lock_take(&m->lock);
  worker_slot = m->left;
  if (worker_slot != NULL) m->left = worker_slot->below;
  strand_lock_release(&m->lock);
  if (worker_slot != NULL) {
    worker_slot->ends = false;
    return worker_slot;
  }
  worker_slot = calloc(1, sizeof(*worker_slot));
  if (worker_slot == NULL) return NULL;
  strand_bell_init(&worker_slot->bell);
  if (strand_condition_init(&worker_slot->woken)) return worker_slot;
  free(worker_slot);
  return NULL;
}

/* It is in no list of those who wait, when something has come by itself. */
static void delist_locked (strand_mailbox *m,
                           strand_worker_slot *worker_slot) {
  strand_worker_slot **at = &m->waiting;
  if (!worker_slot->waits) return;
  while (*at != worker_slot) at = &(*at)->below;
  *at = worker_slot->below;
  worker_slot->waits = false;
  m->idle--;
}

static void drop_called_locked (strand_mailbox *m,
                                const strand_worker_slot *worker_slot) {
  strand_worker_slot **at = &m->called;
  while (*at != NULL && *at != worker_slot) at = &(*at)->next_called;
  if (*at != NULL) *at = worker_slot->next_called;
}

void strand_mailbox_leave (strand_mailbox *m,
                           strand_worker_slot *worker_slot) {
  strand_lock_take(&m->lock);
  assert(!worker_slot->lost && worker_slot->batch == NULL);
  worker_slot->below = m->left;
  m->left = worker_slot;
  strand_lock_release(&m->lock);
}

void strand_mailbox_destroy (strand_mailbox *m) {
  while (m->first != NULL) {
    strand_lease_batch *batch = m->first;
    m->first = batch->next;
    strand_lease_batch_unref(batch);
  }
  while (m->left != NULL) {
    strand_worker_slot *worker_slot = m->left;
    m->left = worker_slot->below;
    free(atomic_load(&worker_slot->traceback));
    strand_condition_free(&worker_slot->woken);
    strand_bell_close(&worker_slot->bell);
    free(worker_slot);
  }
  strand_lock_free(&m->lock);
}

#define WAKE_ROUND 16

void strand_worker_call (strand_worker_slot *worker_slot) {
  if (worker_slot->notifier != NULL)
    strand_notifier_work(worker_slot->notifier);
  else strand_bell_ring(&worker_slot->bell);
}

static void wake (strand_worker_slot *worker_slot) {
  if (worker_slot->called) strand_worker_call(worker_slot);
  else pthread_cond_signal(&worker_slot->woken);
}

/* Called with the lock, returns without it: who is woken wants it. */
static void wake_and_unlock (strand_mailbox *m, unsigned count) {
  strand_worker_slot *woken[WAKE_ROUND];
  unsigned n;
  for (;;) {
    for (n = 0; n < WAKE_ROUND && n < count && m->waiting != NULL; n++) {
      woken[n] = m->waiting;
      m->waiting = woken[n]->below;
      woken[n]->waits = false;
      m->idle--;
    }
    strand_lock_release(&m->lock);
    for (unsigned i = 0; i < n; i++) wake(woken[i]);
    if (n < WAKE_ROUND || n == count) return;
    count -= n;
    strand_lock_take(&m->lock);
  }
}

static void enlist_locked (strand_mailbox *m,
                           strand_worker_slot *worker_slot) {
  if (worker_slot->waits) return;
  worker_slot->waits = true;
  worker_slot->below = m->waiting;
  m->waiting = worker_slot;
  m->idle++;
}

/* The same of all, also of those that have no room for more and do not wait:
** what they know has changed. */
static void wake_all_and_unlock (strand_mailbox *m) {
  strand_worker_slot *w;
  for (w = m->called; w != NULL; w = w->next_called) enlist_locked(m, w);
  wake_and_unlock(m, m->idle);
}

unsigned strand_mailbox_limit (strand_mailbox *m, unsigned max_in_flight,
                               unsigned workers) {
  unsigned serving;
  strand_lock_take(&m->lock);
  m->max_in_flight = max_in_flight;
  m->wanted = workers;
  serving = m->serving;
  atomic_fetch_add(&m->generation, 1);
  wake_all_and_unlock(m);
  return serving;
}

/* Idle workers that may run one more slot. */
static unsigned wakeable_locked (const strand_mailbox *m) {
  unsigned room = m->active < m->max_in_flight ? m->max_in_flight - m->active
                                               : 0;
  return m->idle < room ? m->idle : room;
}

void strand_mailbox_post (strand_mailbox *m, strand_lease_batch *batch) {
  uint64_t work_ns = (uint64_t)batch->count
                     * atomic_load_explicit(&m->slot_ns, memory_order_relaxed);
  uint64_t useful = work_ns / STRAND_WAKE_NS + 1;
  unsigned wake;
  if (useful > batch->count) useful = batch->count;
  atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
  batch->next = NULL;
  strand_lock_take(&m->lock);
  if (m->first == NULL) m->first = batch;
  else m->last->next = batch;
  m->last = batch;
  wake = wakeable_locked(m);
  wake_and_unlock(m, useful < wake ? (unsigned)useful : wake);
}

void strand_mailbox_spread (strand_mailbox *m) {
  strand_lock_take(&m->lock);
  wake_and_unlock(m, wakeable_locked(m));
}

/* A moving average; workers may overwrite each other's share of it. */
void strand_mailbox_took (strand_mailbox *m, uint32_t slots, int64_t us) {
  int64_t ns = slots > 0 ? us * 1000 / slots : 0;
  uint32_t was = atomic_load_explicit(&m->slot_ns, memory_order_relaxed);
  if (slots == 0) return;
  if (ns > UINT32_MAX / 4) ns = UINT32_MAX / 4;
  atomic_store_explicit(&m->slot_ns, was - was / 4 + (uint32_t)ns / 4,
                        memory_order_relaxed);
}

/* The first batch that may have something to claim. */
static strand_lease_batch *front_locked (strand_mailbox *m) {
  while (m->first != NULL && strand_lease_batch_unclaimed(m->first) == 0) {
    strand_lease_batch *batch = m->first;
    m->first = batch->next;
    strand_lease_batch_unref(batch);
  }
  return m->first;
}

static bool should_end_locked (const strand_mailbox *m) {
  return atomic_load(&m->closed) || m->serving > m->wanted;
}

static void come_back_locked (strand_mailbox *m,
                              strand_worker_slot *worker_slot) {
  if (!worker_slot->lost) return;
  worker_slot->lost = false;
  m->lost--;
  m->serving++;
  if (worker_slot->batch != NULL) m->active++;
}

static void give_back_locked (strand_mailbox *m,
                              strand_worker_slot *worker_slot) {
  come_back_locked(m, worker_slot);
  if (worker_slot->batch == NULL) return;
  strand_lease_batch_unref(worker_slot->batch);
  worker_slot->batch = NULL;
  m->active--;
}

static bool take_locked (strand_mailbox *m, strand_worker_slot *worker_slot) {
  strand_lease_batch *batch = front_locked(m);
  if (batch == NULL || m->active >= m->max_in_flight) return false;
  atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
  worker_slot->batch = batch;
  worker_slot->generation = atomic_load(&m->generation);
  m->active++;
  return true;
}

static void wait_locked (strand_mailbox *m, strand_worker_slot *worker_slot) {
  enlist_locked(m, worker_slot);
  while (worker_slot->waits) strand_lock_wait(&m->lock, &worker_slot->woken);
}

bool strand_mailbox_take_now (strand_mailbox *m,
                              strand_worker_slot *worker_slot) {
  bool taken;
  strand_lock_take(&m->lock);
  give_back_locked(m, worker_slot);
  taken = !should_end_locked(m) && take_locked(m, worker_slot);
  strand_lock_release(&m->lock);
  return taken;
}

bool strand_mailbox_take (strand_mailbox *m, strand_worker_slot *worker_slot) {
  strand_lock_take(&m->lock);
  give_back_locked(m, worker_slot);
  while (!should_end_locked(m) && !take_locked(m, worker_slot)) {
    wait_locked(m, worker_slot);
  }
  if (worker_slot->batch != NULL) {
    strand_lock_release(&m->lock);
    return true;
  }
  m->serving--;
  wake_and_unlock(m, front_locked(m) != NULL ? 1 : 0);
  return false;
}

/*
** Workers that are called
*/

void strand_mailbox_enter_called (strand_mailbox *m,
                                  strand_worker_slot *worker_slot,
                                  strand_notifier *notifier) {
  worker_slot->called = true;
  worker_slot->notifier = notifier;
  strand_lock_take(&m->lock);
  worker_slot->next_called = m->called;
  m->called = worker_slot;
  strand_lock_release(&m->lock);
}

/* True: it ends now, and another may be wanted for what lies there. */
static bool ends_locked (strand_mailbox *m, strand_worker_slot *worker_slot) {
  if (worker_slot->ends || !should_end_locked(m)) return false;
  worker_slot->ends = true;
  m->serving--;
  return true;
}

static void stay_or_leave_and_unlock (strand_mailbox *m,
                                      strand_worker_slot *worker_slot) {
  bool left = ends_locked(m, worker_slot);
  if (worker_slot->ends) delist_locked(m, worker_slot);
  else enlist_locked(m, worker_slot);
  if (left) wake_and_unlock(m, front_locked(m) != NULL ? 1 : 0);
  else strand_lock_release(&m->lock);
}

static bool try_take (strand_mailbox *m, strand_worker_slot *worker_slot) {
  strand_lock_take(&m->lock);
  give_back_locked(m, worker_slot);
  if (worker_slot->ends || should_end_locked(m)
      || !take_locked(m, worker_slot)) {
    stay_or_leave_and_unlock(m, worker_slot);
    return false;
  }
  delist_locked(m, worker_slot);
  strand_lock_release(&m->lock);
  return true;
}

strand_slot *strand_mailbox_next (strand_mailbox *m,
                                  strand_worker_slot *worker_slot) {
  strand_slot *slot = NULL;
  if (worker_slot->batch != NULL) slot = strand_mailbox_claim(m, worker_slot);
  while (slot == NULL && try_take(m, worker_slot)) {
    slot = strand_mailbox_claim(m, worker_slot);
  }
  return slot;
}

void strand_mailbox_give_back (strand_mailbox *m,
                               strand_worker_slot *worker_slot) {
  strand_lock_take(&m->lock);
  give_back_locked(m, worker_slot);
  delist_locked(m, worker_slot);
  drop_called_locked(m, worker_slot);
  strand_lock_release(&m->lock);
}

bool strand_mailbox_is_closed (strand_mailbox *m) {
  return atomic_load(&m->closed);
}

bool strand_mailbox_want_next (strand_mailbox *m,
                               strand_worker_slot *worker_slot) {
  strand_lock_take(&m->lock);
  come_back_locked(m, worker_slot);
  if (!worker_slot->ends && !should_end_locked(m) && front_locked(m) != NULL) {
    strand_lock_release(&m->lock);
    return true;
  }
  give_back_locked(m, worker_slot);
  stay_or_leave_and_unlock(m, worker_slot);
  return false;
}

strand_slot *strand_mailbox_claim (strand_mailbox *m,
                                   strand_worker_slot *worker_slot) {
  strand_lease_batch *batch = worker_slot->batch;
  uint32_t at;
  if (atomic_load_explicit(&m->generation, memory_order_relaxed)
      != worker_slot->generation)
    return NULL;
  if (strand_lease_batch_unclaimed(batch) == 0) return NULL;
  at = atomic_fetch_add_explicit(&batch->cursor, 1, memory_order_acq_rel);
  return at < batch->count ? &batch->slots[at] : NULL;
}

/* Who works on it has not left: it ends its slots before. */
static bool is_open (const strand_slot *slot) {
  return !(atomic_load_explicit(&slot->state, memory_order_acquire)
           & STRAND_SLOT_ENDED);
}

/* Its worker is in the handler: so its thread lives. */
static bool runs_locked (const strand_lease_batch *batch,
                         const strand_slot *slot) {
  return slot->worker_slot->batch == batch && is_open(slot);
}

void strand_mailbox_interrupt (strand_mailbox *m, strand_lease_batch *batch,
                               strand_slot *slot, unsigned what) {
  strand_lock_take(&m->lock);
  if (runs_locked(batch, slot)) {
    strand_interrupt_send(&slot->worker_slot->interrupt, what);
  }
  strand_lock_release(&m->lock);
}

unsigned strand_mailbox_lose (strand_mailbox *m, strand_lease_batch *batch,
                              strand_slot *slot) {
  unsigned lost;
  strand_lock_take(&m->lock);
  if (!runs_locked(batch, slot) || slot->worker_slot->lost) {
    strand_lock_release(&m->lock);
    return 0;
  }
  slot->worker_slot->lost = true;
  lost = ++m->lost;
  m->active--;
  m->serving--;
  atomic_fetch_add(&m->generation, 1); /* it comes back with its next claim */
  wake_and_unlock(m, front_locked(m) != NULL ? wakeable_locked(m) : 0);
  return lost;
}

unsigned strand_mailbox_lose_worker (strand_mailbox *m, strand_slot *slot) {
  strand_worker_slot *worker_slot = slot->worker_slot;
  unsigned lost;
  strand_lock_take(&m->lock);
  if (!is_open(slot) || worker_slot->lost || worker_slot->ends) {
    strand_lock_release(&m->lock);
    return 0;
  }
  worker_slot->lost = true;
  lost = ++m->lost;
  if (worker_slot->batch != NULL) m->active--;
  m->serving--;
  delist_locked(m, worker_slot); /* who is woken comes */
  atomic_fetch_add(&m->generation, 1);
  wake_and_unlock(m, front_locked(m) != NULL ? wakeable_locked(m) : 0);
  return lost;
}

unsigned strand_mailbox_lost (strand_mailbox *m) {
  unsigned lost;
  strand_lock_take(&m->lock);
  lost = m->lost;
  strand_lock_release(&m->lock);
  return lost;
}

void strand_mailbox_serve (strand_mailbox *m, unsigned workers) {
  strand_lock_take(&m->lock);
  m->serving += workers;
  strand_lock_release(&m->lock);
}

unsigned strand_mailbox_unserve (strand_mailbox *m) {
  unsigned left;
  strand_lock_take(&m->lock);
  left = --m->serving;
  strand_lock_release(&m->lock);
  return left;
}

void strand_mailbox_close (strand_mailbox *m) {
  strand_lock_take(&m->lock);
  atomic_store(&m->closed, true);
  wake_all_and_unlock(m);
}

/*
** Tracebacks
*/

void strand_worker_leave_traceback (strand_worker_slot *worker_slot,
                                    const strand_slot *of, const char *text,
                                    size_t length) {
  strand_traceback *t = malloc(sizeof(*t) + length + 1);
  if (t == NULL) return;
  t->of = of;
  memcpy(t->text, text, length);
  t->text[length] = '\0';
  free(atomic_exchange(&worker_slot->traceback, t));
}

/* What came too late for its own slot is worth nothing to another. */
strand_traceback *strand_worker_take_traceback (strand_slot *slot) {
  strand_traceback *t = atomic_exchange(&slot->worker_slot->traceback, NULL);
  if (t == NULL || t->of == slot) return t;
  free(t);
  return NULL;
}

void strand_mailbox_check (strand_mailbox *m) {
  unsigned idle = 0;
  strand_lock_take(&m->lock);
  for (const strand_worker_slot *t = m->waiting; t != NULL; t = t->below) {
    assert(t->waits && t->batch == NULL); /* (2) */
    idle++;
  }
  assert(idle == m->idle); /* (1) */
  strand_lock_release(&m->lock);
  (void)idle;
}
