/*
** fatal.h - a client that is at its end, and when another one follows
**
** After some errors librdkafka cannot say any more which records are written:
** then its client sends nothing, and only reports what it had. Another one
** takes its place when all of that is reported:
**
**   NONE --fatal error--> DRAINING --nothing is out, its pause is over--> NONE
**                             |
**                             +--> ENDED: another one would end the same way
**
** What is queued is given up at once, and again each STRAND_FATAL_TICK_US: what
** is sent again comes back to the queue. What is under way may take
** STRAND_FATAL_PATIENCE_US to be answered: then it is given up, too, and may be
** written.
**
** Another client that ends soon follows after a pause, which grows from one to
** the next. The count begins anew with one that took records when it was
** STRAND_FATAL_CALM_US old.
**
** Invariants:
**   (1) There is an error while there is a state.
**   (2) 'due_us' is set while it is draining, and only then.
**   (3) No more than STRAND_FATAL_CLIENTS follow without a calm one.
**
** Thread: lua.
*/
#ifndef STRAND_FATAL_H
#define STRAND_FATAL_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"

#define STRAND_FATAL_TICK_US 50000
#define STRAND_FATAL_PATIENCE_US 10000000
#define STRAND_FATAL_CALM_US 10000000
#define STRAND_FATAL_PAUSE_US 100000 /* before the third; then 4 times each */
#define STRAND_FATAL_PAUSE_MAX_US 60000000
#define STRAND_FATAL_CLIENTS 8

typedef enum strand_fatal_state {
  STRAND_FATAL_NONE,
  STRAND_FATAL_DRAINING,
  STRAND_FATAL_ENDED
} strand_fatal_state;

typedef enum strand_fatal_step {
  STRAND_FATAL_WAIT,      /* until due_us, or a report */
  STRAND_FATAL_PURGE,     /* what is queued */
  STRAND_FATAL_PURGE_ALL, /* what is under way, too */
  STRAND_FATAL_RENEW,     /* then strand_fatal_renewed, or _postpone */
  STRAND_FATAL_GIVE_UP    /* it is over now */
} strand_fatal_step;

/* All 0: none. */
typedef struct strand_fatal {
  strand_fatal_state state;
  rd_kafka_resp_err_t err;
  strand_failure failure; /* the same, for people */
  int64_t since_us;
  int64_t renew_us;  /* no other client before */
  int64_t due_us;    /* the next step; 0: at no time */
  int64_t opened_us; /* the client; 0: the first one */
  bool calm;         /* it took records when it was old enough */
  int clients;       /* that followed one that was not */
} strand_fatal;

/* The client took a record. */
void strand_fatal_took (strand_fatal *f, int64_t now_us);
/* It is at its end; 'text': librdkafka's. */
void strand_fatal_begin (strand_fatal *f, rd_kafka_resp_err_t err,
                         const char *text, int64_t now_us);
/* 'out' records are still to be reported by it. */
strand_fatal_step strand_fatal_next (strand_fatal *f, int64_t out,
                                     int64_t now_us);
/* Another one is there, */
void strand_fatal_renewed (strand_fatal *f, int64_t now_us);
/* or could not be opened. */
void strand_fatal_postpone (strand_fatal *f, int64_t now_us);

/* After a change, in debug builds. */
void strand_fatal_check (const strand_fatal *f);

#endif
