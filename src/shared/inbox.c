/*
** inbox.c - who has which partition, and what is asked of it
*/
#include "shared/inbox.h"

#include <assert.h>
#include <stdlib.h>

#define CHECKED_MOST 64 /* partitions of thousands, at each turn */

bool strand_inboxes_init (strand_inboxes *in, unsigned count) {
  strand_lock_init(&in->lock, STRAND_RANK_LEAF);
  in->each = calloc(count, sizeof(*in->each));
  if (in->each == NULL) return false;
  in->count = count;
  for (unsigned i = 0; i < count; i++) {
    strand_waker_init(&in->each[i].waker);
    in->each[i].asked.limits = true; /* those it was opened with */
  }
  return true;
}

void strand_inboxes_free (strand_inboxes *in) {
  for (unsigned i = 0; i < in->count; i++) {
    strand_waker_close(&in->each[i].waker);
  }
  free(in->each);
  strand_ownership_free(&in->ownership);
  strand_lock_free(&in->lock);
}

void strand_inboxes_close (strand_inboxes *in) {
  for (unsigned i = 0; i < in->count; i++) {
    if (!in->each[i].waker.lent) strand_waker_close(&in->each[i].waker);
  }
}

void strand_inboxes_wake (strand_inboxes *in) {
  for (unsigned i = 0; i < in->count; i++) {
    strand_waker_wake(&in->each[i].waker);
  }
}

strand_asked strand_inboxes_take (strand_inboxes *in, unsigned index) {
  strand_asked asked;
  strand_lock_take(&in->lock);
  asked = in->each[index].asked;
  in->each[index].asked = (strand_asked){ 0 };
  strand_lock_release(&in->lock);
  return asked;
}

/*
** Asking
*/

void strand_inboxes_tell (strand_inboxes *in, strand_asked what) {
  strand_lock_take(&in->lock);
  for (unsigned i = 0; i < in->count; i++) {
    strand_asked *asked = &in->each[i].asked;
    asked->rules = asked->rules || what.rules;
    asked->handed_off = asked->handed_off || what.handed_off;
    asked->limits = asked->limits || what.limits;
    asked->close = asked->close || what.close;
  }
  strand_lock_release(&in->lock);
}

void strand_inboxes_ask_commit (strand_inboxes *in, strand_waiter *waiters) {
  strand_lock_take(&in->lock);
  for (unsigned i = 0; i < in->count; i++) {
    strand_waiter *w = waiters;
    waiters = w->next;
    w->next = in->each[i].asked.commits;
    in->each[i].asked.commits = w;
  }
  strand_lock_release(&in->lock);
}

bool strand_inboxes_ask_seek (strand_inboxes *in, strand_seek_request *r) {
  int member;
  strand_lock_take(&in->lock);
  member = strand_ownership_member(&in->ownership, r->topic, r->partition);
  if (member >= 0) {
    r->next = in->each[member].asked.seeks;
    in->each[member].asked.seeks = r;
  }
  strand_lock_release(&in->lock);
  if (member >= 0) strand_waker_wake(&in->each[member].waker);
  return member >= 0;
}

bool strand_inboxes_ask_parked (strand_inboxes *in, int member,
                                strand_parked_request *r) {
  strand_lock_take(&in->lock);
  if (member < 0) {
    member = strand_ownership_member(&in->ownership, r->topic, r->partition);
  }
  if (member >= 0) {
    r->next = in->each[member].asked.parked;
    in->each[member].asked.parked = r;
  }
  strand_lock_release(&in->lock);
  if (member >= 0) strand_waker_wake(&in->each[member].waker);
  return member >= 0;
}

/*
** Partitions
*/

/* What is made before the lock. */
typedef struct spare {
  strand_ownership_spare owned;
  size_t lacks; /* of it: entries */
  size_t size;  /* of the copies: bytes */
  size_t room;
} spare;

/* False: memory ran out. */
static bool make_spare (spare *s, strand_assign_answer *to, const char *topic,
                        int32_t partition) {
  if (!strand_ownership_spare_make(&s->owned, topic, partition, s->lacks)) {
    return false;
  }
  if (s->size <= s->room) return true;
  free(to->orphans);
  to->orphans = malloc(s->size);
  s->room = s->size;
  return to->orphans != NULL;
}

/* False: there is not enough to spare. */
static bool assign_locked (strand_inboxes *in, unsigned index,
                           const char *topic, int32_t partition, spare *s,
                           strand_assign_answer *to) {
  s->size = strand_ownership_copy(&in->ownership, topic, partition,
                                  to->orphans, s->room, &to->orphan_count);
  s->lacks = strand_places_lacks(&in->ownership.places);
  if (s->size > s->room) return false;
  to->epoch = strand_ownership_assign_with(&in->ownership, topic, partition,
                                           index, &s->owned, &s->lacks);
  to->contested = strand_ownership_contested(&in->ownership, topic, partition);
  return to->epoch != 0;
}

strand_err strand_inboxes_assign (strand_inboxes *in, unsigned index,
                                  const char *topic, int32_t partition,
                                  strand_assign_answer *to) {
  spare s = { .room = 0 };
  bool assigned;
  *to = (strand_assign_answer){ 0 };
  do {
    strand_lock_take(&in->lock);
    assigned = assign_locked(in, index, topic, partition, &s, to);
    strand_lock_release(&in->lock);
  } while (!assigned && make_spare(&s, to, topic, partition));
  strand_ownership_spare_free(&s.owned);
  if (assigned) return STRAND_OK;
  strand_assign_answer_clear(to);
  return STRAND_ENOMEM;
}

void strand_assign_answer_clear (strand_assign_answer *a) {
  free(a->orphans);
  *a = (strand_assign_answer){ 0 };
}

void strand_inboxes_hand_off (strand_inboxes *in, unsigned index,
                              const char *topic, int32_t partition) {
  int next_owner;
  strand_lock_take(&in->lock);
  strand_ownership_unassign(&in->ownership, topic, partition, index);
  next_owner = strand_ownership_member(&in->ownership, topic, partition);
  if (next_owner >= 0) in->each[next_owner].asked.handed_off = true;
  strand_lock_release(&in->lock);
  if (next_owner >= 0) strand_waker_wake(&in->each[next_owner].waker);
}

bool strand_inboxes_contested (strand_inboxes *in, const char *topic,
                               int32_t partition) {
  bool contested;
  strand_lock_take(&in->lock);
  contested = strand_ownership_contested(&in->ownership, topic, partition);
  strand_lock_release(&in->lock);
  return contested;
}

/*
** Held shards
*/

strand_err strand_inboxes_add_orphan (strand_inboxes *in,
                                      const strand_orphan *orphan) {
  strand_orphan_entry *entry = strand_orphan_new(orphan);
  if (entry == NULL) return STRAND_ENOMEM;
  strand_lock_take(&in->lock);
  strand_ownership_put(&in->ownership, entry);
  strand_lock_release(&in->lock);
  return STRAND_OK;
}

/* The member that gets 'entry', since it has its partition; or -1. */
static int release_locked (strand_inboxes *in, strand_orphan_entry *entry) {
  int member = strand_ownership_member(&in->ownership, entry->orphan.topic,
                                       entry->orphan.index);
  if (member < 0) return -1;
  entry->next = in->each[member].asked.releases;
  in->each[member].asked.releases = entry;
  return member;
}

void strand_inboxes_release (strand_inboxes *in, const strand_orphan *orphan) {
  strand_orphan_entry *entry;
  int member = -1;
  strand_lock_take(&in->lock);
  entry = strand_ownership_take(&in->ownership, orphan);
  if (entry != NULL) member = release_locked(in, entry);
  strand_lock_release(&in->lock);
  if (member >= 0) strand_waker_wake(&in->each[member].waker);
  else free(entry);
}

/*
** Shares
*/

void strand_inboxes_note_partitions (strand_inboxes *in, unsigned index,
                                     size_t partitions) {
  if (in->count == 1) return;
  strand_lock_take(&in->lock);
  in->partitions += partitions - in->each[index].partitions;
  in->each[index].partitions = partitions;
  strand_lock_release(&in->lock);
  strand_inboxes_tell(in, (strand_asked){ .limits = true });
  strand_inboxes_wake(in);
}

size_t strand_inboxes_partitions (strand_inboxes *in, unsigned index) {
  size_t partitions;
  strand_lock_take(&in->lock);
  partitions = in->each[index].partitions;
  strand_lock_release(&in->lock);
  return partitions;
}

double strand_inboxes_part (strand_inboxes *in, unsigned index) {
  double part = 1.0 / (double)in->count;
  strand_lock_take(&in->lock);
  if (in->each[index].partitions > 0) {
    part = (double)in->each[index].partitions / (double)in->partitions;
  }
  strand_lock_release(&in->lock);
  return part;
}

void strand_inboxes_check (strand_inboxes *in) {
  size_t partitions = 0;
  strand_lock_take(&in->lock);
  for (unsigned i = 0; i < in->count; i++) {
    partitions += in->each[i].partitions;
    for (const strand_orphan_entry *r = in->each[i].asked.releases; r != NULL;
         r = r->next) {
      assert(!strand_ownership_has(&in->ownership, r)); /* (2) */
    }
  }
  assert(partitions == in->partitions); /* (1) */
  if (in->ownership.places.count < CHECKED_MOST)
    strand_ownership_check(&in->ownership);
  strand_lock_release(&in->lock);
  (void)partitions;
}
