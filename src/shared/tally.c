/*
** tally.c - what a consumer has done so far, of all its members
*/
#include "shared/tally.h"

#include <assert.h>
#include <stdlib.h>

#define CHECKED_MOST 64 /* of thousands, at each turn */

struct strand_committed {
  strand_committed *next;
  strand_place place;
  char topic[];
};

void strand_tally_init (strand_tally *t) {
  *t = (strand_tally){ .end = &t->first };
  strand_lock_init(&t->lock, STRAND_RANK_LEAF);
}

void strand_tally_free (strand_tally *t) {
  while (t->first != NULL) {
    strand_committed *c = t->first;
    t->first = c->next;
    free(c);
  }
  strand_places_free(&t->committed);
  strand_lock_free(&t->lock);
}

void strand_tally_join (strand_tally *t, bool first) {
  strand_lock_take(&t->lock);
  t->counts.rebalances++;
  if (first) t->counts.joined++;
  strand_lock_release(&t->lock);
}

void strand_tally_leave (strand_tally *t) {
  strand_lock_take(&t->lock);
  t->counts.joined--;
  strand_lock_release(&t->lock);
}

void strand_tally_commit_failed (strand_tally *t) {
  strand_lock_take(&t->lock);
  t->counts.commits_failed++;
  strand_lock_release(&t->lock);
}

void strand_tally_fail (strand_tally *t, const strand_failure *failure) {
  strand_lock_take(&t->lock);
  t->counts.failure = *failure;
  strand_lock_release(&t->lock);
}

void strand_tally_lose (strand_tally *t, uint64_t records) {
  strand_lock_take(&t->lock);
  t->counts.lost += records;
  strand_lock_release(&t->lock);
}

/*
** What is committed
*/

/* What a new partition needs, made without the lock. */
typedef struct spare {
  strand_committed *committed;
  strand_places_spare room;
} spare;

/* False: memory ran out. */
static bool make_spare (spare *s, size_t lacks, const char *topic,
                        int32_t index) {
  size_t size = strlen(topic) + 1;
  strand_committed *c = s->committed;
  if (!strand_places_spare_make(&s->room, lacks)) return false;
  if (c != NULL) return true;
  s->committed = c = malloc(sizeof(*c) + size);
  if (c == NULL) return false;
  memcpy(c->topic, topic, size);
  c->next = NULL;
  c->place = (strand_place){ c->topic, index, -1, NULL };
  return true;
}

static void add_locked (strand_tally *t, strand_committed *c) {
  strand_places_put(&t->committed, c->topic, c->place.partition, c);
  *t->end = c;
  t->end = &c->next;
}

/* The partition's, if it is known, or it can be added with what is spare;
** else NULL. */
static strand_committed *find_locked (strand_tally *t, const char *topic,
                                      int32_t index, spare *s) {
  strand_committed *c = strand_places_get(&t->committed, topic, index);
  if (c != NULL || s->committed == NULL) return c;
  if (!strand_places_fit(&t->committed, &s->room)) return NULL;
  c = s->committed;
  s->committed = NULL;
  add_locked(t, c);
  return c;
}

static void note (strand_tally *t, const char *topic, int32_t index,
                  int64_t offset) {
  spare s = { 0 };
  strand_committed *c;
  size_t lacks;
  do {
    strand_lock_take(&t->lock);
    c = find_locked(t, topic, index, &s);
    if (c != NULL) c->place.offset = offset;
    lacks = strand_places_lacks(&t->committed);
    strand_lock_release(&t->lock);
  } while (c == NULL && make_spare(&s, lacks, topic, index));
  free(s.committed);
  strand_places_spare_free(&s.room);
}

void strand_tally_commit (strand_tally *t, const strand_commit *commit) {
  for (size_t i = 0; i < commit->count; i++) {
    const strand_commit_item *item = &commit->items[i];
    note(t, strand_partition_topic(item->partition),
         strand_partition_index(item->partition), item->offset);
  }
  strand_lock_take(&t->lock);
  t->counts.commits++;
  strand_lock_release(&t->lock);
}

/*
** Reading
*/

void strand_tally_read (strand_tally *t, strand_counts *to) {
  strand_lock_take(&t->lock);
  *to = t->counts;
  strand_lock_release(&t->lock);
}

/* How many there are; into 'places' when there is room for all. */
static size_t copy_locked (const strand_tally *t, strand_place *places,
                           size_t room) {
  size_t i = 0;
  if (t->committed.count > room) return t->committed.count;
  for (const strand_committed *c = t->first; c != NULL; c = c->next) {
    places[i++] = c->place;
  }
  return i;
}

strand_place *strand_tally_committed (strand_tally *t, size_t *count) {
  strand_place *places = NULL;
  size_t room = 0;
  for (;;) {
    strand_lock_take(&t->lock);
    *count = copy_locked(t, places, room);
    strand_lock_release(&t->lock);
    if (places != NULL && *count <= room) return places;
    free(places);
    room = *count;
    places = malloc((room + 1) * sizeof(*places));
    if (places == NULL) return NULL;
  }
}

void strand_tally_check (strand_tally *t) {
  size_t count = 0;
  strand_lock_take(&t->lock);
  for (const strand_committed *c = t->first; c != NULL && count < CHECKED_MOST;
       c = c->next) {
    assert(c->place.topic == c->topic); /* (2) */
    assert(strand_places_get(&t->committed, c->topic, c->place.partition)
           == c); /* (1) */
    count++;
  }
  assert(count == CHECKED_MOST || count == t->committed.count); /* (1) */
  strand_lock_release(&t->lock);
  (void)count;
}
