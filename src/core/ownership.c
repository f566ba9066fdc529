#include "core/ownership.h"

#include <assert.h>
#include <stdlib.h>

#define CHECKED_MOST 64 /* entries, which are compared in pairs */

struct strand_owned {
  strand_owned *next;
  int32_t index;
  unsigned member;
  uint32_t epochs; /* given out so far */
  unsigned users;  /* members that were given it and have not given it up */
  bool assigned;
  char topic[];
};

void strand_ownership_free (strand_ownership *t) {
  while (t->first != NULL) {
    strand_orphan_entry *e = t->first;
    t->first = e->next;
    free(e);
  }
  while (t->owned != NULL) {
    strand_owned *h = t->owned;
    t->owned = h->next;
    free(h);
  }
  strand_places_free(&t->places);
  *t = (strand_ownership){ 0 };
}

/*
** Shards
*/

/* How many bytes copy_strings writes. */
static size_t strings_size (const strand_orphan *orphan) {
  return strlen(orphan->topic) + 1 + orphan->key_length + 1u;
}

/* Both end with a zero. */
static void copy_strings (strand_orphan *to, const strand_orphan *from,
                          char *at) {
  size_t length = strlen(from->topic);
  memcpy(at, from->topic, length + 1);
  to->topic = at;
  at += length + 1;
  if (from->key_length > 0) memcpy(at, from->key, from->key_length);
  at[from->key_length] = '\0';
  to->key = at;
}

strand_orphan_entry *strand_orphan_new (const strand_orphan *orphan) {
  strand_orphan_entry *e = malloc(sizeof(*e) + strings_size(orphan));
  if (e == NULL) return NULL;
  e->next = NULL;
  e->orphan = *orphan;
  copy_strings(&e->orphan, orphan, (char *)(e + 1));
  return e;
}

void strand_ownership_put (strand_ownership *t, strand_orphan_entry *entry) {
  entry->next = NULL;
  if (t->first == NULL) t->first = entry;
  else t->last->next = entry;
  t->last = entry;
}

strand_err strand_ownership_add (strand_ownership *t,
                                 const strand_orphan *orphan) {
  strand_orphan_entry *e = strand_orphan_new(orphan);
  if (e == NULL) return STRAND_ENOMEM;
  strand_ownership_put(t, e);
  return STRAND_OK;
}

static bool is_of (const strand_orphan *h, const char *topic, int32_t index) {
  return h->index == index && strcmp(h->topic, topic) == 0;
}

static bool is_same (const strand_orphan *a, const strand_orphan *b) {
  if (a->kind != b->kind || !is_of(a, b->topic, b->index)) return false;
  if (a->kind == STRAND_SHARD_RECORD) return a->offset == b->offset;
  return a->kind != STRAND_SHARD_KEY
         || (a->key_length == b->key_length
             && memcmp(a->key, b->key, a->key_length) == 0);
}

strand_orphan_entry *strand_ownership_take (strand_ownership *t,
                                            const strand_orphan *orphan) {
  strand_orphan_entry **at = &t->first, *before = NULL, *e;
  while ((e = *at) != NULL && !is_same(&e->orphan, orphan)) {
    before = e;
    at = &e->next;
  }
  if (e == NULL) return NULL;
  *at = e->next;
  if (t->last == e) t->last = before;
  return e;
}

bool strand_ownership_remove (strand_ownership *t,
                              const strand_orphan *orphan) {
  strand_orphan_entry *e = strand_ownership_take(t, orphan);
  free(e);
  return e != NULL;
}

static size_t size_of_all (const strand_ownership *t, const char *topic,
                           int32_t index, size_t *count) {
  size_t size = 0;
  *count = 0;
  for (const strand_orphan_entry *e = t->first; e != NULL; e = e->next) {
    if (!is_of(&e->orphan, topic, index)) continue;
    size += sizeof(e->orphan) + strings_size(&e->orphan);
    (*count)++;
  }
  return size;
}

size_t strand_ownership_copy (const strand_ownership *t, const char *topic,
                              int32_t index, void *to, size_t room,
                              size_t *count) {
  size_t size = size_of_all(t, topic, index, count);
  strand_orphan *copy = to;
  char *strings;
  if (size == 0 || size > room) return size;
  strings = (char *)(copy + *count);
  for (const strand_orphan_entry *e = t->first; e != NULL; e = e->next) {
    if (!is_of(&e->orphan, topic, index)) continue;
    *copy = e->orphan;
    copy_strings(copy++, &e->orphan, strings);
    strings += strings_size(&e->orphan);
  }
  return size;
}

strand_orphan *strand_ownership_of (const strand_ownership *t,
                                    const char *topic, int32_t index,
                                    size_t *count) {
  size_t size = strand_ownership_copy(t, topic, index, NULL, 0, count);
  strand_orphan *found = size > 0 ? malloc(size) : NULL;
  if (found != NULL)
    strand_ownership_copy(t, topic, index, found, size, count);
  return found;
}

/*
** Holders
*/

static strand_owned *find (const strand_ownership *t, const char *topic,
                           int32_t index) {
  return strand_places_get(&t->places, topic, index);
}

bool strand_ownership_spare_make (strand_ownership_spare *spare,
                                  const char *topic, int32_t index,
                                  size_t lacks) {
  size_t size = strlen(topic) + 1;
  if (!strand_places_spare_make(&spare->room, lacks)) return false;
  if (spare->owned != NULL) return true;
  spare->owned = calloc(1, sizeof(*spare->owned) + size);
  if (spare->owned == NULL) return false;
  spare->owned->index = index;
  memcpy(spare->owned->topic, topic, size);
  return true;
}

void strand_ownership_spare_free (strand_ownership_spare *spare) {
  free(spare->owned);
  strand_places_spare_free(&spare->room);
}

/* The one that is spare. NULL: there is none, or no room for it. */
static strand_owned *add_owned (strand_ownership *t,
                                strand_ownership_spare *spare) {
  strand_owned *h = spare->owned;
  if (h == NULL || !strand_places_fit(&t->places, &spare->room)) return NULL;
  spare->owned = NULL;
  h->next = t->owned;
  t->owned = h;
  strand_places_put(&t->places, h->topic, h->index, h);
  return h;
}

uint32_t strand_ownership_assign_with (strand_ownership *t, const char *topic,
                                       int32_t index, unsigned member,
                                       strand_ownership_spare *spare,
                                       size_t *lacks) {
  strand_owned *h = find(t, topic, index);
  if (h == NULL) h = add_owned(t, spare);
  *lacks = strand_places_lacks(&t->places);
  if (h == NULL) return 0;
  h->member = member;
  h->assigned = true;
  h->users++;
  return ++h->epochs;
}

uint32_t strand_ownership_assign (strand_ownership *t, const char *topic,
                                  int32_t index, unsigned member) {
  strand_ownership_spare spare = { 0 };
  uint32_t epoch;
  size_t lacks;
  do
    epoch = strand_ownership_assign_with(t, topic, index, member, &spare,
                                         &lacks);
  while (epoch == 0
         && strand_ownership_spare_make(&spare, topic, index, lacks));
  strand_ownership_spare_free(&spare);
  return epoch;
}

void strand_ownership_unassign (strand_ownership *t, const char *topic,
                                int32_t index, unsigned member) {
  strand_owned *h = find(t, topic, index);
  if (h == NULL) return;
  if (h->users > 0) h->users--;
  if (h->member == member) h->assigned = false;
}

bool strand_ownership_contested (const strand_ownership *t, const char *topic,
                                 int32_t index) {
  const strand_owned *h = find(t, topic, index);
  return h != NULL && h->users > 1;
}

int strand_ownership_member (const strand_ownership *t, const char *topic,
                             int32_t index) {
  const strand_owned *h = find(t, topic, index);
  return h != NULL && h->assigned ? (int)h->member : -1;
}

bool strand_ownership_has (const strand_ownership *t,
                           const strand_orphan_entry *entry) {
  const strand_orphan_entry *e = t->first;
  while (e != NULL && e != entry) e = e->next;
  return e != NULL;
}

void strand_ownership_check (const strand_ownership *t) {
  int left = CHECKED_MOST;
  for (const strand_orphan_entry *e = t->first; e != NULL && left-- > 0;
       e = e->next) {
    for (const strand_orphan_entry *k = t->first; k != e; k = k->next) {
      assert(!is_same(&e->orphan, &k->orphan)); /* (1) */
    }
  }
  for (const strand_owned *h = t->owned; h != NULL; h = h->next) {
    assert(find(t, h->topic, h->index) == h && h->epochs > 0); /* (2) */
    assert(!h->assigned || h->users > 0);                      /* (3) */
  }
  strand_places_check(&t->places);
}
