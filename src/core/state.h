/*
** state.h - the engine's structs, for the files that make it up
**
** engine.c      partitions come and go, records enter
** shards.c      ordering key -> shard; which shard may run next
** budget.c      what is held, and who may take more
** outcome.c     leases out and back
** plan.c        commits
** inspect.c     statistics
** check.c       the invariants
**
** Thread: owner.
*/
#ifndef STRAND_STATE_H
#define STRAND_STATE_H

#include "core/engine.h"
#include "core/retry.h"

typedef enum shard_state {
  SHARD_READY,   /* its head may run: in the partition's ready list */
  SHARD_EMPTY,   /* no record to run; only unordered shards stay so */
  SHARD_LEASED,
  SHARD_BACKOFF, /* its head failed and waits */
  SHARD_HELD,    /* a handler of an earlier epoch still runs */
  SHARD_STALE    /* its partition is gone, its handler runs */
} shard_state;

#define SHARD_INLINE_KEY 24

struct strand_shard {
  strand_link ready;           /* partition->ready */
  strand_shard *next_free;     /* engine->free_shards */
  strand_partition *partition; /* lease */
  strand_record *head;         /* keyed: all that is not done, the leased
                                  first; unordered: what is ready, by offset */
  strand_record *tail;
  uint64_t hash;
  const char *key;             /* own copy: 'small', or allocated */
  uint32_t key_length;
  uint32_t leased;             /* keyed: records out, from the head on */
  uint8_t kind;                /* strand_held_kind */
  uint8_t state;
  bool failing;                /* its head failed: what comes, waits */
  char small[SHARD_INLINE_KEY];
};

typedef struct strand_entry {
  uint64_t hash;
  strand_shard *shard; /* NULL: free */
} strand_entry;

typedef struct strand_table {
  strand_entry *entries;
  size_t size; /* a power of two, or 0 */
  size_t count;
} strand_table;

typedef enum partition_state {
  PARTITION_RESTORING,
  PARTITION_RUNNING,
  PARTITION_REVOKING,
  PARTITION_GONE
} partition_state;

struct strand_partition {
  strand_link link;     /* engine->partitions, or engine->gone */
  strand_link runnable; /* engine->runnable: has a shard that may start */
  strand_engine *engine;
  char *topic;
  void *tag;
  const strand_policy *policy;
  int32_t index;
  uint32_t epoch;
  partition_state state;
  bool paused;
  bool stalled; /* payload full, and nothing low may start either; or
                   memory ran out */
  bool quiet;   /* nothing to read: lends its share */
  bool suspect; /* its last commit may or may not have been taken */
  bool unwritable;
  bool blocked_told;
  strand_offsets *offsets;
  strand_link records; /* not done, by offset */
  strand_link ready;
  strand_table keys;
  strand_shard *whole; /* by partition, or unordered */
  strand_shard *nulls;
  strand_chunk *chunk; /* the one that is being filled */
  int64_t *held_offsets;
  size_t held_count;
  size_t buffered_records;
  size_t buffered_bytes;
  size_t waiting_records;
  size_t waiting_bytes;
  size_t in_flight; /* records in leases */
  size_t leases;
  size_t ready_count; /* shards in 'ready' */
  size_t pins;      /* commits that name it */
  size_t average;   /* bytes of a record, moving */
  uint64_t done;
  uint64_t failed;
  int64_t committed;
  uint64_t committed_version;
  int64_t blocked_us; /* since when; 0: not */
};

struct strand_engine {
  strand_engine_config config;
  strand_link partitions;
  strand_link gone;
  strand_link runnable;
  size_t partition_count;
  size_t shard_count;
  strand_shard *free_shards;
  size_t free_count;
  strand_chunk *free_chunks;
  size_t free_chunk_count;
  strand_retry retry;
  size_t buffered_records;
  size_t buffered_bytes;
  size_t waiting_records;
  size_t waiting_bytes;
  size_t share_records;    /* of the budget of buffered records */
  size_t share_bytes;
  size_t reserved_records; /* what partitions that read may still claim */
  size_t reserved_bytes;
  size_t in_flight;
  size_t stale;
  size_t ready;
  unsigned turn;           /* leases of the first runnable one in its turn */
  bool intake_stopped;
  bool maybe_dirty;
  bool unanswered;
  uint64_t random;
  uint64_t done;
  uint64_t failed;
  uint64_t stale_dropped;
  int64_t active_us;     /* last record in or out */
  int64_t committed_us;  /* last commit planned */
  int64_t commit_not_before_us;
  int64_t backoff_us;
};

/* budget.c */
void strand_budget_charge (strand_partition *p, bool waiting, long records,
                           long bytes);
/* Shares have changed: a partition came, went, fell quiet, or limits did. */
void strand_budget_recount (strand_engine *e);
bool strand_budget_waiting_full (const strand_partition *p);
size_t strand_budget_chunk (const strand_engine *e);

/* engine.c */
void strand_record_free (strand_partition *p, strand_record *r);
/* Moves 'r' to an allocation of its own. NULL when memory runs out. */
strand_record *strand_record_move (strand_partition *p, strand_record *r,
                                   strand_record *before);
void strand_partition_drop (strand_partition *p); /* frees it when it can */

/* shards.c */
strand_shard *strand_shard_get (strand_partition *p, const strand_record *r);
strand_shard *strand_shard_hold (strand_partition *p, const strand_held *h);
strand_shard *strand_shard_held (strand_partition *p, const strand_held *h);
void strand_shard_append (strand_shard *s, strand_record *r);
/* Unordered: in offset order among what is ready. */
void strand_shard_insert (strand_shard *s, strand_record *r);
strand_record *strand_shard_pop (strand_shard *s);
void strand_shard_wait (strand_shard *s, strand_record *before,
                        strand_record *r);
void strand_shard_ready (strand_shard *s, bool front);
void strand_shard_unready (strand_shard *s, shard_state to);
void strand_shard_free (strand_shard *s); /* must be empty */
void strand_shard_forget (strand_shard *s); /* out of the table, kept */
/* 'visit' frees nothing. */
void strand_shards_each (strand_partition *p,
                         void (*visit) (strand_shard *s, void *arg),
                         void *arg);
/* Of a partition that is gone: 'visit' frees or forgets each. */
void strand_shards_clear (strand_partition *p,
                          void (*visit) (strand_shard *s, void *arg),
                          void *arg);
void strand_shard_describe (const strand_shard *s, const strand_record *r,
                            strand_held *held);
/* Lets the shard behind it go next. */
void strand_shard_yield (strand_shard *s);
void strand_partition_runnable (strand_partition *p);
/* Something has changed that may let a record of it start. */
void strand_partition_unstall (strand_partition *p);
static inline bool strand_shard_keyed (const strand_shard *s) {
  return s->kind != STRAND_HELD_RECORD;
}

#endif
