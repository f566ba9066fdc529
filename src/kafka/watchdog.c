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
*/
#include <stdlib.h>

#include "kafka/bundle.h"
#include "kafka/clock.h"
#include "kafka/member.h"

#define TICK_US 4000    /* 'began_us' may be that much too early */
#define LOST_US 100000  /* after the deadline */
#define TRACE_US 100000 /* how long a traceback is waited for */
#define LOOK_US 10000   /* no more often than that for a short deadline */

struct strand_overdue {
  strand_overdue *next;
  const strand_slot *slot;
  int64_t began_us;
  int64_t expired_us; /* 0: not yet */
  bool lost;
  int64_t slow_us; /* when it is slow, or slow again */
  int64_t wait_us;
  int64_t asked_us; /* for a traceback; 0: not */
};

static int64_t min64 (int64_t a, int64_t b) {
  return a < b ? a : b;
}

int64_t strand_watchdog_deadline (const strand_member *m, unsigned route) {
  return atomic_load_explicit(&m->owner.consumer->routes[route].deadline_us,
                              memory_order_relaxed);
}

/*
** What is told
*/

static strand_event event_of (const strand_member *m, const char *type,
                              const strand_slot *slot) {
  const strand_partition *p = slot->lease.partition;
  const strand_record *r = slot->lease.record;
  strand_event event = strand_event_of(type, (int)m->owner.index);
  strand_event_set_topic(&event, strand_partition_topic(p),
                         strand_partition_index(p));
  event.epoch = slot->lease.epoch;
  event.offset = r->offset;
  event.attempt = r->attempt;
  if (r->flags & STRAND_RECORD_KEY) {
    strand_event_set_key(&event, strand_record_key(r), r->key_length);
  }
  return event;
}

static void tell_slow (strand_member *m, const strand_slot *slot,
                       const strand_overdue *o, const char *traceback,
                       int64_t now_us) {
  static const char none[] = "no traceback: the handler is in C, or in code "
                             "that LuaJIT has compiled";
  strand_event event = event_of(m, "slow_record", slot);
  if (traceback == NULL) traceback = none;
  strand_event_set_reason(&event, traceback, strlen(traceback));
  event.seconds = (double)(now_us - o->began_us) / 1e6;
  strand_owner_emit(&m->owner, &event);
}

static void tell_lost (strand_member *m, const strand_slot *slot,
                       const char *what) {
  strand_event event = event_of(m, "worker_lost", slot);
  char text[400];
  snprintf(text, sizeof(text),
           "worker %u: its handler goes on after the "
           "deadline of %g s; %.300s",
           slot->taker->index, (double)slot->deadline_us / 1e6, what);
  strand_event_set_reason(&event, text, strlen(text));
  strand_owner_emit(&m->owner, &event);
}

/*
** The deadline
*/

/* False: it has just ended. */
static bool expire (strand_member *m, strand_batch *batch, strand_slot *slot) {
  uint32_t at = slot->harvested;
  char reason[STRAND_DEADLINE_TEXT];
  if (!atomic_compare_exchange_strong_explicit(
        &slot->done, &at, at | STRAND_SLOT_EXPIRED, memory_order_acq_rel,
        memory_order_acquire))
    return false;
  strand_deadline_text(reason, slot->deadline_us);
  if (slot->bundle != NULL) strand_bundle_expire(m, slot->bundle, reason);
  else {
    strand_engine_expire(m->owner.engine, &slot->lease, reason,
                         strlen(reason));
  }
  strand_snapshot_change(&m->snapshot);
  strand_mailbox_interrupt(&m->owner.consumer->mailbox, batch, slot,
                           STRAND_INTERRUPT_END);
  return true;
}

/* What became of it. */
static const char *start_spare (strand_consumer *c, unsigned lost,
                                strand_failure *failure) {
  const char *what = "a spare takes over";
  strand_lock_take(&c->lock);
  if (lost > c->limits.workers) what = "no spare is left";
  else if (c->members_open == 0) what = "the consumer closes";
  else if (!strand_workers_start_locked(c, 1, failure)) {
    what = failure->message;
  }
  strand_lock_release(&c->lock);
  return what;
}

static void lose (strand_member *m, strand_batch *batch, strand_slot *slot) {
  strand_consumer *c = m->owner.consumer;
  unsigned lost = strand_mailbox_lose(&c->mailbox, batch, slot);
  strand_failure failure;
  if (lost > 0) tell_lost(m, slot, start_spare(c, lost, &failure));
}

static int64_t watch_deadline (strand_member *m, strand_batch *batch,
                               strand_slot *slot, strand_overdue *o,
                               int64_t now_us) {
  int64_t due = o->began_us + slot->deadline_us + TICK_US;
  if (slot->deadline_us == 0 || o->lost) return INT64_MAX;
  if (o->expired_us == 0) {
    if (now_us < due) return due;
    if (!expire(m, batch, slot)) return now_us;
    o->expired_us = now_us;
  }
  if (now_us < o->expired_us + LOST_US) return o->expired_us + LOST_US;
  o->lost = true;
  lose(m, batch, slot);
  return INT64_MAX;
}

/*
** Slow records
*/

static int64_t ask_traceback (strand_member *m, strand_batch *batch,
                              strand_slot *slot, strand_overdue *o,
                              int64_t now_us) {
  free(atomic_exchange(&slot->taker->traceback, NULL));
  strand_mailbox_interrupt(&m->owner.consumer->mailbox, batch, slot,
                           STRAND_INTERRUPT_TRACE);
  o->asked_us = now_us;
  return now_us + TRACE_US;
}

static int64_t watch_slow (strand_member *m, strand_batch *batch,
                           strand_slot *slot, strand_overdue *o,
                           int64_t now_us) {
  char *traceback;
  if (m->watchdog.slow_after_us == 0) return INT64_MAX;
  if (o->wait_us == 0) {
    o->wait_us = m->watchdog.slow_after_us;
    o->slow_us = o->began_us + o->wait_us + TICK_US;
  }
  if (now_us < o->slow_us) return o->slow_us;
  if (o->asked_us == 0) return ask_traceback(m, batch, slot, o, now_us);
  traceback = atomic_exchange(&slot->taker->traceback, NULL);
  if (traceback == NULL && now_us < o->asked_us + TRACE_US) {
    return o->asked_us + TRACE_US;
  }
  tell_slow(m, slot, o, traceback, now_us);
  free(traceback);
  o->asked_us = 0;
  while (o->slow_us <= now_us) o->slow_us = o->began_us + (o->wait_us *= 2);
  return o->slow_us;
}

/*
** Looking
*/

/* NULL without memory. */
static strand_overdue *remember (strand_member *m, const strand_slot *slot,
                                 int64_t began_us) {
  strand_overdue *o = m->watchdog.overdue;
  while (o != NULL && o->slot != slot) o = o->next;
  if (o != NULL || (o = calloc(1, sizeof(*o))) == NULL) return o;
  o->slot = slot;
  o->began_us = began_us;
  o->next = m->watchdog.overdue;
  m->watchdog.overdue = o;
  return o;
}

void strand_watchdog_forget (strand_member *m, const strand_slot *slot) {
  strand_overdue **at = &m->watchdog.overdue, *o;
  while (*at != NULL && (*at)->slot != slot) at = &(*at)->next;
  if ((o = *at) == NULL) return;
  *at = o->next;
  free(o);
}

/* 0: not yet. Without a deadline only the slot's begin is exact: a later
** record's was before the owner saw that the one before it is done. */
static int64_t began (const strand_slot *slot) {
  int64_t us = atomic_load_explicit(&slot->began_us, memory_order_acquire);
  if (us == 0 || slot->deadline_us > 0) return us;
  return us > slot->since_us ? us : slot->since_us;
}

static int64_t patience (const strand_member *m, const strand_slot *slot) {
  int64_t us = m->watchdog.slow_after_us > 0 ? m->watchdog.slow_after_us
                                             : INT64_MAX / 2;
  return slot->deadline_us > 0 ? min64(us, slot->deadline_us) : us;
}

void strand_watchdog_look (strand_member *m, strand_batch *batch,
                           strand_slot *slot, int64_t now_us) {
  int64_t began_us = began(slot), due;
  strand_overdue *o;
  if (began_us == 0) return;
  due = began_us + patience(m, slot) + TICK_US;
  if (due <= now_us) {
    o = remember(m, slot, began_us);
    due = now_us + LOST_US; /* without memory: again */
    if (o != NULL) {
      due = min64(watch_deadline(m, batch, slot, o, now_us),
                  watch_slow(m, batch, slot, o, now_us));
    }
  }
  m->watchdog.due_us = min64(m->watchdog.due_us, due);
}

int64_t strand_watchdog_due (const strand_member *m, int64_t now_us) {
  int64_t wait_us = m->handover.look_wait_us;
  int64_t brief_us = m->watchdog.slow_after_us > 0 ? m->watchdog.slow_after_us
                                                   : INT64_MAX;
  for (size_t i = 0; i < m->owner.consumer->route_count; i++) {
    int64_t deadline_us = strand_watchdog_deadline(m, (unsigned)i);
    if (deadline_us > 0) brief_us = min64(brief_us, deadline_us);
  }
  if (brief_us < LOOK_US) brief_us = LOOK_US;
  return min64(now_us + min64(wait_us, brief_us), m->watchdog.due_us);
}
