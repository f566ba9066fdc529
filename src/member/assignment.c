/*
** assignment.c - the partitions that a member is assigned
*/
#include "member/assignment.h"

#include <assert.h>
#include <stdlib.h>

#define CHECKED_MOST 64 /* of thousands, at each turn */

void strand_assignment_free (strand_assignment *a) {
  free(a->partitions);
  strand_places_free(&a->places);
}

strand_assigned *strand_assignment_add (strand_assignment *a) {
  strand_assigned *assigned;
  if (a->count == a->capacity) {
    size_t capacity = a->capacity == 0 ? 16 : a->capacity * 2;
    strand_assigned **grown = realloc(a->partitions,
                                      capacity * sizeof(*grown));
    if (grown == NULL) return NULL;
    a->partitions = grown;
    a->capacity = capacity;
  }
  assigned = calloc(1, sizeof(*assigned));
  if (assigned == NULL) return NULL;
  assigned->end = assigned->gap.from = -1;
  assigned->position.below = assigned->position.claimed = -1;
  strand_list_init(&assigned->dead_letters);
  strand_list_init(&assigned->outputs);
  a->partitions[a->count++] = assigned;
  return assigned;
}

void strand_assignment_drop (strand_assignment *a, strand_assigned *assigned) {
  for (size_t i = 0; i < a->count; i++) {
    if (a->partitions[i] != assigned) continue;
    a->partitions[i] = a->partitions[--a->count];
    free(assigned);
    return;
  }
}

strand_assigned *strand_assignment_find (const strand_assignment *a,
                                         const char *topic,
                                         int32_t partition) {
  return strand_places_get(&a->places, topic, partition);
}

void strand_assigned_split (strand_assigned *assigned, rd_kafka_t *client,
                            int fd) {
  static const uint64_t one = 1;
  rd_kafka_queue_t *queue = rd_kafka_queue_get_partition(
    client, strand_partition_topic(assigned->partition),
    strand_partition_index(assigned->partition));
  rd_kafka_queue_forward(queue, NULL);
  rd_kafka_queue_io_event_enable(queue, fd, &one, sizeof(one));
  if (assigned->queue != NULL) rd_kafka_queue_destroy(assigned->queue);
  assigned->queue = queue;
  assigned->more = true;
}

void strand_assignment_check (const strand_assignment *a) {
  assert(a->count <= a->capacity); /* (1) */
  for (size_t i = 0; i < a->count && i < CHECKED_MOST; i++) {
    const strand_assigned *assigned = a->partitions[i];
    assert(assigned != NULL); /* (1) */
    if (assigned->partition == NULL) {
      assert(assigned->queue == NULL && assigned->leases > 0); /* (3) */
      continue;
    }
    assert(assigned->queue != NULL); /* (2) */
    assert(strand_assignment_find(a,
                                  strand_partition_topic(assigned->partition),
                                  strand_partition_index(assigned->partition))
           == assigned); /* (2) */
  }
}
