/*
** pending_reports.h - records that are out, each with room for its report
**
** For a record that somebody waits for by an id, or that has a time of its
** own. The record's opaque points to it.
**
**   out --librdkafka's report--> it and its report are the caller's
**    |
**    +--its time is over--> its report is the caller's; it is late
**                              |
**                              +--librdkafka's report--> it is gone
**
** Invariants:
**   (1) What has a time has its place in the heap, and nothing else has one.
**   (2) None is due before one that stands above it.
**   (3) What is late has neither a time nor a report.
**
** Thread: lua.
*/
#ifndef STRAND_PENDING_REPORTS_H
#define STRAND_PENDING_REPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "kafka/placement.h"
#include "producer/delivery.h"

struct strand_deferred_record;

typedef struct strand_pending_report {
  strand_delivery_ticket ticket; /* first: the record's opaque points here */
  strand_link link;
  strand_delivery *report; /* owned; there before it has come: then there need
                              be no memory for it. NULL: the record is late */
  int64_t due_us;          /* 0: it has no time of its own */
  size_t place;            /* in the heap */
  struct strand_deferred_record *kept; /* placing.c's: its record, which was
                                          not sent yet; NULL: it was */
} strand_pending_report;

typedef struct strand_pending_reports {
  strand_link all;
  strand_pending_report **heap; /* by time, the first on top */
  size_t count;                 /* in the heap */
  size_t room;
} strand_pending_reports;

/* That a record's opaque points to; NULL: it has none. */
static inline strand_pending_report *strand_pending_report_of (void *opaque) {
  return (strand_pending_report *)(void *)strand_placement_ticket(opaque);
}

void strand_pending_reports_init (strand_pending_reports *p);
/* 'also_flying': no record points to one any more. */
void strand_pending_reports_free (strand_pending_reports *p, bool also_flying);

/* Takes 'report', unless memory runs out: NULL. At 'due_us' its time is over
** (0: never). */
strand_pending_report *strand_pending_reports_add (strand_pending_reports *p,
                                                   strand_delivery *report,
                                                   int64_t due_us);
/* The record is not out any more. Its report, the caller's; NULL: it is late,
** and was given before. */
strand_delivery *strand_pending_reports_end (strand_pending_reports *p,
                                             strand_pending_report *pending);
/* When the first is due; 0: none has a time. */
int64_t strand_pending_reports_due_us (const strand_pending_reports *p);
/* The first whose time is over; NULL: none's is. */
strand_pending_report *
strand_pending_reports_overdue (const strand_pending_reports *p,
                                int64_t now_us);
/* The report of that one, the caller's; NULL: there is none. */
strand_delivery *strand_pending_reports_expire (strand_pending_reports *p,
                                                int64_t now_us);

/* After a change, in debug builds. */
void strand_pending_reports_check (const strand_pending_reports *p);

#endif
