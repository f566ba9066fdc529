/*
** waker.c - how an owner's thread sleeps and is woken
*/
#define _GNU_SOURCE /* ppoll */
#include "base/waker.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/system.h"

void strand_waker_init (strand_waker *w) {
  w->fd = w->queue_fd = -1;
  atomic_init(&w->woken, true); /* there is nothing to wake it with */
}

bool strand_waker_open (strand_waker *w, strand_failure *failure) {
  w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (w->fd >= 0) w->queue_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (w->queue_fd < 0) {
    strand_fail_descriptor(failure, "a member's eventfd", errno);
    return false;
  }
  atomic_store(&w->woken, false);
  return true;
}

void strand_waker_close (strand_waker *w) {
  atomic_store(&w->woken, true);
  if (w->fd >= 0) close(w->fd);
  if (w->queue_fd >= 0) close(w->queue_fd);
  w->fd = w->queue_fd = -1;
}

void strand_waker_wake (strand_waker *w) {
  if (!atomic_exchange_explicit(&w->woken, true, memory_order_acq_rel)) {
    eventfd_write(w->fd, 1);
  }
}

bool strand_waker_sleep (strand_waker *w, int64_t until_us) {
  struct pollfd fds[2] = { { w->fd, POLLIN, 0 }, { w->queue_fd, POLLIN, 0 } };
  int64_t left_us = until_us - strand_clock_us();
  struct timespec wait;
  eventfd_t count;
  if (left_us < 0) left_us = 0;
  wait.tv_sec = left_us / 1000000;
  wait.tv_nsec = (left_us % 1000000) * 1000;
  if (ppoll(fds, 2, &wait, NULL) <= 0) return false;
  if (fds[0].revents != 0) {
    eventfd_read(w->fd, &count);
    atomic_exchange(&w->woken, false); /* sees what the waker did before */
  }
  if (fds[1].revents != 0) eventfd_read(w->queue_fd, &count);
  return fds[1].revents != 0;
}

void strand_waker_check (const strand_waker *w) {
  (void)w;
  assert((w->fd >= 0) == (w->queue_fd >= 0));   /* (1) */
  assert(w->fd >= 0 || atomic_load(&w->woken)); /* (2) */
}
