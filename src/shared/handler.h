/*
** handler.h - what a worker calls, and what it is told
**
** A worker knows no Lua: the handler is a table of functions, whose state the
** worker opens, uses and closes on its own thread.
**
**   open -> serve (next, next, ...), serve, ... -> close
**
** A state that breaks (it says so in its outcome) is closed, and opened anew
** before the next record.
**
** One that has an event loop works on many leases at once, which it takes
** itself from the mailbox:
**
**   open -> run -> close
**
** Thread: worker, except where a function says so.
*/
#ifndef STRAND_KAFKA_HANDLER_H
#define STRAND_KAFKA_HANDLER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/engine.h"

/* What became of one record. Zeroed before each. */
typedef struct strand_outcome {
  strand_outcome_kind kind;
  bool stop_consumer;   /* also when done: the consumer finishes */
  bool broken;          /* the state must be replaced */
  bool marked;          /* of a batch: the handler said it of this one */
  int64_t delay_us;     /* FAILED, RETRY: -1: by the route's policy */
  char *reason;         /* malloc, taken by the worker; NULL for none */
  size_t reason_length; /* at most STRAND_REASON_MAX */
  char *policy_problem; /* malloc, taken, terminated: the retry function
                              failed, or gave what is no time */
  struct strand_staged *staged; /* taken: what the attempt produced; NULL for
                                   nothing. Sent only when it is DONE */
} strand_outcome;

/* The records of one call of a handler that takes batches. */
typedef struct strand_records {
  uint32_t count;
  const strand_record **records; /* of one shard in the order of offsets */
  strand_outcome *outcomes;      /* one for each; zeroed */
} strand_records;

/* What a worker has to do now. */
typedef struct strand_task {
  const strand_record *record; /* of a batch the first */
  strand_records *many;        /* NULL: no batch */
  unsigned route;         /* from 0 in the order of the consumer's routes */
  int64_t deadline_us;    /* of the call; 0: none */
  strand_outcome outcome; /* of a batch: stop_consumer and broken */
} strand_task;

/* What the thread of a task is interrupted for: bits. A handler that can be
** says how while it serves (strand_interrupt_serve). */
enum {
  STRAND_INTERRUPT_END = 1,  /* it has expired: it should end */
  STRAND_INTERRUPT_TRACE = 2 /* a traceback is wanted */
};

#define STRAND_DEADLINE_TEXT 80
/* Why it has failed. Thread: any. */
void strand_deadline_text (char text[STRAND_DEADLINE_TEXT],
                           int64_t deadline_us);

struct strand_consumer;
struct strand_worker_slot;

typedef struct strand_handler {
  void *config; /* given to open and release */
  /* Opens a state for a worker, whose place that is, and loads the handlers.
  ** NULL and a failure when that does not work. */
  void *(*open)(void *config, struct strand_consumer *consumer,
                struct strand_worker_slot *worker_slot,
                strand_failure *failure);
  /* Handles the task's record, or batch, and leaves the outcomes there; while
  ** next(arg) then puts another there, handles that. One call for many records,
  ** so that what protects the calls is set up once. Returns at once when the
  ** state is broken. 'next' never raises; with it the record is over. */
  void (*serve)(void *state, strand_task *task, bool (*next)(void *arg),
                void *arg);
  /* In place of 'serve', or NULL. Works until the worker should end, and
  ** nothing runs: true. False and a failure: the loop has ended, what it worked
  ** on has failed; 'barren': it has begun nothing. */
  bool (*run)(void *state, bool *barren, strand_failure *failure);
  void (*close)(void *state);
  /* Thread: any. The last user of 'config' is gone. */
  void (*release)(void *config);
  size_t stack_bytes; /* of a worker's thread; 0: the system's default */
} strand_handler;

#endif
