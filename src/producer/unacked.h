/*
** unacked.h - why records are not acknowledged for long, asked and told
**
** stall.h says when that is to be asked; a thread reminds of it and asks
** (calls.h); what it finds is an event, and a line in the log.
**
** Invariants:
**   (1) Between two turns the thread knows when the next tick is due.
**   (2) Each record that is outstanding has one of the two labels.
**
** Thread: lua.
*/
#ifndef STRAND_UNACKED_H
#define STRAND_UNACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/calls.h"
#include "kafka/log.h"
#include "producer/delivery.h"
#include "producer/producer_events.h"
#include "producer/stall.h"

typedef struct strand_unacked {
  strand_stall stall;
  int64_t reminder_us; /* what the thread was told; 0: nothing */
  char reason[256];    /* of the last answer that named an obstacle */
} strand_unacked;

/* As strand_stall_init. */
void strand_unacked_init (strand_unacked *u, int linger_ms, int timeout_ms,
                          bool all_acks);
/* Of the record that is sent next. */
static inline int strand_unacked_label (const strand_unacked *u) {
  return u->stall.label;
}

/* A record is out, with such a label; 'alone': no other. */
void strand_unacked_sent (strand_unacked *u, strand_calls *calls, int label,
                          bool alone);
/* It is not any more. */
void strand_unacked_reported (strand_unacked *u,
                              const strand_delivery_end *end);
/* Why they are not, as the last answer had it; NULL: that is not known, or
** over. */
const char *strand_unacked_reason (const strand_unacked *u);
/* Reports have come, or the thread has woken who calls this. */
void strand_unacked_turn (strand_unacked *u, strand_calls *calls,
                          strand_producer_events *events, strand_log *log);
/* The calls are others from now on, which know of nothing. */
void strand_unacked_move (strand_unacked *u);
/* Between two turns, in debug builds. */
void strand_unacked_check (const strand_unacked *u, int64_t outstanding);

#endif
