/*
** c11_threads.h - C11 threads on pthreads, for C tests under TSan
**
** The thread sanitizer knows pthreads only: a thread that librdkafka makes
** by thrd_create crashes at its first malloc. A test that starts librdkafka
** includes this, in its only file; without the sanitizer it is empty. What
** only librdkafka does is not looked at, since it is not instrumented.
**
** Thread: any.
*/
#ifndef STRAND_C11_THREADS_H
#define STRAND_C11_THREADS_H

#if defined(__SANITIZE_THREAD__)

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

const char *__tsan_default_options (void);

const char *__tsan_default_options (void) {
  return "ignore_noninstrumented_modules=1";
}

typedef struct c11_start {
  thrd_start_t run;
  void *argument;
} c11_start;

static void *c11_run (void *argument) {
  c11_start start = *(c11_start *)argument;
  free(argument);
  return (void *)(intptr_t)start.run(start.argument);
}

static int c11_status (int error) {
  if (error == 0) return thrd_success;
  if (error == ETIMEDOUT) return thrd_timedout;
  return error == EBUSY ? thrd_busy : thrd_error;
}

int thrd_create (thrd_t *thread, thrd_start_t run, void *argument) {
  c11_start *start = malloc(sizeof(*start));
  if (start == NULL) return thrd_nomem;
  start->run = run;
  start->argument = argument;
  return c11_status(pthread_create((pthread_t *)thread, NULL, c11_run, start));
}

int thrd_join (thrd_t thread, int *result) {
  void *value;
  int error = pthread_join((pthread_t)thread, &value);
  if (result != NULL) *result = (int)(intptr_t)value;
  return c11_status(error);
}

int thrd_detach (thrd_t thread) {
  return c11_status(pthread_detach((pthread_t)thread));
}

thrd_t thrd_current (void) {
  return (thrd_t)pthread_self();
}

int mtx_init (mtx_t *lock, int type) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  if (type & mtx_recursive)
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  return c11_status(pthread_mutex_init((pthread_mutex_t *)lock, &attributes));
}

int mtx_lock (mtx_t *lock) {
  return c11_status(pthread_mutex_lock((pthread_mutex_t *)lock));
}

int mtx_trylock (mtx_t *lock) {
  return c11_status(pthread_mutex_trylock((pthread_mutex_t *)lock));
}

int mtx_unlock (mtx_t *lock) {
  return c11_status(pthread_mutex_unlock((pthread_mutex_t *)lock));
}

void mtx_destroy (mtx_t *lock) {
  pthread_mutex_destroy((pthread_mutex_t *)lock);
}

int cnd_init (cnd_t *condition) {
  return c11_status(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

int cnd_signal (cnd_t *condition) {
  return c11_status(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast (cnd_t *condition) {
  return c11_status(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait (cnd_t *condition, mtx_t *lock) {
  return c11_status(
    pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)lock));
}

int cnd_timedwait (cnd_t *condition, mtx_t *lock,
                   const struct timespec *until) {
  return c11_status(pthread_cond_timedwait((pthread_cond_t *)condition,
                                           (pthread_mutex_t *)lock, until));
}

void cnd_destroy (cnd_t *condition) {
  pthread_cond_destroy((pthread_cond_t *)condition);
}

#endif
#endif
