/*
** local.c - see local.h
*/
#include "worker/local.h"

#include <assert.h>

/* Of max_in_flight each worker has an equal share. */
static void read_limit (strand_local *l) {
  strand_consumer *c = l->consumer;
  strand_limits limits;
  l->generation = atomic_load(&c->mailbox.generation);
  limits = strand_settings_limits(&c->settings);
  l->max_in_flight = limits.max_in_flight;
  if (l->is_worker) l->max_in_flight /= limits.workers;
}

static void enter_as_lua (strand_local *l) {
  strand_mailbox *m = &l->consumer->mailbox;
  l->watch = &l->consumer->notifier.watch;
  strand_mailbox_limit(m, 1, 1);
  strand_mailbox_serve(m, 1);
  strand_mailbox_enter_called(m, l->worker_slot, &l->consumer->notifier);
}

static void enter_as_worker (strand_local *l) {
  l->watch = &l->worker_slot->bell.watch;
  strand_mailbox_enter_called(&l->consumer->mailbox, l->worker_slot, NULL);
}

bool strand_local_open (strand_local *l, strand_consumer *c,
                        strand_worker_slot *worker_slot) {
  *l = (strand_local){ .worker_slot = worker_slot,
                       .is_worker = worker_slot != NULL };
  if (!l->is_worker) l->worker_slot = strand_mailbox_enter(&c->mailbox);
  if (l->worker_slot == NULL) return false;
  l->consumer = strand_shared_ref(c);
  read_limit(l);
  if (l->is_worker) enter_as_worker(l);
  else enter_as_lua(l);
  return true;
}

void strand_local_close (strand_local *l) {
  strand_consumer *c = l->consumer;
  if (c == NULL) return;
  strand_local_flush(l);
  strand_local_advance(l);
  strand_mailbox_give_back(&c->mailbox, l->worker_slot);
  if (!l->is_worker) strand_mailbox_leave(&c->mailbox, l->worker_slot);
  if (l->hired) strand_shared_end_workers(c, 1);
  *l = (strand_local){ 0 };
  strand_shared_unref(c);
}

void strand_local_start (strand_local *l) {
  l->hired = strand_life_hire(&l->consumer->life, 1);
}

void strand_local_limit (strand_local *l, size_t max_in_flight) {
  l->max_in_flight = max_in_flight;
}

void strand_local_halt (strand_local *l) {
  l->halted = true;
}

void strand_local_call (const strand_local *l) {
  strand_worker_call(l->worker_slot);
}

bool strand_local_note_work (const strand_local *l) {
  return strand_notifier_note_work(&l->consumer->notifier);
}

void strand_local_recall (const strand_local *l) {
  strand_notifier_renew(&l->consumer->notifier);
}

void strand_local_answer (strand_local *l) {
  strand_consumer *c = l->consumer;
  strand_loop_watch_turned(l->watch, strand_time_us(&l->consumer->time));
  if (!l->is_worker) {
    strand_notifier_take_work(&c->notifier);
    return;
  }
  strand_bell_answer(&l->worker_slot->bell);
  if (atomic_load(&c->mailbox.generation) != l->generation) read_limit(l);
}

void strand_local_remind (strand_local *l, int64_t due_us) {
  if (l->is_worker) strand_bell_remind(&l->worker_slot->bell, due_us);
  else strand_notifier_remind(&l->consumer->notifier, due_us);
}

/*
** Leases
*/

/* Of local mode: nothing runs, and nothing will. */
static bool may_leave (const strand_local *l) {
  return l->hired && l->running == 0
         && strand_mailbox_is_closed(&l->consumer->mailbox);
}

/* Who waits for that is to look. */
static void tell_ended (const strand_local *l) {
  if (l->is_worker ? strand_local_has_ended(l) : may_leave(l))
    strand_local_call(l);
}

static bool is_halted (const strand_local *l) {
  return l->halted || (l->obeys && strand_stop_halts(&l->consumer->stop));
}

bool strand_local_want_work (const strand_local *l) {
  if (is_halted(l) || !strand_local_has_room(l)) return false;
  if (strand_mailbox_want_next(&l->consumer->mailbox, l->worker_slot))
    return true;
  tell_ended(l);
  return false;
}

/* The owner's next batch is due. One that looks by itself needs no word. */
static void tell_claimed (const strand_lease_batch *batch,
                          const strand_slot *slot) {
  if (slot == &batch->slots[batch->count - 1]
      && !atomic_load_explicit(&batch->progress->polling,
                               memory_order_relaxed))
    strand_waker_wake(batch->waker);
}

/* Of a slot that nothing more is done with: it is the owner's after this. */
static void mark (strand_local *l, strand_lease_batch *batch,
                  strand_slot *slot, bool ended) {
  strand_waker *waker = batch->waker;
  if (strand_slot_mark(batch, slot, ended)) strand_waker_wake(waker);
  else l->dirty = true;
}

bool strand_local_begin (strand_local *l, strand_handling *h) {
  strand_consumer *c = l->consumer;
  strand_slot *slot;
  while (!is_halted(l) && strand_local_has_room(l)
         && (slot = strand_mailbox_next(&c->mailbox, l->worker_slot))
              != NULL) {
    strand_lease_batch *batch = l->worker_slot->batch;
    int64_t now_us = strand_time_coarse_us(&c->time);
    tell_claimed(batch, slot);
    h->consumer = c;
    slot->worker_slot = l->worker_slot;
    if (strand_handling_begin(h, batch, slot, now_us)) {
      l->running++;
      l->begun++;
      strand_pool_begin(&c->pool, now_us);
      return true;
    }
    h->slot = NULL;
    mark(l, batch, slot, true);
  }
  tell_ended(l);
  return false;
}

void strand_local_end (strand_local *l, strand_handling *h) {
  strand_consumer *c = l->consumer;
  strand_slot *slot = h->slot;
  h->slot = NULL;
  l->running--;
  strand_pool_ended(&c->pool, strand_time_coarse_us(&c->time));
  strand_pool_end(&c->pool);
  mark(l, h->batch, slot, true);
  tell_ended(l);
}

/* What is done of a longer lease the owner hears of before its end. */
bool strand_local_next (strand_local *l, strand_handling *h) {
  if (strand_handling_next(h) && !is_halted(l)) {
    mark(l, h->batch, h->slot, false);
    return true;
  }
  strand_local_end(l, h);
  return false;
}

void strand_local_flush (strand_local *l) {
  const strand_inboxes *in = &l->consumer->inboxes;
  if (!l->dirty) return;
  l->dirty = false;
  for (unsigned i = 0; i < in->count; i++) {
    if (strand_progress_waits(&in->each[i].progress))
      strand_waker_wake(&in->each[i].waker);
  }
}

void strand_local_advance (strand_local *l) {
  if (!may_leave(l)) return;
  l->hired = false;
  strand_shared_end_workers(l->consumer, 1);
}

void strand_local_check (const strand_local *l) {
  assert(l->is_worker
         || l->running == strand_pool_busy(&l->consumer->pool)); /* (1) */
  assert(!l->hired || l->worker_slot != NULL);                   /* (2) */
  (void)l;
}
