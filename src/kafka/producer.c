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

#define EVENTS_MAX 64
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
  int linger_ms;
  char max_message_bytes[16];
  strand_delivery *first; /* deliveries, oldest first */
  strand_delivery *last;
  strand_watches watches;
  strand_producer_event events[EVENTS_MAX];
  int event_first;
  int event_count;
  strand_producer_counts counts;
  strand_stall stall;
  int64_t reminder_us; /* what the errands' thread was told; 0: nothing */
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
  return p->first != NULL || p->event_count > 0 || p->watches.ready > 0
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

/* Room for one, NULL when memory runs out. */
static strand_delivery *report_room (const char *topic, size_t key_length) {
  return calloc(1,
                sizeof(strand_delivery) + strlen(topic) + 1 + key_length + 1);
}

static void report_fill (strand_delivery *report,
                         const rd_kafka_message_t *message) {
  const char *topic = rd_kafka_topic_name(message->rkt);
  size_t name_size = strlen(topic) + 1;
  size_t key_length = message->key != NULL ? message->key_len : 0;
  report->partition = message->partition;
  report->offset = message->offset;
  report->timestamp_ms = rd_kafka_message_timestamp(message, NULL);
  memcpy(report->bytes, topic, name_size);
  report->topic = report->bytes;
  if (message->key != NULL) {
    memcpy(report->bytes + name_size, message->key, key_length);
    report->key = report->bytes + name_size;
    report->key_length = key_length;
  }
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    strand_code_of(message->err, report->code, sizeof(report->code));
    report->error = rd_kafka_err2str(message->err);
  }
}

static strand_delivery *report_new (const rd_kafka_message_t *message) {
  size_t key_length = message->key != NULL ? message->key_len : 0;
  strand_delivery *report = report_room(rd_kafka_topic_name(message->rkt),
                                        key_length);
  if (report != NULL) report_fill(report, message);
  return report;
}

/* Where nobody takes the reports, what failed is said in the log. Not what was
** given up: whoever closes says how many. */
static void warn_failed (strand_producer *p,
                         const rd_kafka_message_t *message) {
  const char *reason = rd_kafka_err2str(message->err);
  strand_event event;
  if (p->warnings == NULL || message->err == RD_KAFKA_RESP_ERR_NO_ERROR
      || strand_error_kind_of(message->err) == STRAND_ERROR_PURGED)
    return;
  event = strand_event_of("not_delivered", -1);
  strand_event_set_topic(&event, rd_kafka_topic_name(message->rkt),
                         message->partition);
  if (message->key != NULL)
    strand_event_set_key(&event, message->key, message->key_len);
  strand_event_set_reason(&event, reason, strlen(reason));
  strand_code_of(message->err, event.code, sizeof(event.code));
  strand_warnings_take(p->warnings, &event, strand_clock_us());
  strand_event_clear(&event);
}

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
    strand_errand_doubt(p->client->errand, rd_kafka_topic_name(message->rkt));
  if (ticket != NULL) {
    strand_watch *watch = (strand_watch *)(void *)ticket;
    report_fill(watch->report, message);
    strand_watches_finish(&p->watches, watch);
  }
  else if (p->reports_all) {
    add_delivery(p, report_new(message));
  }
  else warn_failed(p, message);
}

/* ---- events ------------------------------------------------------------- */

/* NULL for what librdkafka says in passing and mends by itself. */
static const char *event_type (rd_kafka_resp_err_t err) {
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_AWAY:
      return err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ? "unreachable" : NULL;
    case STRAND_ERROR_UNAUTHENTICATED:
    case STRAND_ERROR_UNAUTHORIZED: return "auth_failed";
    default: return "error";
  }
}

static strand_producer_event *event_slot (strand_producer *p) {
  if (p->event_count == EVENTS_MAX) {
    p->event_first = (p->event_first + 1) % EVENTS_MAX;
    p->event_count--;
    p->counts.events_dropped++;
  }
  return &p->events[(p->event_first + p->event_count++) % EVENTS_MAX];
}

static void take_error (strand_producer *p, rd_kafka_event_t *event) {
  char text[512];
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  const char *type = event_type(err);
  strand_producer_event *slot;
  if (type == NULL) return;
  if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) p->unreachable = 1;
  snprintf(text, sizeof(text), "%s", rd_kafka_event_error_string(event));
  slot = event_slot(p);
  slot->fatal = err == RD_KAFKA_RESP_ERR__FATAL;
  if (slot->fatal)
    err = rd_kafka_fatal_error(p->client->handle, text, sizeof(text));
  slot->type = type;
  slot->topic[0] = '\0';
  slot->time = strand_clock_wall();
  strand_code_of(err, slot->code, sizeof(slot->code));
  strand_log_escape(slot->reason, sizeof(slot->reason), text, strlen(text));
}

static void take_event (strand_producer *p, rd_kafka_event_t *event) {
  const rd_kafka_message_t *message;
  switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
      while ((message = rd_kafka_event_message_next(event)) != NULL)
        take_report(p, message);
      break;
    case RD_KAFKA_EVENT_ERROR: take_error(p, event); break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH: p->oauth_wanted = 1; break;
    default: break;
  }
  rd_kafka_event_destroy(event);
}

/* A flush ends with the last report, whoever collects it. */
static void look_at_linger (strand_producer *p) {
  int some = p->counts.outstanding > 0;
  int on = (p->flushing && some && p->linger_ms > LINGER_MS)
           || (p->hurried > 0 && some && p->linger_ms > 0);
  if (!some) p->flushing = 0;
  if (on != p->hastens)
    p->hastens = strand_errand_flush(p->client->errand, on);
}

/* ---- records that are out for too long ---------------------------------- */

static void tell_obstacle (strand_producer *p,
                           const strand_obstacle *obstacle) {
  strand_producer_event *slot = event_slot(p);
  slot->type = obstacle->type;
  slot->time = strand_clock_wall();
  slot->fatal = 0;
  strand_code_of(obstacle->err, slot->code, sizeof(slot->code));
  snprintf(slot->topic, sizeof(slot->topic), "%s", obstacle->topic);
  slot->partition = obstacle->partition;
  snprintf(slot->reason, sizeof(slot->reason), "%s", obstacle->reason);
  strand_log_printf(p->log, STRAND_LOG_WARNING, "strand",
                    "records wait: %s: %s (%s)", obstacle->type,
                    obstacle->reason, slot->code);
}

static void take_answer (strand_producer *p) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err;
  strand_obstacle obstacle;
  if (!strand_errand_take_stalled(p->client->errand, &err, &list)) return;
  if (strand_stall_answered(&p->stall, err, list, strand_clock_us(),
                            &obstacle))
    tell_obstacle(p, &obstacle);
  if (list != NULL) rd_kafka_topic_partition_list_destroy(list);
}

static void set_reminder (strand_producer *p) {
  if (p->reminder_us == p->stall.due_us) return;
  p->reminder_us = p->stall.due_us;
  strand_errand_remind(p->client->errand, p->reminder_us);
}

static void look_at_stall (strand_producer *p) {
  if (p->client->errand == NULL) return; /* it could not be opened */
  if (p->stall.asking) take_answer(p);
  if (strand_errand_take_reminder(p->client->errand)
      && strand_stall_tick(&p->stall, strand_clock_us()))
    p->stall.asking = strand_errand_ask_stalled(p->client->errand);
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

static int set_limit (rd_kafka_conf_t *conf,
                      const strand_producer_options *options,
                      const char *option, const char *name, int64_t value,
                      strand_failure *failure) {
  char text[32];
  char errstr[200];
  size_t i;
  if (value <= 0) return 1;
  for (i = 0; i < options->prop_count; i++)
    if (strcmp(options->props[i].name, name) == 0) return 1;
  snprintf(text, sizeof(text), "%lld", (long long)value);
  if (rd_kafka_conf_set(conf, name, text, errstr, sizeof(errstr))
      == RD_KAFKA_CONF_OK)
    return 1;
  strand_fail(failure, "OPTION", "option '%s': %s", option, errstr);
  return 0;
}

static double get_number (rd_kafka_conf_t *conf, const char *name) {
  char text[32] = "";
  size_t size = sizeof(text);
  if (rd_kafka_conf_get(conf, name, text, &size) != RD_KAFKA_CONF_OK) return 0;
  return strtod(text, NULL);
}

static int has_all_acks (rd_kafka_conf_t *conf) {
  char text[16] = "";
  size_t size = sizeof(text);
  rd_kafka_conf_get(conf, "acks", text, &size);
  return strand_stall_is_all(text);
}

static void read_limits (strand_producer *p, rd_kafka_conf_t *conf) {
  p->linger_ms = (int)get_number(conf, "linger.ms");
  strand_stall_init(&p->stall, p->linger_ms,
                    (int)get_number(conf, "message.timeout.ms"),
                    has_all_acks(conf));
  p->counts.max_queued_records = (int64_t)get_number(
    conf, "queue.buffering.max.messages");
  p->counts.max_queued_bytes = (int64_t)get_number(
                                 conf, "queue.buffering.max.kbytes")
                               * 1024;
  snprintf(p->max_message_bytes, sizeof(p->max_message_bytes), "%.0f",
           get_number(conf, "message.max.bytes"));
}

static rd_kafka_conf_t *make_conf (const strand_producer_options *options,
                                   strand_placement *placement,
                                   strand_failure *failure) {
  rd_kafka_conf_t *conf;
  const char *name = options->partitioner;
  if (!strand_partitioner_find(name != NULL ? name : "murmur2_random",
                               &placement->which)) {
    strand_fail(failure, "OPTION",
                "option 'partitioner': '%.32s' is not one "
                "of its names",
                name);
    return NULL;
  }
  conf = strand_conf_new(RD_KAFKA_PRODUCER, options->props,
                         options->prop_count, failure);
  if (conf == NULL) return NULL;
  strand_placement_install(conf, placement);
  if (set_limit(conf, options, "max_queued_records",
                "queue.buffering.max.messages", options->max_queued_records,
                failure)
      && set_limit(conf, options, "max_queued_bytes",
                   "queue.buffering.max.kbytes",
                   options->max_queued_bytes > 0
                     ? (options->max_queued_bytes + 1023) / 1024
                     : 0,
                   failure))
    return conf;
  rd_kafka_conf_destroy(conf);
  return NULL;
}

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
  conf = make_conf(options, &p->client->placement, failure);
  if (conf == NULL) return 0;
  read_limits(p, conf);
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
    strand_errand_ask_partitions(p->client->errand, options->topics[i],
                                 &ignored);
  if (options->topic_count > 0 && options->topics_timeout > 0)
    strand_errand_wait(p->client->errand,
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
                record->topic, p->max_message_bytes);
  }
  else {
    snprintf(text, sizeof(text), "topic '%.249s'", record->topic);
    strand_fail_kafka(failure, err, text);
  }
}

/* NULL for a record without headers. */
static rd_kafka_headers_t *make_headers (const strand_outgoing *record) {
  rd_kafka_headers_t *headers;
  size_t i;
  if (record->header_count == 0) return NULL;
  headers = rd_kafka_headers_new(record->header_count);
  for (i = 0; i < record->header_count; i++) {
    const strand_outgoing_header *h = &record->headers[i];
    rd_kafka_header_add(headers, h->name, (ssize_t)h->name_length, h->value,
                        (ssize_t)h->value_length);
  }
  return headers;
}

static rd_kafka_resp_err_t produce (strand_producer *p,
                                    const strand_outgoing *record,
                                    rd_kafka_headers_t *headers,
                                    void *opaque) {
  return rd_kafka_producev(
    p->client->handle, RD_KAFKA_V_TOPIC(record->topic),
    RD_KAFKA_V_PARTITION(record->partition),
    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
    RD_KAFKA_V_KEY(record->key, record->key_length),
    RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value, record->value_length),
    RD_KAFKA_V_TIMESTAMP(record->timestamp_ms), RD_KAFKA_V_HEADERS(headers),
    RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);
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
  rd_kafka_headers_t *headers = make_headers(record);
  rd_kafka_resp_err_t err = produce(p, record, headers, opaque);
  if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
    refresh(p);
    err = produce(p, record, headers, opaque);
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
  strand_delivery *report = report_room(record->topic, record->key_length);
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
  if (p->event_count == 0) refresh(p);
  if (p->event_count == 0) return 0;
  *event = p->events[p->event_first];
  p->event_first = (p->event_first + 1) % EVENTS_MAX;
  p->event_count--;
  return 1;
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
  return strand_errand_ask_partitions(p->client->errand, topic, failure);
}

void strand_producer_await_topics (strand_producer *p, double seconds) {
  if (p->client == NULL) return;
  strand_errand_wait(p->client->errand, strand_clock_now() + seconds);
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
