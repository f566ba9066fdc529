/*
** engine.h - a group member's state machine: records in, leases and commits
** out
**
**   room, admit        a polled record enters its shard
**        |
**   lease              consecutive records of one ready shard go to a worker
**        |
**   done, end, give_back     what became of them, in their order
**        |        |
**        |      aside: in back-off, parked, or its dead letter under way;
**        |             then ready again, or done
**        |
**   commit, commit_answer    what the group is told, and whether it heard
**
** Nothing here knows Lua, librdkafka, a thread or a clock: time, assignments,
** outcomes and commit answers are arguments. So a simulator drives millions
** of seeded schedules through this code.
**
** A partition's life, by the function that makes the step (all on the owner):
**
**   assign -> RESTORING -- restored --> RUNNING -- revoking --> REVOKING
**                |                        |                        |
**                +---------- revoke ------+------------------------+-> GONE
**
**   RESTORING  nothing is read, nothing runs: the done set is not known yet
**   RUNNING    records flow
**   REVOKING   nothing new starts; what runs may end, and counts
**   GONE       its outcomes are stale; kept while handlers of it still run
**
** Invariants:
**   (1) At most one lease of a keyed shard is out, from the lease until its
**       last record is done, failed or given back, across epochs: a shard
**       whose handler runs on after a revoke is held (strand_held) in every
**       later assignment of the partition until the handler returned.
**   (2) Records of a keyed shard are leased in offset order; a failed one
**       keeps its place at the head. (But see 'park_alone'.)
**   (3) A commit item's offset and metadata come from one moment, and say
**       nothing of a record that is not done.
**   (4) One commit is unanswered at most.
**   (5) A partition is clean only after an answer to what it says now.
**   (6) buffered and waiting are what the records and chunks add up to, and
**       stay within their budgets (see strand_engine_may_read).
**   (7) A record whose dead letter is under way is done only by
**       strand_engine_lettered.
**   (8) A route's leases stay within its max_in_flight, and what was leased
**       within its rate and the consumer's.
**
** Thread: owner. A worker reads strand_partition's fields marked 'lease'.
*/
#ifndef STRAND_ENGINE_H
#define STRAND_ENGINE_H

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

/* What became of a record. */
typedef enum strand_verdict_kind {
  STRAND_VERDICT_DONE = 0,
  STRAND_VERDICT_FAILED,    /* tried again by the policy, until that is
                                 exhausted */
  STRAND_VERDICT_EXHAUSTED, /* failed, and not to be tried again */
  STRAND_VERDICT_RETRY,     /* asked for: never exhausts */
  STRAND_VERDICT_SKIP,      /* done, and counted as skipped */
  STRAND_VERDICT_DEAD_LETTER,
  STRAND_VERDICT_PARK,
  STRAND_VERDICT_STOP /* not done; the consumer finishes */
} strand_verdict_kind;

typedef struct strand_ending {
  strand_verdict_kind kind;
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
  strand_verdict_kind exhausted; /* DEAD_LETTER, PARK, SKIP or STOP */
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
#define STRAND_FULL_LOOK 64
/* Characters of a failure's reason that are kept. */
#define STRAND_REASON_MAX 1024
/* Metadata longer than what the broker took is tried again so long after it
** was refused, twice as long as before each time. */
#define STRAND_METADATA_AGAIN_US INT64_C(600000000)
/* How long a partition stays blocked before that is an event. */
#define STRAND_BLOCKED_EVENT_US 1000000

typedef enum strand_notice_type {
  STRAND_NOTICE_FAILED,   /* a record failed: record, reason, delay_us
                                 (-1: not tried again by itself) */
  STRAND_NOTICE_PARKED,   /* record, reason */
  STRAND_NOTICE_LETTERED, /* its dead letter is acknowledged */
  STRAND_NOTICE_STOP,     /* exhausted, and the policy says stop */
  STRAND_NOTICE_BLOCKED,  /* 'reason' is "metadata" or "waiting"; record:
                                 the one that holds the commit back, or NULL */
  STRAND_NOTICE_UNBLOCKED,
  STRAND_NOTICE_UNWRITABLE, /* what is done does not fit in the metadata that
                                 is taken: less of it is told, or the old
                                 commit stays; record: as for BLOCKED */
  STRAND_NOTICE_WRITABLE    /* a commit has told all of it again */
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
typedef enum strand_held_kind {
  STRAND_HELD_KEY,       /* 'key' */
  STRAND_HELD_NULL,      /* the shard of the records without a key */
  STRAND_HELD_PARTITION, /* the partition's only shard */
  STRAND_HELD_RECORD     /* 'offset' */
} strand_held_kind;

typedef struct strand_held {
  strand_held_kind kind;
  const char *topic;
  int32_t index;
  const char *key;
  uint32_t key_length;
  int64_t offset;
} strand_held;

typedef struct strand_engine_config {
  strand_ordering ordering;
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
  /* The handler of a held shard has returned. 'held' is borrowed. */
  void (*release)(void *arg, const strand_held *held);
  /* A dead letter is wanted: strand_engine_lettered or _unlettered says what
  ** became of it, unless 'p' is revoked before. 'record' stays where it is.
  ** False when memory runs out. NULL: there is no dead letter topic. */
  bool (*letter)(void *arg, strand_partition *p, strand_record *record);
} strand_engine_config;

/* NULL when memory runs out. 'config' is copied. */
strand_engine *strand_engine_new (const strand_engine_config *config);
/* No lease may be out, and no commit unanswered. */
void strand_engine_free (strand_engine *e);
/* Budgets, rates, routes, commit interval and metadata limit may change while
** running; a metadata limit that changes is tried whatever was refused. */
void strand_engine_configure (strand_engine *e,
                              const strand_engine_config *config);

/*
** Assignment
*/

/* 'epoch' was never used for this topic and partition before. 'held' is
** copied. NULL when memory runs out. */
strand_partition *strand_engine_assign (strand_engine *e, const char *topic,
                                        int32_t index, uint32_t epoch,
                                        size_t route, const strand_held *held,
                                        size_t held_count);

/* The base is known. 'committed' is -1 for a group without an offset; then
** 'payload' is NULL. 'payload' may be NULL: nothing above is done. */
strand_err strand_engine_restored (strand_engine *e, strand_partition *p,
                                   int64_t committed,
                                   const strand_payload *payload);

void strand_engine_pause (strand_engine *e, strand_partition *p, bool paused);
void strand_engine_revoking (strand_engine *e, strand_partition *p);

/* The epoch ends. 'visit' is called for each shard that is now held. 'p' must
** not be used any more, except through leases that are out. */
void strand_engine_revoke (strand_engine *e, strand_partition *p,
                           void (*visit)(void *arg, const strand_held *),
                           void *arg);

/* A held shard's handler returned, here or at another member. Said too late,
** after the partition was assigned again, it may free a shard that is held by
** now for another handler: an owner hands on what it was told before it
** assigns (the simulator shows the difference, seed 977). */
void strand_engine_release (strand_engine *e, const strand_held *held);

/*
** Records
*/

/* Whether the partition's queue should be read now: it is running, not
** paused, and within its share. A share is guaranteed: budget / partitions.
** More may be taken while no partition that has records to read would lose
** its share by it. A partition that holds nothing may always take a record. */
bool strand_engine_may_read (const strand_engine *e,
                             const strand_partition *p);
/* How much of it, or of all ('p' NULL), could start now: records, or keys
** with a record. In flight is not; nor, but for the order by key, what waits
** behind another. */
size_t strand_engine_startable (const strand_engine *e,
                                const strand_partition *p);
/* A batch of it is not full: it is to be read, although it has enough that
** could start. */
bool strand_engine_short (const strand_engine *e, const strand_partition *p);
/* How many records to read at most, so that the budget is not passed. */
size_t strand_engine_read_limit (const strand_engine *e,
                                 const strand_partition *p, size_t most);
/* The partition's queue was read and found empty, or not: what an empty one
** does not need of its share is lent to the others. */
void strand_engine_quiet (strand_engine *e, strand_partition *p, bool quiet);
/* No partition is read any more: the member drains, and no batch lingers. */
void strand_engine_stop_intake (strand_engine *e);

/* A record with room for its bytes, which the caller writes: key, value,
** packed headers. Then admit it, nothing else in between. NULL when memory
** runs out. Lengths and flags KEY and VALUE, timestamp and leader epoch are
** the caller's to set. */
strand_record *strand_engine_room (strand_engine *e, strand_partition *p,
                                   size_t length);
/* The record enters its shard, or is dropped (DONE, EARLIER, ENOMEM). */
strand_added strand_engine_admit (strand_engine *e, strand_partition *p,
                                  strand_record *record, int64_t now_us);
/* The partition ends at 'offset': nothing below was left out. */
strand_err strand_engine_reach (strand_engine *e, strand_partition *p,
                                int64_t offset);

/*
** Leases
*/

typedef struct strand_lease {
  strand_partition *partition; /* lease */
  strand_shard *shard;
  strand_record *record; /* the first that has not ended */
  uint32_t count;        /* records that have not ended */
  uint32_t epoch;
  bool further; /* of the same call as the one before it */
  bool expired; /* 'record' has passed its deadline */
  bool told;    /* that it failed */
} strand_lease;

/* The next lease of at most 'most' records; of a route with batches, the
** first of a call. False when nothing may start now. */
bool strand_engine_lease (strand_engine *e, size_t most, int64_t now_us,
                          strand_lease *out);
/* A further lease for the call that 'first' began. False: it is complete. */
bool strand_engine_lease_more (strand_engine *e, const strand_lease *first,
                               size_t most, int64_t now_us, strand_lease *out);

/* The first 'count' records of the lease are done. Stale leases are dealt
** with. STRAND_ENOMEM: fewer were done, see lease->count; call again. */
strand_err strand_engine_done (strand_engine *e, strand_lease *lease,
                               uint32_t count, int64_t now_us);

/* The first record ended like that, and the lease with it: the others go back
** unstarted. But a skipped record leaves the lease to the others. */
strand_err strand_engine_end (strand_engine *e, strand_lease *lease,
                              const strand_ending *ending, int64_t now_us);

/* The first record has passed its deadline: told as failed now. It runs until
** strand_engine_end, for which it failed whatever that says. */
void strand_engine_expire (strand_engine *e, strand_lease *lease,
                           const char *reason, size_t reason_length);

/* All records go back unstarted, at the front; the lease ends. */
strand_err strand_engine_give_back (strand_engine *e, strand_lease *lease);

/* Retries that are due become ready; and strand_engine_gates. Returns when
** the next is, or INT64_MAX. */
int64_t strand_engine_tick (strand_engine *e, int64_t now_us);
/* What waits for a rate, or for a batch to fill, may be leased when it is
** time. Returns when the next is, or INT64_MAX when nothing waits so. What
** has to wait shows in a lease: to be asked again after it. */
int64_t strand_engine_gates (strand_engine *e, int64_t now_us);

/*
** Dead letters and parked records
*/

/* The dead letter of 'record' is acknowledged: it is done. */
strand_err strand_engine_lettered (strand_engine *e, strand_record *record,
                                   int64_t now_us);
/* It can never be sent: the record is parked. */
strand_err strand_engine_unlettered (strand_engine *e, strand_record *record,
                                     const char *reason, size_t reason_length,
                                     int64_t now_us);

typedef enum strand_resolution {
  STRAND_RESOLVE_RETRY,   /* with all its attempts */
  STRAND_RESOLVE_DISCARD, /* done, and counted as skipped */
  STRAND_RESOLVE_DEAD_LETTER
} strand_resolution;

/* What is to become of a parked record. STRAND_ENOTOPEN: none is parked at
** that offset. */
strand_err strand_engine_resolve (strand_engine *e, strand_partition *p,
                                  int64_t offset,
                                  strand_resolution resolution);
/* The parked record at 'offset' or the first after it; NULL for none. */
const strand_record *strand_partition_parked (const strand_partition *p,
                                              int64_t offset);

/* Looks for partitions that have been blocked for a while, and whether it is
** time for longer metadata; once a second or so. */
void strand_engine_look (strand_engine *e, int64_t now_us);

/*
** Commits
*/

typedef struct strand_commit_item {
  strand_partition *partition;
  uint32_t epoch;
  uint64_t version;
  int64_t offset;
  int64_t told;   /* offsets that it says are done */
  bool whole;     /* it tells all that is done */
  char *metadata; /* terminated; "" for none */
} strand_commit_item;

typedef struct strand_commit {
  size_t count;
  strand_commit_item items[];
} strand_commit;

typedef enum strand_answer {
  STRAND_COMMITTED,      /* the broker took all of it */
  STRAND_COMMIT_LATER,   /* nothing was taken; the same again later */
  STRAND_COMMIT_UNKNOWN, /* some may have been taken: commit one by one */
  STRAND_COMMIT_REFUSED  /* the metadata is longer than the broker takes: of
                           one partition, it was not taken, and the next is
                           shorter; of several, as UNKNOWN */
} strand_answer;

/* What is dirty, by value; NULL when nothing is, memory ran out, or a commit
** is unanswered. 'only' (or NULL for any) names one partition. */
strand_commit *strand_engine_commit (strand_engine *e, int64_t now_us,
                                     const strand_partition *only);
/* Frees 'commit'. */
void strand_engine_commit_answer (strand_engine *e, strand_commit *commit,
                                  strand_answer answer, int64_t now_us);
/* When a commit is due: by the interval, by idleness, or after one that
** failed. INT64_MAX when nothing is dirty. */
int64_t strand_engine_commit_due (const strand_engine *e, int64_t now_us);
/* The next commit does not wait for its interval: what the group has is not
** true any more. */
void strand_engine_hurry (strand_engine *e);
/* A commit failed a moment ago: the next one waits for its back-off. */
bool strand_engine_commit_blocked (const strand_engine *e, int64_t now_us);
bool strand_engine_dirty (const strand_engine *e, const strand_partition *p);
bool strand_engine_committing (const strand_engine *e);
/* Not all that is done in 'p' can be told: see STRAND_NOTICE_UNWRITABLE. */
bool strand_partition_unwritable (const strand_partition *p);

/*
** Questions
*/

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
  size_t letters; /* dead letters under way */
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
  size_t letters;
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

void strand_engine_stats_read (const strand_engine *e,
                               strand_engine_stats *out);
void strand_partition_stats_read (const strand_engine *e,
                                  const strand_partition *p, int64_t now_us,
                                  strand_partition_stats *out);

/* The partition's records that are not done, lowest first: NULL at the end.
** 'after' NULL for the first. */
const strand_record *strand_partition_next (const strand_partition *p,
                                            const strand_record *after);
/* "running", "waiting" (in back-off, or for its dead letter), "parked",
** "behind" (another of its shard), "buffered". */
const char *strand_record_state (const strand_record *record);

/* The record failed before: its reason. */
const char *strand_record_reason (const strand_record *record, size_t *length);

/* Live partitions in the order of their assignment: NULL at the end. */
strand_partition *strand_engine_next (const strand_engine *e,
                                      const strand_partition *after);
strand_partition *strand_engine_find (const strand_engine *e,
                                      const char *topic, int32_t index);

const strand_route_limits *strand_partition_limits (const strand_partition *p);
const char *strand_partition_topic (const strand_partition *p); /* lease */
int32_t strand_partition_index (const strand_partition *p);     /* lease */
uint32_t strand_partition_epoch (const strand_partition *p);
int64_t strand_partition_position (const strand_partition *p);
void *strand_partition_tag (const strand_partition *p); /* lease */
/* Whatever the caller wants to find again. */
void strand_partition_set_tag (strand_partition *p, void *tag);
strand_partition *strand_record_partition (const strand_record *r); /* lease */

/* Walks everything and asserts the invariants: tests and the simulator. Not
** there where NDEBUG is defined, nor is strand_offsets_check. */
void strand_engine_check (const strand_engine *e);

#endif
