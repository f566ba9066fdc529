/*
** producer.c - see producer.h
*/
#include "producer/producer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "producer/producer_own.h"

#define PURGE_AGAIN_MS 100
#define END_GRACE 0.25  /* seconds for librdkafka's threads to end */
#define ANSWER_MS 1000  /* for a broker to prove that it is there after all */
#define DEFERRED_MS 100 /* an answer about a topic ends no wait for reports */

static int64_t outstanding (const strand_producer *p) {
  return p->deliveries.counts.outstanding;
}

/* A commit waits for the overdue, too: they are of the transaction. */
static int64_t unflushed (const strand_producer *p) {
  return p->transactional ? p->bounds.records : outstanding(p);
}

/* The next time at which something is to be done; 0: at none. */
static int64_t step_us (const strand_producer *p) {
  int64_t record = strand_pending_reports_due_us(&p->deliveries.pending);
  int64_t fatal = p->fatal.due_us;
  if (record == 0 || fatal == 0) return record + fatal;
  return record < fatal ? record : fatal;
}

/*
** The fd
*/

static void raise_fd (const strand_producer *p) {
  strand_readiness_raise(&p->readiness);
}

/* (1) */
static bool has_reports (const strand_producer *p) {
  return p->deliveries.first != NULL || p->events.count > 0 || p->held
         || p->kept;
}

static bool has_waiting (const strand_producer *p) {
  if (p->deliveries.first != NULL || p->held || p->kept
      || (p->oauth_wanted && !p->answering))
    return true;
  return !p->full && (p->events.count > 0 || !strand_log_is_empty(p->log));
}

/* What is the operating system's goes when it is closed and the last report
** was taken; a client that still ends has its own. */
static void give_back_fd (strand_producer *p) {
  if (p->client != NULL || p->ending != NULL || p->readiness.fd < 0
      || has_reports(p))
    return;
  strand_log_set_fd(p->log, -1);
  strand_readiness_close(&p->readiness);
}

/* Something may have been taken, or come. */
void strand_producer_tell_waiting (strand_producer *p) {
  if (p->readiness.fd < 0) return;
  if (has_waiting(p)) raise_fd(p);
  give_back_fd(p);
}

/*
** Collecting
*/

void strand_producer_ended (strand_producer *p,
                            const strand_delivery_end *end) {
  strand_unacked_reported(&p->unacked, end);
  strand_bounds_remove(&p->bounds, end->size);
  strand_deliveries_report(&p->deliveries, end);
}

static void take_report (strand_producer *p,
                         const rd_kafka_message_t *message) {
  char text[STRAND_DELIVERY_TEXT];
  strand_delivery_end end = strand_delivery_end_of(message);
  if (end.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    p->unreachable = false;
    if (p->transactional) strand_transaction_settled(&p->transaction);
    if (p->fatal.clients > 0) strand_fatal_took(&p->fatal, strand_clock_us());
  }
  else {
    strand_placing_explain(p, &end, text);
    strand_recovery_explain(p, &end);
    if (p->transactional) strand_producer_undelivered(p, &end);
  }
  strand_producer_ended(p, &end);
}

static void take_event (strand_producer *p, rd_kafka_event_t *event) {
  const rd_kafka_message_t *message;
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
      while ((message = rd_kafka_event_message_next(event)) != NULL)
        take_report(p, message);
      break;
    case RD_KAFKA_EVENT_ERROR:
      if (strand_producer_events_take(&p->events, event))
        p->unreachable = true;
      strand_recovery_noted(p);
      break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
      p->oauth_wanted = true;
      break;
    default: break;
  }
  rd_kafka_event_destroy(event);
}

void strand_producer_update_flushing (strand_producer *p) {
  strand_flushing_update(&p->flushing, p->client->calls, unflushed(p));
}

static void check_parts (const strand_producer *p) {
  strand_deliveries_check(&p->deliveries);
  strand_flushing_check(&p->flushing, unflushed(p));
  strand_unacked_check(&p->unacked, p->bounds.records);
  strand_producer_events_check(&p->events);
  strand_bounds_check(&p->bounds);
  strand_readiness_check(&p->readiness);
  strand_topic_watch_check(&p->watch, p->client->calls);
  strand_deferred_check(&p->deferred, &p->watch);
  strand_fatal_check(&p->fatal);
  strand_placement_check(&p->client->placement);
  assert(p->bounds.records
         == outstanding(p) + p->deliveries.counts.overdue); /* (5) */
}

void strand_producer_set_timer (strand_producer *p) {
  strand_readiness_set(&p->readiness, step_us(p));
}

/* Without librdkafka's times and counts: lines that are alike stay alike. */
void strand_producer_cause (strand_producer *p,
                            char text[STRAND_DELIVERY_TEXT]) {
  char *times;
  text[0] = '\0';
  if (!p->unreachable) return;
  strand_log_cause_read(&p->client->cause, text, STRAND_DELIVERY_TEXT);
  times = strstr(text, " (after ");
  if (times != NULL) *times = '\0';
}

static void end_overdue (strand_producer *p, int64_t now_us) {
  char text[STRAND_DELIVERY_TEXT];
  strand_delivery *report;
  for (;;) {
    if (strand_placing_expire(p, now_us)) continue;
    report = strand_deliveries_expire(&p->deliveries, now_us);
    if (report == NULL) break;
    strand_placing_obstacle(p, report->topic, text);
    strand_deliveries_time_out(&p->deliveries, report, text);
  }
  strand_producer_set_timer(p);
}

/* Waits up to 'ms' for the first event, and takes all that are there. */
static void collect (strand_producer *p, int ms) {
  rd_kafka_event_t *event;
  int64_t now_us;
  while ((event = rd_kafka_queue_poll(p->client->queue, ms)) != NULL) {
    take_event(p, event);
    ms = 0;
  }
  now_us = strand_clock_us();
  strand_deliveries_say(&p->deliveries, now_us);
  if (p->client->calls == NULL) return; /* it could not be opened */
  strand_placing_turn(p, now_us);
  end_overdue(p, now_us);
  strand_unacked_turn(&p->unacked, p->client->calls, &p->events, p->log);
  strand_producer_update_flushing(p);
  check_parts(p);
}

/* The fd is cleared first: what comes after that makes it readable again. */
void strand_producer_refresh (strand_producer *p) {
  if (p->readiness.fd < 0) return;
  strand_readiness_clear(&p->readiness);
  if (p->client != NULL) collect(p, 0);
  strand_producer_tell_waiting(p);
}

static void renew (strand_producer *p) {
  strand_recovery_turn(p);
  strand_renewal_turn(p);
}

void strand_producer_serve (strand_producer *p) {
  strand_producer_refresh(p);
  if (p->client != NULL && p->readiness.fd >= 0) renew(p);
}

/*
** Opening
*/

static bool open_own (strand_producer *p,
                      const strand_producer_options *options,
                      strand_failure *failure) {
  p->log = strand_log_new(!options->keeps_log);
  if (p->log == NULL
      || !strand_deliveries_open(&p->deliveries, options->reports_all,
                                 p->log)) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return false;
  }
  return strand_readiness_open(&p->readiness, failure);
}

static bool open_client (strand_producer *p,
                         const strand_producer_options *options,
                         strand_failure *failure) {
  rd_kafka_conf_t *conf;
  int events = RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR;
  if (options->has_oauth) events |= RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
  p->client = strand_client_new(p->log, p->readiness.wake_fd, failure);
  if (p->client == NULL) return false;
  conf = strand_producer_conf_new(options, &p->client->placement, failure);
  if (conf == NULL) return false;
  strand_producer_conf_read(conf, &p->limits, &p->bounds);
  strand_flushing_init(&p->flushing, p->limits.linger_ms);
  strand_unacked_init(&p->unacked, p->limits.linger_ms, p->limits.timeout_ms,
                      p->limits.all_acks);
  strand_deferred_init(&p->deferred, p->limits.propagation_ms,
                       p->limits.timeout_ms);
  p->watch.batch_size = p->limits.batch_size;
  p->watch.owns_batch_size = strand_renewal_owns_batch_size(options);
  p->transactional = options->transactional_id != NULL;
  if (p->transactional)
    strand_transaction_init(&p->transaction, options->transaction_timeout);
  strand_conf_warn(RD_KAFKA_PRODUCER, options->props, options->prop_count,
                   p->log);
  return strand_renewal_open(p, conf, events, failure);
}

strand_producer *strand_producer_open (const strand_producer_options *options,
                                       strand_failure *failure) {
  strand_producer *p = calloc(1, sizeof(*p));
  if (p == NULL) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return NULL;
  }
  strand_readiness_init(&p->readiness);
  if (!open_own(p, options, failure) || !open_client(p, options, failure)) {
    strand_producer_free(p);
    return NULL;
  }
  if (options->keeps_log) strand_log_set_fd(p->log, p->readiness.wake_fd);
  if (has_waiting(p)) raise_fd(p); /* lines from before that */
  strand_calls_ask_all(p->client->calls, options->topics, options->topic_count,
                       options->topics_timeout);
  return p;
}

int strand_producer_fd (const strand_producer *p) {
  return p->readiness.fd;
}

bool strand_producer_is_closed (const strand_producer *p) {
  return p->client == NULL;
}

/*
** Taking
*/

strand_delivery *strand_producer_next_delivery (strand_producer *p) {
  if (p->deliveries.counts.untaken == 0) strand_producer_serve(p);
  return strand_deliveries_next(&p->deliveries);
}

void strand_producer_warn (strand_producer *p, const strand_delivery *report) {
  strand_deliveries_warn(&p->deliveries, report);
}

bool strand_producer_next_event (strand_producer *p,
                                 strand_producer_event *event) {
  if (p->events.count == 0) strand_producer_serve(p);
  return strand_producer_events_pop(&p->events, event);
}

bool strand_producer_next_log (strand_producer *p, strand_log_line *line) {
  return strand_log_pop(p->log, line);
}

void strand_producer_hold (strand_producer *p, bool held) {
  p->held = held;
  give_back_fd(p);
}

void strand_producer_keep (strand_producer *p, bool kept, int64_t reports,
                           bool full) {
  p->kept = kept;
  p->kept_reports = reports;
  p->full = full;
  strand_producer_tell_waiting(p);
}

/*
** Flushing and closing
*/

int64_t strand_producer_outstanding (const strand_producer *p) {
  return outstanding(p);
}

int64_t strand_producer_untaken (const strand_producer *p) {
  return p->deliveries.counts.untaken;
}

void strand_producer_flush_begin (strand_producer *p) {
  if (unflushed(p) == 0) return;
  strand_flushing_begin(&p->flushing);
  strand_producer_update_flushing(p);
}

void strand_producer_hurry (strand_producer *p, bool on) {
  strand_flushing_hurry(&p->flushing, on);
  if (p->client != NULL) strand_producer_update_flushing(p);
}

/* That all brokers were down is told once, and not that one came back: asks
** for one. */
static bool reach (strand_producer *p, int ms) {
  const rd_kafka_metadata_t *metadata;
  if (rd_kafka_metadata(p->client->handle, 0, NULL, &metadata, ms)
      != RD_KAFKA_RESP_ERR_NO_ERROR)
    return false;
  rd_kafka_metadata_destroy(metadata);
  p->unreachable = false;
  return true;
}

/* Until the deadline, or until something is to be done. */
static int patience_ms (const strand_producer *p, double deadline) {
  double due = (double)step_us(p) / 1e6;
  int ms = strand_clock_left_ms(due > 0 && due < deadline ? due : deadline);
  return p->deferred.count > 0 && ms > DEFERRED_MS ? DEFERRED_MS : ms;
}

/* False: it ended early, since no broker answered within 'answer_ms'. */
static bool flush (strand_producer *p, double timeout, int answer_ms) {
  double deadline = strand_clock_now() + timeout;
  bool reached = true;
  strand_producer_flush_begin(p);
  strand_producer_serve(p);
  while (outstanding(p) > 0) {
    int ms = strand_clock_left_ms(deadline);
    if (ms == 0) break;
    if (p->unreachable) reached = reach(p, ms < answer_ms ? ms : answer_ms);
    if (!reached) break;
    collect(p, patience_ms(p, deadline));
    renew(p);
  }
  if (has_waiting(p)) raise_fd(p);
  return reached;
}

int64_t strand_producer_flush (strand_producer *p, double timeout) {
  flush(p, timeout, ANSWER_MS);
  return outstanding(p);
}

/* Purging makes reports of everything that is in the queue. Asked again: what
** a broker's thread was just retrying may have slipped past. */
void strand_producer_purge (strand_producer *p, double deadline) {
  int ms = 1;
  strand_placing_purge(p);
  collect(p, 0);
  while (p->bounds.records > 0 && ms > 0) {
    rd_kafka_purge(p->client->handle, RD_KAFKA_PURGE_F_QUEUE
                                        | RD_KAFKA_PURGE_F_INFLIGHT
                                        | RD_KAFKA_PURGE_F_NON_BLOCKING);
    ms = strand_clock_left_ms(deadline);
    collect(p, ms < PURGE_AGAIN_MS ? ms : PURGE_AGAIN_MS);
  }
}

/* It ends in a thread of its own. */
static void let_go (strand_producer *p) {
  strand_client *client = p->client;
  strand_deliveries_say(&p->deliveries, INT64_MAX);
  p->client = NULL;
  strand_flushing_end(&p->flushing);
  strand_readiness_set(&p->readiness, 0);
  p->oauth_wanted = false;
  if (strand_client_end_begin(client)) p->ending = client;
}

static void wait_for_end (strand_producer *p, double deadline) {
  if (p->ending != NULL)
    p->detached = !strand_client_end_wait(p->ending, deadline);
  p->ending = NULL;
  strand_producer_tell_waiting(p);
}

static void end_client (strand_producer *p, double deadline, double grace) {
  double least = strand_clock_now() + grace;
  if (p->client->queue != NULL) strand_producer_purge(p, deadline);
  let_go(p);
  wait_for_end(p, deadline < least ? least : deadline);
}

/* What is lost is counted from here on: what was purged before is of
** transactions that were aborted. */
static void begin_purge (strand_producer *p) {
  if (!p->purging) p->purged_before = p->deliveries.counts.purged;
  p->purging = true;
}

bool strand_producer_purge_begin (strand_producer *p) {
  if (p->client == NULL) return true;
  begin_purge(p);
  strand_producer_purge(p, strand_clock_now());
  strand_producer_tell_waiting(p);
  return p->bounds.records == 0;
}

void strand_producer_end_begin (strand_producer *p) {
  if (p->client != NULL) let_go(p);
}

bool strand_producer_end_done (strand_producer *p) {
  return p->ending == NULL || strand_client_has_ended(p->ending);
}

void strand_producer_close (strand_producer *p, double timeout) {
  int64_t lost;
  if (p->client == NULL && p->ending == NULL) return;
  begin_purge(p);
  if (p->client == NULL) wait_for_end(p, strand_clock_now());
  else end_client(p, strand_clock_now() + timeout, END_GRACE);
  lost = p->deliveries.counts.purged - p->purged_before + outstanding(p);
  if (lost == 0 || strand_deliveries_are_taken(&p->deliveries)) return;
  strand_log_printf(p->log, STRAND_LOG_WARNING, "PRODUCER",
                    "closed before all was acknowledged: %lld records were "
                    "not delivered",
                    (long long)lost);
}

bool strand_producer_discard (strand_producer *p, double timeout,
                              double patience) {
  double deadline = strand_clock_now() + timeout;
  double grace = timeout / 2 < END_GRACE ? timeout / 2 : END_GRACE;
  bool reached;
  if (p->client == NULL) {
    wait_for_end(p, deadline);
    return true;
  }
  if (p->transactional)
    strand_producer_end_transaction(
      p, p->unreachable ? strand_clock_now() + patience : deadline - grace);
  reached = flush(p, deadline - grace - strand_clock_now(),
                  (int)(patience * 1000));
  end_client(p, deadline, 0);
  return reached;
}

void strand_producer_refresh_counts (strand_producer *p,
                                     strand_producer_counts *counts) {
  strand_producer_serve(p);
  counts->records = p->deliveries.counts;
  counts->records.untaken += p->kept_reports;
  counts->events_dropped = p->events.dropped;
  counts->log_dropped = strand_log_dropped(p->log);
  counts->max_queued_records = p->bounds.max_records;
  counts->max_queued_bytes = p->bounds.max_bytes;
  counts->detached = p->detached;
}

void strand_producer_free (strand_producer *p) {
  if (p == NULL) return;
  strand_producer_close(p, 0);
  /* A client that is still ending might look at a ticket. */
  strand_deliveries_free(&p->deliveries, !p->detached);
  if (p->log != NULL) strand_log_set_fd(p->log, -1);
  strand_log_release(p->log);
  strand_readiness_close(&p->readiness);
  strand_topic_watch_free(&p->watch);
  if (p->renewal.conf != NULL) rd_kafka_conf_destroy(p->renewal.conf);
  free(p);
}
