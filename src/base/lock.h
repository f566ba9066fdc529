/*
** lock.h - mutexes with ranks
**
** A thread takes locks in the order of their ranks, and of one rank one at a
** time: so no two threads can wait for each other. Debug builds assert it.
** Making one cannot fail.
**
** Thread: any.
*/
#ifndef STRAND_LOCK_H
#define STRAND_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

typedef enum strand_rank {
  STRAND_RANK_NONE,    /* a lock that was not made */
  STRAND_RANK_LOADING, /* one for the process: under it Lua loads modules */
  STRAND_RANK_CLIENT,  /* a client is used under it: librdkafka may log */
  STRAND_RANK_LEAF     /* all others: no lock is taken under it */
} strand_rank;

typedef struct strand_lock {
  pthread_mutex_t mutex;
  strand_rank rank;
} strand_lock;

/* Of a lock that is as old as the process. */
#define STRAND_LOCK(rank)                                                     \
  { PTHREAD_MUTEX_INITIALIZER, rank }

void strand_lock_init (strand_lock *lock, strand_rank rank);
void strand_lock_free (strand_lock *lock);

#ifdef NDEBUG
#define strand_lock_enters(rank) ((void)0)
#define strand_lock_leaves(rank) ((void)0)
#else
void strand_lock_enters (strand_rank rank);
void strand_lock_leaves (strand_rank rank);
/* This thread holds none, but perhaps that of loading: for an assert. */
bool strand_lock_holds_none (void);
#endif

static inline void strand_lock_take (strand_lock *lock) {
  strand_lock_enters(lock->rank);
  pthread_mutex_lock(&lock->mutex);
}

/* Who takes it next may free it. */
static inline void strand_lock_release (strand_lock *lock) {
  strand_lock_leaves(lock->rank);
  pthread_mutex_unlock(&lock->mutex);
}

/* Signalled without the lock, or with it. */
typedef pthread_cond_t strand_condition;

/* False: it could not be made. */
bool strand_condition_init (strand_condition *condition);
void strand_condition_free (strand_condition *condition);
/* Once more than it was signalled, as ever. */
void strand_lock_wait (strand_lock *lock, strand_condition *condition);
/* 'deadline' as of strand_clock_now. False: it has passed. */
bool strand_lock_wait_until (strand_lock *lock, strand_condition *condition,
                             double deadline);

/* The lock of STRAND_RANK_LOADING: a thread may take it again. A child of the
** process starts with a new one: it has no thread that could release this. */
void strand_lock_take_loading (void);
void strand_lock_release_loading (void);

#endif
