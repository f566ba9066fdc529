/*
** plan.c - what the group is told, and when
**
** A plan is made by value in one step; while its answer is out no other is
** made. librdkafka cannot say which partitions of a failed commit were taken,
** so after one each of them is suspect, and committed alone.
*/
#include <assert.h>
#include <stdlib.h>

#include "core/state.h"

#define IDLE_US 500000         /* nothing buffered or running for this long */
#define IDLE_EVERY_US 1000000  /* one commit because of idleness in this time */
#define BACKOFF_FIRST_US 100000
#define BACKOFF_MOST_US 5000000

bool strand_engine_dirty (const strand_engine *e, const strand_partition *p) {
  (void)e;
  return (p->state == PARTITION_RUNNING || p->state == PARTITION_REVOKING)
         && strand_offsets_committable(p->offsets) >= 0
         && strand_offsets_version(p->offsets) != p->committed_version;
}

bool strand_engine_committing (const strand_engine *e) {
  return e->unanswered;
}

static void tell_unwritable (strand_partition *p) {
  const strand_engine_config *c = &p->engine->config;
  strand_notice notice = { 0 };
  if (p->unwritable) return;
  p->unwritable = true;
  notice.type = STRAND_NOTICE_UNWRITABLE;
  notice.partition = p;
  notice.reason = "the payload does not fit max_metadata";
  notice.reason_length = strlen(notice.reason);
  c->notice(c->arg, &notice);
}

static strand_err plan_one (strand_partition *p, strand_commit *commit) {
  size_t limit = p->engine->config.max_metadata, length;
  strand_commit_item *item = &commit->items[commit->count];
  char *text = malloc(limit + 1);
  strand_err err;
  if (text == NULL) return STRAND_ENOMEM;
  err = strand_offsets_payload(p->offsets, limit, text, &length);
  if (err != STRAND_OK) {
    if (err == STRAND_EFULL) tell_unwritable(p);
    free(text);
    return err; /* the old commit stays in place */
  }
  text[length] = '\0';
  item->metadata = realloc(text, length + 1);
  if (item->metadata == NULL) item->metadata = text;
  item->partition = p;
  item->epoch = p->epoch;
  item->version = strand_offsets_version(p->offsets);
  item->offset = strand_offsets_committable(p->offsets);
  p->unwritable = false;
  p->pins++;
  commit->count++;
  return STRAND_OK;
}

static const strand_partition *first_suspect (const strand_engine *e) {
  for (strand_link *l = e->partitions.next; l != &e->partitions;
       l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, link);
    if (p->suspect && strand_engine_dirty(e, p)) return p;
  }
  return NULL;
}

strand_commit *strand_engine_commit (strand_engine *e, int64_t now_us,
                                     const strand_partition *only) {
  strand_commit *commit;
  if (e->unanswered) return NULL;
  commit = malloc(sizeof(*commit)
                  + e->partition_count * sizeof(commit->items[0]));
  if (commit == NULL) return NULL;
  commit->count = 0;
  if (only == NULL) only = first_suspect(e);
  for (strand_link *l = e->partitions.next; l != &e->partitions;
       l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, link);
    if (only != NULL && p != only) continue;
    if (strand_engine_dirty(e, p)) plan_one(p, commit);
  }
  e->committed_us = now_us;
  if (commit->count == 0) {
    if (only == NULL) e->maybe_dirty = false;
    free(commit);
    return NULL;
  }
  e->unanswered = true;
  return commit;
}

static void take_answer (strand_commit_item *item, strand_answer answer,
                         bool alone) {
  strand_partition *p = item->partition;
  bool live = p->state != PARTITION_GONE && p->epoch == item->epoch;
  p->pins--;
  free(item->metadata);
  if (live && answer == STRAND_COMMITTED) {
    p->committed = item->offset;
    p->committed_version = item->version;
    p->suspect = false;
  }
  else if (live && answer == STRAND_COMMIT_UNKNOWN) p->suspect = !alone;
  strand_partition_drop(p);
}

void strand_engine_commit_answer (strand_engine *e, strand_commit *commit,
                                  strand_answer answer, int64_t now_us) {
  assert(e->unanswered);
  e->unanswered = false;
  e->maybe_dirty = true;
  for (size_t i = 0; i < commit->count; i++) {
    take_answer(&commit->items[i], answer, commit->count == 1);
  }
  if (answer == STRAND_COMMITTED) e->backoff_us = e->commit_not_before_us = 0;
  else if (answer == STRAND_COMMIT_LATER || commit->count == 1) {
    e->backoff_us = e->backoff_us == 0 ? BACKOFF_FIRST_US : e->backoff_us * 2;
    if (e->backoff_us > BACKOFF_MOST_US) e->backoff_us = BACKOFF_MOST_US;
    e->commit_not_before_us = now_us + e->backoff_us;
  }
  free(commit);
}

int64_t strand_engine_commit_due (const strand_engine *e, int64_t now_us) {
  int64_t due, idle;
  (void)now_us;
  if (e->unanswered || !e->maybe_dirty) return INT64_MAX;
  if (e->backoff_us > 0) return e->commit_not_before_us;
  if (first_suspect(e) != NULL) return 0;
  due = e->committed_us + e->config.commit_interval_us;
  if (e->buffered_records > 0) return due;
  idle = e->active_us + IDLE_US;
  if (idle < e->committed_us + IDLE_EVERY_US) {
    idle = e->committed_us + IDLE_EVERY_US;
  }
  return idle < due ? idle : due;
}
