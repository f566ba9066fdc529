/*
** admin_reader.c - see admin_reader.h
*/
#include "kafka/admin_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "kafka/symbols.h"

static const char what[] = "read";

typedef int32_t leader_epoch_of (const rd_kafka_message_t *);

typedef struct reading {
  const strand_admin_reading *wanted;
  leader_epoch_of *epoch_of; /* NULL: before 2.1 */
  int64_t records;
  int64_t bytes;
  const char *ended; /* NULL: not yet */
} reading;

void strand_admin_reader_configure (rd_kafka_conf_t *conf) {
  static const char *const own[][2] = {
    { "enable.auto.commit", "false" },
    { "enable.auto.offset.store", "false" },
    { "auto.commit.enable", "false" }, /* the simple consumer's */
    { "enable.partition.eof", "true" },
    { "auto.offset.reset", "error" }, /* not other records in silence */
    { "fetch.wait.max.ms", "50" },    /* at the end nobody writes, as a rule */
    { "queued.min.messages", "10000000" }, /* a full queue waits a second */
    { "queued.max.messages.kbytes", "65536" },
  };
  char errstr[256];
  rd_kafka_conf_set(conf, "group.id", NULL, errstr, sizeof(errstr));
  for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
    rd_kafka_conf_set(conf, own[i][0], own[i][1], errstr, sizeof(errstr));
}

/*
** Records
*/

/* Returns how many bytes they have. */
static size_t add_headers (strand_reply *a, const rd_kafka_message_t *m) {
  rd_kafka_headers_t *headers;
  const char *name;
  const void *value;
  size_t bytes = 0, size;
  strand_reply_open(a, "headers");
  if (rd_kafka_message_headers(m, &headers) == 0) {
    for (size_t i = 0;
         rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0; i++) {
      strand_reply_open(a, NULL);
      strand_reply_text(a, NULL, name);
      strand_reply_bytes(a, NULL, value, size); /* NULL: it has none */
      strand_reply_close(a);
      bytes += strlen(name) + (value != NULL ? size : 0);
    }
  }
  strand_reply_close(a);
  return bytes;
}

static void add_time (strand_reply *a, const rd_kafka_message_t *m) {
  rd_kafka_timestamp_type_t type;
  int64_t ms = rd_kafka_message_timestamp(m, &type);
  if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) return;
  strand_reply_number(a, "timestamp", (double)ms / 1000);
  strand_reply_text(a, "timestamp_type",
                    type == RD_KAFKA_TIMESTAMP_CREATE_TIME ? "create"
                                                           : "append");
}

static void add_id (strand_reply *a, const char *topic,
                    const rd_kafka_message_t *m) {
  char id[300];
  snprintf(id, sizeof(id), "%.249s/%" PRId32 "/%" PRId64, topic, m->partition,
           m->offset);
  strand_reply_text(a, "id", id);
}

/* Returns how many bytes it has. Also an empty key is one. */
static size_t add_record (strand_reply *a, const reading *r,
                          const rd_kafka_message_t *m) {
  size_t key = m->key != NULL ? m->key_len : 0;
  size_t value = m->payload != NULL ? m->len : 0, headers;
  int32_t epoch = r->epoch_of != NULL ? r->epoch_of(m) : -1;
  strand_reply_open(a, NULL);
  add_id(a, r->wanted->topic, m);
  strand_reply_place(a, r->wanted->topic, m->partition);
  strand_reply_integer(a, "offset", m->offset);
  strand_reply_bytes(a, "key", m->key, key);
  strand_reply_bytes(a, "value", m->payload, value);
  add_time(a, m);
  if (epoch >= 0) strand_reply_integer(a, "leader_epoch", epoch);
  headers = add_headers(a, m);
  strand_reply_close(a);
  return key + value + headers;
}

static void take (strand_reply *a, reading *r, const rd_kafka_message_t *m) {
  if (m->offset < r->wanted->offset) return; /* of the same batch, before it */
  if (m->offset >= r->wanted->end) {         /* it came since */
    r->ended = "end";
    return;
  }
  r->bytes += (int64_t)add_record(a, r, m);
  r->records++;
  if (m->offset + 1 >= r->wanted->end) r->ended = "end";
  else if (r->records >= r->wanted->records) r->ended = "records";
  else if (r->bytes >= r->wanted->bytes || a->failed) r->ended = "bytes";
}

/* False and a failure: there will be no more. */
static bool take_error (reading *r, rd_kafka_resp_err_t err,
                        strand_failure *failure) {
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_UNREACHABLE:
    case STRAND_ERROR_LEADER:
    case STRAND_ERROR_PASSING: return true; /* until the deadline */
    default: break;
  }
  if (err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
    r->ended = "end";
    return true;
  }
  if (err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
    err = RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE; /* deleted meanwhile */
  strand_fail_kafka(failure, err, what);
  return false;
}

/*
** Reading
*/

static bool read_some (const strand_admin_client *c, rd_kafka_topic_t *topic,
                       reading *r, double deadline, strand_reply *reply,
                       strand_failure *failure) {
  while (r->ended == NULL) {
    bool ok = true;
    rd_kafka_message_t *m = rd_kafka_consume(topic, r->wanted->partition,
                                             strand_clock_left_ms(deadline));
    if (m == NULL) break;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
      ok = take_error(r, m->err, failure);
    else take(reply, r, m);
    rd_kafka_message_destroy(m);
    if (!ok) return false;
    if (strand_clock_left_ms(deadline) == 0) break;
  }
  if (r->ended == NULL && r->records == 0)
    return strand_admin_client_fail(c, RD_KAFKA_RESP_ERR__TIMED_OUT, what,
                                    failure);
  if (r->ended == NULL) r->ended = "timeout";
  return true;
}

/* Its end is waited for: no broker is asked for it. */
static bool read_topic (const strand_admin_client *c, rd_kafka_topic_t *topic,
                        reading *r, double deadline, strand_reply *reply,
                        strand_failure *failure) {
  bool ok;
  if (rd_kafka_consume_start(topic, r->wanted->partition, r->wanted->offset)
      != 0)
    return strand_admin_client_fail(c, rd_kafka_last_error(), what, failure);
  ok = read_some(c, topic, r, deadline, reply, failure);
  rd_kafka_consume_stop(topic, r->wanted->partition);
  return ok;
}

bool strand_admin_reader_read (strand_admin_client *c,
                               const strand_admin_reading *wanted,
                               double deadline, strand_reply *reply,
                               strand_failure *failure) {
  reading r = { .wanted = wanted };
  rd_kafka_topic_t *topic;
  bool ok;
  strand_symbol(&r.epoch_of, "rd_kafka_message_leader_epoch"); /* or NULL */
  topic = rd_kafka_topic_new(c->client->handle, wanted->topic, NULL);
  if (topic == NULL)
    return strand_admin_client_fail(c, rd_kafka_last_error(), what, failure);
  strand_reply_open(reply, NULL);
  strand_reply_open(reply, "records");
  ok = read_topic(c, topic, &r, deadline, reply, failure);
  rd_kafka_topic_destroy(topic);
  if (!ok) return false;
  strand_reply_close(reply);
  strand_reply_text(reply, "ended", r.ended);
  strand_reply_close(reply);
  return strand_reply_complete(reply, failure);
}
