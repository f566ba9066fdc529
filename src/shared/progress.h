/*
** progress.h - which slots went on, where handlers are coroutines
**
** A thread works on many thousands of slots then, and most of them wait: the
** owner does not look at each of them for the few that went on, but at a list.
**
**   lua, or worker                      owner
**   a record has ended: the slot's  --> takes the whole list, and what was
**   mark enters the list, once          written before each mark entered it
**
** An owner that found something looks again by itself in a while (polling), and
** is not woken until then; one that found nothing is, by the next mark.
**
** Protocol:
**   (1) A mark is in the list once at most: who adds it has seen to that
**       (lease_batch.h).
**
** Thread: lua in local mode, else workers add; owner takes.
*/
#ifndef STRAND_PROGRESS_H
#define STRAND_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct strand_lease_batch;

typedef struct strand_mark {
  struct strand_mark *next;
  struct strand_lease_batch *batch;
} strand_mark;

typedef struct strand_progress {
  /* Marks are added by any, one at a time; the owner takes all at once: so a
  ** first that was seen and is still there has what it had behind it. */
  _Atomic(strand_mark *) first;
  /* Written by the owner, read by who adds: it looks at the list by itself. */
  atomic_bool polling;
} strand_progress;

/* Thread: who adds. True: its owner is to be woken. */
bool strand_progress_add (strand_progress *p, strand_mark *mark);
/* Thread: who adds. Something is in it. */
static inline bool strand_progress_waits (const strand_progress *p) {
  return atomic_load_explicit(&p->first, memory_order_relaxed) != NULL;
}
/* Thread: owner. All that is there, the newest first; NULL: nothing. */
strand_mark *strand_progress_take (strand_progress *p);
/* Thread: owner. Whether it will look by itself. False: look now, something
** came before that was seen. */
bool strand_progress_set_polling (strand_progress *p, bool polling);

#endif
