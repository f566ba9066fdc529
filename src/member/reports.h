/*
** reports.h - what the outbox's client tells, to the part that sent it
**
** Invariants:
**   (1) What the outbox counts as out is out of dead letters or of outputs.
**
** Thread: owner.
*/
#ifndef STRAND_REPORTS_H
#define STRAND_REPORTS_H

#include "member/dead_letters.h"
#include "member/outputs.h"

/* All is borrowed; set by the member, and only read. */
typedef struct strand_reports {
  strand_outbox *outbox;
  strand_dead_letters *dead_letters;
  strand_outputs *outputs;
  strand_snapshot *snapshot;
  strand_waker *waker;
} strand_reports;

/* Delivery reports and errors; a client that is broken is replaced. */
void strand_reports_serve (const strand_reports *r, int64_t now_us);
int64_t strand_reports_due (const strand_reports *r, int64_t now_us);
/* Between two turns, in debug builds. */
void strand_reports_check (const strand_reports *r);

#endif
