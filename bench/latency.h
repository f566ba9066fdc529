/*
** latency.h - how long records were on their way, and that each came once
**
** A record's value begins with a strand_sent: pace.c writes it, and the
** reader (raw.c, probe.c) notes when it came. Machines are little endian.
**
** Thread: any, for strand_latency_note: each record has a slot of its own.
*/
#ifndef STRAND_LATENCY_H
#define STRAND_LATENCY_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct strand_sent {
  int64_t at_ns;  /* CLOCK_REALTIME, as Java's clock is */
  int64_t number; /* 0, 1, 2... */
} strand_sent;

typedef struct strand_latency {
  _Atomic int64_t *took_ns; /* by number; 0 until it has come */
  int64_t size;
  _Atomic int64_t came;
  _Atomic int64_t strangers; /* twice, or no number of ours */
} strand_latency;

static inline int64_t strand_realtime_ns (void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int strand_latency_init (strand_latency *l, int64_t size) {
  memset(l, 0, sizeof(*l));
  l->took_ns = calloc((size_t)size, sizeof(*l->took_ns));
  l->size = size;
  return l->took_ns != NULL;
}

static inline void strand_latency_note (strand_latency *l, int64_t number,
                                        int64_t took_ns) {
  if (number < 0 || number >= l->size
      || atomic_exchange(&l->took_ns[number], took_ns > 0 ? took_ns : 1)
           != 0) {
    atomic_fetch_add(&l->strangers, 1);
  }
  else atomic_fetch_add(&l->came, 1);
}

static inline void strand_latency_value (strand_latency *l, const char *value,
                                         size_t length) {
  int64_t now = strand_realtime_ns();
  strand_sent sent = { 0, -1 };
  if (length >= sizeof(sent)) memcpy(&sent, value, sizeof(sent));
  strand_latency_note(l, sent.number, now - sent.at_ns);
}

static inline int strand_latency_compare (const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Prints the latencies from record 'from' on. False, and why on stderr, when
** not every record came exactly once. */
static inline int strand_latency_print (strand_latency *l, int64_t from) {
  int64_t count = l->size - from;
  int64_t *sorted = malloc((size_t)count * sizeof(*sorted));
  if (sorted == NULL || l->came != l->size || l->strangers != 0) {
    fprintf(stderr, "latency: %lld of %lld records came, %lld unexpected\n",
            (long long)l->came, (long long)l->size, (long long)l->strangers);
    free(sorted);
    return 0;
  }
  for (int64_t i = 0; i < count; i++) sorted[i] = l->took_ns[from + i];
  qsort(sorted, (size_t)count, sizeof(*sorted), strand_latency_compare);
  printf(
    "records %lld\nmin_us %.1f\np50_us %.1f\np99_us %.1f\nmax_us %.1f\n",
    (long long)count, (double)sorted[0] / 1e3, (double)sorted[count / 2] / 1e3,
    (double)sorted[count * 99 / 100] / 1e3, (double)sorted[count - 1] / 1e3);
  free(sorted);
  return 1;
}

#endif
