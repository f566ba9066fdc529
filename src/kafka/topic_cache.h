/*
** topic_cache.h - what is known of topics: how many partitions, which limits
**
** A topic is asked for when it is wanted first, then as often as librdkafka
** itself does (topic.metadata.refresh.interval.ms), and when something turns
** out to be wrong. What failed is asked again with back-off, for as long as
** somebody has wanted it lately.
**
** The number of partitions is one for all: it is at the topic's place
** (placement.h), where librdkafka's callback notes what it sees, and answers
** do. An answer reaches librdkafka before it comes here.
**
** Invariants:
**   (1) A topic stands here once, and stays: whoever asks keeps pointers.
**   (2) No number is below 0; 0 is one that is not known.
**   (3) What was never asked for has no error.
**   (4) A limit is asked for only of a topic whose partitions are known.
**
** Thread: lua adds and finds; the rest under the lock of who has the cache.
*/
#ifndef STRAND_TOPIC_CACHE_H
#define STRAND_TOPIC_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "kafka/placement.h"

#define STRAND_TOPIC_FRESH 60.0  /* seconds */
#define STRAND_TOPIC_WANTED 60.0 /* seconds that a want lasts */

/* What the brokers have said last. */
typedef struct strand_topic_facts {
  double answered;         /* when, by strand_clock_now; below 0: never */
  rd_kafka_resp_err_t err; /* of the question for its partitions */
  int32_t partitions;      /* that the answer named; 0: none */
  int64_t limit;           /* its max.message.bytes; 0: not known */
} strand_topic_facts;

typedef struct strand_cached_topic {
  struct strand_cached_topic *next;
  struct strand_cached_topic *same_bucket; /* of lua */
  size_t index;                            /* 0, 1, ... in the order added */
  strand_topic_place *place;               /* owned by the placement */
  rd_kafka_topic_t *handle;                /* owned; its opaque is 'place' */
  strand_topic_facts answer;               /* the lock, from here on */
  bool asked;                              /* not answered yet */
  bool limit_asked;
  double limit_at;  /* when that was answered, well or not; 0: never */
  double due;       /* asked by itself then; 0: not */
  double wait;      /* until it is asked again, after a failure */
  double wanted;    /* when it was last, */
  int32_t at_least; /* and with how many partitions */
  char name[];
} strand_cached_topic;

#define STRAND_TOPIC_BUCKETS 256

/* All 0: empty. */
typedef struct strand_topic_cache {
  strand_cached_topic *first; /* the newest */
  size_t count;
  strand_cached_topic *found; /* the last one; of lua, as the next */
  strand_cached_topic *buckets[STRAND_TOPIC_BUCKETS];
} strand_topic_cache;

/* Not in a cache yet; takes 'handle', and borrows 'place'. NULL when memory
** runs out: nothing is taken. */
strand_cached_topic *strand_topic_cache_new (const char *name,
                                             strand_topic_place *place,
                                             rd_kafka_topic_t *handle);
/* Under the lock. */
void strand_topic_cache_add (strand_topic_cache *cache,
                             strand_cached_topic *topic);
void strand_topic_cache_free (strand_topic_cache *cache);

/* NULL: it is not there. Without the lock. */
strand_cached_topic *strand_topic_cache_find (strand_topic_cache *cache,
                                              const char *name);
/* One that waits for its answer; NULL: none does. */
strand_cached_topic *
strand_topic_cache_asked (const strand_topic_cache *cache);
/* The same, or one that is due. NULL: none; then '*due' is when the next one
** is, 0 for never. */
strand_cached_topic *strand_topic_cache_due (const strand_topic_cache *cache,
                                             double now, double *due);
/* One whose limit is asked for. */
strand_cached_topic *
strand_topic_cache_limit_asked (const strand_topic_cache *cache);

/* It is asked for, and goes on being after a failure. */
void strand_cached_topic_ask (strand_cached_topic *topic, double now);
/* The same, in its turn after the last answer, until it has so many
** partitions. True: it is due sooner than it was. */
bool strand_cached_topic_want (strand_cached_topic *topic, int32_t partitions,
                               double now);
/* 'partitions' is 0 when that is not known; 'refresh': seconds until it is
** asked for again, 0 for never. */
void strand_cached_topic_answer (strand_cached_topic *topic,
                                 rd_kafka_resp_err_t err, int32_t partitions,
                                 double now, double refresh);
/* 'bytes' is 0 where nobody says. */
void strand_cached_topic_limit (strand_cached_topic *topic, int64_t bytes,
                                double now);
/* It has not been answered; or it is to be verified, and was not lately. */
bool strand_cached_topic_wants_limit (const strand_cached_topic *topic,
                                      bool verify, double now);
/* Asked for again: when it is old, */
bool strand_cached_topic_is_stale (const strand_cached_topic *topic,
                                   double now);
/* or turned out to be wrong, and is not quite new. */
bool strand_cached_topic_may_verify (const strand_cached_topic *topic,
                                     double now);
/* Its number is not known. */
void strand_cached_topic_fail (const strand_cached_topic *topic,
                               strand_failure *failure);

/* After a change, in debug builds. */
void strand_topic_cache_check (const strand_topic_cache *cache);

#endif
