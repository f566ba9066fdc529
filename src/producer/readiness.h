/*
** readiness.h - what an event loop waits for on behalf of a producer
**
** One descriptor, readable when somebody has raised it, or when a time has
** come: an epoll of an eventfd and of a timer.
**
** Invariants:
**   (1) The three descriptors are all there, or all given back.
**   (2) Without them no time is set.
**
** Thread: lua; who has 'wake_fd' may write to it from any.
*/
#ifndef STRAND_READINESS_H
#define STRAND_READINESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct strand_readiness {
  int fd;         /* -1: given back */
  int wake_fd;    /* raises it; librdkafka and the calls have copies */
  int timer_fd;   /* raises it at 'set_us' */
  int64_t set_us; /* strand_clock_us; 0: at no time */
} strand_readiness;

/* There is none yet. */
void strand_readiness_init (strand_readiness *f);
/* False and a failure; it is to be closed all the same. */
bool strand_readiness_open (strand_readiness *f, strand_failure *failure);
/* Gives them back; twice is fine. */
void strand_readiness_close (strand_readiness *f);

void strand_readiness_raise (const strand_readiness *f);
/* It is not readable, but for a time that has come. */
void strand_readiness_clear (const strand_readiness *f);
/* It will be readable from this time on (0: at none), and not for another. */
void strand_readiness_set (strand_readiness *f, int64_t at_us);

/* After a change, in debug builds. */
void strand_readiness_check (const strand_readiness *f);

#endif
