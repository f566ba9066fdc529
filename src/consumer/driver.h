/*
** driver.h - the engine's driver without a broker: local mode in one thread,
** with a time that is moved on
**
**   feed        records enter the engine
**   turn        what an owner does in one: outcomes in, commits, leases out
**   (bodies are resumed: lua/local)
**   accept      what handlers produced, and dead letters, count as acknowledged
**   advance     nothing can go on: the time is when something can again
**
** Engine, hand-over, harvest, outcomes, outputs and deadlines are a member's
** own code, on parts that have no client. What it stands in for is the rest of
** a member: a log that is given, commits and sends that never fail.
**
** Invariants:
**   (1) A partition has the metadata of its last commit exactly when there was
**       one, unless memory ran out.
**   (2) A dead letter in the queue is of a record that waits for it.
**
** Thread: lua alone; it is the owner too.
*/
#ifndef STRAND_DRIVER_H
#define STRAND_DRIVER_H

#include "shared/shared.h"

typedef struct strand_driver strand_driver;

/* What the engine told of a record. */
typedef struct strand_driver_note {
  strand_notice_type type;
  size_t partition;
  int64_t offset;
  uint32_t attempt;
  int64_t at_us;    /* since the driver was opened */
  int64_t delay_us; /* -1: none */
  char *reason;     /* NULL: none */
  size_t reason_length;
} strand_driver_note;

/* What a record had sent: outputs, or its dead letter. Borrowed, until the next
** call of the driver. */
typedef struct strand_driver_sent {
  size_t partition;
  int64_t offset;
  const strand_output *first;
} strand_driver_sent;

typedef enum strand_driver_move {
  STRAND_DRIVER_MOVED,
  STRAND_DRIVER_LIMIT,  /* it would be later than the limit */
  STRAND_DRIVER_NOTHING /* nothing will go on by itself */
} strand_driver_move;

/* Borrows nothing of 'config'; 'config->handler' is taken, also on failure. The
** time begins at 'wall_us' (since 1970). NULL and a failure. */
strand_driver *strand_driver_open (const strand_consumer_config *config,
                                   const char *group, int64_t wall_us,
                                   strand_failure *failure);
/* No handler runs any more. Accepts NULL. */
void strand_driver_close (strand_driver *d);

/* What local mode works on. Borrowed. */
strand_consumer *strand_driver_consumer (strand_driver *d);
/* Since it was opened. */
int64_t strand_driver_elapsed_us (const strand_driver *d);

/* A partition is assigned: its number, from 0; -1: no route takes the topic;
** -2: memory ran out. */
int strand_driver_assign (strand_driver *d, const char *topic,
                          int32_t partition);
/* May one more record be read? */
bool strand_driver_may_feed (const strand_driver *d, size_t partition);
/* As strand_engine_room; then feed, nothing else in between. */
strand_record *strand_driver_room (strand_driver *d, size_t partition,
                                   size_t length);
strand_added strand_driver_feed (strand_driver *d, size_t partition,
                                 strand_record *record);
/* All of the partition was read, or not. */
void strand_driver_drained (strand_driver *d, size_t partition, bool drained);

/* False: memory ran out, and something was not noted. */
bool strand_driver_turn (strand_driver *d);
/* The time goes on to where something does: 'sleeper_us' is when a handler
** wakes; at most to 'limit_us' since the driver was opened. */
strand_driver_move strand_driver_advance (strand_driver *d, int64_t sleeper_us,
                                          int64_t limit_us);
/* What has ended counts, and what no handler has begun comes back, for good. */
void strand_driver_halt (strand_driver *d);
/* What is dirty is committed now. */
void strand_driver_commit (strand_driver *d);

/* True: there was one, and it is acknowledged. */
bool strand_driver_next_outputs (strand_driver *d, strand_driver_sent *out);
/* The same; -1: memory ran out. One that comes from the dead letter topic is
** parked, and passed by. */
int strand_driver_next_dead_letter (strand_driver *d, strand_driver_sent *out);
/* The caller frees its reason. */
bool strand_driver_next_note (strand_driver *d, strand_driver_note *out);
/* The next record that is not done, after one of them; NULL: the first, and
** none. */
const strand_record *strand_driver_next_left (const strand_driver *d,
                                              size_t partition,
                                              const strand_record *after);
/* The offset of its last commit, or -1; with its metadata. Borrowed until the
** next turn or commit. */
int64_t strand_driver_committed (const strand_driver *d, size_t partition,
                                 const char **metadata);
/* Counts of all. */
void strand_driver_stats (const strand_driver *d, strand_engine_stats *out);

#endif
