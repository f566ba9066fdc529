/*
** topic_cache.c - see topic_cache.h
*/
#include "kafka/topic_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN 0.1      /* seconds before a failed question is asked again */
#define AGAIN_MOST 1.0 /* twice as long each time, up to this */
#define TRUSTED 1.0 /* seconds in which an answer is believed all the same */
#define LIMIT_TRUSTED 10.0 /* the same of a limit, which seldom changes */
#define CHECKED_MOST 64

strand_cached_topic *strand_topic_cache_new (const char *name,
                                             strand_topic_place *place,
                                             rd_kafka_topic_t *handle) {
  strand_cached_topic *t = calloc(1, sizeof(*t) + strlen(name) + 1);
  if (t == NULL) return NULL;
  strcpy(t->name, name);
  t->place = place;
  t->handle = handle;
  t->answer.answered = -STRAND_TOPIC_FRESH;
  t->wait = AGAIN;
  return t;
}

static strand_cached_topic **bucket_of (strand_topic_cache *cache,
                                        const char *name) {
  uint32_t hash = strand_murmur2(name, strlen(name));
  return &cache->buckets[hash % STRAND_TOPIC_BUCKETS];
}

void strand_topic_cache_add (strand_topic_cache *cache,
                             strand_cached_topic *t) {
  strand_cached_topic **bucket = bucket_of(cache, t->name);
  t->index = cache->count++;
  t->same_bucket = *bucket;
  *bucket = t;
  t->next = cache->first;
  cache->first = t;
}

void strand_topic_cache_free (strand_topic_cache *cache) {
  while (cache->first != NULL) {
    strand_cached_topic *first = cache->first;
    cache->first = first->next;
    if (first->handle != NULL) rd_kafka_topic_destroy(first->handle);
    free(first);
  }
  memset(cache, 0, sizeof(*cache));
}

/* Records often go to the topic of the one before. */
strand_cached_topic *strand_topic_cache_find (strand_topic_cache *cache,
                                              const char *name) {
  strand_cached_topic *t = cache->found;
  if (t != NULL && strcmp(t->name, name) == 0) return t;
  t = *bucket_of(cache, name);
  while (t != NULL && strcmp(t->name, name) != 0) t = t->same_bucket;
  if (t != NULL) cache->found = t;
  return t;
}

strand_cached_topic *
strand_topic_cache_asked (const strand_topic_cache *cache) {
  strand_cached_topic *t = cache->first;
  while (t != NULL && !t->asked) t = t->next;
  return t;
}

strand_cached_topic *strand_topic_cache_due (const strand_topic_cache *cache,
                                             double now, double *due) {
  *due = 0;
  for (strand_cached_topic *t = cache->first; t != NULL; t = t->next) {
    if (t->asked || (t->due > 0 && t->due <= now)) return t;
    if (t->due > 0 && (*due == 0 || t->due < *due)) *due = t->due;
  }
  return NULL;
}

strand_cached_topic *
strand_topic_cache_limit_asked (const strand_topic_cache *cache) {
  strand_cached_topic *t = cache->first;
  while (t != NULL && !t->limit_asked) t = t->next;
  return t;
}

void strand_cached_topic_ask (strand_cached_topic *t, double now) {
  t->asked = true;
  t->wanted = now;
  t->wait = AGAIN;
}

bool strand_cached_topic_want (strand_cached_topic *t, int32_t partitions,
                               double now) {
  double soonest;
  t->wanted = now;
  if (partitions > t->at_least) {
    t->at_least = partitions;
    t->wait = AGAIN;
  }
  soonest = t->answer.answered + t->wait;
  if (soonest < now) soonest = now;
  if (t->asked || (t->due > 0 && t->due <= soonest)) return false;
  t->due = soonest;
  return true;
}

/* It is asked for again then; 0: never. */
static double reschedule (strand_cached_topic *t, bool known, double now,
                          double refresh) {
  double wait = t->wait;
  bool enough = known && t->answer.partitions >= t->at_least;
  if (!enough && now < t->wanted + STRAND_TOPIC_WANTED) {
    t->wait = 2 * wait < AGAIN_MOST ? 2 * wait : AGAIN_MOST;
    return now + wait;
  }
  t->wait = AGAIN;
  t->at_least = 0;
  return known && refresh > 0 ? now + refresh : 0;
}

void strand_cached_topic_answer (strand_cached_topic *t,
                                 rd_kafka_resp_err_t err, int32_t partitions,
                                 double now, double refresh) {
  bool known = err == RD_KAFKA_RESP_ERR_NO_ERROR && partitions > 0;
  if (known) strand_topic_place_note(t->place, partitions); /* else the old */
  t->answer.err = err;
  t->answer.partitions = known ? partitions : 0;
  t->answer.answered = now;
  t->asked = false;
  t->due = reschedule(t, known, now, refresh);
}

void strand_cached_topic_limit (strand_cached_topic *t, int64_t bytes,
                                double now) {
  t->limit_asked = false;
  t->limit_at = now;
  if (bytes > 0) t->answer.limit = bytes; /* else the old one */
}

bool strand_cached_topic_wants_limit (const strand_cached_topic *t,
                                      bool verify, double now) {
  if (t->limit_asked || strand_topic_place_count(t->place) == 0) return false;
  return t->limit_at == 0 || (verify && now - t->limit_at > LIMIT_TRUSTED);
}

bool strand_cached_topic_is_stale (const strand_cached_topic *t, double now) {
  bool known = strand_topic_place_count(t->place) > 0;
  double fresh = known ? STRAND_TOPIC_FRESH : AGAIN;
  return !t->asked && now - t->answer.answered > fresh;
}

bool strand_cached_topic_may_verify (const strand_cached_topic *t,
                                     double now) {
  return !t->asked && now - t->answer.answered > TRUSTED;
}

void strand_cached_topic_fail (const strand_cached_topic *t,
                               strand_failure *failure) {
  if (t->answer.err == RD_KAFKA_RESP_ERR_NO_ERROR)
    strand_fail(failure, "NO_METADATA",
                "topic '%s': its number of "
                "partitions is not known yet",
                t->name);
  else
    strand_fail(failure, "NO_METADATA",
                "topic '%s': its number of "
                "partitions is not known: %s",
                t->name, rd_kafka_err2str(t->answer.err));
}

void strand_topic_cache_check (const strand_topic_cache *cache) {
  const strand_cached_topic *t = cache->first;
  for (int i = 0; t != NULL && i < CHECKED_MOST; i++, t = t->next) {
    const strand_cached_topic *other = t->next;
    while (other != NULL && strcmp(other->name, t->name) != 0) {
      other = other->next;
    }
    assert(other == NULL);                                     /* (1) */
    assert(strand_topic_place_count(t->place) >= 0);           /* (2) */
    assert(t->answer.partitions >= 0 && t->answer.limit >= 0); /* (2) */
    assert(t->answer.answered >= 0 || t->answer.err == 0);     /* (3) */
    assert(!t->limit_asked
           || strand_topic_place_count(t->place) > 0); /* (4) */
  }
}
