/*
** epochs.h - the epochs of assigned partitions: from an assignment to its end
**
** A partition that is assigned has an epoch, and so has each lease of it. The
** epoch ends when the partition is revoked; it also ends, and another begins,
** when the log is made anew, when the user seeks, and when the member that had
** the partition before has given it up at last.
**
** Thread: owner.
*/
#ifndef STRAND_EPOCHS_H
#define STRAND_EPOCHS_H

#include "base/waker.h"
#include "member/assignment.h"
#include "member/dead_letters.h"
#include "member/handover.h"
#include "member/health.h"
#include "member/outputs.h"
#include "member/owner.h"
#include "member/position.h"
#include "member/snapshot.h"
#include "member/topics.h"

/* What it needs; set when the member is made. */
typedef struct strand_epochs {
  const strand_owner *owner;
  strand_assignment *assignment;
  strand_topics *topics;
  const strand_health *health;
  strand_positions *positions;
  strand_handover *handover;
  strand_dead_letters *dead_letters;
  strand_outputs *outputs;
  strand_snapshot *snapshot;
  strand_waker *waker;
} strand_epochs;

/* The partition is assigned. Without memory the consumer ends. */
void strand_epoch_begin (const strand_epochs *e, const char *topic,
                         int32_t index);
/* Nothing new of the partition starts; what runs ends with its record. */
void strand_epoch_leave (const strand_epochs *e, strand_assigned *assigned);
/* The same of all, at once. */
void strand_epoch_leave_all (const strand_epochs *e);
/* At most once, before its end: what that loses is told, and counted. */
void strand_epoch_lose (const strand_epochs *e,
                        const strand_assigned *assigned);
/* Shards of leases that are out become orphans. */
void strand_epoch_end (const strand_epochs *e, strand_assigned *assigned);
/* A new epoch of the same partition begins, at 'offset', where somebody wants
** it. At most once, what has started below is lost. NULL: memory ran out, and
** the consumer ends. */
strand_assigned *strand_epoch_seek (const strand_epochs *e,
                                    strand_assigned *assigned, int64_t offset);
/* The same of all whose log was made anew, or cut: at most once all is lost
** that a commit covers. */
void strand_epoch_reset (const strand_epochs *e, int64_t now_us);
/* Goes on with what other members have given up. */
void strand_epoch_take_over (const strand_epochs *e);

#endif
