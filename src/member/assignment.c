/*
** assignment.c - the partitions that a member is assigned
*/
#include "member/assignment.h"

#include <assert.h>
#include <stdlib.h>

#define CHECKED_MOST 64 /* of thousands, at each turn */

void strand_assignment_free (strand_assignment *a) {
  free(a->tags);
  strand_places_free(&a->places);
}

strand_tag *strand_assignment_add (strand_assignment *a) {
  strand_tag *tag;
  if (a->count == a->capacity) {
    size_t capacity = a->capacity == 0 ? 16 : a->capacity * 2;
    strand_tag **grown = realloc(a->tags, capacity * sizeof(*grown));
    if (grown == NULL) return NULL;
    a->tags = grown;
    a->capacity = capacity;
  }
  tag = calloc(1, sizeof(*tag));
  if (tag == NULL) return NULL;
  tag->end = tag->gap.from = -1;
  tag->position.below = tag->position.claimed = -1;
  strand_list_init(&tag->letters);
  a->tags[a->count++] = tag;
  return tag;
}

void strand_assignment_drop (strand_assignment *a, strand_tag *tag) {
  for (size_t i = 0; i < a->count; i++) {
    if (a->tags[i] != tag) continue;
    a->tags[i] = a->tags[--a->count];
    free(tag);
    return;
  }
}

strand_tag *strand_assignment_find (const strand_assignment *a,
                                    const char *topic, int32_t partition) {
  return strand_places_get(&a->places, topic, partition);
}

void strand_assignment_check (const strand_assignment *a) {
  assert(a->count <= a->capacity); /* (1) */
  for (size_t i = 0; i < a->count && i < CHECKED_MOST; i++) {
    const strand_tag *tag = a->tags[i];
    assert(tag != NULL); /* (1) */
    if (tag->partition == NULL) {
      assert(tag->queue == NULL && tag->leases > 0); /* (3) */
      continue;
    }
    assert(tag->queue != NULL); /* (2) */
    assert(strand_assignment_find(a, strand_partition_topic(tag->partition),
                                  strand_partition_index(tag->partition))
           == tag); /* (2) */
  }
}
