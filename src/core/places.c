#include "core/places.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 16

/* FNV-1a; the partitions of a topic then lie side by side. */
static uint32_t hash_of (const char *topic, int32_t index) {
  uint32_t hash = 2166136261u;
  for (; *topic != '\0'; topic++) {
    hash = (hash ^ (unsigned char)*topic) * 16777619u;
  }
  return (hash ^ hash >> 15) + (uint32_t)index;
}

static bool is_it (const strand_place_entry *e, uint32_t hash,
                   const char *topic, int32_t index) {
  return e->hash == hash && e->index == index && strcmp(e->topic, topic) == 0;
}

static size_t find (const strand_places *t, const char *topic, int32_t index) {
  uint32_t hash = hash_of(topic, index);
  size_t mask = t->size - 1, i = hash & mask;
  while (t->entries[i].topic != NULL
         && !is_it(&t->entries[i], hash, topic, index))
    i = (i + 1) & mask;
  return i;
}

static void put_in (strand_places *t, const strand_place_entry *e) {
  size_t mask = t->size - 1, i = e->hash & mask;
  while (t->entries[i].topic != NULL) i = (i + 1) & mask;
  t->entries[i] = *e;
}

void strand_places_free (strand_places *t) {
  free(t->entries);
  *t = (strand_places){ 0 };
}

size_t strand_places_lacks (const strand_places *t) {
  if ((t->count + 1) * 2 <= t->size) return 0;
  return t->size == 0 ? SIZE_MIN : t->size * 2;
}

bool strand_places_spare_make (strand_places_spare *spare, size_t lacks) {
  if (lacks == 0) return true;
  free(spare->entries);
  spare->entries = calloc(lacks, sizeof(*spare->entries));
  spare->size = lacks;
  return spare->entries != NULL;
}

void strand_places_spare_free (strand_places_spare *spare) {
  free(spare->entries);
}

/* What it had is no room for more. */
bool strand_places_fit (strand_places *t, strand_places_spare *spare) {
  size_t lacks = strand_places_lacks(t);
  strand_places was = *t;
  if (lacks == 0) return true;
  if (lacks != spare->size || spare->entries == NULL) return false;
  t->entries = spare->entries;
  t->size = spare->size;
  for (size_t i = 0; i < was.size; i++) {
    if (was.entries[i].topic != NULL) put_in(t, &was.entries[i]);
  }
  *spare = (strand_places_spare){ .entries = was.entries };
  return true;
}

strand_err strand_places_room (strand_places *t) {
  strand_places_spare spare = { 0 };
  bool room = strand_places_spare_make(&spare, strand_places_lacks(t))
              && strand_places_fit(t, &spare);
  strand_places_spare_free(&spare);
  return room ? STRAND_OK : STRAND_ENOMEM;
}

void strand_places_put (strand_places *t, const char *topic, int32_t index,
                        void *value) {
  strand_place_entry e = { topic, value, hash_of(topic, index), index };
  assert((t->count + 1) * 2 <= t->size && value != NULL);
  put_in(t, &e);
  t->count++;
}

void *strand_places_get (const strand_places *t, const char *topic,
                         int32_t index) {
  if (t->count == 0) return NULL;
  return t->entries[find(t, topic, index)].value; /* of a free one: NULL */
}

/* What follows moves up, so that no probe ends too early. */
static void close_up (strand_places *t, size_t hole) {
  size_t mask = t->size - 1;
  for (size_t i = (hole + 1) & mask; t->entries[i].topic != NULL;
       i = (i + 1) & mask) {
    if (((i - t->entries[i].hash) & mask) < ((i - hole) & mask)) continue;
    t->entries[hole] = t->entries[i];
    hole = i;
  }
  t->entries[hole] = (strand_place_entry){ 0 };
}

void strand_places_take (strand_places *t, const char *topic, int32_t index,
                         const void *value) {
  size_t mask = t->size - 1, i;
  if (t->count == 0) return;
  i = hash_of(topic, index) & mask;
  while (t->entries[i].topic != NULL && t->entries[i].value != value) {
    i = (i + 1) & mask;
  }
  if (t->entries[i].topic == NULL) return;
  close_up(t, i);
  t->count--;
}

void strand_places_check (const strand_places *t) {
  size_t count = 0, mask = t->size - 1;
  for (size_t i = 0; i < t->size; i++) {
    const strand_place_entry *e = &t->entries[i];
    if (e->topic == NULL) continue;
    count++;
    assert(e->hash == hash_of(e->topic, e->index) && e->value != NULL);
    for (size_t at = e->hash & mask; at != i; at = (at + 1) & mask) {
      assert(t->entries[at].topic != NULL); /* (2) */
    }
  }
  assert(count == t->count);
  assert(t->count * 2 <= t->size); /* (1) */
}
