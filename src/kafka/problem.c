/*
** problem.c - what is wrong, for health()
*/
#include "kafka/problem.h"

#include <string.h>

#include "kafka/lock.h"

void strand_problem_init (strand_problem *p) {
  strand_lock_init(&p->lock, STRAND_RANK_LEAF);
  p->failure = (strand_failure){ 0 };
}

void strand_problem_free (strand_problem *p) {
  strand_lock_free(&p->lock);
}

void strand_problem_set (strand_problem *p, const strand_failure *failure) {
  if (strcmp(failure->code, p->failure.code) == 0
      && strcmp(failure->message, p->failure.message) == 0)
    return;
  strand_lock_take(&p->lock);
  p->failure = *failure;
  strand_lock_release(&p->lock);
}

void strand_problem_get (strand_problem *p, strand_failure *failure) {
  strand_lock_take(&p->lock);
  *failure = p->failure;
  strand_lock_release(&p->lock);
}
