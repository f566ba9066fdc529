/*
** deliveries.c - see deliveries.h
*/
#include "producer/deliveries.h"

#include <assert.h>
#include <stdlib.h>

#include "kafka/errors.h"

#define CHECKED_MOST 64

bool strand_deliveries_open (strand_deliveries *d, bool taken,
                             strand_log *log) {
  if (taken) return true;
  d->warnings = strand_warnings_new(log);
  return d->warnings != NULL;
}

void strand_deliveries_free (strand_deliveries *d, bool also_flying) {
  strand_delivery *report;
  while ((report = strand_deliveries_next(d)) != NULL) free(report);
  strand_pending_reports_destroy(&d->pending, also_flying);
  strand_warnings_free(d->warnings);
}

void strand_deliveries_sent (strand_deliveries *d) {
  d->counts.sent++;
  d->counts.outstanding++;
}

static void count (strand_delivery_counts *counts, rd_kafka_resp_err_t err) {
  counts->outstanding--;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) counts->delivered++;
  else if (strand_error_kind_of(err) == STRAND_ERROR_PURGED) counts->purged++;
  else counts->failed++;
}

static void add (strand_deliveries *d, strand_delivery *report) {
  if (report == NULL) return; /* out of memory: counted all the same */
  if (d->last != NULL) d->last->next = report;
  else d->first = report;
  d->last = report;
  d->counts.untaken++;
}

void strand_deliveries_report (strand_deliveries *d,
                               const rd_kafka_message_t *message) {
  strand_delivery_ticket *ticket = strand_placement_ticket(message->_private);
  count(&d->counts, message->err);
  if (ticket != NULL) {
    strand_pending_report *pending = (strand_pending_report *)(void *)ticket;
    strand_delivery_fill(pending->report, message);
    strand_pending_reports_finish(&d->pending, pending);
  }
  else if (d->warnings != NULL) strand_delivery_warn(d->warnings, message);
  else add(d, strand_delivery_new(message));
}

void strand_deliveries_say (strand_deliveries *d, int64_t now_us) {
  if (d->warnings != NULL && d->counts.failed > 0)
    strand_warnings_tick(d->warnings, now_us);
}

bool strand_deliveries_are_taken (const strand_deliveries *d) {
  return d->warnings == NULL;
}

bool strand_deliveries_wait (const strand_deliveries *d) {
  return d->first != NULL || d->pending.ready > 0;
}

strand_delivery *strand_deliveries_next (strand_deliveries *d) {
  strand_delivery *report = d->first;
  if (report == NULL) return NULL;
  d->first = report->next;
  if (d->first == NULL) d->last = NULL;
  report->next = NULL;
  d->counts.untaken--;
  return report;
}

void strand_deliveries_check (const strand_deliveries *d) {
  const strand_delivery_counts *counts = &d->counts;
  const strand_delivery *report = d->first;
  int64_t untaken = 0;
  for (; report != NULL && untaken < CHECKED_MOST; report = report->next)
    untaken++;
  assert(counts->outstanding >= 0); /* (1) */
  assert(counts->sent
         == counts->delivered + counts->failed + counts->purged
              + counts->outstanding);                   /* (1) */
  assert(report != NULL || untaken == counts->untaken); /* (2) */
  assert(d->warnings == NULL || d->first == NULL);      /* (2) */
  assert((d->first == NULL) == (d->last == NULL));      /* (2) */
  (void)counts;
  strand_pending_reports_check(&d->pending);
}
