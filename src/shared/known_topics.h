/*
** known_topics.h - what is known of the topics that handlers produce to
**
**   owners   note what brokers answer, and what librdkafka sees
**   workers  look, and say what they would like to know
**
** A worker raises for what it finds here, and asks nobody: what is not known
** yet is taken. What kept it from a record is asked for again by an owner, in
** its next turn, so that it does not stay true for longer than need be.
**
** Invariants:
**   (1) A topic stands here once, and stays; there are
**       STRAND_KNOWN_TOPICS_MOST of them at most. Of others nothing is known.
**   (2) No number is below 0; 0 is one that is not known.
**
** Thread: any, without a lock; owners add and note. Numbers order nothing.
*/
#ifndef STRAND_KNOWN_TOPICS_H
#define STRAND_KNOWN_TOPICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRAND_KNOWN_TOPICS_MOST 1000
#define STRAND_KNOWN_TOPICS_BUCKETS 256

typedef struct strand_known_topic {
  struct strand_known_topic *next; /* in its bucket; never changes */
  /* owners write */
  atomic_int partitions;
  _Atomic int64_t limit;       /* its max.message.bytes */
  _Atomic int64_t missing_us;  /* since when there is none; 0: there is */
  _Atomic int64_t answered_us; /* when that was asked last */
  /* workers write, owners take */
  atomic_int wanted;  /* so many partitions, at least; 0: none */
  atomic_bool verify; /* the limit */
  size_t length;
  char name[];
} strand_known_topic;

/* All 0: none. */
typedef struct strand_known_topics {
  _Atomic(strand_known_topic *) buckets[STRAND_KNOWN_TOPICS_BUCKETS];
  atomic_size_t count; /* owners add */
  atomic_bool asked;   /* something is wanted, or to be verified */
} strand_known_topics;

/* In debug builds, by an owner after its turn. */
void strand_known_topics_check (const strand_known_topics *topics);
/* Nobody uses them any more. */
void strand_known_topics_free (strand_known_topics *topics);

/* NULL: nothing is known of it. */
strand_known_topic *
strand_known_topics_find (const strand_known_topics *topics, const char *name,
                          size_t length);
/* The same; it is there after this. NULL: there are too many, or memory ran
** out. Thread: owner. */
strand_known_topic *strand_known_topics_add (strand_known_topics *topics,
                                             const char *name);

/* What somebody was told at 'answered_us' (clock.h). 'partitions' and 'limit'
** may be 0: then the old number goes on being known. Thread: owner. */
void strand_known_topic_note (strand_known_topic *topic, int partitions,
                              int64_t limit);
void strand_known_topic_note_missing (strand_known_topic *topic, bool missing,
                                      int64_t answered_us);

static inline int strand_known_topic_partitions (const strand_known_topic *t) {
  return atomic_load_explicit(&t->partitions, memory_order_relaxed);
}
static inline int64_t strand_known_topic_limit (const strand_known_topic *t) {
  return atomic_load_explicit(&t->limit, memory_order_relaxed);
}
/* For so long that it is not one that the broker is about to make. */
bool strand_known_topic_is_missing (const strand_known_topic *topic);

/* It is to be asked for, until it has so many partitions. */
void strand_known_topics_want (strand_known_topics *topics,
                               strand_known_topic *topic, int partitions);
void strand_known_topics_verify (strand_known_topics *topics,
                                 strand_known_topic *topic);
/* Something was, since this was asked last. Thread: owner, as the next. */
bool strand_known_topics_take_asked (strand_known_topics *topics);
/* 0: nothing is wanted of it. */
int strand_known_topic_take_wanted (strand_known_topic *topic);
bool strand_known_topic_take_verify (strand_known_topic *topic);

#endif
