/*
** main.c - runs seeds, and shows the last steps of one that fails
**
**   sim [--seeds N | --events N] [--first S | --random] [--jobs J] [--size M]
**   sim --seed S [--trace] [--size M]
**   sim --once ...         at most once: the worlds of once.c
**   sim --exactly ...      exactly once: those of exactly.c
**
** Seeds are played one after another from the first, until there were N of
** them, or N events; each is a world of about M events. Before them those
** that once found something, at their own size. J processes share the seeds;
** what is printed does not depend on J.
*/
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define SHOWN 40
#define SIZE 15000
#define JOBS_MAX 64
#define PROGRESS_S 10

/* A bug that a seed found stays found only while the simulator draws the same
** numbers: who changes what it draws looks, with the bug put back, for a seed
** that finds it again (or makes it one of spec/mutants). */
static const struct {
  uint64_t seed;
  int size;
  const char *found;
} regressions[] = {
  { 977, SIZE,
    "a release said after the next assignment frees the shard of "
    "another handler" },
  { 10058, SIZE,
    "a batch without an order does not wait for the tokens of "
    "records far above its first" },
  { 172373, SIZE,
    "a batch in order does not linger for records too far above "
    "its first" }
};

static const char *const fault_names[FAULT_COUNT] = {
  "fail",           "delay",
  "slow",           "eager",
  "cooperative",    "lost",
  "crash",          "crash_unplanned",
  "crash_planned",  "crash_sent",
  "crash_taken",    "crash_answered",
  "stop",           "commit_lost",
  "commit_unknown", "commit_zombie",
  "commit_twice",   "answer_late",
  "garbage",        "compact",
  "retention",      "seek",
  "pause",          "recall",
  "earlier",        "configure",
  "holes",          "nulls",
  "header",         "big",
  "small",          "tiny",
  "skip",           "ask",
  "exhaust",        "dead_letter",
  "park",           "halt",
  "attempts",       "no_letters",
  "letter_late",    "letter_refused",
  "alone",          "expire",
  "batch",          "linger",
  "rate",           "calls",
  "refuse",         "sparse",
  "send",           "ack_late",
  "output_refused"
};

static const char *const exactly_names[EXACTLY_COUNT] = {
  "committed", "aborted", "outputs",   "letters",  "refused",
  "left_out",  "unknown", "late",      "renewed",  "expired",
  "strangers", "revoked", "abandoned", "expelled", "crashes"
};

static world playing;
static enum { USUAL, ONCE, EXACTLY } played;
static int size = SIZE;

static void show_note (const note *n) {
  printf("  %10.3f ms  %-14s member %2d partition %2d  %" PRId64 " %" PRId64
         "\n",
         (double)n->now_us / 1000, n->what, n->member, n->part, n->a, n->b);
}

static void show_world (void) {
  const world *w = &playing;
  static const char *const orderings[] = { "key", "partition", "unordered" };
  static const char *const flags[] = { "", " --once", " --exactly" };
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
  printf("\nagain: sim%s --seed %" PRIu64 " --size %d --trace\n",
         flags[played], w->seed, size);
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
  w->digest = (w->digest ^ (uint64_t)(unsigned char)what[0] ^ (uint64_t)a << 8
               ^ (uint64_t)b << 40 ^ (uint64_t)w->now_us)
              * UINT64_C(0x9e3779b97f4a7c15);
  w->digest ^= w->digest >> 29;
  if (w->trace) show_note(n);
}

/*
** Seeds
*/

typedef struct options {
  uint64_t first;
  uint64_t seeds;  /* at most; 0: as many as the events take */
  uint64_t events; /* at least; 0: as many as the seeds have */
  int jobs;
  bool only; /* this seed, and no regression */
} options;

/* Of one seed, or of all. */
typedef struct tally {
  uint64_t seeds;
  uint64_t events;
  uint64_t members[MEMBERS_MAX + 1]; /* seeds by their number */
  uint64_t digest;
  uint64_t lost;
  uint64_t lost_allowed;
  uint64_t faults[FAULT_COUNT];
  uint64_t exactly[EXACTLY_COUNT];
} tally;

static void play (tally *t, uint64_t seed) {
  static void (*const plays[])(world *, uint64_t,
                               int) = { play_seed, once_seed, exactly_seed };
  plays[played](&playing, seed, size);
  *t = (tally){ .seeds = 1,
                .events = playing.events,
                .lost = playing.lost,
                .lost_allowed = playing.lost_allowed,
                .digest = playing.digest };
  t->members[playing.member_count] = 1;
  memcpy(t->faults, playing.fault_counts, sizeof(t->faults));
  memcpy(t->exactly, playing.exactly_counts, sizeof(t->exactly));
}

static void add (tally *all, const tally *t) {
  all->seeds += t->seeds;
  all->events += t->events;
  all->lost += t->lost;
  all->lost_allowed += t->lost_allowed;
  all->digest = all->digest * 31 + t->digest;
  for (int m = 0; m <= MEMBERS_MAX; m++) all->members[m] += t->members[m];
  for (int f = 0; f < FAULT_COUNT; f++) all->faults[f] += t->faults[f];
  for (int i = 0; i < EXACTLY_COUNT; i++) all->exactly[i] += t->exactly[i];
}

static void play_regressions (void) {
  tally t;
  int usual = size;
  for (size_t i = 0; i < sizeof(regressions) / sizeof(*regressions); i++) {
    size = regressions[i].size;
    play(&t, regressions[i].seed);
    printf("seed %" PRIu64 ": %s\n", regressions[i].seed,
           regressions[i].found);
  }
  size = usual;
  fflush(stdout);
}

/*
** Processes: number j plays the seeds first + j, first + j + jobs, ...
*/

typedef struct job {
  pid_t pid;
  int from; /* tallies of its seeds, in their order */
} job;

static void run_job (const options *o, int number, int to) {
  tally t;
  for (uint64_t i = (uint64_t)number;; i += (uint64_t)o->jobs) {
    if (o->seeds > 0 && i >= o->seeds) break;
    play(&t, o->first + i);
    if (write(to, &t, sizeof(t)) != sizeof(t)) break;
  }
  _exit(0);
}

static job start_job (const options *o, int number) {
  int ends[2];
  job j;
  if (pipe(ends) != 0 || (j.pid = fork()) < 0) {
    perror("sim");
    exit(1);
  }
  if (j.pid == 0) {
    close(ends[0]);
    run_job(o, number, ends[1]);
  }
  close(ends[1]);
  j.from = ends[0];
  return j;
}

static void end_jobs (const job *jobs, int count) {
  for (int i = 0; i < count; i++) {
    kill(jobs[i].pid, SIGKILL);
    waitpid(jobs[i].pid, NULL, 0);
    close(jobs[i].from);
  }
}

/* A tally is far below PIPE_BUF: it comes whole, or not at all. */
static bool next_tally (const job *j, tally *t) {
  return read(j->from, t, sizeof(*t)) == sizeof(*t);
}

_Static_assert(sizeof(tally) <= 4096, "a tally is written in one piece");

static double seconds (void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool is_enough (const options *o, const tally *all) {
  return (o->seeds > 0 && all->seeds >= o->seeds)
         || (o->events > 0 && all->events >= o->events);
}

static void tell_progress (const tally *all, double took) {
  printf("%4.0f s %12" PRIu64 " events %8" PRIu64 " seeds\n", took,
         all->events, all->seeds);
  fflush(stdout);
}

/* False: a seed failed; its process has said how. */
static bool run_jobs (const options *o, tally *all) {
  double begun = seconds(), told = 0;
  job jobs[JOBS_MAX];
  bool fine = true;
  for (int i = 0; i < o->jobs; i++) jobs[i] = start_job(o, i);
  while (fine && !is_enough(o, all)) {
    tally t;
    fine = next_tally(&jobs[all->seeds % (uint64_t)o->jobs], &t);
    if (!fine) break;
    add(all, &t);
    if (seconds() - begun < told + PROGRESS_S) continue;
    told = seconds() - begun;
    tell_progress(all, told);
  }
  if (!fine) waitpid(jobs[all->seeds % (uint64_t)o->jobs].pid, NULL, 0);
  end_jobs(jobs, o->jobs);
  return fine;
}

/*
** The command line, and what is printed
*/

static void usage (void) {
  fprintf(stderr, "usage: sim [--seeds N | --events N] [--first S | --random]"
                  " [--jobs J] [--size M]\n"
                  "       sim --seed S [--trace] [--size M]\n"
                  "       sim --once ...\n"
                  "       sim --exactly ...\n");
  exit(2);
}

static bool read_flag (options *o, const char *name) {
  if (strcmp(name, "--trace") == 0) playing.trace = true;
  else if (strcmp(name, "--once") == 0) played = ONCE;
  else if (strcmp(name, "--exactly") == 0) played = EXACTLY;
  else if (strcmp(name, "--random") == 0) o->first = (uint64_t)time(NULL);
  else return false;
  return true;
}

static bool read_option (options *o, const char *name, const char *text) {
  char *end;
  uint64_t value = (uint64_t)strtod(text, &end); /* 1e9 is a number too */
  if (*end != '\0' || value == 0) return false;
  if (strcmp(name, "--seeds") == 0) o->seeds = value;
  else if (strcmp(name, "--events") == 0) o->events = value;
  else if (strcmp(name, "--first") == 0) o->first = value;
  else if (strcmp(name, "--jobs") == 0) o->jobs = (int)value;
  else if (strcmp(name, "--size") == 0) size = (int)value;
  else if (strcmp(name, "--seed") == 0) {
    o->first = value;
    o->seeds = 1;
    o->only = true;
  }
  else return false;
  return true;
}

static options read_options (int argc, char **argv) {
  options o = { 1, 0, 0, 1, false };
  for (int i = 1; i < argc; i++) {
    if (read_flag(&o, argv[i])) continue;
    if (i + 1 == argc || !read_option(&o, argv[i], argv[i + 1])) usage();
    i++;
  }
  if (o.seeds == 0 && o.events == 0) o.seeds = 100;
  if (size < 30 || o.jobs < 1 || o.jobs > JOBS_MAX) usage();
  return o;
}

static void print_once (const tally *all, double took) {
  printf("figure sim_once_crashes %" PRIu64 "\n", all->faults[FAULT_CRASH]);
  printf("figure sim_once_outputs %" PRIu64 "\n", all->faults[FAULT_SEND]);
  printf("figure sim_once_lost %" PRIu64 "\n", all->lost);
  printf("figure sim_once_lost_allowed %" PRIu64 "\n", all->lost_allowed);
  printf("figure sim_once_seeds %" PRIu64 "\n", all->seeds);
  printf("figure sim_once_events %" PRIu64 "\n", all->events);
  printf("digest %016" PRIx64 ", %.1f s\n", all->digest, took);
}

static void print_exactly (const tally *all, double took) {
  for (int i = 0; i < EXACTLY_COUNT; i++) {
    printf("figure sim_exactly_%s %" PRIu64 "\n", exactly_names[i],
           all->exactly[i]);
  }
  printf("figure sim_exactly_seeds %" PRIu64 "\n", all->seeds);
  printf("figure sim_exactly_events %" PRIu64 "\n", all->events);
  printf("digest %016" PRIx64 ", %.1f s\n", all->digest, took);
}

static void print_usual (const tally *all, double took) {
  for (int f = 0; f < FAULT_COUNT; f++) {
    printf("figure sim_fault_%s %" PRIu64 "\n", fault_names[f],
           all->faults[f]);
  }
  for (int m = 1; m <= MEMBERS_MAX; m++) {
    printf("figure sim_seeds_of_%d_member%s %" PRIu64 "\n", m,
           m == 1 ? "" : "s", all->members[m]);
  }
  printf("figure sim_seeds %" PRIu64 "\n", all->seeds);
  printf("figure sim_events_per_second %.0f\n", (double)all->events / took);
  printf("figure sim_events %" PRIu64 "\n", all->events);
  printf("digest %016" PRIx64 ", %.1f s\n", all->digest, took);
}

int main (int argc, char **argv) {
  static void (*const prints[])(
    const tally *, double) = { print_usual, print_once, print_exactly };
  options o = read_options(argc, argv);
  tally all = { 0 };
  double begun = seconds();
  bool fine = true;
  signal(SIGABRT, on_signal);
  signal(SIGSEGV, on_signal);
  if (o.only) play(&all, o.first);
  else {
    printf("from seed %" PRIu64 " on, worlds of about %d events\n", o.first,
           size);
    if (played == USUAL) play_regressions();
    fine = run_jobs(&o, &all);
  }
  if (fine) prints[played](&all, seconds() - begun);
  return fine ? 0 : 1;
}
