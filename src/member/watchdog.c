/*
** watchdog.c - records that stay in their handler for too long
**
**   began --- slow_after ---> a traceback is asked for -> "slow_record"
**     |                       again after twice that time, and so on
**     +------ deadline -----> EXPIRED: it has failed; an interrupt
**                                |
**                                +-- 100 ms --> its worker is lost, and a
**                                               spare starts
**
** The owner is the watchdog, by what it can see of its slots: who begins a
** record says when. It looks at them when it harvests; between two looks is at
** most the shortest deadline, so that it knows of each record in time (with
** one below 10 ms up to 10 ms late). What is found to run too long is
** remembered until it ends. The expired one's shard waits for its handler's
** return, as ever.
**
** Where handlers are coroutines nothing interrupts one. In local mode no worker
** is lost. One with an event loop is when, with an expired record, its loop has
** not turned for the deadline, and does not come when it is called.
*/
#include "member/watchdog.h"

#include <assert.h>
#include <stdlib.h>

#include "member/batch_call.h"
#include "worker/worker.h"

#define TICK_US 4000      /* 'began_us' may be that much too early */
#define LOST_US 100000    /* after the deadline */
#define TRACE_US 100000   /* how long a traceback is waited for */
#define LOOP_US 1000000   /* how long a loop has to come when it is called */
#define BRIEFEST_US 10000 /* no more often than that for a short deadline */

struct strand_overdue {
  strand_overdue *next;
  strand_overdue *previous;
  strand_overdue **place; /* of its slot, in the batch */
  int64_t began_us;
  int64_t expired_us; /* 0: not yet */
  bool lost;
  int64_t called_us; /* its worker's loop was; 0: not */
  int64_t slow_us;   /* when it is slow, or slow again */
  int64_t wait_us;
  int64_t asked_us; /* for a traceback; 0: not */
};

static int64_t min64 (int64_t a, int64_t b) {
  return a < b ? a : b;
}

void strand_watchdog_init (strand_watchdog *w, const strand_owner *owner,
                           strand_snapshot *snapshot) {
  *w = (strand_watchdog){ .owner = owner, .snapshot = snapshot };
}

void strand_watchdog_limit (strand_watchdog *w, int64_t slow_after_us) {
  w->slow_after_us = slow_after_us;
}

int64_t strand_watchdog_deadline (const strand_watchdog *w, unsigned route) {
  return strand_routes_deadline(&w->owner->consumer->routes, route);
}

/*
** What is told
*/

static void tell_slow (strand_watchdog *w, const strand_slot *slot,
                       const strand_overdue *o, const char *traceback,
                       int64_t now_us) {
  static const char in_c[] = "no traceback: the handler is in C, or in code "
                             "that LuaJIT has compiled";
  static const char waits[] = "no traceback: the handler keeps the whole "
                              "loop, or is one of many";
  static const char local[] = "the handler waits, or keeps the whole loop; "
                              "on_event is given its traceback";
  const strand_settings *settings = &w->owner->consumer->settings;
  const char *none = settings->is_local    ? local
                     : settings->has_loops ? waits
                                           : in_c;
  strand_event event = strand_owner_lease_event(w->owner, "slow_record",
                                                &slot->lease);
  if (traceback == NULL) traceback = none;
  strand_event_set_reason(&event, traceback, strlen(traceback));
  event.seconds = (double)(now_us - o->began_us) / 1e6;
  strand_owner_emit(w->owner, &event);
}

static void tell_lost (strand_watchdog *w, const strand_slot *slot,
                       const char *what) {
  strand_event event = strand_owner_lease_event(w->owner, "worker_lost",
                                                &slot->lease);
  char text[400];
  const char *how = w->owner->consumer->settings.has_loops
                      ? "its event loop has not turned for the"
                      : "its handler goes on after the";
  snprintf(text, sizeof(text), "worker %u: %s deadline of %g s; %.300s",
           slot->worker_slot->index, how, (double)slot->deadline_us / 1e6,
           what);
  strand_event_set_reason(&event, text, strlen(text));
  strand_owner_emit(w->owner, &event);
}

void strand_watchdog_report_loop (const strand_watchdog *w, int64_t since_us,
                                  int64_t now_us) {
  static const char reason[] = "records wait, and no handler can start or go "
                               "on: the program does not come back to step() "
                               "or its event loop";
  strand_loop_watch *watch = &w->owner->consumer->notifier.watch;
  int64_t us = strand_loop_watch_blocked(watch, since_us, now_us);
  strand_event event;
  if (us == 0) return;
  event = strand_owner_event(w->owner, "loop_blocked", NULL);
  strand_event_set_reason(&event, reason, strlen(reason));
  event.seconds = (double)us / 1e6;
  strand_owner_emit(w->owner, &event);
}

/*
** The deadline
*/

/* False: it has just ended. */
static bool expire (strand_watchdog *w, strand_lease_batch *batch,
                    strand_slot *slot) {
  uint32_t at = slot->harvested;
  char reason[STRAND_DEADLINE_TEXT];
  if (!atomic_compare_exchange_strong_explicit(
        &slot->done, &at, at | STRAND_SLOT_EXPIRED, memory_order_acq_rel,
        memory_order_acquire))
    return false;
  strand_deadline_text(reason, slot->deadline_us);
  if (slot->call != NULL)
    strand_batch_call_expire(w->owner->engine, strand_batch_call_of(slot),
                             reason);
  else {
    strand_engine_expire(w->owner->engine, &slot->lease, reason,
                         strlen(reason));
  }
  strand_snapshot_change(w->snapshot);
  if (!strand_settings_many(&w->owner->consumer->settings)) {
    strand_mailbox_interrupt(&w->owner->consumer->mailbox, batch, slot,
                             STRAND_INTERRUPT_END);
  }
  return true;
}

static void lose (strand_watchdog *w, strand_lease_batch *batch,
                  strand_slot *slot) {
  strand_consumer *c = w->owner->consumer;
  unsigned lost = c->settings.has_loops
                    ? strand_mailbox_lose_worker(&c->mailbox, slot)
                    : strand_mailbox_lose(&c->mailbox, batch, slot);
  strand_failure failure;
  if (lost > 0) tell_lost(w, slot, strand_workers_spare(c, lost, &failure));
}

/* A loop that has nothing to do does not turn: so it is called first. */
static int64_t watch_loop (strand_watchdog *w, strand_lease_batch *batch,
                           strand_slot *slot, strand_overdue *o,
                           int64_t now_us) {
  strand_bell *bell = &slot->worker_slot->bell;
  int64_t turned_us = atomic_load(&bell->watch.turned_us);
  if (turned_us >= o->called_us) o->called_us = 0;
  if (now_us < turned_us + slot->deadline_us)
    return turned_us + slot->deadline_us;
  if (o->called_us == 0) {
    o->called_us = now_us;
    strand_bell_ring(bell);
  }
  if (now_us < o->called_us + LOOP_US) return o->called_us + LOOP_US;
  o->lost = true;
  lose(w, batch, slot);
  return INT64_MAX;
}

static int64_t watch_deadline (strand_watchdog *w, strand_lease_batch *batch,
                               strand_slot *slot, strand_overdue *o,
                               int64_t now_us) {
  int64_t due = o->began_us + slot->deadline_us + TICK_US;
  if (slot->deadline_us == 0 || o->lost) return INT64_MAX;
  if (o->expired_us == 0) {
    if (now_us < due) return due;
    if (!expire(w, batch, slot)) return now_us;
    o->expired_us = now_us;
  }
  if (w->owner->consumer->settings.is_local) return INT64_MAX;
  if (w->owner->consumer->settings.has_loops)
    return watch_loop(w, batch, slot, o, now_us);
  if (now_us < o->expired_us + LOST_US) return o->expired_us + LOST_US;
  o->lost = true;
  lose(w, batch, slot);
  return INT64_MAX;
}

/*
** Slow records
*/

/* A loop is asked for one at a time: of the others none is waited for. */
static bool ask_loop (strand_slot *slot) {
  const strand_slot *none = NULL;
  strand_worker_slot *worker_slot = slot->worker_slot;
  if (!atomic_compare_exchange_strong(&worker_slot->traced, &none, slot))
    return false;
  strand_bell_ring(&worker_slot->bell);
  return true;
}

static void ask_no_more (const strand_slot *slot) {
  const strand_slot *asked = slot;
  atomic_compare_exchange_strong(&slot->worker_slot->traced, &asked, NULL);
}

/* False: there is none to wait for. */
static bool ask_traceback (strand_watchdog *w, strand_lease_batch *batch,
                           strand_slot *slot) {
  strand_consumer *c = w->owner->consumer;
  if (c->settings.is_local) return false;
  free(strand_worker_take_traceback(slot));
  if (c->settings.has_loops) return ask_loop(slot);
  strand_mailbox_interrupt(&c->mailbox, batch, slot, STRAND_INTERRUPT_TRACE);
  return true;
}

static int64_t watch_slow (strand_watchdog *w, strand_lease_batch *batch,
                           strand_slot *slot, strand_overdue *o,
                           int64_t now_us) {
  strand_traceback *traceback = NULL;
  if (w->slow_after_us == 0) return INT64_MAX;
  if (o->wait_us == 0) {
    o->wait_us = w->slow_after_us;
    o->slow_us = o->began_us + o->wait_us + TICK_US;
  }
  if (now_us < o->slow_us) return o->slow_us;
  if (o->asked_us == 0 && ask_traceback(w, batch, slot)) {
    o->asked_us = now_us;
    return now_us + TRACE_US;
  }
  if (o->asked_us != 0) {
    traceback = strand_worker_take_traceback(slot);
    if (traceback == NULL && now_us < o->asked_us + TRACE_US) {
      return o->asked_us + TRACE_US;
    }
    ask_no_more(slot);
  }
  tell_slow(w, slot, o, traceback != NULL ? traceback->text : NULL, now_us);
  free(traceback);
  o->asked_us = 0;
  while (o->slow_us <= now_us) o->slow_us = o->began_us + (o->wait_us *= 2);
  return o->slow_us;
}

/*
** Looking
*/

/* NULL without memory. */
static strand_overdue *remember (strand_watchdog *w, strand_lease_batch *batch,
                                 const strand_slot *slot, int64_t began_us) {
  strand_overdue **place = &batch->overdue[slot - batch->slots], *o = *place;
  if (o != NULL || (o = calloc(1, sizeof(*o))) == NULL) return o;
  *place = o;
  o->place = place;
  o->began_us = began_us;
  o->next = w->overdue;
  if (o->next != NULL) o->next->previous = o;
  w->overdue = o;
  return o;
}

void strand_watchdog_drop (strand_watchdog *w, strand_lease_batch *batch,
                           const strand_slot *slot) {
  strand_overdue *o = batch->overdue[slot - batch->slots];
  if (o == NULL) return;
  if (o->asked_us != 0) ask_no_more(slot);
  if (o->previous != NULL) o->previous->next = o->next;
  else w->overdue = o->next;
  if (o->next != NULL) o->next->previous = o->previous;
  *o->place = NULL;
  free(o);
}

/* 0: not yet. Without a deadline only the slot's begin is exact: a later
** record's was before the owner saw that the one before it is done. */
static int64_t began (const strand_slot *slot) {
  int64_t us = atomic_load_explicit(&slot->began_us, memory_order_acquire);
  if (us == 0 || slot->deadline_us > 0) return us;
  return us > slot->since_us ? us : slot->since_us;
}

static int64_t patience (const strand_watchdog *w, const strand_slot *slot) {
  int64_t us = w->slow_after_us > 0 ? w->slow_after_us : INT64_MAX / 2;
  return slot->deadline_us > 0 ? min64(us, slot->deadline_us) : us;
}

void strand_watchdog_inspect (strand_watchdog *w, strand_lease_batch *batch,
                              strand_slot *slot, int64_t now_us) {
  int64_t began_us = began(slot), due;
  strand_overdue *o;
  if (began_us == 0) return;
  due = began_us + patience(w, slot) + TICK_US;
  if (due <= now_us) {
    o = remember(w, batch, slot, began_us);
    due = now_us + LOST_US; /* without memory: again */
    if (o != NULL) {
      due = min64(watch_deadline(w, batch, slot, o, now_us),
                  watch_slow(w, batch, slot, o, now_us));
    }
  }
  w->due_us = min64(w->due_us, due);
}

void strand_watchdog_begin (strand_watchdog *w) {
  w->due_us = INT64_MAX;
}

int64_t strand_watchdog_due (const strand_watchdog *w, int64_t wait_us,
                             int64_t now_us) {
  int64_t brief_us = w->slow_after_us > 0 ? w->slow_after_us : INT64_MAX;
  for (size_t i = 0; i < w->owner->consumer->routes.count; i++) {
    int64_t deadline_us = strand_watchdog_deadline(w, (unsigned)i);
    if (deadline_us > 0) brief_us = min64(brief_us, deadline_us);
  }
  if (brief_us < BRIEFEST_US) brief_us = BRIEFEST_US;
  return min64(now_us + min64(wait_us, brief_us), w->due_us);
}

void strand_watchdog_check (const strand_watchdog *w) {
  for (const strand_overdue *o = w->overdue; o != NULL; o = o->next) {
    assert(*o->place == o);                 /* (1) */
    assert(!o->lost || o->expired_us != 0); /* (2) */
  }
}
