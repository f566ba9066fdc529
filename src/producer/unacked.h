/*
** unacked.h - why records are not acknowledged for long, asked and told
**
** stall.h says when that is to be asked; a thread reminds of it and asks
** (calls.h); what it finds is an event, and a line in the log.
**
** Invariants:
**   (1) Between two turns the thread knows when the next tick is due.
**
** Thread: lua.
*/
#ifndef STRAND_UNACKED_H
#define STRAND_UNACKED_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/calls.h"
#include "kafka/log.h"
#include "kafka/stall.h"
#include "producer/producer_events.h"

/* strand_stall_init, and 0. */
typedef struct strand_unacked {
  strand_stall stall;
  int64_t reminder_us; /* what the thread was told; 0: nothing */
} strand_unacked;

/* A record is out, with a label that stall.label was; 'alone': no other. */
void strand_unacked_sent (strand_unacked *u, strand_calls *calls, int label,
                          bool alone);
/* Reports have come, or the thread has woken who calls this. */
void strand_unacked_turn (strand_unacked *u, strand_calls *calls,
                          strand_producer_events *events, strand_log *log);
/* Between two turns, in debug builds. */
void strand_unacked_check (const strand_unacked *u);

#endif
