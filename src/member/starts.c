/*
** starts.c - where logs start: was something deleted that was not handled?
**
**   a gap           a record, or the end, came above the position: when the
**                   log starts between them, that was no compaction. What is
**                   left of the gap may be there and yet not be read: where
**                   auto.offset.reset is latest, librdkafka went to the end
**   an old record   it is parked, or tried again: when the log starts above
**                   it, the copy here is the only one
**
** One question for all partitions that have one of these, and one at a time:
** a leader may answer behind a fetch, half a second later, and of a thousand
** such questions each seek and each assignment would wait for all.
*/
#include "member/starts.h"

#include <assert.h>

#define ASK_EVERY_US 1000000
#define GAP_EVERY_US 10000000
#define OLD_EVERY_US 10000000 /* also how old a record is looked after */

void strand_starts_init (strand_starts *s, const strand_owner *owner,
                         const strand_assignment *assignment) {
  *s = (strand_starts){ .owner = owner, .assignment = assignment };
}

void strand_starts_gap (strand_assigned *assigned, int64_t from, int64_t to) {
  const strand_gap *gap = &assigned->gap;
  bool known = gap->from >= 0;
  if (known && (gap->asked || to - from <= gap->to - gap->from)) return;
  assigned->gap.from = from;
  assigned->gap.to = to;
}

static bool has_gap (const strand_assigned *assigned, int64_t now_us) {
  return assigned->gap.from >= 0 && assigned->gap.due_us <= now_us;
}

static bool has_old (const strand_assigned *assigned, int64_t now_us) {
  const strand_record *r = strand_partition_next(assigned->partition, NULL);
  uint32_t now_ms = (uint32_t)(now_us / 1000);
  return r != NULL && now_ms - r->polled_ms >= OLD_EVERY_US / 1000;
}

/* One without a leader would keep the others from their answer. */
static bool may_ask (const strand_assigned *assigned) {
  return assigned->partition != NULL && strand_position_is_restored(assigned)
         && !assigned->leaving && !assigned->no_leader;
}

static rd_kafka_topic_partition_list_t *list_of (const strand_starts *s,
                                                 int64_t now_us) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
  for (size_t i = 0; i < s->assignment->count; i++) {
    const strand_assigned *assigned = s->assignment->partitions[i];
    if (!may_ask(assigned)
        || (!has_gap(assigned, now_us) && !has_old(assigned, now_us))) {
      continue;
    }
    rd_kafka_topic_partition_list_add(
      list, strand_partition_topic(assigned->partition),
      strand_partition_index(assigned->partition))
      ->opaque = (void *)(uintptr_t)assigned->epoch;
  }
  return list;
}

/* The partition's; NULL: it is of an older epoch, or gone. */
static strand_assigned *assigned_of (const strand_starts *s,
                                     const rd_kafka_topic_partition_t *p) {
  strand_assigned *assigned = strand_assignment_find(s->assignment, p->topic,
                                                     p->partition);
  if (assigned == NULL || assigned->leaving
      || assigned->epoch != (uint32_t)(uintptr_t)p->opaque)
    return NULL;
  return assigned;
}

static void ask (strand_starts *s, int64_t now_us) {
  rd_kafka_topic_partition_list_t *list = list_of(s, now_us);
  strand_call *call;
  s->due_us = now_us + ASK_EVERY_US;
  if (list->cnt == 0) {
    rd_kafka_topic_partition_list_destroy(list);
    s->old_us = now_us + OLD_EVERY_US;
    return;
  }
  call = strand_call_new(STRAND_CALL_STARTS, list);
  if (call == NULL) return;
  for (int i = 0; i < list->cnt; i++) {
    strand_assigned *assigned = assigned_of(s, &list->elems[i]);
    assigned->gap.asked = assigned->gap.from
                          >= 0; /* not one that comes meanwhile */
  }
  s->old_us = now_us + OLD_EVERY_US;
  s->asking = true;
  strand_helper_leave(s->owner->helper, call);
}

int64_t strand_starts_tick (strand_starts *s, int64_t now_us) {
  int64_t due = s->old_us;
  if (s->asking || s->owner->phase >= STRAND_LEAVING) return INT64_MAX;
  for (size_t i = 0; i < s->assignment->count; i++) {
    const strand_assigned *assigned = s->assignment->partitions[i];
    if (assigned->gap.from >= 0 && may_ask(assigned)
        && assigned->gap.due_us < due) {
      due = assigned->gap.due_us;
    }
  }
  if (due < s->due_us) due = s->due_us;
  if (now_us < due) return due;
  ask(s, now_us);
  return INT64_MAX;
}

/*
** Answers
*/

/* -1: not known; it is asked for again. */
static void take_gap (strand_starts *s, strand_assigned *assigned, int64_t low,
                      int64_t now_us) {
  if (!assigned->gap.asked) return;
  assigned->gap.asked = false;
  assigned->gap.due_us = now_us + GAP_EVERY_US;
  if (low < 0) return;
  if (assigned->gap.from < low && low <= assigned->gap.to) {
    strand_owner_jumped(s->owner, assigned, "truncated", assigned->gap.from,
                        assigned->gap.to);
  }
  assigned->gap.from = -1;
}

static const strand_record *next_gone (const strand_assigned *assigned,
                                       const strand_record *r, int64_t low) {
  do r = strand_partition_next(assigned->partition, r);
  while (r != NULL && r->offset < assigned->gap.low);
  return r != NULL && r->offset < low ? r : NULL;
}

static void take_old (strand_starts *s, strand_assigned *assigned,
                      int64_t low) {
  const strand_record *first, *r;
  strand_event event;
  char reason[128];
  size_t count = 0;
  if (low <= assigned->gap.low) return;
  first = r = next_gone(assigned, NULL, low);
  for (; r != NULL; r = next_gone(assigned, r, low)) count++;
  assigned->gap.low = low;
  if (first == NULL) return;
  event = strand_owner_event(s->owner, "records_deleted", assigned);
  event.offset = first->offset;
  event.to = low;
  snprintf(reason, sizeof(reason),
           "%zu record%s not done and not in the log "
           "any more: only this process has %s",
           count, count == 1 ? " is" : "s are", count == 1 ? "it" : "them");
  strand_event_set_reason(&event, reason, strlen(reason));
  strand_owner_emit(s->owner, &event);
}

void strand_starts_answer (strand_starts *s, const strand_call *call,
                           int64_t now_us) {
  s->asking = false;
  s->due_us = now_us + ASK_EVERY_US;
  for (int i = 0; i < call->list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &call->list->elems[i];
    bool known = call->err == 0 && p->err == 0;
    strand_assigned *assigned = assigned_of(s, p);
    if (assigned == NULL) continue;
    take_gap(s, assigned, known ? p->offset : -1, now_us);
    take_old(s, assigned, known ? p->offset : -1);
  }
}

/*
** Between two turns
*/

#define CHECKED_MOST 64 /* of thousands, at each turn */

void strand_starts_check (const strand_starts *s) {
  for (size_t i = 0; i < s->assignment->count && i < CHECKED_MOST; i++) {
    const strand_assigned *assigned = s->assignment->partitions[i];
    if (assigned->partition == NULL || assigned->leaving) continue;
    assert(!assigned->gap.asked || s->asking); /* (1) */
    assert(assigned->gap.from < 0
           || assigned->gap.from < assigned->gap.to); /* (2) */
  }
}
