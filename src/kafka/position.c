/*
** position.c - where a partition is read from
**
** The committed offset is read once, and is the base of both the done set
** and the position. librdkafka starts where it thinks; the first record (or
** the end) says where that was:
**
**   first == base                    read on
**   end of the log < base            the topic was made anew: "reset"
**   base < start of the log          retention overtook us: "truncated"
**   otherwise, the first time        go to the base: someone else committed
**   otherwise, after that            a gap, by compaction or control records
**
** While that is being found out the partition is not read, and what was read
** is dropped; it is read again after the seek.
*/
#include <stdlib.h>

#include "core/mutant.h"
#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/letters.h"

#define BACKOFF_FIRST_US 100000
#define BACKOFF_MOST_US 5000000
#define GAP_EVERY_US 10000000

enum { WHY_FIRST = 1, WHY_EARLIER, WHY_GAP, WHY_USER, WHY_PLACE };

static rd_kafka_topic_partition_list_t *list_of_one (const strand_tag *tag,
                                                     int64_t offset) {
  rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(l, strand_partition_topic(tag->partition),
                                    strand_partition_index(tag->partition))
    ->offset = offset;
  return l;
}

/* False: memory ran out. */
static bool leave (strand_member *m, strand_tag *tag, strand_call_kind kind,
                   int64_t offset, int why, void *arg) {
  strand_call *call = strand_call_new(kind, list_of_one(tag, offset));
  if (call == NULL) return false;
  call->epoch = tag->epoch;
  call->why = why;
  call->arg = arg;
  strand_helper_leave(m->helper, call);
  return true;
}

static void try_again (strand_tag *tag, int64_t now_us) {
  tag->backoff_us = tag->backoff_us == 0 ? BACKOFF_FIRST_US
                                         : tag->backoff_us * 2;
  if (tag->backoff_us > BACKOFF_MOST_US) tag->backoff_us = BACKOFF_MOST_US;
  tag->retry_us = now_us + tag->backoff_us;
}

/*
** Restoring
*/

void strand_position_restore (strand_member *m) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
  int64_t now_us = strand_clock_us();
  strand_call *call;
  for (size_t i = 0; i < m->tag_count; i++) {
    strand_tag *tag = m->tags[i];
    rd_kafka_topic_partition_t *p;
    if (tag->partition == NULL || tag->restored || tag->stuck || tag->leaving
        || (tag->contested && !MUTANT(last_owner_is_not_waited_for))
        || tag->checking || tag->retry_us > now_us) continue;
    p = rd_kafka_topic_partition_list_add(
      list, strand_partition_topic(tag->partition),
      strand_partition_index(tag->partition));
    p->opaque = (void *)(uintptr_t)tag->epoch;
    tag->checking = true;
  }
  if (list->cnt == 0) {
    rd_kafka_topic_partition_list_destroy(list);
    return;
  }
  call = strand_call_new(STRAND_CALL_COMMITTED, list);
  if (call != NULL) {
    strand_helper_leave(m->helper, call);
    return;
  }
  for (size_t i = 0; i < m->tag_count; i++) {
    if (m->tags[i]->restored || !m->tags[i]->checking) continue;
    m->tags[i]->checking = false;
    try_again(m->tags[i], now_us);
  }
}

static void tell_unreadable (strand_member *m, const strand_tag *tag,
                             int64_t committed, const char *problem) {
  strand_event event = strand_member_event(m, "metadata_unreadable", tag);
  event.offset = committed;
  strand_event_set_reason(&event, problem, strlen(problem));
  strand_member_emit(m, &event);
}

/* STRAND_ENOMEM: nothing is wrong with it. STRAND_EFORMAT: the consumer is to
** end. */
static strand_err read_payload (strand_member *m, const strand_tag *tag,
                                const rd_kafka_topic_partition_t *p,
                                strand_payload *payload, bool *some) {
  const char *problem = NULL;
  char text[512];
  strand_err err = strand_payload_decode(p->offset, p->metadata,
                                         p->metadata_size, payload, &problem);
  *some = err == STRAND_OK;
  if (err == STRAND_OK || err == STRAND_ENOMEM) return err;
  tell_unreadable(m, tag, p->offset, problem);
  if (!m->consumer->unreadable_fail) return STRAND_OK;
  snprintf(text, sizeof(text), "the commit of %s/%d at offset %lld has "
           "metadata that cannot be read: %s", p->topic, (int)p->partition,
           (long long)p->offset, problem);
  strand_shared_end(m->consumer, STRAND_CLOSE_NOW, "METADATA_UNREADABLE",
                    text);
  return STRAND_EFORMAT;
}

static void restore_tag (strand_member *m, strand_tag *tag,
                         const rd_kafka_topic_partition_t *p,
                         int64_t now_us) {
  int64_t committed = p->offset >= 0 ? p->offset : -1;
  strand_payload payload = { 0 };
  bool some = false;
  strand_event event;
  strand_err err = STRAND_OK;
  if (committed >= 0 && p->metadata_size > 0) {
    err = read_payload(m, tag, p, &payload, &some);
  }
  if (err == STRAND_EFORMAT) {
    tag->stuck = true;
    return;
  }
  if (err == STRAND_OK) {
    err = strand_engine_restored(m->engine, tag->partition, committed,
                                 some ? &payload : NULL);
  }
  if (some) strand_payload_free(&payload);
  if (err != STRAND_OK) {
    try_again(tag, now_us);
    return;
  }
  tag->restored = tag->more = true;
  tag->backoff_us = 0;
  event = strand_member_event(m, "restored", tag);
  event.offset = committed;
  strand_member_emit(m, &event);
}

static void take_committed (strand_member *m, const strand_call *call,
                            int64_t now_us) {
  for (int i = 0; i < call->list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &call->list->elems[i];
    strand_tag *tag = strand_member_tag(m, p->topic, p->partition);
    rd_kafka_resp_err_t err = call->err != 0 ? call->err : p->err;
    if (tag == NULL || tag->restored || tag->leaving) continue;
    if (tag->epoch != (uint32_t)(uintptr_t)p->opaque
        && !MUTANT(metadata_of_another_epoch_is_believed)) continue;
    tag->checking = false;
    if (err == 0) {
      restore_tag(m, tag, p, now_us);
      continue;
    }
    if (tag->backoff_us == 0) {
      strand_trouble_error(m, err, "reading the committed offset", p->topic,
                           p->partition, now_us);
    }
    try_again(tag, now_us);
  }
}

/*
** The first record, and records out of place
*/

/* Until this is settled nothing is read: also without memory to ask, for
** what comes next would pass over what was dropped. */
static void doubt (strand_member *m, strand_tag *tag, int64_t offset,
                   int why, int64_t now_us) {
  tag->checking = true;
  if (!leave(m, tag, STRAND_CALL_WATERMARKS, 0, why,
             (void *)(intptr_t)offset)) try_again(tag, now_us);
}

bool strand_position_expected (strand_member *m, strand_tag *tag,
                               int64_t offset, int64_t now_us) {
  int64_t base = strand_partition_position(tag->partition);
  if (base < 0 || offset == base || (tag->sought && offset >= base)) {
    tag->first_seen = true;
    return true;
  }
  doubt(m, tag, offset, WHY_FIRST, now_us);
  return false;
}

void strand_position_earlier (strand_member *m, strand_tag *tag,
                              int64_t now_us) {
  doubt(m, tag, -1, WHY_EARLIER, now_us);
}

static void tell_jump (strand_member *m, const strand_tag *tag,
                       const char *type, int64_t from, int64_t to) {
  strand_event event = strand_member_event(m, type, tag);
  event.offset = from;
  event.to = to;
  strand_member_emit(m, &event);
}

/* Goes on at 'offset'; until the helper was there, nothing is read. False:
** memory ran out; strand_position_tick goes there. */
static bool place (strand_member *m, strand_tag *tag, int64_t offset,
                   int why, void *arg, int64_t now_us) {
  tag->sought = tag->checking = true;
  tag->first_seen = false;
  if (leave(m, tag, STRAND_CALL_SEEK, offset, why, arg)) return true;
  try_again(tag, now_us);
  return false;
}

void strand_position_again (strand_member *m, strand_tag *tag) {
  int64_t position;
  if (tag->partition == NULL || !tag->restored || tag->checking
      || tag->stuck || tag->leaving) return;
  position = strand_partition_position(tag->partition);
  if (position < 0) return; /* nothing was read */
  place(m, tag, position, WHY_PLACE, NULL, strand_clock_us());
}

/* In a cooperative rebalance librdkafka pauses what stays, and goes on one
** record too far where it had read the end of a partition (before 2.13.2). */
void strand_position_keep (strand_member *m) {
  for (size_t i = 0; i < m->tag_count; i++) {
    strand_position_again(m, m->tags[i]);
  }
}

static void take_doubt (strand_member *m, strand_tag *tag,
                        const strand_call *call, int64_t now_us) {
  int64_t base = strand_partition_position(tag->partition);
  int64_t first = (int64_t)(intptr_t)call->arg;
  if (call->high < base) {
    int64_t to = first >= 0 && first < base ? first : call->low;
    tell_jump(m, tag, "reset", base, to);
    strand_group_restart(m, tag, to);
    tag = strand_member_tag(m, call->list->elems[0].topic,
                            call->list->elems[0].partition);
    if (tag != NULL) place(m, tag, to, WHY_PLACE, NULL, now_us);
  }
  else if (call->low > base) {
    tell_jump(m, tag, "truncated", base, call->low);
    place(m, tag, first > call->low ? first : call->low, WHY_PLACE, NULL,
          now_us);
  }
  else place(m, tag, base, WHY_PLACE, NULL, now_us);
}

static void take_gap (strand_member *m, strand_tag *tag,
                      const strand_call *call, int64_t now_us) {
  if (call->err == 0 && tag->gap_from < call->low
      && call->low <= tag->gap_to) {
    tell_jump(m, tag, "truncated", tag->gap_from, call->low);
  }
  tag->gap_from = -1;
  tag->gap_us = now_us + GAP_EVERY_US;
}

/*
** What the user asks for
*/

static void answer_seek (strand_member *m, strand_ticket *ticket,
                         const char *code, const char *message) {
  strand_failure failure;
  if (code == NULL) {
    strand_shared_answer(m->consumer, ticket, NULL);
    return;
  }
  strand_fail(&failure, code, "%s", message);
  strand_shared_answer(m->consumer, ticket, &failure);
}

static void seek_to (strand_member *m, strand_tag *tag, int64_t offset,
                     strand_ticket *ticket, int64_t now_us) {
  const char *topic = strand_partition_topic(tag->partition);
  char name[250];
  int32_t index = strand_partition_index(tag->partition);
  snprintf(name, sizeof(name), "%s", topic);
  tell_jump(m, tag, "sought", strand_partition_position(tag->partition),
            offset);
  strand_group_restart(m, tag, offset);
  tag = strand_member_tag(m, name, index);
  if (tag == NULL) {
    answer_seek(m, ticket, "NO_MEMORY", "memory ran out");
    return;
  }
  if (!place(m, tag, offset, WHY_USER, ticket, now_us)) {
    answer_seek(m, ticket, "NO_MEMORY", "memory ran out");
  }
}

void strand_position_seek (strand_member *m, strand_seek_request *r,
                           int64_t now_us) {
  strand_tag *tag = strand_member_tag(m, r->topic, r->partition);
  strand_call_kind kind = STRAND_CALL_WATERMARKS;
  if (tag != NULL && tag->no_route) {
    answer_seek(m, r->ticket, "NO_ROUTE",
                "no route of 'handler' matches this topic");
    return;
  }
  if (tag == NULL || !tag->restored || tag->leaving) {
    answer_seek(m, r->ticket, "NOT_ASSIGNED",
                "the partition is not assigned here now");
    return;
  }
  if (r->kind == STRAND_SEEK_OFFSET) {
    seek_to(m, tag, r->value, r->ticket, now_us);
    return;
  }
  if (r->kind == STRAND_SEEK_TIME) kind = STRAND_CALL_TIMES;
  if (!leave(m, tag, kind, r->value,
             r->kind == STRAND_SEEK_LATEST ? -WHY_USER : WHY_USER,
             r->ticket)) {
    answer_seek(m, r->ticket, "NO_MEMORY", "memory ran out");
  }
}

/* The answer that says where a seek goes: a watermark, or by time. */
static void take_target (strand_member *m, strand_tag *tag,
                         strand_call *call, int64_t now_us) {
  int64_t to = call->why < 0 ? call->high : call->low;
  char code[48];
  if (call->kind == STRAND_CALL_TIMES && call->err == 0) {
    to = call->list->elems[0].offset;
    call->err = call->list->elems[0].err;
    if (to < 0 && call->err == 0) { /* nothing that late: the end */
      if (leave(m, tag, STRAND_CALL_WATERMARKS, 0, -WHY_USER, call->arg)) {
        return;
      }
      call->err = RD_KAFKA_RESP_ERR__FAIL;
    }
  }
  if (call->err == 0) seek_to(m, tag, to, call->arg, now_us);
  else {
    answer_seek(m, call->arg, strand_code_of(call->err, code, sizeof(code)),
                rd_kafka_err2str(call->err));
  }
}

static bool assign_one_again (strand_member *m, strand_tag *tag,
                              int64_t offset) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_error_t *error;
  /* which this would be taken for the answer of */
  if (m->rebalance != NULL) return false;
  list = list_of_one(tag, offset);
  rd_kafka_queue_forward(tag->queue, NULL);
  error = rd_kafka_incremental_unassign(m->client, list);
  if (error == NULL) error = rd_kafka_incremental_assign(m->client, list);
  rd_kafka_topic_partition_list_destroy(list);
  if (error == NULL) return true;
  rd_kafka_error_destroy(error);
  return false;
}

/* Without an offset to go on from (auto.offset.reset = error) librdkafka
** takes no seek; only a new assign with offsets recovers. */
static bool assign_again (strand_member *m, strand_tag *target,
                          int64_t offset) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err;
  if (m->cooperative) return assign_one_again(m, target, offset);
  list = rd_kafka_topic_partition_list_new((int)m->tag_count);
  for (size_t i = 0; i < m->tag_count; i++) {
    strand_tag *tag = m->tags[i];
    int64_t position;
    if (tag->partition == NULL) continue;
    position = strand_partition_position(tag->partition);
    rd_kafka_topic_partition_list_add(list,
                                      strand_partition_topic(tag->partition),
                                      strand_partition_index(tag->partition))
      ->offset = tag == target ? offset
                 : position >= 0 ? position : RD_KAFKA_OFFSET_INVALID;
    rd_kafka_queue_forward(tag->queue, NULL);
    tag->more = true;
  }
  err = rd_kafka_assign(m->client, list);
  rd_kafka_topic_partition_list_destroy(list);
  return err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void take_seek (strand_member *m, strand_tag *tag, strand_call *call,
                       int64_t now_us) {
  int64_t offset = call->list->elems[0].offset;
  strand_ticket *ticket = call->why == WHY_USER ? call->arg : NULL;
  char code[48];
  if (call->err == RD_KAFKA_RESP_ERR__STATE && tag->stuck
      && assign_again(m, tag, offset)) call->err = 0;
  if (call->err == 0) {
    tag->checking = tag->stuck = false;
    tag->more = true;
    tag->backoff_us = 0;
  }
  else try_again(tag, now_us); /* strand_position_tick: there again */
  if (ticket == NULL) return;
  answer_seek(m, ticket,
              call->err == 0 ? NULL
                             : strand_code_of(call->err, code, sizeof(code)),
              rd_kafka_err2str(call->err));
}

/*
** Answers
*/

static void take_answer (strand_member *m, strand_tag *tag,
                         strand_call *call, int64_t now_us) {
  if (call->why == WHY_GAP) take_gap(m, tag, call, now_us);
  else if (call->kind == STRAND_CALL_SEEK) take_seek(m, tag, call, now_us);
  else if (call->why == WHY_USER || call->why == -WHY_USER) {
    take_target(m, tag, call, now_us);
  }
  else if (call->err == 0) take_doubt(m, tag, call, now_us);
  else try_again(tag, now_us);
}

static void take_call (strand_member *m, strand_call *call, int64_t now_us) {
  const rd_kafka_topic_partition_t *p;
  strand_tag *tag;
  switch (call->kind) {
    case STRAND_CALL_COMMITTED:
      take_committed(m, call, now_us);
      return;
    case STRAND_CALL_TOPICS:
      strand_topics_listed(m, call, now_us);
      return;
    case STRAND_CALL_OWNERS:
      strand_topics_owners(m, call, now_us);
      return;
    case STRAND_CALL_REACH:
      strand_outage_reach(m, call, now_us);
      return;
    case STRAND_CALL_LEADERS:
      strand_outage_leaders(m, call, now_us);
      return;
    case STRAND_CALL_DROP:
      strand_letters_gone(m);
      return;
    case STRAND_CALL_DESTROY:
      m->client = NULL;
      return;
    default: break;
  }
  p = &call->list->elems[0];
  tag = strand_member_tag(m, p->topic, p->partition);
  if (tag != NULL && tag->epoch == call->epoch && !tag->leaving) {
    take_answer(m, tag, call, now_us);
  }
  else if (call->why == WHY_USER || call->why == -WHY_USER) {
    answer_seek(m, call->arg, "NOT_ASSIGNED",
                "the partition was revoked meanwhile");
  }
}

void strand_position_answers (strand_member *m, int64_t now_us) {
  strand_call *call;
  while ((call = strand_helper_answer(m->helper)) != NULL) {
    take_call(m, call, now_us);
    strand_call_free(call);
    m->changed = true;
  }
}

/* Tries again what failed, and looks at gaps. When it wants to be called
** again. */
int64_t strand_position_tick (strand_member *m, int64_t now_us) {
  int64_t next = INT64_MAX;
  bool restore = false;
  if (m->phase >= STRAND_LEAVING) return next;
  for (size_t i = 0; i < m->tag_count; i++) {
    strand_tag *tag = m->tags[i];
    if (tag->partition == NULL || tag->leaving) continue;
    if (tag->backoff_us > 0 && tag->retry_us > now_us) {
      if (tag->retry_us < next) next = tag->retry_us;
    }
    else if (tag->backoff_us > 0 && !tag->restored) {
      restore = restore || !tag->checking;
    }
    else if (tag->backoff_us > 0 && tag->checking) {
      tag->retry_us = INT64_MAX; /* until its answer */
      doubt(m, tag, -1, WHY_EARLIER, now_us);
    }
    if (tag->gap_from < 0) continue;
    if (tag->gap_us > now_us) {
      if (tag->gap_us < next) next = tag->gap_us;
    }
    else {
      tag->gap_us = INT64_MAX;
      if (!leave(m, tag, STRAND_CALL_WATERMARKS, 0, WHY_GAP, NULL)) {
        tag->gap_us = now_us + GAP_EVERY_US;
      }
    }
  }
  if (restore) strand_position_restore(m);
  return next;
}
