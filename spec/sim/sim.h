/*
** sim.h - seeded schedules through the real engine, with a model around it
**
**   log (broker) --read--> engine of a member --lease--> worker (model)
**        ^                      |        ^                  |
**        |                      |        +----- outcome ----+
**     commits <-----------------+
**
** Each seed picks sizes and the faults that may happen (a swarm), then plays
** random steps; after them the faults stop and everything must reach its end.
** One seeded generator decides everything; nothing reads a clock, so that a
** seed always runs the same way.
**
** What is checked (numbers of reliability.md 4.4):
**   I1  a commit never passes a record that is not done      commit.c
**   I2  a key: one lease at a time, in offset order          worker.c
**   I3  after a restart what was not marked done comes again log.c
**   I4  what was marked done does not come again             log.c
**   I5  metadata: within its limit, and true                 commit.c
**   I6  budgets                                              log.c
**   I7  nothing for an epoch that has ended                  worker.c, commit.c
**   I8  everything ends once the faults have stopped         play.c
**   I9  one commit in flight                                 commit.c
**   I10 read when, and only when, it may be read             log.c
**   I11 a dead-lettered record is done by its acknowledgement, and
**       failed as often before as its policy says   outcome.c, waiting.c
**   I12 a parked record is not done until it is resolved     waiting.c
**   I13 calls of a route, its rate, and the consumer's       throttle.c
**   I14 a batch: of each shard one record, or of one shard, or of one
**       partition; what failed comes alone                   throttle.c
**   I15 after its deadline a record holds its shard, and has failed,
**       whatever its handler says in the end        outcome.c, worker.c
**   I16 metadata as long as what was refused is not sent again, less than
**       all is told only when it does not fit, and never less than was told
**       before                                               commit.c
**   I17 a batch waits for others as long as it lingers, and not where none
**       can come; for the tokens of what it has; and nothing else that may
**       start waits                                          linger.c
**   I18 a record whose outputs are under way has left its shard, and is done
**       by their acknowledgement alone              sending.c, worker.c
**   and partitions are leased in turn                        worker.c
** and strand_engine_check every few steps.
**
** Thread: any (there is one).
*/
#ifndef STRAND_SIM_H
#define STRAND_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/engine.h"
#include "core/ownership.h"

#define PARTITIONS_MAX 12
#define MEMBERS_MAX 3
#define ROUTES_MAX 3
#define NO_KEY UINT32_MAX
#define TOPIC "t"

typedef enum fault {
  FAULT_FAIL,            /* handlers fail; the policy says when again */
  FAULT_DELAY,           /* they say themselves when again */
  FAULT_SLOW,            /* some handlers take very long */
  FAULT_EAGER,           /* rebalance: all revoked, then assigned */
  FAULT_COOPERATIVE,     /* rebalance: some partitions move */
  FAULT_LOST,            /* a member loses its partitions without a word */
  FAULT_CRASH,           /* the process dies, anywhere; and at each step of a
                          commit: */
  FAULT_CRASH_UNPLANNED, /* one is due */
  FAULT_CRASH_PLANNED,   /* not sent */
  FAULT_CRASH_SENT,      /* not taken, or only after the death */
  FAULT_CRASH_TAKEN,     /* not answered */
  FAULT_CRASH_ANSWERED,  /* the answer was not read */
  FAULT_STOP,            /* it finishes, commits and starts again */
  FAULT_COMMIT_LOST,     /* nothing was taken */
  FAULT_COMMIT_UNKNOWN,  /* some of it may have been taken */
  FAULT_COMMIT_ZOMBIE,   /* taken long after its answer, in any order */
  FAULT_COMMIT_TWICE,    /* taken now, and again long after its answer */
  FAULT_ANSWER_LATE,     /* later than much else */
  FAULT_GARBAGE,         /* someone else writes the metadata */
  FAULT_COMPACT,         /* records vanish from the log */
  FAULT_RETENTION,       /* the log loses its head */
  FAULT_SEEK,
  FAULT_PAUSE,
  FAULT_RECALL,    /* leases come back unstarted */
  FAULT_EARLIER,   /* a record comes twice */
  FAULT_CONFIGURE, /* limits change */
  FAULT_HOLES,     /* control records in the log */
  FAULT_NULLS,
  FAULT_HEADER, /* the key is in a header */
  FAULT_BIG,    /* records larger than a budget */
  FAULT_SMALL,  /* small budgets */
  FAULT_TINY,   /* small metadata */
  FAULT_SKIP,   /* handlers say so; and the next five */
  FAULT_ASK,    /* retry, whatever the policy says */
  FAULT_EXHAUST,
  FAULT_DEAD_LETTER,
  FAULT_PARK,
  FAULT_HALT,            /* stop */
  FAULT_ATTEMPTS,        /* policies have an end */
  FAULT_NO_DEAD_LETTERS, /* there is no dead letter topic */
  FAULT_DEAD_LETTER_LATE,
  FAULT_DEAD_LETTER_REFUSED, /* for ever */
  FAULT_ALONE,               /* what is parked does not hold its shard */
  FAULT_EXPIRE,              /* deadlines pass */
  FAULT_BATCH,
  FAULT_LINGER,
  FAULT_RATE,
  FAULT_CALLS,  /* max_in_flight */
  FAULT_REFUSE, /* the broker takes less metadata; how much, changes */
  FAULT_SPARSE, /* compaction left gaps wider than a lease */
  FAULT_SEND,   /* handlers produce */
  FAULT_ACK_LATE,
  FAULT_OUTPUT_REFUSED, /* for ever */
  FAULT_COUNT
} fault;

typedef enum slot_state {
  SLOT_AWAY, /* not delivered in this epoch */
  SLOT_IN,   /* in the engine */
  SLOT_LEASED,
  SLOT_PARKED,
  SLOT_RESOLVED,    /* to be discarded, or sent */
  SLOT_DEAD_LETTER, /* its dead letter is under way */
  SLOT_SENDING,     /* its outputs are under way */
  SLOT_DONE         /* or never there */
} slot_state;

/* One offset of a log. */
typedef struct slot {
  int64_t due_us; /* not before */
  int64_t polled_us;
  int32_t before; /* slot of the record before it in its shard; -1 */
  uint32_t key;
  uint32_t size;
  uint16_t attempt;
  uint16_t failures; /* that count in the policy */
  uint8_t state;     /* in this epoch */
  uint8_t resolution;
  bool exists;
  bool marked;   /* done, says the metadata this epoch began with */
  bool finished; /* a handler has returned */
  bool busy;     /* unordered: a lease of it is out */
  bool alone;    /* was parked or refused, and has left its shard's order */
  bool detached; /* waits, and does not hold its shard */
} slot;

typedef struct part {
  slot *slots;
  int count;
  int visible;       /* slots that were produced */
  int next;          /* slot to be read next */
  int checked;       /* all slots below are done, a commit said */
  int64_t base;      /* offset of the first slot */
  int64_t high;      /* highest offset done in this epoch; -1 */
  int64_t committed; /* at the broker; -1 */
  int64_t covered;   /* offsets done, says the last commit that was answered */
  char *metadata;
  strand_partition *live;
  int owner; /* -1: nobody */
  int route;
  uint32_t epoch;
  uint64_t skipped; /* in this epoch, as the engine counts */
  int resolved;     /* slots */
  size_t inside;    /* records in the engine */
  int passed;       /* leases of others of its member while it could start */
  bool restored;
  bool paused;
  bool revoking;
  bool drained;    /* there was nothing more to read */
  bool failed;     /* some record, in this epoch */
  bool backwards;  /* a commit that was overtaken came last */
  bool uncertain;  /* one with others may or may not have been taken */
  bool overflows;  /* what is done need not fit: less is taken than once */
  bool unwritable; /* it was said that it does not */
  bool *busy;      /* by key; [keys] without a key; [keys + 1] all */
} part;

typedef struct mlease {
  strand_lease lease;
  int member;
  int part;
  int slot; /* of its first record */
  uint32_t epoch;
  uint64_t call; /* of the handler: leases of one batch share it */
  int nth;       /* in its call */
  int leases;    /* that it began with */
  bool running;
  bool stale;
  bool expired;
  int64_t until_us;
} mlease;

/* A dead letter on its way. */
typedef struct dead_letter {
  strand_record *record;
  int part;
  int64_t due_us;
} dead_letter;

/* Outputs on their way. */
typedef struct sending {
  strand_record *record;
  int part;
  int64_t due_us;
} sending;

typedef struct bucket {
  double tokens;
  int64_t filled_us;
} bucket;

/* A commit on its way. */
typedef struct request {
  strand_commit *commit; /* NULL: nobody waits for the answer any more */
  strand_answer answer;
  int64_t answer_us; /* when it comes */
  size_t count;
  uint64_t generation;
  bool several;
  bool taken;
  bool refused; /* some of it, for its length */
  struct {
    int part;
    int64_t offset;
    char *metadata;
  } items[PARTITIONS_MAX];
} request;

typedef struct pending_release {
  strand_orphan orphan;
  int member;
  char key[64];
} pending_release;

typedef struct member {
  strand_engine *engine;
  bool joined;
  bool stopped; /* intake */
  bool unanswered;
  size_t refused; /* characters of metadata; 0: none */
  int64_t refused_us;
  request request;
  bucket bucket;
  bucket buckets[ROUTES_MAX];
  size_t calls[ROUTES_MAX];
} member;

typedef struct note {
  const char *what;
  int member;
  int part;
  int64_t a;
  int64_t b;
  int64_t now_us;
} note;

#define NOTES 64
#define LIMBO_MAX 8

/* What happened in the worlds of exactly.c. */
typedef enum exactly_count {
  EXACTLY_COMMITTED, /* transactions */
  EXACTLY_ABORTED,
  EXACTLY_OUTPUTS, /* visible */
  EXACTLY_DEAD_LETTERS,
  EXACTLY_REFUSED,  /* outputs, for ever */
  EXACTLY_LEFT_OUT, /* records, for the length of metadata */
  EXACTLY_UNKNOWN,  /* answers that did not come */
  EXACTLY_LATE,     /* requests */
  EXACTLY_RENEWED,  /* producers */
  EXACTLY_EXPIRED,  /* transactions */
  EXACTLY_STRANGERS,
  EXACTLY_REVOKED,
  EXACTLY_ABANDONED, /* transactions, at a revoke */
  EXACTLY_EXPELLED,  /* members, which go on for a while */
  EXACTLY_CRASHES,
  EXACTLY_COUNT
} exactly_count;

typedef struct world {
  uint64_t seed;
  uint64_t random;
  uint64_t digest;
  uint64_t events;
  uint64_t steps;
  uint64_t fault_counts[FAULT_COUNT];
  uint64_t exactly_counts[EXACTLY_COUNT];
  bool faults[FAULT_COUNT];
  bool trace;
  bool dying;    /* at a step of a commit: nothing more happens */
  bool crashing; /* what the engine says is not heard */
  bool ending;
  int64_t now_us;
  int64_t last_delay_us; /* of the last FAILED notice */
  int partition_count;
  int member_count;
  int keys;
  int workers;
  int max_handed;
  int running; /* calls */
  int handed;  /* leases that nobody has begun */
  int check_every;
  unsigned fail_percent;
  uint64_t generation;
  size_t broker_takes; /* characters of metadata */
  uint64_t calls;
  uint64_t lost; /* at most once, in all its lives */
  uint64_t lost_allowed;
  int notices[STRAND_NOTICE_SKIPPED + 1]; /* of the last call */
  const slot *wanted; /* the engine is about to want its dead letter */
  int route_count;
  strand_route_limits routes[ROUTES_MAX];
  strand_engine_config config;
  strand_ownership ownership;
  part parts[PARTITIONS_MAX];
  member members[MEMBERS_MAX];
  mlease *leases;
  int lease_count;
  int lease_capacity;
  dead_letter *dead_letters;
  int dead_letter_count;
  int dead_letter_capacity;
  uint64_t send_random; /* sending.c's stream */
  sending *sendings;
  int sending_count;
  int sending_capacity;
  pending_release *releases;
  int release_count;
  int release_capacity;
  request limbo[LIMBO_MAX]; /* to be taken at some time; any order */
  int limbo_count;
  note notes[NOTES];
} world;

/* main.c */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5), noreturn))
#endif
void sim_fail (const char *file, int line, const char *what,
               const char *format, ...);
#define CHECK(condition, ...)                                                 \
  ((condition) ? (void)0                                                      \
               : sim_fail(__FILE__, __LINE__, #condition, __VA_ARGS__))

/* One event; the digest of all of them tells two runs apart. */
void sim_note (world *w, const char *what, int m, int p, int64_t a, int64_t b);

static inline uint64_t sim_random (world *w) {
  uint64_t x = (w->random += UINT64_C(0x9e3779b97f4a7c15));
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

static inline int sim_pick (world *w, int below) {
  return (int)(((sim_random(w) >> 32) * (uint64_t)(uint32_t)below) >> 32);
}

static inline bool sim_chance (world *w, int percent) {
  return sim_pick(w, 100) < percent;
}

/* Whether this fault happens now; counts it. */
static inline bool sim_fault (world *w, fault f, int percent) {
  if (w->ending || !w->faults[f] || !sim_chance(w, percent)) return false;
  w->fault_counts[f]++;
  return true;
}

/* log.c */
void log_make (world *w, part *p, int count);
void log_free (part *p);
void log_spread (part *p, world *own); /* draws from 'own' */
void log_grow (world *w, part *p);
void log_compact (world *w, part *p);
void log_retain (world *w, part *p);
bool *log_busy (const world *w, const part *p, slot *s);
bool log_keyed (const world *w, const slot *s);
/* It is done: by its handler, its dead letter, or by hand. */
void log_done (part *p, slot *s);
int log_slot (const part *p, int64_t offset);
/* The part's queue is read as an owner would. True when a record came. */
bool log_read (world *w, int index);
void log_check_intake (world *w, int index);

/* commit.c */
void commit_step (world *w, int m);
void commit_now (world *w, int m); /* inside a rebalance */
void commit_answer (world *w, int m);
void commit_overtaken (world *w);           /* one out of limbo is taken */
void commit_forget (world *w, int percent); /* the rest never, or now */
void commit_drop (world *w, member *m);     /* the process died */
void commit_check_clean (world *w, int index);
void commit_limit (world *w); /* how much the broker takes */
/* Offsets that such a commit says are done. */
int64_t commit_covers (int64_t offset, const strand_payload *payload);

/* member.c */
void member_open (world *w, int m);
void member_assign (world *w, int index, int m);
void member_restore (world *w, int index);
void member_rebalance (world *w, fault kind);
void member_crash (world *w);
void member_seek (world *w, int index);
void member_release (world *w, int most); /* hands out what was released */
void member_configure (world *w);
/* Less metadata is taken from now on: of 'm', or (-1) of all. */
void member_overflow (world *w, int m);
void member_check (world *w);

/* worker.c */
bool worker_lease (world *w, int m);
bool worker_is_next (const part *p, const slot *s); /* of its shard */
bool worker_step (world *w); /* a worker begins or ends something */
void worker_recall (world *w, int m, int index, int percent);
int worker_revoked (world *w, int index); /* its leases are stale now */
void worker_drop (world *w);              /* the process died */
int64_t worker_next (const world *w);     /* when the next slow one ends */

/* outcome.c */
/* The lease's first record ends somehow; it may be the last, or the lease
** goes on. */
void outcome_end (world *w, mlease *l);
void outcome_done (world *w, mlease *l, uint32_t count);
void outcome_back (world *w, mlease *l);
void outcome_expire (world *w, mlease *l);

/* waiting.c */
bool waiting_wanted (void *arg, strand_partition *partition,
                     strand_record *record);
/* What the engine has done with what was resolved. */
void waiting_sync (world *w, int m);
bool waiting_dead_letter (world *w);        /* one that is due is answered */
bool waiting_resolve (world *w, int index); /* one, at random */
bool waiting_resolve_all (world *w);
void waiting_revoked (world *w, int index); /* -1: the process died */
int64_t waiting_next (const world *w);      /* when the next one is answered */
void waiting_check (world *w, int m);

/* sending.c */
/* Its first record, which is done, has produced something: begin. */
bool sending_wanted (world *w, const mlease *l);
void sending_begin (world *w, mlease *l);
bool sending_step (world *w);               /* one that is due is answered */
void sending_revoked (world *w, int index); /* -1: the process died */
int64_t sending_next (const world *w);
void sending_check (world *w, int m);

/* throttle.c */
void throttle_make (world *w);
bool throttle_any (const world *w);
void throttle_open (world *w, int m); /* a new engine: full buckets */
void throttle_leased (world *w, const mlease *l);
void throttle_left (world *w, const mlease *l, uint32_t unstarted);
void throttle_ended (world *w, const mlease *l);
void throttle_fill (world *w, int m); /* its buckets, up to now */
/* 'count' records of a call that began with lease 'first', and is complete. */
void throttle_batch (world *w, int first, size_t count);

/* linger.c */
/* The engine was asked for a lease, after its tick, and had none. */
void linger_refused (world *w, int m);
/* As throttle_batch. */
void linger_batch (world *w, int first, size_t count);

/* play.c */
void play_seed (world *w, uint64_t seed, int events);

/* once.c: a world of its own */
void once_seed (world *w, uint64_t seed, int events);

/* exactly.c: another */
void exactly_seed (world *w, uint64_t seed, int events);

#endif
