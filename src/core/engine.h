/*
** engine.h - a group member's state machine: records in, leases and commits
** out
**
**   room, admit        a polled record enters its shard
**        |
**   lease              consecutive records of one ready shard go to a worker
**        |
**   done, end, give_back     what became of them, in their order
**        |   sent: handled, its outputs under way; then done, or waiting
**        |        |
**        |    waiting: in back-off, parked, or its dead letter under way;
**        |             then ready again, or done
**        |
**   commit, commit_answer    what the group is told, and whether it heard
**
** Nothing here knows Lua, librdkafka, a thread or a clock: time, assignments,
** outcomes and commit answers are arguments. So a simulator drives millions
** of seeded schedules through this code.
**
** A partition's life, by the function that makes the step (all on the owner):
**
**   assign -> RESTORING -- restored --> RUNNING -- revoking --> REVOKING
**                |                        |                        |
**                +---------- revoke ------+------------------------+-> GONE
**
**   RESTORING  nothing is read, nothing runs: the done set is not known yet
**   RUNNING    records flow
**   REVOKING   nothing new starts; what runs may end, and counts
**   GONE       its outcomes are stale; kept while handlers of it still run
**
** Invariants:
**   (1) At most one lease of a keyed shard is out, from the lease until its
**       last record is done, failed or given back, across epochs: a shard
**       whose handler runs on after a revoke is an orphan (strand_orphan) in
**       every later assignment of the partition until the handler returned.
**   (2) Records of a keyed shard are leased in offset order; a failed one
**       keeps its place at the head. (But see 'park_alone', and an output
**       that is refused: by then later ones may have run.)
**   (3) A commit item's offset and metadata come from one moment, and say
**       nothing of a record that is not done.
**   (4) One commit is unanswered at most.
**   (5) A partition is clean only after an answer to what it says now.
**   (6) buffered and waiting are what the records and chunks add up to, and
**       stay within their budgets (see strand_engine_may_read).
**   (7) A record whose dead letter is under way is done only by
**       strand_engine_dead_letter_acked.
**   (8) A route's leases stay within its max_in_flight, and what was leased
**       within its rate and the consumer's.
**   (9) A record whose outputs are under way has left lease and shard, and is
**       done only by strand_engine_output_acked; its offset is in flight.
**   At most once turns (3) round: an item says that all is done which has
**   started, or may before the next commit (windows.c).
**   Exactly once an item says the same of what is in its transaction, and of no
**   other record that is not done (transacted.c).
**
** Thread: owner. A worker reads strand_partition's fields marked 'lease'.
*/
#ifndef STRAND_ENGINE_H
#define STRAND_ENGINE_H

#include "core/types.h"

/* NULL when memory runs out. 'config' is copied. */
strand_engine *strand_engine_new (const strand_engine_config *config);
/* No lease may be out, and no commit unanswered. */
void strand_engine_free (strand_engine *e);
/* Budgets, rates, routes, commit interval and metadata limit may change while
** running; a metadata limit that changes is tried whatever was refused. */
void strand_engine_configure (strand_engine *e,
                              const strand_engine_config *config);

/*
** Assignment
*/

/* 'epoch' was never used for this topic and partition before. 'orphan' is
** copied. NULL when memory runs out. */
strand_partition *strand_engine_assign (strand_engine *e, const char *topic,
                                        int32_t index, uint32_t epoch,
                                        size_t route,
                                        const strand_orphan *orphans,
                                        size_t orphan_count);

/* The base is known. 'committed' is -1 for a group without an offset; then
** 'payload' is NULL. 'payload' may be NULL: nothing above is done. */
strand_err strand_engine_restored (strand_engine *e, strand_partition *p,
                                   int64_t committed,
                                   const strand_payload *payload);
/* The base is 'offset', whatever the group has: the next commit tells it. */
strand_err strand_engine_rebased (strand_engine *e, strand_partition *p,
                                  int64_t offset);

void strand_engine_pause (strand_engine *e, strand_partition *p, bool paused);
void strand_engine_revoking (strand_engine *e, strand_partition *p);

/* The epoch ends. 'visit' is called for each shard that is now orphaned. 'p'
** must not be used any more, except through leases that are out. */
void strand_engine_revoke (strand_engine *e, strand_partition *p,
                           void (*visit)(void *arg, const strand_orphan *),
                           void *arg);

/* An orphaned shard's handler returned, here or at another member. Said too
** late, after the partition was assigned again, it may free a shard that is
** orphaned by now for another handler: an owner hands on what it was told
** before it assigns (the simulator shows the difference, seed 977). */
void strand_engine_release (strand_engine *e, const strand_orphan *orphan);

/*
** Records
*/

/* Whether the partition's queue should be read now: it is running, not
** paused, and within its share. A share is guaranteed: budget / partitions.
** More may be taken while no partition that has records to read would lose
** its share by it. A partition that holds nothing may always take a record. */
bool strand_engine_may_read (const strand_engine *e,
                             const strand_partition *p);
/* How much of it, or of all ('p' NULL), could start now: records, or keys
** with a record. In flight is not; nor, but for the order by key, what waits
** behind another. */
size_t strand_engine_startable (const strand_engine *e,
                                const strand_partition *p);
/* A batch of it is not full: it is to be read, although it has enough that
** could start. */
bool strand_engine_short (const strand_engine *e, const strand_partition *p);
/* How many records to read at most, so that the budget is not passed. */
size_t strand_engine_read_limit (const strand_engine *e,
                                 const strand_partition *p, size_t most);
/* The partition's queue was read and found empty, or not: what an empty one
** does not need of its share is lent to the others. */
void strand_engine_drained (strand_engine *e, strand_partition *p,
                            bool drained);
/* No partition is read any more: the member drains, and no batch lingers. */
void strand_engine_stop_intake (strand_engine *e);

/* A record with room for its bytes, which the caller writes: key, value,
** packed headers. Then admit it, nothing else in between. NULL when memory
** runs out. Lengths and flags KEY and VALUE, timestamp and leader epoch are
** the caller's to set. */
strand_record *strand_engine_room (strand_engine *e, strand_partition *p,
                                   size_t length);
/* The record enters its shard, or is dropped (DONE, EARLIER, ENOMEM). */
strand_added strand_engine_admit (strand_engine *e, strand_partition *p,
                                  strand_record *record, int64_t now_us);
/* The partition ends at 'offset': nothing below was left out. */
strand_err strand_engine_reach (strand_engine *e, strand_partition *p,
                                int64_t offset);

/*
** Leases
*/

/* The next lease of at most 'most' records; of a route with batches, the
** first of a call. False when nothing may start now. */
bool strand_engine_lease (strand_engine *e, size_t most, int64_t now_us,
                          strand_lease *out);
/* A further lease for the call that 'first' began. False: it is complete. */
bool strand_engine_lease_more (strand_engine *e, const strand_lease *first,
                               size_t most, int64_t now_us, strand_lease *out);

/* The first 'count' records of the lease are done. Stale leases are dealt
** with. STRAND_ENOMEM: fewer were done, see lease->count; call again. */
strand_err strand_engine_done (strand_engine *e, strand_lease *lease,
                               uint32_t count, int64_t now_us);

/* The first record ended like that, and the lease with it: the others go back
** unstarted. But a skipped record leaves the lease to the others. */
strand_err strand_engine_end (strand_engine *e, strand_lease *lease,
                              const strand_ending *ending, int64_t now_us);

/* The first record has passed its deadline: told as failed now. It runs until
** strand_engine_end, for which it failed whatever that says. */
void strand_engine_expire (strand_engine *e, strand_lease *lease,
                           const char *reason, size_t reason_length);

/* Its partition was revoked: whatever became of it counts for nothing. */
bool strand_engine_is_stale (const strand_lease *lease);

/* The first record was handled, and what it produced was handed over: it
** leaves the lease and its shard, and is done with
** strand_engine_output_acked. Not of a stale lease, nor of one that has
** expired. STRAND_ENOMEM: call again. */
strand_err strand_engine_sent (strand_engine *e, strand_lease *lease);

/* The lease is out, and only its first 'started' records have started, or
** will: the others come back, and no commit says they have. */
void strand_engine_cut (strand_engine *e, strand_lease *lease,
                        uint32_t started);

/* All records go back unstarted, at the front; the lease ends. */
strand_err strand_engine_give_back (strand_engine *e, strand_lease *lease);

/* Retries that are due become ready; and strand_engine_throttle. Returns when
** the next is, or INT64_MAX. */
int64_t strand_engine_tick (strand_engine *e, int64_t now_us);
/* What waits for a rate, or for a batch to fill, may be leased when it is
** time. Returns when the next is, or INT64_MAX when nothing waits so. What
** has to wait shows in a lease: to be asked again after it. */
int64_t strand_engine_throttle (strand_engine *e, int64_t now_us);

/*
** Outputs
*/

/* All that 'record' produced is acknowledged: it is done. */
strand_err strand_engine_output_acked (strand_engine *e, strand_record *record,
                                       int64_t now_us);
/* Some of it never will be: the record has failed, and ends by its policy's
** 'exhausted' (at most once without another start). It may move.
** STRAND_ENOMEM: call again. */
strand_err strand_engine_output_refused (strand_engine *e,
                                         strand_record **record,
                                         const char *reason,
                                         size_t reason_length, int64_t now_us);

/*
** Exactly once
*/

/* What 'record' produced, or its dead letter, is in the transaction whose
** commit is made next: that says it is done. No commit is out. */
void strand_engine_transact (strand_engine *e, strand_record *record);
/* It is not, or the transaction was aborted. */
void strand_engine_untransact (strand_engine *e, strand_record *record);
/* Asked after the commit was made: it may have had no room for it. */
bool strand_record_is_transacted (const strand_record *record);

/*
** Dead letters and parked records
*/

/* The dead letter of 'record' is acknowledged: it is done. */
strand_err strand_engine_dead_letter_acked (strand_engine *e,
                                            strand_record *record,
                                            int64_t now_us);
/* It can never be sent: the record is parked, or (at most once) lost. */
strand_err strand_engine_dead_letter_refused (strand_engine *e,
                                              strand_record *record,
                                              const char *reason,
                                              size_t reason_length,
                                              int64_t now_us);

/* What is to become of a parked record. STRAND_ENOTOPEN: none is parked at
** that offset. */
strand_err strand_engine_resolve (strand_engine *e, strand_partition *p,
                                  int64_t offset,
                                  strand_resolution resolution);
/* The parked record at 'offset' or the first after it; NULL for none. */
const strand_record *strand_partition_parked (const strand_partition *p,
                                              int64_t offset);

/* Looks for partitions that have been blocked for a while, and whether it is
** time for longer metadata; once a second or so. */
void strand_engine_maintain (strand_engine *e, int64_t now_us);

/*
** Commits
*/

/* What is dirty, by value; NULL when nothing is, memory ran out, or a commit
** is unanswered. 'only' (or NULL for any) names one partition. */
strand_commit *strand_engine_commit (strand_engine *e, int64_t now_us,
                                     const strand_partition *only);
/* Frees 'commit'. */
void strand_engine_commit_answer (strand_engine *e, strand_commit *commit,
                                  strand_answer answer, int64_t now_us);
/* Its partition is not revoked, nor assigned anew, since it was made. */
bool strand_commit_item_is_live (const strand_commit_item *item);
/* When a commit is due: by the interval, by idleness, or after one that
** failed. INT64_MAX when nothing is dirty. */
int64_t strand_engine_commit_due (const strand_engine *e, int64_t now_us);
/* The next commit does not wait for its interval: what the group has is not
** true any more. */
void strand_engine_hurry (strand_engine *e);
/* A commit failed a moment ago: the next one waits for its back-off. */
bool strand_engine_commit_blocked (const strand_engine *e, int64_t now_us);
bool strand_engine_dirty (const strand_engine *e, const strand_partition *p);
bool strand_engine_committing (const strand_engine *e);
/* At most once: records wait for a commit before they may start. */
bool strand_engine_awaits_commit (const strand_engine *e);
/* At most once: what is lost if the epoch of 'p' ends now. */
void strand_engine_losses (const strand_engine *e, const strand_partition *p,
                           strand_losses *out);
/* The same if the next one begins at 'to', since somebody wants that: what has
** started below it. What is above comes again; what is passed over was to
** be. */
void strand_engine_seek_losses (const strand_engine *e,
                                const strand_partition *p, int64_t to,
                                strand_losses *out);
/* Not all that is done in 'p' can be told: see STRAND_NOTICE_UNWRITABLE. */
bool strand_partition_unwritable (const strand_partition *p);

/*
** Questions
*/

void strand_engine_stats_read (const strand_engine *e,
                               strand_engine_stats *out);
void strand_partition_stats_read (const strand_engine *e,
                                  const strand_partition *p, int64_t now_us,
                                  strand_partition_stats *out);

/* The partition's records that are not done, lowest first: NULL at the end.
** 'after' NULL for the first. */
const strand_record *strand_partition_next (const strand_partition *p,
                                            const strand_record *after);
/* "running", "sending" (its outputs are not acknowledged), "waiting" (in
** back-off, or for its dead letter), "parked", "behind" (another of its
** shard), "buffered". */
const char *strand_record_state (const strand_record *record);

/* The record failed before: its reason. */
const char *strand_record_reason (const strand_record *record, size_t *length);

/* Live partitions in the order of their assignment: NULL at the end. */
strand_partition *strand_engine_next (const strand_engine *e,
                                      const strand_partition *after);
strand_partition *strand_engine_find (const strand_engine *e,
                                      const char *topic, int32_t index);

const strand_route_limits *strand_partition_limits (const strand_partition *p);
const char *strand_partition_topic (const strand_partition *p); /* lease */
int32_t strand_partition_index (const strand_partition *p);     /* lease */
uint32_t strand_partition_epoch (const strand_partition *p);
int64_t strand_partition_position (const strand_partition *p);
void *strand_partition_opaque (const strand_partition *p); /* lease */
/* Whatever the caller wants to find again. */
void strand_partition_set_opaque (strand_partition *p, void *opaque);
strand_partition *strand_record_partition (const strand_record *r); /* lease */

/* Walks everything and asserts the invariants: strand_engine_maintain, tests
** and the simulator. Not there where NDEBUG is defined, nor are the checks of
** its parts. */
void strand_engine_check (const strand_engine *e);

#endif
