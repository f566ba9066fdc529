/*
** threads.c - what so many threads reach that do nothing but sleep
**
**   threads COUNT SLEEP_US SECONDS
**
** Prints "records N" (sleeps that ended) and "seconds S": the most that
** handlers which sleep can do on this machine.
*/
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define THREADS_MAX 1000

static atomic_int ending;
static long sleep_us;

static void *nap (void *arg) {
  long *naps = arg;
  const struct timespec t = { sleep_us / 1000000, sleep_us % 1000000 * 1000 };
  while (!atomic_load_explicit(&ending, memory_order_relaxed)) {
    nanosleep(&t, NULL);
    ++*naps;
  }
  return NULL;
}

int main (int argc, char **argv) {
  static pthread_t threads[THREADS_MAX];
  static struct { _Alignas(64) long naps; } counts[THREADS_MAX];
  int count = argc == 4 ? atoi(argv[1]) : 0;
  struct timespec length;
  double begun;
  long naps = 0;
  if (count < 1 || count > THREADS_MAX) {
    fprintf(stderr, "threads COUNT SLEEP_US SECONDS\n");
    return 1;
  }
  sleep_us = atol(argv[2]);
  length = strand_clock_timespec(atof(argv[3]));
  begun = strand_clock_now();
  for (int i = 0; i < count; i++) {
    if (pthread_create(&threads[i], NULL, nap, &counts[i]) != 0) return 1;
  }
  nanosleep(&length, NULL);
  atomic_store(&ending, 1);
  for (int i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
    naps += counts[i].naps;
  }
  printf("records %ld\nseconds %.6f\n", naps, strand_clock_now() - begun);
  return 0;
}
