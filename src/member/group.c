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
#include "member/group.h"

#include <assert.h>

#include "base/clock.h"
#include "kafka/errors.h"

#define EVENTS_MOST 100 /* of one turn */
#define COMMIT_MOST_US 5000000

/*
** Assign
*/

/* librdkafka's answer to an answer of ours. After a fatal error it refuses
** all, which was told. */
static void take_result (strand_group *g, rd_kafka_resp_err_t err,
                         const char *what) {
  char text[300];
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR || g->membership->fatal) return;
  snprintf(text, sizeof(text), "%s: %s", what, rd_kafka_err2str(err));
  strand_health_error(g->health, err, text, NULL, -1, strand_clock_us());
}

static void unassign_all (strand_group *g) {
  take_result(g, rd_kafka_assign(g->owner->client, NULL), "unassign");
}

/* One that comes while the member leaves is refused, which is an answer too;
** librdkafka waits for it. */
static void answer_assign (strand_group *g,
                           rd_kafka_topic_partition_list_t *list) {
  if (g->owner->phase >= STRAND_LEAVING) unassign_all(g);
  else if (g->membership->cooperative) {
    take_result(
      g,
      strand_error_take(rd_kafka_incremental_assign(g->owner->client, list)),
      "assign");
  }
  else take_result(g, rd_kafka_assign(g->owner->client, list), "assign");
}

static void assign (strand_group *g, rd_kafka_event_t *event) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_event_topic_partition_list(event);
  if (g->owner->phase < STRAND_LEAVING) {
    const char *protocol = rd_kafka_rebalance_protocol(g->owner->client);
    strand_membership_follow(
      g->membership, protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0);
    strand_position_unsettle(g->positions);
    for (int i = 0; i < list->cnt; i++) {
      strand_epoch_begin(g->epochs, list->elems[i].topic,
                         list->elems[i].partition);
    }
    strand_position_settle(g->positions);
  }
  answer_assign(g, list);
  if (g->membership->cooperative) strand_position_keep(g->positions);
  strand_shares_change(g->shares);
  strand_health_joined(g->health, strand_clock_us());
  strand_membership_join(g->membership);
  strand_topics_assigned(g->topics, strand_clock_us());
  strand_position_restore(g->positions);
  rd_kafka_event_destroy(event);
}

/*
** Revoke
*/

static strand_assigned *revoked_partition (const strand_group *g, int i) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_event_topic_partition_list(g->rebalance);
  if (i >= list->cnt) return NULL;
  return strand_assignment_find(g->assignment, list->elems[i].topic,
                                list->elems[i].partition);
}

static int revoked_count (const strand_group *g) {
  return rd_kafka_event_topic_partition_list(g->rebalance)->cnt;
}

static void tell_revoked (strand_group *g, const char *type) {
  for (int i = 0; i < revoked_count(g); i++) {
    strand_assigned *assigned = revoked_partition(g, i);
    strand_event event;
    if (assigned == NULL) continue;
    event = strand_owner_event(g->owner, type, assigned);
    strand_owner_emit(g->owner, &event);
  }
}

static void answer_revoke (strand_group *g) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_event_topic_partition_list(g->rebalance);
  if (!g->membership->cooperative) {
    unassign_all(g);
    return;
  }
  take_result(
    g,
    strand_error_take(rd_kafka_incremental_unassign(g->owner->client, list)),
    "unassign");
}

/* What runs now is not waited for, nor committed; at most once it is counted
** when it ends, with all that is lost. */
static void count_lost (strand_group *g) {
  uint64_t lost = 0;
  if (g->owner->consumer->settings.delivery == STRAND_AT_MOST_ONCE) return;
  for (int i = 0; i < revoked_count(g); i++) {
    strand_assigned *assigned = revoked_partition(g, i);
    strand_partition_stats stats;
    if (assigned == NULL) continue;
    strand_partition_stats_read(g->owner->engine, assigned->partition, 0,
                                &stats);
    lost += stats.in_flight + stats.sending;
  }
  strand_tally_lose(&g->owner->consumer->tally, lost);
}

/* An eager member joins again now; a cooperative one goes on with what it
** has. */
static void note_answered (strand_group *g, bool lost) {
  if (g->owner->phase != STRAND_SERVING
      || (g->membership->cooperative && !lost))
    return;
  strand_outage_rejoins(g->outage, strand_clock_us());
}

/* Exactly once what handlers produced goes with the commit. */
static bool transacts (const strand_group *g) {
  return g->owner->consumer->settings.delivery == STRAND_EXACTLY_ONCE;
}

static bool is_dirty (const strand_group *g) {
  for (int i = 0; i < revoked_count(g); i++) {
    const strand_assigned *assigned = revoked_partition(g, i);
    if (assigned == NULL) continue;
    if (strand_engine_dirty(g->owner->engine, assigned->partition)
        || (transacts(g) && !strand_list_empty(&assigned->outputs)))
      return true;
  }
  return false;
}

static void finish_revoke (strand_group *g) {
  bool lost = rd_kafka_assignment_lost(g->owner->client);
  /* a rebalance that the end of the consumer cut short */
  if (g->owner->phase == STRAND_ENDING) strand_snapshot_stop(g->snapshot);
  if (lost || is_dirty(g)) strand_committer_abandon(g->committer);
  strand_position_unsettle(g->positions);
  for (int i = 0; i < revoked_count(g); i++) {
    strand_assigned *assigned = revoked_partition(g, i);
    if (assigned == NULL) continue;
    strand_epoch_lose(g->epochs, assigned);
    strand_epoch_end(g->epochs, assigned);
  }
  strand_shares_change(g->shares);
  answer_revoke(g);
  if (g->membership->cooperative) strand_position_keep(g->positions);
  rd_kafka_event_destroy(g->rebalance);
  g->rebalance = NULL;
  g->grace_us = 0;
  strand_membership_rebalance(g->membership, false);
  strand_snapshot_change(g->snapshot);
  note_answered(g, lost);
}

/* Exactly once the rest of that quarter is the transactions'. */
static int64_t grace_of (const strand_group *g) {
  strand_consumer *c = g->owner->consumer;
  int64_t grace = strand_settings_limits(&c->settings).revoke_grace_us;
  int64_t most = c->settings.max_poll_us / (transacts(g) ? 8 : 4);
  return grace < most ? grace : most;
}

static void note_lost (strand_group *g) {
  if (g->owner->phase == STRAND_SERVING)
    strand_membership_leave(g->membership);
}

static void revoke (strand_group *g, rd_kafka_event_t *event, int64_t now_us) {
  bool lost = rd_kafka_assignment_lost(g->owner->client);
  g->rebalance = event;
  g->began_us = now_us;
  strand_membership_rebalance(g->membership, true);
  g->committing = false;
  strand_committer_begin_revoke(g->committer);
  strand_topics_revoked(g->topics);
  if (lost) note_lost(g);
  if (!g->membership->fatal) tell_revoked(g, lost ? "lost" : "revoked");
  for (int i = 0; i < revoked_count(g); i++) {
    strand_assigned *assigned = revoked_partition(g, i);
    if (assigned != NULL) strand_epoch_leave(g->epochs, assigned);
  }
  strand_handover_recall(g->handover);
  if (lost) count_lost(g);
  if (lost || g->membership->fatal || g->owner->phase >= STRAND_LEAVING)
    finish_revoke(g);
  else g->grace_us = now_us + grace_of(g);
}

/* Handlers; or dead letters or outputs under way. */
static bool something_runs (const strand_group *g) {
  for (int i = 0; i < revoked_count(g); i++) {
    const strand_assigned *assigned = revoked_partition(g, i);
    if (assigned == NULL) continue;
    if (assigned->leases > 0) return true;
    if (!transacts(g)
        && (!strand_list_empty(&assigned->dead_letters)
            || !strand_list_empty(&assigned->outputs)))
      return true;
  }
  return false;
}

void strand_group_limit (strand_group *g, int64_t limit_us,
                         int64_t deadline_us) {
  g->limit_us = limit_us;
  g->deadline_us = deadline_us;
}

/* A member that closes waits no longer than it has time. */
static int64_t until (const strand_group *g) {
  int64_t until_us = g->committing ? g->answer_us : g->grace_us;
  int64_t most_us = g->committing ? g->deadline_us : g->limit_us;
  return g->owner->phase == STRAND_SERVING || until_us < most_us ? until_us
                                                                 : most_us;
}

void strand_group_advance (strand_group *g, int64_t now_us) {
  int64_t most = g->owner->consumer->settings.max_poll_us / 4;
  if (g->rebalance == NULL) return;
  if (rd_kafka_assignment_lost(g->owner->client)) { /* meanwhile */
    note_lost(g);
    count_lost(g);
    finish_revoke(g);
    return;
  }
  if (!g->committing) {
    if (something_runs(g) && now_us < until(g)) return;
    g->committing = true;
    strand_handover_cut(g->handover);
    g->answer_us = now_us + (most < COMMIT_MOST_US ? most : COMMIT_MOST_US);
    if (transacts(g) && g->answer_us > g->began_us + most)
      g->answer_us = g->began_us + most;
  }
  if (now_us < until(g) && is_dirty(g)
      && strand_committer_serve_revoke(g->committer, now_us))
    return;
  finish_revoke(g);
}

int64_t strand_group_due (const strand_group *g) {
  if (g->rebalance == NULL) return INT64_MAX;
  if (g->committing && !strand_committer_is_out(g->committer)) {
    int64_t due = strand_engine_commit_due(g->owner->engine,
                                           0); /* its back-off */
    if (due < until(g)) return due;
  }
  return until(g);
}

/*
** Events of librdkafka
*/

static void rebalance (strand_group *g, rd_kafka_event_t *event,
                       int64_t now_us) {
  if (g->rebalance != NULL) finish_revoke(g); /* overtaken */
  switch (rd_kafka_event_error(event)) {
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS: assign(g, event); return;
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
      revoke(g, event, now_us);
      return;
    default: /* whatever it is, librdkafka waits for an answer */
      take_result(g, rd_kafka_event_error(event), "rebalance");
      unassign_all(g);
      rd_kafka_event_destroy(event);
  }
}

/* Somebody else has them: librdkafka revokes nothing after a fatal error.
** They stay in the engine until the close has seen what is unfinished. */
static void lose_all (strand_group *g) {
  strand_engine_stats stats;
  strand_membership_leave(g->membership);
  for (size_t i = 0; i < g->assignment->count; i++) {
    strand_event event;
    if (g->assignment->partitions[i]->partition == NULL) continue;
    event = strand_owner_event(g->owner, "lost", g->assignment->partitions[i]);
    strand_owner_emit(g->owner, &event);
  }
  if (g->owner->consumer->settings.delivery == STRAND_AT_MOST_ONCE) return;
  strand_engine_stats_read(g->owner->engine, &stats);
  strand_tally_lose(&g->owner->consumer->tally,
                    stats.in_flight + stats.sending);
}

static void fail_fatally (strand_group *g) {
  char code[48], text[512];
  rd_kafka_resp_err_t err = rd_kafka_fatal_error(g->owner->client, text,
                                                 sizeof(text));
  if (!g->membership->fatal) lose_all(g);
  strand_membership_fail(g->membership);
  strand_shared_end(g->owner->consumer, STRAND_CLOSE_NOW,
                    strand_code_of(err, code, sizeof(code)), text);
}

/* What a partition's own queue should have: a record, or the end. It is not
** taken from here, for there may be more of it there. */
static void take_stray (strand_group *g, const char *topic, int32_t partition,
                        int64_t offset, int64_t now_us) {
  strand_assigned *assigned = strand_assignment_find(g->assignment, topic,
                                                     partition);
  if (assigned == NULL) return;
  strand_assigned_split(assigned, g->owner->client, g->waker->queue_fd);
  strand_position_missed(g->positions, assigned, offset, now_us);
}

static void take_records (strand_group *g, rd_kafka_event_t *event,
                          int64_t now_us) {
  const rd_kafka_message_t *msg;
  while ((msg = rd_kafka_event_message_next(event)) != NULL) {
    take_stray(g, rd_kafka_topic_name(msg->rkt), msg->partition, msg->offset,
               now_us);
  }
}

static void take_error (strand_group *g, rd_kafka_event_t *event,
                        int64_t now_us) {
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  rd_kafka_topic_partition_t *p;
  if (err == RD_KAFKA_RESP_ERR__FATAL
      || rd_kafka_event_error_is_fatal(event)) {
    fail_fatally(g);
    return;
  }
  p = rd_kafka_event_topic_partition(event);
  if (err == RD_KAFKA_RESP_ERR__PARTITION_EOF && p != NULL)
    take_stray(g, p->topic, p->partition, p->offset, now_us);
  else {
    strand_health_error(g->health, err, rd_kafka_event_error_string(event),
                        p != NULL ? p->topic : NULL,
                        p != NULL ? p->partition : -1, now_us);
  }
  if (p != NULL) rd_kafka_topic_partition_destroy(p);
}

/* librdkafka tells of a queue only when it was empty before: what is left of
** it is taken in the next turn, which comes at once. */
void strand_group_serve (strand_group *g, int64_t now_us) {
  rd_kafka_event_t *event;
  int served = 0;
  g->waker->more = true;
  while (served++ < EVENTS_MOST) {
    event = rd_kafka_queue_poll(g->owner->queue, 0);
    g->waker->more = event != NULL;
    if (event == NULL) return;
    strand_snapshot_change(g->snapshot);
    switch (rd_kafka_event_type(event)) {
      case RD_KAFKA_EVENT_REBALANCE:
        rebalance(g, event, now_us); /* takes it */
        continue;
      case RD_KAFKA_EVENT_FETCH: take_records(g, event, now_us); break;
      case RD_KAFKA_EVENT_ERROR: take_error(g, event, now_us); break;
      case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
        strand_shared_want_token(g->owner->consumer);
        break;
      default: break;
    }
    rd_kafka_event_destroy(event);
  }
}

void strand_group_check (const strand_group *g) {
  (void)g;
  assert(g->membership->rebalancing == (g->rebalance != NULL)); /* (1) */
  assert(g->rebalance == NULL || g->grace_us > 0);              /* (2) */
}
