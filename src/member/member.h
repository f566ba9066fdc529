/*
** member.h - one group member: its owner thread and what that owns
**
** A composition of parts, each with its own state, and a loop over them. A
** part knows those above it in the struct, and no other; only this unit
** (member.c, opening.c, closing.c) knows all.
**
** A turn of the loop, in this order:
**
**   inbox     (inbox.c)      what the lua thread and other members asked for
**   answers   (helper.c)     what the helper found, to the part that asked
**   group     (group.c)      rebalances, errors, tokens
**   reassign  (reassign.c)   what waits for another's committed offset
**   harvest   (handover.c)   outcomes back into the engine
**   topics    (output_topics.c) what is known of those of outputs
**   reports   (reports.c)    what was acknowledged, and what was not
**   letters   (dead_letters.c) dead letters out
**   outputs   (outputs.c)    what handlers produced out
**   transactions             exactly once: what is in their way
**   commit    (committer.c)  when one is due; then a rebalance that waits
**   timers    (the engine's) what is due for a retry, or has waited enough
**   read      (reader.c)     records of partitions within their share
**   reset     (epochs.c)     what was read of logs that were made anew
**   seeks     (seek.c)       those whose turn it is
**   hand over (handover.c)   batches to the workers
**   close     (closing.c)    the next phase
**   health    (known_errors.c, outage.c) what is wrong with the world
**   snapshot  (snapshot.c)   what others may look at; warnings
**   and when nothing more can be read now: positions, starts, topics
**
** and then it sleeps until librdkafka, a worker, the helper, the lua thread
** or a timer has something, at most min(1 s, max.poll.interval / 4): an
** owner that does not poll is expelled from its group.
**
** Thread: owner, but for the functions that say otherwise.
*/
#ifndef STRAND_MEMBER_H
#define STRAND_MEMBER_H

#include "base/waker.h"
#include "kafka/helper.h"
#include "kafka/join_watch.h"
#include "kafka/signs.h"
#include "member/committer.h"
#include "member/dead_letters.h"
#include "member/epochs.h"
#include "member/group.h"
#include "member/handover.h"
#include "member/health.h"
#include "member/known_errors.h"
#include "member/membership.h"
#include "member/notices.h"
#include "member/outage.h"
#include "member/outbox.h"
#include "member/output_topics.h"
#include "member/outputs.h"
#include "member/owner.h"
#include "member/parked.h"
#include "member/position.h"
#include "member/reader.h"
#include "member/reassign.h"
#include "member/reports.h"
#include "member/seek.h"
#include "member/shares.h"
#include "member/snapshot.h"
#include "member/starts.h"
#include "member/topics.h"
#include "member/transactions.h"
#include "member/transactor.h"
#include "member/watchdog.h"
#include "shared/problem.h"
#include "shared/shared.h"

/* The way to the end, by the phases of owner.h.
**
** Invariants:
**   (1) The end has begun when nothing is served any more.
**   (2) The call that destroys the client waits in DESTROYING alone.
**   (3) None has made its last commit before its handlers have ended. */
typedef struct strand_closing {
  int64_t limit_us; /* end of the phase */
  int64_t deadline_us;
  strand_close_mode mode;
  bool last_commit;        /* was made: this one may leave */
  bool cannot_leave;       /* librdkafka refuses: a fatal error */
  strand_call *destroying; /* for the helper, when the client has left */
} strand_closing;

typedef struct strand_member {
  strand_opaque opaque; /* first: log.h */
  atomic_int refs; /* by the lua thread and each thread of its; who is last
                      frees it */
  strand_owner owner;
  strand_waker *waker; /* its inbox's */

  strand_shares shares;
  strand_signs signs;
  strand_join_watch join_watch;
  strand_problem problem; /* for health() */
  strand_membership membership;
  strand_assignment assignment;
  strand_snapshot snapshot;
  strand_known_errors known_errors;
  strand_topics topics;
  strand_outage outage;
  strand_health health;
  strand_positions positions;
  strand_reassign reassign;
  strand_starts starts;
  strand_seeks seeks;
  strand_parking parking;
  strand_reader reader;
  strand_outbox outbox;
  strand_transactor transactor;
  strand_transactions transactions;
  strand_dead_letters dead_letters;
  strand_output_topics output_topics;
  strand_outputs outputs;
  strand_reports reports;
  strand_watchdog watchdog;
  strand_handover handover;
  strand_epochs epochs;
  strand_committer committer;
  strand_group group;
  strand_closing closing;
} strand_member;

/* opening.c */
/* Thread: lua. Gives each part what is below it: all of a member but its
** client, its engine and its outbox's. */
void strand_member_init (strand_member *m, strand_consumer *c, unsigned index);
/* Thread: lua. Makes the client; connects to nothing. */
strand_member *strand_member_new (strand_consumer *c, unsigned index,
                                  const strand_property *props, size_t count,
                                  strand_failure *failure);
/* Thread: lua, or whoever is last: that one frees it. */
void strand_member_unref (strand_member *m);
/* Thread: lua. For both of its clients. False: refused, and why is in
** 'error'. */
bool strand_member_token (strand_member *m, const char *token,
                          int64_t expires_ms, const char *principal,
                          char *error, size_t size);
/* Thread: lua. The program could get none. */
void strand_member_token_fail (strand_member *m, const char *message);

/* member.c */
/* Thread: lua. Starts owner and helper. False and a failure. */
bool strand_member_start (strand_member *m, strand_failure *failure);
/* Thread: lua. A member that never ran lets its client go, in a thread by
** itself. */
void strand_member_dismiss (strand_member *m);
/* What the helper has found, to the part that asked. */
void strand_member_answers (strand_member *m, int64_t now_us);

/* closing.c */
/* The close that was asked for begins, or goes on in another mode. */
void strand_closing_begin (strand_member *m, int64_t now_us);
/* Goes on to the next phase where that is due. */
void strand_closing_advance (strand_member *m, int64_t now_us);
int64_t strand_closing_due (const strand_member *m);
/* Between two turns, in debug builds. */
void strand_closing_check (const strand_member *m);

#endif
