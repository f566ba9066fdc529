/*
** view.c - the snapshot that an owner publishes for others to look at
*/
#include <stdlib.h>

#include "kafka/clock.h"
#include "kafka/member.h"

void strand_view_clear (strand_view *view) {
  free(view->partitions);
  free(view->blockers);
  for (size_t i = 0; i < view->unfinished_count; i++) {
    free(view->unfinished[i].topic);
  }
  free(view->unfinished);
  *view = (strand_view){ 0 };
}

/* librdkafka learns the end from each fetch, long before it is reached. */
static int64_t end_of (const strand_member *m, const strand_tag *tag) {
  int64_t low = -1, high = -1;
  if (m->client == NULL
      || rd_kafka_get_watermark_offsets(
           m->client, strand_partition_topic(tag->partition),
           strand_partition_index(tag->partition), &low, &high)
           != 0) {
    return tag->end;
  }
  return high > tag->end ? high : tag->end;
}

static void view_partition (const strand_member *m, const strand_tag *tag,
                            strand_partition_view *v, int64_t now_us) {
  strand_partition_stats_read(m->engine, tag->partition, now_us, &v->stats);
  snprintf(v->topic, sizeof(v->topic), "%s", v->stats.topic);
  if (tag->no_route) v->stats.state = "no_route";
  v->stats.topic = NULL; /* a copy's own, set when it is read */
  v->end = end_of(m, tag);
  v->member = m->index;
}

static void view_blocker (const strand_record *r, strand_blocker *b,
                          int64_t now_us) {
  const strand_partition *p = strand_record_partition(r);
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
static void view_blockers (const strand_member *m, strand_view *v, size_t most,
                           int64_t now_us) {
  const strand_record **next = calloc(m->tag_count + 1, sizeof(*next));
  bool some = true;
  v->blockers = malloc(most * sizeof(*v->blockers));
  if (next == NULL || v->blockers == NULL) some = false;
  for (size_t i = 0; some && i < m->tag_count; i++) {
    if (m->tags[i]->partition == NULL) continue;
    next[i] = strand_partition_next(m->tags[i]->partition, NULL);
  }
  while (some && v->blocker_count < most) {
    some = false;
    for (size_t i = 0; i < m->tag_count && v->blocker_count < most; i++) {
      if (next[i] == NULL) continue;
      view_blocker(next[i], &v->blockers[v->blocker_count++], now_us);
      next[i] = strand_partition_next(m->tags[i]->partition, next[i]);
      some = true;
    }
  }
  free(next);
}

static void view_partitions (const strand_member *m, strand_view *v,
                             int64_t now_us) {
  v->partitions = malloc((m->tag_count + 1) * sizeof(*v->partitions));
  if (v->partitions == NULL) return;
  for (size_t i = 0; i < m->tag_count; i++) {
    if (m->tags[i]->partition == NULL) continue;
    view_partition(m, m->tags[i], &v->partitions[v->partition_count++],
                   now_us);
  }
}

/* Ends move by themselves, and of a partition that is left unread nothing else
** does: its lag would be told as it once was. */
static bool ends_moved (const strand_member *m) {
  size_t n = 0;
  for (size_t i = 0; i < m->tag_count; i++) {
    if (m->tags[i]->partition == NULL) continue;
    if (n == m->view.partition_count
        || m->view.partitions[n++].end != end_of(m, m->tags[i]))
      return true;
  }
  return false;
}

static void publish (strand_member *m, int64_t now_us) {
  strand_consumer *c = m->consumer;
  strand_view fresh = { 0 }, old;
  size_t most;
  strand_engine_look(m->engine, now_us); /* also when nothing has changed */
  pthread_mutex_lock(&c->lock);
  most = m->blockers_wanted;
  pthread_mutex_unlock(&c->lock);
  if (!m->changed && most == m->blockers_most && !ends_moved(m)) return;
  m->blockers_most = most;
  strand_engine_stats_read(m->engine, &fresh.engine);
  view_partitions(m, &fresh, now_us);
  view_blockers(m, &fresh, most, now_us);
  m->changed = fresh.partitions == NULL; /* without memory: soon again */
  fresh.published_us = now_us;
  pthread_mutex_lock(&c->lock);
  old = m->view;
  fresh.unfinished = old.unfinished;
  fresh.unfinished_count = old.unfinished_count;
  fresh.unfinished_total = old.unfinished_total;
  fresh.unfinished_parked = old.unfinished_parked;
  fresh.stopped = old.stopped;
  old.unfinished = NULL;
  old.unfinished_count = 0;
  m->view = fresh;
  pthread_mutex_unlock(&c->lock);
  strand_view_clear(&old);
}

/* Of thousands of partitions a view is dear: librdkafka looks for each, one by
** one. So it is made less often then, and the owner goes on with its work. */
void strand_view_publish (strand_member *m, int64_t now_us) {
  int64_t began_us, cost_us;
  if (now_us < m->next_view_us) return;
  began_us = strand_clock_cpu_us();
  publish(m, now_us);
  cost_us = (strand_clock_cpu_us() - began_us) * STRAND_VIEW_PART;
  if (cost_us < STRAND_VIEW_EVERY_US) cost_us = STRAND_VIEW_EVERY_US;
  if (cost_us > STRAND_VIEW_LEAST_US) cost_us = STRAND_VIEW_LEAST_US;
  m->next_view_us = now_us + cost_us;
}

/* What the report calls unfinished: once, when the member stops. */
void strand_view_unfinished (strand_member *m) {
  strand_consumer *c = m->consumer;
  strand_place *places;
  size_t count = 0;
  uint64_t total = 0;
  strand_engine_stats stats;
  if (m->unfinished_told) return;
  m->unfinished_told = true;
  places = malloc(STRAND_REPORT_UNFINISHED_MAX * sizeof(*places));
  for (size_t i = 0; i < m->tag_count; i++) {
    const strand_partition *p = m->tags[i]->partition;
    const strand_record *r = NULL;
    if (p == NULL) continue;
    while ((r = strand_partition_next(p, r)) != NULL) {
      total++;
      if (places == NULL || count == STRAND_REPORT_UNFINISHED_MAX) continue;
      places[count].topic = strdup(strand_partition_topic(p));
      if (places[count].topic == NULL) continue;
      places[count].partition = strand_partition_index(p);
      places[count].offset = r->offset;
      places[count++].state = strand_record_state(r);
    }
  }
  strand_engine_stats_read(m->engine, &stats);
  pthread_mutex_lock(&c->lock);
  m->view.stopped = true;
  m->view.unfinished_parked = stats.parked;
  m->view.unfinished = places;
  m->view.unfinished_count = count;
  m->view.unfinished_total = total;
  pthread_mutex_unlock(&c->lock);
}
