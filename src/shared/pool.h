/*
** pool.h - what the workers of a consumer share
**
** Invariants:
**   (1) No more load their handlers than were made.
**   (2) A failure that is forgotten is so whole: if it comes again it is told.
**
** Thread: any. A leaf lock of its own.
*/
#ifndef STRAND_POOL_H
#define STRAND_POOL_H

#include <stdatomic.h>

#include "base/lock.h"
#include "shared/handler.h"

/* All that are started together pass their latches, or none does. */
typedef struct strand_start_latch {
  struct strand_start_latch *next; /* who starts them has the list */
  bool decided;                    /* the pool's lock */
  bool open;                       /* the pool's lock */
} strand_start_latch;

typedef struct strand_pool {
  strand_handler handler; /* set by init, and only read */
  /* Written by workers, read by any for health() and statistics alone. */
  atomic_uint busy;         /* workers in a handler */
  _Atomic int64_t ended_us; /* coarse: when a record last ended */
  _Atomic int64_t began_us; /* coarse: when the first of 'busy' began */

  strand_lock lock;
  strand_condition changed;
  unsigned made;          /* lock: numbers that were given to workers */
  unsigned loading;       /* lock: workers that open their first state */
  strand_failure failure; /* lock: of the first that could not; code "" */
} strand_pool;

/* Takes 'handler'. False: it could not be made; it is to be freed all the
** same. */
bool strand_pool_init (strand_pool *p, const strand_handler *handler);
/* Thread: whoever is last. */
void strand_pool_free (strand_pool *p);
/* Thread: lua. Workers begin: what is late is so from now on. */
void strand_pool_start (strand_pool *p);

/* 'count' workers will load. Their first number, of as many in a row. */
unsigned strand_pool_reserve (strand_pool *p, unsigned count);
/* They will not, after all. */
void strand_pool_cancel (strand_pool *p, unsigned first, unsigned count);
/* Of all in the list: the workers go on, or end. None is freed before
** all are told. */
void strand_pool_tell (strand_pool *p, strand_start_latch *latches, bool open);
/* Thread: worker. Waits for that. */
bool strand_pool_pass (strand_pool *p, strand_start_latch *latch);
/* One has loaded, or not, and why. True: that is not told yet. */
bool strand_pool_loaded (strand_pool *p, const strand_failure *failure);
bool strand_pool_is_loading (strand_pool *p);
/* Waits until none loads. True: all could; else a failure. */
bool strand_pool_wait (strand_pool *p, strand_failure *failure);

/* Thread: worker. It begins to serve, at 'now_us' (coarse); some record has
** ended; it does not serve any more. */
void strand_pool_begin (strand_pool *p, int64_t now_us);
void strand_pool_ended (strand_pool *p, int64_t now_us);
void strand_pool_end (strand_pool *p);

/* Thread: any. In a handler now. */
unsigned strand_pool_busy (const strand_pool *p);
/* Thread: any. Since a record ended. */
int64_t strand_pool_idle_us (const strand_pool *p);
/* Thread: any. Since one ended while one runs; 0: none does. */
int64_t strand_pool_stuck_us (const strand_pool *p);
/* Between two turns, in debug builds. */
void strand_pool_check (strand_pool *p);

#endif
