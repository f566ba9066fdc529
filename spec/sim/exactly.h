/*
** exactly.h - exactly once: a world of its own, and the brokers' side of it
**
**   log --read--> engine of a member --lease--> handler, made up
**                   |        ^                     |
**               the plan     | done             outputs
**                   |        |                     |
**                   +--> transactor, made up <-----+
**                            |
**       write, offsets, end, init, committed: each may be taken and not
**                 answered, taken late, or lost
**                            |
**                 broker, made up: transactions, offsets, outputs
**
** exactly.c has the members and the log, transactor.c what sends (by the rules
** that the C code follows too, but written apart from it), broker.c what
** answers.
**
** What is checked, when the brokers write the end of a transaction (broker.c):
**   X1  no output is visible twice
**   X2  a commit covers no record that has not ended, or whose outputs are not
**       visible; what it made is visible whole, or not at all
**   X3  outputs of a key are in the order of its records
**   X4  what is visible is covered by the commit of its transaction
**   X5  what was covered stays so
** And over all (exactly.c):
**   X6  what is covered does not start again, in crashes, rebalances, fences
**   X7  no record is handled again in its epoch when what it produced was not
**       committed
**   X8  all is covered in the end
**
** Not modelled: a request that is taken after a later one of the same
** producer (brokers before 4.0 can then end the transaction that follows).
** transactor.c gives a producer up before that can matter.
*/
#ifndef STRAND_SIM_EXACTLY_H
#define STRAND_SIM_EXACTLY_H

#include "sim.h"

#define X_PARTS 3
#define X_MEMBERS 3
#define X_KEYS 12
#define X_METADATA 4200
#define X_OUTPUTS 2 /* of a record, at most */

/* What a record has made of itself, at a member. */
typedef enum made {
  MADE_NOTHING, /* it did not end */
  MADE_ONE,     /* output */
  MADE_TWO,
  MADE_DEAD_LETTER,
  MADE_NONE /* it is done, or skipped, and produced nothing */
} made;

typedef struct x_entry {
  bool exists;
  bool covered; /* by what is committed */
  bool refused; /* once: by then later ones of its key may be committed */
  uint8_t key;
  uint8_t visible[X_OUTPUTS + 1]; /* each output, and its dead letter */
  uint8_t made[X_MEMBERS];
  bool held[X_MEMBERS]; /* handled, in this epoch, and not committed */
} x_entry;

/* What a member has of a partition. */
typedef struct x_hold {
  strand_partition *live; /* NULL: nothing */
  bool restored;
  bool leaving;
  int next;
} x_hold;

typedef struct x_part {
  x_entry *log;
  int count;
  int owner; /* says the group */
  uint32_t epoch;
  x_hold holds[X_MEMBERS];
} x_part;

/* One output, or the dead letter, of a record that was handled. */
typedef struct x_staged {
  strand_record *record;
  int index;
  int64_t offset;
  made what;
  int written; /* of its outputs */
  bool in;     /* the transaction */
  bool refused;
} x_staged;

typedef enum x_step {
  X_IDLE,
  X_WRITING,
  X_OFFSETS,
  X_ENDING,
  X_ABORTING,
  X_RENEWING,
  X_READING
} x_step;

typedef struct x_transactor {
  x_step step;
  uint32_t epoch; /* of the producer */
  bool begun;     /* brokers may know of the transaction */
  bool renews;    /* after the abort */
  strand_commit *commit;
  strand_answer answer; /* after the abort */
  uint64_t generation;  /* when the list was closed */
  x_staged *list;       /* in the order in which they were handed over */
  int count;
  int capacity;
} x_transactor;

typedef struct x_member {
  strand_engine *engine;
  uint64_t generation; /* that it knows */
  bool expelled;       /* and does not know it */
  x_transactor transactor;
} x_member;

typedef struct exactly {
  world *w;
  bool faults;
  int unknown; /* percent of requests */
  int fails;   /* percent of outputs */
  int limit;   /* records in a transaction */
  int dying;   /* the member that does; -1 */
  bool crashing;
  uint64_t generation; /* the group's */
  size_t takes;        /* characters of metadata */
  strand_engine_config config;
  strand_route_limits route;
  x_part parts[X_PARTS];
  x_member members[X_MEMBERS];
} exactly;

extern exactly x;

static inline void x_count (exactly_count what) {
  x.w->exactly_counts[what]++;
}

static inline bool x_happens (int percent) {
  return x.faults && sim_chance(x.w, percent);
}

static inline bool x_dies (int m) {
  if (x.dying < 0 && x_happens(1) && sim_chance(x.w, 25)) x.dying = m;
  return x.dying == m;
}

/*
** broker.c
*/

typedef enum reply {
  REPLY_OK,
  REPLY_FENCED,     /* another producer has the id */
  REPLY_GENERATION, /* of the group: not this one */
  REPLY_TOO_LARGE,  /* some metadata */
  REPLY_BUSY,       /* the end of the last one is not written yet */
  REPLY_UNSTABLE,   /* the partition's offset is in an open transaction */
  REPLY_NONE        /* taken or not, or late */
} reply;

void broker_open (void);
void broker_close (void);
/* The id's producer before that is fenced, its transaction ended. */
reply broker_init (int id, uint32_t *epoch);
reply broker_write (int id, uint32_t epoch, int index, int64_t offset,
                    int which);
reply broker_offsets (int id, uint32_t epoch, uint64_t generation,
                      const strand_commit *commit);
reply broker_end (int id, uint32_t epoch, bool commits);
/* 'offset' is -1 while nothing is committed. */
reply broker_read (int index, int64_t *offset, const char **metadata);
/* The same, to be taken at some time. */
void broker_offsets_late (int id, uint32_t epoch, uint64_t generation,
                          const strand_commit *commit);
void broker_end_late (int id, uint32_t epoch, bool commits);
/* What is late of the id comes now. */
void broker_hurry (int id);
/* Something that brokers do by themselves. */
void broker_turn (void);
/* All is in order. */
void broker_check (void);
/* Whether a commit says that the offset is done. */
bool broker_covers (int64_t committed, const char *metadata, int64_t offset);

/*
** transactor.c
*/

void transactor_stage (int m, int index, strand_record *record, made what);
/* One thing that it does. */
void transactor_step (int m);
bool transactor_is_idle (int m);
/* The epoch ends: nothing of it is sent any more. */
void transactor_forget (int m, int index);
/* What is not resolved is left to the next producer. */
void transactor_abandon (int m);
/* The process is another. */
void transactor_open (int m);
void transactor_drop (int m);

#endif
