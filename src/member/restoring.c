/*
** restoring.c - what the group has committed of a partition
*/
#include "base/clock.h"
#include "member/position.h"

#define UNSTABLE_US 2000000      /* before it is told */
#define AGAIN_US INT64_C(100000) /* until it is asked for again */

/* The group's coordinator, as far as is known. */
static bool is_up (const strand_positions *s) {
  return s->signs == NULL || atomic_load(&s->signs->coordinator_up);
}

/* Its committed offset is wanted now. */
static bool wants_committed (const strand_assigned *assigned, int64_t now_us) {
  const strand_position *p = &assigned->position;
  return assigned->partition != NULL && !p->restored && !p->stuck
         && !assigned->leaving && !assigned->contested && !p->checking
         && p->retry_us <= now_us;
}

static void add_to (rd_kafka_topic_partition_list_t *list,
                    strand_assigned *assigned, int64_t now_us) {
  rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(
    list, strand_partition_topic(assigned->partition),
    strand_partition_index(assigned->partition));
  p->opaque = (void *)(uintptr_t)assigned->epoch;
  assigned->position.checking = true;
  if (assigned->position.since_us == 0) assigned->position.since_us = now_us;
}

static strand_assigned *asked_for (const strand_positions *s,
                                   const rd_kafka_topic_partition_t *p) {
  strand_assigned *assigned = strand_assignment_find(s->assignment, p->topic,
                                                     p->partition);
  return assigned != NULL && assigned->epoch == (uint32_t)(uintptr_t)p->opaque
           ? assigned
           : NULL;
}

/* Takes 'list'. */
static void ask_committed (strand_positions *s,
                           rd_kafka_topic_partition_list_t *list, bool up,
                           int together_ms, int64_t now_us) {
  rd_kafka_topic_partition_list_t *names;
  strand_call *call;
  if (list->cnt == 0) {
    rd_kafka_topic_partition_list_destroy(list);
    return;
  }
  names = rd_kafka_topic_partition_list_copy(list);
  call = strand_call_new(STRAND_CALL_COMMITTED, list);
  if (call != NULL) {
    call->together_ms = together_ms;
    if (up && s->signs != NULL)
      call->coordinator_up = &s->signs->coordinator_up;
    strand_helper_leave(s->owner->helper, call);
  }
  for (int i = 0; call == NULL && i < names->cnt; i++) {
    strand_assigned *assigned = strand_assignment_find(
      s->assignment, names->elems[i].topic, names->elems[i].partition);
    assigned->position.checking = false;
    strand_position_put_off(assigned, now_us);
  }
  rd_kafka_topic_partition_list_destroy(names);
}

/* Those whose offset a transaction holds back are asked for apart: nothing
** waits for them. */
void strand_position_restore (strand_positions *s) {
  rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(8);
  rd_kafka_topic_partition_list_t *held = rd_kafka_topic_partition_list_new(1);
  int64_t now_us = strand_clock_us();
  bool up = is_up(s);
  for (size_t i = 0; i < s->assignment->count; i++) {
    strand_assigned *assigned = s->assignment->partitions[i];
    if (wants_committed(assigned, now_us))
      add_to(up && assigned->position.unstable ? held : all, assigned, now_us);
  }
  ask_committed(s, all, up,
                up ? STRAND_CALL_TOGETHER_MS : STRAND_CALL_TIMEOUT_MS, now_us);
  ask_committed(s, held, up, 0, now_us);
}

static void tell_unreadable (const strand_positions *s,
                             const strand_assigned *assigned,
                             int64_t committed, const char *problem) {
  strand_event event = strand_owner_event(s->owner, "metadata_unreadable",
                                          assigned);
  event.offset = committed;
  strand_event_set_reason(&event, problem, strlen(problem));
  strand_owner_emit(s->owner, &event);
}

/* STRAND_ENOMEM: nothing is wrong with it. STRAND_EFORMAT: the consumer is to
** end. */
static strand_err read_payload (const strand_positions *s,
                                const strand_assigned *assigned,
                                const rd_kafka_topic_partition_t *p,
                                strand_payload *payload, bool *some) {
  const char *problem = NULL;
  char text[512];
  strand_err err = strand_payload_decode(p->offset, p->metadata,
                                         p->metadata_size, payload, &problem);
  *some = err == STRAND_OK;
  if (err == STRAND_OK || err == STRAND_ENOMEM) return err;
  tell_unreadable(s, assigned, p->offset, problem);
  if (!s->owner->consumer->settings.unreadable_fail) return STRAND_OK;
  snprintf(text, sizeof(text),
           "the commit of %s/%d at offset %lld has "
           "metadata that cannot be read: %s",
           p->topic, (int)p->partition, (long long)p->offset, problem);
  strand_shared_end(s->owner->consumer, STRAND_CLOSE_NOW,
                    "METADATA_UNREADABLE", text);
  return STRAND_EFORMAT;
}

static void restore_assigned (strand_positions *s, strand_assigned *assigned,
                              const rd_kafka_topic_partition_t *p,
                              int64_t now_us) {
  int64_t committed = p->offset >= 0 ? p->offset : -1;
  strand_payload payload = { 0 };
  bool some = false;
  strand_event event;
  strand_err err = STRAND_OK;
  if (committed >= 0 && p->metadata_size > 0) {
    err = read_payload(s, assigned, p, &payload, &some);
  }
  if (err == STRAND_EFORMAT) {
    assigned->position.stuck = true;
    return;
  }
  if (err == STRAND_OK) {
    err = strand_engine_restored(s->owner->engine, assigned->partition,
                                 committed, some ? &payload : NULL);
  }
  if (some && payload.highest >= committed)
    assigned->position.claimed = payload.highest;
  if (some) strand_payload_free(&payload);
  if (err != STRAND_OK) {
    strand_position_put_off(assigned, now_us);
    return;
  }
  assigned->position.restored = assigned->more = true;
  assigned->position.unstable = false;
  assigned->position.backoff_us = 0;
  if (assigned->position.again) strand_position_find(s, assigned, now_us);
  event = strand_owner_event(s->owner, "restored", assigned);
  event.offset = committed;
  strand_owner_emit(s->owner, &event);
}

static void tell_unstable (const strand_positions *s,
                           strand_assigned *assigned, int64_t now_us) {
  static const char reason[] =
    "the committed offset is not stable yet: a transaction of another process "
    "is open, or was when that process ended (until its timeout)";
  strand_event event;
  if (assigned->position.reported
      || now_us - assigned->position.since_us < UNSTABLE_US)
    return;
  assigned->position.reported = true;
  event = strand_owner_event(s->owner, "restoring", assigned);
  snprintf(event.code, sizeof(event.code), "UNSTABLE_OFFSET_COMMIT");
  strand_event_set_reason(&event, reason, sizeof(reason) - 1);
  strand_owner_emit(s->owner, &event);
}

/* librdkafka waits for it too, with all that it has asked for with it. */
static void wait_stable (strand_positions *s, strand_assigned *assigned,
                         int64_t now_us) {
  assigned->position.unstable = assigned->position.astray = true;
  if (!assigned->position.given) s->held_up = true;
  tell_unstable(s, assigned, now_us);
  assigned->position.backoff_us = AGAIN_US;
  assigned->position.retry_us = now_us + AGAIN_US;
}

static void take_unread (strand_positions *s, strand_assigned *assigned,
                         const rd_kafka_topic_partition_t *p,
                         rd_kafka_resp_err_t err, int64_t now_us) {
  if (err == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT) {
    wait_stable(s, assigned, now_us);
    return;
  }
  if (assigned->position.backoff_us == 0) {
    strand_health_error(s->health, err, "reading the committed offset",
                        p->topic, p->partition, now_us);
  }
  strand_position_put_off(assigned, now_us);
}

void strand_position_committed (strand_positions *s, const strand_call *call,
                                int64_t now_us) {
  for (int i = 0; i < call->list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &call->list->elems[i];
    strand_assigned *assigned = asked_for(s, p);
    rd_kafka_resp_err_t err = call->err != 0 ? call->err : p->err;
    if (assigned == NULL || assigned->position.restored || assigned->leaving)
      continue;
    assigned->position.checking = false;
    if (err == 0) restore_assigned(s, assigned, p, now_us);
    else take_unread(s, assigned, p, err, now_us);
  }
}
