/*
** deliveries.c - see deliveries.h
*/
#include "producer/deliveries.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kafka/errors.h"

#define CHECKED_MOST 64

bool strand_deliveries_open (strand_deliveries *d, bool taken,
                             strand_log *log) {
  strand_pending_reports_init(&d->pending);
  d->taken = taken;
  d->warnings = strand_warnings_new(log);
  return d->warnings != NULL;
}

void strand_deliveries_free (strand_deliveries *d, bool also_flying) {
  strand_delivery *report;
  if (d->warnings == NULL) return;
  while ((report = strand_deliveries_next(d)) != NULL) free(report);
  strand_pending_reports_free(&d->pending, also_flying);
  strand_warnings_free(d->warnings);
}

strand_pending_report *strand_deliveries_expect (strand_deliveries *d,
                                                 const strand_outgoing *record,
                                                 int64_t id) {
  int64_t due_us = record->timeout_us > 0
                     ? strand_clock_us() + record->timeout_us
                     : 0;
  strand_pending_report *pending;
  strand_delivery *report = strand_delivery_open(record->topic, record->key,
                                                 record->key_length);
  if (report == NULL) return NULL;
  report->id = id;
  report->partition = record->partition;
  pending = strand_pending_reports_add(&d->pending, report, due_us);
  if (pending == NULL) free(report);
  return pending;
}

static void count (strand_delivery_counts *counts, rd_kafka_resp_err_t err) {
  counts->outstanding--;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) counts->delivered++;
  else if (strand_error_kind_of(err) == STRAND_ERROR_PURGED) counts->purged++;
  else counts->failed++;
}

static void add (strand_deliveries *d, strand_delivery *report) {
  if (d->last != NULL) d->last->next = report;
  else d->first = report;
  d->last = report;
  d->counts.untaken++;
}

/* NULL: memory ran out for it, and it was counted all the same. */
static void give (strand_deliveries *d, strand_delivery *report) {
  if (report == NULL) return;
  if (d->aborts) strand_delivery_abort(report);
  if (d->taken || report->id != 0) {
    add(d, report);
    return;
  }
  strand_delivery_warn(d->warnings, report);
  free(report);
}

static void report_plain (strand_deliveries *d,
                          const strand_delivery_end *end) {
  count(&d->counts, end->err);
  if (!d->taken && end->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  give(d, strand_delivery_new(end));
}

void strand_deliveries_report (strand_deliveries *d,
                               const strand_delivery_end *end) {
  strand_pending_report *pending = strand_pending_report_of(end->opaque);
  strand_delivery *report;
  if (pending == NULL) {
    report_plain(d, end);
    return;
  }
  report = strand_pending_reports_end(&d->pending, pending);
  if (report == NULL) {
    d->counts.overdue--;
    d->counts.late++;
    return;
  }
  count(&d->counts, end->err);
  strand_delivery_fill(report, end);
  give(d, report);
}

strand_delivery *strand_deliveries_expire (strand_deliveries *d,
                                           int64_t now_us) {
  return strand_pending_reports_expire(&d->pending, now_us);
}

void strand_deliveries_time_out (strand_deliveries *d, strand_delivery *report,
                                 const char *detail) {
  strand_delivery_time_out(report, detail);
  count(&d->counts, report->err);
  d->counts.overdue++;
  give(d, report);
}

void strand_deliveries_warn (strand_deliveries *d,
                             const strand_delivery *report) {
  strand_delivery_warn(d->warnings, report);
}

void strand_deliveries_say (strand_deliveries *d, int64_t now_us) {
  if (d->counts.failed > 0) strand_warnings_tick(d->warnings, now_us);
}

bool strand_deliveries_are_taken (const strand_deliveries *d) {
  return d->taken;
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
  for (; report != NULL && untaken < CHECKED_MOST; report = report->next) {
    assert(d->taken || report->id != 0); /* (2) */
    untaken++;
  }
  assert(counts->outstanding >= 0 && counts->overdue >= 0); /* (1) */
  assert(counts->sent
         == counts->delivered + counts->failed + counts->purged
              + counts->outstanding); /* (1) */
  assert(counts->overdue + counts->late <= counts->failed);
  assert(report != NULL || untaken == counts->untaken); /* (2) */
  assert((d->first == NULL) == (d->last == NULL));      /* (2) */
  (void)counts;
  strand_pending_reports_check(&d->pending);
}
