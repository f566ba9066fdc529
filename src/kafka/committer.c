/*
** committer.c - commits to the group, one at a time, and what a failed one
** means
**
** Never two unanswered: librdkafka retries by itself, and an older commit
** that it repeats can overtake a newer one, both reported as successes.
** Nothing is clean before the broker's answer. After an error that is not
** the whole request's, librdkafka's errors for single partitions are not
** true: the engine then commits each alone.
*/
#include <stdlib.h>

#include "core/mutant.h"
#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/member.h"

static void answer_waiters (strand_member *m, bool planned_only,
                            const strand_failure *failure) {
  strand_waiter **at = &m->waiters, *w;
  while ((w = *at) != NULL) {
    if (planned_only && !w->planned) {
      at = &w->next;
      continue;
    }
    *at = w->next;
    strand_shared_answer(m->consumer, w->ticket, failure);
    free(w);
  }
}

static rd_kafka_topic_partition_list_t *list_of (const strand_commit *c) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_topic_partition_list_new((int)c->count);
  for (size_t i = 0; i < c->count; i++) {
    const strand_commit_item *item = &c->items[i];
    rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(
      list, strand_partition_topic(item->partition),
      strand_partition_index(item->partition));
    p->offset = item->offset;
    p->metadata_size = strlen(item->metadata);
    p->metadata = p->metadata_size > 0 ? strdup(item->metadata) : NULL;
    if (p->metadata == NULL && p->metadata_size > 0) {
      rd_kafka_topic_partition_list_destroy(list);
      return NULL; /* never an offset without its payload */
    }
  }
  return list;
}

static void note_committed (strand_consumer *c, const strand_commit *commit) {
  for (size_t i = 0; i < commit->count; i++) {
    const strand_commit_item *item = &commit->items[i];
    const char *topic = strand_partition_topic(item->partition);
    int32_t index = strand_partition_index(item->partition);
    strand_place *place = NULL, *grown;
    for (size_t j = 0; j < c->committed_count && place == NULL; j++) {
      if (c->committed[j].partition == index
          && strcmp(c->committed[j].topic, topic) == 0) {
        place = &c->committed[j];
      }
    }
    if (place == NULL) {
      grown = realloc(c->committed, (c->committed_count + 1)
                                    * sizeof(*grown));
      if (grown == NULL) continue;
      c->committed = grown;
      place = &grown[c->committed_count];
      *place = (strand_place){ strdup(topic), index, -1, NULL };
      if (place->topic == NULL) continue;
      c->committed_count++;
    }
    place->offset = item->offset;
  }
}

static void tell_failed (strand_member *m, const strand_commit *commit,
                         rd_kafka_resp_err_t err, strand_failure *failure) {
  strand_event event = strand_member_event(m, "commit_failed", NULL);
  char code[48];
  strand_fail(failure, strand_code_of(err, code, sizeof(code)),
              "commit of %zu partition%s: %s", commit->count,
              commit->count == 1 ? "" : "s", rd_kafka_err2str(err));
  if (commit->count == 1) {
    strand_partition *p = commit->items[0].partition;
    strand_event_set_topic(&event, strand_partition_topic(p),
                           strand_partition_index(p));
    event.offset = commit->items[0].offset;
  }
  snprintf(event.code, sizeof(event.code), "%s", failure->code);
  strand_event_set_reason(&event, failure->message,
                          strlen(failure->message));
  strand_member_emit(m, &event);
}

static void take_failure (strand_member *m, rd_kafka_resp_err_t err,
                          int64_t now_us) {
  strand_answer answer = strand_error_is_later(err) ? STRAND_COMMIT_LATER
                                                    : STRAND_COMMIT_UNKNOWN;
  strand_consumer *c = m->consumer;
  bool final = answer == STRAND_COMMIT_UNKNOWN && m->commit->count == 1;
  strand_failure failure;
  tell_failed(m, m->commit, err, &failure);
  m->failure = failure;
  /* no commit is taken before it has joined again, however often it tries */
  m->must_rejoin = strand_error_kind_of(err) == STRAND_ERROR_LEFT_BEHIND;
  strand_trouble_commit_failed(m, err, now_us);
  pthread_mutex_lock(&c->lock);
  c->commits_failed++;
  pthread_mutex_unlock(&c->lock);
  strand_engine_commit_answer(m->engine, m->commit, answer, now_us);
  m->commit = NULL;
  if (final) answer_waiters(m, true, &failure);
  for (strand_waiter *w = m->waiters; w != NULL; w = w->next) {
    w->planned = false; /* the next one may do it */
  }
}

static void take_success (strand_member *m, int64_t now_us) {
  strand_consumer *c = m->consumer;
  m->failure.code[0] = '\0';
  m->must_rejoin = false;
  pthread_mutex_lock(&c->lock);
  c->commits++;
  note_committed(c, m->commit);
  pthread_mutex_unlock(&c->lock);
  strand_engine_commit_answer(m->engine, m->commit, STRAND_COMMITTED, now_us);
  m->commit = NULL;
  strand_trouble_committed(m);
  if (strand_engine_commit_due(m->engine, now_us) > 0) {
    answer_waiters(m, true, NULL);
    return;
  }
  for (strand_waiter *w = m->waiters; w != NULL; w = w->next) {
    w->planned = false; /* others of a failed commit go one by one */
  }
}

static rd_kafka_resp_err_t error_of (rd_kafka_event_t *event) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  if (MUTANT(commit_error_is_not_read)) return RD_KAFKA_RESP_ERR_NO_ERROR;
  list = rd_kafka_event_topic_partition_list(event);
  for (int i = 0; err == 0 && list != NULL && i < list->cnt; i++) {
    err = list->elems[i].err;
  }
  return err;
}

bool strand_committer_send (strand_member *m, int64_t now_us) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE;
  if (m->commit != NULL || m->fatal || m->client == NULL
      || atomic_load(&m->joining)) return false;
  m->commit = strand_engine_commit(m->engine, now_us, NULL);
  if (m->commit == NULL) return false;
  for (strand_waiter *w = m->waiters; w != NULL; w = w->next) {
    w->planned = true;
  }
  list = list_of(m->commit);
  if (list != NULL) {
    err = rd_kafka_commit_queue(m->client, list, m->commit_queue, NULL, NULL);
    rd_kafka_topic_partition_list_destroy(list);
  }
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) take_failure(m, err, now_us);
  m->changed = true;
  return true;
}

static bool has_unplanned (const strand_member *m) {
  for (const strand_waiter *w = m->waiters; w != NULL; w = w->next) {
    if (!w->planned) return true;
  }
  return false;
}

bool strand_committer_starved (const strand_member *m) {
  return m->commit == NULL
         && strand_engine_commit_due(m->engine, 0) < INT64_MAX;
}

/* Nothing was planned: because all is committed, or because it cannot be. */
static void answer_unplanned (strand_member *m) {
  static const strand_failure unwritable = {
    "METADATA_UNWRITABLE", "what is done does not fit in max_metadata"
  };
  static const strand_failure no_memory = { "NO_MEMORY", "memory ran out" };
  bool starved = strand_committer_starved(m);
  const strand_partition *p = NULL;
  const strand_failure *failure = NULL;
  while ((p = strand_engine_next(m->engine, p)) != NULL) {
    if (!strand_engine_dirty(m->engine, p)) continue;
    failure = starved ? &no_memory : &unwritable;
  }
  answer_waiters(m, false, failure);
}

/* A commit that somebody waits for does not wait for its interval; but one
** that failed does wait for its back-off. */
static void serve_waiters (strand_member *m, int64_t now_us) {
  if (m->commit != NULL || !has_unplanned(m)) return;
  if (m->fatal) {
    static const strand_failure fatal = { "FATAL", "the member has failed" };
    answer_waiters(m, false, &fatal);
    return;
  }
  if (strand_engine_commit_blocked(m->engine, now_us)) return;
  if (strand_committer_waits(m)) return;
  if (!strand_committer_send(m, now_us)) answer_unplanned(m);
}

void strand_committer_serve (strand_member *m, int64_t now_us) {
  rd_kafka_event_t *event;
  while ((event = rd_kafka_queue_poll(m->commit_queue, 0)) != NULL) {
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT
        && m->commit != NULL) {
      rd_kafka_resp_err_t err = error_of(event);
      if (err == RD_KAFKA_RESP_ERR_NO_ERROR) take_success(m, now_us);
      else take_failure(m, err, now_us);
      m->changed = true;
    }
    rd_kafka_event_destroy(event);
  }
  serve_waiters(m, now_us);
  if (m->phase == STRAND_SERVING
      && strand_engine_commit_due(m->engine, now_us) <= now_us) {
    strand_committer_send(m, now_us);
  }
}

bool strand_committer_waits (const strand_member *m) {
  return atomic_load(&m->joining)
         && strand_engine_commit_due(m->engine, 0) < INT64_MAX;
}

void strand_committer_wait (strand_member *m, strand_waiter *waiter) {
  waiter->planned = false;
  waiter->next = m->waiters;
  m->waiters = waiter;
}

int64_t strand_committer_due (const strand_member *m, int64_t now_us) {
  int64_t due = INT64_MAX;
  if (m->commit != NULL || m->fatal || atomic_load(&m->joining)) {
    return INT64_MAX;
  }
  if (m->phase == STRAND_SERVING || m->phase == STRAND_COMMITTING
      || has_unplanned(m)) {
    due = strand_engine_commit_due(m->engine, now_us);
  }
  return due;
}

/* No answer will come any more. */
void strand_committer_end (strand_member *m) {
  static const strand_failure closed = { "CLOSED", "the consumer is closed" };
  strand_consumer *c = m->consumer;
  if (m->commit != NULL) {
    strand_fail(&m->failure, "TIMED_OUT",
                "the last commit was not answered in time");
    strand_engine_commit_answer(m->engine, m->commit, STRAND_COMMIT_LATER,
                                strand_clock_us());
    m->commit = NULL;
  }
  answer_waiters(m, false, &closed);
  if (m->failure.code[0] == '\0') return;
  pthread_mutex_lock(&c->lock);
  c->failure = m->failure;
  pthread_mutex_unlock(&c->lock);
}
