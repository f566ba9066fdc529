/*
** transacted.c - exactly once: what a transaction says is done
**
** A transaction holds outputs, and the commit of the records that they are of.
** Such a record is done when the transaction is committed, and not before; but
** the commit in it says already that it is. When it is aborted nothing was
** said.
**
**            transact, commit             COMMITTED, then _acked
**   SENDING ------------------> transacted ----------------------> done
**      ^                            |
**      +------- untransact ---------+
**                ABORTED
**
** A dead letter goes the same way. The tracker knows nothing of it: for that
** the record is in flight until it is done. So its bound holds.
**
** Less than what is done is never told: what was told as done before would be
** handled again, and produce again. What does not fit stays out, with its
** outputs, and the old commit in place.
**
** Invariants:
**   (1) 'transacted' of a partition counts its records that are.
**   (2) Each has outputs or a dead letter under way.
*/
#include <assert.h>
#include <stdlib.h>

#include "core/engine.h"
#include "core/state.h"

static bool is_under_way (const strand_record *r) {
  if (r->flags & STRAND_RECORD_SENDING) return true;
  return (r->flags & STRAND_RECORD_WAITING)
         && r->in.past->waiting == STRAND_WAITING_DEAD_LETTER;
}

void strand_engine_transact (strand_engine *e, strand_record *record) {
  (void)e;
  (void)is_under_way;
  assert(strand_exactly_once(e) && !e->commits.unanswered);
  assert(is_under_way(record) && !record->transacted); /* (2) */
  record->transacted = true;
  record->shard->partition->transacted++;
}

void strand_engine_untransact (strand_engine *e, strand_record *record) {
  if (!record->transacted) return;
  record->transacted = false;
  record->shard->partition->transacted--;
  strand_commit_may_differ(e);
}

bool strand_record_is_transacted (const strand_record *record) {
  return record->transacted;
}

void strand_transacted_ended (strand_partition *p, strand_record *r) {
  if (!r->transacted) return;
  r->transacted = false;
  p->transacted--;
}

/*
** The commit
*/

static strand_record *next_transacted (const strand_partition *p,
                                       strand_record *after) {
  strand_link *l = after == NULL ? p->records.next : after->link.next;
  for (; l != &p->records; l = l->next) {
    strand_record *r = strand_list_entry(l, strand_record, link);
    if (r->transacted) return r;
  }
  return NULL;
}

void strand_transacted_leave_out (strand_partition *p) {
  strand_record *r = NULL;
  while (p->transacted > 0) {
    r = next_transacted(p, r);
    r->transacted = false;
    p->transacted--;
  }
}

/* NULL: memory ran out. */
static int64_t *offsets_of (const strand_partition *p) {
  int64_t *offsets = malloc((p->transacted + 1) * sizeof(*offsets));
  strand_record *r = NULL;
  if (offsets == NULL) return NULL;
  for (size_t i = 0; i < p->transacted; i++) {
    r = next_transacted(p, r);
    offsets[i] = r->offset;
  }
  return offsets;
}

/* The tracker's version when they are all done, and nothing else is. A base
** that the group does not have goes first, and alone: after an end that is not
** known what an earlier epoch has told could not be told from this. */
strand_err strand_transacted_write (strand_partition *p, size_t limit,
                                    char *text, size_t *length,
                                    strand_commit_item *item) {
  strand_cover cover = { .below = -1 };
  int64_t *offsets;
  strand_err err;
  if (p->committed.elsewhere) strand_transacted_leave_out(p);
  cover.count = p->transacted;
  offsets = offsets_of(p);
  if (offsets == NULL) return STRAND_ENOMEM;
  cover.offsets = offsets;
  item->version = strand_offsets_version(p->offsets) + p->transacted;
  item->back = false;
  item->whole = true;
  err = strand_offsets_payload_as(p->offsets, cover, limit, text, length,
                                  &item->offset);
  item->covered = item->offset;
  free(offsets);
  return err;
}
