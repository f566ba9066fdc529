/*
** conf.c - see conf.h
*/
#include "kafka/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/system.h"
#include "kafka/conf_files.h"
#include "kafka/errors.h"

#define VERSION(major, minor, patch)                                          \
  (((major) << 24) | ((minor) << 16) | ((patch) << 8))
#define FIRST VERSION(0, 0, 0)
#define NEWEST 0x7fffffff

typedef enum kinds { CONSUMER = 1, PRODUCER = 2, BOTH = 3 } kinds;

/* Set for librdkafka versions in [since, below) unless the user did. */
typedef struct preset {
  kinds kind;
  int since;
  int below;
  const char *name;
  const char *value;
} preset;

static const preset presets[] = {
  { CONSUMER, FIRST, NEWEST, "enable.auto.commit", "false" },
  { CONSUMER, FIRST, NEWEST, "enable.auto.offset.store", "false" },
  { CONSUMER, FIRST, NEWEST, "enable.partition.eof", "true" },
  { CONSUMER, FIRST, NEWEST, "auto.offset.reset", "earliest" },
  { CONSUMER, FIRST, NEWEST, "partition.assignment.strategy",
    "range,roundrobin" },
  { CONSUMER, FIRST, VERSION(2, 2, 0), "queued.min.messages", "10000000" },
  { CONSUMER, FIRST, VERSION(2, 2, 0), "queued.max.messages.kbytes", "65536" },
  { CONSUMER, VERSION(2, 2, 0), NEWEST, "queued.max.messages.kbytes", "8192" },
  { CONSUMER, VERSION(2, 2, 0), NEWEST, "fetch.queue.backoff.ms", "20" },
  { PRODUCER, FIRST, NEWEST, "enable.idempotence", "true" },
  { PRODUCER, FIRST, NEWEST, "partitioner", "murmur2_random" },
  { PRODUCER, FIRST, NEWEST, "linger.ms", "5" },
  { BOTH, FIRST, NEWEST, "socket.nagle.disable", "true" },
  { BOTH, VERSION(2, 5, 0), NEWEST, "enable.metrics.push", "false" },
  { BOTH, FIRST, NEWEST, "reconnect.backoff.max.ms", "1000" }
};

#define PRESETS (sizeof(presets) / sizeof(presets[0]))

/* librdkafka knows these by a second name. */
static const char *const aliases[][2] = {
  { "queue.buffering.max.ms", "linger.ms" },
  { "delivery.timeout.ms", "message.timeout.ms" },
  { "auto.commit.enable", "enable.auto.commit" }
};

#define ALIASES (sizeof(aliases) / sizeof(aliases[0]))

typedef struct owned {
  kinds kind;
  const char *name;
  const char *reason;
} owned;

static const char commits[] =
  "strand commits what is done (option 'commit_interval')";
static const char itself[] = "strand uses it itself";
static const char callback[] =
  "a callback of librdkafka's threads cannot reach Lua";

/* A name that ends with _cb is refused also where it is not listed. */
static const owned refused[] = {
  { CONSUMER, "enable.auto.commit", commits },
  { CONSUMER, "auto.commit.enable", commits },
  { CONSUMER, "enable.auto.offset.store", "strand commits what is done" },
  { CONSUMER, "enable.partition.eof", itself },
  { BOTH, "consume.callback.max.messages", "strand reads without callbacks" },
  { PRODUCER, "delivery.report.only.error",
    "every record gets one delivery report" },
  { PRODUCER, "partitioner", "use the option 'partitioner' of the producer" },
  { PRODUCER, "transactional.id",
    "the option 'transactional_id' is for that" },
  { PRODUCER, "transaction.timeout.ms",
    "the option 'transaction_timeout' is for that" },
  { BOTH, "log.queue", "the option 'log' is for that" },
  { BOTH, "enabled_events", "strand serves librdkafka's events itself" },
  { BOTH, "opaque", itself },
  { BOTH, "interceptors",
    "interceptors could not be kept apart from strand's threads" },
  { BOTH, "default_topic_conf", "topic properties stand beside the others" },
  { BOTH, "msg_order_cmp", callback },
  { BOTH, "plugin.library.paths",
    "plugins could not be kept apart from strand's threads" },
  { BOTH, "rebalance_cb",
    "the events assigned, revoked and lost are for that" },
  { BOTH, "log_cb", "the option 'log' is for that" },
  { BOTH, "dr_cb", "the option 'on_delivery' is for that" },
  { BOTH, "dr_msg_cb", "the option 'on_delivery' is for that" },
  { BOTH, "oauthbearer_token_refresh_cb",
    "the option 'oauth_token' is for that" },
  { BOTH, "stats_cb", "stats() is for that" },
  { BOTH, "error_cb", "the option 'on_event' is for that" }
};

#define REFUSED (sizeof(refused) / sizeof(refused[0]))

bool strand_conf_version_at_least (int major, int minor, int patch) {
  return rd_kafka_version() >= VERSION(major, minor, patch);
}

static bool contains_nocase (const char *text, const char *part) {
  size_t length = strlen(part);
  for (; *text != '\0'; text++)
    if (strncasecmp(text, part, length) == 0) return true;
  return false;
}

/* Where a key is, is no secret: an error has to name the file. */
static bool is_location (const char *name) {
  static const char end[] = ".location";
  size_t length = strlen(name);
  return length >= sizeof(end)
         && strcasecmp(name + length - (sizeof(end) - 1), end) == 0;
}

bool strand_conf_is_secret (const char *name) {
  static const char *const parts[] = { "password", "secret",
                                       "pem",      "jaas",
                                       "token",    "ssl.key",
                                       "ssl_key",  "oauthbearer.config",
                                       "username" };
  size_t i;
  if (is_location(name)) return false;
  for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
    if (contains_nocase(name, parts[i])) return true;
  return false;
}

static const char *property (const strand_property *props, size_t count,
                             const char *name) {
  size_t i;
  for (i = 0; i < count; i++)
    if (strcmp(props[i].name, name) == 0) return props[i].value;
  return NULL;
}

bool strand_conf_has (const strand_property *props, size_t count,
                      const char *name) {
  size_t i;
  if (property(props, count, name) != NULL) return true;
  for (i = 0; i < ALIASES; i++)
    if (strcmp(aliases[i][1], name) == 0
        && property(props, count, aliases[i][0]) != NULL)
      return true;
  return false;
}

static bool is_new_protocol (const strand_property *props, size_t count) {
  const char *protocol = property(props, count, "group.protocol");
  return protocol != NULL && strcasecmp(protocol, "consumer") == 0;
}

static kinds kind_of (rd_kafka_type_t kind) {
  return kind == RD_KAFKA_PRODUCER ? PRODUCER : CONSUMER;
}

static bool is_callback (const char *name) {
  size_t length = strlen(name);
  return length > 3 && strcmp(name + length - 3, "_cb") == 0;
}

/* Versions of librdkafka in which a setting does harm. */
static const char *version_reason (rd_kafka_type_t kind,
                                   const strand_property *p) {
  if (kind == RD_KAFKA_CONSUMER
      && strcmp(p->name, "partition.assignment.strategy") == 0
      && contains_nocase(p->value, "cooperative-sticky")
      && !strand_conf_version_at_least(2, 3, 0))
    return "cooperative-sticky needs librdkafka 2.3.0 or newer: older ones "
           "abort the process when a consumer is closed during its first "
           "rebalance";
  if (kind == RD_KAFKA_CONSUMER && strcmp(p->name, "group.protocol") == 0
      && strcasecmp(p->value, "classic") != 0
      && !strand_conf_version_at_least(2, 12, 0))
    return "group protocols other than classic need librdkafka 2.12.0 or "
           "newer";
  return NULL;
}

const char *strand_conf_refusal (rd_kafka_type_t kind, const char *name) {
  size_t i;
  for (i = 0; i < REFUSED; i++)
    if ((refused[i].kind & kind_of(kind))
        && strcmp(refused[i].name, name) == 0)
      return refused[i].reason;
  return is_callback(name) ? callback : NULL;
}

/* librdkafka quotes values in some of its complaints, whole or in part (one
** flag of a list). A password may sit in the wrong field: stars for it. */
static void mask_value (char *text, const char *name, const char *value) {
  size_t length = strlen(value);
  char *start = text;
  char *end;
  if (length >= 4 && strcmp(value, name) != 0)
    for (; (start = strstr(start, value)) != NULL; start += length)
      memset(start, '*', length);
  for (start = text; (start = strchr(start, '"')) != NULL; start = end + 1) {
    end = strchr(++start, '"');
    if (end == NULL) break;
    *end = '\0';
    if (strcmp(start, name) != 0 && strstr(value, start) != NULL)
      memset(start, '*', strlen(start));
    *end = '"';
  }
}

/* A longer one may be cut by librdkafka, and then mask_value misses it. */
#define VALUE_MAX 200

static void fail_property (strand_failure *failure, const strand_property *p,
                           char *errstr) {
  char name[64];
  char text[257];
  strand_log_escape(name, sizeof(name), p->name, strlen(p->name));
  if (strand_conf_is_secret(p->name) || strlen(p->value) > VALUE_MAX) {
    strand_fail(failure, "OPTION",
                "option 'kafka': property '%s': "
                "librdkafka refuses its value (not shown)",
                name);
    return;
  }
  mask_value(errstr, p->name, p->value);
  strand_log_escape(text, sizeof(text), errstr, strcspn(errstr, "\n"));
  strand_fail(failure, "OPTION", "option 'kafka': property '%s': %s", name,
              text);
}

/* librdkafka reads "10s" as 10, of whatever unit the property has, and 1.5 as
** 1: it stops at what is no digit. */
static bool is_number_cut (const rd_kafka_conf_t *conf,
                           const strand_property *p) {
  char stored[32], read[32], *end;
  size_t size = sizeof(stored);
  long long number = strtoll(p->value, &end, 0);
  if (end == p->value || end[strspn(end, " \t\r\n")] == '\0') return false;
  if (rd_kafka_conf_get(conf, p->name, stored, &size) != RD_KAFKA_CONF_OK)
    return false;
  snprintf(read, sizeof(read), "%lld", number);
  return strcmp(stored, read) == 0
         && (strtod(p->value, &end) != (double)number || *end != '\0');
}

static bool set_property (rd_kafka_conf_t *conf, const strand_property *p,
                          strand_failure *failure) {
  char errstr[512];
  errstr[0] = '\0';
  if (rd_kafka_conf_set(conf, p->name, p->value, errstr, sizeof(errstr))
      != RD_KAFKA_CONF_OK) {
    fail_property(failure, p, errstr);
    return false;
  }
  if (!is_number_cut(conf, p)) return true;
  strand_fail(failure, "OPTION",
              "option 'kafka': property '%s': a whole number without a unit "
              "expected",
              p->name);
  return false;
}

static bool check_property (rd_kafka_type_t kind, const strand_property *p,
                            strand_failure *failure) {
  const char *reason = strand_conf_refusal(kind, p->name);
  if (reason == NULL) reason = version_reason(kind, p);
  if (reason == NULL) return true;
  strand_fail(failure, "OPTION",
              "option 'kafka': property '%s' cannot be set: %s", p->name,
              reason);
  return false;
}

size_t strand_conf_dump (rd_kafka_type_t kind, const strand_property *props,
                         size_t count,
                         strand_property out[STRAND_CONF_DEFAULTS_MAX]) {
  int version = rd_kafka_version();
  size_t n = 0;
  size_t i;
  for (i = 0; i < PRESETS && n < STRAND_CONF_DEFAULTS_MAX; i++) {
    const preset *p = &presets[i];
    if (!(p->kind & kind_of(kind))) continue;
    if (version < p->since || version >= p->below) continue;
    if (strand_conf_has(props, count, p->name)) continue;
    if (strcmp(p->name, "partition.assignment.strategy") == 0
        && is_new_protocol(props, count))
      continue; /* the broker assigns */
    out[n].name = p->name;
    out[n++].value = p->value;
  }
  return n;
}

static bool set_all (rd_kafka_conf_t *conf, rd_kafka_type_t kind,
                     const strand_property *props, size_t count,
                     strand_failure *failure) {
  strand_property defaults[STRAND_CONF_DEFAULTS_MAX];
  size_t n = strand_conf_dump(kind, props, count, defaults);
  size_t i;
  for (i = 0; i < count; i++)
    if (!check_property(kind, &props[i], failure)) return false;
  for (i = 0; i < n; i++)
    if (!set_property(conf, &defaults[i], failure)) return false;
  for (i = 0; i < count; i++)
    if (!set_property(conf, &props[i], failure)) return false;
  return true;
}

/* librdkafka's own default is GSSAPI, and so a complaint about kinit. */
static bool check_mechanism (const strand_property *props, size_t count,
                             strand_failure *failure) {
  const char *protocol = property(props, count, "security.protocol");
  if (protocol == NULL || strncasecmp(protocol, "sasl_", 5) != 0) return true;
  if (property(props, count, "sasl.mechanism") != NULL
      || property(props, count, "sasl.mechanisms") != NULL)
    return true;
  strand_fail(failure, "OPTION",
              "option 'kafka': 'sasl.mechanism' is "
              "required with 'security.protocol' %s: PLAIN, SCRAM-SHA-256, "
              "SCRAM-SHA-512, OAUTHBEARER or GSSAPI",
              protocol);
  return false;
}

rd_kafka_conf_t *strand_conf_new (rd_kafka_type_t kind,
                                  const strand_property *props, size_t count,
                                  strand_failure *failure) {
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  if (!set_all(conf, kind, props, count, failure)
      || !check_mechanism(props, count, failure)) {
    rd_kafka_conf_destroy(conf);
    return NULL;
  }
  rd_kafka_conf_set_log_cb(conf, strand_log_callback);
  return conf;
}

int strand_conf_acks (const rd_kafka_conf_t *conf) {
  char text[16] = "";
  size_t size = sizeof(text);
  rd_kafka_conf_get(conf, "acks", text, &size);
  return strcmp(text, "all") == 0 ? STRAND_ACKS_ALL : atoi(text);
}

bool strand_conf_loses_assignments (const strand_property *props,
                                    size_t count) {
  const char *strategy = property(props, count,
                                  "partition.assignment.strategy");
  return strategy != NULL && contains_nocase(strategy, "cooperative-sticky")
         && !strand_conf_version_at_least(2, 10, 0);
}

void strand_conf_warn (rd_kafka_type_t kind, const strand_property *props,
                       size_t count, strand_log *log) {
  const char *verify = property(props, count,
                                "enable.ssl.certificate.verification");
  const char *protocol = property(props, count, "security.protocol");
  if (kind == RD_KAFKA_CONSUMER && strand_conf_loses_assignments(props, count))
    strand_log_push(log, STRAND_LOG_WARNING, "CONF",
                    "cooperative-sticky loses assignments when offsets are "
                    "committed during a rebalance before librdkafka 2.10.0");
  if (verify != NULL && strcasecmp(verify, "false") == 0)
    strand_log_push(log, STRAND_LOG_WARNING, "CONF",
                    "the brokers' certificates are not verified");
  if (protocol != NULL && strcasecmp(protocol, "sasl_plaintext") == 0)
    strand_log_push(log, STRAND_LOG_WARNING, "CONF",
                    "sasl_plaintext: the connection is not encrypted");
}

static unsigned count_servers (const rd_kafka_conf_t *conf) {
  char list[4096] = "";
  size_t size = sizeof(list);
  unsigned count;
  const char *at;
  if (rd_kafka_conf_get(conf, "bootstrap.servers", list, &size)
        != RD_KAFKA_CONF_OK
      || list[0] == '\0')
    return 0;
  list[sizeof(list) - 1] = '\0'; /* more of them than are looked for */
  count = 1;
  for (at = list; (at = strchr(at, ',')) != NULL; at++) count++;
  return count;
}

/* From the start a client has its own thread, and a thread and a pipe for each
** server, for the group's coordinator and for what is internal. One descriptor
** more, to connect or to read a certificate. */
static bool has_room (rd_kafka_type_t kind, const rd_kafka_conf_t *conf,
                      strand_failure *failure) {
  unsigned brokers = 1 + count_servers(conf) + (kind == RD_KAFKA_CONSUMER);
  char what[96];
  snprintf(what, sizeof(what),
           "a client needs %u file descriptors and %u "
           "threads",
           2 * brokers + 1, brokers + 1);
  return strand_system_has(2 * brokers + 1, brokers + 1, what, failure);
}

/* Of what librdkafka said, a system's error that it passed on. */
static bool names_error (const char *text, int error) {
  char reason[128];
  return strerror_r(error, reason, sizeof(reason)) == 0
         && strstr(text, reason) != NULL;
}

/* It tells a lack of threads from the rest; what it could not read for a lack
** of descriptors or memory, such as a certificate, is an invalid argument. */
static void fail_open (strand_failure *failure, const char *text, int error) {
  static const int passed_on[] = { EMFILE, ENFILE, ENOMEM };
  rd_kafka_resp_err_t err = rd_kafka_last_error();
  char code[sizeof(failure->code)];
  size_t i;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) err = RD_KAFKA_RESP_ERR__FAIL;
  for (i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
    if (names_error(text, passed_on[i])) {
      strand_fail_descriptor(failure, text, passed_on[i]);
      return;
    }
  if (err == RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE)
    strand_fail_thread(failure, text, error != 0 ? error : EAGAIN);
  else if (err == RD_KAFKA_RESP_ERR__INVALID_ARG)
    strand_fail(failure, "OPTION", "option 'kafka': %s", text);
  else
    strand_fail(failure, strand_code_of(err, code, sizeof(code)), "%s", text);
}

static rd_kafka_t *open_client (rd_kafka_type_t kind, rd_kafka_conf_t *conf,
                                strand_failure *failure) {
  char errstr[512];
  char text[300];
  int error;
  rd_kafka_t *client = rd_kafka_new(kind, conf, errstr, sizeof(errstr));
  if (client != NULL) return client;
  error = errno;
  strand_log_escape(text, sizeof(text), errstr, strcspn(errstr, "\n"));
  fail_open(failure, text, error);
  return NULL;
}

static bool is_secure (const rd_kafka_conf_t *conf) {
  char protocol[32] = "";
  size_t size = sizeof(protocol);
  return rd_kafka_conf_get(conf, "security.protocol", protocol, &size)
           == RD_KAFKA_CONF_OK
         && strcasecmp(protocol, "plaintext") != 0;
}

/* When rd_kafka_new fails over certificates or SASL, it has freed the conf's
** interceptors, and leaves them in the conf: destroying that ends the process
** (2.0.2). So that is tried before, by a client without interceptors (a copy
** of a conf has none) and without a broker to go to. */
static bool rehearse (rd_kafka_type_t kind, const rd_kafka_conf_t *conf,
                      strand_failure *failure) {
  rd_kafka_conf_t *copy;
  rd_kafka_t *client;
  if (kind != RD_KAFKA_CONSUMER || !is_secure(conf)) return true;
  copy = rd_kafka_conf_dup(conf);
  rd_kafka_conf_set(copy, "bootstrap.servers", NULL, NULL, 0);
  rd_kafka_conf_set(copy, "log_level", "0", NULL, 0);
  client = open_client(kind, copy, failure);
  if (client == NULL) {
    rd_kafka_conf_destroy(copy);
    return false;
  }
  rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
  return true;
}

rd_kafka_t *strand_conf_open (rd_kafka_type_t kind, rd_kafka_conf_t *conf,
                              strand_failure *failure) {
  rd_kafka_t *client;
  if (!has_room(kind, conf, failure)
      || (is_secure(conf) && !strand_conf_has_files(conf, failure))
      || !rehearse(kind, conf, failure)) {
    rd_kafka_conf_destroy(conf);
    return NULL;
  }
  client = open_client(kind, conf, failure);
  /* rd_kafka_new takes it on success only; a consumer's is lost, see above */
  if (client == NULL && kind != RD_KAFKA_CONSUMER) rd_kafka_conf_destroy(conf);
  return client;
}
