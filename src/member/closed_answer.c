/*
** closed_answer.c - see closed_answer.h
*/
#include "member/closed_answer.h"

/* Done, by a payload that is not below the offset's. */
static bool is_done (const strand_payload *payload, int64_t offset) {
  bool done = offset <= payload->highest;
  for (size_t i = 0; done && i < payload->run_count; i++) {
    done = offset < payload->runs[i].first || offset > payload->runs[i].last;
  }
  return done;
}

static const rd_kafka_topic_partition_t *find (const strand_closed *c,
                                               const strand_partition *p) {
  return rd_kafka_topic_partition_list_find(
    c->committed, strand_partition_topic(p), strand_partition_index(p));
}

static bool has_item (const strand_closed *c, const strand_commit_item *item) {
  const rd_kafka_topic_partition_t *p = find(c, item->partition);
  return p != NULL && p->offset == item->offset
         && p->metadata_size == strlen(item->metadata)
         && (p->metadata_size == 0
             || memcmp(p->metadata, item->metadata, p->metadata_size) == 0);
}

/* All of it is there: of what is still ours, for another may have moved what
** was revoked. One item alone proves nothing: it may say what the group had
** before. But what is in the transaction is not in that. */
static bool was_committed (const strand_closed *c,
                           const strand_commit *commit) {
  bool any = false;
  for (size_t i = 0; i < commit->count; i++) {
    const strand_commit_item *item = &commit->items[i];
    if (!strand_commit_item_is_live(item)) continue;
    if (!has_item(c, item)) return false;
    any = true;
  }
  return any;
}

static void mark_done (strand_closed *c) {
  for (size_t i = 0; i < c->count; i++) c->staged[i]->open = 0;
}

/* What the group has covers the record: by its offset, or by its payload, if
** that can be read. */
static void mark_partition (strand_closed *c, const strand_partition *of,
                            const rd_kafka_topic_partition_t *p) {
  const char *problem = NULL;
  strand_payload payload = { 0 };
  bool some = p->metadata_size > 0
              && strand_payload_decode(p->offset, p->metadata,
                                       p->metadata_size, &payload, &problem)
                   == STRAND_OK;
  for (size_t i = 0; i < c->count; i++) {
    strand_staged *s = c->staged[i];
    if (s->record == NULL || strand_record_partition(s->record) != of)
      continue;
    if (s->record->offset < p->offset
        || (some && is_done(&payload, s->record->offset)))
      s->open = 0;
  }
  if (some) strand_payload_free(&payload);
}

/* Each record of the transaction is of a partition in its commit. */
static void mark_covered (strand_closed *c, const strand_commit *commit) {
  for (size_t i = 0; i < commit->count; i++) {
    const strand_partition *of = commit->items[i].partition;
    const rd_kafka_topic_partition_t *p = find(c, of);
    if (p != NULL && p->offset >= 0) mark_partition(c, of, p);
  }
}

static void take_renewed (strand_closed *c, const strand_commit *commit,
                          strand_closed_answer *answer) {
  answer->answer = STRAND_COMMIT_ABORTED;
  if (c->committed == NULL) return;
  if (was_committed(c, commit)) {
    answer->answer = STRAND_COMMITTED;
    mark_done(c);
  }
  else mark_covered(c, commit);
}

static void describe (const strand_closed *c, strand_closed_answer *answer) {
  answer->err = c->answer.err;
  snprintf(answer->reason, sizeof(answer->reason), "transaction: %s: %s",
           c->step != NULL ? c->step : "no client",
           c->answer.reason[0] != '\0' ? c->answer.reason
                                       : rd_kafka_err2str(c->answer.err));
}

void strand_closed_answer_read (strand_closed *c, const strand_commit *commit,
                                strand_closed_answer *answer) {
  *answer = (strand_closed_answer){ .answer = STRAND_COMMIT_ABORTED };
  describe(c, answer);
  if (c->end == STRAND_CLOSED_COMMITTED) {
    answer->answer = STRAND_COMMITTED;
    mark_done(c);
  }
  else if (c->end == STRAND_CLOSED_RENEWED) take_renewed(c, commit, answer);
}
