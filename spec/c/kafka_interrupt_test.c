/*
** kafka_interrupt_test.c - a word reaches the thread that it is for, and no
** signal of somebody else's is lost
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <semaphore.h>
#include <signal.h>

#include "base/interrupt.h"
#include "base/thread.h"

#define LIMIT 60000000 /* turns of a loop that waits */

static atomic_int foreign; /* signals that came to who was there before */

static void on_foreign (int number) {
  (void)number;
  atomic_fetch_add(&foreign, 1);
}

typedef struct target {
  strand_interrupt interrupt;
  atomic_uint heard;
  atomic_int step; /* what the thread has done */
  atomic_int leave;
  sem_t sem;
  int got;
} target;

static void hear (void *arg, unsigned what) {
  atomic_fetch_or(&((target *)arg)->heard, what);
}

static void wait_for (atomic_int *what, int value) {
  for (long i = 0; atomic_load(what) < value; i++) {
    assert_true(i < LIMIT);
    sched_yield();
  }
}

/* The thread sanitizer keeps a signal that comes between its last look and the
** system call until that call ends; another one gets through. */
#if defined(__SANITIZE_THREAD__)
#define AGAIN 10000
#else
#define AGAIN LIMIT
#endif

static void wait_heard (target *t, unsigned bits) {
  for (long i = 0; atomic_load(&t->heard) != bits; i++) {
    assert_true(i < LIMIT);
    if (i % AGAIN == AGAIN - 1) strand_interrupt_send(&t->interrupt, bits);
    sched_yield();
  }
}

static void *listen (void *arg) {
  target *t = arg;
  strand_interrupt_open(&t->interrupt);
  strand_interrupt_serve(hear, t);
  atomic_store(&t->step, 1);
  while (!atomic_load(&t->leave)) {
  }
  atomic_store(&t->step, 2);
  t->got = sem_wait(&t->sem);
  strand_interrupt_close();
  atomic_store(&t->step, 3);
  while (atomic_load(&t->leave) < 2) sched_yield();
  return NULL;
}

static pthread_t start (target *t) {
  pthread_t thread;
  *t = (target){ .got = -1 };
  sem_init(&t->sem, 0, 0);
  assert_true(strand_thread_start(&thread, listen, t));
  wait_for(&t->step, 1);
  return thread;
}

static void finish (target *t, pthread_t thread) {
  atomic_store(&t->leave, 1);
  wait_for(&t->step, 2);
  sem_post(&t->sem);
  wait_for(&t->step, 3);
  atomic_store(&t->leave, 2);
  pthread_join(thread, NULL);
}

static void a_word_reaches_a_thread_that_never_looks (void **state) {
  target one, other;
  pthread_t first = start(&one), second = start(&other);
  (void)state;
  strand_interrupt_send(&one.interrupt, 1);
  wait_heard(&one, 1);
  strand_interrupt_send(&one.interrupt, 2);
  wait_heard(&one, 3);
  assert_int_equal(atomic_load(&other.heard), 0);
  finish(&one, first);
  finish(&other, second);
}

/* It is begun, or about to: either way it must not fail. */
static void a_system_call_goes_on (void **state) {
  target t;
  pthread_t thread = start(&t);
  (void)state;
  atomic_store(&t.leave, 1);
  wait_for(&t.step, 2);
  for (unsigned i = 0; i < 8; i++) {
    strand_interrupt_send(&t.interrupt, 1u << i);
    wait_heard(&t, (2u << i) - 1);
  }
  finish(&t, thread);
  assert_int_equal(t.got, 0);
}

static void nothing_is_heard_after_the_close (void **state) {
  target t;
  pthread_t thread = start(&t);
  (void)state;
  atomic_store(&t.leave, 1);
  sem_post(&t.sem);
  wait_for(&t.step, 3);
  strand_interrupt_send(&t.interrupt, 1);
  atomic_store(&t.leave, 2);
  pthread_join(thread, NULL);
  assert_int_equal(atomic_load(&t.heard), 0);
}

static void other_signals_go_to_who_had_them_before (void **state) {
  target t;
  pthread_t thread = start(&t);
  (void)state;
  strand_interrupt_send(&t.interrupt, 1); /* the handler is there */
  wait_heard(&t, 1);
  pthread_kill(thread, SIGURG);
  wait_for(&foreign, 1);
  assert_int_equal(raise(SIGURG), 0); /* and of a thread that has none */
  wait_for(&foreign, 2);
  assert_int_equal(atomic_load(&t.heard), 1);
  finish(&t, thread);
}

/* Between two calls of the handler: the next one must not end for it. */
static void a_word_is_forgotten_while_nobody_serves (void **state) {
  target t = { .got = -1 };
  int before = atomic_load(&foreign);
  (void)state;
  strand_interrupt_open(&t.interrupt);
  strand_interrupt_serve(hear, &t);
  strand_interrupt_serve(NULL, NULL);
  strand_interrupt_send(&t.interrupt, 1);
  for (long i = 0; atomic_load(&t.interrupt.wanted) != 0; i++) {
    assert_true(i < LIMIT);
    sched_yield();
  }
  strand_interrupt_serve(hear, &t);
  strand_interrupt_send(&t.interrupt, 2);
  wait_heard(&t, 2);
  strand_interrupt_close();
  assert_int_equal(atomic_load(&foreign), before);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_word_reaches_a_thread_that_never_looks),
    cmocka_unit_test(a_system_call_goes_on),
    cmocka_unit_test(nothing_is_heard_after_the_close),
    cmocka_unit_test(other_signals_go_to_who_had_them_before),
    cmocka_unit_test(a_word_is_forgotten_while_nobody_serves),
  };
  struct sigaction action = { .sa_handler = on_foreign };
  sigaction(SIGURG, &action, NULL);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
