/*
** bell.h - what calls a worker's thread out of its event loop
**
** The thread waits for the descriptor together with whatever else its loop
** waits for: it is readable once somebody has rung, or a time that the thread
** has set has come. What was done before strand_bell_ring is seen after
** strand_bell_answer.
**
** Protocol:
**   (1) Who has rung and was not answered need not ring again: the descriptor
**       is readable, or its thread is about to look.
**
** Thread: any rings; worker answers.
*/
#ifndef STRAND_BELL_H
#define STRAND_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "shared/loop_watch.h"

typedef struct strand_bell {
  int fd; /* a timerfd; -1: none. As long as anybody may ring */
  /* Set by who rings first, so that the others need no call of the system;
  ** cleared by the worker before it looks. */
  atomic_bool rung;
  int64_t due_us;          /* the worker's: the time that it set; 0: none */
  strand_loop_watch watch; /* whether its thread comes */
} strand_bell;

void strand_bell_init (strand_bell *b);
/* Keeps one that is open. False and a failure (NO_DESCRIPTORS...). */
bool strand_bell_open (strand_bell *b, strand_failure *failure);
/* Thread: whoever is last. */
void strand_bell_close (strand_bell *b);
/* Thread: any. */
void strand_bell_ring (strand_bell *b);
/* Thread: worker. It looks now. */
void strand_bell_answer (strand_bell *b);
/* Thread: worker. It is to come then; 0: when somebody rings. */
void strand_bell_remind (strand_bell *b, int64_t due_us);

#endif
