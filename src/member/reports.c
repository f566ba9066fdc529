/*
** reports.c - see reports.h
*/
#include "member/reports.h"

#include <assert.h>

#define EVENTS_MOST 100       /* of one turn */
#define RENEW_AGAIN_US 100000 /* after memory ran out */

static void take_report (const strand_reports *r,
                         const rd_kafka_message_t *report, int64_t now_us) {
  strand_sent *sent = report->_private;
  strand_outbox_report(r->outbox, report->err, now_us);
  if (sent->is_output) {
    bool maybe = rd_kafka_message_status(report)
                 != RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
    strand_outputs_report(r->outputs, report->_private, report->err, maybe,
                          now_us);
  }
  else strand_dead_letters_report(r->dead_letters, report, now_us);
}

static void take_events (const strand_reports *r, int64_t now_us) {
  const rd_kafka_message_t *report;
  rd_kafka_event_t *event;
  int served = 0;
  while ((event = strand_outbox_poll(r->outbox, now_us)) != NULL) {
    while ((report = rd_kafka_event_message_next(event)) != NULL) {
      take_report(r, report, now_us);
    }
    rd_kafka_event_destroy(event);
    strand_snapshot_change(r->snapshot);
    if (++served < EVENTS_MOST) continue;
    r->waker->more = true; /* the next turn comes at once */
    return;
  }
}

/* What is out of a client that goes will not be heard of. */
static void renew (const strand_reports *r, int64_t now_us) {
  bool drained = strand_outbox_is_drained(r->outbox);
  if (!strand_outbox_renew(r->outbox)) return; /* the next turn tries again */
  if (drained) {                               /* all was heard of */
    strand_outputs_regroup(r->outputs);
    return;
  }
  strand_dead_letters_again(r->dead_letters, now_us);
  strand_outputs_again(r->outputs, now_us);
}

static bool is_to_go (const strand_reports *r) {
  return strand_outbox_is_broken(r->outbox)
         || strand_outbox_is_drained(r->outbox);
}

void strand_reports_serve (const strand_reports *r, int64_t now_us) {
  if (!strand_outbox_is_open(r->outbox)) return;
  take_events(r, now_us);
  if (is_to_go(r)) renew(r, now_us);
  strand_outbox_tick(r->outbox, now_us);
}

int64_t strand_reports_due (const strand_reports *r, int64_t now_us) {
  int64_t due;
  if (!strand_outbox_is_open(r->outbox)) return INT64_MAX;
  due = strand_outbox_due(r->outbox);
  if (is_to_go(r) && now_us + RENEW_AGAIN_US < due) {
    due = now_us + RENEW_AGAIN_US;
  }
  return due;
}

void strand_reports_check (const strand_reports *r) {
  size_t dead_letters = strand_dead_letters_out(r->dead_letters);
  size_t out = strand_outbox_count(r->outbox);
  (void)dead_letters;
  (void)out;
  assert(dead_letters + r->outputs->out == out); /* (1) */
}
