/*
** problem.c - what is wrong with a member, for health()
*/
#include "shared/problem.h"

#include <assert.h>
#include <string.h>

#include "base/lock.h"

void strand_problem_init (strand_problem *p) {
  memset(p, 0, sizeof(*p));
  strand_lock_init(&p->lock, STRAND_RANK_LEAF);
}

void strand_problem_free (strand_problem *p) {
  strand_lock_free(&p->lock);
}

static bool is_same (const strand_failure *a, const strand_failure *b) {
  return strcmp(a->code, b->code) == 0 && strcmp(a->message, b->message) == 0;
}

void strand_problem_set (strand_problem *p, strand_problem_kind kind,
                         const strand_failure *failure) {
  strand_failure *now = &p->failures[kind];
  if (failure == NULL ? now->code[0] == '\0' : is_same(failure, now)) return;
  strand_lock_take(&p->lock);
  if (failure != NULL) *now = *failure;
  else now->code[0] = now->message[0] = '\0';
  strand_lock_release(&p->lock);
}

void strand_problem_get (strand_problem *p, strand_failure *failure) {
  int kind = 0;
  strand_lock_take(&p->lock);
  while (kind < STRAND_PROBLEM_NOT_ASSIGNED
         && p->failures[kind].code[0] == '\0')
    kind++;
  *failure = p->failures[kind];
  strand_lock_release(&p->lock);
}

void strand_problem_topic (strand_problem *p, strand_failure *failure) {
  strand_lock_take(&p->lock);
  *failure = p->failures[STRAND_PROBLEM_TOPIC];
  strand_lock_release(&p->lock);
}

void strand_problem_check (const strand_problem *p) {
  for (int kind = 0; kind < STRAND_PROBLEMS; kind++) {
    const strand_failure *f = &p->failures[kind];
    assert(f->code[0] != '\0' || f->message[0] == '\0'); /* (1) */
    (void)f;
  }
}
