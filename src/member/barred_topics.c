/*
** barred_topics.c - see barred_topics.h
*/
#include "member/barred_topics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Where it stands, or the end of the list. */
static strand_barred_topic **find (strand_barred_topics *b, const char *name) {
  strand_barred_topic **at = &b->first;
  while (*at != NULL && strcmp((*at)->name, name) != 0) at = &(*at)->next;
  return at;
}

static void forget (strand_barred_topics *b, strand_barred_topic **at) {
  strand_barred_topic *t = *at;
  *at = t->next;
  b->count--;
  free(t);
}

static void make_room (strand_barred_topics *b) {
  strand_barred_topic **soonest = &b->first, **at;
  if (b->count < STRAND_BARRED_TOPICS) return;
  for (at = soonest; *at != NULL; at = &(*at)->next)
    if ((*at)->until_us < (*soonest)->until_us) soonest = at;
  forget(b, soonest);
}

static strand_barred_topic *add_new (strand_barred_topics *b,
                                     const char *name) {
  strand_barred_topic *t = malloc(sizeof(*t) + strlen(name) + 1);
  if (t == NULL) return NULL;
  make_room(b);
  strcpy(t->name, name);
  t->until_us = 0;
  t->wait_us = STRAND_BARRED_FIRST_US;
  t->next = b->first;
  b->first = t;
  b->count++;
  return t;
}

/* Once for all records that were refused together. */
void strand_barred_topics_add (strand_barred_topics *b, const char *name,
                               int64_t now_us) {
  strand_barred_topic *t = *find(b, name);
  if (t == NULL) t = add_new(b, name);
  if (t == NULL || now_us < t->until_us) return;
  t->until_us = now_us + t->wait_us;
  t->wait_us *= 2;
  if (t->wait_us > STRAND_BARRED_MOST_US) t->wait_us = STRAND_BARRED_MOST_US;
}

bool strand_barred_topics_has (const strand_barred_topics *b, const char *name,
                               int64_t now_us) {
  const strand_barred_topic *t = b->first;
  while (t != NULL && strcmp(t->name, name) != 0) t = t->next;
  return t != NULL && now_us < t->until_us;
}

void strand_barred_topics_remove (strand_barred_topics *b, const char *name) {
  strand_barred_topic **at = find(b, name);
  if (*at != NULL) forget(b, at);
}

void strand_barred_topics_free (strand_barred_topics *b) {
  while (b->first != NULL) forget(b, &b->first);
}

void strand_barred_topics_check (const strand_barred_topics *b) {
  size_t count = 0;
  for (const strand_barred_topic *t = b->first; t != NULL; t = t->next) {
    const strand_barred_topic *other = t->next;
    while (other != NULL && strcmp(other->name, t->name) != 0)
      other = other->next;
    assert(other == NULL); /* (1) */
    count++;
  }
  (void)count;
  assert(count == b->count && count <= STRAND_BARRED_TOPICS); /* (1) */
}
