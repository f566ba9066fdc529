/*
** sending.c - what was handled, and waits for what it produced
**
**            sent               acknowledged
**   leased --------> SENDING -----------------> done
**                       |        refused
**                       +-----------------> by the policy's 'exhausted':
**                        DEAD LETTER, PARKED, skipped, or ready at a stop
**
** Its shard goes on meanwhile. So a refused one that is parked is parked
** alone, and what is tried again comes after records that have overtaken it.
** At most once it never starts again: it is a dead letter or skipped, and a
** stop is its end.
*/
#include <assert.h>

#include "core/engine.h"
#include "core/state.h"
#include "core/waiting.h"

static void leave_sending (strand_record *r) {
  r->flags &= (uint8_t)~STRAND_RECORD_SENDING;
  strand_partition_count_sending(r->shard->partition, -1);
}

/* The attempt has failed in the end. */
static void tell_refused (strand_record *r, const char *reason,
                          size_t length) {
  strand_partition *p = r->shard->partition;
  p->failed++;
  p->engine->failed++;
  strand_record_tell(p, r, STRAND_NOTICE_FAILED, reason, length, -1);
}

static void free_sent (strand_record *r, int64_t now_us) {
  strand_partition *p = r->shard->partition;
  leave_sending(r);
  strand_windows_left(p, r->offset);
  strand_commit_left(p->engine, now_us);
  strand_record_free(p, r);
  strand_partition_unstall(p);
}

strand_err strand_engine_output_acked (strand_engine *e, strand_record *record,
                                       int64_t now_us) {
  strand_partition *p = record->shard->partition;
  strand_err err;
  assert(record->flags & STRAND_RECORD_SENDING);
  err = strand_offsets_finish(p->offsets, record->offset);
  if (err != STRAND_OK) return err;
  strand_transacted_ended(p, record);
  free_sent(record, now_us);
  p->done++;
  e->done++;
  return STRAND_OK;
}

/*
** Refused
*/

static strand_err skip_sent (strand_record *r, bool stops, const char *reason,
                             size_t length, int64_t now_us) {
  strand_partition *p = r->shard->partition;
  strand_err err = strand_offsets_finish(p->offsets, r->offset);
  if (err != STRAND_OK) return err;
  tell_refused(r, reason, length);
  if (stops) {
    strand_record_tell(p, r, STRAND_NOTICE_STOP, reason, length, -1);
  }
  free_sent(r, now_us);
  p->skipped++;
  p->engine->skipped++;
  return STRAND_OK;
}

/* Back to those of its shard, of which later ones may run: as one that was
** tried, it comes alone. */
static void enter_again (strand_shard *s, strand_record *r) {
  if (strand_shard_keyed(s)) {
    s->partition->reentered = true;
    strand_shard_reenter(s, r);
    return;
  }
  strand_shard_insert(s, r);
  if (s->state == SHARD_EMPTY) strand_shard_ready(s, false);
}

static strand_err stop_after (strand_record *r, const char *reason,
                              size_t length) {
  strand_partition *p = r->shard->partition;
  strand_shard *s = strand_shard_get(p, r);
  strand_err err;
  if (s == NULL) return STRAND_ENOMEM;
  err = strand_offsets_unstart(p->offsets, r->offset);
  if (err != STRAND_OK) {
    bool made = strand_shard_keyed(s) && s->head == NULL
                && s->state == SHARD_EMPTY;
    if (made) strand_shard_free(s);
    return err;
  }
  tell_refused(r, reason, length);
  strand_record_tell(p, r, STRAND_NOTICE_STOP, reason, length, -1);
  if (r->attempt < UINT16_MAX) r->attempt++;
  leave_sending(r);
  enter_again(s, r);
  strand_partition_unstall(p);
  return STRAND_OK;
}

/* All that may fail for want of memory, the last of it what others see. */
static strand_err prepare_wait (strand_record **record, strand_waiting kind,
                                const char *reason, size_t length,
                                int64_t now_us) {
  strand_record *r = *record;
  strand_partition *p = r->shard->partition;
  const strand_engine_config *c = &p->engine->config;
  if (!(r->flags & STRAND_RECORD_OWN)) {
    r = strand_record_move(p, r, NULL);
    if (r == NULL) return STRAND_ENOMEM;
    *record = r;
  }
  if (strand_waiting_note(r, reason, length, now_us) != STRAND_OK) {
    return STRAND_ENOMEM;
  }
  r->in.past->cause = STRAND_CAUSE_EXHAUSTED;
  if (kind == STRAND_WAITING_DEAD_LETTER) {
    return c->dead_letter(c->arg, p, r) ? STRAND_OK : STRAND_ENOMEM;
  }
  return strand_offsets_unstart(p->offsets, r->offset);
}

static strand_err let_wait (strand_record **record, strand_waiting kind,
                            const char *reason, size_t length,
                            int64_t now_us) {
  strand_err err = prepare_wait(record, kind, reason, length, now_us);
  strand_record *r = *record;
  strand_partition *p = r->shard->partition;
  if (err != STRAND_OK) return err;
  tell_refused(r, reason, length);
  r->in.past->failures++;
  if (r->attempt < UINT16_MAX) r->attempt++;
  leave_sending(r);
  strand_shard_wait(r->shard, NULL, r);
  strand_waiting_join(r, kind);
  if (kind == STRAND_WAITING_PARKED) {
    strand_record_tell(p, r, STRAND_NOTICE_PARKED, reason, length, -1);
  }
  strand_partition_unstall(p);
  return STRAND_OK;
}

/* What becomes of it: DEAD_LETTER, PARK, SKIP or STOP. */
static strand_outcome_kind end_of_refused (const strand_partition *p) {
  const strand_engine *e = p->engine;
  strand_outcome_kind kind = p->throttle->limits.policy.exhausted;
  if (kind == STRAND_OUTCOME_DEAD_LETTER && e->config.dead_letter == NULL) {
    kind = STRAND_OUTCOME_PARK;
  }
  if (kind == STRAND_OUTCOME_PARK && strand_at_most_once(e)) {
    kind = STRAND_OUTCOME_SKIP;
  }
  return kind;
}

strand_err strand_engine_output_refused (strand_engine *e,
                                         strand_record **record,
                                         const char *reason,
                                         size_t reason_length,
                                         int64_t now_us) {
  strand_outcome_kind kind = end_of_refused((*record)->shard->partition);
  bool stops = kind == STRAND_OUTCOME_STOP;
  assert((*record)->flags & STRAND_RECORD_SENDING);
  assert(!(*record)->transacted);
  if (kind == STRAND_OUTCOME_SKIP || (stops && strand_at_most_once(e))) {
    return skip_sent(*record, stops, reason, reason_length, now_us);
  }
  if (stops) return stop_after(*record, reason, reason_length);
  return let_wait(record,
                  kind == STRAND_OUTCOME_DEAD_LETTER
                    ? STRAND_WAITING_DEAD_LETTER
                    : STRAND_WAITING_PARKED,
                  reason, reason_length, now_us);
}
