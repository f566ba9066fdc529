/*
** assignment.h - the partitions that a member is assigned
**
** Invariants:
**   (1) There is room for each, and none is NULL.
**   (2) One that is live has a queue, and is found by its topic and number.
**   (3) One that is revoked has no queue, and a lease of it is out: the last
**       of them drops it.
**
** Thread: owner, but for a partition's stop flag.
*/
#ifndef STRAND_ASSIGNMENT_H
#define STRAND_ASSIGNMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <librdkafka/rdkafka.h>
#include "base/list.h"
#include "core/engine.h"
#include "core/places.h"

typedef struct strand_assigned strand_assigned;

/* Where a partition is read from: position.c's, which others ask. */
typedef struct strand_position {
  bool restored;
  bool checking;    /* it is in doubt: not read */
  bool asked;       /* ...and the helper has that question, or seeks */
  bool again;       /* something came between: seek once more */
  bool sought;      /* the doubt was settled by going there */
  bool first_seen;  /* a record or the end came since it was placed */
  bool stuck;       /* no offset to go on from; seek() helps */
  bool unstable;    /* a transaction holds its committed offset back */
  bool reported;    /* ...and that was reported */
  bool given;       /* librdkafka got a place for it, and asks for none */
  bool astray;      /* it may begin anywhere: sought when it has */
  int64_t target;   /* 'checking': where it goes on; or STRAND_NOWHERE */
  int64_t seen;     /* and what came in place of what was expected */
  int64_t below;    /* what came below the position: a reset; or -1 */
  int64_t claimed;  /* what metadata says is done, up to here, while the log is
                      not known to be so long; or -1 */
  int64_t since_us; /* when that was asked for first; 0: not yet */
  int64_t retry_us; /* when to ask for the committed offset again */
  int64_t backoff_us;
} strand_position;

/* What of its log is missing: starts.c's. */
typedef struct strand_gap {
  int64_t low;  /* the log's start, when it was last looked at */
  int64_t from; /* what was expected at the gap to look at; -1: none */
  int64_t to;
  int64_t due_us; /* when gaps may be looked at again */
  bool asked;     /* the helper has the question about it */
} strand_gap;

/* An assigned partition as the owner sees it: what the engine's one has as its
** opaque. Freed when it is revoked and no lease of it is out. */
struct strand_assigned {
  strand_partition *partition; /* NULL when revoked */
  rd_kafka_queue_t *queue;     /* NULL when revoked */
  unsigned route;
  uint32_t leases;
  uint32_t epoch;
  bool leaving;   /* nothing starts any more: revoked, or closing */
  bool contested; /* another member did not give it up: not restored */
  bool no_route;  /* no handler takes it: never read */
  bool more;      /* its queue may hold something now */
  bool seeking;   /* the user's seek is under way */
  bool reread;    /* from where it is: librdkafka may not say it again */
  bool no_leader; /* it does not answer, or there is none */
  int64_t end;    /* the partition's end, when it was last reached */
  strand_position position;
  strand_gap gap;
  strand_link dead_letters; /* of its records; dead_letters.c */
  strand_link outputs;      /* the same; outputs.c */
  char apart[64];           /* from what the owner writes for each lease */
  /* Written by the owner, read by workers before each further record of a
  ** lease: one that it reads too early is one more record in flight. */
  atomic_bool stop;
};

/* partitions[0..count) are live, or gone with leases out; 'places' finds those
** that are live. */
typedef struct strand_assignment {
  strand_assigned **partitions;
  size_t count;
  size_t capacity;
  strand_places places;
} strand_assignment;

void strand_assignment_free (strand_assignment *a);
/* One that is not assigned yet. NULL: memory ran out. */
strand_assigned *strand_assignment_add (strand_assignment *a);
/* Frees one that is revoked and has no lease out, or never came to be. */
void strand_assignment_drop (strand_assignment *a, strand_assigned *assigned);
/* NULL: it is not one of them, or revoked. */
strand_assigned *strand_assignment_find (const strand_assignment *a,
                                         const char *topic, int32_t partition);
/* What librdkafka fetches of it goes to a queue of its own, which writes to
** 'fd' when it holds something. While it is not assigned: where its fetch
** begins librdkafka makes the consumer's queue of it, unless that was done.
** Again before each assign: what librdkafka does not know yet by its metadata
** has another one then. */
void strand_assigned_split (strand_assigned *assigned, rd_kafka_t *client,
                            int fd);
/* Between two turns, in debug builds. */
void strand_assignment_check (const strand_assignment *a);

#endif
