/*
** producer_conf.c - what a producer is opened with
*/
#include "producer/producer_conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* librdkafka's own. */
#define MOST_RECORDS 10000000
#define MOST_KBYTES INT64_C(2147483647)

static bool set_limit (rd_kafka_conf_t *conf,
                       const strand_producer_options *options,
                       const char *option, const char *name, int64_t value,
                       strand_failure *failure) {
  char text[32];
  char errstr[200];
  if (value <= 0 || strand_conf_has(options->props, options->prop_count, name))
    return true;
  snprintf(text, sizeof(text), "%lld", (long long)value);
  if (rd_kafka_conf_set(conf, name, text, errstr, sizeof(errstr))
      == RD_KAFKA_CONF_OK)
    return true;
  strand_fail(failure, "OPTION", "option '%s': %s", option, errstr);
  return false;
}

/* librdkafka waits that long before it asks a coordinator again that is still
** busy with the transaction before: of its 100 ms most are in vain. */
#define RETRY_BACKOFF_MS 10

static bool set_transaction (rd_kafka_conf_t *conf,
                             const strand_producer_options *options,
                             strand_failure *failure) {
  char errstr[200];
  if (options->transactional_id == NULL) return true;
  if (rd_kafka_conf_set(conf, "transactional.id", options->transactional_id,
                        errstr, sizeof(errstr))
      != RD_KAFKA_CONF_OK) {
    strand_fail(failure, "OPTION", "option 'transactional_id': %s", errstr);
    return false;
  }
  return set_limit(conf, options, "transaction_timeout",
                   "transaction.timeout.ms",
                   (int64_t)(options->transaction_timeout * 1000), failure)
         && set_limit(conf, options, "transactional_id", "retry.backoff.ms",
                      RETRY_BACKOFF_MS, failure);
}

static double get_number (rd_kafka_conf_t *conf, const char *name) {
  char text[32] = "";
  size_t size = sizeof(text);
  if (rd_kafka_conf_get(conf, name, text, &size) != RD_KAFKA_CONF_OK) return 0;
  return strtod(text, NULL);
}

rd_kafka_conf_t *
strand_producer_conf_new (const strand_producer_options *options,
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
                   failure)
      && set_transaction(conf, options, failure))
    return conf;
  rd_kafka_conf_destroy(conf);
  return NULL;
}

static bool is_compressed (rd_kafka_conf_t *conf) {
  char codec[32] = "none";
  size_t size = sizeof(codec);
  rd_kafka_conf_get(conf, "compression.codec", codec, &size);
  return strcmp(codec, "none") != 0;
}

/* 0 is librdkafka's word for none: as many as there may be. */
static int64_t get_limit (rd_kafka_conf_t *conf, const char *name,
                          int64_t most) {
  int64_t limit = (int64_t)get_number(conf, name);
  return limit > 0 && limit < most ? limit : most;
}

static void set_number (rd_kafka_conf_t *conf, const char *name, int64_t n) {
  char text[32];
  snprintf(text, sizeof(text), "%lld", (long long)n);
  rd_kafka_conf_set(conf, name, text, NULL, 0);
}

/* The producer keeps to these by itself (bounds.h): librdkafka's do not
** change while it runs. */
static void take_over_bounds (rd_kafka_conf_t *conf, strand_bounds *b) {
  static const char records[] = "queue.buffering.max.messages";
  static const char kbytes[] = "queue.buffering.max.kbytes";
  b->max_records = get_limit(conf, records, MOST_RECORDS);
  b->max_bytes = get_limit(conf, kbytes, MOST_KBYTES) * 1024;
  set_number(conf, records, MOST_RECORDS);
  set_number(conf, kbytes, MOST_KBYTES);
}

void strand_producer_conf_read (rd_kafka_conf_t *conf,
                                strand_producer_limits *l,
                                strand_bounds *bounds) {
  l->linger_ms = (int)get_number(conf, "linger.ms");
  l->timeout_ms = (int)get_number(conf, "message.timeout.ms");
  l->propagation_ms = (int)get_number(conf,
                                      "topic.metadata.propagation.max.ms");
  l->batch_size = (int64_t)get_number(conf, "batch.size");
  l->compressed = is_compressed(conf);
  l->all_acks = strand_conf_acks(conf) == STRAND_ACKS_ALL;
  take_over_bounds(conf, bounds);
  snprintf(l->max_message_bytes, sizeof(l->max_message_bytes), "%.0f",
           get_number(conf, "message.max.bytes"));
}
