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
** And later: a record or an end below the position, where nobody has sought,
** is a "reset" as well. It is one at once, and not asked for again: by the
** time of an answer the new log may be longer than the old one was.
**
** While that is being found out the partition is not read, and what was read
** is dropped; it is read again after the seek. Of a partition one such
** question is out at a time, so that no seek comes behind a later one.
**
**   SETTLED -- strand_position_expected --> DOUBT: watermarks are asked for
**      ^                                      |
**      +---- answered ---- PLACE: sought <----+---- strand_position_place
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
                            const strand_troubles *troubles) {
  *s = (strand_positions){ .owner = owner,
                           .assignment = assignment,
                           .troubles = troubles };
}

bool strand_position_ask (const strand_positions *s, const strand_tag *tag,
                          strand_call_kind kind, int64_t offset,
                          strand_why why, void *arg) {
  rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
  strand_call *call;
  rd_kafka_topic_partition_list_add(l, strand_partition_topic(tag->partition),
                                    strand_partition_index(tag->partition))
    ->offset = offset;
  call = strand_call_new(kind, l);
  if (call == NULL) return false;
  call->epoch = tag->epoch;
  call->why = why;
  call->arg = arg;
  strand_helper_leave(s->owner->helper, call);
  return true;
}

static void try_again (strand_tag *tag, int64_t now_us) {
  tag->position.backoff_us = tag->position.backoff_us == 0
                               ? BACKOFF_FIRST_US
                               : tag->position.backoff_us * 2;
  if (tag->position.backoff_us > BACKOFF_MOST_US)
    tag->position.backoff_us = BACKOFF_MOST_US;
  tag->position.retry_us = now_us + tag->position.backoff_us;
}

/*
** Restoring
*/

void strand_position_restore (strand_positions *s) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
  int64_t now_us = strand_clock_us();
  strand_call *call;
  for (size_t i = 0; i < s->assignment->count; i++) {
    strand_tag *tag = s->assignment->tags[i];
    rd_kafka_topic_partition_t *p;
    if (tag->partition == NULL || tag->position.restored || tag->position.stuck
        || tag->leaving || tag->contested || tag->position.checking
        || tag->position.retry_us > now_us)
      continue;
    p = rd_kafka_topic_partition_list_add(
      list, strand_partition_topic(tag->partition),
      strand_partition_index(tag->partition));
    p->opaque = (void *)(uintptr_t)tag->epoch;
    tag->position.checking = true;
  }
  if (list->cnt == 0) {
    rd_kafka_topic_partition_list_destroy(list);
    return;
  }
  call = strand_call_new(STRAND_CALL_COMMITTED, list);
  if (call != NULL) {
    strand_helper_leave(s->owner->helper, call);
    return;
  }
  for (size_t i = 0; i < s->assignment->count; i++) {
    if (s->assignment->tags[i]->position.restored
        || !s->assignment->tags[i]->position.checking)
      continue;
    s->assignment->tags[i]->position.checking = false;
    try_again(s->assignment->tags[i], now_us);
  }
}

static void tell_unreadable (const strand_positions *s, const strand_tag *tag,
                             int64_t committed, const char *problem) {
  strand_event event = strand_owner_event(s->owner, "metadata_unreadable",
                                          tag);
  event.offset = committed;
  strand_event_set_reason(&event, problem, strlen(problem));
  strand_owner_emit(s->owner, &event);
}

/* STRAND_ENOMEM: nothing is wrong with it. STRAND_EFORMAT: the consumer is to
** end. */
static strand_err read_payload (const strand_positions *s,
                                const strand_tag *tag,
                                const rd_kafka_topic_partition_t *p,
                                strand_payload *payload, bool *some) {
  const char *problem = NULL;
  char text[512];
  strand_err err = strand_payload_decode(p->offset, p->metadata,
                                         p->metadata_size, payload, &problem);
  *some = err == STRAND_OK;
  if (err == STRAND_OK || err == STRAND_ENOMEM) return err;
  tell_unreadable(s, tag, p->offset, problem);
  if (!s->owner->consumer->settings.unreadable_fail) return STRAND_OK;
  snprintf(text, sizeof(text),
           "the commit of %s/%d at offset %lld has "
           "metadata that cannot be read: %s",
           p->topic, (int)p->partition, (long long)p->offset, problem);
  strand_shared_end(s->owner->consumer, STRAND_CLOSE_NOW,
                    "METADATA_UNREADABLE", text);
  return STRAND_EFORMAT;
}

static void restore_tag (strand_positions *s, strand_tag *tag,
                         const rd_kafka_topic_partition_t *p, int64_t now_us) {
  int64_t committed = p->offset >= 0 ? p->offset : -1;
  strand_payload payload = { 0 };
  bool some = false;
  strand_event event;
  strand_err err = STRAND_OK;
  if (committed >= 0 && p->metadata_size > 0) {
    err = read_payload(s, tag, p, &payload, &some);
  }
  if (err == STRAND_EFORMAT) {
    tag->position.stuck = true;
    return;
  }
  if (err == STRAND_OK) {
    err = strand_engine_restored(s->owner->engine, tag->partition, committed,
                                 some ? &payload : NULL);
  }
  if (some && payload.highest >= committed)
    tag->position.claimed = payload.highest;
  if (some) strand_payload_free(&payload);
  if (err != STRAND_OK) {
    try_again(tag, now_us);
    return;
  }
  tag->position.restored = tag->more = true;
  tag->position.backoff_us = 0;
  event = strand_owner_event(s->owner, "restored", tag);
  event.offset = committed;
  strand_owner_emit(s->owner, &event);
}

void strand_position_committed (strand_positions *s, const strand_call *call,
                                int64_t now_us) {
  for (int i = 0; i < call->list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &call->list->elems[i];
    strand_tag *tag = strand_assignment_find(s->assignment, p->topic,
                                             p->partition);
    rd_kafka_resp_err_t err = call->err != 0 ? call->err : p->err;
    if (tag == NULL || tag->position.restored || tag->leaving) continue;
    if (tag->epoch != (uint32_t)(uintptr_t)p->opaque) continue;
    tag->position.checking = false;
    if (err == 0) {
      restore_tag(s, tag, p, now_us);
      continue;
    }
    if (tag->position.backoff_us == 0) {
      strand_trouble_error(s->troubles, err, "reading the committed offset",
                           p->topic, p->partition, now_us);
    }
    try_again(tag, now_us);
  }
}

/*
** The first record, and records out of place
*/

static void settle (strand_tag *tag) {
  tag->position.checking = tag->position.asked = tag->position.again = false;
  tag->more = true;
  tag->position.backoff_us = 0;
}

/* Until this is settled nothing is read: also without memory to ask, for
** what comes next would pass over what was dropped. */
static void doubt (strand_positions *s, strand_tag *tag, int64_t now_us) {
  tag->position.checking = true;
  tag->position.target = STRAND_NOWHERE;
  tag->position.asked = strand_position_ask(s, tag, STRAND_CALL_WATERMARKS, 0,
                                            STRAND_WHY_DOUBT, NULL);
  if (!tag->position.asked) try_again(tag, now_us);
}

void strand_position_place (strand_positions *s, strand_tag *tag,
                            int64_t offset, int64_t now_us) {
  tag->position.sought = tag->position.checking = true;
  tag->position.first_seen = tag->position.again = false;
  tag->position.target = offset;
  tag->position.asked = strand_position_ask(s, tag, STRAND_CALL_SEEK, offset,
                                            STRAND_WHY_PLACE, NULL);
  if (!tag->position.asked) try_again(tag, now_us);
}

int64_t strand_position_home (const strand_tag *tag) {
  int64_t position = strand_partition_position(tag->partition);
  return position >= 0 ? position : RD_KAFKA_OFFSET_STORED;
}

void strand_position_hold (strand_tag *tag) {
  if (!tag->position.checking) {
    tag->position.target = strand_position_home(tag);
  }
  tag->position.checking = tag->position.asked = true;
}

void strand_position_was_sought (strand_tag *tag) {
  tag->position.stuck = false;
  tag->position.sought = tag->more = true;
}

void strand_position_back (strand_tag *tag, int64_t now_us) {
  tag->position.asked = false;
  if (tag->position.stuck) settle(tag); /* it was nowhere */
  else try_again(tag, now_us);
}

bool strand_position_expected (strand_positions *s, strand_tag *tag,
                               int64_t offset, int64_t now_us) {
  int64_t base = strand_partition_position(tag->partition);
  if (base < 0 || offset == base || (tag->position.sought && offset > base)) {
    tag->position.first_seen = true;
    return true;
  }
  tag->position.seen = offset;
  if (offset < base) strand_position_below(s, tag, offset);
  else doubt(s, tag, now_us);
  return false;
}

bool strand_position_has_claimed (strand_positions *s, strand_tag *tag,
                                  const rd_kafka_message_t *msg,
                                  int64_t now_us) {
  strand_partition *p = tag->partition;
  int64_t low, high = msg->offset;
  if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR
      && rd_kafka_get_watermark_offsets(s->owner->client,
                                        strand_partition_topic(p),
                                        strand_partition_index(p), &low, &high)
           != 0)
    high = -1;
  if (high < 0) return true; /* not known: at the end it is */
  if (high > tag->position.claimed) {
    tag->position.claimed = -1;
    return true;
  }
  /* a follower may be behind: the leader knows */
  tag->position.seen = msg->offset;
  doubt(s, tag, now_us);
  return false;
}

void strand_position_below (strand_positions *s, strand_tag *tag,
                            int64_t offset) {
  tag->position.checking = true;
  tag->position.below = offset;
  s->displaced = true;
}

void strand_position_stuck (strand_positions *s, strand_tag *tag,
                            int64_t now_us) {
  tag->position.stuck = true;
  tag->position.seen = -1;
  if (strand_partition_position(tag->partition) >= 0) doubt(s, tag, now_us);
}

/* What was done of the old log says nothing of what is at these offsets now:
** so the epoch ends. Whoever is told of it is told before. */
strand_tag *strand_position_take_reset (strand_positions *s, int64_t *to) {
  if (!s->displaced) return NULL;
  for (size_t i = 0; i < s->assignment->count; i++) {
    strand_tag *tag = s->assignment->tags[i];
    if (tag->partition == NULL || tag->position.below < 0) continue;
    *to = tag->position.below;
    tag->position.below = -1;
    strand_owner_jumped(s->owner, tag, "reset",
                        strand_partition_position(tag->partition), *to);
    return tag;
  }
  s->displaced = false;
  return NULL;
}

void strand_position_was_reset (strand_positions *s, strand_tag *tag,
                                int64_t to, int64_t now_us) {
  /* who comes next would begin above it */
  strand_engine_hurry(s->owner->engine);
  if (tag->position.stuck) settle(tag);
  else strand_position_place(s, tag, to, now_us);
}

/* Reads on from where it is: the next thing read is new, also the end. */
static void read_again (strand_positions *s, strand_tag *tag) {
  int64_t position;
  if (tag->partition == NULL || !tag->position.restored || tag->position.stuck
      || tag->leaving)
    return;
  if (tag->position.checking) {
    /* its seek may have been before */
    tag->position.again = tag->position.asked;
    return;
  }
  position = strand_partition_position(tag->partition);
  if (position < 0) return; /* nothing was read */
  strand_position_place(s, tag, position, strand_clock_us());
}

/* In a cooperative rebalance librdkafka pauses what stays, and goes on one
** record too far where it had read the end of a partition (before 2.13.2). */
void strand_position_keep (strand_positions *s) {
  for (size_t i = 0; i < s->assignment->count; i++) {
    read_again(s, s->assignment->tags[i]);
  }
}

/* It goes on at 'to', the start of the log or above: told once, not as a gap
** as well. */
static void truncated (strand_positions *s, strand_tag *tag, int64_t to,
                       int64_t now_us) {
  int64_t from = strand_partition_position(tag->partition);
  if (strand_engine_reach(s->owner->engine, tag->partition, to) != STRAND_OK) {
    try_again(tag, now_us);
    return;
  }
  strand_owner_jumped(s->owner, tag, "truncated", from, to);
  strand_position_place(s, tag, to, now_us);
}

static void take_doubt (strand_positions *s, strand_tag *tag,
                        const strand_call *call, int64_t now_us) {
  int64_t base = strand_partition_position(tag->partition);
  tag->position.asked = false;
  if (call->err != 0) {
    try_again(tag, now_us);
    return;
  }
  if (call->high < base || call->high <= tag->position.claimed) {
    strand_position_below(s, tag, call->low);
    return;
  }
  tag->position.claimed = -1;
  if (tag->position.stuck) settle(tag);
  else if (call->low > base) {
    truncated(s, tag,
              tag->position.seen > call->low ? tag->position.seen : call->low,
              now_us);
  }
  else strand_position_place(s, tag, base, now_us);
}

static void take_place (strand_positions *s, strand_tag *tag,
                        const strand_call *call, int64_t now_us) {
  tag->position.asked = false;
  if (call->err != 0) try_again(tag, now_us);
  else if (tag->position.again)
    strand_position_place(s, tag, tag->position.target, now_us);
  else settle(tag);
}

void strand_position_answer (strand_positions *s, strand_tag *tag,
                             const strand_call *call, int64_t now_us) {
  if (tag->epoch != call->epoch) return;
  if (call->why == STRAND_WHY_DOUBT) take_doubt(s, tag, call, now_us);
  else take_place(s, tag, call, now_us);
}

/*
** Turns
*/

static void resume (strand_positions *s, strand_tag *tag, int64_t now_us) {
  if (tag->position.target == STRAND_NOWHERE) doubt(s, tag, now_us);
  else strand_position_place(s, tag, tag->position.target, now_us);
}

static int64_t earlier (int64_t a, int64_t b) {
  return a < b ? a : b;
}

void strand_position_reread (strand_positions *s) {
  for (size_t i = 0; i < s->assignment->count; i++) {
    if (!s->assignment->tags[i]->reread) continue;
    s->assignment->tags[i]->reread = false;
    read_again(s, s->assignment->tags[i]);
  }
}

/* Tries again what failed. When it wants to be called again. */
int64_t strand_position_tick (strand_positions *s, int64_t now_us) {
  int64_t next = INT64_MAX;
  bool restore = false;
  if (s->owner->phase >= STRAND_LEAVING) return next;
  for (size_t i = 0; i < s->assignment->count; i++) {
    strand_tag *tag = s->assignment->tags[i];
    bool waits = tag->position.restored
                   ? tag->position.checking && !tag->position.asked
                   : tag->position.backoff_us > 0 && !tag->position.checking;
    if (tag->partition == NULL || tag->leaving) continue;
    if (waits && tag->position.retry_us > now_us)
      next = earlier(next, tag->position.retry_us);
    else if (waits && tag->position.restored) resume(s, tag, now_us);
    else if (waits) restore = true;
  }
  if (restore) strand_position_restore(s);
  return next;
}

void strand_positions_check (const strand_positions *s) {
  assert(!s->displaced); /* (1) */
  for (size_t i = 0; i < s->assignment->count && i < CHECKED_MOST; i++) {
    const strand_tag *tag = s->assignment->tags[i];
    (void)tag;
    assert(tag->partition == NULL || tag->position.below < 0); /* (1) */
    assert(!tag->position.asked || tag->position.checking);    /* (2) */
  }
}
