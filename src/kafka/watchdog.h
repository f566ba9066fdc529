/*
** watchdog.h - records that run longer than they should
**
** Thread: owner.
*/
#ifndef STRAND_WATCHDOG_H
#define STRAND_WATCHDOG_H

#include "kafka/mailbox.h"

typedef struct strand_member strand_member;

/* A record that runs longer than it should (watchdog.c). */
typedef struct strand_overdue strand_overdue;

typedef struct strand_watchdog {
  int64_t slow_after_us;   /* as in strand_limits */
  strand_overdue *overdue; /* records that run too long */
  int64_t due_us;          /* when one of those out is next looked at */
} strand_watchdog;

/* How long a call of the handler may take; 0: as it likes. */
int64_t strand_watchdog_deadline (const strand_member *m, unsigned route);
/* The slot's record runs: is it late? */
void strand_watchdog_look (strand_member *m, strand_batch *batch,
                           strand_slot *slot, int64_t now_us);
/* The record of the slot that ran last has ended. */
void strand_watchdog_forget (strand_member *m, const strand_slot *slot);
/* When to look again at those that are out; after all were looked at. */
int64_t strand_watchdog_due (const strand_member *m, int64_t now_us);

#endif
