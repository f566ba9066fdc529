/*
** settings.h - what a consumer is opened with, and what may be asked of it
**
** Invariants:
**   (1) The last rule of pause covers no other.
**   (2) The properties for dead letters are copies of its own.
**
** Thread: any reads; lua configures. A leaf lock of its own, under which
** nothing is allocated.
*/
#ifndef STRAND_KAFKA_SETTINGS_H
#define STRAND_KAFKA_SETTINGS_H

#include "base/lock.h"
#include "core/engine.h"
#include "kafka/conf.h"
#include "kafka/subscription.h"
#include "shared/event.h"
#include "shared/handler.h"

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
  unsigned workers;     /* 1 to 256; 0: the lua thread is the worker */
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

typedef enum strand_dead_letter_reason {
  STRAND_REASON_TEXT,
  STRAND_REASON_CLASS, /* what kind of end it was, nothing of its text */
  STRAND_REASON_NONE
} strand_dead_letter_reason;

/* Where dead letters go, and how; and what sends them, and outputs. */
typedef struct strand_dead_letters_config {
  bool produces;       /* handlers may */
  const char *topic;   /* NULL: there are none */
  bool same_partition; /* the number of the source's; else by the key */
  strand_dead_letter_reason reason;
  size_t max_reason;            /* bytes of the header */
  bool allow_value_drop;        /* of one that is too large with it */
  const strand_property *kafka; /* of the producer: all of them */
  size_t kafka_count;
  const char *partitioner; /* librdkafka's name; NULL: murmur2_random */
} strand_dead_letters_config;

/* Of a consumer that is exactly once. */
typedef struct strand_transactional {
  const char *id;      /* NULL: it is not */
  int64_t interval_us; /* between transactions */
  int64_t timeout_us;  /* of one, at the brokers */
  size_t records;      /* outputs of one, at most */
} strand_transactional;

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
  bool has_loops;  /* workers work on many leases at once */
  strand_ordering ordering;
  strand_guarantee delivery;
  const char *ordering_header; /* NULL: the key */
  bool null_key_unordered;
  size_t max_metadata;
  bool unreadable_fail;
  bool park_alone; /* parked_holds = "record" */
  strand_dead_letters_config dead_letters;
  strand_transactional transactional;
  size_t max_staged_bytes; /* of outputs that are not acknowledged */
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

/* A rule of pause: topic NULL is every topic, partition -1 every one. */
typedef struct strand_rule {
  char *topic;
  int32_t partition;
} strand_rule;

/* What a consumer was opened with, and what was asked of it since. */
typedef struct strand_settings {
  /* set by init and read, and only read after */
  bool has_oauth;
  bool has_log;
  bool is_local;  /* handlers run in the lua thread */
  bool has_loops; /* each worker has an event loop */
  bool null_key_unordered;
  bool unreadable_fail;
  bool park_alone;
  strand_ordering ordering;
  strand_guarantee delivery;
  char *ordering_header;
  size_t max_metadata;
  strand_dead_letters_config dead_letters; /* owned */
  strand_transactional transactional;      /* the same */
  strand_property *dead_letter_properties; /* what dead_letters.kafka is */
  rd_kafka_topic_partition_list_t *topics;
  strand_subscription *subscription;
  size_t prefetch_kbytes; /* of one partition */
  int64_t max_poll_us;

  strand_lock lock;
  strand_limits limits; /* lock */
  strand_rule *rules;   /* lock; only the lua thread writes them */
  size_t rule_count;    /* lock; the same */
} strand_settings;

/* Thread: lua. A copy. False: memory ran out; it is to be freed all the
** same. */
bool strand_settings_init (strand_settings *s,
                           const strand_consumer_config *config);
/* Thread: lua. What librdkafka makes of them, once there is a client. False:
** memory ran out. */
bool strand_settings_read (strand_settings *s, const rd_kafka_conf_t *conf);
/* Thread: whoever is last. */
void strand_settings_free (strand_settings *s);

/* Handlers are coroutines: whoever works on leases works on many. */
static inline bool strand_settings_many (const strand_settings *s) {
  return s->is_local || s->has_loops;
}

/* Thread: any. */
strand_limits strand_settings_limits (strand_settings *s);
/* Thread: lua. */
void strand_settings_limit (strand_settings *s, const strand_limits *limits);
/* Thread: lua. Takes away the rules that it covers. False: memory ran out, and
** all is as it was. */
bool strand_settings_pause (strand_settings *s, const char *topic,
                            int32_t partition);
/* Thread: lua. Takes away the rules that it covers. */
void strand_settings_resume (strand_settings *s, const char *topic,
                             int32_t partition);
/* Thread: any. Is the partition paused by a rule? */
bool strand_settings_paused (strand_settings *s, const char *topic,
                             int32_t partition);
/* Thread: any. Between two turns, in debug builds. */
void strand_settings_check (strand_settings *s);

#endif
