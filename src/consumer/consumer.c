#include "consumer/consumer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/system.h"
#include "member/member.h"
#include "worker/worker.h"

/*
** Opening
*/

static bool watch_timers (strand_consumer *c, int timer_fd,
                          strand_failure *failure) {
  return strand_notifier_watch(&c->notifier, timer_fd, failure)
         && (!c->settings.is_local
             || strand_notifier_add_timer(&c->notifier, failure));
}

static bool open_fds (strand_consumer *c, strand_failure *failure) {
  int timer_fd;
  if (!strand_notifier_open(&c->notifier, failure)) return false;
  timer_fd = strand_life_open(&c->life);
  if (timer_fd >= 0) {
    return watch_timers(c, timer_fd, failure);
  }
  strand_fail_descriptor(failure, "a consumer's timerfd", errno);
  return false;
}

static bool open_members (strand_consumer *c,
                          const strand_consumer_config *config,
                          strand_failure *failure) {
  c->members = calloc(config->members, sizeof(*c->members));
  if (c->members == NULL || !strand_inboxes_init(&c->inboxes, config->members))
    return false;
  for (unsigned i = 0; i < config->members; i++) {
    c->members[i] = strand_member_new(c, i, config->kafka, config->kafka_count,
                                      failure);
    if (c->members[i] == NULL) return false;
  }
  if (strand_settings_read(&c->settings,
                           rd_kafka_conf(c->members[0]->owner.client)))
    return true;
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  return false;
}

/* The lua thread has it no more, nor its members. */
static void leave (strand_consumer *c) {
  for (unsigned i = 0; c->members != NULL && i < c->inboxes.count; i++) {
    if (c->members[i] != NULL) strand_member_unref(c->members[i]);
  }
  free(c->members);
  c->members = NULL;
  strand_shared_unref(c);
}

strand_consumer *strand_consumer_open (const strand_consumer_config *config,
                                       strand_failure *failure) {
  strand_consumer *c = strand_shared_new(config);
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  if (c == NULL) return NULL;
  if (strand_routes_init(&c->routes, config, failure)
      && open_fds(c, failure)) {
    strand_conf_warn(RD_KAFKA_CONSUMER, config->kafka, config->kafka_count,
                     c->notifier.log);
    if (open_members(c, config, failure)) {
      failure->code[0] = '\0';
      return c;
    }
  }
  leave(c);
  return NULL;
}

/*
** Starting
*/

/* Handlers are loaded when there is a thread for each worker, and else not at
** all. */
static void load_handlers (strand_consumer *c) {
  strand_limits limits = strand_settings_limits(&c->settings);
  if (c->settings.is_local) { /* its own worker has, in Lua */
    c->threads_made = true;
    return;
  }
  strand_shared_limit_workers(c, &limits);
  c->threads_made = strand_life_hire(&c->life, limits.workers)
                    && strand_workers_start(c, limits.workers,
                                            &c->start_failure);
}

/* Waits until none loads. */
static bool all_loaded (strand_consumer *c, strand_failure *failure) {
  bool loaded = strand_pool_wait(&c->pool, failure);
  if (!c->threads_made) *failure = c->start_failure;
  return loaded && c->threads_made;
}

static bool start_members (strand_consumer *c, strand_failure *failure) {
  for (unsigned i = 0; i < c->inboxes.count; i++) {
    strand_life_add_member(&c->life);
    if (strand_member_start(c->members[i], failure)) continue;
    strand_life_drop_member(&c->life);
    return false;
  }
  return true;
}

bool strand_consumer_start_begin (strand_consumer *c,
                                  strand_failure *failure) {
  if (!strand_life_start(&c->life)) {
    strand_fail(failure, "NOT_NEW", "a consumer starts once");
    return false;
  }
  c->starting = true;
  strand_pool_start(&c->pool);
  load_handlers(c);
  return true;
}

/* A close may have come while they were loaded. */
static bool end_start (strand_consumer *c, strand_failure *failure) {
  c->starting = false;
  if (!all_loaded(c, failure)) return false;
  if (strand_shared_state(c) != STRAND_NEW) {
    strand_fail(failure, "CLOSED", "the consumer was closed meanwhile");
    return false;
  }
  strand_life_run(&c->life);
  return start_members(c, failure);
}

int strand_consumer_start_done (strand_consumer *c, strand_failure *failure) {
  if (!c->starting) {
    strand_fail(failure, "NOT_NEW", "the consumer is not being started");
    return -1;
  }
  if (strand_pool_is_loading(&c->pool)) return 0;
  return end_start(c, failure) ? 1 : -1;
}

const char *strand_consumer_state (const strand_consumer *c) {
  static const char *const names[] = { "new", "running", "closing", "closed" };
  return names[strand_shared_state(c)];
}

/* A stop stays asked for: it is looked at first, so that one that came after
** the last has joined does not hide that. */
int strand_consumer_take_joined (strand_consumer *c, strand_failure *failure) {
  bool asked = strand_stop_is_asked(&c->stop, failure);
  int joined = 0;
  if (strand_shared_all_joined(c)) joined = 1;
  else if (asked) joined = -1;
  if (joined != 0) c->joined_reported = true;
  strand_shared_settle(c);
  return joined;
}

int strand_consumer_fd (strand_consumer *c) {
  return strand_notifier_fd(&c->notifier);
}

/*
** What waits to be taken
*/

bool strand_consumer_next_event (strand_consumer *c, strand_event *event) {
  if (strand_events_pop(c->notifier.events, event)) return true;
  strand_shared_settle(c);
  return strand_events_pop(c->notifier.events, event);
}

bool strand_consumer_next_log (strand_consumer *c, strand_log_line *line) {
  if (strand_log_pop(c->notifier.log, line)) return true;
  strand_shared_settle(c);
  return strand_log_pop(c->notifier.log, line) != 0;
}

void strand_consumer_hold (strand_consumer *c, bool held) {
  strand_notifier_hold(&c->notifier, held);
}

void strand_consumer_keep (strand_consumer *c, bool kept, bool full) {
  strand_notifier_keep(&c->notifier, kept, full);
  strand_shared_settle(c);
}

bool strand_consumer_oauth_needed (strand_consumer *c) {
  return strand_notifier_wants_token(&c->notifier);
}

void strand_consumer_oauth_answering (strand_consumer *c, bool on) {
  strand_notifier_answer_token(&c->notifier, on);
  strand_shared_settle(c);
}

/* Before the clients are told: what they ask after that is another request. */
static void answer_oauth (strand_consumer *c) {
  strand_notifier_want_token(&c->notifier, false);
}

/* A client that is being destroyed needs no token. */
static bool is_serving (const strand_consumer *c) {
  return strand_shared_state(c) < STRAND_CLOSING;
}

bool strand_consumer_oauth_set (strand_consumer *c, const char *token,
                                int64_t expires_ms, const char *principal,
                                strand_failure *failure) {
  char error[256];
  answer_oauth(c);
  if (!is_serving(c)) return true;
  for (unsigned i = 0; i < c->inboxes.count; i++) {
    if (strand_member_token(c->members[i], token, expires_ms, principal, error,
                            sizeof(error)))
      continue;
    strand_fail(failure, "OAUTH", "the token was refused: %s", error);
    return false;
  }
  return true;
}

void strand_consumer_oauth_fail (strand_consumer *c, const char *message) {
  answer_oauth(c);
  if (!is_serving(c)) return;
  for (unsigned i = 0; i < c->inboxes.count; i++) {
    strand_member_token_fail(c->members[i], message);
  }
}

bool strand_consumer_ending (strand_consumer *c, strand_close_mode *mode,
                             strand_failure *reason) {
  return strand_stop_waits(&c->stop, mode, reason);
}

void strand_consumer_ending_reported (strand_consumer *c) {
  strand_stop_tell(&c->stop);
}

/*
** Closing
*/

void strand_consumer_close_begin (strand_consumer *c, strand_close_mode mode,
                                  double timeout) {
  strand_shared_close(c, mode, timeout);
}

/* Told last: after it the descriptors may go. */
static void tell_closed (strand_consumer *c) {
  if (!strand_life_unreported(&c->life)) return;
  strand_mailbox_close(&c->mailbox);
  for (unsigned i = 0; i < c->inboxes.count; i++) {
    strand_member_dismiss(c->members[i]);
  }
  strand_life_tell(&c->life);
  strand_shared_settle(c);
}

bool strand_consumer_close_step (strand_consumer *c) {
  bool closed = strand_life_step(&c->life);
  if (closed) tell_closed(c);
  return closed;
}

/* Of the seconds that somebody waits: what is left is for the threads to end,
** and to say what was not done. */
static double time_to_close (double timeout) {
  if (timeout <= 0) return 1;
  return timeout > 2 ? timeout - 1 : timeout / 2;
}

void strand_consumer_end (strand_consumer *c, double timeout) {
  int64_t until_us = strand_clock_us() + (int64_t)(timeout * 1e6);
  if (strand_shared_state(c) == STRAND_CLOSED) return;
  strand_shared_close(c, STRAND_CLOSE_NOW, time_to_close(timeout));
  strand_life_wait(&c->life, until_us);
  strand_mailbox_close(&c->mailbox);
}

void strand_consumer_give_up (strand_consumer *c) {
  strand_notifier_mute(&c->notifier);
  leave(c);
}

void strand_consumer_discard (strand_consumer *c, double timeout) {
  strand_consumer_end(c, timeout);
  strand_consumer_give_up(c);
}
