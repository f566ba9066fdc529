/*
** bell.c - see bell.h
*/
#include "shared/bell.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/system.h"

#define NOW 1 /* a time that has come */

void strand_bell_init (strand_bell *b) {
  *b = (strand_bell){ .fd = -1 };
}

bool strand_bell_open (strand_bell *b, strand_failure *failure) {
  if (b->fd < 0)
    b->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (b->fd >= 0) return true;
  strand_fail_descriptor(failure, "a worker's timerfd", errno);
  return false;
}

void strand_bell_close (strand_bell *b) {
  if (b->fd >= 0) close(b->fd);
  b->fd = -1;
}

static void set (const strand_bell *b, int64_t us) {
  struct itimerspec when = { { 0, 0 }, { 0, 0 } };
  when.it_value.tv_sec = us / 1000000;
  when.it_value.tv_nsec = us % 1000000 * 1000;
  timerfd_settime(b->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void strand_bell_ring (strand_bell *b) {
  if (!atomic_exchange(&b->rung, true)) set(b, NOW);
}

/* Who rang before that, and whose time is gone with it, has said so before. */
static void set_due (strand_bell *b) {
  set(b, b->due_us);
  if (atomic_load(&b->rung)) set(b, NOW);
}

/* Read before it is cleared: a ring in between is one that is answered here.
** And always: who rang may set its time after it was cleared. */
void strand_bell_answer (strand_bell *b) {
  uint64_t times;
  ssize_t size = read(b->fd, &times, sizeof(times));
  (void)size; /* or nothing: it has not come */
  atomic_exchange(&b->rung, false);
  if (b->due_us != 0) set_due(b);
}

void strand_bell_remind (strand_bell *b, int64_t due_us) {
  if (due_us == b->due_us) return;
  b->due_us = due_us;
  set_due(b);
}
