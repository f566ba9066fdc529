/*
** starts.c - where logs start: was something deleted that was not handled?
**
**   a gap           a record came above the position: when the log starts
**                   between them, that was no compaction
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

void strand_starts_gap (strand_tag *tag, int64_t from, int64_t to) {
  if (tag->gap.from >= 0) return;
  tag->gap.from = from;
  tag->gap.to = to;
}

static bool has_gap (const strand_tag *tag, int64_t now_us) {
  return tag->gap.from >= 0 && tag->gap.due_us <= now_us;
}

static bool has_old (const strand_tag *tag, int64_t now_us) {
  const strand_record *r = strand_partition_next(tag->partition, NULL);
  uint32_t now_ms = (uint32_t)(now_us / 1000);
  return r != NULL && now_ms - r->polled_ms >= OLD_EVERY_US / 1000;
}

/* One without a leader would keep the others from their answer. */
static bool may_ask (const strand_tag *tag) {
  return tag->partition != NULL && strand_position_is_restored(tag)
         && !tag->leaving && !tag->no_leader;
}

static rd_kafka_topic_partition_list_t *list_of (const strand_starts *s,
                                                 int64_t now_us) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
  for (size_t i = 0; i < s->assignment->count; i++) {
    const strand_tag *tag = s->assignment->tags[i];
    if (!may_ask(tag) || (!has_gap(tag, now_us) && !has_old(tag, now_us))) {
      continue;
    }
    rd_kafka_topic_partition_list_add(list,
                                      strand_partition_topic(tag->partition),
                                      strand_partition_index(tag->partition))
      ->opaque = (void *)(uintptr_t)tag->epoch;
  }
  return list;
}

/* The partition's; NULL: it is of an older epoch, or gone. */
static strand_tag *tag_of (const strand_starts *s,
                           const rd_kafka_topic_partition_t *p) {
  strand_tag *tag = strand_assignment_find(s->assignment, p->topic,
                                           p->partition);
  if (tag == NULL || tag->leaving
      || tag->epoch != (uint32_t)(uintptr_t)p->opaque)
    return NULL;
  return tag;
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
    strand_tag *tag = tag_of(s, &list->elems[i]);
    tag->gap.asked = tag->gap.from >= 0; /* not one that comes meanwhile */
  }
  s->old_us = now_us + OLD_EVERY_US;
  s->asking = true;
  strand_helper_leave(s->owner->helper, call);
}

int64_t strand_starts_tick (strand_starts *s, int64_t now_us) {
  int64_t due = s->old_us;
  if (s->asking || s->owner->phase >= STRAND_LEAVING) return INT64_MAX;
  for (size_t i = 0; i < s->assignment->count; i++) {
    const strand_tag *tag = s->assignment->tags[i];
    if (tag->gap.from >= 0 && may_ask(tag) && tag->gap.due_us < due) {
      due = tag->gap.due_us;
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
static void take_gap (strand_starts *s, strand_tag *tag, int64_t low,
                      int64_t now_us) {
  if (!tag->gap.asked) return;
  tag->gap.asked = false;
  tag->gap.due_us = now_us + GAP_EVERY_US;
  if (low < 0) return;
  if (tag->gap.from < low && low <= tag->gap.to) {
    strand_owner_jumped(s->owner, tag, "truncated", tag->gap.from, low);
  }
  tag->gap.from = -1;
}

static const strand_record *next_gone (const strand_tag *tag,
                                       const strand_record *r, int64_t low) {
  do r = strand_partition_next(tag->partition, r);
  while (r != NULL && r->offset < tag->gap.low);
  return r != NULL && r->offset < low ? r : NULL;
}

static void take_old (strand_starts *s, strand_tag *tag, int64_t low) {
  const strand_record *first, *r;
  strand_event event;
  char reason[128];
  size_t count = 0;
  if (low <= tag->gap.low) return;
  first = r = next_gone(tag, NULL, low);
  for (; r != NULL; r = next_gone(tag, r, low)) count++;
  tag->gap.low = low;
  if (first == NULL) return;
  event = strand_owner_event(s->owner, "records_deleted", tag);
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
    strand_tag *tag = tag_of(s, p);
    if (tag == NULL) continue;
    take_gap(s, tag, known ? p->offset : -1, now_us);
    take_old(s, tag, known ? p->offset : -1);
  }
}

/*
** Between two turns
*/

#define CHECKED_MOST 64 /* of thousands, at each turn */

void strand_starts_check (const strand_starts *s) {
  for (size_t i = 0; i < s->assignment->count && i < CHECKED_MOST; i++) {
    const strand_tag *tag = s->assignment->tags[i];
    if (tag->partition == NULL || tag->leaving) continue;
    assert(!tag->gap.asked || s->asking);                     /* (1) */
    assert(tag->gap.from < 0 || tag->gap.from < tag->gap.to); /* (2) */
  }
}
