/*
** fork.c - see fork.h
*/
#include "base/fork.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Written in the child of a fork, where only one thread is left; read by any
** afterwards. */
static volatile int generation;

static void count_fork (void) {
  generation++;
}

static void install (void) {
  pthread_atfork(NULL, NULL, count_fork);
}

int strand_fork_generation (void) {
  pthread_once(&once, install);
  return generation;
}
