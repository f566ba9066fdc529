/*
** plan.c - what the group is told, and when
**
** A plan is made by value in one step; while its answer is out no other is
** made. librdkafka cannot say which partitions of a failed commit were taken,
** so after one each of them is suspect, and committed alone.
*/
#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"
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

bool strand_engine_commit_blocked (const strand_engine *e, int64_t now_us) {
  return e->backoff_us > 0 && now_us < e->commit_not_before_us;
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
  char *text = malloc(limit + 1), *fitting;
  strand_err err;
  if (text == NULL) return STRAND_ENOMEM;
  err = strand_offsets_payload(p->offsets, limit, text, &length);
  if (err != STRAND_OK) {
    if (err != STRAND_ENOMEM) tell_unwritable(p);
    free(text);
    return err; /* the old commit stays in place */
  }
  text[length] = '\0';
  fitting = realloc(text, length + 1);
  item->metadata = fitting != NULL ? fitting : text;
  item->partition = p;
  item->epoch = p->epoch;
  item->version = strand_offsets_version(p->offsets);
  item->offset = MUTANT(commit_passes_an_open_record)
                   ? strand_offsets_highest(p->offsets) + 1
                   : strand_offsets_committable(p->offsets);
  item->offset -= MUTANT(offset_and_payload_are_shifted) && item->offset > 0;
  if (MUTANT(clean_before_the_brokers_answer)) {
    p->committed_version = item->version;
  }
  p->unwritable = false;
  p->pins++;
  commit->count++;
  return STRAND_OK;
}

/* One whose payload does not fit must not keep the others from theirs. */
static bool any_suspect (const strand_engine *e) {
  for (strand_link *l = e->partitions.next; l != &e->partitions;
       l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, link);
    if (p->suspect && !p->unwritable && strand_engine_dirty(e, p)) return true;
  }
  return false;
}

/* Adds what is dirty; of the suspect ones only the first. */
static void plan_all (strand_engine *e, strand_commit *commit,
                      const strand_partition *only, bool suspect) {
  bool starved = false;
  for (strand_link *l = e->partitions.next; l != &e->partitions;
       l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, link);
    strand_err err;
    if (only == NULL ? p->suspect != suspect : p != only) continue;
    if (!strand_engine_dirty(e, p)) continue;
    err = plan_one(p, commit);
    if (err == STRAND_ENOMEM) starved = true;
    if (err == STRAND_OK && suspect) return;
  }
  if (starved) e->maybe_dirty = true;
}

strand_commit *strand_engine_commit (strand_engine *e, int64_t now_us,
                                     const strand_partition *only) {
  strand_commit *commit;
  if (e->unanswered && !MUTANT(two_commits_in_flight)) return NULL;
  e->committed_us = now_us;
  commit = malloc(sizeof(*commit)
                  + e->partition_count * sizeof(commit->items[0]));
  if (commit == NULL) return NULL;
  commit->count = 0;
  if (only == NULL) {
    e->maybe_dirty = false; /* unless there is a plan, or no memory for one */
    plan_all(e, commit, NULL, true);
  }
  if (commit->count == 0) plan_all(e, commit, only, false);
  if (commit->count == 0) {
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
  if (MUTANT(failed_commit_counts_as_committed)
      && answer == STRAND_COMMIT_LATER) answer = STRAND_COMMITTED;
  if (MUTANT(neighbours_are_clean_after_a_partial_error)
      && answer == STRAND_COMMIT_UNKNOWN && !alone) answer = STRAND_COMMITTED;
  if (live && answer == STRAND_COMMITTED) {
    p->committed = item->offset;
    p->committed_version = MUTANT(answer_covers_later_work)
                             ? strand_offsets_version(p->offsets)
                             : item->version;
    p->suspect = false;
  }
  else if (live && answer == STRAND_COMMIT_UNKNOWN) {
    p->suspect = !alone && !MUTANT(suspects_are_committed_together);
  }
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
  if (any_suspect(e)) return 0;
  due = e->committed_us + e->config.commit_interval_us;
  if (e->buffered_records > 0) return due;
  idle = e->active_us + IDLE_US;
  if (idle < e->committed_us + IDLE_EVERY_US) {
    idle = e->committed_us + IDLE_EVERY_US;
  }
  return idle < due ? idle : due;
}
