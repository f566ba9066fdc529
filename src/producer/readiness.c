/*
** readiness.c - see readiness.h
*/
#include "producer/readiness.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/system.h"

void strand_readiness_init (strand_readiness *f) {
  *f = (strand_readiness){ .fd = -1, .wake_fd = -1, .timer_fd = -1 };
}

bool strand_readiness_open (strand_readiness *f, strand_failure *failure) {
  struct epoll_event event = { .events = EPOLLIN };
  f->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (f->wake_fd >= 0) {
    f->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  }
  if (f->timer_fd >= 0) f->fd = epoll_create1(EPOLL_CLOEXEC);
  if (f->fd >= 0 && epoll_ctl(f->fd, EPOLL_CTL_ADD, f->wake_fd, &event) == 0
      && epoll_ctl(f->fd, EPOLL_CTL_ADD, f->timer_fd, &event) == 0)
    return true;
  strand_fail_descriptor(failure, "a producer's eventfd", errno);
  return false;
}

static void give_back (int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void strand_readiness_close (strand_readiness *f) {
  give_back(&f->fd);
  give_back(&f->timer_fd);
  give_back(&f->wake_fd);
  f->set_us = 0;
}

void strand_readiness_raise (const strand_readiness *f) {
  eventfd_write(f->wake_fd, 1); /* full: it is readable already */
}

void strand_readiness_clear (const strand_readiness *f) {
  eventfd_t n;
  eventfd_read(f->wake_fd, &n);
}

/* Setting it anew also clears what has come. */
void strand_readiness_set (strand_readiness *f, int64_t at_us) {
  struct itimerspec spec = { 0 };
  if (f->timer_fd < 0 || at_us == f->set_us) return;
  spec.it_value.tv_sec = at_us / 1000000;
  spec.it_value.tv_nsec = at_us % 1000000 * 1000;
  timerfd_settime(f->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
  f->set_us = at_us;
}

void strand_readiness_check (const strand_readiness *f) {
  (void)f;
  assert((f->fd >= 0) == (f->wake_fd >= 0));  /* (1) */
  assert((f->fd >= 0) == (f->timer_fd >= 0)); /* (1) */
  assert(f->fd >= 0 || f->set_us == 0);       /* (2) */
}
