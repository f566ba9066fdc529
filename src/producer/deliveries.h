/*
** deliveries.h - what became of the records that a producer has sent
**
**   delivery report, or a time that is over -> counted, always
**                          +-> list             (somebody takes it)
**                          +-> a warning        (nobody does, and it failed)
**
** A record whose own time is over has failed. It is still in librdkafka's
** queue, and may be written: it is overdue until librdkafka's report comes,
** which is late then, and changes no other count.
**
** Invariants:
**   (1) sent == delivered + failed + purged + outstanding.
**   (2) 'untaken' deliveries are in the list; where nobody takes them all, only
**       those with an id.
**
** Thread: lua.
*/
#ifndef STRAND_DELIVERIES_H
#define STRAND_DELIVERIES_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "kafka/log.h"
#include "producer/delivery.h"
#include "producer/outgoing.h"
#include "producer/pending_reports.h"
#include "shared/warnings.h"

/* Of records. */
typedef struct strand_delivery_counts {
  int64_t sent;
  int64_t delivered;
  int64_t failed;
  int64_t purged; /* given up by close */
  int64_t outstanding;
  int64_t untaken; /* deliveries that wait to be taken */
  int64_t overdue; /* among the failed: librdkafka has not reported them */
  int64_t late;    /* among the failed: it did, afterwards */
} strand_delivery_counts;

/* All 0: none, and it is to be opened. */
typedef struct strand_deliveries {
  strand_warnings *warnings; /* NULL: it was not opened */
  bool taken;                /* all are taken, not only those with an id */
  strand_delivery *first;    /* oldest first */
  strand_delivery *last;
  strand_pending_reports pending; /* a part: used as pending_reports.h says */
  strand_delivery_counts counts;  /* read by who has this */
  bool aborts; /* what is purged is of a transaction that is aborted */
} strand_deliveries;

/* 'taken': by strand_deliveries_next; else what failed is said in the log,
** which is borrowed. False: memory ran out. */
bool strand_deliveries_open (strand_deliveries *d, bool taken,
                             strand_log *log);
/* Also one that was not opened. 'also_flying': no client has a pointer to a
** pending report any more. */
void strand_deliveries_free (strand_deliveries *d, bool also_flying);

/* A record that is sent next: somebody waits for its report by an id (0:
** nobody), or it has a time of its own. NULL when memory runs out. */
strand_pending_report *strand_deliveries_expect (strand_deliveries *d,
                                                 const strand_outgoing *record,
                                                 int64_t id);
/* A record is out. */
static inline void strand_deliveries_sent (strand_deliveries *d) {
  d->counts.sent++;
  d->counts.outstanding++;
}

/* It is not any more. */
void strand_deliveries_report (strand_deliveries *d,
                               const strand_delivery_end *end);
/* One whose own time is over by now, the caller's until it is given back by
** the other, which says what is known beside that; "": nothing. NULL: there is
** none. */
strand_delivery *strand_deliveries_expire (strand_deliveries *d,
                                           int64_t now_us);
void strand_deliveries_time_out (strand_deliveries *d, strand_delivery *report,
                                 const char *detail);
/* Nobody waits for this one any more, which had an id. */
void strand_deliveries_warn (strand_deliveries *d,
                             const strand_delivery *report);
/* What failed like what was said lately: at the end with INT64_MAX. */
void strand_deliveries_say (strand_deliveries *d, int64_t now_us);

/* Somebody takes them; else what failed is said. */
bool strand_deliveries_are_taken (const strand_deliveries *d);
/* The oldest, the caller's; NULL: none waits. */
strand_delivery *strand_deliveries_next (strand_deliveries *d);

/* After a change, in debug builds. */
void strand_deliveries_check (const strand_deliveries *d);

#endif
