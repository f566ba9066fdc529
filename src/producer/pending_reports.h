/*
** pending_reports.h - records whose report somebody waits for, by id
**
** An id is a slot and the number of times the slot was used before, so that
** a stale id finds nothing. It stays below 2^53: every Lua can hold it.
**
**   in flight --report--> done --take--> free
**       |                   |
**       +------drop---------+--> dropped (until its report) or free
**
** Invariants:
**   (1) A slot is free, or has the one that it is named by.
**   (2) 'ready' of them are done.
**
** Thread: lua.
*/
#ifndef STRAND_PENDING_REPORTS_H
#define STRAND_PENDING_REPORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "kafka/placement.h"
#include "producer/delivery.h"

typedef struct strand_pending_report {
  strand_delivery_ticket ticket; /* first: the record's opaque points here */
  int64_t id;
  bool done;
  bool dropped;
  strand_delivery *report; /* owned; filled when it has come: then there need
                              be no memory for it */
} strand_pending_report;

typedef struct strand_pending_reports {
  strand_pending_report **slots; /* NULL: free */
  uint32_t *uses;                /* of each slot */
  uint32_t *free;                /* stack of free slots */
  uint32_t size;
  uint32_t free_count;
  int64_t ready; /* done, and not taken */
} strand_pending_reports;

/* Takes 'report'. NULL when memory runs out. */
strand_pending_report *strand_pending_reports_add (strand_pending_reports *all,
                                                   strand_delivery *report);

/* NULL when there is no such id. */
strand_pending_report *
strand_pending_reports_find (const strand_pending_reports *all, int64_t id);

/* The record's report has come. */
void strand_pending_reports_finish (strand_pending_reports *all,
                                    strand_pending_report *pending);

/* Frees it; its report is the caller's. */
strand_delivery *
strand_pending_reports_remove (strand_pending_reports *all,
                               strand_pending_report *pending);

/* Nobody waits any more. */
void strand_pending_reports_drop (strand_pending_reports *all,
                                  strand_pending_report *pending);

/* 'also_flying': no record points to one any more. */
void strand_pending_reports_destroy (strand_pending_reports *all,
                                     bool also_flying);

/* After a change, in debug builds. */
void strand_pending_reports_check (const strand_pending_reports *all);

#endif
