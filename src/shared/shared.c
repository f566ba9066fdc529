#include "shared/shared.h"

#include <limits.h>
#include <stdlib.h>

static void free_shared (strand_consumer *c) {
  strand_notifier_free(&c->notifier);
  strand_life_free(&c->life);
  strand_stop_free(&c->stop);
  strand_tally_free(&c->tally);
  strand_tickets_free(&c->tickets);
  strand_pool_free(&c->pool);
  strand_mailbox_destroy(&c->mailbox);
  strand_inboxes_free(&c->inboxes);
  strand_routes_free(&c->routes);
  strand_settings_free(&c->settings);
  strand_known_topics_free(&c->staging.topics);
  free(c);
}

strand_consumer *strand_shared_new (const strand_consumer_config *config) {
  strand_consumer *c = calloc(1, sizeof(*c));
  bool made;
  if (c == NULL) {
    config->handler.release(config->handler.config);
    return NULL;
  }
  atomic_store(&c->refs, 1);
  c->staging.limit = config->dead_letters.produces ? config->max_staged_bytes
                                                   : 0;
  strand_mailbox_init(&c->mailbox);
  strand_tickets_init(&c->tickets);
  strand_tally_init(&c->tally);
  strand_stop_init(&c->stop);
  made = strand_pool_init(&c->pool, &config->handler);
  made = strand_life_init(&c->life) && made;
  made = strand_notifier_init(&c->notifier, config->has_events,
                              config->has_log)
         && made;
  made = strand_settings_init(&c->settings, config) && made;
  if (made) return c;
  strand_shared_unref(c);
  return NULL;
}

strand_consumer *strand_shared_ref (strand_consumer *c) {
  atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
  return c;
}

void strand_shared_unref (strand_consumer *c) {
  if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
    free_shared(c);
  }
}

/*
** Threads
*/

/* What still waits is taken without a descriptor. */
static void give_back (strand_consumer *c) {
  if (!strand_life_give_back(&c->life)) return;
  strand_inboxes_close(&c->inboxes);
  strand_notifier_close(&c->notifier);
}

void strand_shared_enter (strand_consumer *c) {
  strand_shared_ref(c);
  strand_life_enter(&c->life);
}

void strand_shared_leave (strand_consumer *c) {
  strand_life_leave(&c->life);
  give_back(c);
  strand_shared_unref(c);
}

strand_state strand_shared_state (const strand_consumer *c) {
  return strand_life_state(&((strand_consumer *)(uintptr_t)c)->life);
}

/*
** What the lua thread is told
*/

/* Who waits for the start looks again. */
static bool start_waits (strand_consumer *c) {
  return c->starting && strand_life_state(&c->life) == STRAND_NEW
         && !strand_pool_is_loading(&c->pool);
}

static bool something_waits (strand_consumer *c) {
  strand_close_mode mode;
  strand_failure reason;
  return strand_stop_waits(&c->stop, &mode, &reason)
         || strand_tickets_waiting(&c->tickets) || start_waits(c)
         || (!c->joined_reported && strand_shared_all_joined(c))
         || strand_life_unreported(&c->life)
         || strand_notifier_waits(&c->notifier);
}

void strand_shared_settle (strand_consumer *c) {
  strand_notifier_drain(&c->notifier);
  if (something_waits(c)) strand_notifier_renew(&c->notifier);
  give_back(c);
}

void strand_shared_event (strand_consumer *c, strand_event *event) {
  strand_notifier_event(&c->notifier, event);
}

void strand_shared_joined (strand_consumer *c, bool again) {
  strand_tally_join(&c->tally, !again);
  if (!again) strand_notifier_signal(&c->notifier);
}

void strand_shared_left (strand_consumer *c) {
  strand_tally_leave(&c->tally);
}

bool strand_shared_all_joined (strand_consumer *c) {
  strand_counts counts;
  strand_tally_read(&c->tally, &counts);
  return counts.joined >= c->inboxes.count;
}

void strand_shared_unstage (strand_consumer *c, strand_staged *staged) {
  if (strand_staged_free(staged)) strand_inboxes_wake(&c->inboxes);
}

void strand_shared_want_token (strand_consumer *c) {
  if (!c->settings.has_oauth) return; /* nobody would take the request */
  strand_notifier_want_token(&c->notifier, true);
  strand_notifier_signal(&c->notifier);
}

/*
** The end
*/

void strand_shared_end (strand_consumer *c, strand_close_mode mode,
                        const char *code, const char *message) {
  if (!strand_stop_ask(&c->stop, mode, code, message)) return;
  strand_notifier_signal(&c->notifier);
  strand_inboxes_wake(&c->inboxes);
}

/* Workers go when the last member has. */
static void take_end (strand_consumer *c, strand_ended ended) {
  if (ended.closed) strand_notifier_signal(&c->notifier);
  if (!ended.members) return;
  strand_mailbox_close(&c->mailbox);
}

void strand_shared_close (strand_consumer *c, strand_close_mode mode,
                          double timeout) {
  strand_ended ended;
  if (!strand_life_close(&c->life, mode, timeout, &ended)) return;
  strand_inboxes_tell(&c->inboxes, (strand_asked){ .close = true });
  take_end(c, ended);
  strand_inboxes_wake(&c->inboxes);
}

/* One that works on many slots knows itself how many those may be. */
unsigned strand_shared_limit_workers (strand_consumer *c,
                                      const strand_limits *limits) {
  unsigned at_once = c->settings.has_loops ? UINT_MAX
                                           : (unsigned)limits->max_in_flight;
  return strand_mailbox_limit(&c->mailbox, at_once, limits->workers);
}

void strand_shared_end_member (strand_consumer *c) {
  take_end(c, strand_life_end_member(&c->life));
}

void strand_shared_end_workers (strand_consumer *c, unsigned count) {
  if (strand_life_end_workers(&c->life, count).closed) {
    strand_notifier_signal(&c->notifier);
  }
}

/*
** Tickets
*/

void strand_shared_answer (strand_consumer *c, strand_ticket *ticket,
                           const strand_failure *failure) {
  switch (strand_ticket_answer(ticket, failure)) {
    case STRAND_ANSWER_OF_SOME: return;
    case STRAND_ANSWER_WAITS: strand_notifier_signal(&c->notifier); return;
    case STRAND_ANSWER_UNWANTED: strand_shared_free_ticket(ticket);
  }
}

void strand_shared_free_ticket (strand_ticket *ticket) {
  strand_consumer *c = ticket->consumer;
  strand_ticket_free(ticket);
  strand_shared_unref(c);
}

void strand_shared_check_parts (strand_consumer *c) {
  strand_settings_check(&c->settings);
  strand_routes_check(&c->routes);
  strand_inboxes_check(&c->inboxes);
  strand_mailbox_check(&c->mailbox);
  strand_pool_check(&c->pool);
  strand_tally_check(&c->tally);
  strand_stop_check(&c->stop);
  strand_life_check(&c->life);
  strand_notifier_check(&c->notifier);
  strand_known_topics_check(&c->staging.topics);
}
