/*
** commit.c - what the group is told, and when
**
** A commit is made by value in one step; while its answer is out no other is
** made. librdkafka cannot say which partitions of a failed commit were taken,
** so after one each of them is uncertain, and committed alone.
**
** The broker may take less metadata than max_metadata says. What it refuses
** is half as long the next time, and what starts is bounded by that from then
** on. What is done already may need more: then as much is told as fits, from
** the bottom, or the old commit stays where that tells more.
*/
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/engine.h"
#include "core/state.h"

#define IDLE_US 500000        /* nothing buffered or running for this long */
#define IDLE_EVERY_US 1000000 /* one commit because of idleness in this time */
#define BACKOFF_FIRST_US 100000
#define BACKOFF_MOST_US 5000000
#define NEVER UINT64_MAX /* no version of a tracker */
#define LONGER_LEAST 32  /* characters tried after none were taken */

bool strand_engine_dirty (const strand_engine *e, const strand_partition *p) {
  if ((p->state != PARTITION_RUNNING && p->state != PARTITION_REVOKING)
      || strand_offsets_committable(p->offsets) < 0)
    return false;
  if (strand_at_most_once(e)) return strand_windows_dirty(p);
  if (p->transacted > 0) return true;
  return strand_offsets_version(p->offsets) != p->committed.version;
}

bool strand_engine_commit_blocked (const strand_engine *e, int64_t now_us) {
  return e->commits.backoff_us > 0 && now_us < e->commits.not_before_us;
}

void strand_engine_hurry (strand_engine *e) {
  e->commits.hurried = e->commits.maybe_dirty = true;
}

bool strand_engine_committing (const strand_engine *e) {
  return e->commits.unanswered;
}

void strand_commit_restored (strand_partition *p, int64_t committed) {
  p->committed.offset = committed;
  p->committed.version = strand_offsets_version(p->offsets);
  p->committed.covered = strand_offsets_covered(p->offsets);
}

/*
** How long a text may be
*/

/* 'refused' is how long a text the broker has just refused, or 0. */
static void tell_unwritable (strand_partition *p, size_t refused) {
  const strand_engine *e = p->engine;
  char reason[256];
  if (p->committed.unwritable) return;
  p->committed.unwritable = true;
  if (refused > 0) {
    snprintf(reason, sizeof(reason),
             "the broker refuses %zu characters of "
             "metadata: set max_metadata (now %zu) to what it takes, its "
             "offset.metadata.max.bytes",
             refused, e->config.max_metadata);
  }
  else if (e->metadata.limit < e->config.max_metadata) {
    snprintf(reason, sizeof(reason),
             "what is done does not fit the %zu "
             "characters that the broker takes: set max_metadata (now %zu) "
             "to its offset.metadata.max.bytes",
             e->metadata.limit, e->config.max_metadata);
  }
  else {
    snprintf(reason, sizeof(reason),
             "what is done does not fit the %zu "
             "characters of max_metadata",
             e->config.max_metadata);
  }
  strand_partition_tell(p, STRAND_NOTICE_UNWRITABLE, reason);
}

void strand_commit_limit (strand_engine *e, size_t limit) {
  bool longer = limit > e->metadata.limit;
  e->metadata.limit = limit;
  for (strand_link *l = e->partitions.next; l != &e->partitions; l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, link);
    if (longer && p->committed.unwritable) p->committed.version = NEVER;
    strand_partition_unstall(p);
  }
  if (longer) e->commits.maybe_dirty = true;
}

/* Nothing of it was taken. What was taken before may be known to be longer
** than the half, unless the broker takes less than it did. */
static void learn (strand_engine *e, size_t refused, int64_t now_us) {
  size_t limit = refused / 2;
  if (e->metadata.taken >= refused) e->metadata.taken = 0;
  if (e->metadata.taken > limit) limit = e->metadata.taken;
  e->metadata.again_us = now_us + STRAND_METADATA_AGAIN_US;
  if (limit < e->metadata.limit) strand_commit_limit(e, limit);
}

void strand_commit_try_longer (strand_engine *e, int64_t now_us) {
  size_t most = e->config.max_metadata, limit = e->metadata.limit * 2;
  if (e->metadata.limit >= most || now_us < e->metadata.again_us) return;
  if (limit < LONGER_LEAST) limit = LONGER_LEAST;
  e->metadata.again_us = now_us + STRAND_METADATA_AGAIN_US;
  strand_commit_limit(e, limit < most ? limit : most);
}

/*
** A commit
*/

/* What is done does not fit: as much of it as does, unless the last commit
** told more. */
static strand_err write_part (strand_partition *p, char *text,
                              strand_commit_item *item, size_t *length) {
  strand_err err = strand_offsets_payload_part(
    p->offsets, p->engine->metadata.limit, text, length, &item->covered);
  if (err != STRAND_OK) return err;
  tell_unwritable(p, 0);
  item->whole = false;
  p->committed.kept = item->covered < p->committed.covered;
  return p->committed.kept ? STRAND_EFULL : STRAND_OK;
}

static strand_err write_text (strand_partition *p, char *text,
                              strand_commit_item *item, size_t *length) {
  item->back = false;
  item->version = strand_offsets_version(p->offsets);
  item->offset = strand_offsets_committable(p->offsets);
  strand_err err = strand_offsets_payload(
    p->offsets, p->engine->metadata.limit, text, length);
  if (err == STRAND_ENOMEM) return err;
  if (err != STRAND_OK) return write_part(p, text, item, length);
  item->covered = strand_offsets_covered(p->offsets);
  item->whole = true;
  p->committed.kept = false;
  return STRAND_OK;
}

/* Less is never told: what started would start again. */
static strand_err write_covering (strand_partition *p, char *text,
                                  strand_commit_item *item, size_t *length) {
  strand_err err = strand_windows_write(p, p->engine->metadata.limit, text,
                                        length, item);
  p->committed.kept = err == STRAND_EFULL;
  if (err == STRAND_EFULL) tell_unwritable(p, 0);
  return err;
}

/* Nor here: what an earlier transaction has produced would be done again. */
static strand_err write_transacted (strand_partition *p, char *text,
                                    strand_commit_item *item, size_t *length) {
  strand_err err = strand_transacted_write(p, p->engine->metadata.limit, text,
                                           length, item);
  p->committed.kept = err == STRAND_EFULL;
  if (err == STRAND_EFULL) tell_unwritable(p, 0);
  return err;
}

static strand_err write_item (strand_partition *p, char *text,
                              strand_commit_item *item, size_t *length) {
  switch (p->engine->config.delivery) {
    case STRAND_AT_MOST_ONCE: return write_covering(p, text, item, length);
    case STRAND_EXACTLY_ONCE: return write_transacted(p, text, item, length);
    default: return write_text(p, text, item, length);
  }
}

static strand_err add_item (strand_partition *p, strand_commit *commit) {
  strand_commit_item *item = &commit->items[commit->count];
  char *text = malloc(p->engine->metadata.limit + 1), *fitting;
  size_t length;
  strand_err err;
  if (text == NULL) return STRAND_ENOMEM;
  err = write_item(p, text, item, &length);
  if (err != STRAND_OK) {
    free(text);
    return err; /* the old commit stays in place */
  }
  text[length] = '\0';
  fitting = realloc(text, length + 1);
  item->metadata = fitting != NULL ? fitting : text;
  item->partition = p;
  item->epoch = p->epoch;
  p->committed.pins++;
  commit->count++;
  return STRAND_OK;
}

/* One whose old commit stays must not keep the others from theirs. */
static bool any_uncertain (const strand_engine *e) {
  for (strand_link *l = e->partitions.next; l != &e->partitions; l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, link);
    if (p->committed.uncertain && !p->committed.kept
        && strand_engine_dirty(e, p))
      return true;
  }
  return false;
}

/* Adds what is dirty; of the uncertain ones only the first. */
static void add_items (strand_engine *e, strand_commit *commit,
                       const strand_partition *only, bool uncertain) {
  bool starved = false;
  for (strand_link *l = e->partitions.next; l != &e->partitions; l = l->next) {
    strand_partition *p = strand_list_entry(l, strand_partition, link);
    strand_err err;
    if (only == NULL ? p->committed.uncertain != uncertain : p != only)
      continue;
    if (!strand_engine_dirty(e, p)) continue;
    err = add_item(p, commit);
    if (err == STRAND_ENOMEM) starved = true;
    if (err != STRAND_OK) strand_transacted_leave_out(p);
    if (err == STRAND_OK && uncertain) return;
  }
  if (starved) e->commits.maybe_dirty = true;
}

strand_commit *strand_engine_commit (strand_engine *e, int64_t now_us,
                                     const strand_partition *only) {
  strand_commit *commit;
  if (e->commits.unanswered) return NULL;
  e->commits.made_us = now_us;
  commit = malloc(sizeof(*commit)
                  + e->partition_count * sizeof(commit->items[0]));
  if (commit == NULL) return NULL;
  commit->count = 0;
  if (only == NULL) {
    e->commits.hurried = false;
    e->commits.maybe_dirty =
      false; /* unless there is one, or no memory for one */
    add_items(e, commit, NULL, true);
  }
  if (commit->count == 0) add_items(e, commit, only, false);
  if (commit->count == 0) {
    free(commit);
    return NULL;
  }
  e->commits.unanswered = true;
  e->commits.sent_us = now_us;
  return commit;
}

/* Refused for its length, which is this; 0: not known. A transaction is refused
** as a whole, and its longest text is to blame; of a plain commit that is known
** only where it was alone. */
static size_t refused_length (const strand_engine *e,
                              const strand_commit *commit,
                              strand_answer answer) {
  size_t longest = 0;
  if (answer != STRAND_COMMIT_REFUSED) return 0;
  if (commit->count > 1 && !strand_exactly_once(e)) return 0;
  for (size_t i = 0; i < commit->count; i++) {
    size_t length = strlen(commit->items[i].metadata);
    if (length > longest) longest = length;
  }
  return longest;
}

static void take_committed (strand_partition *p,
                            const strand_commit_item *item) {
  size_t length = strlen(item->metadata);
  if (length > p->engine->metadata.taken) p->engine->metadata.taken = length;
  p->committed.offset = item->offset;
  p->committed.version = item->version;
  p->committed.covered = item->covered;
  p->committed.uncertain = p->committed.elsewhere = false;
  if (strand_at_most_once(p->engine)) strand_windows_take(p, item);
  if (!item->whole || !p->committed.unwritable) return;
  p->committed.unwritable = false;
  strand_partition_tell(p, STRAND_NOTICE_WRITABLE, NULL);
}

bool strand_commit_item_is_live (const strand_commit_item *item) {
  const strand_partition *p = item->partition;
  return p->state != PARTITION_GONE && p->epoch == item->epoch;
}

static void take_answer (strand_commit_item *item, strand_answer answer,
                         bool alone) {
  strand_partition *p = item->partition;
  bool live = strand_commit_item_is_live(item);
  p->committed.pins--;
  if (live && answer == STRAND_COMMITTED) take_committed(p, item);
  else if (live && answer == STRAND_COMMIT_UNKNOWN) {
    p->committed.uncertain = !alone;
  }
  else if (live && answer == STRAND_COMMIT_REFUSED) { /* a shorter one */
    size_t length = strlen(item->metadata);
    p->committed.uncertain = !strand_exactly_once(p->engine);
    if (length > p->engine->metadata.limit) tell_unwritable(p, length);
  }
  free(item->metadata);
  strand_partition_drop(p);
}

/* When the next may be made. */
static void back_off (strand_engine *e, strand_answer answer, bool alone,
                      int64_t now_us) {
  if (answer == STRAND_COMMITTED || answer == STRAND_COMMIT_REFUSED
      || answer == STRAND_COMMIT_ABORTED) {
    e->commits.backoff_us = e->commits.not_before_us = 0;
  }
  else if (answer == STRAND_COMMIT_LATER || alone) {
    e->commits.backoff_us = e->commits.backoff_us == 0
                              ? BACKOFF_FIRST_US
                              : e->commits.backoff_us * 2;
    if (e->commits.backoff_us > BACKOFF_MOST_US)
      e->commits.backoff_us = BACKOFF_MOST_US;
    e->commits.not_before_us = now_us + e->commits.backoff_us;
  }
}

void strand_engine_commit_answer (strand_engine *e, strand_commit *commit,
                                  strand_answer answer, int64_t now_us) {
  size_t refused = refused_length(e, commit, answer);
  bool alone = commit->count == 1;
  assert(e->commits.unanswered);
  e->commits.unanswered = false;
  e->commits.out_us += now_us - e->commits.sent_us;
  e->commits.maybe_dirty = true;
  if (refused > 0) learn(e, refused, now_us);
  else if (answer == STRAND_COMMIT_REFUSED) {
    answer = strand_exactly_once(e) ? STRAND_COMMIT_LATER
                                    : STRAND_COMMIT_UNKNOWN;
  }
  for (size_t i = 0; i < commit->count; i++) {
    take_answer(&commit->items[i], answer, alone);
  }
  back_off(e, answer, alone, now_us);
  free(commit);
}

int64_t strand_engine_commit_due (const strand_engine *e, int64_t now_us) {
  int64_t due, idle;
  (void)now_us;
  bool wanted = !e->commits.unanswered && strand_windows_due(e);
  if (e->commits.unanswered || (!e->commits.maybe_dirty && !wanted)) {
    return INT64_MAX;
  }
  if (e->commits.backoff_us > 0) return e->commits.not_before_us;
  if (wanted || e->commits.hurried || any_uncertain(e)) return 0;
  due = e->commits.made_us + e->config.commit_interval_us;
  if (e->budget.used.buffered_records > 0) return due;
  idle = e->commits.active_us + IDLE_US;
  if (idle < e->commits.made_us + IDLE_EVERY_US) {
    idle = e->commits.made_us + IDLE_EVERY_US;
  }
  return idle < due ? idle : due;
}
