/*
** progress.c - see progress.h
*/
#include "shared/progress.h"

/* In one order with strand_progress_look: either the owner sees the mark, or
** it is seen here that nobody looks. */
bool strand_progress_add (strand_progress *p, strand_mark *mark) {
  strand_mark *first = atomic_load_explicit(&p->first, memory_order_relaxed);
  do mark->next = first;
  while (!atomic_compare_exchange_weak(&p->first, &first, mark));
  return first == NULL && !atomic_load(&p->looks);
}

strand_mark *strand_progress_take (strand_progress *p) {
  if (atomic_load_explicit(&p->first, memory_order_relaxed) == NULL)
    return NULL;
  return atomic_exchange_explicit(&p->first, NULL, memory_order_acquire);
}

bool strand_progress_look (strand_progress *p, bool looks) {
  if (atomic_load_explicit(&p->looks, memory_order_relaxed) != looks)
    atomic_store(&p->looks, looks);
  return looks || atomic_load(&p->first) == NULL;
}
