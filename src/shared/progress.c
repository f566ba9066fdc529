/*
** progress.c - see progress.h
*/
#include "shared/progress.h"

/* In one order with strand_progress_set_polling: either the owner sees the
** mark, or it is seen here that nobody looks. */
bool strand_progress_add (strand_progress *p, strand_mark *mark) {
  strand_mark *first = atomic_load_explicit(&p->first, memory_order_relaxed);
  do mark->next = first;
  while (!atomic_compare_exchange_weak(&p->first, &first, mark));
  return first == NULL && !atomic_load(&p->polling);
}

strand_mark *strand_progress_take (strand_progress *p) {
  if (atomic_load_explicit(&p->first, memory_order_relaxed) == NULL)
    return NULL;
  return atomic_exchange_explicit(&p->first, NULL, memory_order_acquire);
}

bool strand_progress_set_polling (strand_progress *p, bool polling) {
  if (atomic_load_explicit(&p->polling, memory_order_relaxed) != polling)
    atomic_store(&p->polling, polling);
  return polling || atomic_load(&p->first) == NULL;
}
