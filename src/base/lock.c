/*
** lock.c - mutexes with ranks
*/
#include "base/lock.h"

#include <assert.h>

#include "base/clock.h"

void strand_lock_init (strand_lock *lock, strand_rank rank) {
  *lock = (strand_lock)STRAND_LOCK(rank);
}

void strand_lock_free (strand_lock *lock) {
  pthread_mutex_destroy(&lock->mutex);
}

#ifndef NDEBUG
/* Bits of the ranks that this thread holds. */
static _Thread_local unsigned held;

void strand_lock_enters (strand_rank rank) {
  assert(rank != STRAND_RANK_NONE);
  assert(held >> rank == 0 && "locks are taken in the order of their ranks");
  held |= 1u << rank;
}

void strand_lock_leaves (strand_rank rank) {
  assert((held >> rank & 1) == 1);
  held &= ~(1u << rank);
}

bool strand_lock_holds_none (void) {
  return held >> STRAND_RANK_CLIENT == 0;
}
#endif

bool strand_condition_init (strand_condition *condition) {
  pthread_condattr_t attributes;
  int status;
  if (pthread_condattr_init(&attributes) != 0) return false;
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  status = pthread_cond_init(condition, &attributes);
  pthread_condattr_destroy(&attributes);
  return status == 0;
}

void strand_condition_free (strand_condition *condition) {
  pthread_cond_destroy(condition);
}

void strand_lock_wait (strand_lock *lock, strand_condition *condition) {
  pthread_cond_wait(condition, &lock->mutex);
}

bool strand_lock_wait_until (strand_lock *lock, strand_condition *condition,
                             double deadline) {
  struct timespec until = strand_clock_timespec(deadline);
  return pthread_cond_timedwait(condition, &lock->mutex, &until) == 0;
}

/*
** Loading
*/

static pthread_mutex_t loading;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local unsigned depth; /* this thread's */

static void init_loading (void) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&loading, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

static void init_once (void) {
  init_loading();
  pthread_atfork(NULL, NULL, init_loading);
}

void strand_lock_take_loading (void) {
  pthread_once(&once, init_once);
  if (depth++ == 0) strand_lock_enters(STRAND_RANK_LOADING);
  pthread_mutex_lock(&loading);
}

void strand_lock_release_loading (void) {
  pthread_mutex_unlock(&loading);
  if (--depth == 0) strand_lock_leaves(STRAND_RANK_LOADING);
}
