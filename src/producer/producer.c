/*
** producer.c - see producer.h
*/
#include "producer/producer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/system.h"
#include "kafka/client.h"
#include "kafka/errors.h"
#include "producer/deliveries.h"
#include "producer/flushing.h"
#include "producer/unacked.h"

#define PURGE_AGAIN_MS 100
#define END_GRACE 0.25 /* seconds for librdkafka's threads to end */
#define ANSWER_MS 1000 /* for a broker to prove that it is there after all */

struct strand_producer {
  strand_client *client; /* NULL: closed */
  strand_log *log;
  strand_producer_limits limits;
  strand_deliveries deliveries;
  strand_producer_events events;
  strand_flushing flushing;
  strand_unacked unacked;
  int fd;
  bool held;         /* taken, and not given on */
  bool kept;         /* the same, by strand_producer_keep */
  bool oauth_wanted; /* a token is due */
  bool unreachable;  /* all brokers were down, none has reported since */
  bool detached;     /* closed, and librdkafka had not ended in time */
};

static int64_t outstanding (const strand_producer *p) {
  return p->deliveries.counts.outstanding;
}

/*
** The fd
*/

static void raise_fd (const strand_producer *p) {
  eventfd_write(p->fd, 1); /* full: it is readable already */
}

static void clear_fd (const strand_producer *p) {
  eventfd_t n;
  eventfd_read(p->fd, &n);
}

/* (1) */
static bool has_reports (const strand_producer *p) {
  return strand_deliveries_wait(&p->deliveries) || p->events.count > 0
         || p->held || p->kept;
}

static bool has_waiting (const strand_producer *p) {
  return has_reports(p) || p->oauth_wanted || !strand_log_is_empty(p->log);
}

/* What is the operating system's goes when it is closed and the last report
** was taken; a client that still ends has its own. */
static void give_back_fd (strand_producer *p) {
  if (p->client != NULL || p->fd < 0 || has_reports(p)) return;
  strand_log_set_fd(p->log, -1);
  close(p->fd);
  p->fd = -1;
}

/* Something may have been taken, or come. */
static void tell_waiting (strand_producer *p) {
  if (p->fd < 0) return;
  if (has_waiting(p)) raise_fd(p);
  give_back_fd(p);
}

/*
** Collecting
*/

static void take_report (strand_producer *p,
                         const rd_kafka_message_t *message) {
  const char *topic = rd_kafka_topic_name(message->rkt);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) p->unreachable = false;
  strand_unacked_reported(&p->unacked, message);
  if (message->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
    strand_calls_verify(p->client->calls, topic);
  strand_deliveries_report(&p->deliveries, message);
}

static void take_event (strand_producer *p, rd_kafka_event_t *event) {
  const rd_kafka_message_t *message;
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
      while ((message = rd_kafka_event_message_next(event)) != NULL)
        take_report(p, message);
      break;
    case RD_KAFKA_EVENT_ERROR:
      if (strand_producer_events_take(&p->events, p->client->handle, event))
        p->unreachable = true;
      break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
      p->oauth_wanted = true;
      break;
    default: break;
  }
  rd_kafka_event_destroy(event);
}

/* A flush ends with the last report, whoever collects it. */
static void update_flushing (strand_producer *p) {
  strand_flushing_update(&p->flushing, p->client->calls, outstanding(p));
}

static void check_parts (const strand_producer *p) {
  strand_deliveries_check(&p->deliveries);
  strand_flushing_check(&p->flushing, outstanding(p));
  strand_unacked_check(&p->unacked, outstanding(p));
  strand_producer_events_check(&p->events);
}

/* Waits up to 'ms' for the first event, and takes all that are there. */
static void collect (strand_producer *p, int ms) {
  rd_kafka_event_t *event;
  while ((event = rd_kafka_queue_poll(p->client->queue, ms)) != NULL) {
    take_event(p, event);
    ms = 0;
  }
  strand_deliveries_say(&p->deliveries, strand_clock_us());
  if (p->client->calls == NULL) return; /* it could not be opened */
  strand_unacked_turn(&p->unacked, p->client->calls, &p->events, p->log);
  update_flushing(p);
  check_parts(p);
}

/* The fd is cleared first: what comes after that makes it readable again. */
static void refresh (strand_producer *p) {
  if (p->fd < 0) return;
  clear_fd(p);
  if (p->client != NULL) collect(p, 0);
  tell_waiting(p);
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
  p->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (p->fd >= 0) return true;
  strand_fail_descriptor(failure, "a producer's eventfd", errno);
  return false;
}

static bool open_client (strand_producer *p,
                         const strand_producer_options *options,
                         strand_failure *failure) {
  rd_kafka_conf_t *conf;
  int events = RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR;
  if (options->has_oauth) events |= RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
  p->client = strand_client_new(p->log, p->fd, failure);
  if (p->client == NULL) return false;
  conf = strand_producer_conf_new(options, &p->client->placement, failure);
  if (conf == NULL) return false;
  strand_producer_conf_read(conf, &p->limits);
  strand_flushing_init(&p->flushing, p->limits.linger_ms);
  strand_unacked_init(&p->unacked, p->limits.linger_ms, p->limits.timeout_ms,
                      p->limits.all_acks);
  strand_conf_warn(RD_KAFKA_PRODUCER, options->props, options->prop_count,
                   p->log);
  return strand_client_open(p->client, RD_KAFKA_PRODUCER, conf, events,
                            failure);
}

strand_producer *strand_producer_open (const strand_producer_options *options,
                                       strand_failure *failure) {
  strand_producer *p = calloc(1, sizeof(*p));
  if (p == NULL) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return NULL;
  }
  p->fd = -1;
  if (!open_own(p, options, failure) || !open_client(p, options, failure)) {
    strand_producer_free(p);
    return NULL;
  }
  if (options->keeps_log) strand_log_set_fd(p->log, p->fd);
  if (has_waiting(p)) raise_fd(p); /* lines from before that */
  strand_calls_ask_all(p->client->calls, options->topics, options->topic_count,
                       options->topics_timeout);
  return p;
}

int strand_producer_fd (const strand_producer *p) {
  return p->fd;
}

bool strand_producer_is_closed (const strand_producer *p) {
  return p->client == NULL;
}

/*
** Sending
*/

/* Reports nobody collected still count as queued: collects them, once. */
static bool produce_patiently (strand_producer *p,
                               const strand_outgoing *record, void *opaque,
                               strand_failure *failure) {
  rd_kafka_headers_t *headers = strand_outgoing_headers(record);
  rd_kafka_resp_err_t err = strand_outgoing_produce(p->client->handle, record,
                                                    headers, opaque);
  if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    refresh(p);
    err = strand_outgoing_produce(p->client->handle, record, headers, opaque);
  }
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    strand_deliveries_sent(&p->deliveries);
    strand_unacked_sent(&p->unacked, p->client->calls,
                        strand_placement_label(opaque), outstanding(p) == 1);
    if (strand_flushing_is_hurried(&p->flushing)) update_flushing(p);
    return true;
  }
  if (headers != NULL) rd_kafka_headers_destroy(headers);
  strand_outgoing_fail(p->client->handle, err, record, &p->limits, failure);
  return false;
}

static bool send_pending (strand_producer *p, const strand_outgoing *record,
                          const strand_delivery_ticket *ticket, int64_t *id,
                          strand_failure *failure) {
  strand_pending_reports *all = &p->deliveries.pending;
  strand_delivery *report = strand_delivery_room(record->topic,
                                                 record->key_length);
  strand_pending_report *pending = report != NULL
                                     ? strand_pending_reports_add(all, report)
                                     : NULL;
  if (pending == NULL) {
    free(report);
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return false;
  }
  pending->ticket = *ticket;
  *id = pending->id;
  if (produce_patiently(p, record, pending, failure)) return true;
  free(strand_pending_reports_remove(all, pending));
  return false;
}

bool strand_producer_send (strand_producer *p, const strand_outgoing *record,
                           int64_t *pending, strand_failure *failure) {
  strand_delivery_ticket ticket = { .label = strand_unacked_label(
                                      &p->unacked) };
  assert(p->client != NULL);
  if (p->deliveries.counts.untaken >= p->limits.max_records) { /* (2) */
    strand_outgoing_fail(p->client->handle, RD_KAFKA_RESP_ERR__QUEUE_FULL,
                         record, &p->limits, failure);
    return false;
  }
  if (record->partition < 0 && record->hash_key != NULL)
    ticket.has_hash = strand_partitioner_hash(
      p->client->placement.which, record->hash_key, record->hash_key_length,
      &ticket.hash);
  if (pending != NULL)
    return send_pending(p, record, &ticket, pending, failure);
  return produce_patiently(p, record, strand_placement_opaque(&ticket),
                           failure);
}

/*
** Taking
*/

int strand_producer_poll_pending (strand_producer *p, int64_t id,
                                  const strand_delivery **report) {
  const strand_pending_reports *all = &p->deliveries.pending;
  const strand_pending_report *pending = strand_pending_reports_find(all, id);
  if (pending != NULL && !pending->done) refresh(p);
  pending = strand_pending_reports_find(all, id);
  if (pending == NULL) return -1;
  if (!pending->done) return p->client != NULL ? 0 : -2;
  *report = pending->report;
  return 1;
}

void strand_producer_drop_pending (strand_producer *p, int64_t id) {
  strand_pending_reports *all = &p->deliveries.pending;
  strand_pending_report *pending = strand_pending_reports_find(all, id);
  if (pending != NULL) strand_pending_reports_drop(all, pending);
  give_back_fd(p);
}

strand_delivery *strand_producer_next_delivery (strand_producer *p) {
  if (p->deliveries.counts.untaken == 0) refresh(p);
  return strand_deliveries_next(&p->deliveries);
}

bool strand_producer_next_event (strand_producer *p,
                                 strand_producer_event *event) {
  if (p->events.count == 0) refresh(p);
  return strand_producer_events_pop(&p->events, event);
}

bool strand_producer_next_log (strand_producer *p, strand_log_line *line) {
  return strand_log_pop(p->log, line);
}

void strand_producer_hold (strand_producer *p, bool held) {
  p->held = held;
  give_back_fd(p);
}

void strand_producer_keep (strand_producer *p, bool kept) {
  p->kept = kept;
  tell_waiting(p);
}

int32_t strand_producer_ask_partitions (strand_producer *p, const char *topic,
                                        strand_failure *failure) {
  return strand_calls_ask_partitions(p->client->calls, topic, failure);
}

void strand_producer_await_topics (strand_producer *p, double seconds) {
  if (p->client == NULL) return;
  strand_calls_wait(p->client->calls, strand_clock_now() + seconds);
}

/*
** Tokens
*/

bool strand_producer_poll_oauth (strand_producer *p) {
  if (!p->oauth_wanted) refresh(p);
  return p->oauth_wanted && p->client != NULL;
}

/* Before the client is told: what it asks after that is another request. */
bool strand_producer_oauth_set (strand_producer *p, const char *token,
                                int64_t expires_ms, const char *principal,
                                strand_failure *failure) {
  p->oauth_wanted = false;
  if (p->client == NULL) return true;
  return strand_client_token(p->client, token, expires_ms, principal, failure);
}

void strand_producer_oauth_fail (strand_producer *p, const char *message) {
  p->oauth_wanted = false;
  if (p->client == NULL) return;
  rd_kafka_oauthbearer_set_token_failure(p->client->handle, message);
}

/*
** Flushing and closing
*/

int64_t strand_producer_outstanding (const strand_producer *p) {
  return outstanding(p);
}

void strand_producer_flush_begin (strand_producer *p) {
  if (outstanding(p) == 0) return;
  strand_flushing_begin(&p->flushing);
  update_flushing(p);
}

void strand_producer_hurry (strand_producer *p, bool on) {
  strand_flushing_hurry(&p->flushing, on);
  if (p->client != NULL) update_flushing(p);
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

/* False: it ended early, since no broker answered within 'answer_ms'. */
static bool flush (strand_producer *p, double timeout, int answer_ms) {
  double deadline = strand_clock_now() + timeout;
  bool reached = true;
  strand_producer_flush_begin(p);
  refresh(p);
  while (outstanding(p) > 0) {
    int ms = strand_clock_left_ms(deadline);
    if (ms == 0) break;
    if (p->unreachable) reached = reach(p, ms < answer_ms ? ms : answer_ms);
    if (!reached) break;
    collect(p, strand_clock_left_ms(deadline));
  }
  if (has_waiting(p)) raise_fd(p);
  return reached;
}

int64_t strand_producer_flush (strand_producer *p, double timeout) {
  flush(p, timeout, ANSWER_MS);
  return outstanding(p);
}

/* Purging makes reports of everything that is outstanding. Asked again: what
** a broker's thread was just retrying may have slipped past. */
static void purge (strand_producer *p, double deadline) {
  int ms = 1;
  collect(p, 0);
  while (outstanding(p) > 0 && ms > 0) {
    rd_kafka_purge(p->client->handle, RD_KAFKA_PURGE_F_QUEUE
                                        | RD_KAFKA_PURGE_F_INFLIGHT
                                        | RD_KAFKA_PURGE_F_NON_BLOCKING);
    ms = strand_clock_left_ms(deadline);
    collect(p, ms < PURGE_AGAIN_MS ? ms : PURGE_AGAIN_MS);
  }
}

static void end_client (strand_producer *p, double deadline, double grace) {
  strand_client *client = p->client;
  if (client->queue != NULL) purge(p, deadline);
  strand_deliveries_say(&p->deliveries, INT64_MAX);
  p->client = NULL;
  strand_flushing_end(&p->flushing);
  p->oauth_wanted = false;
  if (deadline < strand_clock_now() + grace)
    deadline = strand_clock_now() + grace;
  p->detached = !strand_client_end(client, deadline);
  tell_waiting(p);
}

void strand_producer_close (strand_producer *p, double timeout) {
  int64_t lost;
  if (p->client == NULL) return;
  end_client(p, strand_clock_now() + timeout, END_GRACE);
  lost = p->deliveries.counts.purged + outstanding(p);
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
  if (p->client == NULL) return true;
  reached = flush(p, timeout - grace, (int)(patience * 1000));
  end_client(p, deadline, 0);
  return reached;
}

void strand_producer_refresh_counts (strand_producer *p,
                                     strand_producer_counts *counts) {
  refresh(p);
  counts->records = p->deliveries.counts;
  counts->events_dropped = p->events.dropped;
  counts->log_dropped = strand_log_dropped(p->log);
  counts->max_queued_records = p->limits.max_records;
  counts->max_queued_bytes = p->limits.max_bytes;
  counts->detached = p->detached;
}

void strand_producer_free (strand_producer *p) {
  if (p == NULL) return;
  if (p->client != NULL) strand_producer_close(p, 0);
  /* A client that is still ending might look at a ticket. */
  strand_deliveries_free(&p->deliveries, !p->detached);
  if (p->log != NULL) strand_log_set_fd(p->log, -1);
  strand_log_release(p->log);
  if (p->fd >= 0) close(p->fd);
  free(p);
}
