/*
** bell.c - see bell.h
*/
#include "shared/bell.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/system.h"

void strand_bell_init (strand_bell *b) {
  *b = (strand_bell){ .fd = -1 };
}

bool strand_bell_open (strand_bell *b, strand_failure *failure) {
  if (b->fd < 0) b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (b->fd >= 0) return true;
  strand_fail_descriptor(failure, "a worker's eventfd", errno);
  return false;
}

void strand_bell_close (strand_bell *b) {
  if (b->fd >= 0) close(b->fd);
  b->fd = -1;
}

void strand_bell_ring (strand_bell *b) {
  if (!atomic_exchange(&b->rung, true)) eventfd_write(b->fd, 1);
}

/* Read before it is cleared: a ring in between is one that is answered here.
** And always: who rang may write after it was cleared. */
void strand_bell_answer (strand_bell *b) {
  eventfd_t count;
  eventfd_read(b->fd, &count);
  atomic_exchange(&b->rung, false);
}
