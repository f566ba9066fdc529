/*
** outputs.h - what handlers produced, from the harvest to the acknowledgement
**
**            take              all handed over       acknowledged, or refused
**   handler ------> WAITING -----------------> OUT ----------------> SETTLED
**                      ^                        |                       |
**                      +------- rewound <-------+                 the engine
**                       a delivery has failed                       is told
**
** A record whose outputs are taken has left its shard: the next of its key
** runs. Outputs are handed over in the order in which they were taken, so
** those of a key in the order of its records; one that has to wait (a full
** queue) holds up all behind it. When a delivery has failed, nothing more is
** handed over until all that is out is reported; then what failed goes first,
** in its order.
**
** What may be sent well later is never given up; but at most once what may have
** been written is not sent again: it counts as refused. What is refused for
** ever ends its record (strand_engine_output_refused). That is believed at once
** of a topic that is not there or not allowed; of a partition, which may just
** have been added, when the brokers were asked anew; of a record that is too
** large, or otherwise wrong, when it was sent alone: brokers refuse whole
** batches.
**
** A record whose partition is revoked is forgotten: what of its outputs was
** not handed over never is, and reports of the others change nothing.
**
** Invariants:
**   (1) What was taken is in one list: the queue, settled or gone.
**   (2) In 'gone', and nowhere else, there is no record; its outputs are out.
**   (3) 'out' is how many outputs have no report.
**   (4) Before 'next' in the queue all is handed over, unless some delivery has
**       failed.
**
** Thread: owner.
*/
#ifndef STRAND_OUTPUTS_H
#define STRAND_OUTPUTS_H

#include "kafka/alert.h"
#include "member/assignment.h"
#include "member/outbox.h"
#include "member/output_topics.h"
#include "member/owner.h"
#include "member/snapshot.h"
#include "member/transactions.h"
#include "shared/staged.h"

typedef struct strand_outputs {
  /* set by init, and only read */
  const strand_owner *owner;
  strand_outbox *outbox;
  strand_output_topics *topics;
  strand_snapshot *snapshot;
  strand_transactions *transactions; /* exactly once: all is for them; or
                                        NULL */

  strand_link queue; /* WAITING and OUT, in the order they were taken */
  strand_link settled;
  strand_link gone;
  strand_staged *next; /* of the queue: the first to be handed over, or NULL */
  size_t out;
  bool failed; /* some delivery: nothing is handed over until 'out' is 0 */
  int64_t again_us; /* nor before */
  int64_t wait_us;
  strand_alert mixed;   /* innocent records of a batch were refused */
  int64_t refused_size; /* batch.size then, until the reason is known; or 0 */
} strand_outputs;

void strand_outputs_init (strand_outputs *o, const strand_owner *owner,
                          strand_outbox *outbox, strand_output_topics *topics,
                          strand_snapshot *snapshot);
void strand_outputs_free (strand_outputs *o);
/* Before anything is taken: all that is goes to them. */
static inline void strand_outputs_give_to (strand_outputs *o,
                                           strand_transactions *x) {
  o->transactions = x;
}
/* Handlers are to start nothing. */
static inline bool strand_outputs_is_full (const strand_outputs *o) {
  return o->transactions != NULL
         && strand_transactions_is_full(o->transactions);
}

/* The lease's first record is done, but for what it produced, which is taken.
** Not of a stale lease. STRAND_ENOMEM: nothing was; call again. */
strand_err strand_outputs_take (strand_outputs *o, strand_assigned *assigned,
                                strand_lease *lease, strand_staged *staged);
/* Of one of them: what was in a client's opaque. With an error the broker may
** have written it all the same. */
void strand_outputs_report (strand_outputs *o, strand_output *output,
                            rd_kafka_resp_err_t err, bool maybe_written,
                            int64_t now_us);
/* The client was replaced: no report comes of what is out. */
void strand_outputs_again (strand_outputs *o, int64_t now_us);
/* The client was drained, and makes smaller batches: those that were refused
** among others may go among others again. */
void strand_outputs_regroup (strand_outputs *o);
/* Outputs out, the engine told. */
void strand_outputs_serve (strand_outputs *o, int64_t now_us);
int64_t strand_outputs_due (const strand_outputs *o, int64_t now_us);
/* Without a client (consumer/driver.h): the next record's outputs count as
** acknowledged, and are there until the engine is told. NULL: there is none. */
const strand_staged *strand_outputs_accept (strand_outputs *o, int64_t now_us);
/* The partition ends, before the engine hears of it; 'topic' and 'index' is
** what it was. */
void strand_outputs_forget (strand_outputs *o, strand_assigned *assigned,
                            const char *topic, int32_t index);
/* Between two turns, in debug builds. */
void strand_outputs_check (const strand_outputs *o);

#endif
