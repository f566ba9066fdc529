/*
** offsets.h - which offset of a partition may be committed
**
** One tracker per assigned partition. Records are added in offset order,
** started in any order the shards allow, and finish in any order. The
** tracker answers two questions: below which offset is everything done, and
** does the commit's payload fit however the started records end?
**
**      41    42    43    44    45    46    47    48
**     done FLIGHT done  OPEN  done FLIGHT OPEN  position
**           ^                            ^
**           committable                  frontier
**
** Records that are not done are OPEN or in FLIGHT (runs.h); what is below
** 'position' and in no run is done or never existed. Whether the payload fits
** is known by the boundaries between them (boundaries.h).
**
** Invariants (strand_offsets_check):
**   (1) 'committable' is the first offset of the first run; without a run,
**       'position', or one above the restored payload. A restored run may
**       lie above 'position', all others are below.
**   (2) What strand_offsets_start allowed keeps the payload within its limit
**       however the FLIGHT records end, as long as no other start follows.
**       (But see STRAND_OFFSETS_RESERVE; and a payload that was restored may
**       get longer by what never came.)
**
** Thread: owner. Workers never see a tracker: they leave outcomes in what they
** were given, and the owner applies them.
*/
#ifndef STRAND_OFFSETS_H
#define STRAND_OFFSETS_H

#include <stdbool.h>

#include "codec/payload.h"

typedef struct strand_offsets strand_offsets;

/* Characters of the limit that new records may not use: they are kept so
** that records below the frontier, whose end makes the payload shorter, can
** always start; and of these a few for the lowest record alone: what its two
** boundaries may add. */
#define STRAND_OFFSETS_LOWEST 32
#define STRAND_OFFSETS_RESERVE(limit) ((limit) / 8 + STRAND_OFFSETS_LOWEST)
#define STRAND_OFFSETS_LAST_RESERVE(limit)                                    \
  ((limit) / 64 + STRAND_OFFSETS_LOWEST)

/* 'committed' is the group's offset, -1 when there is none: the first record
** or strand_offsets_reach then gives it. NULL when memory runs out. */
strand_offsets *strand_offsets_new (int64_t committed);
void strand_offsets_free (strand_offsets *t);

/* Takes over what a payload says; only on a fresh tracker. */
strand_err strand_offsets_restore (strand_offsets *t,
                                   const strand_payload *payload);

typedef enum strand_added {
  STRAND_ADDED,         /* it is OPEN now: hand it on */
  STRAND_ADDED_DONE,    /* the payload says it is done: drop it */
  STRAND_ADDED_EARLIER, /* below the position: nothing changed */
  STRAND_ADDED_ENOMEM   /* nothing changed */
} strand_added;

/* A record was polled: what lies between the position and it never came, so
** does not exist (compaction, control records), and counts as done. */
strand_added strand_offsets_add (strand_offsets *t, int64_t offset);

/* The broker has nothing below 'offset' that was not added. */
strand_err strand_offsets_reach (strand_offsets *t, int64_t offset);

/* OPEN -> FLIGHT. STRAND_EFULL when the payload might then not fit in
** 'limit' characters; nothing has changed. */
strand_err strand_offsets_start (strand_offsets *t, int64_t offset,
                                 size_t limit);

/* Whether it would; nothing changes. False without memory to tell. */
bool strand_offsets_may_start (strand_offsets *t, int64_t offset,
                               size_t limit);

/* FLIGHT -> done. STRAND_ENOTOPEN for an offset that is not in flight. An
** outcome from before a rebalance is not caught here: the same offset may be
** in flight again. The engine compares epochs before it calls. */
strand_err strand_offsets_finish (strand_offsets *t, int64_t offset);

/* FLIGHT -> OPEN: it failed, or was given back unstarted. */
strand_err strand_offsets_unstart (strand_offsets *t, int64_t offset);

/* -1 while nothing is known of the partition. */
int64_t strand_offsets_committable (const strand_offsets *t);
int64_t strand_offsets_position (const strand_offsets *t);
/* Highest offset that finished or was described as done; -1 for none. */
int64_t strand_offsets_highest (const strand_offsets *t);
int64_t strand_offsets_frontier (const strand_offsets *t);
/* Rises with each change of what a commit would say. */
uint64_t strand_offsets_version (const strand_offsets *t);
/* Characters the payload may need at most, however FLIGHT records end. */
size_t strand_offsets_bound (const strand_offsets *t);
/* Offsets in runs: polled and not done, and restored as open. */
uint64_t strand_offsets_open (const strand_offsets *t);
/* KIND_DONE, KIND_OPEN or KIND_FLIGHT (runs.h): for checks. */
int strand_offsets_kind (const strand_offsets *t, int64_t offset);
/* Bytes of memory that the tracker holds. */
size_t strand_offsets_bytes (const strand_offsets *t);

/* The payload that belongs to the committable offset, in one step: the two
** never come from different moments. 'text' has room for 'limit' characters.
** STRAND_EFULL when it does not fit. */
strand_err strand_offsets_payload (const strand_offsets *t, size_t limit,
                                   char *text, size_t *length);

/* A commit may count more as done than what is. */
typedef struct strand_cover {
  int64_t below;          /* all that is below this */
  bool flight;            /* all that is in flight */
  const int64_t *offsets; /* these: rising, each in flight */
  size_t count;
} strand_cover;

/* What is committable then, and the payload that belongs to it. */
int64_t strand_offsets_committable_as (const strand_offsets *t,
                                       strand_cover cover);
strand_err strand_offsets_payload_as (const strand_offsets *t,
                                      strand_cover cover, size_t limit,
                                      char *text, size_t *length,
                                      int64_t *committable);

/* How many offsets a commit of all that is done says are done: those below
** the committable offset, and those above it. -1 for none. */
int64_t strand_offsets_covered (const strand_offsets *t);
/* As much of the payload as fits, from the bottom; '*covered' is what such a
** commit says, as above. Of two commits the one that covers more leaves fewer
** records to be done again. */
strand_err strand_offsets_payload_part (const strand_offsets *t, size_t limit,
                                        char *text, size_t *length,
                                        int64_t *covered);

/* Walks everything and asserts the invariants: tests and the simulator. */
void strand_offsets_check (const strand_offsets *t);

#endif
