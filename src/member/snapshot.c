/*
** snapshot.c - what an owner publishes for others to look at
*/
#include "member/snapshot.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"

void strand_snapshot_init (strand_snapshot *s, const strand_owner *owner,
                           const strand_assignment *assignment) {
  s->owner = owner;
  s->assignment = assignment;
  strand_lock_init(&s->lock, STRAND_RANK_LEAF);
  s->blockers_wanted = STRAND_SNAPSHOT_BLOCKERS;
  s->changed = true;
}

static void release_copy (strand_snapshot_copy *copy) {
  if (copy == NULL || atomic_fetch_sub(&copy->refs, 1) > 1) return;
  free(copy->partitions);
  free(copy->blockers);
  free(copy);
}

void strand_snapshot_free (strand_snapshot *s) {
  release_copy(s->copy);
  for (size_t i = 0; i < s->unfinished.count; i++) {
    free(s->unfinished.places[i].topic);
  }
  free(s->unfinished.places);
  strand_lock_free(&s->lock);
}

void strand_snapshot_change (strand_snapshot *s) {
  s->changed = true;
}

int64_t strand_snapshot_due (const strand_snapshot *s) {
  return s->changed ? s->due_us : INT64_MAX;
}

/*
** Others
*/

void strand_snapshot_take (strand_snapshot *s, strand_published *to) {
  strand_lock_take(&s->lock);
  if (s->copy != NULL) atomic_fetch_add(&s->copy->refs, 1);
  to->stats = s->stats;
  to->at_us = s->published_us;
  to->copy = s->copy;
  to->unfinished = s->stopped ? &s->unfinished : NULL;
  strand_lock_release(&s->lock);
}

void strand_published_release (strand_published *p) {
  release_copy(
    (strand_snapshot_copy *)p->copy); /* its count is not what it shows */
}

bool strand_snapshot_want (strand_snapshot *s, size_t blockers) {
  bool more;
  strand_lock_take(&s->lock);
  more = blockers > s->blockers_wanted;
  if (more) s->blockers_wanted = blockers;
  strand_lock_release(&s->lock);
  return more;
}

/*
** The owner
*/

/* librdkafka learns the end from each fetch, long before it is reached. */
static int64_t end_of (const strand_snapshot *s,
                       const strand_assigned *assigned) {
  int64_t low = -1, high = -1;
  if (s->owner->client == NULL
      || rd_kafka_get_watermark_offsets(
           s->owner->client, strand_partition_topic(assigned->partition),
           strand_partition_index(assigned->partition), &low, &high)
           != 0) {
    return assigned->end;
  }
  return high > assigned->end ? high : assigned->end;
}

static void copy_partition (const strand_snapshot *s,
                            const strand_assigned *assigned,
                            strand_partition_snapshot *v, int64_t now_us) {
  strand_partition_stats_read(s->owner->engine, assigned->partition, now_us,
                              &v->stats);
  snprintf(v->topic, sizeof(v->topic), "%s", v->stats.topic);
  if (assigned->no_route) v->stats.state = "no_route";
  v->stats.topic = NULL; /* a copy's own, set when it is read */
  v->end = end_of(s, assigned);
  v->member = s->owner->index;
}

static void copy_blocker (const strand_partition *p, const strand_record *r,
                          strand_blocker *b, int64_t now_us) {
  const char *reason = strand_record_reason(r, &b->reason_length);
  snprintf(b->topic, sizeof(b->topic), "%s", strand_partition_topic(p));
  b->partition = strand_partition_index(p);
  b->offset = r->offset;
  b->has_key = (r->flags & STRAND_RECORD_KEY) != 0;
  b->key_length = r->key_length < sizeof(b->key) ? r->key_length
                                                 : sizeof(b->key);
  memcpy(b->key, strand_record_key(r), b->key_length);
  b->age = (double)((uint32_t)(now_us / 1000) - r->polled_ms) / 1000;
  b->attempts = r->attempt - 1u;
  b->state = strand_record_state(r);
  if (reason != NULL) memcpy(b->reason, reason, b->reason_length);
}

/* The lowest records that are not done, in turn of their partitions. */
static void copy_blockers (const strand_snapshot *s, strand_snapshot_copy *v,
                           size_t most, int64_t now_us) {
  const strand_record **next = calloc(s->assignment->count + 1, sizeof(*next));
  bool some = true;
  v->blockers = malloc(most * sizeof(*v->blockers));
  if (next == NULL || v->blockers == NULL) some = false;
  for (size_t i = 0; some && i < s->assignment->count; i++) {
    if (s->assignment->partitions[i]->partition == NULL) continue;
    next[i] = strand_partition_next(s->assignment->partitions[i]->partition,
                                    NULL);
  }
  while (some && v->blocker_count < most) {
    some = false;
    for (size_t i = 0; i < s->assignment->count && v->blocker_count < most;
         i++) {
      const strand_partition *p = s->assignment->partitions[i]->partition;
      if (next[i] == NULL) continue;
      copy_blocker(p, next[i], &v->blockers[v->blocker_count++], now_us);
      next[i] = strand_partition_next(p, next[i]);
      some = true;
    }
  }
  free(next);
}

static void copy_partitions (const strand_snapshot *s, strand_snapshot_copy *v,
                             int64_t now_us) {
  v->partitions = malloc((s->assignment->count + 1) * sizeof(*v->partitions));
  if (v->partitions == NULL) return;
  for (size_t i = 0; i < s->assignment->count; i++) {
    if (s->assignment->partitions[i]->partition == NULL) continue;
    copy_partition(s, s->assignment->partitions[i],
                   &v->partitions[v->partition_count++], now_us);
  }
}

/* Ends move by themselves, and of a partition that is left unread nothing else
** does: its lag would be told as it once was. */
static bool ends_moved (const strand_snapshot *s) {
  size_t n = 0;
  if (s->copy == NULL) return true;
  for (size_t i = 0; i < s->assignment->count; i++) {
    if (s->assignment->partitions[i]->partition == NULL) continue;
    if (n == s->copy->partition_count
        || s->copy->partitions[n++].end
             != end_of(s, s->assignment->partitions[i]))
      return true;
  }
  return false;
}

/* NULL when memory runs out. */
static strand_snapshot_copy *new_copy (const strand_snapshot *s,
                                       size_t blockers, int64_t now_us) {
  strand_snapshot_copy *copy = calloc(1, sizeof(*copy));
  if (copy == NULL) return NULL;
  atomic_init(&copy->refs, 1);
  copy_partitions(s, copy, now_us);
  copy_blockers(s, copy, blockers, now_us);
  return copy;
}

/* Without memory the old copy stays, and soon another is tried: but what the
** engine counts is told. */
static void publish (strand_snapshot *s, int64_t now_us) {
  strand_engine_stats stats;
  strand_snapshot_copy *fresh, *old = NULL;
  size_t most;
  /* also when nothing has changed */
  strand_engine_maintain(s->owner->engine, now_us);
  strand_lock_take(&s->lock);
  most = s->blockers_wanted;
  strand_lock_release(&s->lock);
  if (!s->changed && most == s->blockers_most && !ends_moved(s)) {
    return;
  }
  s->blockers_most = most;
  strand_engine_stats_read(s->owner->engine, &stats);
  fresh = new_copy(s, most, now_us);
  s->changed = fresh == NULL || fresh->partitions == NULL;
  strand_lock_take(&s->lock);
  s->stats = stats;
  s->published_us = now_us;
  if (fresh != NULL) {
    old = s->copy;
    s->copy = fresh;
  }
  strand_lock_release(&s->lock);
  release_copy(old);
}

/* Of thousands of partitions a copy is dear: librdkafka looks for each, one by
** one. So it is made less often then, and the owner goes on with its work. */
void strand_snapshot_publish (strand_snapshot *s, int64_t now_us) {
  int64_t began_us, cost_us;
  if (now_us < s->due_us) return;
  began_us = strand_clock_cpu_us();
  publish(s, now_us);
  cost_us = (strand_clock_cpu_us() - began_us) * STRAND_SNAPSHOT_PART;
  if (cost_us < STRAND_SNAPSHOT_EVERY_US) cost_us = STRAND_SNAPSHOT_EVERY_US;
  if (cost_us > STRAND_SNAPSHOT_LEAST_US) cost_us = STRAND_SNAPSHOT_LEAST_US;
  s->due_us = now_us + cost_us;
}

void strand_snapshot_publish_now (strand_snapshot *s, int64_t now_us) {
  s->changed = true;
  s->due_us = 0;
  strand_snapshot_publish(s, now_us);
}

static void note_unfinished (strand_unfinished *u, const strand_partition *p,
                             const strand_record *r) {
  strand_place *place;
  u->total++;
  if (u->places == NULL || u->count == STRAND_REPORT_UNFINISHED_MAX) return;
  place = &u->places[u->count];
  place->topic = strdup(strand_partition_topic(p));
  if (place->topic == NULL) return;
  place->partition = strand_partition_index(p);
  place->offset = r->offset;
  place->state = strand_record_state(r);
  u->count++;
}

/* 'stopped' is written by this thread alone. */
void strand_snapshot_stop (strand_snapshot *s) {
  strand_unfinished *u = &s->unfinished;
  strand_engine_stats stats;
  if (s->stopped) return;
  u->places = malloc(STRAND_REPORT_UNFINISHED_MAX * sizeof(*u->places));
  for (size_t i = 0; i < s->assignment->count; i++) {
    const strand_partition *p = s->assignment->partitions[i]->partition;
    const strand_record *r = NULL;
    if (p == NULL) continue;
    while ((r = strand_partition_next(p, r)) != NULL) note_unfinished(u, p, r);
  }
  strand_engine_stats_read(s->owner->engine, &stats);
  u->parked = stats.parked;
  strand_lock_take(&s->lock);
  s->stopped = true;
  strand_lock_release(&s->lock);
}

/* By the owner, which alone writes what is read here without the lock. */
void strand_snapshot_check (const strand_snapshot *s) {
  const strand_snapshot_copy *copy = s->copy;
  (void)copy;
  assert(copy == NULL || atomic_load(&copy->refs) >= 1);           /* (1) */
  assert(copy == NULL || copy->blocker_count <= s->blockers_most); /* (2) */
  assert(s->unfinished.count <= STRAND_REPORT_UNFINISHED_MAX);     /* (3) */
  assert(s->unfinished.count <= s->unfinished.total);              /* (3) */
}
