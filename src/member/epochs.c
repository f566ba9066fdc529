/*
** epochs.c - an assigned partition, from its assignment to its end
*/
#include "member/epochs.h"

#include "base/clock.h"
#include "member/dead_letters.h"

/*
** The begin
*/

/* The partition enters the engine, with the shards that are still held. */
static bool enter_engine (const strand_epochs *e, strand_tag *tag,
                          const char *topic, int32_t index) {
  strand_consumer *c = e->owner->consumer;
  strand_assigned assigned;
  if (strand_places_room(&e->assignment->places) != STRAND_OK) return false;
  if (strand_inboxes_assign(&c->inboxes, e->owner->index, topic, index,
                            &assigned)
      != STRAND_OK)
    return false;
  tag->epoch = assigned.epoch;
  tag->contested = assigned.contested;
  tag->partition = strand_engine_assign(e->owner->engine, topic, index,
                                        tag->epoch, tag->route, assigned.held,
                                        assigned.held_count);
  strand_assigned_clear(&assigned);
  if (tag->partition == NULL) {
    strand_inboxes_yield(&c->inboxes, e->owner->index, topic, index);
    return false;
  }
  strand_places_put(&e->assignment->places,
                    strand_partition_topic(tag->partition), index, tag);
  strand_partition_set_tag(tag->partition, tag);
  strand_engine_pause(e->owner->engine, tag->partition,
                      strand_settings_paused(&c->settings, topic, index));
  return true;
}

static void split_queue (const strand_epochs *e, strand_tag *tag,
                         const char *topic, int32_t index) {
  static const uint64_t one = 1;
  tag->queue = rd_kafka_queue_get_partition(e->owner->client, topic, index);
  rd_kafka_queue_forward(tag->queue, NULL);
  rd_kafka_queue_io_event_enable(tag->queue, e->waker->queue_fd, &one,
                                 sizeof(one));
}

void strand_epoch_begin (const strand_epochs *e, const char *topic,
                         int32_t index) {
  strand_tag *tag = strand_assignment_add(e->assignment);
  int route = strand_routes_find(&e->owner->consumer->routes, topic);
  strand_event event;
  if (tag == NULL || route == -2) {
    if (tag != NULL) strand_assignment_drop(e->assignment, tag);
    strand_shared_end(e->owner->consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                      "memory ran out in an assignment");
    return;
  }
  tag->route = route < 0 ? 0 : (unsigned)route;
  tag->no_route = route < 0;
  if (tag->no_route) strand_position_lose(tag);
  if (!enter_engine(e, tag, topic, index)) {
    strand_assignment_drop(e->assignment, tag);
    strand_shared_end(e->owner->consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                      "memory ran out in an assignment");
    return;
  }
  split_queue(e, tag, topic, index);
  if (e->owner->phase != STRAND_SERVING) strand_epoch_leave(e, tag);
  event = strand_owner_event(e->owner, "assigned", tag);
  strand_owner_emit(e->owner, &event);
  if (route < 0) strand_topics_no_route(e->topics, topic, strand_clock_us());
}

/*
** The end
*/

static void hold (void *arg, const strand_held *held) {
  strand_consumer *c = arg;
  if (strand_inboxes_hold(&c->inboxes, held) == STRAND_OK) return;
  /* without memory to remember it, its order cannot be promised */
  strand_shared_end(c, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a revoke");
}

void strand_epoch_end (const strand_epochs *e, strand_tag *tag) {
  strand_partition *p = tag->partition;
  int32_t index = strand_partition_index(p);
  char topic[250];
  snprintf(topic, sizeof(topic), "%s", strand_partition_topic(p));
  atomic_store_explicit(&tag->stop, true, memory_order_release);
  strand_trouble_revoked(e->troubles, tag);
  strand_places_take(&e->assignment->places, topic, index, tag);
  tag->partition = NULL;
  strand_dead_letters_forget(tag);
  strand_engine_revoke(e->owner->engine, p, hold, e->owner->consumer);
  strand_inboxes_yield(&e->owner->consumer->inboxes, e->owner->index, topic,
                       index);
  if (tag->queue != NULL) rd_kafka_queue_destroy(tag->queue);
  tag->queue = NULL;
  strand_snapshot_change(e->snapshot);
  if (tag->leases == 0) strand_assignment_drop(e->assignment, tag);
}

void strand_epoch_leave (const strand_epochs *e, strand_tag *tag) {
  tag->leaving = true;
  strand_engine_revoking(e->owner->engine, tag->partition);
  atomic_store_explicit(&tag->stop, true, memory_order_release);
}

/* A new epoch of the same partition, not restored yet, that the queue goes
** over to. NULL: memory ran out, and the consumer ends. */
static strand_tag *renew (const strand_epochs *e, strand_tag *tag) {
  rd_kafka_queue_t *queue = tag->queue;
  unsigned route = tag->route;
  bool stuck = strand_position_is_stuck(tag), no_route = tag->no_route;
  int32_t index = strand_partition_index(tag->partition);
  char topic[250];
  snprintf(topic, sizeof(topic), "%s", strand_partition_topic(tag->partition));
  tag->queue = NULL;
  strand_handover_recall(e->handover);
  strand_epoch_end(e, tag);
  tag = strand_assignment_add(e->assignment);
  if (tag != NULL) {
    tag->route = route;
    if (stuck) strand_position_lose(tag); /* until a seek has worked */
    tag->no_route = no_route;
    if (enter_engine(e, tag, topic, index)) {
      tag->queue = queue;
      return tag;
    }
    strand_assignment_drop(e->assignment, tag);
  }
  rd_kafka_queue_destroy(queue);
  strand_shared_end(e->owner->consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a new epoch");
  return NULL;
}

/* Nothing of the old epoch is committed any more; the new base is, at the
** next commit. */
strand_tag *strand_epoch_restart (const strand_epochs *e, strand_tag *tag,
                                  int64_t offset) {
  tag = renew(e, tag);
  if (tag == NULL) return NULL;
  if (strand_engine_restored(e->owner->engine, tag->partition, -1, NULL)
        == STRAND_OK
      && strand_engine_reach(e->owner->engine, tag->partition, offset)
           == STRAND_OK) {
    strand_position_begin(tag);
    return tag;
  }
  strand_epoch_end(e, tag);
  strand_shared_end(e->owner->consumer, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out in a seek");
  return NULL;
}

void strand_epoch_reset (const strand_epochs *e, int64_t now_us) {
  strand_tag *tag;
  int64_t to;
  while ((tag = strand_position_take_reset(e->positions, &to)) != NULL) {
    tag = strand_epoch_restart(e, tag, to);
    if (tag == NULL) continue;
    strand_position_was_reset(e->positions, tag, to, now_us);
  }
}

static bool is_yielded (const strand_epochs *e, const strand_tag *tag) {
  if (tag->partition == NULL || !tag->contested || tag->leaving) return false;
  return !strand_inboxes_contested(&e->owner->consumer->inboxes,
                                   strand_partition_topic(tag->partition),
                                   strand_partition_index(tag->partition));
}

/* Enters the engine again: now it is known which shards are held. */
void strand_epoch_claim (const strand_epochs *e) {
  for (size_t i = 0; i < e->assignment->count; i++) {
    if (!is_yielded(e, e->assignment->tags[i])) continue;
    renew(e, e->assignment->tags[i]);
    i = (size_t)-1; /* their order has changed: from the start */
  }
  strand_position_restore(e->positions);
}

void strand_epoch_leave_all (const strand_epochs *e) {
  for (size_t i = 0; i < e->assignment->count; i++) {
    if (e->assignment->tags[i]->partition != NULL)
      strand_epoch_leave(e, e->assignment->tags[i]);
  }
  strand_handover_recall(e->handover);
}
