/*
** types.h - what goes into the engine and comes out: settings, leases,
** endings, notices, commits, counts
**
** Thread: owner. Those that cross to a worker are copied (strand_lease).
*/
#ifndef STRAND_TYPES_H
#define STRAND_TYPES_H

#include <stdbool.h>

#include "core/offsets.h"
#include "core/record.h"

typedef struct strand_engine strand_engine;
typedef struct strand_partition strand_partition;
typedef struct strand_shard strand_shard;

typedef enum strand_ordering {
  STRAND_BY_KEY,
  STRAND_BY_PARTITION,
  STRAND_UNORDERED
} strand_ordering;

typedef enum strand_guarantee {
  STRAND_AT_LEAST_ONCE,
  STRAND_AT_MOST_ONCE, /* what started is done, however it ends: windows.c */
  STRAND_EXACTLY_ONCE  /* with what it produced: transacted.c */
} strand_guarantee;

/* What became of a record. */
typedef enum strand_outcome_kind {
  STRAND_OUTCOME_DONE = 0,
  STRAND_OUTCOME_FAILED,    /* tried again by the policy, until that is
                                 exhausted */
  STRAND_OUTCOME_EXHAUSTED, /* failed, and not to be tried again */
  STRAND_OUTCOME_RETRY,     /* asked for: never exhausts */
  STRAND_OUTCOME_SKIP,      /* done, and counted as skipped */
  STRAND_OUTCOME_DEAD_LETTER,
  STRAND_OUTCOME_PARK,
  STRAND_OUTCOME_STOP /* not done; the consumer finishes */
} strand_outcome_kind;

typedef struct strand_ending {
  strand_outcome_kind kind;
  int64_t delay_us; /* FAILED, RETRY: -1: by the policy */
  const char *reason;
  size_t reason_length;
} strand_ending;

/* The n-th failure waits delay * factor^(n - 1), at most max_delay, less a
** random part of up to 'jitter' of it. */
typedef struct strand_policy {
  int64_t delay_us;
  int64_t max_delay_us;
  double factor;
  double jitter;                 /* 0 to 1 */
  uint32_t attempts;             /* failures until it is exhausted; 0: never */
  strand_outcome_kind exhausted; /* DEAD_LETTER, PARK, SKIP or STOP */
} strand_policy;

/* A token bucket: a record that is leased takes a token. */
typedef struct strand_rate {
  double per_second; /* 0: no limit */
  double burst;      /* tokens it holds at most, from 1; full at first */
} strand_rate;

/* Which records go to one call of the handler. */
typedef enum strand_batch_by {
  STRAND_BATCH_NONE,     /* one */
  STRAND_BATCH_MIXED,    /* of each shard one at most, of any partition */
  STRAND_BATCH_KEY,      /* of one shard */
  STRAND_BATCH_PARTITION /* of one partition */
} strand_batch_by;

/* What the partitions of some topics have in common. */
typedef struct strand_route_limits {
  strand_policy policy;
  size_t max_in_flight; /* calls of the handler at once; 0: no limit */
  strand_rate rate;
  strand_batch_by by;
  size_t batch_size; /* records, at most */
  int64_t linger_us; /* how old the oldest gets waiting for others */
} strand_route_limits;

/* Records of one lease: consecutive in their shard, and near each other in
** offset, so that what is done stays compact. */
#define STRAND_LEASE_RECORDS 64
#define STRAND_LEASE_SPAN 1024
/* Leases of one partition before it is the next one's turn. */
#define STRAND_TURN_LEASES 8
/* A partition whose payload is full looks among this many of its lowest
** records for one that may start. */
#define STRAND_FULL_SCAN 64
/* At most once: records that a commit covers before they start. */
#define STRAND_WINDOW_RECORDS 1000
#define STRAND_WINDOW_LEAST 16
/* Characters of a failure's reason that are kept. */
#define STRAND_REASON_MAX 1024
/* Metadata longer than what the broker took is tried again so long after it
** was refused, twice as long as before each time. */
#define STRAND_METADATA_AGAIN_US INT64_C(600000000)
/* How long a partition stays blocked before that is an event. */
#define STRAND_BLOCKED_EVENT_US 1000000

typedef enum strand_notice_type {
  STRAND_NOTICE_FAILED, /* a record failed: record, reason, delay_us
                                 (-1: not tried again by itself) */
  STRAND_NOTICE_LOST,   /* at most once: its dead letter cannot be sent */
  STRAND_NOTICE_PARKED, /* record, reason */
  STRAND_NOTICE_DEAD_LETTERED, /* its dead letter is acknowledged */
  STRAND_NOTICE_STOP,          /* exhausted, and the policy says stop */
  STRAND_NOTICE_BLOCKED,       /* 'reason' is "metadata" or "waiting"; record:
                                 the one that holds the commit back, or NULL */
  STRAND_NOTICE_UNBLOCKED,
  STRAND_NOTICE_UNWRITABLE, /* what is done does not fit in the metadata that
                                 is taken: less of it is told, or the old
                                 commit stays; record: as for BLOCKED */
  STRAND_NOTICE_WRITABLE,   /* a commit has told all of it again */
  STRAND_NOTICE_SKIPPED     /* record, reason; again, if memory ran out */
} strand_notice_type;

typedef struct strand_notice {
  strand_notice_type type;
  const strand_partition *partition;
  const strand_record *record; /* borrowed during the call */
  const char *reason;
  size_t reason_length;
  int64_t delay_us;
} strand_notice;

/* A shard (or, without ordering, a record) whose handler still runs although
** its partition was revoked. */
typedef enum strand_shard_kind {
  STRAND_SHARD_KEY,       /* 'key' */
  STRAND_SHARD_NULL,      /* the shard of the records without a key */
  STRAND_SHARD_PARTITION, /* the partition's only shard */
  STRAND_SHARD_RECORD     /* 'offset' */
} strand_shard_kind;

typedef struct strand_orphan {
  strand_shard_kind kind;
  const char *topic;
  int32_t index;
  const char *key;
  uint32_t key_length;
  int64_t offset;
} strand_orphan;

typedef struct strand_engine_config {
  strand_ordering ordering;
  strand_guarantee delivery;
  bool null_key_unordered;
  const char *ordering_header; /* NULL: the record's key; borrowed */
  size_t max_metadata;         /* characters */
  size_t max_buffered_records; /* of this member, as the next three */
  size_t max_buffered_bytes;
  size_t max_waiting_records;
  size_t max_waiting_bytes;
  int64_t commit_interval_us;
  strand_rate rate;
  const strand_route_limits *routes; /* copied; their number stays */
  size_t route_count;
  bool park_alone;  /* a parked record does not hold its shard */
  uint64_t seed[2]; /* hash and jitter */
  void *arg;
  /* Called inside engine functions; must not call back. */
  void (*notice)(void *arg, const strand_notice *notice);
  /* The handler of an orphaned shard has returned. 'orphan' is borrowed. */
  void (*release)(void *arg, const strand_orphan *orphan);
  /* A dead letter is wanted: strand_engine_dead_letter_acked or _refused says
  ** what became of it, unless 'p' is revoked before. 'record' stays where it
  ** is. False when memory runs out. NULL: there is no dead letter topic. */
  bool (*dead_letter)(void *arg, strand_partition *p, strand_record *record);
} strand_engine_config;

typedef struct strand_lease {
  strand_partition *partition; /* lease */
  strand_shard *shard;
  strand_record *record; /* the first that has not ended */
  uint32_t count;        /* records that have not ended */
  uint32_t epoch;
  uint32_t unstarted; /* of them, already: memory ran out while it ended */
  bool continuation;  /* of the same call as the one before it */
  bool expired;       /* 'record' has passed its deadline */
  bool reported;      /* that it failed */
} strand_lease;

typedef enum strand_resolution {
  STRAND_RESOLVE_RETRY,   /* with all its attempts */
  STRAND_RESOLVE_DISCARD, /* done, and counted as skipped */
  STRAND_RESOLVE_DEAD_LETTER
} strand_resolution;

typedef struct strand_commit_item {
  strand_partition *partition;
  uint32_t epoch;
  uint64_t version;
  int64_t offset;
  int64_t covered; /* offsets that it says are done */
  bool whole;      /* it tells all that is done */
  bool back;       /* at most once: to what has not started */
  char *metadata;  /* terminated; "" for none */
} strand_commit_item;

typedef struct strand_commit {
  size_t count;
  strand_commit_item items[];
} strand_commit;

/* At most once: what the end of an epoch loses. */
typedef struct strand_losses {
  int64_t first;    /* the lowest; -1: nothing is lost */
  size_t cut_off;   /* in their handlers, or their dead letters under way */
  size_t sending;   /* handled, and their outputs not acknowledged */
  size_t unstarted; /* covered by a commit that was not taken back */
} strand_losses;

typedef enum strand_answer {
  STRAND_COMMITTED,      /* the broker took all of it */
  STRAND_COMMIT_LATER,   /* nothing was taken; the same again later */
  STRAND_COMMIT_UNKNOWN, /* some may have been taken: commit one by one */
  STRAND_COMMIT_REFUSED, /* the metadata is longer than the broker takes: of
                           one partition, it was not taken, and the next is
                           shorter; of several, as UNKNOWN, but exactly once
                           none of them was */
  STRAND_COMMIT_ABORTED  /* exactly once: nothing was taken; the same again */
} strand_answer;

typedef struct strand_engine_stats {
  size_t partitions;
  size_t buffered_records;
  size_t buffered_bytes;
  size_t waiting_records;
  size_t waiting_bytes;
  size_t in_flight; /* records in leases of live partitions */
  size_t stale;     /* records in leases of partitions that are gone */
  size_t ready;     /* shards that could start now */
  size_t retries;   /* in back-off */
  size_t parked;
  size_t dead_letters; /* dead letters under way */
  size_t sending;      /* handled, and their outputs not acknowledged */
  size_t shards;
  uint64_t done;    /* by their handlers */
  uint64_t failed;  /* attempts */
  uint64_t skipped; /* discarded ones too */
  uint64_t dead_lettered;
  uint64_t stale_dropped;
} strand_engine_stats;

typedef struct strand_partition_stats {
  const char *topic;
  int32_t index;
  uint32_t epoch;
  const char *state; /* "restoring", "running", "revoking" */
  bool paused;
  const char *blocked; /* NULL, "metadata" or "waiting" */
  int64_t position;
  int64_t committed; /* acknowledged; -1 for none */
  int64_t committable;
  int64_t highest_done;
  size_t buffered_records;
  size_t buffered_bytes;
  size_t waiting_records;
  size_t waiting_bytes;
  size_t in_flight;
  size_t parked;
  size_t dead_letters;
  size_t sending;
  uint64_t open; /* records polled and not done */
  uint64_t done;
  uint64_t failed;
  uint64_t skipped;
  uint64_t dead_lettered;
  size_t payload_bound;  /* characters */
  size_t metadata_limit; /* that it may have: max_metadata, or what is known
                            of the broker */
  uint32_t oldest_ms;    /* since the lowest open record was polled */
} strand_partition_stats;

#endif
