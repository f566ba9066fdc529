/*
** outcome.c - what the end of a record means, by its route's policy
**
**   DONE               done
**   FAILED, EXHAUSTED  what the policy says: RETRY, or one of those below
**   RETRY              waits: in back-off
**   DEAD_LETTER        waits: for that; parked, where none can be sent
**   PARK               waits: parked
**   SKIP               done, and counted as skipped
**   STOP               given back, and told
**
** A record that passed its deadline has failed, whatever its handler says in
** the end.
**
** At most once a record that has started never starts again: RETRY and PARK
** are EXHAUSTED, what is exhausted is skipped unless the policy says
** otherwise, a dead letter does not hold its shard, and STOP is done.
*/
#include <string.h>

#include "codec/utf8.h"
#include "core/engine.h"
#include "core/state.h"
#include "core/waiting.h"

/*
** What it means
*/

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
  if (delay > most) delay = most;
  return (int64_t)(delay * (1 - policy->jitter * random_unit(e)));
}

/* RETRY, DEAD_LETTER, PARK, SKIP or STOP, in the end; '*delay_us' with the
** first. */
static strand_outcome_kind decide (strand_partition *p,
                                   const strand_lease *lease,
                                   const strand_ending *ending,
                                   int64_t *delay_us) {
  const strand_policy *policy = &p->throttle->limits.policy;
  strand_outcome_kind kind = ending->kind;
  uint32_t failures = strand_record_failures(lease->record) + 1;
  *delay_us = ending->delay_us;
  if (lease->expired && kind != STRAND_OUTCOME_FAILED
      && kind != STRAND_OUTCOME_EXHAUSTED) {
    kind = STRAND_OUTCOME_FAILED;
    *delay_us = -1;
  }
  if (kind == STRAND_OUTCOME_FAILED && policy->attempts > 0
      && failures >= policy->attempts)
    kind = STRAND_OUTCOME_EXHAUSTED;
  if (kind == STRAND_OUTCOME_FAILED && strand_at_most_once(p->engine))
    kind = STRAND_OUTCOME_EXHAUSTED;
  if (kind == STRAND_OUTCOME_EXHAUSTED) kind = policy->exhausted;
  if (kind == STRAND_OUTCOME_DEAD_LETTER
      && p->engine->config.dead_letter == NULL) {
    kind = STRAND_OUTCOME_PARK;
  }
  if (kind == STRAND_OUTCOME_PARK && strand_at_most_once(p->engine))
    kind = STRAND_OUTCOME_SKIP;
  if (kind == STRAND_OUTCOME_FAILED || kind == STRAND_OUTCOME_RETRY) {
    kind = STRAND_OUTCOME_RETRY;
    if (*delay_us < 0) *delay_us = policy_delay(p->engine, policy, failures);
  }
  else *delay_us = -1;
  return kind;
}

static bool is_failure (strand_outcome_kind kind) {
  return kind == STRAND_OUTCOME_FAILED || kind == STRAND_OUTCOME_EXHAUSTED
         || kind == STRAND_OUTCOME_RETRY;
}

static strand_waiting waiting_of (strand_outcome_kind kind) {
  return kind == STRAND_OUTCOME_RETRY  ? STRAND_WAITING_BACKOFF
         : kind == STRAND_OUTCOME_PARK ? STRAND_WAITING_PARKED
                                       : STRAND_WAITING_DEAD_LETTER;
}

static strand_cause cause_of (const strand_lease *lease,
                              const strand_ending *ending) {
  if (lease->expired) return STRAND_CAUSE_DEADLINE;
  switch (ending->kind) {
    case STRAND_OUTCOME_FAILED: return STRAND_CAUSE_FAILED;
    case STRAND_OUTCOME_EXHAUSTED: return STRAND_CAUSE_EXHAUSTED;
    default: return STRAND_CAUSE_ASKED;
  }
}

/* Once for each attempt that failed. */
static void tell_failed (strand_lease *lease, const strand_ending *ending,
                         int64_t delay_us) {
  strand_partition *p = lease->partition;
  if (lease->reported) return;
  if (!is_failure(ending->kind)) return;
  lease->reported = true;
  p->failed++;
  p->engine->failed++;
  strand_record_tell(p, lease->record, STRAND_NOTICE_FAILED, ending->reason,
                     ending->reason_length, delay_us);
}

/*
** What is made of it
*/

void strand_engine_expire (strand_engine *e, strand_lease *lease,
                           const char *reason, size_t reason_length) {
  strand_partition *p = lease->partition;
  (void)e;
  if (lease->expired || p->state == PARTITION_GONE || lease->epoch != p->epoch)
    return;
  tell_failed(
    lease,
    &(strand_ending){ STRAND_OUTCOME_FAILED, -1, reason, reason_length }, -1);
  lease->expired = true;
}

static strand_err make_wait (strand_lease *lease, strand_waiting kind,
                             const strand_ending *ending, int64_t delay_us,
                             int64_t now_us) {
  strand_wait wait = {
    .kind = kind,
    .cause = cause_of(lease, ending),
    .counts = ending->kind != STRAND_OUTCOME_RETRY || lease->expired,
    .delay_us = delay_us,
    .reason = ending->reason,
    .reason_length = ending->reason_length,
  };
  strand_err err = strand_waiting_prepare(lease, &wait, now_us);
  if (err != STRAND_OK) return err;
  tell_failed(lease, ending, delay_us);
  strand_waiting_enter(lease, &wait, now_us);
  return STRAND_OK;
}

static strand_err skip_first (strand_lease *lease, const strand_ending *ending,
                              int64_t now_us) {
  strand_partition *p = lease->partition;
  strand_err err;
  tell_failed(lease, ending, -1);
  strand_record_tell(p, lease->record, STRAND_NOTICE_SKIPPED, ending->reason,
                     ending->reason_length, -1);
  err = strand_lease_finish_first(lease, now_us);
  if (err != STRAND_OK) return err;
  p->skipped++;
  p->engine->skipped++;
  return STRAND_OK;
}

static strand_err stop_at (strand_lease *lease, const strand_ending *ending) {
  strand_partition *p = lease->partition;
  strand_record *r = lease->record;
  strand_err err = strand_lease_unstart(lease, 0);
  if (err != STRAND_OK) return err;
  tell_failed(lease, ending, -1);
  if (ending->kind != STRAND_OUTCOME_STOP) {
    strand_record_tell(p, r, STRAND_NOTICE_STOP, ending->reason,
                       ending->reason_length, -1);
  }
  return strand_engine_give_back(p->engine, lease);
}

/* Where no dead letter can be sent, the reason says why it is parked. */
static strand_err park_unsent (strand_lease *lease,
                               const strand_ending *ending, int64_t now_us) {
  static const char note[] = "no dead letter topic";
  char text[STRAND_REASON_MAX] = "no dead letter topic: ";
  size_t start = sizeof(note) + 1, length = ending->reason_length;
  strand_ending noted = *ending;
  noted.reason = text;
  noted.reason_length = sizeof(note) - 1;
  if (length > 0) {
    length = strand_utf8_cut(ending->reason, length, sizeof(text) - start);
    memcpy(text + start, ending->reason, length);
    noted.reason_length = start + length;
  }
  return make_wait(lease, STRAND_WAITING_PARKED, &noted, -1, now_us);
}

/*
** At most once
*/

/* What would have the record run again is a failure. */
static strand_ending final_ending (const strand_ending *ending) {
  static const char retry[] = "retry(), under at_most_once";
  static const char park[] = "park(), under at_most_once";
  bool parks = ending->kind == STRAND_OUTCOME_PARK;
  strand_ending final = *ending;
  if (!parks && ending->kind != STRAND_OUTCOME_RETRY) return final;
  final.kind = STRAND_OUTCOME_EXHAUSTED;
  final.delay_us = -1;
  if (ending->reason_length > 0) return final;
  final.reason = parks ? park : retry;
  final.reason_length = parks ? sizeof(park) - 1 : sizeof(retry) - 1;
  return final;
}

static strand_err send_first (strand_lease *lease, const strand_ending *ending,
                              int64_t now_us) {
  strand_wait wait = { .kind = STRAND_WAITING_DEAD_LETTER,
                       .cause = cause_of(lease, ending),
                       .delay_us = -1,
                       .reason = ending->reason,
                       .reason_length = ending->reason_length };
  tell_failed(lease, ending, -1);
  return strand_waiting_send(lease, &wait, now_us);
}

static strand_err stop_finally (strand_lease *lease,
                                const strand_ending *ending, int64_t now_us) {
  tell_failed(lease, ending, -1);
  if (ending->kind != STRAND_OUTCOME_STOP) {
    strand_record_tell(lease->partition, lease->record, STRAND_NOTICE_STOP,
                       ending->reason, ending->reason_length, -1);
  }
  return skip_first(lease, ending, now_us);
}

static strand_err end_finally (strand_lease *lease,
                               const strand_ending *ending, int64_t now_us) {
  strand_ending final = final_ending(ending);
  int64_t delay_us;
  switch (decide(lease->partition, lease, &final, &delay_us)) {
    case STRAND_OUTCOME_DEAD_LETTER: return send_first(lease, &final, now_us);
    case STRAND_OUTCOME_STOP: return stop_finally(lease, &final, now_us);
    default: return skip_first(lease, &final, now_us);
  }
}

strand_err strand_engine_end (strand_engine *e, strand_lease *lease,
                              const strand_ending *ending, int64_t now_us) {
  strand_outcome_kind kind;
  int64_t delay_us;
  if (strand_lease_drop(lease)) return STRAND_OK;
  if (ending->kind == STRAND_OUTCOME_DONE && !lease->expired) {
    return strand_engine_done(e, lease, 1, now_us);
  }
  if (strand_at_most_once(e)) return end_finally(lease, ending, now_us);
  kind = decide(lease->partition, lease, ending, &delay_us);
  switch (kind) {
    case STRAND_OUTCOME_SKIP: return skip_first(lease, ending, now_us);
    case STRAND_OUTCOME_STOP: return stop_at(lease, ending);
    case STRAND_OUTCOME_PARK:
      if (ending->kind == STRAND_OUTCOME_DEAD_LETTER) {
        return park_unsent(lease, ending, now_us);
      }
      /* fall through */
    default:
      return make_wait(lease, waiting_of(kind), ending, delay_us, now_us);
  }
}
