/*
** closed_answer.c - see closed_answer.h
*/
#include "member/closed_answer.h"

/* What the group has covers the record. A payload that cannot be read says
** nothing. */
static bool is_covered (const rd_kafka_topic_partition_t *p, int64_t offset) {
  const char *problem = NULL;
  strand_payload payload = { 0 };
  bool covered;
  if (p->offset < 0) return false;
  if (offset < p->offset) return true;
  if (p->metadata_size == 0
      || strand_payload_decode(p->offset, p->metadata, p->metadata_size,
                               &payload, &problem)
           != STRAND_OK)
    return false;
  covered = offset <= payload.highest;
  for (size_t i = 0; covered && i < payload.run_count; i++) {
    covered = offset < payload.runs[i].first || offset > payload.runs[i].last;
  }
  strand_payload_free(&payload);
  return covered;
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

static void mark_covered (strand_closed *c) {
  for (size_t i = 0; i < c->count; i++) {
    strand_staged *s = c->staged[i];
    const rd_kafka_topic_partition_t *p =
      s->record == NULL ? NULL : find(c, strand_record_partition(s->record));
    if (p != NULL && is_covered(p, s->record->offset)) s->open = 0;
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
  else mark_covered(c);
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
