/*
** calls.c - see calls.h
*/
#include "kafka/calls.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/system.h"
#include "base/thread.h"
#include "kafka/errors.h"
#include "kafka/leaders.h"
#include "kafka/topic_limit.h"

#define METADATA_MS 5000
/* Of one call, which cannot be cut short: where no broker is there, a close
** waits so long for it. One that is there and slow gets twice the time. */
#define METADATA_FIRST_MS 250
#define FLUSH_MS 200 /* of one call, at most: how late its end is seen */
/* The next is twice as long: an end is seen no later than as long again as all
** lasted. */
#define FLUSH_FIRST_MS 5

typedef enum question { NOT_ASKED, ASKED, ANSWERED } question;

struct strand_calls {
  rd_kafka_t *client;
  strand_placement *placement;
  double refresh; /* seconds between two questions for a topic; 0: never */
  int wake_fd;
  bool running; /* of the lua thread, as 'thread' */
  pthread_t thread;
  strand_lock lock; /* of what follows */
  strand_condition changed;
  bool stopping;
  bool flushing;
  int flush_ms;      /* of the next call */
  int64_t remind_us; /* 0: never */
  int64_t asleep_us; /* until when the thread is; 0: for ever */
  /* Set by the thread, taken by the lua thread after the wake. */
  atomic_bool reminded;
  atomic_bool answered; /* of a topic; the same */
  question stalled;
  rd_kafka_resp_err_t stalled_err;
  rd_kafka_topic_partition_list_t *stalled_list; /* ANSWERED: or NULL */
  /* Set by the lua thread, read by the thread between two polls of the
  ** question, which clears it before the next: that question ends soon. */
  atomic_bool hurried;
  strand_topic_cache topics;
};

static void check_locked (const strand_calls *calls) {
  bool wanted = calls->flushing || calls->stalled == ASKED
                || strand_topic_cache_asked(&calls->topics) != NULL
                || strand_topic_cache_limit_asked(&calls->topics) != NULL;
  assert(calls->stalled == ANSWERED || calls->stalled_list == NULL); /* (1) */
  assert(!wanted || calls->running || calls->stopping);              /* (2) */
  strand_topic_cache_check(&calls->topics);
  (void)wanted;
}

/* -1 is librdkafka's never. */
static double refresh_of (rd_kafka_t *client) {
  char text[32] = "";
  size_t size = sizeof(text);
  double ms;
  if (rd_kafka_conf_get(rd_kafka_conf(client),
                        "topic.metadata.refresh.interval.ms", text, &size)
      != RD_KAFKA_CONF_OK)
    return 0;
  ms = strtod(text, NULL);
  return ms > 0 ? ms / 1000 : 0;
}

strand_calls *strand_calls_new (rd_kafka_t *client, int wake_fd,
                                strand_placement *placement) {
  strand_calls *calls = calloc(1, sizeof(*calls));
  if (calls == NULL) return NULL;
  calls->client = client;
  calls->placement = placement;
  calls->refresh = refresh_of(client);
  calls->wake_fd = wake_fd;
  strand_lock_init(&calls->lock, STRAND_RANK_LEAF);
  if (!strand_condition_init(&calls->changed)) {
    strand_lock_free(&calls->lock);
    free(calls);
    return NULL;
  }
  return calls;
}

void strand_calls_stop (strand_calls *calls) {
  strand_lock_take(&calls->lock);
  calls->stopping = true;
  atomic_store(&calls->hurried, true);
  pthread_cond_broadcast(&calls->changed);
  strand_lock_release(&calls->lock);
}

void strand_calls_free (strand_calls *calls) {
  if (calls == NULL) return;
  strand_calls_stop(calls);
  if (calls->running) pthread_join(calls->thread, NULL);
  strand_topic_cache_free(&calls->topics);
  if (calls->stalled_list != NULL) {
    rd_kafka_topic_partition_list_destroy(calls->stalled_list);
  }
  strand_condition_free(&calls->changed);
  strand_lock_free(&calls->lock);
  free(calls);
}

/*
** The thread
*/

static void wake (const strand_calls *calls) {
  if (calls->wake_fd < 0) return;
  eventfd_write(calls->wake_fd, 1); /* full: it is readable already */
}

static rd_kafka_resp_err_t count_partitions (rd_kafka_t *client,
                                             rd_kafka_topic_t *topic, int ms,
                                             int32_t *partitions) {
  const struct rd_kafka_metadata *metadata;
  rd_kafka_resp_err_t err = rd_kafka_metadata(client, 0, topic, &metadata, ms);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  if (metadata->topic_cnt == 1) {
    err = metadata->topics[0].err;
    *partitions = metadata->topics[0].partition_cnt;
  }
  rd_kafka_metadata_destroy(metadata);
  return err;
}

/* Of a topic: who waits, and the lua thread, may look. */
static void tell_answered_locked (strand_calls *calls) {
  pthread_cond_broadcast(&calls->changed);
  atomic_store(&calls->answered, true);
  wake(calls);
}

/* Called with the lock, and gives it up while it waits for a broker. */
static void answer_locked (strand_calls *calls, strand_cached_topic *t) {
  int ms = METADATA_FIRST_MS, left = METADATA_MS;
  int32_t partitions = 0;
  rd_kafka_resp_err_t err;
  do {
    strand_lock_release(&calls->lock);
    err = count_partitions(calls->client, t->handle, ms, &partitions);
    strand_lock_take(&calls->lock);
    left -= ms;
    if (err == RD_KAFKA_RESP_ERR__TIMED_OUT) ms *= 2;
    if (ms > left) ms = left;
  } while ((err == RD_KAFKA_RESP_ERR__TIMED_OUT
            || err == RD_KAFKA_RESP_ERR__TRANSPORT)
           && left > 0 && !calls->stopping);
  strand_cached_topic_answer(t, err, partitions, strand_clock_now(),
                             calls->refresh);
  tell_answered_locked(calls);
}

/* As answer_locked. Before what is in nobody's way. */
static void ask_limit_locked (strand_calls *calls, strand_cached_topic *t) {
  int64_t bytes;
  atomic_store(&calls->hurried, false);
  strand_lock_release(&calls->lock);
  bytes = strand_topic_limit_ask(calls->client, t->name, &calls->hurried);
  strand_lock_take(&calls->lock);
  if (bytes < 0) return; /* it is still asked for */
  strand_cached_topic_limit(t, bytes, strand_clock_now());
  tell_answered_locked(calls);
}

/* As answer_locked. It only waits, since delivery reports are events: a
** callback for them would be called in here, on this thread. */
static void flush_locked (strand_calls *calls) {
  int ms = calls->flush_ms;
  calls->flush_ms = 2 * ms < FLUSH_MS ? 2 * ms : FLUSH_MS;
  strand_lock_release(&calls->lock);
  rd_kafka_flush(calls->client, ms);
  strand_lock_take(&calls->lock);
}

/* As answer_locked. Before a flush, which may well wait for these records. */
static void ask_stalled_locked (strand_calls *calls) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err;
  atomic_store(&calls->hurried, false);
  strand_lock_release(&calls->lock);
  err = strand_leaders_stalled(calls->client, &calls->hurried, &list);
  strand_lock_take(&calls->lock);
  calls->stalled = ANSWERED;
  calls->stalled_err = err;
  calls->stalled_list = list;
  wake(calls);
}

static void remind_locked (strand_calls *calls) {
  if (calls->remind_us == 0 || strand_clock_us() < calls->remind_us) return;
  calls->remind_us = 0;
  atomic_store(&calls->reminded, true);
  wake(calls);
}

/* 'due': of a topic; 0: none. */
static void sleep_locked (strand_calls *calls, double due) {
  double until = (double)calls->remind_us / 1e6;
  if (until == 0 || (due > 0 && due < until)) until = due;
  calls->asleep_us = (int64_t)(until * 1e6);
  if (until == 0) {
    strand_lock_wait(&calls->lock, &calls->changed);
    return;
  }
  strand_lock_wait_until(&calls->lock, &calls->changed, until);
}

/* One thing that is wanted; or sleeps. */
static void turn_locked (strand_calls *calls) {
  double due;
  strand_cached_topic *t = strand_topic_cache_due(&calls->topics,
                                                  strand_clock_now(), &due);
  strand_cached_topic *unlimited = strand_topic_cache_limit_asked(
    &calls->topics);
  if (t != NULL) answer_locked(calls, t);
  else if (unlimited != NULL) ask_limit_locked(calls, unlimited);
  else if (calls->stalled == ASKED) ask_stalled_locked(calls);
  else if (calls->flushing) flush_locked(calls);
  else sleep_locked(calls, due);
}

static void *run (void *argument) {
  strand_calls *calls = argument;
  strand_lock_take(&calls->lock);
  while (!calls->stopping) {
    remind_locked(calls);
    turn_locked(calls);
  }
  strand_lock_release(&calls->lock);
  return NULL;
}

/*
** What is wanted of it
*/

/* Without the lock: only the lua thread comes here. False and errno when there
** is no thread for it. */
static bool start (strand_calls *calls) {
  if (!calls->running && !calls->stopping)
    calls->running = strand_thread_start(&calls->thread, run, calls);
  return calls->running || calls->stopping;
}

/* Something is wanted. */
static void tell_locked (strand_calls *calls) {
  check_locked(calls);
  pthread_cond_broadcast(&calls->changed);
}

/* A handle of librdkafka's whose records are placed by 'place'. */
static rd_kafka_topic_t *open_topic (const strand_calls *calls,
                                     const char *name,
                                     strand_topic_place *place) {
  rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(calls->client);
  rd_kafka_topic_conf_set_opaque(conf, place);
  return rd_kafka_topic_new(calls->client, name, conf);
}

/* NULL and a failure. A place without a topic does no harm. */
static strand_cached_topic *new_topic (strand_calls *calls, const char *name,
                                       strand_failure *failure) {
  char text[300];
  rd_kafka_topic_t *handle;
  strand_cached_topic *t = NULL;
  strand_topic_place *place = strand_placement_add(calls->placement);
  if (place != NULL) {
    handle = open_topic(calls, name, place);
    if (handle == NULL) {
      snprintf(text, sizeof(text), "topic '%.249s'", name);
      strand_fail_kafka(failure, rd_kafka_last_error(), text);
      return NULL;
    }
    t = strand_topic_cache_new(name, place, handle);
    if (t == NULL) rd_kafka_topic_destroy(handle);
  }
  if (t == NULL) strand_fail(failure, "NO_MEMORY", "memory ran out");
  return t;
}

strand_cached_topic *strand_calls_topic (strand_calls *calls, const char *name,
                                         strand_failure *failure) {
  strand_cached_topic *t = strand_topic_cache_find(&calls->topics, name);
  if (t != NULL) return t;
  t = new_topic(calls, name, failure);
  if (t == NULL) return NULL;
  strand_lock_take(&calls->lock);
  strand_topic_cache_add(&calls->topics, t);
  strand_lock_release(&calls->lock);
  return t;
}

strand_cached_topic *strand_calls_topics (const strand_calls *calls) {
  return calls->topics.first; /* only this thread adds */
}

void strand_calls_facts (strand_calls *calls, const strand_cached_topic *t,
                         strand_topic_facts *answer) {
  strand_lock_take(&calls->lock);
  *answer = t->answer;
  strand_lock_release(&calls->lock);
}

bool strand_calls_take_answered (strand_calls *calls) {
  if (!atomic_load_explicit(&calls->answered, memory_order_relaxed)) {
    return false;
  }
  return atomic_exchange(&calls->answered, false);
}

/* False and errno; then the next asks anew. */
static bool ask (strand_calls *calls, strand_cached_topic *t) {
  if (!start(calls)) return false;
  strand_lock_take(&calls->lock);
  strand_cached_topic_ask(t, strand_clock_now());
  atomic_store(&calls->hurried, true);
  tell_locked(calls);
  strand_lock_release(&calls->lock);
  return true;
}

void strand_calls_want (strand_calls *calls, strand_cached_topic *t,
                        int32_t partitions) {
  if (!start(calls)) return; /* the next one tries again */
  strand_lock_take(&calls->lock);
  if (strand_cached_topic_want(t, partitions, strand_clock_now())) {
    atomic_store(&calls->hurried, true);
    tell_locked(calls);
  }
  strand_lock_release(&calls->lock);
}

void strand_calls_want_limit (strand_calls *calls, strand_cached_topic *t,
                              bool verify) {
  bool wanted;
  strand_lock_take(&calls->lock);
  wanted = strand_cached_topic_wants_limit(t, verify, strand_clock_now());
  strand_lock_release(&calls->lock);
  if (!wanted || !start(calls)) return;
  strand_lock_take(&calls->lock);
  t->limit_asked = true;
  tell_locked(calls);
  strand_lock_release(&calls->lock);
}

static int32_t partitions_of (strand_calls *calls,
                              const strand_cached_topic *t,
                              strand_failure *failure) {
  int32_t partitions = strand_topic_place_count(t->place);
  if (partitions > 0) return partitions;
  strand_lock_take(&calls->lock);
  strand_cached_topic_fail(t, failure);
  strand_lock_release(&calls->lock);
  return 0;
}

int32_t strand_calls_ask_partitions (strand_calls *calls, const char *name,
                                     strand_failure *failure) {
  strand_cached_topic *t = strand_calls_topic(calls, name, failure);
  bool stale;
  if (t == NULL) return 0;
  strand_lock_take(&calls->lock);
  stale = strand_cached_topic_is_stale(t, strand_clock_now());
  strand_lock_release(&calls->lock);
  if (!stale || ask(calls, t)) return partitions_of(calls, t, failure);
  strand_fail_thread(failure, "the thread that asks for partitions", errno);
  return strand_topic_place_count(t->place);
}

void strand_calls_verify (strand_calls *calls, const char *name) {
  strand_cached_topic *t = strand_topic_cache_find(&calls->topics, name);
  bool verify;
  if (t == NULL) return;
  strand_lock_take(&calls->lock);
  verify = strand_cached_topic_may_verify(t, strand_clock_now());
  strand_lock_release(&calls->lock);
  if (verify) ask(calls, t);
}

void strand_calls_wait (strand_calls *calls, double deadline) {
  strand_lock_take(&calls->lock);
  while (calls->running && strand_topic_cache_asked(&calls->topics) != NULL
         && strand_lock_wait_until(&calls->lock, &calls->changed, deadline))
    continue;
  strand_lock_release(&calls->lock);
}

void strand_calls_ask_all (strand_calls *calls, const char *const *topics,
                           size_t count, double seconds) {
  strand_failure ignored; /* not known yet: that is why it is asked */
  for (size_t i = 0; i < count; i++)
    strand_calls_ask_partitions(calls, topics[i], &ignored);
  if (count > 0 && seconds > 0)
    strand_calls_wait(calls, strand_clock_now() + seconds);
}

bool strand_calls_flush (strand_calls *calls, bool on) {
  bool can = !on || start(calls), flushing;
  strand_lock_take(&calls->lock);
  if (calls->flushing != on) {
    calls->flush_ms = FLUSH_FIRST_MS;
    calls->flushing = on && can;
    if (calls->flushing) tell_locked(calls);
  }
  flushing = calls->flushing;
  strand_lock_release(&calls->lock);
  return flushing;
}

/* One that moves to later, or ends, needs no thread now: it looks at it when
** the old one is due. */
void strand_calls_remind (strand_calls *calls, int64_t at_us) {
  if (at_us != 0) start(calls);
  strand_lock_take(&calls->lock);
  calls->remind_us = at_us;
  if (at_us != 0 && (calls->asleep_us == 0 || at_us < calls->asleep_us))
    tell_locked(calls);
  strand_lock_release(&calls->lock);
}

bool strand_calls_take_reminder (strand_calls *calls) {
  if (!atomic_load_explicit(&calls->reminded, memory_order_relaxed)) {
    return false;
  }
  return atomic_exchange(&calls->reminded, false);
}

bool strand_calls_ask_stalled (strand_calls *calls) {
  if (!start(calls)) return false;
  strand_lock_take(&calls->lock);
  calls->stalled = ASKED;
  tell_locked(calls);
  strand_lock_release(&calls->lock);
  return true;
}

bool strand_calls_take_stalled (strand_calls *calls, rd_kafka_resp_err_t *err,
                                rd_kafka_topic_partition_list_t **list) {
  bool answered;
  strand_lock_take(&calls->lock);
  answered = calls->stalled == ANSWERED;
  if (answered) {
    calls->stalled = NOT_ASKED;
    *err = calls->stalled_err;
    *list = calls->stalled_list;
    calls->stalled_list = NULL;
  }
  strand_lock_release(&calls->lock);
  return answered;
}
