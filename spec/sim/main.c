/*
** main.c - runs seeds, and shows the last steps of one that fails
**
**   sim [--seeds N] [--first S | --random] [--events M]
**   sim --seed S [--trace] [--events M]
*/
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim.h"

#define SHOWN 40

static const char *const fault_names[FAULT_COUNT] = {
  "fail", "delay", "slow", "eager", "cooperative", "lost", "crash", "stop",
  "commit_lost", "commit_unknown", "commit_zombie", "garbage", "compact",
  "retention", "seek", "pause", "recall", "earlier", "configure", "holes",
  "nulls", "header", "big", "small", "tiny"
};

static world playing;

static void show_note (const note *n) {
  printf("  %10.3f ms  %-14s member %2d partition %2d  %" PRId64 " %" PRId64
         "\n", (double)n->now_us / 1000, n->what, n->member, n->part, n->a,
         n->b);
}

static void show_world (void) {
  const world *w = &playing;
  static const char *const orderings[] = { "key", "partition", "unordered" };
  uint64_t from = w->events > SHOWN ? w->events - SHOWN : 0;
  if (!w->trace) {
    for (uint64_t i = from; i < w->events; i++) {
      show_note(&w->notes[i % NOTES]);
    }
  }
  printf("seed %" PRIu64 ", event %" PRIu64 ", step %" PRIu64 "\n", w->seed,
         w->events, w->steps);
  printf("ordering %s, null keys %s, %d keys, %d partitions, %d members, "
         "%d workers, %zu characters, %zu records\nfaults:",
         orderings[w->config.ordering],
         w->config.null_key_unordered ? "unordered" : "ordered", w->keys,
         w->partition_count, w->member_count, w->workers,
         w->config.max_metadata, w->config.max_buffered_records);
  for (int f = 0; f < FAULT_COUNT; f++) {
    if (w->faults[f]) printf(" %s", fault_names[f]);
  }
  printf("\nagain: sim --seed %" PRIu64 " --trace (with the same --events)\n",
         w->seed);
  fflush(stdout);
}

void sim_fail (const char *file, int line, const char *what,
               const char *format, ...) {
  va_list args;
  show_world();
  printf("FAILED %s:%d: %s\n  ", file, line, what);
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf("\n");
  fflush(stdout);
  exit(1);
}

/* An assert of the engine. */
static void on_signal (int number) {
  signal(number, SIG_DFL);
  show_world();
  raise(number);
}

void sim_note (world *w, const char *what, int m, int p, int64_t a,
               int64_t b) {
  note *n = &w->notes[w->events++ % NOTES];
  *n = (note){ what, m, p, a, b, w->now_us };
  w->digest = (w->digest ^ (uint64_t)(unsigned char)what[0]
               ^ (uint64_t)a << 8 ^ (uint64_t)b << 40 ^ (uint64_t)w->now_us)
              * UINT64_C(0x9e3779b97f4a7c15);
  w->digest ^= w->digest >> 29;
  if (w->trace) show_note(n);
}

typedef struct options {
  uint64_t first;
  uint64_t seeds;
  int events;
} options;

static void usage (void) {
  fprintf(stderr, "usage: sim [--seeds N] [--first S | --random] "
                  "[--seed S [--trace]] [--events M]\n");
  exit(2);
}

static options read_options (int argc, char **argv) {
  options o = { 1, 100, 15000 };
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "0";
    if (strcmp(argv[i], "--trace") == 0) playing.trace = true;
    else if (strcmp(argv[i], "--random") == 0) o.first = (uint64_t)time(NULL);
    else if (i + 1 == argc) usage();
    else if (strcmp(argv[i], "--seeds") == 0) o.seeds = strtoull(value, 0, 10);
    else if (strcmp(argv[i], "--first") == 0) o.first = strtoull(value, 0, 10);
    else if (strcmp(argv[i], "--events") == 0) o.events = atoi(value);
    else if (strcmp(argv[i], "--seed") == 0) {
      o.first = strtoull(value, 0, 10);
      o.seeds = 1;
    }
    else usage();
    if (strcmp(argv[i], "--trace") != 0
        && strcmp(argv[i], "--random") != 0) i++;
  }
  if (o.events < 30 || o.seeds == 0) usage();
  return o;
}

static double seconds (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main (int argc, char **argv) {
  options o = read_options(argc, argv);
  uint64_t events = 0, digest = 0, counts[FAULT_COUNT] = { 0 };
  double begun = seconds(), took;
  signal(SIGABRT, on_signal);
  signal(SIGSEGV, on_signal);
  printf("seeds %" PRIu64 " to %" PRIu64 ", about %d events each\n", o.first,
         o.first + o.seeds - 1, o.events);
  fflush(stdout);
  for (uint64_t i = 0; i < o.seeds; i++) {
    play_seed(&playing, o.first + i, o.events);
    events += playing.events;
    digest = digest * 31 + playing.digest;
    for (int f = 0; f < FAULT_COUNT; f++) {
      counts[f] += playing.fault_counts[f];
    }
  }
  took = seconds() - begun;
  for (int f = 0; f < FAULT_COUNT; f++) {
    printf("%-15s %" PRIu64 "\n", fault_names[f], counts[f]);
  }
  printf("%" PRIu64 " seeds, %" PRIu64 " events, %.2f s, digest %016" PRIx64
         "\n", o.seeds, events, took, digest);
  printf("figure sim_events_per_second %.0f\n", (double)events / took);
  printf("figure sim_events %" PRIu64 "\n", events);
  return 0;
}
