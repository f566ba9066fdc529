/*
** waker.h - how an owner's thread sleeps and is woken
**
** It sleeps until another thread wakes it, librdkafka has something for it or
** a time comes. What was done before strand_waker_wake is seen after the
** sleep.
**
** Invariants:
**   (1) Both descriptors are open, or none is.
**   (2) Without them none is woken any more.
**
** Thread: any wakes; owner sleeps.
*/
#ifndef STRAND_WAKER_H
#define STRAND_WAKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct strand_waker {
  int fd;       /* an eventfd: written to by who wakes; -1: none */
  int queue_fd; /* an eventfd: librdkafka writes to it; -1: none */
  /* Written and read by any thread: set by the first who wakes, so that the
  ** others need no call of the system; cleared by the owner. */
  atomic_bool woken;
  bool more; /* the owner's: its last turn left something */
  /* Clients of the member write to the descriptors. Written by who makes and
  ** destroys them, before the last of its threads ends; read after that. */
  bool lent;
  /* When its loop last turned: written by the owner, read by any, for
  ** health() alone. */
  _Atomic int64_t turned_us;
} strand_waker;

void strand_waker_init (strand_waker *w);
/* False and a failure (NO_DESCRIPTORS...); strand_waker_close is still due. */
bool strand_waker_open (strand_waker *w, strand_failure *failure);
/* Thread: whoever is last. None is woken any more. */
void strand_waker_close (strand_waker *w);
/* Thread: any. */
void strand_waker_wake (strand_waker *w);
/* Between two turns, in debug builds. */
void strand_waker_check (const strand_waker *w);
/* Thread: owner. True: librdkafka has written. */
bool strand_waker_sleep (strand_waker *w, int64_t until_us);

#endif
