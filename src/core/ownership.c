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
    strand_held_entry *e = t->first;
    t->first = e->next;
    free(e);
  }
  while (t->holders != NULL) {
    strand_owned *h = t->holders;
    t->holders = h->next;
    free(h);
  }
  strand_places_free(&t->places);
  *t = (strand_ownership){ 0 };
}

/*
** Shards
*/

/* How many bytes copy_strings writes. */
static size_t strings_size (const strand_held *held) {
  return strlen(held->topic) + 1 + held->key_length + 1u;
}

/* Both end with a zero. */
static void copy_strings (strand_held *to, const strand_held *from, char *at) {
  size_t length = strlen(from->topic);
  memcpy(at, from->topic, length + 1);
  to->topic = at;
  at += length + 1;
  if (from->key_length > 0) memcpy(at, from->key, from->key_length);
  at[from->key_length] = '\0';
  to->key = at;
}

strand_held_entry *strand_held_make (const strand_held *held) {
  strand_held_entry *e = malloc(sizeof(*e) + strings_size(held));
  if (e == NULL) return NULL;
  e->next = NULL;
  e->held = *held;
  copy_strings(&e->held, held, (char *)(e + 1));
  return e;
}

void strand_held_put (strand_ownership *t, strand_held_entry *entry) {
  entry->next = NULL;
  if (t->first == NULL) t->first = entry;
  else t->last->next = entry;
  t->last = entry;
}

strand_err strand_ownership_add (strand_ownership *t,
                                 const strand_held *held) {
  strand_held_entry *e = strand_held_make(held);
  if (e == NULL) return STRAND_ENOMEM;
  strand_held_put(t, e);
  return STRAND_OK;
}

static bool is_of (const strand_held *h, const char *topic, int32_t index) {
  return h->index == index && strcmp(h->topic, topic) == 0;
}

static bool is_same (const strand_held *a, const strand_held *b) {
  if (a->kind != b->kind || !is_of(a, b->topic, b->index)) return false;
  if (a->kind == STRAND_HELD_RECORD) return a->offset == b->offset;
  return a->kind != STRAND_HELD_KEY
         || (a->key_length == b->key_length
             && memcmp(a->key, b->key, a->key_length) == 0);
}

strand_held_entry *strand_held_take (strand_ownership *t,
                                     const strand_held *held) {
  strand_held_entry **at = &t->first, *before = NULL, *e;
  while ((e = *at) != NULL && !is_same(&e->held, held)) {
    before = e;
    at = &e->next;
  }
  if (e == NULL) return NULL;
  *at = e->next;
  if (t->last == e) t->last = before;
  return e;
}

bool strand_ownership_remove (strand_ownership *t, const strand_held *held) {
  strand_held_entry *e = strand_held_take(t, held);
  free(e);
  return e != NULL;
}

static size_t size_of_all (const strand_ownership *t, const char *topic,
                           int32_t index, size_t *count) {
  size_t size = 0;
  *count = 0;
  for (const strand_held_entry *e = t->first; e != NULL; e = e->next) {
    if (!is_of(&e->held, topic, index)) continue;
    size += sizeof(e->held) + strings_size(&e->held);
    (*count)++;
  }
  return size;
}

size_t strand_held_copy (const strand_ownership *t, const char *topic,
                         int32_t index, void *to, size_t room, size_t *count) {
  size_t size = size_of_all(t, topic, index, count);
  strand_held *copy = to;
  char *strings;
  if (size == 0 || size > room) return size;
  strings = (char *)(copy + *count);
  for (const strand_held_entry *e = t->first; e != NULL; e = e->next) {
    if (!is_of(&e->held, topic, index)) continue;
    *copy = e->held;
    copy_strings(copy++, &e->held, strings);
    strings += strings_size(&e->held);
  }
  return size;
}

strand_held *strand_ownership_of (const strand_ownership *t, const char *topic,
                                  int32_t index, size_t *count) {
  size_t size = strand_held_copy(t, topic, index, NULL, 0, count);
  strand_held *found = size > 0 ? malloc(size) : NULL;
  if (found != NULL) strand_held_copy(t, topic, index, found, size, count);
  return found;
}

/*
** Holders
*/

static strand_owned *find (const strand_ownership *t, const char *topic,
                           int32_t index) {
  return strand_places_get(&t->places, topic, index);
}

bool strand_held_spare_make (strand_held_spare *spare, const char *topic,
                             int32_t index, size_t lacks) {
  size_t size = strlen(topic) + 1;
  if (!strand_places_spare_make(&spare->room, lacks)) return false;
  if (spare->holder != NULL) return true;
  spare->holder = calloc(1, sizeof(*spare->holder) + size);
  if (spare->holder == NULL) return false;
  spare->holder->index = index;
  memcpy(spare->holder->topic, topic, size);
  return true;
}

void strand_held_spare_free (strand_held_spare *spare) {
  free(spare->holder);
  strand_places_spare_free(&spare->room);
}

/* The one that is spare. NULL: there is none, or no room for it. */
static strand_owned *add_holder (strand_ownership *t,
                                 strand_held_spare *spare) {
  strand_owned *h = spare->holder;
  if (h == NULL || !strand_places_fit(&t->places, &spare->room)) return NULL;
  spare->holder = NULL;
  h->next = t->holders;
  t->holders = h;
  strand_places_put(&t->places, h->topic, h->index, h);
  return h;
}

uint32_t strand_held_assign_with (strand_ownership *t, const char *topic,
                                  int32_t index, unsigned member,
                                  strand_held_spare *spare, size_t *lacks) {
  strand_owned *h = find(t, topic, index);
  if (h == NULL) h = add_holder(t, spare);
  *lacks = strand_places_lacks(&t->places);
  if (h == NULL) return 0;
  h->member = member;
  h->assigned = true;
  h->users++;
  return ++h->epochs;
}

uint32_t strand_ownership_assign (strand_ownership *t, const char *topic,
                                  int32_t index, unsigned member) {
  strand_held_spare spare = { 0 };
  uint32_t epoch;
  size_t lacks;
  do epoch = strand_held_assign_with(t, topic, index, member, &spare, &lacks);
  while (epoch == 0 && strand_held_spare_make(&spare, topic, index, lacks));
  strand_held_spare_free(&spare);
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

bool strand_held_has (const strand_ownership *t,
                      const strand_held_entry *entry) {
  const strand_held_entry *e = t->first;
  while (e != NULL && e != entry) e = e->next;
  return e != NULL;
}

void strand_ownership_check (const strand_ownership *t) {
  int left = CHECKED_MOST;
  for (const strand_held_entry *e = t->first; e != NULL && left-- > 0;
       e = e->next) {
    for (const strand_held_entry *k = t->first; k != e; k = k->next) {
      assert(!is_same(&e->held, &k->held)); /* (1) */
    }
  }
  for (const strand_owned *h = t->holders; h != NULL; h = h->next) {
    assert(find(t, h->topic, h->index) == h && h->epochs > 0); /* (2) */
    assert(!h->assigned || h->users > 0);                      /* (3) */
  }
  strand_places_check(&t->places);
}
