/*
** group.c - the group: assignments in, revocations out, and errors
**
** A revocation is answered when its handlers have returned or the grace is
** over, and what they did is committed, inside the rebalance:
**
**   REVOKE -> nothing new starts -> handlers return -> commit -> its answer
**          -> the epoch ends -> unassign
**
** The other way round throws finished work away. A lost partition is not
** committed: it may be another member's by now.
*/
#include <stdlib.h>

#include "core/mutant.h"
#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/member.h"

#define EVENTS_MOST 100 /* of one turn */
#define COMMIT_MOST_US 5000000

/*
** Assign
*/

/* The partition enters the engine, with the shards that are still held. */
static bool enter_engine (strand_member *m, strand_tag *tag, const char *topic,
                          int32_t index) {
  strand_consumer *c = m->owner.consumer;
  strand_assigned assigned;
  bool paused;
  if (strand_places_room(&m->assignment.places) != STRAND_OK) return false;
  if (strand_inboxes_assign(&c->inboxes, m->owner.index, topic, index,
                            &assigned)
      != STRAND_OK)
    return false;
  strand_lock_take(&c->lock);
  paused = strand_shared_paused_locked(c, topic, index);
  strand_lock_release(&c->lock);
  tag->epoch = assigned.epoch;
  tag->contested = assigned.contested;
  tag->partition = strand_engine_assign(m->owner.engine, topic, index,
                                        tag->epoch, tag->route, assigned.held,
                                        assigned.held_count);
  strand_assigned_clear(&assigned);
  if (tag->partition == NULL) {
    strand_inboxes_yield(&c->inboxes, m->owner.index, topic, index);
    return false;
  }
  strand_places_put(&m->assignment.places,
                    strand_partition_topic(tag->partition), index, tag);
  strand_partition_set_tag(tag->partition, tag);
  strand_engine_pause(m->owner.engine, tag->partition, paused);
  return true;
}

static void split_queue (strand_member *m, strand_tag *tag, const char *topic,
                         int32_t index) {
  static const uint64_t one = 1;
  tag->queue = rd_kafka_queue_get_partition(m->owner.client, topic, index);
  rd_kafka_queue_forward(tag->queue, NULL);
  rd_kafka_queue_io_event_enable(tag->queue, m->waker->queue_fd, &one,
                                 sizeof(one));
}

static void add_partition (strand_member *m, const char *topic,
                           int32_t index) {
  strand_tag *tag = strand_assignment_add(&m->assignment);
  int route = strand_shared_route(m->owner.consumer, topic);
  strand_event event;
  if (tag == NULL || route == -2) {
    if (tag != NULL) strand_assignment_drop(&m->assignment, tag);
    strand_shared_end(m->owner.consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                      "memory ran out in an assignment");
    return;
  }
  tag->route = route < 0 ? 0 : (unsigned)route;
  tag->stuck = tag->no_route = route < 0;
  if (!enter_engine(m, tag, topic, index)) {
    strand_assignment_drop(&m->assignment, tag);
    strand_shared_end(m->owner.consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                      "memory ran out in an assignment");
    return;
  }
  split_queue(m, tag, topic, index);
  if (m->owner.phase != STRAND_SERVING) strand_group_leave(m, tag);
  event = strand_owner_event(&m->owner, "assigned", tag);
  strand_owner_emit(&m->owner, &event);
  if (route < 0) strand_topics_no_route(&m->topics, topic, strand_clock_us());
}

/* librdkafka's answer to an answer of ours. After a fatal error it refuses
** all, which was told. */
static void take_result (strand_member *m, rd_kafka_resp_err_t err,
                         const char *what) {
  char text[300];
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR || m->membership.fatal) return;
  snprintf(text, sizeof(text), "%s: %s", what, rd_kafka_err2str(err));
  strand_trouble_error(&m->troubles, err, text, NULL, -1, strand_clock_us());
}

static rd_kafka_resp_err_t code_and_free (rd_kafka_error_t *error) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (error == NULL) return err;
  err = rd_kafka_error_code(error);
  rd_kafka_error_destroy(error);
  return err;
}

static void unassign_all (strand_member *m) {
  take_result(m, rd_kafka_assign(m->owner.client, NULL), "unassign");
}

/* One that comes while the member leaves is refused, which is an answer too;
** librdkafka waits for it. */
static void answer_assign (strand_member *m,
                           rd_kafka_topic_partition_list_t *list) {
  if (m->owner.phase >= STRAND_LEAVING) unassign_all(m);
  else if (m->membership.cooperative) {
    take_result(
      m, code_and_free(rd_kafka_incremental_assign(m->owner.client, list)),
      "assign");
  }
  else take_result(m, rd_kafka_assign(m->owner.client, list), "assign");
}

static void assign (strand_member *m, rd_kafka_event_t *event) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_event_topic_partition_list(event);
  if (m->owner.phase < STRAND_LEAVING) {
    const char *protocol = rd_kafka_rebalance_protocol(m->owner.client);
    m->membership.cooperative = protocol != NULL
                                && strcmp(protocol, "COOPERATIVE") == 0;
    for (int i = 0; i < list->cnt; i++) {
      add_partition(m, list->elems[i].topic, list->elems[i].partition);
    }
  }
  answer_assign(m, list);
  if (m->membership.cooperative) strand_position_keep(&m->positions);
  strand_shares_change(&m->shares);
  strand_trouble_joined(&m->troubles, strand_clock_us());
  strand_membership_join(&m->membership);
  strand_topics_assigned(&m->topics, strand_clock_us());
  strand_position_restore(&m->positions);
  rd_kafka_event_destroy(event);
}

/*
** Revoke
*/

static void hold (void *arg, const strand_held *held) {
  strand_consumer *c = arg;
  if (strand_inboxes_hold(&c->inboxes, held) == STRAND_OK) return;
  /* without memory to remember it, its order cannot be promised */
  strand_shared_end(c, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a revoke");
}

void strand_group_revoke (strand_member *m, strand_tag *tag) {
  strand_partition *p = tag->partition;
  int32_t index = strand_partition_index(p);
  char topic[250];
  snprintf(topic, sizeof(topic), "%s", strand_partition_topic(p));
  atomic_store_explicit(&tag->stop, true, memory_order_release);
  strand_trouble_revoked(&m->troubles, tag);
  strand_places_take(&m->assignment.places, topic, index, tag);
  tag->partition = NULL;
  strand_letters_forget(tag);
  strand_engine_revoke(m->owner.engine, p, hold, m->owner.consumer);
  strand_inboxes_yield(&m->owner.consumer->inboxes, m->owner.index, topic,
                       index);
  if (tag->queue != NULL) rd_kafka_queue_destroy(tag->queue);
  tag->queue = NULL;
  strand_snapshot_change(&m->snapshot);
  if (tag->leases == 0) strand_assignment_drop(&m->assignment, tag);
}

void strand_group_leave (strand_member *m, strand_tag *tag) {
  tag->leaving = true;
  strand_engine_revoking(m->owner.engine, tag->partition);
  atomic_store_explicit(&tag->stop, true, memory_order_release);
}

/* A new epoch of the same partition, not restored yet, that the queue goes
** over to. NULL: memory ran out, and the consumer ends. */
static strand_tag *renew (strand_member *m, strand_tag *tag) {
  rd_kafka_queue_t *queue = tag->queue;
  unsigned route = tag->route;
  bool stuck = tag->stuck, no_route = tag->no_route;
  int32_t index = strand_partition_index(tag->partition);
  char topic[250];
  snprintf(topic, sizeof(topic), "%s", strand_partition_topic(tag->partition));
  tag->queue = NULL;
  strand_handover_recall(&m->handover);
  strand_group_revoke(m, tag);
  tag = strand_assignment_add(&m->assignment);
  if (tag != NULL) {
    tag->route = route;
    tag->stuck = stuck; /* until a seek has worked */
    tag->no_route = no_route;
    if (enter_engine(m, tag, topic, index)) {
      tag->queue = queue;
      return tag;
    }
    strand_assignment_drop(&m->assignment, tag);
  }
  rd_kafka_queue_destroy(queue);
  strand_shared_end(m->owner.consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a new epoch");
  return NULL;
}

/* Nothing of the old epoch is committed any more; the new base is, at the
** next commit. */
strand_tag *strand_group_restart (strand_member *m, strand_tag *tag,
                                  int64_t offset) {
  tag = renew(m, tag);
  if (tag == NULL) return NULL;
  if (strand_engine_restored(m->owner.engine, tag->partition, -1, NULL)
        == STRAND_OK
      && strand_engine_reach(m->owner.engine, tag->partition, offset)
           == STRAND_OK) {
    tag->restored = true;
    return tag;
  }
  strand_group_revoke(m, tag);
  strand_shared_end(m->owner.consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a seek");
  return NULL;
}

void strand_group_reset (strand_member *m, int64_t now_us) {
  strand_tag *tag;
  int64_t to;
  while ((tag = strand_position_take_reset(&m->positions, &to)) != NULL) {
    if (!MUTANT(a_log_made_anew_inherits_what_was_done)) {
      tag = strand_group_restart(m, tag, to);
    }
    if (tag == NULL) continue;
    strand_position_was_reset(&m->positions, tag, to, now_us);
  }
}

static bool is_yielded (strand_member *m, const strand_tag *tag) {
  if (tag->partition == NULL || !tag->contested || tag->leaving) return false;
  return !strand_inboxes_contested(&m->owner.consumer->inboxes,
                                   strand_partition_topic(tag->partition),
                                   strand_partition_index(tag->partition));
}

/* Enters the engine again: now it is known which shards are held. */
void strand_group_claim (strand_member *m) {
  for (size_t i = 0; i < m->assignment.count; i++) {
    if (!is_yielded(m, m->assignment.tags[i])) continue;
    renew(m, m->assignment.tags[i]);
    i = (size_t)-1; /* their order has changed: from the start */
  }
  strand_position_restore(&m->positions);
}

static strand_tag *revoked_tag (const strand_member *m, int i) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_event_topic_partition_list(m->group.rebalance);
  if (i >= list->cnt) return NULL;
  return strand_assignment_find(&m->assignment, list->elems[i].topic,
                                list->elems[i].partition);
}

static int revoked_count (const strand_member *m) {
  return rd_kafka_event_topic_partition_list(m->group.rebalance)->cnt;
}

static void tell_revoked (strand_member *m, const char *type) {
  for (int i = 0; i < revoked_count(m); i++) {
    strand_tag *tag = revoked_tag(m, i);
    strand_event event;
    if (tag == NULL) continue;
    event = strand_owner_event(&m->owner, type, tag);
    strand_owner_emit(&m->owner, &event);
  }
}

static void answer_revoke (strand_member *m) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_event_topic_partition_list(m->group.rebalance);
  if (!m->membership.cooperative) {
    unassign_all(m);
    return;
  }
  take_result(
    m, code_and_free(rd_kafka_incremental_unassign(m->owner.client, list)),
    "unassign");
}

/* What runs now is not waited for, nor committed. */
static void count_lost (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  uint64_t lost = 0;
  for (int i = 0; i < revoked_count(m); i++) {
    strand_tag *tag = revoked_tag(m, i);
    strand_partition_stats stats;
    if (tag == NULL) continue;
    strand_partition_stats_read(m->owner.engine, tag->partition, 0, &stats);
    lost += stats.in_flight;
  }
  strand_lock_take(&c->lock);
  c->lost += lost;
  strand_lock_release(&c->lock);
}

/* An eager member joins again now; a cooperative one goes on with what it
** has. */
static void note_answered (strand_member *m, bool lost) {
  if (m->owner.phase != STRAND_SERVING || (m->membership.cooperative && !lost))
    return;
  strand_outage_rejoins(&m->outage, strand_clock_us());
}

static void finish_revoke (strand_member *m) {
  bool lost = rd_kafka_assignment_lost(m->owner.client);
  /* a rebalance that the end of the consumer cut short */
  if (m->owner.phase == STRAND_ENDING) strand_snapshot_stop(&m->snapshot);
  for (int i = 0; i < revoked_count(m); i++) {
    strand_tag *tag = revoked_tag(m, i);
    if (tag != NULL) strand_group_revoke(m, tag);
  }
  strand_shares_change(&m->shares);
  answer_revoke(m);
  if (m->membership.cooperative) strand_position_keep(&m->positions);
  rd_kafka_event_destroy(m->group.rebalance);
  m->group.rebalance = NULL;
  m->membership.rebalancing = false;
  strand_snapshot_change(&m->snapshot);
  note_answered(m, lost);
}

void strand_group_stop_handlers (strand_member *m) {
  for (size_t i = 0; i < m->assignment.count; i++) {
    if (m->assignment.tags[i]->partition != NULL)
      strand_group_leave(m, m->assignment.tags[i]);
  }
  strand_handover_recall(&m->handover);
}

static int64_t grace_of (const strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  int64_t grace;
  strand_lock_take(&c->lock);
  grace = c->limits.revoke_grace_us;
  strand_lock_release(&c->lock);
  return grace < c->max_poll_us / 4 ? grace : c->max_poll_us / 4;
}

static void note_lost (strand_member *m) {
  if (m->owner.phase == STRAND_SERVING)
    strand_membership_leave(&m->membership);
}

static void revoke (strand_member *m, rd_kafka_event_t *event,
                    int64_t now_us) {
  bool lost = rd_kafka_assignment_lost(m->owner.client);
  m->group.rebalance = event;
  m->membership.rebalancing = true;
  m->group.committing = false;
  strand_committer_begin_revoke(&m->committer);
  strand_topics_revoked(&m->topics);
  if (lost) note_lost(m);
  if (!m->membership.fatal) tell_revoked(m, lost ? "lost" : "revoked");
  for (int i = 0; i < revoked_count(m); i++) {
    strand_tag *tag = revoked_tag(m, i);
    if (tag != NULL) strand_group_leave(m, tag);
  }
  strand_handover_recall(&m->handover);
  if (lost) count_lost(m);
  if (lost || m->membership.fatal || m->owner.phase >= STRAND_LEAVING
      || MUTANT(epoch_ends_before_the_drain))
    finish_revoke(m);
  else m->group.grace_us = now_us + grace_of(m);
}

/* Handlers, or dead letters under way. */
static bool something_runs (const strand_member *m) {
  for (int i = 0; i < revoked_count(m); i++) {
    const strand_tag *tag = revoked_tag(m, i);
    if (tag == NULL) continue;
    if (tag->leases > 0 || !strand_list_empty(&tag->letters)) return true;
  }
  return false;
}

static bool is_dirty (const strand_member *m) {
  for (int i = 0; i < revoked_count(m); i++) {
    const strand_tag *tag = revoked_tag(m, i);
    if (tag != NULL && strand_engine_dirty(m->owner.engine, tag->partition)) {
      return true;
    }
  }
  return false;
}

/* A member that closes waits no longer than it has time. */
static int64_t until (const strand_member *m) {
  int64_t until_us = m->group.committing ? m->group.answer_us
                                         : m->group.grace_us;
  int64_t most_us = m->group.committing ? m->closing.deadline_us
                                        : m->closing.limit_us;
  return m->owner.phase == STRAND_SERVING || until_us < most_us ? until_us
                                                                : most_us;
}

void strand_group_advance (strand_member *m, int64_t now_us) {
  int64_t most = m->owner.consumer->max_poll_us / 4;
  if (m->group.rebalance == NULL) return;
  if (rd_kafka_assignment_lost(m->owner.client)) { /* meanwhile */
    note_lost(m);
    count_lost(m);
    finish_revoke(m);
    return;
  }
  if (!m->group.committing) {
    if (something_runs(m) && now_us < until(m)) return;
    m->group.committing = true;
    m->group.answer_us = now_us
                         + (most < COMMIT_MOST_US ? most : COMMIT_MOST_US);
  }
  if (now_us < until(m) && is_dirty(m) && !MUTANT(revoke_does_not_commit)
      && strand_committer_serve_revoke(&m->committer, now_us))
    return;
  finish_revoke(m);
}

int64_t strand_group_due (const strand_member *m) {
  if (m->group.rebalance == NULL) return INT64_MAX;
  if (m->group.committing && !strand_committer_is_out(&m->committer)) {
    int64_t due = strand_engine_commit_due(m->owner.engine,
                                           0); /* its back-off */
    if (due < until(m)) return due;
  }
  return until(m);
}

/*
** Events of librdkafka
*/

static void rebalance (strand_member *m, rd_kafka_event_t *event,
                       int64_t now_us) {
  if (m->group.rebalance != NULL) finish_revoke(m); /* overtaken */
  switch (rd_kafka_event_error(event)) {
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS: assign(m, event); return;
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
      revoke(m, event, now_us);
      return;
    default: /* whatever it is, librdkafka waits for an answer */
      take_result(m, rd_kafka_event_error(event), "rebalance");
      unassign_all(m);
      rd_kafka_event_destroy(event);
  }
}

/* Somebody else has them: librdkafka revokes nothing after a fatal error.
** They stay in the engine until the close has seen what is unfinished. */
static void lose_all (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  strand_engine_stats stats;
  strand_membership_leave(&m->membership);
  for (size_t i = 0; i < m->assignment.count; i++) {
    strand_event event;
    if (m->assignment.tags[i]->partition == NULL) continue;
    event = strand_owner_event(&m->owner, "lost", m->assignment.tags[i]);
    strand_owner_emit(&m->owner, &event);
  }
  strand_engine_stats_read(m->owner.engine, &stats);
  strand_lock_take(&c->lock);
  c->lost += stats.in_flight;
  strand_lock_release(&c->lock);
}

static void fail_fatally (strand_member *m) {
  char code[48], text[512];
  rd_kafka_resp_err_t err = rd_kafka_fatal_error(m->owner.client, text,
                                                 sizeof(text));
  if (!m->membership.fatal) lose_all(m);
  m->membership.fatal = true;
  strand_shared_end(m->owner.consumer, STRAND_CLOSE_NOW,
                    strand_code_of(err, code, sizeof(code)), text);
}

static void take_error (strand_member *m, rd_kafka_event_t *event,
                        int64_t now_us) {
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  rd_kafka_topic_partition_t *p;
  if (err == RD_KAFKA_RESP_ERR__FATAL
      || rd_kafka_event_error_is_fatal(event)) {
    fail_fatally(m);
    return;
  }
  p = rd_kafka_event_topic_partition(event);
  strand_trouble_error(&m->troubles, err, rd_kafka_event_error_string(event),
                       p != NULL ? p->topic : NULL,
                       p != NULL ? p->partition : -1, now_us);
  if (p != NULL) rd_kafka_topic_partition_destroy(p);
}

/* librdkafka tells of a queue only when it was empty before: what is left of
** it is taken in the next turn, which comes at once. */
void strand_group_serve (strand_member *m, int64_t now_us) {
  rd_kafka_event_t *event;
  int served = 0;
  m->waker->more = true;
  while (served++ < EVENTS_MOST) {
    event = rd_kafka_queue_poll(m->owner.queue, 0);
    m->waker->more = event != NULL;
    if (event == NULL) return;
    strand_snapshot_change(&m->snapshot);
    switch (rd_kafka_event_type(event)) {
      case RD_KAFKA_EVENT_REBALANCE:
        rebalance(m, event, now_us); /* takes it */
        continue;
      case RD_KAFKA_EVENT_ERROR: take_error(m, event, now_us); break;
      case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
        strand_shared_want_token(m->owner.consumer);
        break;
      default: break;
    }
    rd_kafka_event_destroy(event);
  }
}
