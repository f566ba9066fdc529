#include "shared/event.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"

struct strand_events {
  strand_lock lock;
  size_t first;
  size_t count;
  uint64_t dropped;
  strand_event ring[STRAND_EVENTS_MAX];
};

/* With the lock, after a change. */
static void check_locked (const strand_events *events) {
  (void)events;
  assert(events->count <= STRAND_EVENTS_MAX); /* (1) */
  assert(events->first < STRAND_EVENTS_MAX);  /* (1) */
  assert(events->count == 0
         || events->ring[events->first].type != NULL); /* (2) */
}

strand_events *strand_events_new (void) {
  strand_events *events = calloc(1, sizeof(*events));
  if (events != NULL) strand_lock_init(&events->lock, STRAND_RANK_LEAF);
  return events;
}

void strand_event_clear (strand_event *event) {
  free(event->topic);
  free(event->key);
  free(event->reason);
  event->topic = event->key = event->reason = NULL;
}

void strand_events_free (strand_events *events) {
  if (events == NULL) return;
  for (size_t i = 0; i < events->count; i++) {
    strand_event_clear(&events->ring[(events->first + i) % STRAND_EVENTS_MAX]);
  }
  strand_lock_free(&events->lock);
  free(events);
}

strand_event strand_event_of (const char *type, int member) {
  strand_event event = { 0 };
  event.type = type;
  event.time = strand_clock_wall();
  event.member = member;
  event.partition = -1;
  event.offset = event.to = event.epoch = -1;
  event.attempt = -1;
  event.delay = event.seconds = -1;
  return event;
}

/* NULL without memory: the event then says less. */
static char *copy_bytes (const char *from, size_t length, size_t most) {
  char *to;
  if (length > most) length = most;
  to = malloc(length + 1);
  if (to == NULL) return NULL;
  memcpy(to, from, length);
  to[length] = '\0';
  return to;
}

void strand_event_set_topic (strand_event *event, const char *topic,
                             int32_t partition) {
  event->topic = copy_bytes(topic, strlen(topic), strlen(topic));
  event->partition = partition;
}

void strand_event_set_key (strand_event *event, const char *key,
                           size_t length) {
  event->key = copy_bytes(key, length, STRAND_EVENT_KEY_MAX);
  event->key_length = length < STRAND_EVENT_KEY_MAX ? length
                                                    : STRAND_EVENT_KEY_MAX;
}

void strand_event_set_reason (strand_event *event, const char *reason,
                              size_t length) {
  event->reason = copy_bytes(reason, length, STRAND_EVENT_REASON_MAX);
}

void strand_events_push (strand_events *events, strand_event *event) {
  strand_event oldest = { 0 };
  strand_lock_take(&events->lock);
  if (events->count == STRAND_EVENTS_MAX) {
    oldest = events->ring[events->first];
    events->first = (events->first + 1) % STRAND_EVENTS_MAX;
    events->count--;
    events->dropped++;
  }
  events->ring[(events->first + events->count) % STRAND_EVENTS_MAX] = *event;
  events->count++;
  check_locked(events);
  strand_lock_release(&events->lock);
  strand_event_clear(&oldest);
}

bool strand_events_pop (strand_events *events, strand_event *event) {
  bool some;
  strand_lock_take(&events->lock);
  some = events->count > 0;
  if (some) {
    *event = events->ring[events->first];
    events->first = (events->first + 1) % STRAND_EVENTS_MAX;
    events->count--;
  }
  check_locked(events);
  strand_lock_release(&events->lock);
  return some;
}

bool strand_events_waiting (strand_events *events) {
  bool some;
  strand_lock_take(&events->lock);
  some = events->count > 0;
  strand_lock_release(&events->lock);
  return some;
}

uint64_t strand_events_dropped (strand_events *events) {
  uint64_t dropped;
  strand_lock_take(&events->lock);
  dropped = events->dropped;
  strand_lock_release(&events->lock);
  return dropped;
}
