/*
** notifier.c - what waits for the lua thread to take, and what tells of it
*/
#include "shared/notifier.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/system.h"

bool strand_notifier_init (strand_notifier *p, bool has_events, bool has_log) {
  *p = (strand_notifier){
    .has_log = has_log, .fd = -1, .wake_fd = -1, .timer_fd = -1
  };
  strand_lock_init(&p->lock, STRAND_RANK_LEAF);
  p->log = strand_log_new(!has_log);
  p->events = strand_events_new();
  if (!has_events) p->warnings = strand_warnings_new(p->log);
  return p->log != NULL && p->events != NULL;
}

static void close_fds (strand_notifier *p) {
  if (p->wake_fd >= 0) close(p->wake_fd);
  if (p->fd >= 0) close(p->fd);
  if (p->timer_fd >= 0) close(p->timer_fd);
  p->wake_fd = p->fd = p->timer_fd = -1;
}

void strand_notifier_free (strand_notifier *p) {
  if (p->log != NULL) strand_log_set_fd(p->log, -1);
  close_fds(p);
  strand_warnings_free(p->warnings);
  strand_events_free(p->events);
  if (p->log != NULL) strand_log_release(p->log);
  strand_lock_free(&p->lock);
}

bool strand_notifier_open (strand_notifier *p, strand_failure *failure) {
  p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (p->wake_fd >= 0) return true;
  strand_fail_descriptor(failure, "a consumer's eventfd", errno);
  return false;
}

bool strand_notifier_watch (strand_notifier *p, int timer_fd,
                            strand_failure *failure) {
  struct epoll_event event = { .events = EPOLLIN };
  p->fd = epoll_create1(EPOLL_CLOEXEC);
  if (p->fd < 0 || epoll_ctl(p->fd, EPOLL_CTL_ADD, p->wake_fd, &event) != 0
      || epoll_ctl(p->fd, EPOLL_CTL_ADD, timer_fd, &event) != 0) {
    strand_fail_descriptor(failure, "a consumer's epoll", errno);
    return false;
  }
  if (p->has_log) strand_log_set_fd(p->log, p->wake_fd);
  return true;
}

void strand_notifier_mute (strand_notifier *p) {
  if (p->has_log) strand_log_set_fd(p->log, -1);
}

void strand_notifier_close (strand_notifier *p) {
  strand_notifier_mute(p);
  strand_lock_take(&p->lock);
  close_fds(p);
  strand_lock_release(&p->lock);
}

/*
** The descriptor
*/

int strand_notifier_fd (strand_notifier *p) {
  int fd;
  strand_lock_take(&p->lock);
  fd = p->fd;
  strand_lock_release(&p->lock);
  return fd;
}

void strand_notifier_signal (strand_notifier *p) {
  if (p->wake_fd >= 0) eventfd_write(p->wake_fd, 1);
}

void strand_notifier_drain (strand_notifier *p) {
  eventfd_t count;
  strand_lock_take(&p->lock);
  if (p->wake_fd >= 0) eventfd_read(p->wake_fd, &count);
  strand_lock_release(&p->lock);
}

void strand_notifier_renew (strand_notifier *p) {
  strand_lock_take(&p->lock);
  if (p->wake_fd >= 0) strand_notifier_signal(p);
  strand_lock_release(&p->lock);
}

/*
** Work, in local mode
*/

bool strand_notifier_note_work (strand_notifier *p) {
  if (atomic_exchange(&p->work, true)) return false;
  strand_loop_watch_wanted(&p->watch, strand_clock_us());
  return true;
}

void strand_notifier_work (strand_notifier *p) {
  if (strand_notifier_note_work(p)) strand_notifier_renew(p);
}

bool strand_notifier_take_work (strand_notifier *p) {
  if (!atomic_load_explicit(&p->work, memory_order_relaxed)) return false;
  strand_loop_watch_wanted(&p->watch, 0);
  return atomic_exchange(&p->work, false);
}

bool strand_notifier_add_timer (strand_notifier *p, strand_failure *failure) {
  struct epoll_event event = { .events = EPOLLIN };
  p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (p->timer_fd >= 0
      && epoll_ctl(p->fd, EPOLL_CTL_ADD, p->timer_fd, &event) == 0)
    return true;
  strand_fail_descriptor(failure, "a consumer's timerfd", errno);
  return false;
}

/* Armed again it is not readable any more. */
void strand_notifier_remind (strand_notifier *p, int64_t due_us) {
  struct itimerspec when = { { 0, 0 }, { 0, 0 } };
  if (p->timer_fd < 0 || due_us == atomic_load(&p->watch.due_us)) return;
  atomic_store(&p->watch.due_us, due_us);
  when.it_value.tv_sec = due_us / 1000000;
  when.it_value.tv_nsec = due_us % 1000000 * 1000;
  timerfd_settime(p->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/*
** What waits
*/

void strand_notifier_event (strand_notifier *p, strand_event *event) {
  if (p->warnings != NULL) {
    strand_warnings_take(p->warnings, event, strand_clock_us());
  }
  strand_events_push(p->events, event);
  strand_notifier_signal(p);
}

void strand_notifier_tick (strand_notifier *p, int64_t now_us) {
  if (p->warnings != NULL) strand_warnings_tick(p->warnings, now_us);
}

void strand_notifier_want_token (strand_notifier *p, bool wanted) {
  strand_lock_take(&p->lock);
  p->token_wanted = wanted;
  strand_lock_release(&p->lock);
}

bool strand_notifier_wants_token (strand_notifier *p) {
  bool wanted;
  strand_lock_take(&p->lock);
  wanted = p->token_wanted;
  strand_lock_release(&p->lock);
  return wanted;
}

void strand_notifier_answer_token (strand_notifier *p, bool on) {
  strand_lock_take(&p->lock);
  p->answering = on;
  strand_lock_release(&p->lock);
}

void strand_notifier_hold (strand_notifier *p, bool held) {
  strand_lock_take(&p->lock);
  p->held_back = held;
  strand_lock_release(&p->lock);
}

void strand_notifier_keep (strand_notifier *p, bool kept, bool full) {
  strand_lock_take(&p->lock);
  p->kept_back = kept;
  p->full = full;
  strand_lock_release(&p->lock);
}

bool strand_notifier_waits (strand_notifier *p) {
  bool waits, full;
  if (atomic_load(&p->work)) return true;
  strand_lock_take(&p->lock);
  waits = p->held_back || p->kept_back || (p->token_wanted && !p->answering);
  full = p->full;
  strand_lock_release(&p->lock);
  if (waits || full) return waits;
  return strand_events_waiting(p->events)
         || (p->has_log && !strand_log_is_empty(p->log));
}

void strand_notifier_check (strand_notifier *p) {
  strand_lock_take(&p->lock);
  assert((p->fd >= 0) == (p->wake_fd >= 0)); /* (1) */
  strand_lock_release(&p->lock);
}
