/*
** pending_reports.c - see pending_reports.h
*/
#include "producer/pending_reports.h"

#include <assert.h>
#include <stdlib.h>

#define ROOM_FIRST 16
#define CHECKED_MOST 64

void strand_pending_reports_init (strand_pending_reports *p) {
  *p = (strand_pending_reports){ 0 };
  strand_list_init(&p->all);
}

static strand_pending_report *entry_of (strand_link *link) {
  return strand_list_entry(link, strand_pending_report, link);
}

void strand_pending_reports_free (strand_pending_reports *p,
                                  bool also_flying) {
  while (!strand_list_empty(&p->all)) {
    strand_pending_report *pending = entry_of(p->all.next);
    strand_list_remove(&pending->link);
    free(pending->report);
    if (also_flying) free(pending);
  }
  free(p->heap);
}

/*
** The heap
*/

static void put (strand_pending_reports *p, size_t place,
                 strand_pending_report *pending) {
  p->heap[place] = pending;
  pending->place = place;
}

/* To where nothing above it is due later. */
static void rise (strand_pending_reports *p, size_t place,
                  strand_pending_report *pending) {
  while (place > 0 && p->heap[(place - 1) / 2]->due_us > pending->due_us) {
    put(p, place, p->heap[(place - 1) / 2]);
    place = (place - 1) / 2;
  }
  put(p, place, pending);
}

/* To where nothing below it is due sooner. */
static void sink (strand_pending_reports *p, size_t place,
                  strand_pending_report *pending) {
  size_t below;
  while ((below = 2 * place + 1) < p->count) {
    if (below + 1 < p->count
        && p->heap[below + 1]->due_us < p->heap[below]->due_us)
      below++;
    if (p->heap[below]->due_us >= pending->due_us) break;
    put(p, place, p->heap[below]);
    place = below;
  }
  put(p, place, pending);
}

static bool make_room (strand_pending_reports *p) {
  size_t room = p->room > 0 ? 2 * p->room : ROOM_FIRST;
  strand_pending_report **heap;
  if (p->count < p->room) return true;
  heap = realloc(p->heap, room * sizeof(*heap));
  if (heap == NULL) return false;
  p->heap = heap;
  p->room = room;
  return true;
}

/* It has no time any more. */
static void leave_heap (strand_pending_reports *p,
                        strand_pending_report *pending) {
  strand_pending_report *last;
  if (pending->due_us == 0) return;
  last = p->heap[--p->count];
  if (last != pending) {
    if (last->due_us < pending->due_us) rise(p, pending->place, last);
    else sink(p, pending->place, last);
  }
  pending->due_us = 0;
}

/*
** Out, and not any more
*/

strand_pending_report *strand_pending_reports_add (strand_pending_reports *p,
                                                   strand_delivery *report,
                                                   int64_t due_us) {
  strand_pending_report *pending;
  if (due_us != 0 && !make_room(p)) return NULL;
  pending = calloc(1, sizeof(*pending));
  if (pending == NULL) return NULL;
  pending->report = report;
  pending->due_us = due_us;
  strand_list_push(&p->all, &pending->link);
  if (due_us != 0) rise(p, p->count++, pending);
  return pending;
}

strand_delivery *strand_pending_reports_end (strand_pending_reports *p,
                                             strand_pending_report *pending) {
  strand_delivery *report = pending->report;
  leave_heap(p, pending);
  strand_list_remove(&pending->link);
  free(pending);
  return report;
}

int64_t strand_pending_reports_due_us (const strand_pending_reports *p) {
  return p->count > 0 ? p->heap[0]->due_us : 0;
}

strand_pending_report *
strand_pending_reports_overdue (const strand_pending_reports *p,
                                int64_t now_us) {
  if (p->count == 0 || p->heap[0]->due_us > now_us) return NULL;
  return p->heap[0];
}

strand_delivery *strand_pending_reports_expire (strand_pending_reports *p,
                                                int64_t now_us) {
  strand_pending_report *pending = strand_pending_reports_overdue(p, now_us);
  strand_delivery *report;
  if (pending == NULL) return NULL;
  report = pending->report;
  leave_heap(p, pending);
  pending->report = NULL;
  return report;
}

void strand_pending_reports_check (const strand_pending_reports *p) {
  const strand_link *link = p->all.next;
  for (size_t i = 0; i < p->count && i < CHECKED_MOST; i++) {
    assert(p->heap[i]->place == i && p->heap[i]->due_us != 0); /* (1) */
    assert(i == 0
           || p->heap[(i - 1) / 2]->due_us <= p->heap[i]->due_us); /* (2) */
  }
  for (int i = 0; link != &p->all && i < CHECKED_MOST; i++) {
    const strand_pending_report *pending = entry_of((strand_link *)link);
    assert(pending->due_us == 0 || p->heap[pending->place] == pending);
    assert(pending->report != NULL || pending->due_us == 0); /* (3) */
    link = link->next;
    (void)pending;
  }
}
