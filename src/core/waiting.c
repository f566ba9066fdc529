/*
** waiting.c - what is not done and does not run
**
**               end (FAILED, RETRY)          tick
**   leased ---------------------> BACK-OFF --------> ready
**     |  |    end (PARK)                    resolve
**     |  +----------------------> PARKED ----------> ready, or done
**     |       end (DEAD_LETTER)      ^
**     +-------------------------> DEAD LETTER
**                                    |  refused: to PARKED
**                                    +---------------------------> done
**                                       acknowledged
**
** Each of them is in an allocation of its own, in the waiting budget, and the
** head of its shard, which waits with it (a parked one with park_alone is in
** the partition's detached shard instead). A dead letter's offset stays in
** flight, so that the acknowledgement can always be entered. At most once a
** record that is sent does not hold its shard either: it is done already.
*/
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/state.h"
#include "core/waiting.h"

#define STARTED 0x80 /* in past->resolved: its offset is in flight */

/* What is parked does not hold its shard. */
static bool parks_alone (const strand_engine *e) {
  return e->config.park_alone;
}

/*
** Into it
*/

strand_err strand_waiting_note (strand_record *r, const char *reason,
                                size_t length, int64_t now_us) {
  strand_past *past, *old = r->in.past;
  if (length > STRAND_REASON_MAX) length = STRAND_REASON_MAX;
  past = malloc(sizeof(*past) + length);
  if (past == NULL) return STRAND_ENOMEM;
  if (old != NULL) *past = *old;
  else *past = (strand_past){ .first_us = now_us };
  past->last_us = now_us;
  past->length = (uint32_t)length;
  if (length > 0) memcpy(past->text, reason, length);
  free(old);
  r->in.past = past;
  return STRAND_OK;
}

/* The record leaves its chunk. NULL when memory runs out. */
static strand_record *leave_chunk (strand_lease *lease) {
  strand_record *r = lease->record;
  if (r->flags & STRAND_RECORD_OWN) return r;
  r = strand_record_move(lease->partition, r, NULL);
  if (r != NULL) lease->record = r;
  return r;
}

/* The shard waits with its head: what is behind it leaves the chunks too. */
static void wait_behind (strand_shard *s, strand_record *r) {
  strand_shard_wait(s, NULL, r);
  if (!strand_shard_keyed(s)) return;
  for (; !s->failing && r->behind != NULL; r = r->behind) {
    strand_shard_wait(s, r, r->behind);
  }
  s->failing = true;
}

/* A parked head leaves its shard to the others. */
static void detach (strand_record *r) {
  strand_shard *s = r->shard;
  if (!strand_shard_keyed(s)) return;
  strand_shard_pop(s);
  r->behind = NULL;
  r->shard = s->partition->detached;
  strand_shard_go_on(s);
}

void strand_waiting_join (strand_record *r, strand_waiting kind) {
  strand_shard *s = r->shard;
  r->flags &= (uint8_t)~STRAND_RECORD_LEASED;
  r->flags |= STRAND_RECORD_WAITING;
  r->in.past->waiting = kind;
  r->in.past->resolved = 0;
  strand_partition_count_waiting(s->partition, kind, 1);
  if (!strand_shard_keyed(s)) return;
  s->leased = 0;
  s->state = SHARD_WAITING;
}

/* What is flagged as leased until then is the lease's, should its partition be
** revoked. */
strand_err strand_waiting_prepare (strand_lease *lease,
                                   const strand_wait *wait, int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  bool dead_letter = wait->kind == STRAND_WAITING_DEAD_LETTER;
  strand_record *r;
  if (wait->kind == STRAND_WAITING_BACKOFF
      && strand_retry_reserve(&e->retry) != STRAND_OK)
    return STRAND_ENOMEM;
  if (parks_alone(e) && strand_shard_detached(p) == NULL) return STRAND_ENOMEM;
  if ((r = leave_chunk(lease)) == NULL
      || strand_waiting_note(r, wait->reason, wait->reason_length, now_us)
           != STRAND_OK
      || strand_lease_unstart(lease, dead_letter ? 1 : 0) != STRAND_OK) {
    return STRAND_ENOMEM;
  }
  r->in.past->cause = (uint8_t)wait->cause;
  if (dead_letter && !e->config.dead_letter(e->config.arg, p, r))
    return STRAND_ENOMEM;
  return STRAND_OK;
}

void strand_waiting_enter (strand_lease *lease, const strand_wait *wait,
                           int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  strand_record *r = lease->record;
  bool alone = wait->kind == STRAND_WAITING_PARKED && parks_alone(e);
  if (wait->counts) r->in.past->failures++;
  if (r->attempt < UINT16_MAX) r->attempt++;
  strand_lease_leave(lease, lease->count - 1);
  if (!alone) wait_behind(r->shard, r);
  else strand_shard_wait(r->shard, NULL, r);
  strand_waiting_join(r, wait->kind);
  if (wait->kind == STRAND_WAITING_BACKOFF) {
    strand_retry_push(&e->retry, now_us + wait->delay_us, r);
  }
  if (wait->kind == STRAND_WAITING_PARKED) {
    strand_record_tell(p, r, STRAND_NOTICE_PARKED, wait->reason,
                       wait->reason_length, -1);
  }
  if (alone) detach(r);
}

strand_err strand_waiting_send (strand_lease *lease, const strand_wait *wait,
                                int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  strand_shard *alone = strand_shard_detached(p);
  strand_record *r = alone != NULL ? leave_chunk(lease) : NULL;
  if (r == NULL
      || strand_waiting_note(r, wait->reason, wait->reason_length, now_us)
           != STRAND_OK
      || !e->config.dead_letter(e->config.arg, p, r))
    return STRAND_ENOMEM;
  r->in.past->cause = (uint8_t)wait->cause;
  r->in.past->failures++;
  if (r->attempt < UINT16_MAX) r->attempt++;
  strand_shard_wait(r->shard, NULL, r);
  strand_lease_part_first(lease);
  r->behind = NULL;
  r->shard = alone;
  strand_waiting_join(r, STRAND_WAITING_DEAD_LETTER);
  strand_commit_left(e, now_us);
  return STRAND_OK;
}

/*
** Out of it
*/

static void leave_waiting (strand_record *r) {
  r->flags &= (uint8_t)~STRAND_RECORD_WAITING;
  strand_partition_count_waiting(r->shard->partition, r->in.past->waiting, -1);
}

/* The shard's head may run again. */
static void become_ready (strand_record *r) {
  strand_shard *s = r->shard;
  if (strand_shard_keyed(s)) {
    assert(s->state == SHARD_WAITING && s->head == r);
    strand_shard_ready(s, false);
  }
  else {
    strand_shard_insert(s, r);
    if (s->state == SHARD_EMPTY) strand_shard_ready(s, false);
  }
  strand_partition_unstall(s->partition);
}

int64_t strand_engine_tick (strand_engine *e, int64_t now_us) {
  int64_t retry, throttled;
  strand_record *r;
  while ((r = strand_retry_pop(&e->retry, now_us)) != NULL) {
    leave_waiting(r);
    become_ready(r);
  }
  retry = strand_retry_next(&e->retry);
  throttled = strand_engine_throttle(e, now_us);
  return retry < throttled ? retry : throttled;
}

/* The record is done, without a lease. */
static strand_err finish (strand_record *r, int64_t now_us) {
  strand_shard *s = r->shard;
  strand_partition *p = s->partition;
  strand_err err = strand_offsets_finish(p->offsets, r->offset);
  if (err != STRAND_OK) return err;
  strand_windows_left(p, r->offset);
  strand_commit_left(p->engine, now_us);
  if (strand_shard_keyed(s)) {
    strand_shard_pop(s);
    strand_shard_go_on(s);
  }
  strand_record_free(p, r);
  strand_partition_unstall(p);
  return STRAND_OK;
}

static bool is_waiting (const strand_record *r, strand_waiting kind) {
  return (r->flags & STRAND_RECORD_WAITING) && r->in.past->waiting == kind;
}

strand_err strand_engine_dead_letter_acked (strand_engine *e,
                                            strand_record *record,
                                            int64_t now_us) {
  strand_partition *p = record->shard->partition;
  bool transacted = record->transacted;
  strand_err err;
  assert(is_waiting(record, STRAND_WAITING_DEAD_LETTER));
  if (record->in.past->resolved == 0) { /* told once */
    record->in.past->resolved = STARTED;
    strand_record_tell(p, record, STRAND_NOTICE_DEAD_LETTERED,
                       record->in.past->text, record->in.past->length, -1);
  }
  err = finish(record, now_us);
  if (err != STRAND_OK) return err;
  p->transacted -= transacted;
  strand_partition_count_waiting(p, STRAND_WAITING_DEAD_LETTER, -1);
  p->dead_lettered++;
  e->dead_lettered++;
  return STRAND_OK;
}

/* At most once there is nothing to do again. */
static strand_err lose (strand_record *record, const char *reason,
                        size_t reason_length, int64_t now_us) {
  strand_partition *p = record->shard->partition;
  strand_err err;
  if (record->in.past->resolved == 0) { /* told once */
    record->in.past->resolved = STARTED;
    strand_record_tell(p, record, STRAND_NOTICE_LOST, reason, reason_length,
                       -1);
  }
  err = finish(record, now_us);
  if (err != STRAND_OK) return err;
  strand_partition_count_waiting(p, STRAND_WAITING_DEAD_LETTER, -1);
  p->skipped++;
  p->engine->skipped++;
  return STRAND_OK;
}

strand_err strand_engine_dead_letter_refused (strand_engine *e,
                                              strand_record *record,
                                              const char *reason,
                                              size_t reason_length,
                                              int64_t now_us) {
  strand_partition *p = record->shard->partition;
  strand_err err;
  assert(is_waiting(record, STRAND_WAITING_DEAD_LETTER));
  assert(!record->transacted);
  if (strand_at_most_once(e)) {
    return lose(record, reason, reason_length, now_us);
  }
  if (parks_alone(e) && strand_shard_detached(p) == NULL) return STRAND_ENOMEM;
  err = strand_waiting_note(record, reason, reason_length, now_us);
  if (err == STRAND_OK)
    err = strand_offsets_unstart(p->offsets, record->offset);
  if (err != STRAND_OK) return err;
  strand_partition_count_waiting(p, STRAND_WAITING_DEAD_LETTER, -1);
  strand_partition_count_waiting(p, STRAND_WAITING_PARKED, 1);
  record->in.past->waiting = STRAND_WAITING_PARKED;
  strand_record_tell(p, record, STRAND_NOTICE_PARKED, reason, reason_length,
                     -1);
  if (parks_alone(e)) detach(record);
  strand_partition_unstall(p);
  return STRAND_OK;
}

/*
** Parked records
*/

const strand_record *strand_partition_parked (const strand_partition *p,
                                              int64_t offset) {
  const strand_record *r = NULL;
  if (p->waiting.parked == 0) return NULL;
  while ((r = strand_partition_next(p, r)) != NULL) {
    if (r->offset >= offset && is_waiting(r, STRAND_WAITING_PARKED)) return r;
  }
  return NULL;
}

/* One that was parked alone goes back to those of its key. */
static strand_err reenter (strand_partition *p, strand_record *r) {
  strand_shard *s = strand_shard_get(p, r);
  if (s == NULL) return STRAND_ENOMEM;
  leave_waiting(r);
  p->reentered = true;
  strand_shard_reenter(s, r);
  strand_partition_unstall(p);
  return STRAND_OK;
}

strand_err strand_engine_resolve (strand_engine *e, strand_partition *p,
                                  int64_t offset,
                                  strand_resolution resolution) {
  const strand_record *found = strand_partition_parked(p, offset);
  strand_record *r = (strand_record *)(uintptr_t)found;
  if (found == NULL || r->offset != offset) return STRAND_ENOTOPEN;
  assert(resolution != STRAND_RESOLVE_DEAD_LETTER
         || e->config.dead_letter != NULL);
  (void)e;
  if (resolution == STRAND_RESOLVE_RETRY) {
    r->in.past->failures = 0;
    if (r->shard == p->detached) return reenter(p, r);
  }
  else r->in.past->resolved = (uint8_t)resolution;
  leave_waiting(r);
  become_ready(r);
  return STRAND_OK;
}

bool strand_waiting_started (const strand_record *r) {
  return (r->in.past->resolved & STARTED) != 0;
}

static void leave_ready (strand_shard *s, strand_record *r) {
  if (strand_shard_keyed(s)) {
    strand_shard_unready(s, SHARD_WAITING);
    return;
  }
  if (r->behind == NULL) strand_shard_unready(s, SHARD_EMPTY);
  strand_shard_pop(s);
  r->behind = NULL;
}

bool strand_waiting_carry_out (strand_shard *s, int64_t now_us) {
  strand_partition *p = s->partition;
  strand_engine *e = p->engine;
  strand_record *r = s->head;
  bool discard = (r->in.past->resolved & ~STARTED) == STRAND_RESOLVE_DISCARD;
  r->in.past->resolved |= STARTED;
  if (!discard) {
    if (!e->config.dead_letter(e->config.arg, p, r)) return false;
    leave_ready(s, r);
    strand_waiting_join(r, STRAND_WAITING_DEAD_LETTER);
    return true;
  }
  leave_ready(s, r);
  if (finish(r, now_us) != STRAND_OK) { /* as it was */
    if (strand_shard_keyed(s)) strand_shard_ready(s, true);
    else {
      strand_shard_insert(s, r);
      if (s->state == SHARD_EMPTY) strand_shard_ready(s, true);
    }
    return false;
  }
  p->skipped++;
  e->skipped++;
  return true;
}

const char *strand_record_reason (const strand_record *record,
                                  size_t *length) {
  *length = 0;
  if (!(record->flags & STRAND_RECORD_OWN)) return NULL;
  if (record->in.past == NULL) return NULL;
  *length = record->in.past->length;
  return record->in.past->text;
}
