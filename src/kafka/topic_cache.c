/*
** topic_cache.c - see topic_cache.h
*/
#include "kafka/topic_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN 0.1 /* seconds before a failed question is asked again */
#define DOUBT 1.0 /* seconds in which an answer is believed all the same */
#define CHECKED_MOST 64

strand_cached_topic *strand_topic_cache_new (const char *name) {
  strand_cached_topic *t = calloc(1, sizeof(*t) + strlen(name) + 1);
  if (t == NULL) return NULL;
  strcpy(t->name, name);
  t->answered = -STRAND_TOPIC_FRESH;
  return t;
}

void strand_topic_cache_add (strand_topic_cache *cache,
                             strand_cached_topic *t) {
  t->next = cache->first;
  cache->first = t;
}

void strand_topic_cache_free (strand_topic_cache *cache) {
  while (cache->first != NULL) {
    strand_cached_topic *first = cache->first;
    cache->first = first->next;
    free(first);
  }
}

strand_cached_topic *strand_topic_cache_find (const strand_topic_cache *cache,
                                              const char *name) {
  strand_cached_topic *t = cache->first;
  while (t != NULL && strcmp(t->name, name) != 0) t = t->next;
  return t;
}

strand_cached_topic *
strand_topic_cache_asked (const strand_topic_cache *cache) {
  strand_cached_topic *t = cache->first;
  while (t != NULL && !t->asked) t = t->next;
  return t;
}

void strand_cached_topic_answer (strand_cached_topic *t,
                                 rd_kafka_resp_err_t err, int32_t partitions,
                                 double now) {
  t->err = err;
  if (partitions > 0) t->partitions = partitions; /* else the old number */
  t->asked = false;
  t->answered = now;
}

bool strand_cached_topic_is_stale (const strand_cached_topic *t, double now) {
  double fresh = t->partitions > 0 ? STRAND_TOPIC_FRESH : AGAIN;
  return !t->asked && now - t->answered > fresh;
}

bool strand_cached_topic_is_doubtful (const strand_cached_topic *t,
                                      double now) {
  return !t->asked && now - t->answered > DOUBT;
}

void strand_cached_topic_fail (const strand_cached_topic *t,
                               strand_failure *failure) {
  if (t->err == RD_KAFKA_RESP_ERR_NO_ERROR)
    strand_fail(failure, "NO_METADATA",
                "topic '%s': its number of "
                "partitions is not known yet",
                t->name);
  else
    strand_fail(failure, "NO_METADATA",
                "topic '%s': its number of "
                "partitions is not known: %s",
                t->name, rd_kafka_err2str(t->err));
}

void strand_topic_cache_check (const strand_topic_cache *cache) {
  const strand_cached_topic *t = cache->first;
  for (int i = 0; t != NULL && i < CHECKED_MOST; i++, t = t->next) {
    assert(strand_topic_cache_find(cache, t->name) == t);           /* (1) */
    assert(t->partitions >= 0);                                     /* (2) */
    if (t->answered < 0) assert(t->partitions == 0 && t->err == 0); /* (3) */
  }
}
