/*
** slice.h - for how long bodies keep their thread from others
**
** Without a loop a turn of step is one slice. Under a loop all bodies share one
** from one turn of ours to the next: those that do not wait; in nginx those
** that have waited as well, since many sleeps may end in one turn of it.
** (Elsewhere that costs more than it is worth: to give way is to park.)
**
**   begin --a body comes--> over? --yes, once--> end --our turn--> begin
**
** What lies between one that comes and the next is the slice's, unless it is so
** long that the loop may have waited. Of one body that comes twice in a row it
** always is: its handler may have blocked the thread; one that did so after a
** wait, alone, waits a turn for it. Else in nginx the thread says whether it
** has waited: others have had their turn then, and another slice begins. If
** not, its CPU says what was spent: others may have had its core.
**
** What one body can do alone is not for two: as many are woken in one turn as
** in the last, twice, while work is left; in nginx up to half of what a slice
** has room for, as the last that was over has shown: the waits of those that
** begin together may end together, and who then gives way parks again.
**
** Thread: lua in local mode; else worker.
*/
#ifndef STRAND_LUA_SLICE_H
#define STRAND_LUA_SLICE_H

#include <stdbool.h>
#include <stdint.h>

struct strand_body;

typedef struct strand_slice {
  int64_t most_us;
  bool shared;     /* under a loop */
  bool strict;     /* by those that have waited, too */
  int64_t came_us; /* when the last came; without a loop: when it began */
  /* under a loop */
  const struct strand_body *last; /* who came last, or NULL */
  int64_t spent_us;
  int64_t cpu_us; /* of the thread, when the first came */
  long waits;     /* and how often it had waited */
  bool ended;
  uint32_t came;       /* bodies, each again after another */
  uint32_t wake_most;  /* in this turn */
  uint32_t wake_limit; /* of that */
} strand_slice;

void strand_slice_init (strand_slice *s, int64_t most_us);
/* Under a loop from now on. */
void strand_slice_share (strand_slice *s, bool strict);
void strand_slice_begin (strand_slice *s, int64_t now_us);
/* A body comes, which counts. Is it others' turn? */
bool strand_slice_come (strand_slice *s, const struct strand_body *body,
                        int64_t now_us);
/* One has given way: true when it is the first. */
bool strand_slice_end (strand_slice *s);
/* Whoever that is comes no more. */
void strand_slice_forget (strand_slice *s, const struct strand_body *body);

/* As many were woken as may be, and work is left; or it is not. */
void strand_slice_wake_more (strand_slice *s);
void strand_slice_wake_one (strand_slice *s);

#endif
