/*
** topic_cache.h - how many partitions topics have, as far as it is known
**
** A number is asked for when it is wanted first, again when it is older than
** a minute, and when it turns out to be wrong; the old one holds meanwhile.
**
** Invariants:
**   (1) A topic stands here once, and stays: whoever asks keeps pointers.
**   (2) No number is below 0; 0 is one that is not known.
**   (3) What was never asked for has neither a number nor an error.
**
** Thread: any, under the lock of who has the cache.
*/
#ifndef STRAND_TOPIC_CACHE_H
#define STRAND_TOPIC_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"

#define STRAND_TOPIC_FRESH 60.0 /* seconds */

typedef struct strand_cached_topic {
  struct strand_cached_topic *next;
  int32_t partitions; /* 0: not known */
  bool asked;         /* not answered yet */
  double answered;    /* when, by strand_clock_now */
  rd_kafka_resp_err_t err;
  char name[];
} strand_cached_topic;

/* All 0: empty. */
typedef struct strand_topic_cache {
  strand_cached_topic *first;
} strand_topic_cache;

/* Not in a cache yet; NULL when memory runs out. */
strand_cached_topic *strand_topic_cache_new (const char *name);
void strand_topic_cache_add (strand_topic_cache *cache,
                             strand_cached_topic *topic);
void strand_topic_cache_free (strand_topic_cache *cache);

/* NULL: it is not there. */
strand_cached_topic *strand_topic_cache_find (const strand_topic_cache *cache,
                                              const char *name);
/* One that waits for its answer; NULL: none does. */
strand_cached_topic *
strand_topic_cache_asked (const strand_topic_cache *cache);

/* It was asked for; 'partitions' is 0 when that is not known. */
void strand_cached_topic_answer (strand_cached_topic *topic,
                                 rd_kafka_resp_err_t err, int32_t partitions,
                                 double now);
/* Asked for again: when it is old, */
bool strand_cached_topic_is_stale (const strand_cached_topic *topic,
                                   double now);
/* or turned out to be wrong, and is not quite new. */
bool strand_cached_topic_is_doubtful (const strand_cached_topic *topic,
                                      double now);
/* Its number is not known. */
void strand_cached_topic_fail (const strand_cached_topic *topic,
                               strand_failure *failure);

/* After a change, in debug builds. */
void strand_topic_cache_check (const strand_topic_cache *cache);

#endif
