/*
** slices.c - how long an event loop was busy between two waits (LD_PRELOAD)
**
**   STRAND_SLICES=FILE   at the end of a process that is called "nginx: worker"
**                        its turns that took 20 us or more, the longest last:
**                        microseconds of CPU, a line each
**
** Of the thread's own CPU, so that others on the machine do not count.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define MOST 1000000
#define SHORT_US 20

typedef int wait_function (int, struct epoll_event *, int, int);

static uint32_t slices[MOST];
static size_t count;
static int64_t began_us;

static int64_t cpu_us (void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int is_main_thread (void) {
  return gettid() == getpid();
}

static void note (int64_t us) {
  if (us >= SHORT_US && count < MOST) slices[count++] = (uint32_t)us;
}

int epoll_wait (int fd, struct epoll_event *events, int most, int timeout) {
  void *next = dlsym(RTLD_NEXT, "epoll_wait");
  int ready, ours = is_main_thread();
  if (ours && began_us > 0) note(cpu_us() - began_us);
  ready = (*(wait_function **)&next)(fd, events, most, timeout);
  if (ours) began_us = cpu_us();
  return ready;
}

static int in_order (const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

__attribute__((destructor)) static void write_all (void) {
  const char *path = getenv("STRAND_SLICES");
  FILE *file = path != NULL && count > 0 ? fopen(path, "w") : NULL;
  size_t i;
  if (file == NULL) return;
  qsort(slices, count, sizeof(slices[0]), in_order);
  for (i = 0; i < count; i++) fprintf(file, "%u\n", slices[i]);
  fclose(file);
}
