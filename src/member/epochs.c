/*
** epochs.c - an assigned partition, from its assignment to its end
*/
#include "member/epochs.h"

#include "base/clock.h"

/*
** The begin
*/

/* The partition enters the engine, with the shards that are still orphaned. */
static bool enter_engine (const strand_epochs *e, strand_assigned *assigned,
                          const char *topic, int32_t index) {
  strand_consumer *c = e->owner->consumer;
  strand_assign_answer answer;
  if (strand_places_room(&e->assignment->places) != STRAND_OK) return false;
  if (strand_inboxes_assign(&c->inboxes, e->owner->index, topic, index,
                            &answer)
      != STRAND_OK)
    return false;
  assigned->epoch = answer.epoch;
  assigned->contested = answer.contested;
  assigned->partition = strand_engine_assign(
    e->owner->engine, topic, index, assigned->epoch, assigned->route,
    answer.orphans, answer.orphan_count);
  strand_assign_answer_clear(&answer);
  if (assigned->partition == NULL) {
    strand_inboxes_hand_off(&c->inboxes, e->owner->index, topic, index);
    return false;
  }
  strand_places_put(&e->assignment->places,
                    strand_partition_topic(assigned->partition), index,
                    assigned);
  strand_partition_set_opaque(assigned->partition, assigned);
  strand_engine_pause(e->owner->engine, assigned->partition,
                      strand_settings_paused(&c->settings, topic, index));
  return true;
}

void strand_epoch_begin (const strand_epochs *e, const char *topic,
                         int32_t index) {
  strand_assigned *assigned = strand_assignment_add(e->assignment);
  int route = strand_routes_find(&e->owner->consumer->routes, topic);
  strand_event event;
  if (assigned == NULL || route == -2) {
    if (assigned != NULL) strand_assignment_drop(e->assignment, assigned);
    strand_shared_end(e->owner->consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                      "memory ran out in an assignment");
    return;
  }
  assigned->route = route < 0 ? 0 : (unsigned)route;
  assigned->no_route = route < 0;
  if (assigned->no_route) strand_position_lose(assigned);
  if (!enter_engine(e, assigned, topic, index)) {
    strand_assignment_drop(e->assignment, assigned);
    strand_shared_end(e->owner->consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                      "memory ran out in an assignment");
    return;
  }
  strand_assigned_split(assigned, e->owner->client, e->waker->queue_fd);
  if (e->owner->phase != STRAND_SERVING) strand_epoch_leave(e, assigned);
  event = strand_owner_event(e->owner, "assigned", assigned);
  strand_owner_emit(e->owner, &event);
  if (route < 0) strand_topics_no_route(e->topics, topic, strand_clock_us());
}

/*
** The end
*/

static void add_orphan (void *arg, const strand_orphan *orphan) {
  strand_consumer *c = arg;
  if (strand_inboxes_add_orphan(&c->inboxes, orphan) == STRAND_OK) return;
  /* without memory to remember it, its order cannot be promised */
  strand_shared_end(c, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a revoke");
}

static void add_part (char *text, size_t size, size_t count,
                      const char *what) {
  size_t at = strlen(text);
  if (count == 0) return;
  snprintf(text + at, size - at, "%s%zu %s", at > 0 ? ", " : "", count, what);
}

static void tell_losses (const strand_epochs *e,
                         const strand_assigned *assigned,
                         const strand_losses *lost) {
  strand_event event;
  char reason[240] = ""; /* all of it fits */
  if (lost->first < 0) return;
  strand_tally_lose(&e->owner->consumer->tally,
                    lost->cut_off + lost->sending + lost->unstarted);
  event = strand_owner_event(e->owner, "records_lost", assigned);
  event.offset = lost->first;
  add_part(reason, sizeof(reason), lost->cut_off,
           "started and did not end in time");
  add_part(reason, sizeof(reason), lost->sending,
           "produced what was not acknowledged in time");
  add_part(reason, sizeof(reason), lost->unstarted,
           "not started: taking back the commit that covers them was not "
           "acknowledged");
  strand_event_set_reason(&event, reason, strlen(reason));
  strand_owner_emit(e->owner, &event);
}

void strand_epoch_lose (const strand_epochs *e,
                        const strand_assigned *assigned) {
  strand_losses lost;
  strand_engine_losses(e->owner->engine, assigned->partition, &lost);
  tell_losses(e, assigned, &lost);
}

void strand_epoch_end (const strand_epochs *e, strand_assigned *assigned) {
  strand_partition *p = assigned->partition;
  int32_t index = strand_partition_index(p);
  char topic[250];
  snprintf(topic, sizeof(topic), "%s", strand_partition_topic(p));
  atomic_store_explicit(&assigned->stop, true, memory_order_release);
  strand_health_revoked(e->health, assigned);
  strand_places_take(&e->assignment->places, topic, index, assigned);
  assigned->partition = NULL;
  strand_dead_letters_forget(e->dead_letters, assigned);
  strand_outputs_forget(e->outputs, assigned, topic, index);
  strand_engine_revoke(e->owner->engine, p, add_orphan, e->owner->consumer);
  strand_inboxes_hand_off(&e->owner->consumer->inboxes, e->owner->index, topic,
                          index);
  if (assigned->queue != NULL) rd_kafka_queue_destroy(assigned->queue);
  assigned->queue = NULL;
  strand_snapshot_change(e->snapshot);
  if (assigned->leases == 0) strand_assignment_drop(e->assignment, assigned);
}

void strand_epoch_leave (const strand_epochs *e, strand_assigned *assigned) {
  assigned->leaving = true;
  strand_engine_revoking(e->owner->engine, assigned->partition);
  atomic_store(&assigned->stop, true);
}

/* A new epoch of the same partition, not restored yet, that the queue goes
** over to. NULL: memory ran out, and the consumer ends. */
static strand_assigned *renew (const strand_epochs *e,
                               strand_assigned *assigned) {
  rd_kafka_queue_t *queue = assigned->queue;
  unsigned route = assigned->route;
  strand_position old = assigned->position;
  bool no_route = assigned->no_route;
  int32_t index = strand_partition_index(assigned->partition);
  char topic[250];
  snprintf(topic, sizeof(topic), "%s",
           strand_partition_topic(assigned->partition));
  assigned->queue = NULL;
  strand_handover_recall(e->handover);
  strand_epoch_end(e, assigned);
  assigned = strand_assignment_add(e->assignment);
  if (assigned != NULL) {
    assigned->route = route;
    strand_position_inherit(assigned, &old);
    assigned->no_route = no_route;
    if (enter_engine(e, assigned, topic, index)) {
      assigned->queue = queue;
      return assigned;
    }
    strand_assignment_drop(e->assignment, assigned);
  }
  rd_kafka_queue_destroy(queue);
  strand_shared_end(e->owner->consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a new epoch");
  return NULL;
}

/* Nothing of the old epoch is committed any more; the new base is, at the
** next commit. */
static strand_assigned *restart (const strand_epochs *e,
                                 strand_assigned *assigned, int64_t offset) {
  assigned = renew(e, assigned);
  if (assigned == NULL) return NULL;
  if (strand_engine_rebased(e->owner->engine, assigned->partition, offset)
      == STRAND_OK) {
    strand_position_begin(assigned);
    return assigned;
  }
  strand_epoch_end(e, assigned);
  strand_shared_end(e->owner->consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a seek");
  return NULL;
}

/* What has ended counts, and what no handler has begun is known. */
static void stop (const strand_epochs *e, strand_assigned *assigned) {
  atomic_store(&assigned->stop, true);
  strand_handover_recall(e->handover);
  strand_handover_harvest(e->handover, strand_clock_us());
  strand_handover_cut(e->handover);
}

strand_assigned *strand_epoch_seek (const strand_epochs *e,
                                    strand_assigned *assigned,
                                    int64_t offset) {
  strand_losses lost;
  stop(e, assigned);
  strand_engine_seek_losses(e->owner->engine, assigned->partition, offset,
                            &lost);
  tell_losses(e, assigned, &lost);
  return restart(e, assigned, offset);
}

void strand_epoch_reset (const strand_epochs *e, int64_t now_us) {
  strand_assigned *assigned;
  int64_t to;
  while ((assigned = strand_position_take_reset(e->positions, &to)) != NULL) {
    stop(e, assigned);
    strand_epoch_lose(e, assigned);
    assigned = restart(e, assigned, to);
    if (assigned == NULL) continue;
    strand_position_was_reset(e->positions, assigned, to, now_us);
  }
}

static bool is_handed_off (const strand_epochs *e,
                           const strand_assigned *assigned) {
  if (assigned->partition == NULL || !assigned->contested || assigned->leaving)
    return false;
  return !strand_inboxes_contested(
    &e->owner->consumer->inboxes, strand_partition_topic(assigned->partition),
    strand_partition_index(assigned->partition));
}

/* Enters the engine again: now it is known which shards are orphaned. */
void strand_epoch_take_over (const strand_epochs *e) {
  for (size_t i = 0; i < e->assignment->count; i++) {
    if (!is_handed_off(e, e->assignment->partitions[i])) continue;
    renew(e, e->assignment->partitions[i]);
    i = (size_t)-1; /* their order has changed: from the start */
  }
  strand_position_restore(e->positions);
}

void strand_epoch_leave_all (const strand_epochs *e) {
  for (size_t i = 0; i < e->assignment->count; i++) {
    if (e->assignment->partitions[i]->partition != NULL)
      strand_epoch_leave(e, e->assignment->partitions[i]);
  }
  strand_handover_recall(e->handover);
}
