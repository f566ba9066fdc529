/*
** producer.c - see producer.h
*/
#include "kafka/producer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kafka/client.h"
#include "kafka/clock.h"
#include "kafka/system.h"
#include "kafka/errors.h"
#include "kafka/stall.h"
#include "kafka/warnings.h"
#include "kafka/watch.h"

#define LINGER_MS 100 /* a flush of all waits so long, without a thread */
#define PURGE_AGAIN_MS 100
#define END_GRACE 0.25 /* seconds for librdkafka's threads to end */
#define ANSWER_MS 1000 /* for a broker to prove that it is there after all */

struct strand_producer {
  strand_client *client; /* NULL: closed */
  strand_log *log;
  int fd;
  int reports_all;
  strand_warnings *warnings; /* NULL: the reports are taken */
  int flushing;              /* until nothing is outstanding */
  int hurried;               /* how many wait, by strand_producer_hurry */
  int hastens;               /* for either of them nothing lingers now */
  int held;                  /* taken, and not given on */
  int kept;                  /* the same, by strand_producer_keep */
  int oauth_wanted;          /* a token is due */
  int unreachable; /* all brokers were down, and none has reported since */
  strand_producer_limits limits;
  strand_delivery *first; /* deliveries, oldest first */
  strand_delivery *last;
  strand_watches watches;
  strand_producer_events events;
  strand_producer_counts counts;
  strand_stall stall;
  int64_t reminder_us; /* what the calls' thread was told; 0: nothing */
};

/* ---- the fd ------------------------------------------------------------- */

static void raise_fd (void *argument) {
  static const uint64_t one = 1;
  const strand_producer *p = argument;
  ssize_t written = write(p->fd, &one, sizeof(one));
  (void)written; /* full: it is readable already */
}

static void clear_fd (const strand_producer *p) {
  uint64_t n;
  ssize_t got = read(p->fd, &n, sizeof(n));
  (void)got;
}

/* (2) */
static int has_reports (const strand_producer *p) {
  return p->first != NULL || p->events.count > 0 || p->watches.ready > 0
         || p->held || p->kept;
}

static int has_waiting (const strand_producer *p) {
  return has_reports(p) || p->oauth_wanted || !strand_log_is_empty(p->log);
}

/* What is the operating system's goes when it is closed and the last report
** was taken; a client that still ends has its own. */
static void give_back_fd (strand_producer *p) {
  if (p->client != NULL || p->fd < 0 || has_reports(p)) return;
  strand_log_set_notify(p->log, NULL, NULL);
  close(p->fd);
  p->fd = -1;
}

/* Something may have been taken, or come. */
static void tell_waiting (strand_producer *p) {
  if (p->fd < 0) return;
  if (has_waiting(p)) raise_fd(p);
  give_back_fd(p);
}

/* ---- reports ------------------------------------------------------------ */

static void count_report (strand_producer *p, rd_kafka_resp_err_t err) {
  strand_producer_counts *counts = &p->counts;
  counts->outstanding--;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) counts->delivered++;
  else if (strand_error_kind_of(err) == STRAND_ERROR_PURGED) counts->purged++;
  else counts->failed++;
  assert(counts->outstanding >= 0);
  assert(counts->sent
         == counts->delivered + counts->failed + counts->purged
              + counts->outstanding); /* (1) */
}

static void add_delivery (strand_producer *p, strand_delivery *report) {
  if (report == NULL) return; /* out of memory: counted all the same */
  if (p->last != NULL) p->last->next = report;
  else p->first = report;
  p->last = report;
  p->counts.untaken++;
}

static void take_report (strand_producer *p,
                         const rd_kafka_message_t *message) {
  strand_pending *ticket = strand_placement_ticket(message->_private);
  count_report(p, message->err);
  if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) p->unreachable = 0;
  strand_stall_reported(&p->stall, strand_placement_label(message->_private),
                        message->err, rd_kafka_topic_name(message->rkt),
                        message->partition);
  if (message->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
    strand_calls_doubt(p->client->calls, rd_kafka_topic_name(message->rkt));
  if (ticket != NULL) {
    strand_watch *watch = (strand_watch *)(void *)ticket;
    strand_delivery_fill(watch->report, message);
    strand_watches_finish(&p->watches, watch);
  }
  else if (p->reports_all) {
    add_delivery(p, strand_delivery_new(message));
  }
  else if (p->warnings != NULL) strand_delivery_warn(p->warnings, message);
}

/* ---- events ------------------------------------------------------------- */

static void take_event (strand_producer *p, rd_kafka_event_t *event) {
  const rd_kafka_message_t *message;
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
      while ((message = rd_kafka_event_message_next(event)) != NULL)
        take_report(p, message);
      break;
    case RD_KAFKA_EVENT_ERROR:
      if (strand_producer_events_take(&p->events, p->client->handle, event))
        p->unreachable = 1;
      break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH: p->oauth_wanted = 1; break;
    default: break;
  }
  rd_kafka_event_destroy(event);
}

/* A flush ends with the last report, whoever collects it. */
static void look_at_linger (strand_producer *p) {
  int some = p->counts.outstanding > 0;
  int on = (p->flushing && some && p->limits.linger_ms > LINGER_MS)
           || (p->hurried > 0 && some && p->limits.linger_ms > 0);
  if (!some) p->flushing = 0;
  if (on != p->hastens) p->hastens = strand_calls_flush(p->client->calls, on);
}

/* ---- records that are out for too long ---------------------------------- */

static void take_answer (strand_producer *p) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err;
  strand_obstacle obstacle;
  if (!strand_calls_take_stalled(p->client->calls, &err, &list)) return;
  if (strand_stall_answered(&p->stall, err, list, strand_clock_us(),
                            &obstacle))
    strand_producer_events_tell(&p->events, p->log, &obstacle);
  if (list != NULL) rd_kafka_topic_partition_list_destroy(list);
}

static void set_reminder (strand_producer *p) {
  if (p->reminder_us == p->stall.due_us) return;
  p->reminder_us = p->stall.due_us;
  strand_calls_remind(p->client->calls, p->reminder_us);
}

static void look_at_stall (strand_producer *p) {
  if (p->client->calls == NULL) return; /* it could not be opened */
  if (p->stall.asking) take_answer(p);
  if (strand_calls_take_reminder(p->client->calls)
      && strand_stall_tick(&p->stall, strand_clock_us()))
    p->stall.asking = strand_calls_ask_stalled(p->client->calls);
  set_reminder(p);
}

/* ---- collecting --------------------------------------------------------- */

/* Waits up to 'ms' for the first event, and takes all that are there. */
static void collect (strand_producer *p, int ms) {
  rd_kafka_event_t *event;
  while ((event = rd_kafka_queue_poll(p->client->queue, ms)) != NULL) {
    take_event(p, event);
    ms = 0;
  }
  look_at_stall(p);
  look_at_linger(p);
  if (p->warnings != NULL && p->counts.failed > 0)
    strand_warnings_tick(p->warnings, strand_clock_us());
}

/* The fd is cleared first: what comes after that makes it readable again. */
static void refresh (strand_producer *p) {
  if (p->fd < 0) return;
  clear_fd(p);
  if (p->client != NULL) collect(p, 0);
  tell_waiting(p);
}

/* ---- opening ------------------------------------------------------------ */

static int open_own (strand_producer *p,
                     const strand_producer_options *options,
                     strand_failure *failure) {
  p->log = strand_log_new(!options->keeps_log);
  if (p->log == NULL) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return 0;
  }
  p->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (p->fd >= 0) return 1;
  strand_fail_descriptor(failure, "a producer's eventfd", errno);
  return 0;
}

static int open_client (strand_producer *p,
                        const strand_producer_options *options,
                        strand_failure *failure) {
  rd_kafka_conf_t *conf;
  int events = RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR;
  if (options->has_oauth) events |= RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
  p->client = strand_client_new(p->log, p->fd, failure);
  if (p->client == NULL) return 0;
  conf = strand_producer_conf_new(options, &p->client->placement, failure);
  if (conf == NULL) return 0;
  strand_producer_conf_read(conf, &p->limits);
  p->counts.max_queued_records = p->limits.max_records;
  p->counts.max_queued_bytes = p->limits.max_bytes;
  strand_stall_init(&p->stall, p->limits.linger_ms, p->limits.timeout_ms,
                    p->limits.all_acks);
  strand_conf_warn(RD_KAFKA_PRODUCER, options->props, options->prop_count,
                   p->log);
  return strand_client_open(p->client, RD_KAFKA_PRODUCER, conf, events,
                            failure);
}

static void ask_partitions (strand_producer *p,
                            const strand_producer_options *options) {
  strand_failure ignored; /* not known yet: that is why it is asked */
  size_t i;
  for (i = 0; i < options->topic_count; i++)
    strand_calls_ask_partitions(p->client->calls, options->topics[i],
                                &ignored);
  if (options->topic_count > 0 && options->topics_timeout > 0)
    strand_calls_wait(p->client->calls,
                      strand_clock_now() + options->topics_timeout);
}

static int open_warnings (strand_producer *p, strand_failure *failure) {
  if (p->reports_all) return 1;
  p->warnings = strand_warnings_new(p->log);
  if (p->warnings != NULL) return 1;
  strand_fail(failure, "NO_MEMORY", "out of memory");
  return 0;
}

strand_producer *strand_producer_open (const strand_producer_options *options,
                                       strand_failure *failure) {
  strand_producer *p = calloc(1, sizeof(*p));
  if (p == NULL) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return NULL;
  }
  p->reports_all = options->reports_all;
  p->fd = -1;
  if (!open_own(p, options, failure) || !open_client(p, options, failure)
      || !open_warnings(p, failure)) {
    strand_producer_free(p);
    return NULL;
  }
  if (options->keeps_log) strand_log_set_notify(p->log, raise_fd, p);
  if (has_waiting(p)) raise_fd(p); /* lines from before the hook */
  ask_partitions(p, options);
  return p;
}

int strand_producer_fd (const strand_producer *p) {
  return p->fd;
}

int strand_producer_is_closed (const strand_producer *p) {
  return p->client == NULL;
}

/* ---- sending ------------------------------------------------------------ */

static void fail_full (const strand_producer *p, strand_failure *failure) {
  strand_fail(failure, "QUEUE_FULL",
              "the producer's queue is full "
              "(max_queued_records %lld, max_queued_bytes %lld)",
              (long long)p->counts.max_queued_records,
              (long long)p->counts.max_queued_bytes);
}

static void fail_send (const strand_producer *p, rd_kafka_resp_err_t err,
                       const strand_outgoing *record,
                       strand_failure *failure) {
  char text[300];
  if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    fail_full(p, failure);
  }
  else if (err == RD_KAFKA_RESP_ERR__FATAL) {
    err = rd_kafka_fatal_error(p->client->handle, text, sizeof(text));
    strand_fail_kafka(failure, err, "the producer cannot go on");
  }
  else if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
    strand_fail(failure, "MSG_SIZE_TOO_LARGE",
                "topic '%.249s': the record is "
                "larger than 'message.max.bytes' (%s)",
                record->topic, p->limits.max_message_bytes);
  }
  else {
    snprintf(text, sizeof(text), "topic '%.249s'", record->topic);
    strand_fail_kafka(failure, err, text);
  }
}

static void count_sent (strand_producer *p, int label) {
  p->counts.sent++;
  p->counts.outstanding++;
  if (p->counts.outstanding == 1)
    strand_stall_begin(&p->stall, label, strand_clock_us());
  strand_stall_sent(&p->stall, label);
  set_reminder(p);
}

/* Reports nobody collected still count as queued: collects them, once. */
static int produce_patiently (strand_producer *p,
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
    count_sent(p, strand_placement_label(opaque));
    if (p->hurried > 0) look_at_linger(p);
    return 1;
  }
  if (headers != NULL) rd_kafka_headers_destroy(headers);
  fail_send(p, err, record, failure);
  return 0;
}

static int send_watched (strand_producer *p, const strand_outgoing *record,
                         const strand_pending *ticket, int64_t *id,
                         strand_failure *failure) {
  strand_delivery *report = strand_delivery_room(record->topic,
                                                 record->key_length);
  strand_watch *watch = report != NULL
                          ? strand_watches_add(&p->watches, report)
                          : NULL;
  if (watch == NULL) {
    free(report);
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return 0;
  }
  watch->ticket = *ticket;
  *id = watch->id;
  if (produce_patiently(p, record, watch, failure)) return 1;
  strand_watches_remove(&p->watches, watch);
  free(report);
  return 0;
}

int strand_producer_send (strand_producer *p, const strand_outgoing *record,
                          int64_t *watch, strand_failure *failure) {
  strand_pending ticket = { 0, 0, p->stall.label };
  assert(p->client != NULL);
  if (p->counts.untaken >= p->counts.max_queued_records) { /* (3) */
    fail_full(p, failure);
    return 0;
  }
  if (record->partition < 0 && record->hash_key != NULL)
    ticket.has_hash = strand_partitioner_hash(
      p->client->placement.which, record->hash_key, record->hash_key_length,
      &ticket.hash);
  if (watch != NULL) return send_watched(p, record, &ticket, watch, failure);
  return produce_patiently(p, record, strand_placement_opaque(&ticket),
                           failure);
}

/* ---- taking ------------------------------------------------------------- */

int strand_producer_watched (strand_producer *p, int64_t id,
                             const strand_delivery **report) {
  strand_watch *watch = strand_watches_find(&p->watches, id);
  if (watch != NULL && !watch->done) refresh(p);
  watch = strand_watches_find(&p->watches, id);
  if (watch == NULL) return -1;
  if (!watch->done) return p->client != NULL ? 0 : -2;
  *report = watch->report;
  return 1;
}

void strand_producer_drop_watched (strand_producer *p, int64_t id) {
  strand_watch *watch = strand_watches_find(&p->watches, id);
  if (watch != NULL) strand_watches_drop(&p->watches, watch);
  give_back_fd(p);
}

strand_delivery *strand_producer_next_delivery (strand_producer *p) {
  strand_delivery *report;
  if (p->first == NULL) refresh(p);
  report = p->first;
  if (report == NULL) return NULL;
  p->first = report->next;
  if (p->first == NULL) p->last = NULL;
  report->next = NULL;
  p->counts.untaken--;
  return report;
}

int strand_producer_next_event (strand_producer *p,
                                strand_producer_event *event) {
  if (p->events.count == 0) refresh(p);
  return strand_producer_events_pop(&p->events, event);
}

int strand_producer_next_log (strand_producer *p, strand_log_line *line) {
  return strand_log_pop(p->log, line);
}

void strand_producer_hold (strand_producer *p, int held) {
  p->held = held;
  give_back_fd(p);
}

void strand_producer_keep (strand_producer *p, int kept) {
  p->kept = kept;
  tell_waiting(p);
}

int32_t strand_producer_partitions (strand_producer *p, const char *topic,
                                    strand_failure *failure) {
  return strand_calls_ask_partitions(p->client->calls, topic, failure);
}

void strand_producer_await_topics (strand_producer *p, double seconds) {
  if (p->client == NULL) return;
  strand_calls_wait(p->client->calls, strand_clock_now() + seconds);
}

/* ---- tokens ------------------------------------------------------------- */

int strand_producer_oauth_needed (strand_producer *p) {
  if (!p->oauth_wanted) refresh(p);
  return p->oauth_wanted && p->client != NULL;
}

/* Before the client is told: what it asks after that is another request. */
int strand_producer_oauth_set (strand_producer *p, const char *token,
                               int64_t expires_ms, const char *principal,
                               strand_failure *failure) {
  p->oauth_wanted = 0;
  if (p->client == NULL) return 1;
  return strand_client_token(p->client, token, expires_ms, principal, failure);
}

void strand_producer_oauth_fail (strand_producer *p, const char *message) {
  p->oauth_wanted = 0;
  if (p->client == NULL) return;
  rd_kafka_oauthbearer_set_token_failure(p->client->handle, message);
}

/* ---- flushing and closing ----------------------------------------------- */

int64_t strand_producer_outstanding (const strand_producer *p) {
  return p->counts.outstanding;
}

void strand_producer_flush_begin (strand_producer *p) {
  if (p->counts.outstanding == 0) return;
  p->flushing = 1;
  look_at_linger(p);
}

void strand_producer_hurry (strand_producer *p, int on) {
  if (on) p->hurried++;
  else if (p->hurried > 0) p->hurried--; /* said once too often */
  if (p->client != NULL) look_at_linger(p);
}

/* That all brokers were down is told once, and not that one came back: asks
** for one. */
static bool reach (strand_producer *p, int ms) {
  const rd_kafka_metadata_t *metadata;
  if (rd_kafka_metadata(p->client->handle, 0, NULL, &metadata, ms)
      != RD_KAFKA_RESP_ERR_NO_ERROR)
    return false;
  rd_kafka_metadata_destroy(metadata);
  p->unreachable = 0;
  return true;
}

/* False: it ended early, since no broker answered within 'answer_ms'. */
static bool flush (strand_producer *p, double timeout, int answer_ms) {
  double deadline = strand_clock_now() + timeout;
  bool reached = true;
  strand_producer_flush_begin(p);
  refresh(p);
  while (p->counts.outstanding > 0) {
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
  return p->counts.outstanding;
}

/* Purging makes reports of everything that is outstanding. Asked again: what
** a broker's thread was just retrying may have slipped past. */
static void purge (strand_producer *p, double deadline) {
  int ms = 1;
  collect(p, 0);
  while (p->counts.outstanding > 0 && ms > 0) {
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
  if (p->warnings != NULL) strand_warnings_tick(p->warnings, INT64_MAX);
  p->client = NULL;
  p->flushing = 0;
  p->oauth_wanted = 0;
  if (deadline < strand_clock_now() + grace)
    deadline = strand_clock_now() + grace;
  p->counts.detached = !strand_client_end(client, deadline);
  tell_waiting(p);
}

void strand_producer_close (strand_producer *p, double timeout) {
  int64_t lost;
  if (p->client == NULL) return;
  end_client(p, strand_clock_now() + timeout, END_GRACE);
  lost = p->counts.purged + p->counts.outstanding;
  if (lost == 0 || p->warnings == NULL) return;
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
  *counts = p->counts;
  counts->events_dropped = p->events.dropped;
  counts->log_dropped = strand_log_dropped(p->log);
}

void strand_producer_free (strand_producer *p) {
  if (p == NULL) return;
  if (p->client != NULL) strand_producer_close(p, 0);
  while (p->first != NULL) {
    strand_delivery *report = p->first;
    p->first = report->next;
    free(report);
  }
  /* A client that is still ending might look at a ticket. */
  strand_watches_destroy(&p->watches, !p->counts.detached);
  strand_warnings_free(p->warnings);
  if (p->log != NULL) strand_log_set_notify(p->log, NULL, NULL);
  strand_log_release(p->log);
  if (p->fd >= 0) close(p->fd);
  free(p);
}
