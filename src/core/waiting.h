/*
** waiting.h - how a record that is not done and does not run is kept
**
** Thread: owner.
*/
#ifndef STRAND_WAITING_H
#define STRAND_WAITING_H

#include "core/state.h"

/* How the first record of a lease is to wait. */
typedef struct strand_wait {
  strand_waiting kind;
  strand_cause cause;
  bool counts;      /* as one of the policy's attempts */
  int64_t delay_us; /* BACKOFF */
  const char *reason;
  size_t reason_length;
} strand_wait;
/* All that may fail for want of memory; may be called again. */
strand_err strand_waiting_prepare (strand_lease *lease,
                                   const strand_wait *wait, int64_t now_us);
/* What was prepared: the lease ends, its first record waits. */
void strand_waiting_enter (strand_lease *lease, const strand_wait *wait,
                           int64_t now_us);
/* What is known of 'r', which has its own allocation, and the new reason.
** STRAND_ENOMEM: nothing has changed. */
strand_err strand_waiting_note (strand_record *r, const char *reason,
                                size_t length, int64_t now_us);
/* It waits from now on, without a lease; its past is there. */
void strand_waiting_join (strand_record *r, strand_waiting kind);
/* At most once, for a dead letter: the first record has left the lease and its
** shard to the others. */
strand_err strand_waiting_send (strand_lease *lease, const strand_wait *wait,
                                int64_t now_us);
static inline uint32_t strand_record_failures (const strand_record *r) {
  if (!(r->flags & STRAND_RECORD_OWN) || r->in.past == NULL) return 0;
  return r->in.past->failures;
}
/* It was parked, and is to be discarded or sent, not handled. */
static inline bool strand_record_resolved (const strand_record *r) {
  return (r->flags & STRAND_RECORD_OWN) && r->in.past != NULL
         && r->in.past->resolved != 0;
}
/* Its offset is in flight already. */
bool strand_waiting_started (const strand_record *r);
/* Does with the head of 's', which is resolved and started, what was asked
** for. False: memory ran out. */
bool strand_waiting_carry_out (strand_shard *s, int64_t now_us);

#endif
