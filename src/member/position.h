/*
** position.h - where a partition is read from
**
** Invariants:
**   (1) None is below its position: it has been reset.
**   (2) One that was asked about, or sought, is not read.
**
** Thread: owner.
*/
#ifndef STRAND_POSITION_H
#define STRAND_POSITION_H

#include "kafka/helper.h"
#include "kafka/signs.h"
#include "member/assignment.h"
#include "member/health.h"
#include "member/owner.h"

/* To which no seek goes. */
#define STRAND_NOWHERE RD_KAFKA_OFFSET_STORED

/* What a position's question to the helper is for. */
typedef enum strand_why {
  STRAND_WHY_VERIFY = 1, /* what came was not expected */
  STRAND_WHY_PLACE,      /* it goes there */
  STRAND_WHY_TARGET,     /* the user's: where is it to go? */
  STRAND_WHY_SEEK        /* the user's: it goes there */
} strand_why;

typedef struct strand_positions {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;
  const strand_health *health;
  const strand_signs *signs; /* whether the coordinator is there; or NULL */

  bool displaced; /* 'below' of a partition is set */
  bool held_up;   /* librdkafka asks for one whose offset is not stable: those
                     beside it do not start; see reassign.h */
  bool late;      /* its answer may come in the next assignment */
} strand_positions;

void strand_positions_init (strand_positions *s, const strand_owner *owner,
                            const strand_assignment *assignment,
                            const strand_health *health);
/* Thread: lua, before anything is asked. */
static inline void strand_positions_watch (strand_positions *s,
                                           const strand_signs *signs) {
  s->signs = signs;
}
/* restoring.c */
void strand_position_restore (strand_positions *s);
/* Answers of the helper: committed offsets; of a partition, for VERIFY and
** PLACE. */
void strand_position_committed (strand_positions *s, const strand_call *call,
                                int64_t now_us);
void strand_position_answer (strand_positions *s, strand_assigned *assigned,
                             const strand_call *call, int64_t now_us);
/* The first of what was read is at 'offset', or the end is there. False: it is
** in doubt, and is verified; drop what was read. */
bool strand_position_accept (strand_positions *s, strand_assigned *assigned,
                             int64_t offset, int64_t now_us);
/* With strand_position_claims. True: the log is as long as the commit's
** metadata says, which is believed from now on. Else it is not the log of that
** commit, and what it says is done is not: false, the message is to be dropped,
** and the leader is asked. */
bool strand_position_accept_length (strand_positions *s,
                                    strand_assigned *assigned,
                                    const rd_kafka_message_t *msg,
                                    int64_t now_us);
/* A record, or the end, is at 'offset', below the position: the log was made
** anew, or cut. Until it is reset it is not read. */
void strand_position_below (strand_positions *s, strand_assigned *assigned,
                            int64_t offset);
/* The next one of these, NULL: there is none. Whoever asks begins a new epoch
** of it at 'to', */
strand_assigned *strand_position_take_reset (strand_positions *s, int64_t *to);
/* ...which is 'partition': it is read from there. */
void strand_position_was_reset (strand_positions *s, strand_assigned *assigned,
                                int64_t to, int64_t now_us);
/* librdkafka has no offset to go on from. */
void strand_position_stuck (strand_positions *s, strand_assigned *assigned,
                            int64_t now_us);
/* It goes where the group says. Something of it has come: before that
** librdkafka may undo it. */
void strand_position_find (strand_positions *s, strand_assigned *assigned,
                           int64_t now_us);
/* Goes on at 'offset'; until the helper was there, nothing is read. */
void strand_position_place (strand_positions *s, strand_assigned *assigned,
                            int64_t offset, int64_t now_us);
/* Where it is read from now. RD_KAFKA_OFFSET_INVALID: where auto.offset.reset
** says, for the group has no offset and nothing was read. */
int64_t strand_position_home (const strand_assigned *assigned);

/* What was done of it is known. */
static inline bool
strand_position_is_restored (const strand_assigned *assigned) {
  return assigned->position.restored;
}
/* There is no offset to go on from. */
static inline bool strand_position_is_stuck (const strand_assigned *assigned) {
  return assigned->position.stuck;
}
static inline bool
strand_position_is_readable (const strand_assigned *assigned) {
  const strand_position *p = &assigned->position;
  return p->restored && !p->checking && !p->stuck;
}
/* Nothing came since it was placed: ask strand_position_accept. */
static inline bool
strand_position_is_unseen (const strand_assigned *assigned) {
  return !assigned->position.first_seen;
}
/* It may begin anywhere, and has not begun: what comes first is dropped. */
static inline bool
strand_position_is_astray (const strand_assigned *assigned) {
  return assigned->position.astray;
}
/* librdkafka may still ask the leader where it begins: a seek before that is
** answered would be undone by the answer. Where it was sought to, unlike where
** the group says, is in its log. */
static inline bool
strand_position_is_unbegun (const strand_assigned *assigned) {
  const strand_position *p = &assigned->position;
  return !p->first_seen && !p->stuck
         && (!p->sought || strand_position_home(assigned) < 0);
}
/* How long the log is is to be compared. */
static inline bool strand_position_claims (const strand_assigned *assigned) {
  return assigned->position.claimed >= 0;
}
/* The helper has a question about it. */
static inline bool strand_position_is_asked (const strand_assigned *assigned) {
  return assigned->position.checking && assigned->position.asked;
}
/* A rebalance came after the question. */
static inline bool strand_position_is_again (const strand_assigned *assigned) {
  return assigned->position.again;
}
/* A new epoch of a partition, whose position was 'old'. */
static inline void strand_position_inherit (strand_assigned *assigned,
                                            const strand_position *old) {
  assigned->position.stuck = old->stuck; /* until a seek has worked */
  assigned->position.given = old->given;
  assigned->position.astray = old->astray;
}
/* A new epoch: nothing is done, and it is known where it begins. */
static inline void strand_position_begin (strand_assigned *assigned) {
  assigned->position.restored = true;
}
/* There is no offset for it, until a seek has worked. */
static inline void strand_position_lose (strand_assigned *assigned) {
  assigned->position.stuck = true;
}
/* The helper seeks for the user: until it has, nothing is read. */
void strand_position_hold (strand_assigned *assigned);
/* It is where the user wanted it. */
void strand_position_was_sought (strand_assigned *assigned);
/* A seek did not work: to 'target', after a back-off. */
void strand_position_back (strand_assigned *assigned, int64_t now_us);
/* False: memory ran out. */
bool strand_position_ask (const strand_positions *s,
                          const strand_assigned *assigned,
                          strand_call_kind kind, int64_t offset,
                          strand_why why, void *arg);
/* It is asked again, after a back-off. */
void strand_position_put_off (strand_assigned *assigned, int64_t now_us);
/* Before the assignment is changed. An answer that librdkafka waits for then
** comes from before: it is not asked for again (2.0 to 2.15), and where an
** offset in it is not stable, that partition begins where auto.offset.reset
** says. */
void strand_position_unsettle (strand_positions *s);
/* After all that was assigned has gone, and others have come. */
void strand_position_settle (strand_positions *s);
/* It is assigned again, from where it is; or, not restored, from anywhere. */
void strand_position_given (strand_assigned *assigned);
static inline void strand_position_give (strand_assigned *assigned) {
  assigned->position.given = true;
}
/* librdkafka may ask where it begins; or it has begun, which is not known. */
static inline bool strand_position_is_idle (const strand_assigned *assigned) {
  return !assigned->position.given && !assigned->position.first_seen;
}
/* librdkafka asks, and a transaction holds the answer back. */
static inline bool
strand_position_is_held_up (const strand_assigned *assigned) {
  return assigned->position.unstable && !assigned->position.given;
}
/* After a cooperative rebalance: what stays goes on where it was. */
void strand_position_keep (strand_positions *s);
/* Those that say so ('reread') are read on from where they are: the next thing
** read is new, also the end. */
void strand_position_reread (strand_positions *s);
/* What was read of it, from 'offset' on, came elsewhere: it is read again, from
** where it is; or from there, where nothing was read. */
void strand_position_missed (strand_positions *s, strand_assigned *assigned,
                             int64_t offset, int64_t now_us);
int64_t strand_position_tick (strand_positions *s, int64_t now_us);
/* Between two turns, in debug builds. */
void strand_positions_check (const strand_positions *s);

#endif
