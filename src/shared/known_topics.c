/*
** known_topics.c - see known_topics.h
*/
#include "shared/known_topics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/siphash.h"

#define CHECKED_MOST 64   /* of a thousand, at each turn */
#define MISSING_US 500000 /* a topic that the broker makes is there by then */

/* There are few enough that nobody gains by making their hashes collide. */
static size_t bucket_of (const char *name, size_t length) {
  static const uint64_t seed[2] = { 0, 0 };
  return (size_t)(strand_siphash(seed, name, length)
                  % STRAND_KNOWN_TOPICS_BUCKETS);
}

void strand_known_topics_free (strand_known_topics *topics) {
  for (size_t i = 0; i < STRAND_KNOWN_TOPICS_BUCKETS; i++) {
    strand_known_topic *t = atomic_load(&topics->buckets[i]);
    while (t != NULL) {
      strand_known_topic *next = t->next;
      free(t);
      t = next;
    }
    atomic_store(&topics->buckets[i], NULL);
  }
}

static strand_known_topic *find_from (strand_known_topic *t, const char *name,
                                      size_t length) {
  while (t != NULL
         && (t->length != length || memcmp(t->name, name, length) != 0))
    t = t->next;
  return t;
}

strand_known_topic *
strand_known_topics_find (const strand_known_topics *topics, const char *name,
                          size_t length) {
  size_t bucket = bucket_of(name, length);
  return find_from(
    atomic_load_explicit(&topics->buckets[bucket], memory_order_acquire), name,
    length);
}

static strand_known_topic *new_topic (const char *name, size_t length) {
  strand_known_topic *t = calloc(1, sizeof(*t) + length + 1);
  if (t == NULL) return NULL;
  t->length = length;
  memcpy(t->name, name, length + 1);
  return t;
}

/* False: there are too many. */
static bool count_one (strand_known_topics *topics) {
  if (atomic_fetch_add(&topics->count, 1) < STRAND_KNOWN_TOPICS_MOST)
    return true;
  atomic_fetch_sub(&topics->count, 1);
  return false;
}

/* Another owner may have added it meanwhile. */
strand_known_topic *strand_known_topics_add (strand_known_topics *topics,
                                             const char *name) {
  size_t length = strlen(name), bucket = bucket_of(name, length);
  strand_known_topic *head = atomic_load(&topics->buckets[bucket]);
  strand_known_topic *t, *found = find_from(head, name, length);
  if (found != NULL || !count_one(topics)) return found;
  t = new_topic(name, length);
  while (t != NULL && found == NULL) {
    t->next = head;
    if (atomic_compare_exchange_strong(&topics->buckets[bucket], &head, t))
      return t;
    found = find_from(head, name, length);
  }
  free(t);
  atomic_fetch_sub(&topics->count, 1);
  return found;
}

static void check_topic (const strand_known_topic *t) {
  (void)t;
  assert(find_from(t->next, t->name, t->length) == NULL); /* (1) */
  assert(atomic_load(&t->partitions) >= 0);               /* (2) */
  assert(atomic_load(&t->limit) >= 0);                    /* (2) */
  assert(atomic_load(&t->wanted) >= 0);                   /* (2) */
}

/* One that is added meanwhile was counted before, and may be seen or not. */
void strand_known_topics_check (const strand_known_topics *topics) {
  size_t seen = 0;
  for (size_t i = 0; i < STRAND_KNOWN_TOPICS_BUCKETS; i++) {
    const strand_known_topic *t = atomic_load(&topics->buckets[i]);
    for (; t != NULL && seen <= STRAND_KNOWN_TOPICS_MOST; t = t->next) {
      if (seen++ < CHECKED_MOST) check_topic(t);
    }
  }
  assert(seen <= STRAND_KNOWN_TOPICS_MOST);    /* (1) */
  assert(seen <= atomic_load(&topics->count)); /* (1) */
}

/*
** What is known
*/

void strand_known_topic_note (strand_known_topic *t, int partitions,
                              int64_t limit) {
  assert(partitions >= 0 && limit >= 0);
  if (partitions > 0) {
    atomic_store_explicit(&t->partitions, partitions, memory_order_relaxed);
  }
  if (limit > 0) {
    atomic_store_explicit(&t->limit, limit, memory_order_relaxed);
  }
}

/* An older answer, which another member got, says nothing any more. */
void strand_known_topic_note_missing (strand_known_topic *t, bool missing,
                                      int64_t answered_us) {
  if (answered_us <= atomic_load(&t->answered_us)) return;
  atomic_store(&t->answered_us, answered_us);
  if (!missing) atomic_store(&t->missing_us, 0);
  else if (atomic_load(&t->missing_us) == 0)
    atomic_store(&t->missing_us, answered_us);
}

bool strand_known_topic_is_missing (const strand_known_topic *t) {
  int64_t since_us = atomic_load_explicit(&t->missing_us,
                                          memory_order_relaxed);
  return since_us != 0 && strand_clock_us() - since_us >= MISSING_US;
}

/*
** What is asked
*/

void strand_known_topics_want (strand_known_topics *topics,
                               strand_known_topic *t, int partitions) {
  int before = atomic_load_explicit(&t->wanted, memory_order_relaxed);
  while (before < partitions
         && !atomic_compare_exchange_weak(&t->wanted, &before, partitions))
    continue;
  atomic_store(&topics->asked, true);
}

void strand_known_topics_verify (strand_known_topics *topics,
                                 strand_known_topic *t) {
  atomic_store(&t->verify, true);
  atomic_store(&topics->asked, true);
}

bool strand_known_topics_take_asked (strand_known_topics *topics) {
  if (!atomic_load_explicit(&topics->asked, memory_order_relaxed)) {
    return false;
  }
  return atomic_exchange(&topics->asked, false);
}

int strand_known_topic_take_wanted (strand_known_topic *t) {
  return atomic_exchange(&t->wanted, 0);
}

bool strand_known_topic_take_verify (strand_known_topic *t) {
  return atomic_exchange(&t->verify, false);
}
