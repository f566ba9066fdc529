/*
** waiting.c - what is not done and does not run
**
**               end (FAILED, RETRY)          tick
**   leased ---------------------> BACK-OFF --------> ready
**     |  |    end (PARK)                    resolve
**     |  +----------------------> PARKED ----------> ready, or done
**     |       end (DEAD_LETTER)      ^
**     +-------------------------> LETTER
**                                    |  unlettered: to PARKED
**                                    +---------------------------> done
**                                       lettered
**
** Each of them is in an allocation of its own, in the waiting budget, and the
** head of its shard, which waits with it (a parked one with park_alone is in
** the partition's detached shard instead). A letter's offset stays in flight,
** so that the acknowledgement can always be entered.
*/
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/mutant.h"
#include "core/state.h"
#include "core/utf8.h"

#define STARTED 0x80 /* in past->resolved: its offset is in flight */

static double random_unit (strand_engine *e) { /* xorshift64*, [0, 1) */
  uint64_t x = e->random;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  e->random = x;
  return (double)((x * UINT64_C(0x2545f4914f6cdd1d)) >> 11)
         / 9007199254740992.0;
}

static int64_t policy_delay (strand_engine *e, const strand_policy *policy,
                             uint32_t failures) {
  double delay = (double)policy->delay_us;
  double most = (double)policy->max_delay_us;
  for (uint32_t i = 1; i < failures && delay < most; i++) {
    if (policy->factor <= 1) break;
    delay *= policy->factor;
  }
  if (delay > most && !MUTANT(delay_passes_its_limit)) delay = most;
  return (int64_t)(delay * (1 - policy->jitter * random_unit(e)));
}

/*
** What a record's end means
*/

static uint32_t failures_of (const strand_record *r) {
  if (!(r->flags & STRAND_RECORD_OWN) || r->in.past == NULL) return 0;
  return r->in.past->failures;
}

/* RETRY, DEAD_LETTER, PARK, SKIP or STOP, in the end; '*delay_us' with the
** first. */
static strand_verdict_kind decide (strand_partition *p,
                                   const strand_lease *lease,
                                   const strand_ending *ending,
                                   int64_t *delay_us) {
  const strand_policy *policy = &p->throttle->limits.policy;
  strand_verdict_kind kind = ending->kind;
  uint32_t failures = failures_of(lease->record) + 1;
  *delay_us = ending->delay_us;
  if (lease->expired && kind != STRAND_VERDICT_FAILED
      && kind != STRAND_VERDICT_EXHAUSTED && !MUTANT(late_result_counts)) {
    kind = STRAND_VERDICT_FAILED;
    *delay_us = -1;
  }
  if (kind == STRAND_VERDICT_FAILED && policy->attempts > 0
      && failures >= policy->attempts && !MUTANT(attempts_are_not_counted))
    kind = STRAND_VERDICT_EXHAUSTED;
  if (kind == STRAND_VERDICT_EXHAUSTED) kind = policy->exhausted;
  if (kind == STRAND_VERDICT_DEAD_LETTER && p->engine->config.letter == NULL) {
    kind = STRAND_VERDICT_PARK;
  }
  if (kind == STRAND_VERDICT_FAILED || kind == STRAND_VERDICT_RETRY) {
    kind = STRAND_VERDICT_RETRY;
    if (*delay_us < 0) *delay_us = policy_delay(p->engine, policy, failures);
  }
  else *delay_us = -1;
  return kind;
}

static bool is_failure (strand_verdict_kind kind) {
  return kind == STRAND_VERDICT_FAILED || kind == STRAND_VERDICT_EXHAUSTED
         || kind == STRAND_VERDICT_RETRY;
}

/* What is parked does not hold its shard. */
static bool parks_alone (const strand_engine *e) {
  return e->config.park_alone || MUTANT(parked_record_lets_its_shard_go);
}

static void tell (strand_notice_type type, strand_partition *p,
                  const strand_record *r, const char *reason, size_t length,
                  int64_t delay_us) {
  const strand_engine_config *c = &p->engine->config;
  strand_notice notice = { type, p, r, reason, length, delay_us };
  c->notice(c->arg, &notice);
}

/* Once for each attempt that failed. */
static void tell_failed (strand_lease *lease, const strand_ending *ending,
                         int64_t delay_us) {
  strand_partition *p = lease->partition;
  if (lease->told && !MUTANT(deadline_is_told_twice)) return;
  if (!is_failure(ending->kind)) return;
  lease->told = true;
  p->failed++;
  p->engine->failed++;
  tell(STRAND_NOTICE_FAILED, p, lease->record, ending->reason,
       ending->reason_length, delay_us);
}

void strand_engine_expire (strand_engine *e, strand_lease *lease,
                           const char *reason, size_t reason_length) {
  strand_partition *p = lease->partition;
  (void)e;
  if (lease->expired || p->state == PARTITION_GONE || lease->epoch != p->epoch)
    return;
  tell_failed(
    lease,
    &(strand_ending){ STRAND_VERDICT_FAILED, -1, reason, reason_length }, -1);
  lease->expired = true;
}

/*
** Aside
*/

/* What is known of it so far, and the new reason. STRAND_ENOMEM: nothing has
** changed. */
static strand_err keep_past (strand_record *r, const char *reason,
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

static void count_waiting (strand_partition *p, strand_waiting kind, int by) {
  strand_engine *e = p->engine;
  size_t n = (size_t)by;
  if (kind == STRAND_WAITING_PARKED) {
    p->parked += n;
    e->parked += n;
  }
  else if (kind == STRAND_WAITING_LETTER) {
    p->letters += n;
    e->letters += n;
  }
}

static void enter_waiting (strand_record *r, strand_waiting kind) {
  strand_shard *s = r->shard;
  r->flags &= (uint8_t)~STRAND_RECORD_LEASED;
  r->flags |= STRAND_RECORD_WAITING;
  r->in.past->waiting = kind;
  r->in.past->resolved = 0;
  count_waiting(s->partition, kind, 1);
  if (!strand_shard_keyed(s)) return;
  s->leased = 0;
  s->state = SHARD_WAITING;
}

static strand_waiting waiting_of (strand_verdict_kind kind) {
  return kind == STRAND_VERDICT_RETRY  ? STRAND_WAITING_BACKOFF
         : kind == STRAND_VERDICT_PARK ? STRAND_WAITING_PARKED
                                       : STRAND_WAITING_LETTER;
}

static strand_cause cause_of (const strand_lease *lease,
                              const strand_ending *ending) {
  if (lease->expired) return STRAND_CAUSE_DEADLINE;
  switch (ending->kind) {
    case STRAND_VERDICT_FAILED: return STRAND_CAUSE_FAILED;
    case STRAND_VERDICT_EXHAUSTED: return STRAND_CAUSE_EXHAUSTED;
    default: return STRAND_CAUSE_ASKED;
  }
}

/* All that may fail for want of memory; may be called again. What is flagged
** as leased until then is the lease's, should its partition be revoked. */
static strand_err prepare (strand_lease *lease, strand_waiting kind,
                           const strand_ending *ending, int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  bool letter = kind == STRAND_WAITING_LETTER;
  strand_record *r;
  if (kind == STRAND_WAITING_BACKOFF
      && strand_retry_reserve(&e->retry) != STRAND_OK)
    return STRAND_ENOMEM;
  if (parks_alone(e) && strand_shard_detached(p) == NULL) return STRAND_ENOMEM;
  if ((r = leave_chunk(lease)) == NULL
      || keep_past(r, ending->reason, ending->reason_length, now_us)
           != STRAND_OK
      || strand_lease_unstart(lease, letter) != STRAND_OK) {
    return STRAND_ENOMEM;
  }
  r->in.past->cause = (uint8_t)cause_of(lease, ending);
  if (letter && !e->config.letter(e->config.arg, p, r)) return STRAND_ENOMEM;
  return STRAND_OK;
}

static strand_err set_waiting (strand_lease *lease, strand_waiting kind,
                               const strand_ending *ending, int64_t delay_us,
                               int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_engine *e = p->engine;
  bool alone = kind == STRAND_WAITING_PARKED && parks_alone(e);
  strand_err err = prepare(lease, kind, ending, now_us);
  strand_record *r = lease->record;
  if (err != STRAND_OK) return err;
  tell_failed(lease, ending, delay_us);
  if (ending->kind != STRAND_VERDICT_RETRY || lease->expired
      || MUTANT(asked_retry_exhausts)) {
    r->in.past->failures++;
  }
  if (r->attempt < UINT16_MAX) r->attempt++;
  strand_lease_leave(lease, lease->count - 1);
  if (!alone) wait_behind(r->shard, r);
  else if (!MUTANT(parked_record_escapes_its_budget)) {
    strand_shard_wait(r->shard, NULL, r);
  }
  enter_waiting(r, kind);
  if (kind == STRAND_WAITING_BACKOFF) {
    strand_retry_push(&e->retry, now_us + delay_us, r);
  }
  if (kind == STRAND_WAITING_PARKED) {
    if (MUTANT(parked_record_is_committed)) {
      (void)strand_offsets_start(p->offsets, r->offset, SIZE_MAX);
      (void)strand_offsets_finish(p->offsets, r->offset);
    }
    tell(STRAND_NOTICE_PARKED, p, r, ending->reason, ending->reason_length,
         -1);
  }
  if (alone) detach(r);
  if (kind == STRAND_WAITING_LETTER
      && MUTANT(letter_is_done_when_it_is_sent)) {
    return strand_engine_lettered(e, r, now_us);
  }
  return STRAND_OK;
}

static strand_err skip_first (strand_lease *lease, const strand_ending *ending,
                              int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_err err;
  tell_failed(lease, ending, -1);
  do err = strand_lease_finish_first(lease, now_us);
  while (MUTANT(skipped_record_takes_others_along) && lease->count > 0);
  if (err != STRAND_OK) return err;
  p->skipped++;
  p->engine->skipped++;
  return STRAND_OK;
}

static strand_err stop_at (strand_lease *lease, const strand_ending *ending) {
  strand_partition *p = lease->partition;
  strand_record *r = lease->record;
  strand_err err = strand_lease_unstart(lease, false);
  if (err != STRAND_OK) return err;
  tell_failed(lease, ending, -1);
  if (ending->kind != STRAND_VERDICT_STOP) {
    tell(STRAND_NOTICE_STOP, p, r, ending->reason, ending->reason_length, -1);
  }
  return strand_engine_give_back(p->engine, lease);
}

/* Where no dead letter can be sent, the reason says why it is parked. */
static strand_err park_unsent (strand_lease *lease,
                               const strand_ending *ending, int64_t now_us) {
  static const char note[] = "no dead letter topic";
  char text[STRAND_REASON_MAX] = "no dead letter topic: ";
  size_t start = sizeof(note) + 1, length = ending->reason_length;
  strand_ending told = *ending;
  told.reason = text;
  told.reason_length = sizeof(note) - 1;
  if (length > 0) {
    length = strand_utf8_cut(ending->reason, length, sizeof(text) - start);
    memcpy(text + start, ending->reason, length);
    told.reason_length = start + length;
  }
  return set_waiting(lease, STRAND_WAITING_PARKED, &told, -1, now_us);
}

strand_err strand_engine_end (strand_engine *e, strand_lease *lease,
                              const strand_ending *ending, int64_t now_us) {
  strand_verdict_kind kind;
  int64_t delay_us;
  if (strand_lease_drop(lease)) return STRAND_OK;
  if (ending->kind == STRAND_VERDICT_DONE && !lease->expired) {
    return strand_engine_done(e, lease, 1, now_us);
  }
  kind = decide(lease->partition, lease, ending, &delay_us);
  switch (kind) {
    case STRAND_VERDICT_SKIP: return skip_first(lease, ending, now_us);
    case STRAND_VERDICT_STOP: return stop_at(lease, ending);
    case STRAND_VERDICT_PARK:
      if (ending->kind == STRAND_VERDICT_DEAD_LETTER) {
        return park_unsent(lease, ending, now_us);
      }
      /* fall through */
    default:
      return set_waiting(lease, waiting_of(kind), ending, delay_us, now_us);
  }
}

/*
** Out of it
*/

static void leave_waiting (strand_record *r) {
  r->flags &= (uint8_t)~STRAND_RECORD_WAITING;
  count_waiting(r->shard->partition, r->in.past->waiting, -1);
}

/* The shard's head may run again. */
static void become_ready (strand_record *r) {
  strand_shard *s = r->shard;
  if (strand_shard_keyed(s)) {
    assert(s->state == SHARD_WAITING && s->head == r);
    if (MUTANT(retried_record_loses_its_place)) {
      strand_shard_append(s, strand_shard_pop(s));
    }
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
  throttled = strand_engine_gates(e, now_us);
  return retry < throttled ? retry : throttled;
}

/* The record is done, without a lease. */
static strand_err finish (strand_record *r, int64_t now_us) {
  strand_shard *s = r->shard;
  strand_partition *p = s->partition;
  strand_err err = strand_offsets_finish(p->offsets, r->offset);
  if (err != STRAND_OK) return err;
  p->engine->active_us = now_us;
  p->engine->maybe_dirty = true;
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

strand_err strand_engine_lettered (strand_engine *e, strand_record *record,
                                   int64_t now_us) {
  strand_partition *p = record->shard->partition;
  strand_err err;
  assert(is_waiting(record, STRAND_WAITING_LETTER));
  if (record->in.past->resolved == 0) { /* told once */
    record->in.past->resolved = STARTED;
    tell(STRAND_NOTICE_LETTERED, p, record, record->in.past->text,
         record->in.past->length, -1);
  }
  err = finish(record, now_us);
  if (err != STRAND_OK) return err;
  count_waiting(p, STRAND_WAITING_LETTER, -1);
  p->dead_lettered++;
  e->dead_lettered++;
  return STRAND_OK;
}

strand_err strand_engine_unlettered (strand_engine *e, strand_record *record,
                                     const char *reason, size_t reason_length,
                                     int64_t now_us) {
  strand_partition *p = record->shard->partition;
  strand_err err;
  assert(is_waiting(record, STRAND_WAITING_LETTER));
  if (MUTANT(refused_letter_counts_as_sent)) {
    return strand_engine_lettered(e, record, now_us);
  }
  if (parks_alone(e) && strand_shard_detached(p) == NULL) return STRAND_ENOMEM;
  err = keep_past(record, reason, reason_length, now_us);
  if (err == STRAND_OK)
    err = strand_offsets_unstart(p->offsets, record->offset);
  if (err != STRAND_OK) return err;
  count_waiting(p, STRAND_WAITING_LETTER, -1);
  count_waiting(p, STRAND_WAITING_PARKED, 1);
  record->in.past->waiting = STRAND_WAITING_PARKED;
  tell(STRAND_NOTICE_PARKED, p, record, reason, reason_length, -1);
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
  if (p->parked == 0) return NULL;
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
  assert(resolution != STRAND_RESOLVE_DEAD_LETTER || e->config.letter != NULL);
  (void)e;
  if (resolution == STRAND_RESOLVE_RETRY) {
    if (!MUTANT(resolved_record_keeps_its_failures)) r->in.past->failures = 0;
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
    if (!e->config.letter(e->config.arg, p, r)) return false;
    leave_ready(s, r);
    enter_waiting(r, STRAND_WAITING_LETTER);
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
