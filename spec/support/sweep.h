/*
** sweep.h - every allocation of a scenario fails in turn
**
** Each time in a process of its own, so that a crash, a lock that is held for
** ever and a leak (a sanitizer looks at exit) are the fate of one child and
** have a number: run again with that number alone, by
**
**   SWEEP=n build/test-address-undefined/kafka_sweep [scenario]
**
** The program is linked with --wrap for the allocating functions: what our
** objects ask for is counted, not what libraries do.
**
** Thread: any, for the allocations; the sweep itself is of the main thread.
*/
#ifndef STRAND_SWEEP_H
#define STRAND_SWEEP_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SWEEP_CHILDREN 40   /* at once: most of them wait for the cluster */
#define SWEEP_LIMIT 60      /* seconds, then a child hangs */
#define SWEEP_NOT_REACHED 3 /* exit: there is no n-th allocation */
#define SWEEP_BAD 5         /* not survived: that will do */
#define SWEEP_MISSES 8      /* so many in a row: that was the last */

static atomic_long sweep_left = -1; /* until one fails; -1: none does */
static atomic_bool sweep_failed;
static atomic_bool sweep_lasts;     /* from then on all fail */

/* From now on the n-th allocation (from 0) fails; 'lasts': and all after. */
static inline void sweep_arm (long n, bool lasts) {
  atomic_store(&sweep_failed, false);
  atomic_store(&sweep_lasts, lasts);
  atomic_store(&sweep_left, n);
}

/* There is memory again. */
static inline void sweep_disarm (void) {
  atomic_store(&sweep_left, -1);
  atomic_store(&sweep_lasts, false);
}

/* The sanitizer's: who asks, where one n is looked at. */
void __sanitizer_print_stack_trace (void) __attribute__((weak));

static bool sweep_fails (void) {
  if (atomic_load(&sweep_left) < 0) {
    return atomic_load(&sweep_failed) && atomic_load(&sweep_lasts);
  }
  if (atomic_fetch_sub(&sweep_left, 1) != 0) return false;
  atomic_store(&sweep_failed, true);
  if (getenv("SWEEP") != NULL && __sanitizer_print_stack_trace != NULL) {
    __sanitizer_print_stack_trace();
  }
  return true;
}

void *__real_malloc (size_t size);
void *__real_calloc (size_t count, size_t size);
void *__real_realloc (void *old, size_t size);
void *__real_aligned_alloc (size_t alignment, size_t size);
char *__real_strdup (const char *text);
void *__wrap_malloc (size_t size);
void *__wrap_calloc (size_t count, size_t size);
void *__wrap_realloc (void *old, size_t size);
void *__wrap_aligned_alloc (size_t alignment, size_t size);
char *__wrap_strdup (const char *text);

#ifndef SWEEP_OUR_MALLOC /* whether it is that which fails */
#define SWEEP_OUR_MALLOC sweep_fails()
#endif

void *__wrap_malloc (size_t size) {
  return SWEEP_OUR_MALLOC ? NULL : __real_malloc(size);
}

void *__wrap_calloc (size_t count, size_t size) {
  return SWEEP_OUR_MALLOC ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc (void *old, size_t size) {
  return SWEEP_OUR_MALLOC ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc (size_t alignment, size_t size) {
  return SWEEP_OUR_MALLOC ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup (const char *text) {
  return SWEEP_OUR_MALLOC ? NULL : __real_strdup(text);
}

/* What must hold in a child. */
#define sweep_must(holds) \
  ((holds) ? (void)0 : sweep_die(__FILE__, __LINE__, #holds))

static long sweep_now; /* in a child: the n that it is at */

static inline void sweep_die (const char *file, int line, const char *what) {
  fprintf(stderr, "allocation %ld: %s:%d: %s\n", sweep_now, file, line, what);
  _exit(1);
}

typedef struct sweep_plan {
  const char *name;
  void (*run) (long n); /* arms itself when it is ready, and disarms */
  long step;            /* between one n and the next */
  long each;            /* so many n in one child, one after another */
} sweep_plan;

static const char *sweep_fate (int status) {
  static char text[64];
  if (WIFEXITED(status)) {
    snprintf(text, sizeof(text), "exit %d", WEXITSTATUS(status));
  }
  else if (WTERMSIG(status) == SIGALRM) return "hangs";
  else snprintf(text, sizeof(text), "signal %d", WTERMSIG(status));
  return text;
}

static void sweep_child (const sweep_plan *plan, long n) {
  alarm(SWEEP_LIMIT);
  for (long i = 0; i < plan->each; i++) {
    sweep_now = n + i * plan->step;
    plan->run(sweep_now);
    if (!atomic_load(&sweep_failed)) exit(i > 0 ? 0 : SWEEP_NOT_REACHED);
  }
  exit(0);
}

typedef struct sweep_state {
  struct { pid_t pid; long n; } children[SWEEP_CHILDREN];
  int alive;
  int misses;
  long last;  /* that was reached */
  int bad;
} sweep_state;

static void sweep_reap (sweep_state *s, const char *name) {
  int status, i = 0;
  pid_t pid = wait(&status);
  while (s->children[i].pid != pid) i++;
  if (WIFEXITED(status) && WEXITSTATUS(status) == SWEEP_NOT_REACHED) {
    s->misses++;
  }
  else {
    s->misses = 0;
    if (s->children[i].n > s->last) s->last = s->children[i].n;
  }
  if (status != 0 && s->misses == 0) {
    fprintf(stderr, "%s: from allocation %ld on: %s\n", name,
            s->children[i].n, sweep_fate(status));
    s->bad++;
  }
  s->children[i] = s->children[--s->alive];
}

/* False when one was not survived. */
static bool sweep (const sweep_plan *plan) {
  sweep_state s = { .last = -1 };
  const char *only = getenv("SWEEP");
  sweep_plan one = *plan;
  long n = only != NULL ? atol(only) : 0;
  if (only != NULL) one.each = 1;
  while (s.misses < SWEEP_MISSES && s.bad < SWEEP_BAD) {
    pid_t pid;
    if (s.alive == SWEEP_CHILDREN) sweep_reap(&s, plan->name);
    fflush(NULL);
    pid = fork();
    if (pid < 0) return false;
    if (pid == 0) sweep_child(&one, n);
    s.children[s.alive].pid = pid;
    s.children[s.alive++].n = n;
    n += plan->step * plan->each;
    if (only != NULL) break;
  }
  while (s.alive > 0) sweep_reap(&s, plan->name);
  if (s.bad > 0 || s.last < 0) return false;
  printf("%s: each of %s%ld allocations failed and was survived\n", plan->name,
         plan->each > 1 ? "more than " : "", s.last / plan->step + 1);
  return true;
}

/* 'argv' may name one of the plans. 0 when all were survived. */
static int sweep_all (const sweep_plan *plans, size_t count,
                      const char *only) {
  int passed = 0, bad = 0;
  for (size_t i = 0; i < count; i++) {
    if (only != NULL && strcmp(only, plans[i].name) != 0) continue;
    if (sweep(&plans[i])) passed++;
    else bad++;
  }
  printf("%d passed, %d failed\n", passed, bad);
  return bad > 0 || passed == 0;
}

#endif
