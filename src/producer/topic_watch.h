/*
** topic_watch.h - what a producer tells of the topics that it sends to
**
** What the brokers answer (kafka/calls.h), and what librdkafka's callback has
** seen (kafka/placement.h), becomes an event, and a line in the log:
**
**   partitions_changed   a topic has more partitions than before, or fewer
**   topic_missing        it does not exist; again with back-off while somebody
**                        sends to it
**   batch_limit          it takes smaller batches than batch.size allows, of
**                        which librdkafka makes one all the same
**
** A topic that the broker makes by itself is missing in its first answers: so
** it is told after MISSING_US.
**
** Invariants:
**   (1) A topic that was told of is one of the cache's, by its index.
**   (2) No limit is known that is below 'smallest'; 0: none is known.
**
** Thread: lua.
*/
#ifndef STRAND_TOPIC_WATCH_H
#define STRAND_TOPIC_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "kafka/calls.h"
#include "kafka/log.h"
#include "kafka/alert.h"
#include "producer/producer_events.h"

/* Of one topic, what was reported. */
typedef struct strand_watched_topic {
  int32_t partitions; /* 0: nothing */
  int64_t limit;
  strand_alert missing;
} strand_watched_topic;

/* All 0: none. */
typedef struct strand_topic_watch {
  strand_watched_topic *watched; /* by the index of the topic; owned */
  size_t size;
  int64_t batch_size;   /* the client's batch.size */
  bool owns_batch_size; /* nobody has set it: it follows 'smallest' */
  int64_t smallest;
} strand_topic_watch;

void strand_topic_watch_free (strand_topic_watch *watch);

/* A record goes to it. NULL and a failure: it cannot. */
strand_cached_topic *strand_topic_watch_use (strand_topic_watch *watch,
                                             strand_calls *calls,
                                             const char *name,
                                             strand_failure *failure);
/* Something may have been answered, or seen: true. */
bool strand_topic_watch_turn (strand_topic_watch *watch, strand_calls *calls,
                              strand_placement *placement,
                              strand_producer_events *events, strand_log *log);

/* It was told that there is no such topic, and none has come. */
static inline bool
strand_topic_watch_is_missing (const strand_topic_watch *watch,
                               const strand_cached_topic *topic) {
  return topic->index < watch->size
         && watch->watched[topic->index].missing.since_us != 0;
}

/* How many partitions it had at the last turn; 0: that was not known. */
static inline int32_t
strand_topic_watch_partitions (const strand_topic_watch *watch,
                               const strand_cached_topic *topic) {
  if (topic->index >= watch->size) return 0;
  return watch->watched[topic->index].partitions;
}

/* How large a batch it takes; 0: that is not known. */
static inline int64_t
strand_topic_watch_limit (const strand_topic_watch *watch,
                          const strand_cached_topic *topic) {
  return topic->index < watch->size ? watch->watched[topic->index].limit : 0;
}

/* After a change, in debug builds. */
void strand_topic_watch_check (const strand_topic_watch *watch,
                               const strand_calls *calls);

#endif
