/*
** handover.h - batches to the workers, and outcomes back
**
** Thread: owner.
*/
#ifndef STRAND_HANDOVER_H
#define STRAND_HANDOVER_H

#include "kafka/mailbox.h"

typedef struct strand_member strand_member;

typedef struct strand_handover {
  strand_batch *batches; /* out, newest first */
  strand_batch *spare;
  unsigned spare_count;
  size_t max_ready;
  size_t batch_most;     /* records of the largest batch of a route */
  strand_bundle *bundle; /* for the next one; or NULL */
  bool halted;           /* what was not claimed came back */
  int64_t look_us;       /* next look at the outcomes */
  int64_t look_wait_us;
} strand_handover;

void strand_handover_harvest (strand_member *m, int64_t now_us);
void strand_handover_post (strand_member *m, int64_t now_us);
/* All that no worker has claimed comes back into the engine. */
void strand_handover_recall (strand_member *m);
bool strand_handover_out (const strand_member *m);
/* If the retry function failed for the lease's first record, which is about
** to end: told once, however often that is tried for want of memory. */
void strand_handover_policy (strand_member *m, const strand_lease *lease,
                             strand_verdict *verdict);
/* Batches that were kept. */
void strand_handover_free (strand_member *m);

#endif
