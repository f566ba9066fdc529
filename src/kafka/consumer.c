#include "kafka/consumer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kafka/clock.h"
#include "kafka/member.h"
#include "kafka/lock.h"
#include "kafka/member.h"
#include "kafka/system.h"
#include "kafka/worker.h"

#define GIVE_UP_US 800000 /* past close's timeout */

/*
** Opening
*/

static bool make_fds (strand_consumer *c, strand_failure *failure) {
  struct epoll_event event = { .events = EPOLLIN };
  const char *what = "a consumer's eventfd";
  c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (c->wake_fd >= 0) {
    what = "a consumer's timerfd";
    c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  }
  if (c->timer_fd >= 0) {
    what = "a consumer's epoll";
    c->fd = epoll_create1(EPOLL_CLOEXEC);
  }
  if (c->fd >= 0 && epoll_ctl(c->fd, EPOLL_CTL_ADD, c->wake_fd, &event) == 0
      && epoll_ctl(c->fd, EPOLL_CTL_ADD, c->timer_fd, &event) == 0) {
    return true;
  }
  strand_fail_descriptor(failure, what, errno);
  return false;
}

static void notify (void *consumer) {
  strand_shared_signal(consumer);
}

static strand_consumer *new_shared (const strand_consumer_config *config) {
  strand_consumer *c = calloc(1, sizeof(*c));
  if (c == NULL || !strand_condition_init(&c->changed)) {
    free(c);
    return NULL;
  }
  atomic_store(&c->refs, 1);
  c->handler = config->handler;
  c->fd = c->wake_fd = c->timer_fd = -1;
  strand_lock_init(&c->lock, STRAND_RANK_CONSUMER);
  strand_mailbox_init(&c->mailbox);
  strand_tickets_init(&c->tickets);
  strand_tally_init(&c->tally);
  c->log = strand_log_new(!config->has_log);
  c->events = strand_events_new();
  if (!config->has_events) c->warnings = strand_warnings_new(c->log);
  return c;
}

static bool open_members (strand_consumer *c,
                          const strand_consumer_config *config,
                          strand_failure *failure) {
  c->members = calloc(config->members, sizeof(*c->members));
  if (c->members == NULL || !strand_inboxes_init(&c->inboxes, config->members))
    return false;
  c->member_count = config->members;
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
  for (unsigned i = 0; c->members != NULL && i < c->member_count; i++) {
    if (c->members[i] != NULL) strand_member_unref(c->members[i]);
  }
  free(c->members);
  c->members = NULL;
  strand_shared_unref(c);
}

strand_consumer *strand_consumer_open (const strand_consumer_config *config,
                                       strand_failure *failure) {
  strand_consumer *c = new_shared(config);
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  if (c == NULL) {
    config->handler.release(config->handler.config);
    return NULL;
  }
  if (strand_settings_init(&c->settings, config)
      && strand_routes_init(&c->routes, config, failure) && c->log != NULL
      && c->events != NULL && make_fds(c, failure)) {
    if (c->settings.has_log) strand_log_set_notify(c->log, notify, c);
    strand_conf_warn(RD_KAFKA_CONSUMER, config->kafka, config->kafka_count,
                     c->log);
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
static bool load_handlers (strand_consumer *c, strand_failure *failure) {
  strand_limits limits = strand_settings_limits(&c->settings);
  bool loaded;
  strand_mailbox_limit(&c->mailbox, (unsigned)limits.max_in_flight,
                       limits.workers);
  strand_lock_take(&c->lock);
  loaded = strand_workers_start_locked(c, limits.workers, failure);
  while (c->loading > 0) strand_lock_wait(&c->lock, &c->changed);
  if (loaded && c->load_failure.code[0] != '\0') {
    *failure = c->load_failure;
    loaded = false;
  }
  strand_lock_release(&c->lock);
  return loaded;
}

static bool start_members (strand_consumer *c, strand_failure *failure) {
  for (unsigned i = 0; i < c->member_count; i++) {
    strand_lock_take(&c->lock);
    c->members_open++;
    c->uncommitted++;
    strand_lock_release(&c->lock);
    if (strand_member_start(c->members[i], failure)) continue;
    strand_lock_take(&c->lock);
    c->members_open--;
    c->uncommitted--;
    strand_lock_release(&c->lock);
    return false;
  }
  return true;
}

bool strand_consumer_start (strand_consumer *c, strand_failure *failure) {
  if (strand_shared_life(c) != STRAND_NEW || c->started_us != 0) {
    strand_fail(failure, "NOT_NEW", "a consumer starts once");
    return false;
  }
  c->started_us = strand_clock_us();
  atomic_store(&c->ended_us, strand_clock_coarse_us());
  if (!load_handlers(c, failure)) return false;
  strand_lock_take(&c->lock);
  c->life = STRAND_RUNS;
  strand_lock_release(&c->lock);
  return start_members(c, failure);
}

const char *strand_consumer_state (const strand_consumer *c) {
  static const char *const names[] = { "new", "running", "closing", "closed" };
  return names[strand_shared_life(c)];
}

int strand_consumer_take_joined (strand_consumer *c, strand_failure *failure) {
  int joined = 0;
  strand_lock_take(&c->lock);
  if (strand_shared_all_joined(c)) joined = 1;
  else if (c->ending) {
    *failure = c->ending_reason;
    joined = -1;
  }
  if (joined != 0) c->joined_told = true;
  strand_lock_release(&c->lock);
  strand_shared_settle(c);
  return joined;
}

int strand_consumer_fd (strand_consumer *c) {
  int fd;
  strand_lock_take(&c->lock);
  fd = c->fd;
  strand_lock_release(&c->lock);
  return fd;
}

/*
** What waits to be taken
*/

bool strand_consumer_next_event (strand_consumer *c, strand_event *event) {
  if (strand_events_pop(c->events, event)) return true;
  strand_shared_settle(c);
  return strand_events_pop(c->events, event);
}

bool strand_consumer_next_log (strand_consumer *c, strand_log_line *line) {
  if (strand_log_pop(c->log, line)) return true;
  strand_shared_settle(c);
  return strand_log_pop(c->log, line) != 0;
}

void strand_consumer_hold (strand_consumer *c, bool held) {
  strand_lock_take(&c->lock);
  c->held_back = held;
  strand_lock_release(&c->lock);
}

void strand_consumer_keep (strand_consumer *c, bool kept) {
  strand_lock_take(&c->lock);
  c->kept_back = kept;
  strand_lock_release(&c->lock);
  strand_shared_settle(c);
}

bool strand_consumer_oauth_needed (strand_consumer *c) {
  bool needed;
  strand_lock_take(&c->lock);
  needed = c->oauth_wanted;
  strand_lock_release(&c->lock);
  return needed;
}

/* Before the clients are told: what they ask after that is another request. */
static void answer_oauth (strand_consumer *c) {
  strand_lock_take(&c->lock);
  c->oauth_wanted = false;
  strand_lock_release(&c->lock);
}

/* A client that is being destroyed needs no token. */
static bool is_serving (const strand_consumer *c) {
  return strand_shared_life(c) < STRAND_CLOSING;
}

/* Of its two clients maybe only one has tokens: the other says __STATE. */
static rd_kafka_resp_err_t set_token (strand_member *m, const char *token,
                                      int64_t expires_ms,
                                      const char *principal, char *error,
                                      size_t size) {
  rd_kafka_resp_err_t err = rd_kafka_oauthbearer_set_token(
    m->owner.client, token, expires_ms, principal, NULL, 0, error, size);
  if (!strand_outbox_is_wanted(&m->outbox)
      || (err != 0 && err != RD_KAFKA_RESP_ERR__STATE)) {
    return err;
  }
  err = strand_outbox_token(&m->outbox, token, expires_ms, principal, error,
                            size);
  return err == RD_KAFKA_RESP_ERR__STATE ? RD_KAFKA_RESP_ERR_NO_ERROR : err;
}

bool strand_consumer_oauth_set (strand_consumer *c, const char *token,
                                int64_t expires_ms, const char *principal,
                                strand_failure *failure) {
  char error[256];
  answer_oauth(c);
  if (!is_serving(c)) return true;
  for (unsigned i = 0; i < c->member_count; i++) {
    rd_kafka_resp_err_t err = set_token(c->members[i], token, expires_ms,
                                        principal, error, sizeof(error));
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
      atomic_fetch_add(&c->members[i]->signs.tokens, 1);
      continue;
    }
    strand_fail(failure, "OAUTH", "the token was refused: %s", error);
    return false;
  }
  return true;
}

void strand_consumer_oauth_fail (strand_consumer *c, const char *message) {
  answer_oauth(c);
  if (!is_serving(c)) return;
  for (unsigned i = 0; i < c->member_count; i++) {
    rd_kafka_oauthbearer_set_token_failure(c->members[i]->owner.client,
                                           message);
    strand_outbox_token_fail(&c->members[i]->outbox, message);
  }
}

bool strand_consumer_ending (strand_consumer *c, strand_close_mode *mode,
                             strand_failure *reason) {
  bool now;
  strand_lock_take(&c->lock);
  now = c->ending && !c->ending_told;
  *mode = c->ending_mode;
  *reason = c->ending_reason;
  strand_lock_release(&c->lock);
  return now;
}

void strand_consumer_ending_told (strand_consumer *c) {
  strand_lock_take(&c->lock);
  c->ending_told = c->ending;
  strand_lock_release(&c->lock);
}

/*
** Closing
*/

void strand_consumer_close_begin (strand_consumer *c, strand_close_mode mode,
                                  double timeout) {
  int64_t deadline_us = strand_clock_us() + (int64_t)(timeout * 1e6);
  bool open;
  strand_lock_take(&c->lock);
  if (c->life == STRAND_CLOSED) {
    strand_lock_release(&c->lock);
    return;
  }
  if (c->life != STRAND_CLOSING || deadline_us < c->close_deadline_us) {
    c->close_deadline_us = deadline_us;
    c->close_timeout = timeout;
  }
  if (c->life != STRAND_CLOSING || c->close_mode != STRAND_CLOSE_NOW) {
    c->close_mode = mode; /* who hurries goes on hurrying */
  }
  c->life = STRAND_CLOSING;
  strand_inboxes_tell(&c->inboxes, (strand_asked){ .close = true });
  open = c->members_open > 0;
  strand_shared_give_up_locked(c, c->close_deadline_us + GIVE_UP_US);
  strand_shared_closed_locked(c);
  strand_lock_release(&c->lock);
  if (!open) strand_mailbox_close(&c->mailbox);
  strand_inboxes_wake(&c->inboxes);
}

/* Told last: after it the descriptors may go. */
static void tell_closed (strand_consumer *c) {
  if (c->close_told) return;
  strand_mailbox_close(&c->mailbox);
  for (unsigned i = 0; i < c->member_count; i++) {
    strand_member_dismiss(c->members[i]);
  }
  strand_lock_take(&c->lock);
  strand_shared_give_up_locked(c, 0);
  c->close_told = true;
  strand_lock_release(&c->lock);
  strand_shared_settle(c);
}

bool strand_consumer_close_step (strand_consumer *c) {
  bool over;
  strand_lock_take(&c->lock);
  over = c->life == STRAND_CLOSED;
  if (!over && c->life == STRAND_CLOSING
      && strand_clock_us() >= c->give_up_us) {
    over = c->detached = true;
    c->life = STRAND_CLOSED;
    c->closed_us = strand_clock_us();
  }
  strand_lock_release(&c->lock);
  if (over) tell_closed(c);
  return over;
}

static void wait_closed (strand_consumer *c, int64_t until_us) {
  strand_lock_take(&c->lock);
  while (c->life != STRAND_CLOSED) {
    int64_t us = c->give_up_us < until_us ? c->give_up_us : until_us;
    if (strand_clock_us() >= us) break;
    strand_lock_wait_until(&c->lock, &c->changed, (double)us / 1e6);
  }
  strand_lock_release(&c->lock);
}

void strand_consumer_discard (strand_consumer *c, double timeout) {
  if (strand_shared_life(c) != STRAND_CLOSED) {
    int64_t until_us = strand_clock_us() + (int64_t)(timeout * 1e6);
    strand_consumer_close_begin(c, STRAND_CLOSE_NOW,
                                timeout > 2 ? timeout - 1 : 1);
    wait_closed(c, until_us);
    strand_mailbox_close(&c->mailbox);
  }
  if (c->settings.has_log) strand_log_set_notify(c->log, NULL, NULL);
  leave(c);
}
