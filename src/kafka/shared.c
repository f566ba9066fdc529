#include "kafka/shared.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kafka/clock.h"

#define WORKERS_MOST_US 500000  /* close NOW, when the members are gone */
#define WORKERS_LEAST_US 100000 /* they hear of it only then */

strand_consumer *strand_shared_ref (strand_consumer *c) {
  atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
  return c;
}

static void close_fds (strand_consumer *c) {
  if (c->timer_fd >= 0) close(c->timer_fd);
  if (c->wake_fd >= 0) close(c->wake_fd);
  if (c->fd >= 0) close(c->fd);
  c->timer_fd = c->wake_fd = c->fd = -1;
}

static void free_shared (strand_consumer *c) {
  c->handler.release(c->handler.config);
  strand_routes_free(&c->routes);
  strand_settings_free(&c->settings);
  strand_inboxes_free(&c->inboxes);
  strand_mailbox_destroy(&c->mailbox);
  strand_tickets_free(&c->tickets);
  strand_tally_free(&c->tally);
  strand_warnings_free(c->warnings);
  strand_events_free(c->events);
  strand_log_release(c->log);
  close_fds(c);
  strand_condition_free(&c->changed);
  strand_lock_free(&c->lock);
  free(c);
}

void strand_shared_unref (strand_consumer *c) {
  if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
    free_shared(c);
  }
}

strand_life strand_shared_life (const strand_consumer *c) {
  strand_consumer *writable = (strand_consumer *)(uintptr_t)c;
  strand_life life;
  strand_lock_take(&writable->lock);
  life = c->life;
  strand_lock_release(&writable->lock);
  return life;
}

void strand_shared_signal (strand_consumer *c) {
  eventfd_write(c->wake_fd, 1);
}

static bool something_waits_locked (strand_consumer *c) {
  return c->oauth_wanted || (c->ending && !c->ending_told)
         || strand_tickets_waiting(&c->tickets)
         || (strand_shared_all_joined(c) && !c->joined_told)
         || (c->life == STRAND_CLOSED && !c->close_told) || c->held_back
         || c->kept_back || strand_events_waiting(c->events)
         || (c->settings.has_log && !strand_log_is_empty(c->log));
}

void strand_shared_give_back_locked (strand_consumer *c) {
  if (!c->close_told || atomic_load(&c->threads) > 0) return;
  strand_inboxes_close(&c->inboxes);
  if (c->settings.has_log) strand_log_set_notify(c->log, NULL, NULL);
  close_fds(c);
}

void strand_shared_settle (strand_consumer *c) {
  eventfd_t count;
  strand_lock_take(&c->lock);
  if (c->wake_fd >= 0) {
    eventfd_read(c->wake_fd, &count);
    if (something_waits_locked(c)) strand_shared_signal(c);
  }
  strand_shared_give_back_locked(c);
  strand_lock_release(&c->lock);
}

void strand_shared_enter (strand_consumer *c) {
  strand_shared_ref(c);
  atomic_fetch_add(&c->threads, 1);
}

void strand_shared_leave (strand_consumer *c) {
  strand_lock_take(&c->lock);
  if (atomic_fetch_sub(&c->threads, 1) == 1) strand_shared_give_back_locked(c);
  strand_lock_release(&c->lock);
  strand_shared_unref(c);
}

void strand_shared_give_up_locked (strand_consumer *c, int64_t at_us) {
  struct itimerspec when = { { 0, 0 }, { 0, 0 } };
  c->give_up_us = at_us;
  when.it_value.tv_sec = at_us / 1000000;
  when.it_value.tv_nsec = at_us % 1000000 * 1000;
  if (c->timer_fd >= 0) {
    timerfd_settime(c->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
  }
  pthread_cond_broadcast(&c->changed);
}

static void wait_for_workers_locked (strand_consumer *c) {
  int64_t now_us = strand_clock_us(), until_us = c->close_deadline_us;
  if (c->close_mode == STRAND_CLOSE_NOW
      && now_us + WORKERS_MOST_US < until_us) {
    until_us = now_us + WORKERS_MOST_US;
  }
  if (until_us < now_us + WORKERS_LEAST_US) {
    until_us = now_us + WORKERS_LEAST_US;
  }
  if (until_us < c->give_up_us) strand_shared_give_up_locked(c, until_us);
}

void strand_shared_closed_locked (strand_consumer *c) {
  if (c->members_open > 0 || c->life != STRAND_CLOSING) return;
  if (c->workers_alive > 0) {
    wait_for_workers_locked(c);
    return;
  }
  c->life = STRAND_CLOSED;
  c->closed_us = strand_clock_us();
  pthread_cond_broadcast(&c->changed);
  strand_shared_signal(c);
}

void strand_shared_joined (strand_consumer *c, bool again) {
  strand_tally_join(&c->tally, !again);
  if (!again) strand_shared_signal(c);
}

void strand_shared_left (strand_consumer *c) {
  strand_tally_leave(&c->tally);
}

bool strand_shared_all_joined (strand_consumer *c) {
  strand_counts counts;
  strand_tally_read(&c->tally, &counts);
  return counts.joined >= c->inboxes.count;
}

void strand_shared_want_token (strand_consumer *c) {
  if (!c->settings.has_oauth) return; /* nobody would take the request */
  strand_lock_take(&c->lock);
  c->oauth_wanted = true;
  strand_lock_release(&c->lock);
  strand_shared_signal(c);
}

void strand_shared_event (strand_consumer *c, strand_event *event) {
  if (c->warnings != NULL) {
    strand_warnings_take(c->warnings, event, strand_clock_us());
  }
  strand_events_push(c->events, event);
  strand_shared_signal(c);
}

void strand_shared_end (strand_consumer *c, strand_close_mode mode,
                        const char *code, const char *message) {
  bool first;
  strand_lock_take(&c->lock);
  first = !c->ending;
  if (first) {
    c->ending = true;
    c->ending_mode = mode;
    strand_fail(&c->ending_reason, code, "%s", message);
  }
  strand_lock_release(&c->lock);
  if (!first) return;
  atomic_store(&c->halted, true);
  strand_shared_signal(c);
  strand_inboxes_wake(&c->inboxes);
}

void strand_shared_answer (strand_consumer *c, strand_ticket *ticket,
                           const strand_failure *failure) {
  switch (strand_ticket_answer(ticket, failure)) {
    case STRAND_ANSWER_OF_SOME: return;
    case STRAND_ANSWER_WAITS: strand_shared_signal(c); return;
    case STRAND_ANSWER_UNWANTED: strand_shared_free_ticket(ticket);
  }
}

void strand_shared_free_ticket (strand_ticket *ticket) {
  strand_consumer *c = ticket->consumer;
  strand_ticket_free(ticket);
  strand_shared_unref(c);
}
