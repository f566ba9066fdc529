/*
** topic_watch.c - see topic_watch.h
*/
#include "producer/topic_watch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/errors.h"

#define MISSING_US 500000
#define ROOM_FIRST 16

void strand_topic_watch_free (strand_topic_watch *watch) {
  free(watch->watched);
  watch->watched = NULL;
  watch->size = 0;
}

/* False: memory ran out. */
static bool make_room (strand_topic_watch *watch, size_t index) {
  size_t size = watch->size > 0 ? watch->size : ROOM_FIRST;
  strand_watched_topic *watched;
  if (index < watch->size) return true;
  while (size <= index) size *= 2;
  watched = realloc(watch->watched, size * sizeof(*watched));
  if (watched == NULL) return false;
  memset(watched + watch->size, 0, (size - watch->size) * sizeof(*watched));
  watch->watched = watched;
  watch->size = size;
  return true;
}

strand_cached_topic *strand_topic_watch_use (strand_topic_watch *watch,
                                             strand_calls *calls,
                                             const char *name,
                                             strand_failure *failure) {
  strand_cached_topic *t = strand_calls_topic(calls, name, failure);
  if (t == NULL) return NULL;
  if (!make_room(watch, t->index)) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return NULL;
  }
  if (strand_topic_place_count(t->place) == 0
      || strand_topic_watch_is_missing(watch, t))
    strand_calls_want(calls, t, 1);
  return t;
}

/*
** What is told
*/

static void tell_partitions (strand_watched_topic *watched,
                             const strand_cached_topic *t,
                             strand_producer_events *events, strand_log *log) {
  int32_t count = strand_topic_place_count(t->place);
  int32_t before = watched->partitions;
  strand_producer_event *event;
  if (count == 0 || count == before) return;
  watched->partitions = count;
  if (before == 0) return;
  event = strand_producer_events_add(events, "partitions_changed", t->name,
                                     RD_KAFKA_RESP_ERR_NO_ERROR);
  event->partitions = count;
  snprintf(event->reason, sizeof(event->reason),
           "it has %d partitions now, and had %d", (int)count, (int)before);
  strand_log_printf(log, STRAND_LOG_INFO, "strand", "topic '%s': %s", t->name,
                    event->reason);
}

/* By the time of the answer: since an old one the topic may have been made. */
static void tell_missing (strand_watched_topic *watched,
                          const strand_cached_topic *t,
                          const strand_topic_facts *answer,
                          strand_producer_events *events, strand_log *log) {
  int64_t now_us = (int64_t)(answer->answered * 1e6);
  strand_producer_event *event;
  if (!strand_error_is_no_topic(answer->err)) {
    if (answer->partitions > 0) watched->missing = (strand_alert){ 0 };
    return;
  }
  strand_alert_begin(&watched->missing, now_us, MISSING_US);
  if (!strand_alert_take_due(&watched->missing, now_us)) return;
  event = strand_producer_events_add(events, "topic_missing", t->name,
                                     answer->err);
  snprintf(event->reason, sizeof(event->reason), "records wait: %s",
           rd_kafka_err2str(answer->err));
  strand_log_printf(log, STRAND_LOG_WARNING, "strand", "topic '%s': %s",
                    t->name, event->reason);
}

static void tell_limit (strand_topic_watch *watch,
                        strand_watched_topic *watched,
                        const strand_cached_topic *t, int64_t limit,
                        strand_producer_events *events, strand_log *log) {
  strand_producer_event *event;
  if (limit == 0 || limit == watched->limit) return;
  watched->limit = limit;
  if (watch->smallest == 0 || limit < watch->smallest) {
    watch->smallest = limit;
  }
  if (limit >= watch->batch_size) return;
  event = strand_producer_events_add(events, "batch_limit", t->name,
                                     RD_KAFKA_RESP_ERR_NO_ERROR);
  event->limit = limit;
  snprintf(event->reason, sizeof(event->reason),
           watch->owns_batch_size
             ? "its max.message.bytes is %lld, and batch.size %lld, which is "
               "lowered when nothing is outstanding; or set "
               "kafka[\"batch.size\"] = %lld"
             : "its max.message.bytes is %lld, and batch.size %lld: a larger "
               "batch fails whole; set kafka[\"batch.size\"] = %lld",
           (long long)limit, (long long)watch->batch_size, (long long)limit);
  strand_log_printf(log, STRAND_LOG_WARNING, "strand", "topic '%s': %s",
                    t->name, event->reason);
}

static void tell_changes (strand_topic_watch *watch, strand_calls *calls,
                          strand_cached_topic *t,
                          strand_producer_events *events, strand_log *log) {
  strand_watched_topic *watched = &watch->watched[t->index];
  strand_topic_facts answer;
  strand_calls_facts(calls, t, &answer);
  tell_partitions(watched, t, events, log);
  tell_missing(watched, t, &answer, events, log);
  tell_limit(watch, watched, t, answer.limit, events, log);
  if (watched->partitions > 0) strand_calls_want_limit(calls, t, false);
}

bool strand_topic_watch_turn (strand_topic_watch *watch, strand_calls *calls,
                              strand_placement *placement,
                              strand_producer_events *events,
                              strand_log *log) {
  strand_cached_topic *t = strand_calls_topics(calls); /* the newest */
  bool seen, answered;
  if (t == NULL || !make_room(watch, t->index)) return false; /* later */
  seen = strand_placement_changed(placement);
  answered = strand_calls_take_answered(calls);
  if (!seen && !answered) return false;
  for (; t != NULL; t = t->next) tell_changes(watch, calls, t, events, log);
  return true;
}

void strand_topic_watch_check (const strand_topic_watch *watch,
                               const strand_calls *calls) {
  const strand_cached_topic *t = strand_calls_topics(calls);
  size_t count = t != NULL ? t->index + 1 : 0;
  for (size_t i = 0; i < watch->size && i < 64; i++) {
    const strand_watched_topic *watched = &watch->watched[i];
    assert(i < count || watched->partitions == 0); /* (1) */
    assert(
      watched->limit == 0
      || (watch->smallest > 0 && watch->smallest <= watched->limit)); /* (2) */
    (void)watched;
  }
  (void)count;
}
