#include "core/engine.h"

#include <assert.h>
#include <stdlib.h>

#include "core/state.h"

strand_engine *strand_engine_new (const strand_engine_config *config) {
  strand_engine *e = calloc(1, sizeof(*e));
  if (e == NULL) return NULL;
  e->config = *config;
  e->metadata.limit = config->max_metadata;
  e->random = config->seed[0] ^ config->seed[1] ^ UINT64_C(0x9e3779b97f4a7c15);
  if (e->random == 0) e->random = 1;
  strand_list_init(&e->partitions);
  strand_list_init(&e->gone);
  strand_list_init(&e->runnable);
  if (strand_throttles_new(e)) return e;
  free(e);
  return NULL;
}

void strand_engine_configure (strand_engine *e,
                              const strand_engine_config *config) {
  bool other = config->max_metadata != e->config.max_metadata;
  e->config.max_metadata = config->max_metadata;
  e->config.max_buffered_records = config->max_buffered_records;
  e->config.max_buffered_bytes = config->max_buffered_bytes;
  e->config.max_waiting_records = config->max_waiting_records;
  e->config.max_waiting_bytes = config->max_waiting_bytes;
  e->config.commit_interval_us = config->commit_interval_us;
  strand_throttles_configure(e, config);
  strand_budget_outdate(e);
  strand_commit_limit(e, other ? config->max_metadata : e->metadata.limit);
}

static void no_visit (void *arg, const strand_orphan *orphan) {
  (void)arg;
  (void)orphan;
}

void strand_engine_free (strand_engine *e) {
  if (e == NULL) return;
  assert(!e->commits.unanswered && e->in_flight == 0 && e->stale == 0);
  while (!strand_list_empty(&e->partitions)) {
    strand_partition *p = strand_list_entry(e->partitions.next,
                                            strand_partition, link);
    strand_engine_revoke(e, p, no_visit, NULL);
  }
  assert(strand_list_empty(&e->gone));
  assert(e->budget.used.buffered_records == 0
         && e->budget.used.buffered_bytes == 0);
  assert(e->budget.used.waiting_records == 0
         && e->budget.used.waiting_bytes == 0);
  while (e->free_shards != NULL) {
    strand_shard *s = e->free_shards;
    e->free_shards = s->next_free;
    free(s);
  }
  while (e->free_chunks != NULL) {
    strand_chunk *c = e->free_chunks;
    e->free_chunks = c->next;
    free(c);
  }
  strand_retry_free(&e->retry);
  free(e->throttles);
  free(e);
}

/*
** Partitions
*/

static strand_partition *new_partition (strand_engine *e, const char *topic,
                                        int32_t index, uint32_t epoch) {
  size_t length = strlen(topic) + 1;
  strand_partition *p = calloc(1, sizeof(*p));
  if (p == NULL) return NULL;
  p->topic = malloc(length);
  if (p->topic == NULL) {
    free(p);
    return NULL;
  }
  memcpy(p->topic, topic, length);
  p->engine = e;
  p->index = index;
  p->epoch = epoch;
  p->committed.offset = p->committed.covered = -1;
  strand_list_init(&p->link);
  strand_list_init(&p->runnable);
  strand_list_init(&p->records);
  strand_list_init(&p->ready);
  strand_list_init(&p->lingering);
  return p;
}

static strand_err add_orphans (strand_partition *p,
                               const strand_orphan *orphans, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (orphans[i].kind == STRAND_SHARD_RECORD) {
      if (p->orphan_offsets == NULL) {
        p->orphan_offsets = malloc(count * sizeof(*p->orphan_offsets));
        if (p->orphan_offsets == NULL) return STRAND_ENOMEM;
      }
      p->orphan_offsets[p->orphan_count++] = orphans[i].offset;
    }
    else if (strand_shard_find_orphan(p, &orphans[i]) == NULL
             && strand_shard_add_orphan(p, &orphans[i]) == NULL)
      return STRAND_ENOMEM;
  }
  return STRAND_OK;
}

strand_partition *strand_engine_assign (strand_engine *e, const char *topic,
                                        int32_t index, uint32_t epoch,
                                        size_t route,
                                        const strand_orphan *orphans,
                                        size_t orphan_count) {
  strand_partition *p = new_partition(e, topic, index, epoch);
  assert(route < e->config.route_count);
  if (p == NULL) return NULL;
  p->throttle = &e->throttles[route];
  if (add_orphans(p, orphans, orphan_count) != STRAND_OK) {
    strand_partition_free(p);
    return NULL;
  }
  strand_list_push(&e->partitions, &p->link);
  e->partition_count++;
  strand_budget_outdate(e);
  return p;
}

strand_err strand_engine_restored (strand_engine *e, strand_partition *p,
                                   int64_t committed,
                                   const strand_payload *payload) {
  assert(p->state == PARTITION_RESTORING && p->offsets == NULL);
  p->offsets = strand_offsets_new(committed);
  if (p->offsets == NULL) return STRAND_ENOMEM;
  if (payload != NULL
      && strand_offsets_restore(p->offsets, payload) != STRAND_OK) {
    strand_offsets_free(p->offsets);
    p->offsets = NULL;
    return STRAND_ENOMEM;
  }
  strand_commit_restored(p, committed);
  if (strand_at_most_once(e)) strand_windows_begin(p, committed);
  p->state = PARTITION_RUNNING;
  strand_budget_reserve(p, 1);
  return STRAND_OK;
}

strand_err strand_engine_rebased (strand_engine *e, strand_partition *p,
                                  int64_t offset) {
  strand_err err = strand_engine_restored(e, p, -1, NULL);
  if (err != STRAND_OK) return err;
  p->committed.elsewhere = true;
  return strand_engine_reach(e, p, offset);
}

void strand_engine_pause (strand_engine *e, strand_partition *p, bool paused) {
  (void)e;
  strand_budget_reserve(p, -1);
  p->paused = paused;
  strand_budget_reserve(p, 1);
  strand_partition_runnable(p);
}

void strand_engine_revoking (strand_engine *e, strand_partition *p) {
  if (p->state != PARTITION_RUNNING) return;
  strand_budget_reserve(p, -1);
  p->state = PARTITION_REVOKING;
  if (strand_at_most_once(e)) strand_commit_may_differ(e);
  strand_partition_runnable(p);
}

static strand_record *find_record (const strand_partition *p, int64_t offset) {
  for (strand_link *l = p->records.next; l != &p->records; l = l->next) {
    strand_record *r = strand_list_entry(l, strand_record, link);
    if (r->offset >= offset) return r->offset == offset ? r : NULL;
  }
  return NULL;
}

static void make_ready (strand_shard *s) {
  if (strand_list_empty(&s->ready) && s->head != NULL) {
    strand_shard_ready(s, false);
  }
}

static void release_record (strand_partition *p, int64_t offset) {
  strand_record *r;
  for (size_t i = 0; i < p->orphan_count; i++) {
    if (p->orphan_offsets[i] != offset) continue;
    p->orphan_offsets[i] = p->orphan_offsets[--p->orphan_count];
    r = find_record(p, offset);
    if (r == NULL || r->shard == NULL) return; /* it enters later */
    strand_shard_insert(r->shard, r);
    make_ready(r->shard);
    return;
  }
}

void strand_engine_release (strand_engine *e, const strand_orphan *orphan) {
  strand_partition *p = strand_engine_find(e, orphan->topic, orphan->index);
  strand_shard *s;
  if (p == NULL) return;
  strand_partition_unstall(p);
  if (orphan->kind == STRAND_SHARD_RECORD) {
    release_record(p, orphan->offset);
    return;
  }
  s = strand_shard_find_orphan(p, orphan);
  if (s == NULL || s->state != SHARD_ORPHANED) return;
  s->state = SHARD_EMPTY;
  if (s->head != NULL) strand_shard_ready(s, false);
  else strand_shard_free(s);
}

/*
** Records and their memory
*/

static bool is_unused (const strand_shard *s) {
  return s->state == SHARD_EMPTY && s->head == NULL && strand_shard_keyed(s);
}

strand_added strand_engine_admit (strand_engine *e, strand_partition *p,
                                  strand_record *record, int64_t now_us) {
  size_t length = strand_record_length(record);
  strand_added added = STRAND_ADDED_ENOMEM;
  bool waits = strand_at_most_once(e);
  strand_shard *s = waits ? NULL : strand_shard_get(p, record);
  assert(p->state == PARTITION_RUNNING);
  if (s != NULL || waits)
    added = strand_offsets_add(p->offsets, record->offset);
  strand_commit_may_differ(e); /* done or not: what is missing is done */
  if (added != STRAND_ADDED) {
    strand_record_unroom(p, record);
    if (s != NULL && is_unused(s)) strand_shard_free(s);
    return added;
  }
  record->attempt = 1;
  record->polled_ms = (uint32_t)(now_us / 1000);
  strand_list_push(&p->records, &record->link);
  p->average = p->average == 0
                 ? strand_record_size(length)
                 : (p->average * 7 + strand_record_size(length)) / 8;
  strand_commit_entered(e, now_us);
  if (waits) strand_windows_add(p, record);
  else strand_windows_enter(p, s, record);
  return STRAND_ADDED;
}

strand_err strand_engine_reach (strand_engine *e, strand_partition *p,
                                int64_t offset) {
  if (p->state != PARTITION_RUNNING) return STRAND_OK;
  strand_commit_may_differ(e);
  return strand_offsets_reach(p->offsets, offset);
}

void strand_engine_maintain (strand_engine *e, int64_t now_us) {
  strand_partition *p = NULL;
  strand_commit_try_longer(e, now_us);
  while ((p = strand_engine_next(e, p)) != NULL) {
    strand_windows_enter_rest(p);
    strand_partition_tell_blocked(p, now_us);
  }
#ifndef NDEBUG
  strand_engine_check(e);
#endif
}
