/*
** state.h - the engine's structs, for the files that make it up
**
** Each calls what stands below it, and nothing above:
**
** engine.c      partitions come, records enter
** stats.c       statistics
** commit.c      commits
** transacted.c  exactly once: what a transaction says is done
** windows.c     at most once: what a commit has covered may start
** dispatch.c    leases go out
** outcome.c     what the end of a record means
** sending.c     what was handled, and waits for its outputs
** waiting.c     what is not done and does not run: back-off, parked, dead
**               letters
** lease.c       leases come back
** throttle.c    rates, handlers at once: who may lease now
** revoke.c      partitions go
** shards.c      ordering key -> shard; which record of it runs next
** linger.c      batches that fill: what they wait for
** partition.c   a partition, and its ready shards
** chunks.c      the memory of records
** budget.c      what is held, and who may take more
**
** check.c has the invariants. waiting.c has a header of its own, and what knows
** no engine: offsets.h, bucket.h, retry.h.
**
** Thread: owner.
*/
#ifndef STRAND_STATE_H
#define STRAND_STATE_H

#include "core/bucket.h"
#include "core/retry.h"
#include "core/types.h"

typedef enum shard_state {
  SHARD_READY,     /* its head may run: in the partition's ready list */
  SHARD_LINGERING, /* it might, but waits for others: in 'lingering' */
  SHARD_EMPTY,     /* no record to run; only unordered shards stay so */
  SHARD_LEASED,
  SHARD_WAITING,  /* its head is in back-off, parked, or a dead letter */
  SHARD_ORPHANED, /* a handler of an earlier epoch still runs */
  SHARD_STALE     /* its partition is gone, its handler runs */
} shard_state;

#define SHARD_INLINE_KEY 24

struct strand_shard {
  strand_link ready;           /* partition->ready, or ->lingering */
  strand_shard *next_free;     /* engine->free_shards */
  strand_partition *partition; /* lease */
  strand_record *head;         /* keyed: all that is not done, the leased
                                  first; unordered: what is ready, by offset */
  strand_record *tail;
  uint64_t hash;
  const char *key; /* own copy: 'small', or allocated */
  uint32_t key_length;
  uint32_t leased; /* keyed: records out, from the head on */
  uint32_t count;  /* records from the head on */
  uint8_t kind;    /* strand_shard_kind */
  uint8_t state;
  bool failing; /* its head failed: what comes, waits */
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

/* Of a route: its partitions may lease while it is open. */
typedef struct strand_throttle {
  strand_route_limits limits;
  strand_bucket bucket;
  size_t calls;       /* leases out, further ones of a call not counted */
  size_t most_calls;  /* max_in_flight, or as many as were out when it became
                         less */
  strand_link closed; /* partitions that would be runnable */
} strand_throttle;

/* What of the records waits, but for those in back-off: partition.c's. */
typedef struct strand_waiting_counts {
  size_t parked;
  size_t dead_letters; /* dead letters under way */
  size_t sending;      /* handled, and their outputs not acknowledged */
} strand_waiting_counts;

/* Of the budgets: budget.c's. */
typedef struct strand_usage {
  size_t buffered_records;
  size_t buffered_bytes;
  size_t waiting_records;
  size_t waiting_bytes;
} strand_usage;

typedef struct strand_budget {
  strand_usage used;
  size_t share_records; /* of the budget of buffered records */
  size_t share_bytes;
  size_t reserved_records; /* what partitions that read may still claim */
  size_t reserved_bytes;
  bool is_old; /* shares and reserves: partitions came or went since */
} strand_budget;

/* What the group knows of a partition: commit.c's. */
typedef struct strand_committed {
  int64_t offset;
  int64_t covered;  /* offsets that the last commit said are done; -1 */
  uint64_t version; /* of the tracker then */
  size_t pins;      /* commits that name the partition */
  bool uncertain;   /* the last may or may not have been taken */
  bool elsewhere;  /* the group has what an earlier epoch committed: a seek, or
                       another log */
  bool unwritable; /* reported so, and no commit has had room for all since */
  bool kept;       /* of what could be committed now less fits than the last
                       commit says, which stays */
} strand_committed;

/* At most once, what may start; else all 0: windows.c's. */
typedef struct strand_windows {
  int64_t covered;     /* acknowledged */
  int64_t asked;       /* that the last commit covers, if it was taken */
  strand_record *next; /* the first that is in no shard; NULL: none */
  size_t inside;
  size_t outside;
  size_t size;          /* of the next window, at most */
  int64_t asked_us;     /* when the last was asked for */
  int64_t asked_out_us; /* commits.out_us then */
  uint64_t returned;    /* rises with each lease that comes back unstarted */
  uint64_t back;        /* 'returned' + 1 of the last commit back; 0: none */
} strand_windows;

struct strand_partition {
  strand_link link;     /* engine->partitions, or engine->gone */
  strand_link runnable; /* engine->runnable, or its throttle's 'closed': has a
                           shard that may start */
  strand_engine *engine;
  char *topic;
  void *opaque;
  strand_throttle *throttle;
  int32_t index;
  uint32_t epoch;
  partition_state state;
  bool paused;
  bool closed;  /* 'runnable' is in its throttle's list */
  bool stalled; /* payload full, and nothing low may start either; or
                   memory ran out */
  bool full;    /* the payload: what never started must wait, until one may */
  bool drained; /* nothing to read: lends its share */
  bool blocked_reported;
  bool reentered; /* what had left its shard came back: once, out of order */
  strand_offsets *offsets;
  strand_link records; /* not done, by offset */
  strand_link ready;
  strand_link lingering; /* by key: shards whose batch is not full, by the
                            age of their heads */
  strand_table keys;
  strand_shard *whole; /* by partition, or unordered */
  strand_shard *nulls;
  strand_shard *detached; /* of what has left its own: its outputs are under
                          way, or it is parked alone; never ready but for what
                          is resolved */
  strand_chunk *chunk;    /* the one that is being filled */
  int64_t *orphan_offsets;
  size_t orphan_count;
  strand_usage used;
  size_t in_flight; /* records in leases */
  size_t unstarted; /* of them, whose leases have not quite ended */
  size_t leases;
  size_t ready_count; /* shards in 'ready' */
  strand_waiting_counts waiting;
  size_t average; /* bytes of a record, moving */
  uint64_t done;
  uint64_t failed;
  uint64_t skipped;
  uint64_t dead_lettered;
  strand_committed committed;
  strand_windows windows; /* at most once */
  size_t transacted;      /* exactly once: transacted.c's */
  int64_t blocked_us;     /* since when; 0: not */
};

/* How long a commit's text may be: commit.c's. */
typedef struct strand_metadata {
  size_t limit;     /* characters: max_metadata, or less, as learnt */
  size_t taken;     /* the longest that the broker took */
  int64_t again_us; /* then a longer one is tried */
} strand_metadata;

/* When the next is due: commit.c's. */
typedef struct strand_commits {
  bool unanswered;
  bool maybe_dirty;
  bool hurried;      /* one is due at once */
  int64_t active_us; /* last record in or out */
  int64_t made_us;   /* the last one */
  int64_t sent_us;   /* that which is out, or was the last that was */
  int64_t out_us;    /* one was: so long in all */
  int64_t not_before_us;
  int64_t backoff_us;
} strand_commits;

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
  strand_throttle *throttles; /* by route */
  strand_bucket bucket;       /* the consumer's rate */
  strand_waiting_counts waiting;
  strand_budget budget;
  strand_commits commits;
  strand_metadata metadata;
  size_t in_flight;
  size_t stale;
  size_t ready;
  size_t outside; /* records that no commit covers: windows.c's */
  unsigned turn;  /* leases of the first runnable one in its turn */
  bool intake_stopped;
  uint64_t random;
  uint64_t done;
  uint64_t failed;
  uint64_t skipped;
  uint64_t dead_lettered;
  uint64_t stale_dropped;
};

static inline bool strand_at_most_once (const strand_engine *e) {
  return e->config.delivery == STRAND_AT_MOST_ONCE;
}
static inline bool strand_exactly_once (const strand_engine *e) {
  return e->config.delivery == STRAND_EXACTLY_ONCE;
}

/* budget.c */
void strand_budget_charge (strand_partition *p, bool waiting, long records,
                           long bytes);
/* Before (-1) and after (1) something that says whether 'p' reads. */
void strand_budget_reserve (strand_partition *p, int sign);
/* A partition came or went, or limits have changed. */
void strand_budget_outdate (strand_engine *e);
/* Counts anew, if it has to; returns 'e'. */
strand_engine *strand_budget_settle (strand_engine *e);
bool strand_budget_waiting_full (const strand_partition *p);
size_t strand_budget_chunk (strand_engine *e);

/* chunks.c */
void strand_chunk_close (strand_partition *p); /* no record enters it now */
void strand_record_free (strand_partition *p, strand_record *r);
/* The record that was made last gives its room back. */
void strand_record_unroom (strand_partition *p, strand_record *r);
/* Moves 'r' to an allocation of its own. NULL when memory runs out. */
strand_record *strand_record_move (strand_partition *p, strand_record *r,
                                   strand_record *before);

/* partition.c */
/* With the record that holds the commit back, if there is one. */
void strand_partition_tell (strand_partition *p, strand_notice_type type,
                            const char *reason);
void strand_record_tell (strand_partition *p, const strand_record *r,
                         strand_notice_type type, const char *reason,
                         size_t length, int64_t delay_us);
/* 'by' more of its records (-1: one less) wait like that. */
void strand_partition_count_waiting (strand_partition *p, strand_waiting kind,
                                     int by);
/* The same for those whose outputs are under way. */
void strand_partition_count_sending (strand_partition *p, int by);
/* It is gone, and what of it waited. */
void strand_partition_forget_waiting (strand_partition *p);
/* What blocks it: NULL, "metadata" or "waiting". */
const char *strand_partition_blocked (const strand_partition *p);
/* Tells of one that is blocked for a while, or not any more. */
void strand_partition_tell_blocked (strand_partition *p, int64_t now_us);
void strand_partition_runnable (strand_partition *p);
/* Something has changed that may let a record of it start. */
void strand_partition_unstall (strand_partition *p);
/* It is ready, and lingers no more. */
void strand_shard_enlist (strand_shard *s, bool front);
/* Lets the shard behind it go next. */
void strand_shard_give_way (strand_shard *s);

/* revoke.c */
/* With its shards; it is in no list. */
void strand_partition_free (strand_partition *p);
void strand_partition_drop (strand_partition *p); /* frees it when it can */

/* shards.c */
strand_shard *strand_shard_get (strand_partition *p, const strand_record *r);
strand_shard *strand_shard_add_orphan (strand_partition *p,
                                       const strand_orphan *h);
strand_shard *strand_shard_find_orphan (strand_partition *p,
                                        const strand_orphan *h);
void strand_shard_append (strand_shard *s, strand_record *r);
/* Unordered: in offset order among what is ready. */
void strand_shard_insert (strand_shard *s, strand_record *r);
/* Keyed: 'r' comes back, behind what runs or waits, by offset. */
void strand_shard_reenter (strand_shard *s, strand_record *r);
/* Its head is gone, or may go on. Frees a keyed one that is empty. */
void strand_shard_go_on (strand_shard *s);
/* The shard of what has left its own; NULL when memory runs out. */
strand_shard *strand_shard_detached (strand_partition *p);
strand_record *strand_shard_pop (strand_shard *s);
void strand_shard_wait (strand_shard *s, strand_record *before,
                        strand_record *r);
void strand_shard_ready (strand_shard *s, bool front);
void strand_shard_unready (strand_shard *s, shard_state to);
void strand_shard_free (strand_shard *s);   /* must be empty */
void strand_shard_forget (strand_shard *s); /* out of the table, kept */
/* 'visit' frees nothing. */
void strand_shards_each (strand_partition *p,
                         void (*visit)(strand_shard *s, void *arg), void *arg);
/* Of a partition that is gone: 'visit' frees or forgets each. */
void strand_shards_clear (strand_partition *p,
                          void (*visit)(strand_shard *s, void *arg),
                          void *arg);
void strand_shard_describe (const strand_shard *s, const strand_record *r,
                            strand_orphan *orphan);

/* lease.c */
/* A stale lease is dropped: true. */
bool strand_lease_drop (strand_lease *lease);
/* FLIGHT -> OPEN, from the record of that number on. */
strand_err strand_lease_unstart (strand_lease *lease, uint32_t from);
/* All its records leave it, the last 'unstarted' of them as they came. */
void strand_lease_leave (strand_lease *lease, uint32_t unstarted);
/* The first leaves it and its shard, in flight still. */
void strand_lease_part_first (strand_lease *lease);
/* An open record, or one in flight, is done: it leaves its shard. */
strand_err strand_lease_finish_first (strand_lease *lease, int64_t now_us);

/* commit.c */
/* The tracker of 'p' says what the group knows. */
void strand_commit_restored (strand_partition *p, int64_t committed);
/* What a commit says may have changed. */
static inline void strand_commit_may_differ (strand_engine *e) {
  e->commits.maybe_dirty = true;
}
/* A record is in: before the first there was nothing to tell. */
static inline void strand_commit_entered (strand_engine *e, int64_t now_us) {
  e->commits.active_us = now_us;
  if (e->commits.made_us == 0) e->commits.made_us = now_us;
}
/* One is done. */
static inline void strand_commit_left (strand_engine *e, int64_t now_us) {
  e->commits.active_us = now_us;
  e->commits.maybe_dirty = true;
}
/* The record at 'offset' has ended. */
static inline void strand_windows_left (strand_partition *p, int64_t offset) {
  if (offset < p->windows.asked) p->windows.inside--;
}
/* A record of it comes back unstarted: a commit goes back further. */
static inline void strand_windows_returned (strand_partition *p) {
  p->windows.returned++;
  if (strand_at_most_once(p->engine)) strand_commit_may_differ(p->engine);
}
/* Metadata may be so long from now on. */
void strand_commit_limit (strand_engine *e, size_t limit);
/* Once in a while: may it be longer? */
void strand_commit_try_longer (strand_engine *e, int64_t now_us);

/* transacted.c */
/* What a commit says, by value, with what is in its transaction. */
strand_err strand_transacted_write (strand_partition *p, size_t limit,
                                    char *text, size_t *length,
                                    strand_commit_item *item);
/* It has no part in the transaction after all. */
void strand_transacted_leave_out (strand_partition *p);
/* The record is done. */
void strand_transacted_ended (strand_partition *p, strand_record *r);

/* windows.c */
/* The base is known. */
void strand_windows_begin (strand_partition *p, int64_t committed);
/* 'r', which is in, waits for its window. */
void strand_windows_add (strand_partition *p, strand_record *r);
/* 'r' enters its shard 's'. */
void strand_windows_enter (strand_partition *p, strand_shard *s,
                           strand_record *r);
/* What is covered, and had no memory to enter. */
void strand_windows_enter_rest (strand_partition *p);
/* What a commit would say differs from what the group knows. */
bool strand_windows_dirty (const strand_partition *p);
/* Some partition of the engine has too little that may start. */
bool strand_windows_due (const strand_engine *e);
/* What a commit says, by value: see strand_offsets_payload_as. */
strand_err strand_windows_write (strand_partition *p, size_t limit, char *text,
                                 size_t *length, strand_commit_item *item);
/* The group has taken it. */
void strand_windows_take (strand_partition *p, const strand_commit_item *item);
/* It is revoked: nothing waits any more. */
void strand_windows_end (strand_partition *p);

void strand_windows_check (const strand_partition *p);

/* throttle.c */
bool strand_throttles_new (strand_engine *e);
void strand_throttles_configure (strand_engine *e,
                                 const strand_engine_config *config);
/* Tokens of the consumer's rate; 'most' at most. */
size_t strand_throttle_tokens (strand_engine *e, size_t most, int64_t now_us);
/* How many of 'most' records 'p', which is runnable, may lease now. 0: it has
** left the runnable ones until that opens; or it has not, and is the next
** to get tokens of the consumer's rate. */
size_t strand_throttle_room (strand_partition *p, size_t most, int64_t now_us);
size_t strand_throttle_more (strand_throttle *throttle, size_t most,
                             int64_t now_us);
void strand_throttle_leased (strand_partition *p, const strand_lease *lease);
/* 'unstarted' records give their tokens back; the lease has ended if so. */
void strand_throttle_left (strand_partition *p, const strand_lease *lease,
                           uint32_t unstarted);
/* Another record is there, in 's': a batch may be full. */
void strand_throttle_record_entered (strand_shard *s);
/* A batch of any partition has begun: those that linger may join it. */
void strand_throttle_join (strand_throttle *throttle);

/* linger.c */
typedef struct strand_start {
  int64_t due_us; /* not before; 0: now */
  size_t tokens;  /* nor without these, of each rate */
} strand_start;
/* Of the call that 'p' would begin. */
strand_start strand_linger_start (const strand_partition *p, int64_t now_us);
/* That call is as large as it gets. */
bool strand_linger_full (const strand_partition *p);
/* By key: the shard, which could be ready, waits for others. */
bool strand_linger_wants (const strand_shard *s);
void strand_linger_enter (strand_shard *s);
void strand_linger_leave (strand_shard *s); /* it is ready, if it lingered */
/* Another record is there. */
void strand_linger_record_entered (strand_shard *s);
/* What has lingered is ready; and the oldest, where nothing else is and no
** more comes. */
void strand_linger_due (strand_partition *p, int64_t now_us);
/* Limits have changed. */
void strand_linger_again (strand_partition *p);

static inline bool strand_shard_keyed (const strand_shard *s) {
  return s->kind != STRAND_SHARD_RECORD;
}

#endif
