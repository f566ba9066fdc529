#include "core/held.h"

#include <assert.h>
#include <stdlib.h>

static char *copy_of (const char *from, size_t length) {
  char *to = malloc(length + 1);
  if (to == NULL) return NULL;
  if (length > 0) memcpy(to, from, length);
  to[length] = '\0';
  return to;
}

static void clear (strand_held *h) {
  free((char *)(uintptr_t)h->topic);
  free((char *)(uintptr_t)h->key);
}

void strand_held_table_free (strand_held_table *t) {
  for (size_t i = 0; i < t->count; i++) clear(&t->entries[i]);
  for (size_t i = 0; i < t->holder_count; i++) free(t->holders[i].topic);
  free(t->entries);
  free(t->holders);
  strand_places_free(&t->places);
  *t = (strand_held_table){ 0 };
}

strand_err strand_held_add (strand_held_table *t, const strand_held *held) {
  strand_held copy = *held;
  if (t->count == t->capacity) {
    size_t capacity = t->capacity == 0 ? 16 : t->capacity * 2;
    strand_held *grown = realloc(t->entries, capacity * sizeof(*grown));
    if (grown == NULL) return STRAND_ENOMEM;
    t->entries = grown;
    t->capacity = capacity;
  }
  copy.topic = copy_of(held->topic, strlen(held->topic));
  copy.key = copy_of(held->key, held->key_length);
  if (copy.topic == NULL || copy.key == NULL) {
    clear(&copy);
    return STRAND_ENOMEM;
  }
  t->entries[t->count++] = copy;
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

bool strand_held_remove (strand_held_table *t, const strand_held *held) {
  for (size_t i = 0; i < t->count; i++) {
    if (!is_same(&t->entries[i], held)) continue;
    clear(&t->entries[i]);
    t->entries[i] = t->entries[--t->count];
    return true;
  }
  return false;
}

strand_held *strand_held_of (const strand_held_table *t, const char *topic,
                             int32_t index, size_t *count) {
  strand_held *found;
  *count = 0;
  for (size_t i = 0; i < t->count; i++) {
    if (is_of(&t->entries[i], topic, index)) (*count)++;
  }
  if (*count == 0) return NULL;
  found = malloc(*count * sizeof(*found));
  if (found == NULL) return NULL;
  *count = 0;
  for (size_t i = 0; i < t->count; i++) {
    if (is_of(&t->entries[i], topic, index)) found[(*count)++] = t->entries[i];
  }
  return found;
}

static strand_holder *find (const strand_held_table *t, const char *topic,
                            int32_t index) {
  void *number = strand_places_get(&t->places, topic, index);
  return number != NULL ? &t->holders[(uintptr_t)number - 1] : NULL;
}

static strand_holder *add_holder (strand_held_table *t, const char *topic,
                                  int32_t index) {
  strand_holder *h;
  char *copy;
  if (t->holder_count == t->holder_capacity) {
    size_t capacity = t->holder_capacity == 0 ? 16 : t->holder_capacity * 2;
    h = realloc(t->holders, capacity * sizeof(*h));
    if (h == NULL) return NULL;
    t->holders = h;
    t->holder_capacity = capacity;
  }
  if (strand_places_room(&t->places) != STRAND_OK) return NULL;
  copy = copy_of(topic, strlen(topic));
  if (copy == NULL) return NULL;
  h = &t->holders[t->holder_count++];
  strand_places_put(&t->places, copy, index,
                    (void *)(uintptr_t)t->holder_count);
  *h = (strand_holder){ copy, index, 0, 0, 0, false };
  return h;
}

uint32_t strand_held_assign (strand_held_table *t, const char *topic,
                             int32_t index, unsigned member) {
  strand_holder *h = find(t, topic, index);
  if (h == NULL) h = add_holder(t, topic, index);
  if (h == NULL) return 0;
  h->member = member;
  h->assigned = true;
  h->users++;
  return ++h->epochs;
}

void strand_held_unassign (strand_held_table *t, const char *topic,
                           int32_t index, unsigned member) {
  strand_holder *h = find(t, topic, index);
  if (h == NULL) return;
  if (h->users > 0) h->users--;
  if (h->member == member) h->assigned = false;
}

bool strand_held_contested (const strand_held_table *t, const char *topic,
                            int32_t index) {
  const strand_holder *h = find(t, topic, index);
  return h != NULL && h->users > 1;
}

int strand_held_member (const strand_held_table *t, const char *topic,
                        int32_t index) {
  const strand_holder *h = find(t, topic, index);
  return h != NULL && h->assigned ? (int)h->member : -1;
}

#ifndef NDEBUG

void strand_held_check (const strand_held_table *t) {
  for (size_t i = 0; i < t->count; i++) {
    for (size_t k = 0; k < i; k++) {
      assert(!is_same(&t->entries[i], &t->entries[k])); /* (1) */
    }
  }
  for (size_t i = 0; i < t->holder_count; i++) {
    const strand_holder *h = &t->holders[i];
    assert(find(t, h->topic, h->index) == h && h->epochs > 0); /* (2) */
    assert(!h->assigned || h->users > 0);                      /* (3) */
  }
  strand_places_check(&t->places);
}

#endif
