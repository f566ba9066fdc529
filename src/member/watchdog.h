/*
** watchdog.h - records that run longer than they should
**
** Invariants:
**   (1) A slot is remembered once.
**   (2) A worker is lost after its record has expired, not before.
**
** Thread: owner.
*/
#ifndef STRAND_WATCHDOG_H
#define STRAND_WATCHDOG_H

#include "member/owner.h"
#include "member/snapshot.h"
#include "shared/lease_batch.h"

/* A record that runs longer than it should (watchdog.c). */
typedef struct strand_overdue strand_overdue;

typedef struct strand_watchdog {
  /* set by init, and only read */
  const strand_owner *owner;
  strand_snapshot *snapshot;

  int64_t slow_after_us;   /* as in strand_limits */
  strand_overdue *overdue; /* records that run too long */
  int64_t due_us;          /* when one of those out is next looked at */
} strand_watchdog;

/* Borrows both. */
void strand_watchdog_init (strand_watchdog *w, const strand_owner *owner,
                           strand_snapshot *snapshot);
void strand_watchdog_limit (strand_watchdog *w, int64_t slow_after_us);

/* How long a call of the handler may take; 0: as it likes. */
int64_t strand_watchdog_deadline (const strand_watchdog *w, unsigned route);
/* In local mode: does the lua thread come for its work? A record that may start
** waits since 'since_us'; INT64_MAX: none. */
void strand_watchdog_report_loop (const strand_watchdog *w, int64_t since_us,
                                  int64_t now_us);
/* All that is out is looked at now. */
void strand_watchdog_begin (strand_watchdog *w);
/* The slot's record runs: is it late? */
void strand_watchdog_inspect (strand_watchdog *w, strand_lease_batch *batch,
                              strand_slot *slot, int64_t now_us);
/* Some record of the slot has ended. */
void strand_watchdog_drop (strand_watchdog *w, strand_lease_batch *batch,
                           const strand_slot *slot);
static inline void strand_watchdog_forget (strand_watchdog *w,
                                           strand_lease_batch *batch,
                                           const strand_slot *slot) {
  if (w->overdue != NULL) strand_watchdog_drop(w, batch, slot);
}
/* When one of those that were looked at is late, or slow; INT64_MAX: never. */
static inline int64_t strand_watchdog_late_us (const strand_watchdog *w) {
  return w->due_us;
}
/* When to look again at those that are out, in 'wait_us' at the latest; after
** all were looked at. */
int64_t strand_watchdog_due (const strand_watchdog *w, int64_t wait_us,
                             int64_t now_us);
/* Between two turns, in debug builds. */
void strand_watchdog_check (const strand_watchdog *w);

#endif
