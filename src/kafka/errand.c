/*
** errand.c - see errand.h
*/
#include "kafka/errand.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kafka/clock.h"
#include "kafka/conf.h"
#include "kafka/leaders.h"
#include "kafka/lock.h"
#include "kafka/system.h"
#include "kafka/thread.h"

#define METADATA_MS 5000
#define AGAIN 0.1    /* seconds before a failed question is asked again */
#define FLUSH_MS 200 /* of one call, at most: how late its end is seen */
#define FLUSH_FIRST_MS                                                        \
  5 /* the next is twice as long: an end is seen no later
                            than as long again as all lasted */

typedef struct topic {
  struct topic *next;
  int32_t partitions; /* 0: not known */
  int asked;          /* the thread has not answered yet */
  double answered;    /* when */
  rd_kafka_resp_err_t err;
  char name[];
} topic;

typedef enum question { NOT_ASKED, ASKED, ANSWERED } question;

struct strand_errand {
  rd_kafka_t *client;
  int wake_fd;
  strand_lock lock;
  strand_condition changed;
  pthread_t thread;
  int running;
  int stopping;
  int flushing;
  int flush_ms;      /* of the next call */
  int64_t remind_us; /* 0: never */
  int64_t asleep_us; /* until when the thread is; 0: for ever */
  /* Set by the thread, taken by the lua thread after the wake. */
  atomic_int reminded;
  question stalled;
  rd_kafka_resp_err_t stalled_err;
  rd_kafka_topic_partition_list_t *stalled_list; /* ANSWERED: or NULL */
  /* Set by the lua thread, read by the thread between two polls of the
  ** question, which clears it before the next: that question ends soon. */
  atomic_bool hurried;
  topic *topics; /* only ever grows: the thread keeps pointers */
};

strand_errand *strand_errand_new (rd_kafka_t *client, int wake_fd) {
  strand_errand *errand = calloc(1, sizeof(*errand));
  if (errand == NULL) return NULL;
  errand->client = client;
  errand->wake_fd = wake_fd;
  strand_lock_init(&errand->lock, STRAND_RANK_LEAF);
  if (!strand_condition_init(&errand->changed)) {
    strand_lock_free(&errand->lock);
    free(errand);
    return NULL;
  }
  return errand;
}

void strand_errand_stop (strand_errand *errand) {
  strand_lock_take(&errand->lock);
  errand->stopping = 1;
  atomic_store(&errand->hurried, true);
  pthread_cond_broadcast(&errand->changed);
  strand_lock_release(&errand->lock);
}

void strand_errand_free (strand_errand *errand) {
  if (errand == NULL) return;
  strand_errand_stop(errand);
  if (errand->running) pthread_join(errand->thread, NULL);
  while (errand->topics != NULL) {
    topic *first = errand->topics;
    errand->topics = first->next;
    free(first);
  }
  if (errand->stalled_list != NULL) {
    rd_kafka_topic_partition_list_destroy(errand->stalled_list);
  }
  strand_condition_free(&errand->changed);
  strand_lock_free(&errand->lock);
  free(errand);
}

static topic *asked_locked (strand_errand *errand) {
  topic *t = errand->topics;
  while (t != NULL && !t->asked) t = t->next;
  return t;
}

static rd_kafka_resp_err_t ask (rd_kafka_t *client, const char *name,
                                int32_t *partitions) {
  const struct rd_kafka_metadata *metadata;
  rd_kafka_resp_err_t err;
  rd_kafka_topic_t *handle = rd_kafka_topic_new(client, name, NULL);
  if (handle == NULL) return rd_kafka_last_error();
  err = rd_kafka_metadata(client, 0, handle, &metadata, METADATA_MS);
  rd_kafka_topic_destroy(handle);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  if (metadata->topic_cnt == 1) {
    err = metadata->topics[0].err;
    *partitions = metadata->topics[0].partition_cnt;
  }
  rd_kafka_metadata_destroy(metadata);
  return err;
}

static void wake (const strand_errand *errand) {
  static const uint64_t one = 1;
  ssize_t written;
  if (errand->wake_fd < 0) return;
  written = write(errand->wake_fd, &one, sizeof(one));
  (void)written; /* full: it is readable already */
}

/* Called with the lock, and gives it up while it waits for a broker. */
static void answer_locked (strand_errand *errand, topic *t) {
  int32_t partitions = 0;
  rd_kafka_resp_err_t err;
  strand_lock_release(&errand->lock);
  err = ask(errand->client, t->name, &partitions);
  strand_lock_take(&errand->lock);
  t->err = err;
  if (partitions > 0) t->partitions = partitions; /* else the old number */
  t->asked = 0;
  t->answered = strand_clock_now();
  pthread_cond_broadcast(&errand->changed);
  wake(errand);
}

/* As answer_locked. */
static void flush_locked (strand_errand *errand) {
  int ms = errand->flush_ms;
  errand->flush_ms = 2 * ms < FLUSH_MS ? 2 * ms : FLUSH_MS;
  strand_lock_release(&errand->lock);
  rd_kafka_flush(errand->client, ms);
  strand_lock_take(&errand->lock);
}

/* As answer_locked. Before a flush, which may well wait for these records. */
static void ask_stalled_locked (strand_errand *errand) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err;
  atomic_store(&errand->hurried, false);
  strand_lock_release(&errand->lock);
  err = strand_leaders_stalled(errand->client, &errand->hurried, &list);
  strand_lock_take(&errand->lock);
  errand->stalled = ANSWERED;
  errand->stalled_err = err;
  errand->stalled_list = list;
  wake(errand);
}

static void remind_locked (strand_errand *errand) {
  if (errand->remind_us == 0 || strand_clock_us() < errand->remind_us) return;
  errand->remind_us = 0;
  atomic_store(&errand->reminded, 1);
  wake(errand);
}

static void sleep_locked (strand_errand *errand) {
  errand->asleep_us = errand->remind_us;
  if (errand->asleep_us == 0) {
    strand_lock_wait(&errand->lock, &errand->changed);
    return;
  }
  strand_lock_wait_until(&errand->lock, &errand->changed,
                         (double)errand->asleep_us / 1e6);
}

static void *run (void *argument) {
  strand_errand *errand = argument;
  strand_lock_take(&errand->lock);
  while (!errand->stopping) {
    topic *t = asked_locked(errand);
    remind_locked(errand);
    if (t != NULL) {
      answer_locked(errand, t);
    }
    else if (errand->stalled == ASKED) {
      ask_stalled_locked(errand);
    }
    else if (errand->flushing) {
      flush_locked(errand);
    }
    else {
      sleep_locked(errand);
    }
  }
  strand_lock_release(&errand->lock);
  return NULL;
}

/* 0 and errno when there is no thread for it. */
static int start_locked (strand_errand *errand) {
  if (!errand->running && !errand->stopping)
    errand->running = strand_thread_start(&errand->thread, run, errand);
  if (!errand->running && !errand->stopping) return 0;
  pthread_cond_broadcast(&errand->changed);
  return 1;
}

/* 0 and errno; then the next asks anew. */
static int ask_locked (strand_errand *errand, topic *t) {
  t->asked = start_locked(errand);
  atomic_store(&errand->hurried, true);
  return t->asked;
}

static topic *find_locked (strand_errand *errand, const char *name) {
  topic *t = errand->topics;
  while (t != NULL && strcmp(t->name, name) != 0) t = t->next;
  return t;
}

/* Not yet among the errand's. */
static topic *new_topic (const char *name) {
  topic *t = calloc(1, sizeof(*t) + strlen(name) + 1);
  if (t == NULL) return NULL;
  strcpy(t->name, name);
  t->answered = -STRAND_ERRAND_FRESH;
  return t;
}

static topic *link_locked (strand_errand *errand, topic *t) {
  t->next = errand->topics;
  errand->topics = t;
  return t;
}

static void fail_unknown (strand_failure *failure, const topic *t) {
  if (t->err == RD_KAFKA_RESP_ERR_NO_ERROR)
    strand_fail(failure, "NO_METADATA",
                "topic '%s': its number of "
                "partitions is not known yet",
                t->name);
  else
    strand_fail(failure, "NO_METADATA",
                "topic '%s': its number of "
                "partitions is not known: %s",
                t->name, rd_kafka_err2str(t->err));
}

static int32_t partitions_locked (strand_errand *errand, topic *t,
                                  strand_failure *failure) {
  double fresh = t->partitions > 0 ? STRAND_ERRAND_FRESH : AGAIN;
  int stale = !t->asked && strand_clock_now() - t->answered > fresh;
  if (stale && !ask_locked(errand, t))
    strand_fail_thread(failure, "the thread that asks for partitions", errno);
  else if (t->partitions == 0) fail_unknown(failure, t);
  return t->partitions;
}

int32_t strand_errand_ask_partitions (strand_errand *errand, const char *name,
                                      strand_failure *failure) {
  int32_t partitions = 0;
  topic *t, *fresh = NULL;
  strand_lock_take(&errand->lock);
  t = find_locked(errand, name);
  if (t == NULL) { /* only this thread makes them */
    strand_lock_release(&errand->lock);
    fresh = new_topic(name);
    strand_lock_take(&errand->lock);
    if (fresh != NULL) t = link_locked(errand, fresh);
  }
  if (t != NULL) partitions = partitions_locked(errand, t, failure);
  strand_lock_release(&errand->lock);
  if (t == NULL) strand_fail(failure, "NO_MEMORY", "memory ran out");
  return partitions;
}

void strand_errand_doubt (strand_errand *errand, const char *name) {
  topic *t;
  strand_lock_take(&errand->lock);
  t = find_locked(errand, name);
  if (t != NULL && !t->asked && strand_clock_now() - t->answered > 1)
    ask_locked(errand, t);
  strand_lock_release(&errand->lock);
}

void strand_errand_wait (strand_errand *errand, double deadline) {
  strand_lock_take(&errand->lock);
  while (errand->running && asked_locked(errand) != NULL
         && strand_lock_wait_until(&errand->lock, &errand->changed, deadline))
    continue;
  strand_lock_release(&errand->lock);
}

int strand_errand_flush (strand_errand *errand, int on) {
  int flushing;
  strand_lock_take(&errand->lock);
  if (errand->flushing != on) {
    errand->flush_ms = FLUSH_FIRST_MS;
    errand->flushing = on && start_locked(errand);
  }
  flushing = errand->flushing;
  strand_lock_release(&errand->lock);
  return flushing;
}

/* One that moves to later, or ends, needs no thread now: it looks at it when
** the old one is due. */
void strand_errand_remind (strand_errand *errand, int64_t at_us) {
  strand_lock_take(&errand->lock);
  errand->remind_us = at_us;
  if (at_us != 0
      && (!errand->running || errand->asleep_us == 0
          || at_us < errand->asleep_us))
    start_locked(errand);
  strand_lock_release(&errand->lock);
}

int strand_errand_take_reminder (strand_errand *errand) {
  if (atomic_load_explicit(&errand->reminded, memory_order_relaxed) == 0) {
    return 0;
  }
  return atomic_exchange(&errand->reminded, 0);
}

int strand_errand_ask_stalled (strand_errand *errand) {
  int asked;
  strand_lock_take(&errand->lock);
  asked = start_locked(errand);
  if (asked) errand->stalled = ASKED;
  strand_lock_release(&errand->lock);
  return asked;
}

int strand_errand_take_stalled (strand_errand *errand,
                                rd_kafka_resp_err_t *err,
                                rd_kafka_topic_partition_list_t **list) {
  int answered;
  strand_lock_take(&errand->lock);
  answered = errand->stalled == ANSWERED;
  if (answered) {
    errand->stalled = NOT_ASKED;
    *err = errand->stalled_err;
    *list = errand->stalled_list;
    errand->stalled_list = NULL;
  }
  strand_lock_release(&errand->lock);
  return answered;
}
