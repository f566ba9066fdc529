/*
** thread.c - see thread.h
*/
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <sys/resource.h>
#include <time.h>

#include "base/lock.h"

void strand_thread_block_signals (sigset_t *before) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, before);
}

void strand_thread_restore_signals (const sigset_t *before) {
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

int strand_thread_start_deep (pthread_t *thread, void *(*run)(void *),
                              void *argument, size_t stack) {
  pthread_attr_t attributes;
  sigset_t before;
  int status = pthread_attr_init(&attributes);
  assert(strand_lock_holds_none()); /* a lock is short */
  if (status != 0) {
    errno = status;
    return 0;
  }
  if (stack > 0) pthread_attr_setstacksize(&attributes, stack);
  strand_thread_block_signals(&before);
  status = pthread_create(thread, &attributes, run, argument);
  strand_thread_restore_signals(&before);
  pthread_attr_destroy(&attributes);
  errno = status;
  return status == 0;
}

int strand_thread_start (pthread_t *thread, void *(*run)(void *),
                         void *argument) {
  return strand_thread_start_deep(thread, run, argument, 0);
}

long strand_thread_waits (void) {
  struct rusage used = { 0 };
  getrusage(RUSAGE_THREAD, &used);
  return used.ru_nvcsw;
}
