/*
** sweep.h - every allocation of a scenario fails in turn
**
** Each time in a process of its own, so that a crash, a lock that is held for
** ever and a leak (a sanitizer looks at exit) are the fate of one child and
** have a number: run again with that number alone, by
**
**   SWEEP=n build/test-address-undefined/kafka_sweep [scenario]
**
** The program is linked with --wrap for the functions that allocate, start a
** thread or make a descriptor: what our objects ask for is counted, not what
** libraries do. sweep_code says how the lack of it is called.
**
** Thread: any, for the allocations; the sweep itself is of the main thread.
*/
#ifndef STRAND_SWEEP_H
#define STRAND_SWEEP_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SWEEP_PLANS 24      /* of a program, at most */
#define SWEEP_CHILDREN 40   /* at once: most of them wait for the cluster */
#define SWEEP_LIMIT 60      /* seconds for one n, then a child hangs */
#define SWEEP_NOT_REACHED 3 /* exit: there is no n-th allocation */
#define SWEEP_BAD 5         /* not survived: that will do */
#define SWEEP_MISSES 8      /* so many in a row: that was the last */

static _Atomic(const char *) sweep_code; /* of what failed last */
static atomic_long sweep_left = -1;      /* until one fails; -1: none does */
static atomic_bool sweep_failed;
static atomic_bool sweep_lasts; /* from then on all fail */

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
int __real_pthread_create (pthread_t *thread, const pthread_attr_t *attr,
                           void *(*run)(void *), void *arg);
int __wrap_pthread_create (pthread_t *thread, const pthread_attr_t *attr,
                           void *(*run)(void *), void *arg);
int __real_eventfd (unsigned count, int flags);
int __wrap_eventfd (unsigned count, int flags);
int __real_timerfd_create (int clock, int flags);
int __wrap_timerfd_create (int clock, int flags);
int __real_epoll_create1 (int flags);
int __wrap_epoll_create1 (int flags);

#ifndef SWEEP_OUR_MALLOC /* whether it is that which fails */
#define SWEEP_OUR_MALLOC sweep_fails()
#endif

static bool sweep_lacks (bool fails, const char *code) {
  if (fails) atomic_store(&sweep_code, code);
  return fails;
}

#define SWEEP_NO_MEMORY sweep_lacks(SWEEP_OUR_MALLOC, "NO_MEMORY")
#define SWEEP_NO_FD                                                           \
  (sweep_lacks(SWEEP_OUR_MALLOC, "NO_DESCRIPTORS") && (errno = EMFILE))

int __wrap_pthread_create (pthread_t *thread, const pthread_attr_t *attr,
                           void *(*run)(void *), void *arg) {
  return sweep_lacks(SWEEP_OUR_MALLOC, "NO_THREAD")
           ? EAGAIN
           : __real_pthread_create(thread, attr, run, arg);
}

int __wrap_eventfd (unsigned count, int flags) {
  return SWEEP_NO_FD ? -1 : __real_eventfd(count, flags);
}

int __wrap_timerfd_create (int clock, int flags) {
  return SWEEP_NO_FD ? -1 : __real_timerfd_create(clock, flags);
}

int __wrap_epoll_create1 (int flags) {
  return SWEEP_NO_FD ? -1 : __real_epoll_create1(flags);
}

void *__wrap_malloc (size_t size) {
  return SWEEP_NO_MEMORY ? NULL : __real_malloc(size);
}

void *__wrap_calloc (size_t count, size_t size) {
  return SWEEP_NO_MEMORY ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc (void *old, size_t size) {
  return SWEEP_NO_MEMORY ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc (size_t alignment, size_t size) {
  return SWEEP_NO_MEMORY ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup (const char *text) {
  return SWEEP_NO_MEMORY ? NULL : __real_strdup(text);
}

/* What must hold in a child. */
#define sweep_must(holds)                                                     \
  ((holds) ? (void)0 : sweep_die(__FILE__, __LINE__, #holds))

static long sweep_now; /* in a child: the n that it is at */

static inline void sweep_die (const char *file, int line, const char *what) {
  fprintf(stderr, "allocation %ld: %s:%d: %s\n", sweep_now, file, line, what);
  _exit(1);
}

typedef struct sweep_plan {
  const char *name;
  void (*run)(long n); /* arms itself when it is ready, and disarms */
  long step;           /* between one n and the next */
  long each;           /* so many n in one child, one after another */
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

/* A plan on its way. */
typedef struct sweep_state {
  const sweep_plan *plan;
  atomic_long *tried; /* shared with the children: n that failed */
  long next;
  int misses;
  int bad;
  bool done;
} sweep_state;

/* Of all plans, so that none waits for the end of another. */
static struct {
  pid_t pid;
  long n;
  sweep_state *of;
} sweep_children[SWEEP_CHILDREN];
static int sweep_alive;

static void sweep_child (const sweep_state *s, long n, long each) {
  for (long i = 0; i < each; i++) {
    alarm(SWEEP_LIMIT);
    sweep_now = n + i * s->plan->step;
    s->plan->run(sweep_now);
    if (!atomic_load(&sweep_failed)) exit(i > 0 ? 0 : SWEEP_NOT_REACHED);
    atomic_fetch_add(s->tried, 1);
  }
  exit(0);
}

static void sweep_judge (sweep_state *s, long n, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == SWEEP_NOT_REACHED) {
    s->misses++;
    return;
  }
  s->misses = 0;
  if (status == 0) return;
  fprintf(stderr, "failed: %s: from allocation %ld on: %s\n", s->plan->name, n,
          sweep_fate(status));
  s->bad++;
}

static void sweep_reap (void) {
  int status, i = 0;
  pid_t pid = wait(&status);
  while (sweep_children[i].pid != pid) i++;
  sweep_judge(sweep_children[i].of, sweep_children[i].n, status);
  sweep_children[i] = sweep_children[--sweep_alive];
}

/* The next n of a plan; false when it has had its last. */
static bool sweep_step (sweep_state *s) {
  const char *only = getenv("SWEEP");
  long each = only != NULL ? 1 : s->plan->each;
  pid_t pid;
  if (s->done || s->misses >= SWEEP_MISSES || s->bad >= SWEEP_BAD) {
    return false;
  }
  if (only != NULL) s->next = atol(only);
  s->done = only != NULL;
  if (sweep_alive == SWEEP_CHILDREN) sweep_reap();
  fflush(NULL);
  pid = fork();
  sweep_must(pid >= 0);
  if (pid == 0) sweep_child(s, s->next, each);
  sweep_children[sweep_alive].pid = pid;
  sweep_children[sweep_alive].of = s;
  sweep_children[sweep_alive++].n = s->next;
  s->next += s->plan->step * each;
  return true;
}

static bool sweep_passed (const sweep_state *s) {
  long tried = atomic_load(s->tried);
  if (s->bad > 0 || tried == 0) return false;
  printf("%s: %ld allocations failed, each in its turn, and were survived\n",
         s->plan->name, tried);
  return true;
}

/* 'only' may name one of the plans. 0 when all were survived. */
static int sweep_all (const sweep_plan *plans, size_t count,
                      const char *only) {
  sweep_state states[SWEEP_PLANS];
  atomic_long *tried = mmap(NULL, SWEEP_PLANS * sizeof(*tried),
                            PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                            -1, 0);
  size_t used = 0;
  int passed = 0;
  bool more = true;
  sweep_must(tried != MAP_FAILED && count <= SWEEP_PLANS);
  for (size_t i = 0; i < count; i++) {
    if (only != NULL && strcmp(only, plans[i].name) != 0) continue;
    states[used++] = (sweep_state){ .plan = &plans[i], .tried = &tried[i] };
  }
  while (more) {
    more = false;
    for (size_t i = 0; i < used; i++) more |= sweep_step(&states[i]);
  }
  while (sweep_alive > 0) sweep_reap();
  for (size_t i = 0; i < used; i++) passed += sweep_passed(&states[i]);
  printf("%d passed, %d failed\n", passed, (int)used - passed);
  return used == 0 || passed != (int)used;
}

#endif
