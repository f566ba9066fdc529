/*
** problem.c - what is wrong, for health()
*/
#include "kafka/problem.h"

#include <string.h>

void strand_problem_init (strand_problem *p) {
  static const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
  p->lock = unlocked;
  p->failure = (strand_failure){ 0 };
}

void strand_problem_free (strand_problem *p) {
  pthread_mutex_destroy(&p->lock);
}

void strand_problem_set (strand_problem *p, const strand_failure *failure) {
  if (strcmp(failure->code, p->failure.code) == 0
      && strcmp(failure->message, p->failure.message) == 0)
    return;
  pthread_mutex_lock(&p->lock);
  p->failure = *failure;
  pthread_mutex_unlock(&p->lock);
}

void strand_problem_get (strand_problem *p, strand_failure *failure) {
  pthread_mutex_lock(&p->lock);
  *failure = p->failure;
  pthread_mutex_unlock(&p->lock);
}
