/*
** position.c - where a partition is read from
**
** The committed offset is read once, and is the base of both the done set
** and the position. librdkafka starts where it thinks; the first record (or
** the end) says where that was:
**
**   first == base                    read on
**   first < base                     the log was made anew: "reset"
**   end of the log < base            so it was: "reset"
**   base < start of the log          retention overtook us: "truncated"
**   otherwise, the first time        go to the base: someone else committed
**   otherwise, after that            a gap, by compaction or control records
**
** Where it is known before that librdkafka may begin elsewhere ('astray'), the
** partition goes from there to the base. Not sooner: a seek while librdkafka
** asks the leader where the log begins or ends is undone when the answer is
** there, and what is between is passed over (2.0 to 2.15).
**
** And later: a record or an end below the position, where nobody has sought,
** is a "reset" as well. It is one at once, and not asked for again: by the
** time of an answer the new log may be longer than the old one was.
**
** While that is being found out the partition is not read, and what was read
** is dropped; it is read again after the seek. Of a partition one such
** question is out at a time, so that no seek comes behind a later one.
**
**   SETTLED -- strand_position_accept --> VERIFY: watermarks are asked for
**      ^                                     |
**      +---- answered ---- PLACE: sought <---+---- strand_position_place
**
** What fails is done again after a back-off.
*/
#include "member/position.h"

#include <assert.h>

#include "base/clock.h"

#define BACKOFF_FIRST_US 100000
#define BACKOFF_MOST_US 5000000
#define CHECKED_MOST 64 /* of thousands, at each turn */

void strand_positions_init (strand_positions *s, const strand_owner *owner,
                            const strand_assignment *assignment,
                            const strand_health *health) {
  *s = (strand_positions){ .owner = owner,
                           .assignment = assignment,
                           .health = health };
}

bool strand_position_ask (const strand_positions *s,
                          const strand_assigned *assigned,
                          strand_call_kind kind, int64_t offset,
                          strand_why why, void *arg) {
  rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
  strand_call *call;
  rd_kafka_topic_partition_list_add(
    l, strand_partition_topic(assigned->partition),
    strand_partition_index(assigned->partition))
    ->offset = offset;
  call = strand_call_new(kind, l);
  if (call == NULL) return false;
  call->epoch = assigned->epoch;
  call->why = why;
  call->arg = arg;
  strand_helper_leave(s->owner->helper, call);
  return true;
}

void strand_position_put_off (strand_assigned *assigned, int64_t now_us) {
  assigned->position.backoff_us = assigned->position.backoff_us == 0
                                    ? BACKOFF_FIRST_US
                                    : assigned->position.backoff_us * 2;
  if (assigned->position.backoff_us > BACKOFF_MOST_US)
    assigned->position.backoff_us = BACKOFF_MOST_US;
  assigned->position.retry_us = now_us + assigned->position.backoff_us;
}

/*
** The first record, and records out of place
*/

static void settle (strand_assigned *assigned) {
  assigned->position.checking = assigned->position.asked =
    assigned->position.again = false;
  assigned->more = true;
  assigned->position.backoff_us = 0;
}

/* Until this is settled nothing is read: also without memory to ask, for
** what comes next would pass over what was dropped. */
static void verify_position (strand_positions *s, strand_assigned *assigned,
                             int64_t now_us) {
  assigned->position.checking = true;
  assigned->position.target = STRAND_NOWHERE;
  assigned->position.asked = strand_position_ask(
    s, assigned, STRAND_CALL_WATERMARKS, 0, STRAND_WHY_VERIFY, NULL);
  if (!assigned->position.asked) strand_position_put_off(assigned, now_us);
}

/* To its target. */
static void go (strand_positions *s, strand_assigned *assigned,
                int64_t now_us) {
  assigned->position.checking = true;
  assigned->position.first_seen = assigned->position.again = false;
  assigned->position.asked = strand_position_ask(s, assigned, STRAND_CALL_SEEK,
                                                 assigned->position.target,
                                                 STRAND_WHY_PLACE, NULL);
  if (!assigned->position.asked) strand_position_put_off(assigned, now_us);
}

void strand_position_place (strand_positions *s, strand_assigned *assigned,
                            int64_t offset, int64_t now_us) {
  assigned->position.sought = true;
  assigned->position.target = offset;
  go(s, assigned, now_us);
}

/* No doubt is settled by this: the log may begin above it. */
void strand_position_find (strand_positions *s, strand_assigned *assigned,
                           int64_t now_us) {
  assigned->position.astray = false;
  assigned->position.target = strand_position_home(assigned);
  go(s, assigned, now_us);
}

int64_t strand_position_home (const strand_assigned *assigned) {
  int64_t position = strand_partition_position(assigned->partition);
  return position >= 0 ? position : RD_KAFKA_OFFSET_INVALID;
}

void strand_position_hold (strand_assigned *assigned) {
  if (!assigned->position.checking) {
    assigned->position.target = strand_position_home(assigned);
  }
  assigned->position.checking = assigned->position.asked = true;
}

void strand_position_was_sought (strand_assigned *assigned) {
  assigned->position.stuck = false;
  assigned->position.sought = assigned->more = true;
}

void strand_position_back (strand_assigned *assigned, int64_t now_us) {
  assigned->position.asked = false;
  if (assigned->position.stuck) settle(assigned); /* it was nowhere */
  else strand_position_put_off(assigned, now_us);
}

bool strand_position_accept (strand_positions *s, strand_assigned *assigned,
                             int64_t offset, int64_t now_us) {
  int64_t base = strand_partition_position(assigned->partition);
  if (assigned->position.astray && offset != base) {
    strand_position_find(s, assigned, now_us);
    return false;
  }
  assigned->position.astray = false;
  if (base < 0 || offset == base
      || (assigned->position.sought && offset > base)) {
    assigned->position.first_seen = true;
    return true;
  }
  assigned->position.seen = offset;
  if (offset < base) strand_position_below(s, assigned, offset);
  else verify_position(s, assigned, now_us);
  return false;
}

bool strand_position_accept_length (strand_positions *s,
                                    strand_assigned *assigned,
                                    const rd_kafka_message_t *msg,
                                    int64_t now_us) {
  strand_partition *p = assigned->partition;
  int64_t low, high = msg->offset;
  if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR
      && rd_kafka_get_watermark_offsets(s->owner->client,
                                        strand_partition_topic(p),
                                        strand_partition_index(p), &low, &high)
           != 0)
    high = -1;
  if (high < 0) return true; /* not known: at the end it is */
  if (high > assigned->position.claimed) {
    assigned->position.claimed = -1;
    return true;
  }
  /* a follower may be behind: the leader knows */
  assigned->position.seen = msg->offset;
  verify_position(s, assigned, now_us);
  return false;
}

void strand_position_below (strand_positions *s, strand_assigned *assigned,
                            int64_t offset) {
  assigned->position.checking = true;
  assigned->position.below = offset;
  s->displaced = true;
}

void strand_position_stuck (strand_positions *s, strand_assigned *assigned,
                            int64_t now_us) {
  assigned->position.stuck = true;
  assigned->position.seen = -1;
  if (strand_partition_position(assigned->partition) >= 0)
    verify_position(s, assigned, now_us);
}

/* What was done of the old log says nothing of what is at these offsets now:
** so the epoch ends. Whoever is told of it is told before. */
strand_assigned *strand_position_take_reset (strand_positions *s,
                                             int64_t *to) {
  if (!s->displaced) return NULL;
  for (size_t i = 0; i < s->assignment->count; i++) {
    strand_assigned *assigned = s->assignment->partitions[i];
    if (assigned->partition == NULL || assigned->position.below < 0) continue;
    *to = assigned->position.below;
    assigned->position.below = -1;
    strand_owner_jumped(s->owner, assigned, "reset",
                        strand_partition_position(assigned->partition), *to);
    return assigned;
  }
  s->displaced = false;
  return NULL;
}

void strand_position_was_reset (strand_positions *s, strand_assigned *assigned,
                                int64_t to, int64_t now_us) {
  /* who comes next would begin above it */
  strand_engine_hurry(s->owner->engine);
  if (assigned->position.stuck) settle(assigned);
  else strand_position_place(s, assigned, to, now_us);
}

/* Reads on from where it is, or, where nothing was read, from 'first', unless
** that is -1: the next thing read is new, also the end. */
static void read_again (strand_positions *s, strand_assigned *assigned,
                        int64_t first, int64_t now_us) {
  int64_t position;
  if (assigned->partition == NULL || !assigned->position.restored
      || assigned->position.stuck || assigned->leaving)
    return;
  if (assigned->position.checking) {
    /* its seek may have been before */
    assigned->position.again = assigned->position.asked;
    return;
  }
  position = strand_partition_position(assigned->partition);
  if (position < 0) position = first;
  if (position >= 0) strand_position_place(s, assigned, position, now_us);
}

void strand_position_missed (strand_positions *s, strand_assigned *assigned,
                             int64_t offset, int64_t now_us) {
  if (!assigned->position.restored) assigned->position.again = true;
  else read_again(s, assigned, offset, now_us);
}

/* librdkafka may still ask where it begins. */
static bool may_be_asked (const strand_assigned *assigned) {
  const strand_position *p = &assigned->position;
  return assigned->partition != NULL && !p->restored && !p->stuck && !p->given;
}

void strand_position_unsettle (strand_positions *s) {
  for (size_t i = 0; i < s->assignment->count; i++) {
    strand_assigned *assigned = s->assignment->partitions[i];
    if (!may_be_asked(assigned)) continue;
    assigned->position.astray = s->late = true;
  }
}

void strand_position_settle (strand_positions *s) {
  for (size_t i = 0; s->late && i < s->assignment->count; i++) {
    strand_assigned *assigned = s->assignment->partitions[i];
    if (may_be_asked(assigned)) assigned->position.astray = true;
  }
  s->late = false;
}

void strand_position_given (strand_assigned *assigned) {
  strand_position *p = &assigned->position;
  p->given = true;
  p->first_seen = p->sought = false;
  if (!p->restored) p->astray = true;
  p->again = p->checking && p->asked; /* its seek may have been before */
}

/* In a cooperative rebalance librdkafka pauses what stays, and goes on where
** it had been read to by then: what was read at that moment would come again,
** and be taken for a log that was made anew. */
void strand_position_keep (strand_positions *s) {
  for (size_t i = 0; i < s->assignment->count; i++) {
    read_again(s, s->assignment->partitions[i], -1, strand_clock_us());
  }
}

/* It goes on at 'to', the start of the log or above: told once, not as a gap
** as well. */
static void truncated (strand_positions *s, strand_assigned *assigned,
                       int64_t to, int64_t now_us) {
  int64_t from = strand_partition_position(assigned->partition);
  if (strand_engine_reach(s->owner->engine, assigned->partition, to)
      != STRAND_OK) {
    strand_position_put_off(assigned, now_us);
    return;
  }
  strand_owner_jumped(s->owner, assigned, "truncated", from, to);
  strand_position_place(s, assigned, to, now_us);
}

static void take_verified (strand_positions *s, strand_assigned *assigned,
                           const strand_call *call, int64_t now_us) {
  int64_t base = strand_partition_position(assigned->partition);
  assigned->position.asked = false;
  if (call->err != 0) {
    strand_position_put_off(assigned, now_us);
    return;
  }
  if (call->high < base || call->high <= assigned->position.claimed) {
    strand_position_below(s, assigned, call->low);
    return;
  }
  assigned->position.claimed = -1;
  if (assigned->position.stuck) settle(assigned);
  else if (call->low > base) {
    truncated(s, assigned,
              assigned->position.seen > call->low ? assigned->position.seen
                                                  : call->low,
              now_us);
  }
  else strand_position_place(s, assigned, base, now_us);
}

static void take_place (strand_positions *s, strand_assigned *assigned,
                        const strand_call *call, int64_t now_us) {
  assigned->position.asked = false;
  if (call->err != 0) strand_position_put_off(assigned, now_us);
  else if (assigned->position.again) go(s, assigned, now_us);
  else settle(assigned);
}

void strand_position_answer (strand_positions *s, strand_assigned *assigned,
                             const strand_call *call, int64_t now_us) {
  if (assigned->epoch != call->epoch) return;
  if (call->why == STRAND_WHY_VERIFY) take_verified(s, assigned, call, now_us);
  else take_place(s, assigned, call, now_us);
}

/*
** Turns
*/

static void resume (strand_positions *s, strand_assigned *assigned,
                    int64_t now_us) {
  if (assigned->position.target == STRAND_NOWHERE)
    verify_position(s, assigned, now_us);
  else go(s, assigned, now_us);
}

static int64_t earlier (int64_t a, int64_t b) {
  return a < b ? a : b;
}

void strand_position_reread (strand_positions *s) {
  for (size_t i = 0; i < s->assignment->count; i++) {
    if (!s->assignment->partitions[i]->reread) continue;
    s->assignment->partitions[i]->reread = false;
    read_again(s, s->assignment->partitions[i], -1, strand_clock_us());
  }
}

/* Tries again what failed. When it wants to be called again. */
int64_t strand_position_tick (strand_positions *s, int64_t now_us) {
  int64_t next = INT64_MAX;
  bool restore = false;
  if (s->owner->phase >= STRAND_LEAVING) return next;
  for (size_t i = 0; i < s->assignment->count; i++) {
    strand_assigned *assigned = s->assignment->partitions[i];
    bool waits = assigned->position.restored
                   ? assigned->position.checking && !assigned->position.asked
                   : assigned->position.backoff_us > 0
                       && !assigned->position.checking;
    if (assigned->partition == NULL || assigned->leaving) continue;
    if (waits && assigned->position.retry_us > now_us)
      next = earlier(next, assigned->position.retry_us);
    else if (waits && assigned->position.restored) resume(s, assigned, now_us);
    else if (waits) restore = true;
  }
  if (restore) strand_position_restore(s);
  return next;
}

void strand_positions_check (const strand_positions *s) {
  assert(!s->displaced); /* (1) */
  for (size_t i = 0; i < s->assignment->count && i < CHECKED_MOST; i++) {
    const strand_assigned *assigned = s->assignment->partitions[i];
    (void)assigned;
    assert(assigned->partition == NULL
           || assigned->position.below < 0);                          /* (1) */
    assert(!assigned->position.asked || assigned->position.checking); /* (2) */
  }
}
