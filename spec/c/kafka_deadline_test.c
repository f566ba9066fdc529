/*
** kafka_deadline_test.c - owners that look at records, and workers that end
** them, at the same moment
**
** Handlers in C, on the mock cluster: each third record takes about as long as
** the deadline is, some take much longer and hear no interrupt. Under the
** thread sanitizer it is the proof of what owner and worker tell each other.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "consumer/consumer.h"
#include "kafka/mock.h"
#include "worker/worker.h"
#include "../support/c11_threads.h"
#include "../support/start.h"

#define RECORDS 1200
#define KEYS 12
#define WORKERS 4
#define DEADLINE_US 20000
#define STUBBORN_US 200000 /* more than the deadline and what is waited then */
#define PATIENCE 120.0     /* seconds */

static struct {
  atomic_bool busy[KEYS];
  _Atomic int64_t last[KEYS]; /* highest offset done */
  atomic_int overlaps;
  atomic_int disorders;
  atomic_int late; /* records that saw that they were */
  atomic_int states;
} all;

typedef struct helper {
  volatile sig_atomic_t interrupted;
  unsigned random;
} helper;

static void *open_state (void *config, strand_consumer *consumer,
                         strand_worker_slot *worker_slot,
                         strand_failure *failure) {
  helper *s = calloc(1, sizeof(*s));
  (void)config;
  (void)consumer;
  (void)failure;
  if (s == NULL) return NULL;
  s->random = worker_slot->index;
  atomic_fetch_add(&all.states, 1);
  return s;
}

static void close_state (void *s) {
  atomic_fetch_sub(&all.states, 1);
  free(s);
}

static void release (void *config) {
  (void)config;
}

static void interrupt (void *arg, unsigned what) {
  if (what & STRAND_INTERRUPT_END) ((helper *)arg)->interrupted = 1;
}

/* As the hook of Lua's handlers does: one that came late means nothing. */
static bool must_end (helper *s, const strand_task *task) {
  if (!s->interrupted) return false;
  s->interrupted = 0;
  return strand_task_expired(task);
}

static void take_time (helper *s, const strand_task *task) {
  int64_t offset = task->record->offset, until = strand_clock_us();
  bool stubborn = offset % 97 == 0;
  s->random = s->random * 1103515245u + 12345u;
  until += stubborn ? STUBBORN_US
                    : DEADLINE_US / 2 + (s->random >> 8) % DEADLINE_US;
  while (strand_clock_us() < until && (stubborn || !must_end(s, task))) {
  }
}

static void handle (helper *s, strand_task *task) {
  const strand_record *r = task->record;
  int key = strand_record_key(r)[0] % KEYS;
  if (atomic_exchange(&all.busy[key], true))
    atomic_fetch_add(&all.overlaps, 1);
  if (atomic_load(&all.last[key]) > r->offset) {
    atomic_fetch_add(&all.disorders, 1);
  }
  if (r->attempt == 1 && r->offset % 3 == 0) take_time(s, task);
  if (strand_task_expired(task)) {
    atomic_fetch_add(&all.late, 1);
    if (r->offset % 2 == 0) task->outcome.kind = STRAND_OUTCOME_PARK;
  }
  else atomic_store(&all.last[key], r->offset);
  atomic_store(&all.busy[key], false);
}

static void serve (void *arg, strand_task *task, bool (*next)(void *arg),
                   void *next_arg) {
  strand_interrupt_serve(interrupt, arg);
  do handle(arg, task);
  while (next(next_arg));
  strand_interrupt_serve(NULL, NULL);
}

static void produce (const char *servers) {
  char error[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *client;
  rd_kafka_conf_set(conf, "bootstrap.servers", servers, error, sizeof(error));
  client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
  assert_non_null(client);
  for (int i = 0; i < RECORDS; i++) {
    char key = (char)(i % KEYS);
    assert_int_equal(
      rd_kafka_producev(client, RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_PARTITION(0),
                        RD_KAFKA_V_KEY(&key, 1), RD_KAFKA_V_END),
      0);
  }
  assert_int_equal(rd_kafka_flush(client, 20000), 0);
  rd_kafka_destroy(client);
}

static strand_consumer *open_consumer (const char *servers) {
  const char *const topics[] = { "t" };
  strand_property props[] = { { "bootstrap.servers", servers },
                              { "group.id", "deadlines" },
                              { "fetch.wait.max.ms", "10" } };
  strand_route route = { .limits.policy = { .delay_us = 1000,
                                            .max_delay_us = 1000,
                                            .factor = 1,
                                            .exhausted = STRAND_OUTCOME_PARK },
                         .deadline_us = DEADLINE_US };
  strand_consumer_config c = { .kafka = props,
                               .kafka_count = sizeof(props) / sizeof(props[0]),
                               .topics = topics,
                               .topic_count = 1,
                               .members = 1,
                               .ordering = STRAND_BY_KEY,
                               .max_metadata = 4096,
                               .limits = { .workers = WORKERS,
                                           .max_in_flight = WORKERS,
                                           .max_ready = WORKERS * 64,
                                           .max_buffered_records = 100000,
                                           .max_buffered_bytes = 64u << 20,
                                           .max_waiting_records = 100000,
                                           .max_waiting_bytes = 64u << 20,
                                           .commit_interval_us = 100000,
                                           .revoke_grace_us = 1000000,
                                           .slow_after_us = DEADLINE_US / 2 },
                               .routes = &route,
                               .route_count = 1,
                               .handler = { .open = open_state,
                                            .serve = serve,
                                            .close = close_state,
                                            .release = release } };
  strand_failure failure = { "", "" };
  strand_consumer *consumer = strand_consumer_open(&c, &failure);
  if (consumer == NULL || !start_consumer(consumer, &failure)) {
    fail_msg("%s: %s", failure.code, failure.message);
  }
  return consumer;
}

/* Events of the two types, so far. */
static void count_events (strand_consumer *consumer, int *failed, int *lost) {
  strand_event event;
  while (strand_consumer_next_event(consumer, &event)) {
    *failed += strcmp(event.type, "record_failed") == 0;
    *lost += strcmp(event.type, "worker_lost") == 0;
    strand_event_clear(&event);
  }
}

static uint64_t done_of (strand_consumer *consumer) {
  strand_report report;
  uint64_t done;
  assert_true(strand_consumer_report(consumer, &report));
  done = report.done;
  strand_report_clear(&report);
  return done;
}

static void close_consumer (strand_consumer *consumer) {
  strand_report report;
  strand_consumer_close_begin(consumer, STRAND_CLOSE_FINISH, 20);
  while (!strand_consumer_close_step(consumer)) {
    struct pollfd fd = { strand_consumer_fd(consumer), POLLIN, 0 };
    poll(&fd, 1, 100);
  }
  assert_true(strand_consumer_report(consumer, &report));
  assert_false(report.detached);
  assert_int_equal(report.unfinished_total, 0);
  strand_report_clear(&report);
  strand_consumer_discard(consumer, 1);
}

static void what_is_late_comes_again_and_nothing_else (void **state) {
  strand_failure failure;
  strand_mock *cluster = strand_mock_open(1, NULL, &failure);
  double deadline = strand_clock_now() + PATIENCE;
  strand_consumer *consumer;
  int failed = 0, lost = 0;
  (void)state;
  assert_non_null(cluster);
  assert_true(strand_mock_create_topic(cluster, "t", 1, &failure));
  produce(strand_mock_bootstrap(cluster));
  for (int k = 0; k < KEYS; k++) atomic_store(&all.last[k], -1);
  consumer = open_consumer(strand_mock_bootstrap(cluster));
  while (done_of(consumer) < RECORDS) {
    struct pollfd fd = { strand_consumer_fd(consumer), POLLIN, 0 };
    assert_true(strand_clock_now() < deadline);
    poll(&fd, 1, 100);
    count_events(consumer, &failed, &lost);
  }
  count_events(consumer, &failed, &lost);
  close_consumer(consumer);
  strand_mock_close(cluster);
  assert_int_equal(atomic_load(&all.overlaps), 0);
  assert_int_equal(atomic_load(&all.disorders), 0);
  assert_int_equal(atomic_load(&all.states), 0);
  printf("figure deadline_late %d failed %d lost %d\n", atomic_load(&all.late),
         failed, lost);
  assert_true(atomic_load(&all.late) > RECORDS / 20);
  assert_true(failed
              >= atomic_load(&all.late)); /* and who became it at once */
  assert_true(lost > 0);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_late_comes_again_and_nothing_else),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
