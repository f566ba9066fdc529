/*
** clock.h - the time, for waits and for people
**
** Thread: any.
*/
#ifndef STRAND_CLOCK_H
#define STRAND_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline double strand_clock_of (clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds that only go forward, from no particular moment. */
static inline double strand_clock_now (void) {
  return strand_clock_of(CLOCK_MONOTONIC);
}

/* The engine's time: microseconds that only go forward. */
static inline int64_t strand_clock_us (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The same clock, up to a tick (4 ms) behind, for a quarter of the price. */
static inline int64_t strand_clock_coarse_us (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* What the calling thread has computed, in microseconds. */
static inline int64_t strand_clock_cpu_us (void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Seconds since 1970. */
static inline double strand_clock_wall (void) {
  return strand_clock_of(CLOCK_REALTIME);
}

/* What is left until 'deadline' in whole milliseconds, rounded up, so that
** waiting for them does not end too early; 0 when it has passed. */
static inline int strand_clock_left_ms (double deadline) {
  double left = deadline - strand_clock_now();
  if (left <= 0) return 0;
  return left >= 86400 ? 86400000 : (int)(left * 1000) + 1;
}

/* 'deadline' of strand_clock_now, for what waits by CLOCK_MONOTONIC. */
static inline struct timespec strand_clock_timespec (double deadline) {
  struct timespec t;
  t.tv_sec = (time_t)deadline;
  t.tv_nsec = (long)((deadline - (double)t.tv_sec) * 1e9);
  return t;
}

/*
** The time of one consumer: the clock's, or where a driver moves it on
** (consumer/driver.h), what that says. So nobody waits for a retry in a test.
*/
typedef struct strand_time {
  int64_t at_us;   /* the driver's; 0: the clock's */
  int64_t wall_us; /* since 1970, when at_us was 0 */
} strand_time;

static inline int64_t strand_time_us (const strand_time *t) {
  return t->at_us != 0 ? t->at_us : strand_clock_us();
}

static inline int64_t strand_time_coarse_us (const strand_time *t) {
  return t->at_us != 0 ? t->at_us : strand_clock_coarse_us();
}

/* Seconds since 1970. */
static inline double strand_time_wall (const strand_time *t) {
  if (t->at_us == 0) return strand_clock_wall();
  return (double)(t->wall_us + t->at_us) / 1e6;
}

#endif
