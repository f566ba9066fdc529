/*
** reassign.c - see reassign.h
*/
#include "member/reassign.h"

#include "kafka/errors.h"

void strand_reassign_init (strand_reassign *r, const strand_owner *owner,
                           const strand_assignment *assignment,
                           const strand_membership *membership,
                           const strand_health *health,
                           const strand_waker *waker,
                           strand_positions *positions) {
  *r = (strand_reassign){ .owner = owner,
                          .assignment = assignment,
                          .membership = membership,
                          .health = health,
                          .waker = waker,
                          .positions = positions };
}

static void add (rd_kafka_topic_partition_list_t *list,
                 const strand_assigned *assigned, int64_t offset) {
  rd_kafka_topic_partition_list_add(
    list, strand_partition_topic(assigned->partition),
    strand_partition_index(assigned->partition))
    ->offset = offset;
}

/* Where it is now. One that the group has no offset of is asked for once more:
** that has an answer, for it is not held back. */
static int64_t place_of (const strand_assigned *assigned) {
  if (!strand_position_is_restored(assigned)) return RD_KAFKA_OFFSET_END;
  return strand_position_home(assigned);
}

/* Under the cooperative protocol the others go on untouched. Under the eager
** one an empty list takes its place: none at all would be the answer to a
** revocation that is on its way; and without it librdkafka stops a partition of
** the old list and the new one twice, if another assignment comes at once, and
** fails an assertion of its own. */
static rd_kafka_resp_err_t unassign (rd_kafka_t *client, bool cooperative,
                                     rd_kafka_topic_partition_list_t *list) {
  rd_kafka_topic_partition_list_t *nothing;
  rd_kafka_resp_err_t err;
  if (cooperative)
    return strand_error_take(rd_kafka_incremental_unassign(client, list));
  nothing = rd_kafka_topic_partition_list_new(1);
  err = rd_kafka_assign(client, nothing);
  rd_kafka_topic_partition_list_destroy(nothing);
  return err;
}

static rd_kafka_resp_err_t assign (rd_kafka_t *client, bool cooperative,
                                   rd_kafka_topic_partition_list_t *list) {
  return cooperative
           ? strand_error_take(rd_kafka_incremental_assign(client, list))
           : rd_kafka_assign(client, list);
}

/* The queues are split off between the two. Before, librdkafka forgets those of
** partitions that it does not know yet by their metadata; after, it may have
** put records into the consumer's already. Takes 'list'. */
static rd_kafka_resp_err_t assign_all (strand_reassign *r,
                                       rd_kafka_topic_partition_list_t *list) {
  rd_kafka_t *client = r->owner->client;
  bool cooperative = r->membership->cooperative;
  rd_kafka_resp_err_t err = unassign(client, cooperative, list);
  for (int i = 0; i < list->cnt; i++) {
    strand_assigned *assigned = strand_assignment_find(
      r->assignment, list->elems[i].topic, list->elems[i].partition);
    strand_assigned_split(assigned, client, r->waker->queue_fd);
  }
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
    err = assign(client, cooperative, list);
  rd_kafka_topic_partition_list_destroy(list);
  return err;
}

/* All that are to be named, but 'target': under the eager protocol that is all
** that are assigned. */
static rd_kafka_topic_partition_list_t *
list_others (const strand_reassign *r, const strand_assigned *target) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(
    (int)r->assignment->count);
  for (size_t i = 0; i < r->assignment->count; i++) {
    strand_assigned *assigned = r->assignment->partitions[i];
    if (assigned->partition == NULL || assigned == target) continue;
    if (r->membership->cooperative
        && (target != NULL || !strand_position_is_idle(assigned)))
      continue;
    add(list, assigned, place_of(assigned));
    strand_position_given(assigned);
  }
  return list;
}

/* While a rebalance waits for its answer this would be taken for it. */
static bool may_assign (const strand_reassign *r) {
  return !r->membership->rebalancing
         && !rd_kafka_assignment_lost(r->owner->client)
         && (!r->membership->cooperative
             || rd_kafka_queue_length(r->owner->queue) == 0);
}

/* It was assigned again with the end of its log, and it is not known to have
** begun: an answer where that is may be under way. */
static bool asks_for_end (const strand_assigned *assigned) {
  return assigned->partition != NULL && assigned->position.given
         && strand_position_is_astray(assigned)
         && !strand_position_is_stuck(assigned);
}

bool strand_reassign_must_wait (const strand_reassign *r,
                                const strand_assigned *target) {
  for (size_t i = 0; !r->membership->cooperative && i < r->assignment->count;
       i++) {
    const strand_assigned *assigned = r->assignment->partitions[i];
    if (assigned != target && asks_for_end(assigned)) return true;
  }
  return false;
}

bool strand_reassign_one (strand_reassign *r, strand_assigned *assigned,
                          int64_t offset) {
  rd_kafka_topic_partition_list_t *list;
  if (!may_assign(r) || strand_reassign_must_wait(r, assigned)) return false;
  list = list_others(r, assigned);
  add(list, assigned, offset);
  strand_position_give(assigned);
  return assign_all(r, list) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* It may have been revoked meanwhile. */
static bool is_held_up (const strand_reassign *r) {
  for (size_t i = 0; i < r->assignment->count; i++) {
    const strand_assigned *assigned = r->assignment->partitions[i];
    if (assigned->partition != NULL && strand_position_is_held_up(assigned))
      return true;
  }
  return false;
}

void strand_reassign_serve (strand_reassign *r, int64_t now_us) {
  rd_kafka_resp_err_t err;
  if (!r->positions->held_up || r->owner->phase != STRAND_SERVING
      || !may_assign(r))
    return;
  r->positions->held_up = false;
  if (!is_held_up(r)) return;
  err = assign_all(r, list_others(r, NULL));
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  strand_health_error(r->health, err,
                      "assigning again what waits for a committed offset",
                      NULL, -1, now_us);
}
