/*
** settings.h - what a consumer is opened with, and what may be asked of it
**
** Thread: any; values.
*/
#ifndef STRAND_KAFKA_SETTINGS_H
#define STRAND_KAFKA_SETTINGS_H

#include "core/engine.h"
#include "kafka/conf.h"
#include "kafka/event.h"
#include "kafka/handler.h"

typedef struct strand_route {
  const char *topic;          /* a name, "^pattern", or NULL for every topic */
  strand_route_limits limits; /* its policy: for what the handler leaves
                                 to it */
  int64_t deadline_us;        /* of one call of the handler; 0: none */
  bool own_retry;     /* the policy is the route's but for 'exhausted': */
  bool own_exhausted; /* configure() leaves alone what is the route's own */
  bool own_deadline;
} strand_route;

/* What configure() may change; all of the consumer, not of a member. */
typedef struct strand_limits {
  unsigned workers;     /* 1 to 256 */
  size_t max_in_flight; /* handlers that have started */
  size_t max_ready;     /* records handed over and not started */
  size_t max_buffered_records;
  size_t max_buffered_bytes;
  size_t max_waiting_records;
  size_t max_waiting_bytes;
  int64_t commit_interval_us;
  int64_t revoke_grace_us;
  int64_t slow_after_us; /* in the handler, before it is an event; 0: never */
  int64_t deadline_us;   /* in the handler; 0: none */
  strand_rate rate;
  strand_policy policy;
} strand_limits;

typedef enum strand_letter_reason {
  STRAND_REASON_TEXT,
  STRAND_REASON_CLASS, /* what kind of end it was, nothing of its text */
  STRAND_REASON_NONE
} strand_letter_reason;

/* Where dead letters go, and how. */
typedef struct strand_letters_config {
  const char *topic;   /* NULL: there are none */
  bool same_partition; /* the number of the source's; else by the key */
  strand_letter_reason reason;
  size_t max_reason;            /* bytes of the header */
  bool allow_value_drop;        /* of one that is too large with it */
  const strand_property *kafka; /* of the producer: all of them */
  size_t kafka_count;
  const char *partitioner; /* librdkafka's name; NULL: murmur2_random */
} strand_letters_config;

/* Borrowed during strand_consumer_open, and copied; but 'handler' is taken
** (released also on failure). */
typedef struct strand_consumer_config {
  const strand_property *kafka;
  size_t kafka_count;
  const char *const *topics;
  size_t topic_count;
  unsigned members;
  bool has_oauth;
  bool has_log;
  bool has_events; /* else failures are warnings in the log */
  strand_ordering ordering;
  const char *ordering_header; /* NULL: the key */
  bool null_key_unordered;
  size_t max_metadata;
  bool unreadable_fail;
  bool park_alone; /* parked_holds = "record" */
  strand_letters_config letters;
  strand_limits limits;
  const strand_route *routes; /* the first that matches a topic is taken */
  size_t route_count;
  strand_handler handler;
} strand_consumer_config;

typedef enum strand_close_mode {
  STRAND_CLOSE_FINISH, /* what is in flight ends */
  STRAND_CLOSE_DRAIN,  /* all that was fetched, each due retry once */
  STRAND_CLOSE_NOW
} strand_close_mode;

typedef enum strand_seek_kind {
  STRAND_SEEK_OFFSET,
  STRAND_SEEK_TIME, /* 'value' is milliseconds since 1970 */
  STRAND_SEEK_EARLIEST,
  STRAND_SEEK_LATEST
} strand_seek_kind;

#endif
