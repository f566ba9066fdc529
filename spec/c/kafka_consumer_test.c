/*
** kafka_consumer_test.c - what the Kafka side of a consumer promises, with
** handlers in C
**
** On the mock cluster. A join costs 3 s there and a later rebalance 5 s, so
** all consumers are opened at once, before the first test, and most claims
** share one: each has partitions of its own, and what its handler does is
** looked up by partition. Handlers wait at gates, which tests open: so a
** race is made and not waited for. Nothing is timed but what promises a time.
*/
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "consumer/consumer.h"
#include "member/member.h"
#include "kafka/mock.h"
#include "../support/c11_threads.h"
#include "../support/start.h"

#define TOPIC "t"
#define PARTITIONS 16
#define KEYS 64
#define PATIENCE 60.0 /* seconds, then a test has failed */
#define LATE 8.0      /* what a busy machine may add to a promised time */
#define UNREACHABLE "127.0.0.1:1"

/*
** Plays: what the handler does with the records of a partition
*/

typedef struct play {
  atomic_bool fails_first; /* every seventh record, at its first attempt */
  atomic_bool fails_key_0; /* always */
  atomic_int delay_ms;     /* asked for by who fails */
  atomic_int spins;        /* a random time, up to this many turns */
  atomic_bool gated;       /* waits for a post of 'gate' */
  atomic_bool stops;       /* asks the consumer to end, and is not done */
  sem_t gate;
  atomic_int at_gate;
  atomic_int handled; /* done */
  atomic_int calls;
  atomic_int overlaps;  /* two of a key at once */
  atomic_int disorders; /* below or at one of its key that is done */
  atomic_bool busy[KEYS];
  _Atomic int64_t last[KEYS]; /* highest offset done */
} play;

typedef struct fixture {
  play plays[PARTITIONS];
  sem_t released;    /* posted when the last user is gone */
  atomic_int states; /* open */
  strand_consumer *consumer;
  const char *topic;
  char group[48];
  atomic_bool any_order; /* after a seek or a rebalance: do not judge */
} fixture;

static strand_mock *cluster;
static strand_mock *lonely; /* a cluster that one test takes down */
static rd_kafka_t *producer;
static int news = -1; /* an eventfd: a handler did something */

static void tell_news (void) {
  eventfd_write(news, 1);
}

static int key_of (const strand_record *r) {
  return r->key_length > 0 ? strand_record_key(r)[0] % KEYS : 0;
}

static void fail_record (strand_outcome *v, int delay_ms) {
  static const char reason[] = "as the test wants it";
  v->kind = STRAND_OUTCOME_FAILED;
  v->delay_us = (int64_t)delay_ms * 1000;
  v->reason = malloc(sizeof(reason));
  if (v->reason == NULL) return;
  memcpy(v->reason, reason, sizeof(reason));
  v->reason_length = sizeof(reason) - 1;
}

static void spin (unsigned most) {
  static _Thread_local unsigned random = 1;
  volatile unsigned turns;
  random = random * 1103515245u + 12345u;
  for (turns = (random >> 8) % (most + 1); turns > 0; turns--) {
  }
}

static void act (play *p, const strand_record *r, strand_outcome *v) {
  int key = key_of(r);
  if (atomic_load(&p->spins) > 0) spin((unsigned)atomic_load(&p->spins));
  if (atomic_load(&p->gated)) {
    atomic_fetch_add(&p->at_gate, 1);
    tell_news();
    while (sem_wait(&p->gate) != 0) {
    }
    atomic_fetch_sub(&p->at_gate, 1);
  }
  if (atomic_load(&p->stops)) v->kind = STRAND_OUTCOME_STOP;
  else if ((atomic_load(&p->fails_key_0) && key == 0)
           || (atomic_load(&p->fails_first) && r->attempt == 1
               && r->offset % 7 == 0)) {
    fail_record(v, atomic_load(&p->delay_ms));
  }
}

static void handle (void *state, const strand_record *r, unsigned route,
                    strand_outcome *v) {
  fixture *s = state;
  play *p = &s->plays[strand_partition_index(strand_record_partition(r))];
  int key = key_of(r);
  (void)route;
  atomic_fetch_add(&p->calls, 1);
  if (atomic_exchange(&p->busy[key], true)) atomic_fetch_add(&p->overlaps, 1);
  if (!atomic_load(&s->any_order) && atomic_load(&p->last[key]) >= r->offset) {
    atomic_fetch_add(&p->disorders, 1);
  }
  act(p, r, v);
  if (v->kind == STRAND_OUTCOME_DONE) {
    atomic_store(&p->last[key], r->offset);
    atomic_fetch_add(&p->handled, 1);
  }
  atomic_store(&p->busy[key], false);
  tell_news();
}

static void serve (void *state, strand_task *task, bool (*next)(void *arg),
                   void *arg) {
  do handle(state, task->record, task->route, &task->outcome);
  while (!task->outcome.broken && next(arg));
}

static void *open_state (void *config, strand_consumer *consumer,
                         strand_worker_slot *worker_slot,
                         strand_failure *failure) {
  fixture *s = config;
  (void)consumer;
  (void)worker_slot;
  (void)failure;
  atomic_fetch_add(&s->states, 1);
  return s;
}

static void close_state (void *state) {
  atomic_fetch_sub(&((fixture *)state)->states, 1);
}

static void release (void *config) {
  sem_post(&((fixture *)config)->released);
}

/*
** Stages: a consumer and its plays
*/

typedef struct wish {
  const char *servers;
  const char *topic;
  const char *group; /* NULL: one of its own */
  unsigned members;
  unsigned workers;
  double interval;
  double grace;
} wish;

static strand_consumer *open_consumer (fixture *s, const wish *w) {
  strand_property props[] = { { "bootstrap.servers", w->servers },
                              { "group.id", s->group },
                              { "session.timeout.ms", "6000" },
                              { "heartbeat.interval.ms", "500" },
                              { "fetch.wait.max.ms", "10" } };
  strand_route route = { .limits.policy = { 1000, 60000000, 2, 0.5, 0,
                                            STRAND_OUTCOME_PARK } };
  strand_consumer_config c = {
    .kafka = props,
    .kafka_count = sizeof(props) / sizeof(props[0]),
    .topics = &w->topic,
    .topic_count = 1,
    .members = w->members,
    .ordering = STRAND_BY_KEY,
    .max_metadata = 4096,
    .limits = { .workers = w->workers,
                .max_in_flight = w->workers,
                .max_ready = w->workers * 64u,
                .max_buffered_records = 100000,
                .max_buffered_bytes = 64u << 20,
                .max_waiting_records = 100000,
                .max_waiting_bytes = 64u << 20,
                .commit_interval_us = (int64_t)(w->interval * 1e6),
                .revoke_grace_us = (int64_t)(w->grace * 1e6) },
    .routes = &route,
    .route_count = 1,
    .handler = { .config = s,
                 .open = open_state,
                 .serve = serve,
                 .close = close_state,
                 .release = release }
  };
  strand_failure failure = { "", "" };
  strand_consumer *k = strand_consumer_open(&c, &failure);
  if (k == NULL) fail_msg("%s: %s", failure.code, failure.message);
  return k;
}

static fixture *new_stage (const wish *w) {
  static int number;
  fixture *s = calloc(1, sizeof(*s));
  assert_non_null(s);
  sem_init(&s->released, 0, 0);
  for (int i = 0; i < PARTITIONS; i++) {
    sem_init(&s->plays[i].gate, 0, 0);
    for (int k = 0; k < KEYS; k++) atomic_init(&s->plays[i].last[k], -1);
  }
  if (w->group != NULL) snprintf(s->group, sizeof(s->group), "%s", w->group);
  else snprintf(s->group, sizeof(s->group), "g%d-%d", getpid(), ++number);
  s->topic = w->topic;
  s->consumer = open_consumer(s, w);
  return s;
}

static void start_stage (fixture *s) {
  strand_failure failure = { "", "" };
  if (!start_consumer(s->consumer, &failure)) {
    fail_msg("%s: %s", failure.code, failure.message);
  }
}

static fixture *open_fixture (const wish *w) {
  fixture *s = new_stage(w);
  start_stage(s);
  return s;
}

/* The last event of 'type', seen by serve. */
static char seen_type[48], seen_code[48];
static int64_t seen_offset, seen_to;

static void take_events (fixture *s) {
  strand_event event;
  while (strand_consumer_next_event(s->consumer, &event)) {
    if (getenv("STRAND_TRACE") != NULL) {
      fprintf(stderr, "%.3f %s %s %d %lld %lld %s %s\n", strand_clock_now(),
              s->group, event.type, event.partition, (long long)event.offset,
              (long long)event.to, event.code,
              event.reason != NULL ? event.reason : "");
    }
    if (seen_type[0] != '\0' && strcmp(event.type, seen_type) == 0) {
      snprintf(seen_code, sizeof(seen_code), "seen");
      seen_offset = event.offset;
      seen_to = event.to;
    }
    strand_event_clear(&event);
  }
}

static void look_for (const char *type) {
  snprintf(seen_type, sizeof(seen_type), "%s", type);
  seen_code[0] = '\0';
}

static bool was_seen (fixture *s) {
  (void)s;
  return seen_code[0] != '\0';
}

static void wait_any (fixture *const *stages, int count, int ms) {
  struct pollfd fds[8] = { { news, POLLIN, 0 } };
  eventfd_t ignored;
  for (int i = 0; i < count; i++) {
    fds[i + 1] = (struct pollfd){ strand_consumer_fd(stages[i]->consumer),
                                  POLLIN, 0 };
  }
  poll(fds, (nfds_t)count + 1, ms);
  eventfd_read(news, &ignored);
  for (int i = 0; i < count; i++) take_events(stages[i]);
}

typedef bool predicate (fixture *s);

static bool serve_until (fixture *s, predicate *done) {
  double deadline = strand_clock_now() + PATIENCE;
  while (!done(s)) {
    if (strand_clock_now() > deadline) return false;
    wait_any(&s, 1, 100);
  }
  return true;
}

/* A play as a predicate sees it. */
static int wanted_partition, wanted_count;

static bool is_handled (fixture *s) {
  return atomic_load(&s->plays[wanted_partition].handled) >= wanted_count;
}

static bool is_called (fixture *s) {
  return atomic_load(&s->plays[wanted_partition].calls) >= wanted_count;
}

static bool is_at_gate (fixture *s) {
  return atomic_load(&s->plays[wanted_partition].at_gate) >= wanted_count;
}

static void wait_for (fixture *s, predicate *done, int partition, int count) {
  wanted_partition = partition;
  wanted_count = count;
  if (!serve_until(s, done)) {
    const play *p = &s->plays[partition];
    fail_msg("partition %d: %d expected; %d calls, %d handled, %d at the "
             "gate",
             partition, count, atomic_load(&p->calls),
             atomic_load(&p->handled), atomic_load(&p->at_gate));
  }
}

static void open_gate (play *p) {
  atomic_store(&p->gated, false);
  for (int i = atomic_load(&p->at_gate) + 64; i > 0; i--) sem_post(&p->gate);
}

static void check_order (const fixture *s, int partition) {
  assert_int_equal(atomic_load(&s->plays[partition].overlaps), 0);
  assert_int_equal(atomic_load(&s->plays[partition].disorders), 0);
}

static bool is_joined (fixture *s) {
  strand_failure failure;
  return strand_consumer_take_joined(s->consumer, &failure) != 0;
}

/* 'closed' is how long it took. */
static strand_report close_fixture (fixture *s, strand_close_mode mode,
                                    double timeout, double *closed) {
  double began = strand_clock_now();
  strand_report report;
  strand_consumer_close_begin(s->consumer, mode, timeout);
  while (!strand_consumer_close_step(s->consumer)) {
    assert_true(strand_clock_now() - began < timeout + LATE);
    wait_any(&s, 1, 2000);
  }
  if (closed != NULL) *closed = strand_clock_now() - began;
  assert_true(strand_consumer_report(s->consumer, &report));
  return report;
}

static void free_stage (fixture *s) {
  struct timespec until;
  strand_consumer_discard(s->consumer, 5);
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 20;
  while (sem_timedwait(&s->released, &until) != 0) {
    if (errno == ETIMEDOUT) fail_msg("the consumer was not freed");
  }
  assert_int_equal(atomic_load(&s->states), 0);
  for (int i = 0; i < PARTITIONS; i++) sem_destroy(&s->plays[i].gate);
  sem_destroy(&s->released);
  free(s);
}

static void end_stage (fixture *s) {
  strand_report report = close_fixture(s, STRAND_CLOSE_FINISH, 30, NULL);
  assert_false(report.detached);
  strand_report_clear(&report);
  free_stage(s);
}

/*
** Outside
*/

static void send_with (rd_kafka_t *p, const char *topic, int partition,
                       int count, int keys) {
  char value[32];
  for (int i = 0; i < count; i++) {
    char key = (char)(i % keys);
    int length = snprintf(value, sizeof(value), "%d", i);
    while (rd_kafka_producev(
             p, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
             RD_KAFKA_V_KEY(&key, 1), RD_KAFKA_V_VALUE(value, (size_t)length),
             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)
           != 0) {
      rd_kafka_poll(p, 10);
    }
  }
  assert_int_equal(rd_kafka_flush(p, 20000), 0);
}

static void send_records (const char *topic, int partition, int count,
                          int keys) {
  send_with(producer, topic, partition, count, keys);
}

static rd_kafka_t *open_client (rd_kafka_type_t kind, const char *servers,
                                const char *group) {
  char errstr[256];
  rd_kafka_t *client;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", servers, errstr,
                    sizeof(errstr));
  if (group != NULL) {
    rd_kafka_conf_set(conf, "group.id", group, errstr, sizeof(errstr));
  }
  client = rd_kafka_new(kind, conf, errstr, sizeof(errstr));
  assert_non_null(client);
  return client;
}

/* As a stranger reads it; -1 for none. */
static int64_t committed_by (rd_kafka_t *reader, const char *topic,
                             int partition) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  int64_t offset;
  rd_kafka_topic_partition_list_add(list, topic, partition);
  assert_int_equal(rd_kafka_committed(reader, list, 10000), 0);
  offset = list->elems[0].offset;
  rd_kafka_topic_partition_list_destroy(list);
  return offset < 0 ? -1 : offset;
}

static int64_t committed_of (const fixture *s, int partition) {
  rd_kafka_t *reader = open_client(RD_KAFKA_CONSUMER,
                                   strand_mock_bootstrap(cluster), s->group);
  int64_t offset = committed_by(reader, s->topic, partition);
  rd_kafka_destroy(reader);
  return offset;
}

static int wait_ticket (fixture *s, strand_ticket *ticket,
                        strand_failure *failure) {
  double deadline = strand_clock_now() + PATIENCE;
  int done;
  while ((done = strand_ticket_done(ticket, failure)) == 0) {
    assert_true(strand_clock_now() < deadline);
    wait_any(&s, 1, 1000);
  }
  strand_consumer_drop(ticket);
  return done;
}

/* One that fails is made again: a busy machine rebalances when it likes. */
static void commit_now (fixture *s) {
  double deadline = strand_clock_now() + PATIENCE;
  strand_failure failure = { "", "" };
  for (;;) {
    strand_ticket *ticket = strand_consumer_commit(s->consumer, &failure);
    assert_non_null(ticket);
    if (wait_ticket(s, ticket, &failure) == 1) return;
    if (strand_clock_now() > deadline) {
      fail_msg("%s: %s", failure.code, failure.message);
    }
    wait_any(&s, 1, 10);
  }
}

/* Handlers count before they return, and only then a record is done. */
static void commit_up_to (fixture *s, int partition, int64_t offset) {
  double deadline = strand_clock_now() + PATIENCE;
  int64_t committed;
  do {
    commit_now(s);
    committed = committed_of(s, partition);
  } while (committed < offset && strand_clock_now() < deadline);
  assert_int_equal(committed, offset);
}

static uint64_t records_wanted;

static bool is_buffered (fixture *s) {
  strand_stats stats;
  bool ok;
  assert_true(strand_consumer_stats(s->consumer, 0, &stats));
  ok = stats.engine.buffered_records >= records_wanted;
  strand_stats_clear(&stats);
  return ok;
}

/*
** The stages
*/

static fixture *common; /* 16 workers, all that needs no consumer of its own */
static fixture *stuck;
static fixture *drained;
static fixture *shared_1, *shared_2; /* members of one group */
static fixture *cut_off;
static fixture *stopped;
static fixture *idle;
static fixture *dropped;
static fixture *next_owner;
static fixture *narrow;

/* As if another member of the consumer had partition 0 and did not know yet
** that it has lost it; which no broker can be made to do in time. */
static void lose_unawares (fixture *s) {
  strand_assign_answer answer;
  assert_int_equal(
    strand_inboxes_assign(&s->consumer->inboxes, 7, "heir", 0, &answer),
    STRAND_OK);
  assert_int_equal(answer.epoch, 1);
}

static int open_all (void **state) {
  static const char *const topics[] = { "stuck", "drained", "stopped",
                                        "idle",  "dropped", "pair",
                                        "heir",  "narrow" };
  strand_failure failure;
  wish w = {
    .topic = TOPIC, .members = 1, .workers = 2, .interval = 0.02, .grace = 0.2
  };
  (void)state;
  news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  cluster = strand_mock_open(1, NULL, &failure);
  lonely = strand_mock_open(1, NULL, &failure);
  assert_non_null(cluster);
  assert_non_null(lonely);
  assert_true(strand_mock_create_topic(cluster, TOPIC, PARTITIONS, &failure));
  for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
    assert_true(strand_mock_create_topic(cluster, topics[i], 4, &failure));
  }
  assert_true(strand_mock_create_topic(lonely, TOPIC, 1, &failure));
  producer = open_client(RD_KAFKA_PRODUCER, strand_mock_bootstrap(cluster),
                         NULL);
  w.servers = strand_mock_bootstrap(lonely);
  cut_off = open_fixture(&w);
  w.servers = strand_mock_bootstrap(cluster);
  w.topic = "stuck";
  stuck = open_fixture(&w);
  w.topic = "drained";
  drained = open_fixture(&w);
  w.topic = "stopped";
  stopped = open_fixture(&w);
  w.topic = "idle";
  idle = open_fixture(&w);
  w.topic = "dropped";
  dropped = open_fixture(&w);
  w.topic = "narrow";
  narrow = open_fixture(&w);
  w.topic = "heir";
  next_owner = new_stage(&w);
  lose_unawares(next_owner);
  start_stage(next_owner);
  w.topic = TOPIC;
  w.workers = 16;
  common = open_fixture(&w);
  w.topic = "pair";
  w.workers = 4;
  w.members = 2;
  shared_1 = open_fixture(&w);
  return 0;
}

static int close_all (void **state) {
  (void)state;
  rd_kafka_destroy(producer);
  strand_mock_close(cluster);
  strand_mock_close(lonely);
  close(news);
  return 0;
}

/*
** Order, retries, commits
*/

static void every_record_is_handled_once_in_the_order_of_its_key (void **st) {
  (void)st;
  assert_true(serve_until(common, is_joined));
  for (int p = 0; p < 4; p++) {
    atomic_store(&common->plays[p].spins, 20000);
    send_records(TOPIC, p, 2000, 40);
  }
  for (int p = 0; p < 4; p++) {
    wait_for(common, is_handled, p, 2000);
    check_order(common, p);
    assert_int_equal(atomic_load(&common->plays[p].calls), 2000);
  }
  for (int p = 0; p < 4; p++) commit_up_to(common, p, 2000);
}

static void
a_failed_record_is_tried_again_before_those_of_its_key (void **st) {
  play *p = &common->plays[4];
  (void)st;
  atomic_store(&p->fails_first, true);
  send_records(TOPIC, 4, 700, 20);
  wait_for(common, is_handled, 4, 700);
  check_order(common, 4);
  assert_int_equal(atomic_load(&p->calls), 800);
}

static void a_record_that_fails_for_ever_blocks_its_key_alone (void **st) {
  play *p = &common->plays[5];
  (void)st;
  atomic_store(&p->fails_key_0, true);
  atomic_store(&p->delay_ms, 1);
  send_records(TOPIC, 5, 200, 20); /* ten of each key */
  wait_for(common, is_handled, 5, 190);
  wait_for(common, is_called, 5, 200);
  assert_int_equal(atomic_load(&p->last[0]), -1);
  commit_now(common);
  assert_int_equal(committed_of(common, 5), 0); /* the rest is in metadata */
  atomic_store(&p->fails_key_0, false);
  wait_for(common, is_handled, 5, 200);
  check_order(common, 5);
  commit_up_to(common, 5, 200);
}

/* The offset rises to 'to', and never falls on its way there. */
static void rise (rd_kafka_t *reader, int64_t *last, int64_t to) {
  double deadline = strand_clock_now() + PATIENCE;
  while (*last < to) {
    strand_failure failure;
    strand_ticket *t = strand_consumer_commit(common->consumer, &failure);
    int64_t now;
    assert_non_null(t);
    wait_ticket(common, t, &failure); /* it may fail: the next one goes on */
    now = committed_by(reader, TOPIC, 6);
    assert_in_range(now, *last, to);
    *last = now;
    assert_true(strand_clock_now() < deadline);
  }
}

/* The naive way, one asynchronous commit behind the other, goes back at the
** first injected error: librdkafka repeats the older one behind the newer. */
static void a_commit_that_fails_never_takes_the_offset_back (void **st) {
  static const char *const errors[] = { "COORDINATOR_LOAD_IN_PROGRESS",
                                        "REQUEST_TIMED_OUT", "NOT_COORDINATOR",
                                        "TOPIC_AUTHORIZATION_FAILED",
                                        "UNKNOWN_SERVER_ERROR" };
  strand_failure failure;
  rd_kafka_t *reader = open_client(
    RD_KAFKA_CONSUMER, strand_mock_bootstrap(cluster), common->group);
  int64_t last = 0;
  (void)st;
  look_for("commit_failed");
  for (int round = 0; round < 20; round++) {
    assert_true(strand_mock_fail(cluster, "OffsetCommit", errors[round % 5], 1,
                                 &failure));
    send_records(TOPIC, 6, 20, 5);
    wait_for(common, is_handled, 6, 20 * (round + 1));
    rise(reader, &last, 20 * (round + 1));
  }
  assert_true(was_seen(common));
  assert_int_equal(atomic_load(&common->plays[6].calls), 400);
  rd_kafka_destroy(reader);
}

/* What fails holds the offset, and what is done above it is metadata. */
static void metadata_that_is_refused_is_told_and_learnt (void **st) {
  play *p = &narrow->plays[0];
  strand_failure failure = { "", "" };
  double deadline = strand_clock_now() + PATIENCE;
  (void)st;
  atomic_store(&p->fails_key_0, true);
  atomic_store(&p->delay_ms, 1);
  send_records("narrow", 0, 100, 20);
  wait_for(narrow, is_handled, 0, 95);
  commit_now(narrow);
  look_for("metadata_unwritable");
  assert_true(strand_mock_fail(cluster, "OffsetCommit",
                               "OFFSET_METADATA_TOO_LARGE", 1, &failure));
  send_records("narrow", 0, 100, 20);
  assert_true(serve_until(narrow, was_seen));
  assert_int_equal(
    wait_ticket(narrow, strand_consumer_commit(narrow->consumer, &failure),
                &failure),
    -1);
  assert_string_equal(failure.code, "METADATA_UNWRITABLE");
  assert_non_null(strstr(failure.message, "narrow/0"));
  look_for("metadata_writable");
  atomic_store(&p->fails_key_0, false);
  wait_for(narrow, is_handled, 0, 200);
  while (committed_of(narrow, 0) < 200) {
    wait_ticket(narrow, strand_consumer_commit(narrow->consumer, &failure),
                &failure);
    assert_true(strand_clock_now() < deadline);
  }
  assert_true(serve_until(narrow, was_seen));
  commit_now(narrow);
  end_stage(narrow);
}

static void a_ticket_that_is_dropped_is_freed (void **st) {
  strand_failure failure = { "", "" };
  strand_ticket *ticket = strand_consumer_commit(common->consumer, &failure);
  (void)st;
  strand_consumer_drop(ticket); /* before its answer, or after it */
  ticket = strand_consumer_seek(common->consumer, TOPIC, 99,
                                STRAND_SEEK_EARLIEST, 0, &failure);
  assert_null(ticket);
  assert_string_equal(failure.code, "NOT_ASSIGNED");
}

/*
** Commands
*/

static void a_paused_partition_starts_nothing_until_it_is_resumed (void **st) {
  strand_failure failure;
  play *p = &common->plays[7];
  (void)st;
  atomic_store(&p->gated, true);
  send_records(TOPIC, 7, 600, 10);
  wait_for(common, is_at_gate, 7, 10); /* a lease of each key */
  assert_true(
    strand_consumer_pause(common->consumer, TOPIC, 7, true, &failure));
  commit_now(common); /* the owner has read its inbox */
  open_gate(p);
  wait_for(common, is_handled, 7, 10);
  send_records(TOPIC, 8, 100, 10);
  wait_for(common, is_handled, 8, 100);
  assert_int_equal(atomic_load(&p->calls), 10);
  assert_true(
    strand_consumer_pause(common->consumer, NULL, -1, false, &failure));
  wait_for(common, is_handled, 7, 600);
  check_order(common, 7);
}

static void seek_9 (strand_seek_kind kind, int64_t value) {
  strand_failure failure = { "", "" };
  strand_ticket *ticket = strand_consumer_seek(common->consumer, TOPIC, 9,
                                               kind, value, &failure);
  assert_non_null(ticket);
  if (wait_ticket(common, ticket, &failure) != 1) {
    fail_msg("%s: %s", failure.code, failure.message);
  }
}

static void a_seek_goes_where_it_says_and_forgets_what_was_done (void **st) {
  play *p = &common->plays[9];
  (void)st;
  atomic_store(&common->any_order, true);
  send_records(TOPIC, 9, 100, 10);
  wait_for(common, is_handled, 9, 100);
  seek_9(STRAND_SEEK_OFFSET, 40);
  wait_for(common, is_handled, 9, 160);
  seek_9(STRAND_SEEK_EARLIEST, 0);
  wait_for(common, is_handled, 9, 260);
  seek_9(STRAND_SEEK_OFFSET, 0);
  seek_9(STRAND_SEEK_LATEST, 0);
  atomic_store(&p->calls, 0);
  send_records(TOPIC, 9, 1, 1);
  wait_for(common, is_called, 9, 1);
  commit_up_to(common, 9, 101);
  assert_int_equal(atomic_load(&p->overlaps), 0);
}

/* The old epoch's handler runs: its key waits, the others do not. */
static void a_handler_that_runs_on_after_a_seek_keeps_its_key (void **st) {
  play *p = &common->plays[10];
  (void)st;
  atomic_store(&p->gated, true);
  send_records(TOPIC, 10, 1, 1);
  wait_for(common, is_at_gate, 10, 1);
  atomic_store(&p->gated, false);
  send_records(TOPIC, 10, 40, 4);
  wait_for(common, is_handled, 10, 30); /* key 0 waits */
  for (int i = 0; i < 3; i++) {
    strand_failure failure;
    strand_ticket *t = strand_consumer_seek(common->consumer, TOPIC, 10,
                                            STRAND_SEEK_OFFSET, 0, &failure);
    assert_non_null(t);
    assert_int_equal(wait_ticket(common, t, &failure), 1);
  }
  wait_for(common, is_handled, 10, 60); /* 41 again but for 11 of key 0 */
  assert_int_equal(atomic_load(&p->at_gate), 1);
  assert_int_equal(atomic_load(&p->last[0]), -1);
  sem_post(&p->gate);
  wait_for(common, is_handled, 10, 72); /* the stale one, and its 11 */
  assert_int_equal(atomic_load(&p->overlaps), 0);
  atomic_store(&common->any_order, false); /* the last that seeks */
}

static void configure_workers (unsigned workers) {
  strand_failure failure = { "", "" };
  strand_limits limits = { .workers = workers,
                           .max_in_flight = workers,
                           .max_ready = workers * 64u,
                           .max_buffered_records = 1000,
                           .max_buffered_bytes = 1u << 20,
                           .max_waiting_records = 1000,
                           .max_waiting_bytes = 1u << 20,
                           .commit_interval_us = 20000,
                           .revoke_grace_us = 200000 };
  assert_true(strand_consumer_configure(common->consumer, &limits, &failure));
}

static unsigned workers_wanted;

static bool are_workers (fixture *s) {
  strand_stats stats;
  unsigned workers;
  assert_true(strand_consumer_stats(s->consumer, 0, &stats));
  workers = stats.workers;
  strand_stats_clear(&stats);
  return workers == workers_wanted;
}

static void workers_can_be_fewer_and_more (void **st) {
  static const unsigned counts[] = { 1, 8, 16 };
  int done = 0;
  (void)st;
  for (size_t i = 0; i < 3; i++) {
    configure_workers(counts[i]);
    workers_wanted = counts[i];
    assert_true(serve_until(common, are_workers));
    atomic_store(&common->plays[11].gated, true);
    send_records(TOPIC, 11, 40, 40);
    wait_for(common, is_at_gate, 11, (int)counts[i]);
    assert_int_equal(atomic_load(&common->plays[11].at_gate), counts[i]);
    open_gate(&common->plays[11]);
    done += 40;
    wait_for(common, is_handled, 11, done);
    while (sem_trywait(&common->plays[11].gate) == 0) {
    }
  }
  check_order(common, 11);
}

/* No gate here: workers come and go between two records of a key. */
static void workers_come_and_go_while_records_flow (void **st) {
  static const unsigned counts[] = { 1, 8, 2, 12, 16 };
  play *p = &common->plays[12];
  (void)st;
  atomic_store(&p->spins, 20000);
  send_records(TOPIC, 12, 6000, 40);
  for (size_t i = 0; i < 5; i++) {
    wait_for(common, is_handled, 12, (int)(i + 1) * 1000);
    configure_workers(counts[i]);
  }
  wait_for(common, is_handled, 12, 6000);
  workers_wanted = 16;
  assert_true(serve_until(common, are_workers));
  commit_up_to(common, 12, 6000);
  assert_int_equal(atomic_load(&p->calls), 6000);
  check_order(common, 12);
}

/* For the thread sanitizer: the owner takes what was asked while more is, and
** is woken for each. */
static void requests_are_made_while_the_owner_takes_them (void **st) {
  (void)st;
  for (int i = 0; i < 5000; i++) configure_workers(16);
  assert_true(serve_until(common, are_workers));
}

/*
** Health. Nobody waits for a minute here: the clock's marks are moved.
*/

#define MINUTE_US 60000000
#define LAZY_US 10000000 /* an owner turns once a second */

static bool says (fixture *s, const char *code) {
  strand_failure problem;
  strand_consumer_health(s->consumer, &problem);
  return strcmp(problem.code, code) == 0;
}

static bool is_well (fixture *s) {
  return says(s, "");
}

/* Handlers began and ended so long ago. */
static bool says_after (int64_t began_us, int64_t ended_us, const char *code) {
  int64_t now_us = strand_clock_coarse_us();
  atomic_store(&common->consumer->pool.began_us, now_us - began_us);
  atomic_store(&common->consumer->pool.ended_us, now_us - ended_us);
  return says(common, code);
}

static void a_minute_in_which_no_handler_ends_is_told (void **st) {
  const int64_t more = MINUTE_US + 1000000, less = MINUTE_US / 2;
  (void)st;
  assert_true(serve_until(common, is_well));
  assert_true(says_after(more, more, "")); /* nobody runs */
  atomic_store(&common->plays[13].gated, true);
  send_records(TOPIC, 13, 1, 1);
  wait_for(common, is_at_gate, 13, 1);
  assert_true(is_well(common));
  assert_true(says_after(more, less, ""));
  assert_true(says_after(less, more, ""));
  assert_true(says_after(more, more, "NOTHING_FINISHES"));
  open_gate(&common->plays[13]);
  assert_true(serve_until(common, is_well));
  wait_for(common, is_handled, 13, 1);
}

/* It may turn in between: then it is asked again. */
static bool is_stuck (fixture *s) {
  atomic_store(&s->consumer->members[0]->waker->turned_us,
               strand_clock_us() - LAZY_US - 1000000);
  return says(s, "STUCK_OWNER");
}

static void an_owner_that_does_not_turn_is_told (void **st) {
  (void)st;
  assert_true(serve_until(common, is_well));
  assert_true(serve_until(common, is_stuck));
  assert_true(serve_until(common, is_well));
}

static void a_report_is_exact_when_the_consumer_is_closed (void **st) {
  strand_report report;
  uint64_t done = 0, stale = 0;
  (void)st;
  assert_true(is_well(common));
  report = close_fixture(common, STRAND_CLOSE_FINISH, 30, NULL);
  for (int p = 0; p < PARTITIONS; p++) {
    uint64_t handled = (uint64_t)atomic_load(&common->plays[p].handled);
    if (p == 9 || p == 10) stale += handled; /* seeks cut some off */
    else done += handled;
  }
  assert_in_range(report.done, done, done + stale);
  assert_int_equal(report.unfinished_total, 0);
  assert_false(report.detached);
  for (size_t i = 0; i < report.committed_count; i++) {
    const strand_place *at = &report.committed[i];
    assert_int_equal(at->offset, committed_of(common, at->partition));
  }
  strand_report_clear(&report);
  free_stage(common);
}

/*
** The end
*/

static void a_handler_that_never_returns_does_not_hold_close_up (void **st) {
  play *p = &stuck->plays[0];
  strand_report report;
  double took;
  (void)st;
  assert_true(serve_until(stuck, is_joined));
  atomic_store(&p->gated, true);
  send_records("stuck", 0, 50, 1);
  records_wanted = 50;
  assert_true(serve_until(stuck, is_buffered));
  wait_for(stuck, is_at_gate, 0, 1);
  report = close_fixture(stuck, STRAND_CLOSE_FINISH, 0.5, &took);
  assert_true(report.detached);
  assert_int_equal(report.unfinished_total, 50);
  strand_report_clear(&report);
  report = close_fixture(stuck, STRAND_CLOSE_NOW, 30, &took); /* twice */
  assert_true(took < LATE && report.detached);
  strand_report_clear(&report);
  strand_consumer_discard(stuck->consumer, 5);
  assert_int_not_equal(sem_trywait(&stuck->released), 0);
  open_gate(p);
  while (sem_wait(&stuck->released) != 0) {
  }
  assert_int_equal(atomic_load(&p->calls), 1);
  assert_int_equal(atomic_load(&stuck->states), 0);
  free(stuck);
}

static void drain_handles_what_was_fetched_and_waits_for_no_retry (void **st) {
  play *p = &drained->plays[0];
  strand_report report;
  (void)st;
  assert_true(serve_until(drained, is_joined));
  atomic_store(&p->gated, true);
  atomic_store(&p->fails_key_0, true);
  atomic_store(&p->delay_ms, 0);
  send_records("drained", 0, 200, 20);
  records_wanted = 200;
  assert_true(serve_until(drained, is_buffered));
  strand_consumer_close_begin(drained->consumer, STRAND_CLOSE_DRAIN, 30);
  open_gate(p);
  report = close_fixture(drained, STRAND_CLOSE_DRAIN, 30, NULL);
  assert_int_equal(atomic_load(&p->handled), 190);
  assert_int_equal(report.done, 190);
  assert_int_equal(report.unfinished_total, 10);
  assert_false(report.detached);
  assert_int_equal(committed_of(drained, 0), 0);
  strand_report_clear(&report);
  free_stage(drained);
}

static bool is_ending (fixture *s) {
  strand_close_mode mode;
  strand_failure reason;
  return strand_consumer_ending(s->consumer, &mode, &reason);
}

static void a_handler_that_stops_the_consumer_is_not_called_again (void **st) {
  play *p = &stopped->plays[0];
  strand_report report;
  (void)st;
  assert_true(serve_until(stopped, is_joined));
  atomic_store(&p->stops, true);
  send_records("stopped", 0, 50, 1);
  assert_true(serve_until(stopped, is_ending));
  records_wanted = 50; /* time enough to call it again */
  assert_true(serve_until(stopped, is_buffered));
  report = close_fixture(stopped, STRAND_CLOSE_FINISH, 5, NULL);
  assert_int_equal(atomic_load(&p->calls), 1);
  assert_int_equal(report.unfinished_total, 50);
  strand_report_clear(&report);
  free_stage(stopped);
}

static bool is_readable (const fixture *s) {
  struct pollfd fd = { strand_consumer_fd(s->consumer), POLLIN, 0 };
  return poll(&fd, 1, 0) == 1;
}

/* Being started: its handlers are loaded. It has no broker. */
static fixture *load_stage (void) {
  strand_failure failure = { "", "" };
  wish w = { .servers = UNREACHABLE,
             .topic = TOPIC,
             .members = 1,
             .workers = 2,
             .interval = 1,
             .grace = 1 };
  fixture *s = new_stage(&w);
  assert_true(strand_consumer_start_begin(s->consumer, &failure));
  assert_true(strand_pool_wait(&s->consumer->pool, &failure));
  return s;
}

static void close_unjoined (fixture *s) {
  strand_report report = close_fixture(s, STRAND_CLOSE_FINISH, 1, NULL);
  strand_report_clear(&report);
}

/* They are loaded after the start was asked whether it is done, and before what
** is taken in between: then nobody is woken for it again. */
static void who_waits_for_the_start_is_woken_for_it (void **st) {
  strand_failure failure = { "", "" };
  fixture *s = load_stage();
  (void)st;
  assert_false(is_joined(s));
  assert_true(is_readable(s));
  assert_int_equal(strand_consumer_start_done(s->consumer, &failure), 1);
  assert_false(is_joined(s));
  assert_false(is_readable(s));
  close_unjoined(s);
  free_stage(s);
}

/* A close that came first is all there is to hear of. */
static void a_start_that_a_close_ends_wakes_nobody (void **st) {
  fixture *s = load_stage();
  (void)st;
  close_unjoined(s);
  assert_false(is_readable(s));
  free_stage(s);
}

static void without_a_broker_close_ends_in_time (void **st) {
  strand_failure failure;
  wish w = { .servers = UNREACHABLE,
             .topic = TOPIC,
             .members = 1,
             .workers = 1,
             .interval = 1,
             .grace = 1 };
  fixture *never = open_fixture(&w), *unstarted;
  rd_kafka_t *p = open_client(RD_KAFKA_PRODUCER, strand_mock_bootstrap(lonely),
                              NULL);
  strand_report report;
  double took;
  (void)st;
  assert_true(serve_until(cut_off, is_joined));
  atomic_store(&cut_off->plays[0].gated, true);
  send_with(p, TOPIC, 0, 1, 1);
  rd_kafka_destroy(p);
  wait_for(cut_off, is_at_gate, 0, 1);
  assert_true(strand_mock_set_up(lonely, 1, 0, &failure));
  open_gate(&cut_off->plays[0]);
  report = close_fixture(cut_off, STRAND_CLOSE_FINISH, 1, &took);
  print_message("figure close_broker_down_s %.2f detached %d\n", took,
                report.detached);
  assert_int_equal(report.done, 1); /* but nobody was told */
  assert_string_not_equal(report.failure.code, "");
  strand_report_clear(&report);
  took = strand_clock_now();
  free_stage(cut_off);
  print_message("figure free_broker_down_s %.2f\n", strand_clock_now() - took);
  report = close_fixture(never, STRAND_CLOSE_FINISH, 1, &took);
  print_message("figure close_never_connected_s %.2f detached %d\n", took,
                report.detached);
  strand_report_clear(&report);
  free_stage(never);
  unstarted = new_stage(&w);
  report = close_fixture(unstarted, STRAND_CLOSE_FINISH, 30, &took);
  assert_true(took < LATE);
  strand_report_clear(&report);
  free_stage(unstarted);
}

static void a_consumer_that_is_dropped_goes_by_itself (void **st) {
  double began;
  (void)st;
  assert_true(serve_until(dropped, is_joined));
  began = strand_clock_now();
  free_stage(dropped);
  assert_true(strand_clock_now() - began < 5 + LATE);
}

/*
** Idleness
*/

static double cpu_seconds (void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec
         + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* What the whole process uses in a second of nothing to do, in percent of a
** core; the mock cluster is in it. */
static double measure (fixture *s, const char *what) {
  double before = cpu_seconds(), until = strand_clock_now() + 1, percent;
  while (strand_clock_now() < until) wait_any(&s, 1, 1000);
  percent = (cpu_seconds() - before) * 100;
  print_message("figure idle_cpu_%s %.2f\n", what, percent);
  return percent;
}

/* A busy machine makes a second dearer now and then; who spins, each. */
static bool is_cheap (const char *what, double base) {
  for (int i = 0; i < 5; i++) {
    if (measure(idle, what) < base) return true;
  }
  return false;
}

static void what_waits_costs_nothing (void **st) {
  strand_failure failure;
  double base;
  play *p = &idle->plays[1];
  (void)st;
  assert_true(serve_until(idle, is_joined));
  wait_any(&idle, 1, 1);
  base = measure(idle, "nothing") + 3;
  atomic_store(&p->fails_key_0, true);
  atomic_store(&p->delay_ms, 60000);
  send_records("idle", 1, 1, 1);
  wait_for(idle, is_called, 1, 1);
  assert_true(is_cheap("in_back_off", base));
  assert_true(
    strand_consumer_pause(idle->consumer, "idle", 0, true, &failure));
  send_records("idle", 0, 100, 10);
  assert_true(is_cheap("paused_unread", base));
  atomic_store(&idle->plays[2].gated, true);
  send_records("idle", 2, 1, 1);
  wait_for(idle, is_at_gate, 2, 1);
  assert_true(is_cheap("in_a_handler", base));
  open_gate(&idle->plays[2]);
  end_stage(idle);
}

/*
** Rebalances
*/

static bool is_taken_over (fixture *s) {
  (void)s;
  return atomic_load(&shared_2->plays[0].calls)
           + atomic_load(&shared_2->plays[1].calls)
           + atomic_load(&shared_2->plays[2].calls)
           + atomic_load(&shared_2->plays[3].calls)
         > 0;
}

static int sum (const fixture *s, size_t field) {
  int total = 0;
  for (int p = 0; p < 4; p++) {
    total += atomic_load(
      (atomic_int *)(uintptr_t)((const char *)&s->plays[p] + field));
  }
  return total;
}

#define SUM(s, field) sum(s, offsetof(play, field))

static bool are_at_gate (fixture *s) {
  return SUM(s, at_gate) == 4;
}

/* Assignments that the members of both were given so far. */
static uint64_t assignments (void) {
  fixture *both[2] = { shared_1, shared_2 };
  uint64_t count = 0;
  for (int i = 0; i < 2; i++) {
    strand_stats stats;
    if (both[i] == NULL) continue;
    assert_true(strand_consumer_stats(both[i]->consumer, 0, &stats));
    count += stats.rebalances;
    strand_stats_clear(&stats);
  }
  return count;
}

static void wait_handled (fixture *const *both, int count) {
  double deadline = strand_clock_now() + PATIENCE;
  while (SUM(shared_1, handled) + SUM(shared_2, handled) < count) {
    assert_true(strand_clock_now() < deadline);
    wait_any(both, 2, 100);
  }
}

/* Two members here, and one more comes. Four handlers are at the gate when
** the partitions are revoked and longer than the grace: what was not started
** is the newcomer's, or comes back; no key of ours runs twice at once.
**
** The mock expels a member that is a second late in a rebalance, and makes
** another: then what was done and not committed is done twice, rightly. */
/* The mock refuses a member that comes for its partitions after the leader has
** brought them. The leader asks for the topics first: where answers take their
** time, it comes last. */
static void slow_mock (double seconds) {
  strand_failure failure;
  assert_true(
    strand_mock_set_rtt(cluster, STRAND_MOCK_ALL, seconds, &failure));
}

static void handlers_that_outlive_a_revoke_keep_their_keys (void **st) {
  fixture *both[2];
  double deadline;
  uint64_t before;
  wish w = { .topic = "pair",
             .members = 1,
             .workers = 4,
             .interval = 0.02,
             .grace = 0.2,
             .servers = strand_mock_bootstrap(cluster) };
  (void)st;
  assert_true(serve_until(shared_1, is_joined));
  atomic_store(&shared_1->any_order, true);
  for (int p = 0; p < 4; p++) {
    atomic_store(&shared_1->plays[p].gated, true);
    send_records("pair", p, 200, 20);
  }
  assert_true(serve_until(shared_1, are_at_gate));
  before = assignments();
  w.group = shared_1->group;
  slow_mock(0.1);
  both[0] = shared_1;
  both[1] = shared_2 = open_fixture(&w);
  atomic_store(&shared_2->any_order, true);
  deadline = strand_clock_now() + PATIENCE;
  while (!is_taken_over(shared_2)) {
    assert_true(strand_clock_now() < deadline);
    wait_any(both, 2, 100);
  }
  slow_mock(0);
  assert_int_equal(SUM(shared_1, at_gate), 4);
  for (int p = 0; p < 4; p++) open_gate(&shared_1->plays[p]);
  wait_handled(both, 800);
  commit_now(shared_1);
  commit_now(shared_2);
  assert_int_equal(SUM(shared_1, overlaps), 0);
  assert_int_equal(SUM(shared_2, overlaps), 0);
  if (assignments() > before + 3) {
    print_message("figure more_rebalances %d\n",
                  (int)(assignments() - before - 3));
    return;
  }
  /* at most the four that were cut off were done twice */
  assert_true(SUM(shared_1, handled) + SUM(shared_2, handled) <= 804);
}

static void close_ends_in_time_in_the_middle_of_a_rebalance (void **st) {
  strand_report report;
  double took;
  (void)st;
  for (int p = 0; p < 4; p++) {
    atomic_store(&shared_2->plays[p].gated, true);
    send_records("pair", p, 20, 20);
  }
  while (SUM(shared_2, at_gate) < 1) wait_any(&shared_2, 1, 100);
  end_stage(shared_1); /* its leaving is the rebalance */
  look_for("revoked");
  assert_true(serve_until(shared_2, was_seen));
  report = close_fixture(shared_2, STRAND_CLOSE_FINISH, 1, &took);
  print_message("figure close_in_rebalance_s %.2f detached %d\n", took,
                report.detached);
  strand_report_clear(&report);
  for (int p = 0; p < 4; p++) open_gate(&shared_2->plays[p]);
  free_stage(shared_2);
}

/* What the other member's handlers have is not known before it gives the
** partition up, and then it is orphaned. */
static void a_partition_waits_for_the_member_that_had_it (void **st) {
  strand_orphan orphan = { .kind = STRAND_SHARD_KEY,
                           .topic = "heir",
                           .index = 0,
                           .key = "\0",
                           .key_length = 1 };
  strand_inboxes *in = &next_owner->consumer->inboxes;
  (void)st;
  assert_true(serve_until(next_owner, is_joined));
  send_records("heir", 0, 40, 4);
  send_records("heir", 1, 40, 4);
  wait_for(next_owner, is_handled, 1, 40);
  assert_int_equal(atomic_load(&next_owner->plays[0].calls), 0);
  assert_int_equal(strand_inboxes_add_orphan(in, &orphan), STRAND_OK);
  strand_inboxes_hand_off(in, 7, "heir", 0);
  wait_for(next_owner, is_handled, 0, 30);
  assert_int_equal(atomic_load(&next_owner->plays[0].last[0]), -1);
  strand_inboxes_release(in, &orphan);
  wait_for(next_owner, is_handled, 0, 40);
  check_order(next_owner, 0);
  end_stage(next_owner);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_record_is_handled_once_in_the_order_of_its_key),
    cmocka_unit_test(a_failed_record_is_tried_again_before_those_of_its_key),
    cmocka_unit_test(a_record_that_fails_for_ever_blocks_its_key_alone),
    cmocka_unit_test(a_commit_that_fails_never_takes_the_offset_back),
    cmocka_unit_test(metadata_that_is_refused_is_told_and_learnt),
    cmocka_unit_test(a_ticket_that_is_dropped_is_freed),
    cmocka_unit_test(a_paused_partition_starts_nothing_until_it_is_resumed),
    cmocka_unit_test(a_seek_goes_where_it_says_and_forgets_what_was_done),
    cmocka_unit_test(a_handler_that_runs_on_after_a_seek_keeps_its_key),
    cmocka_unit_test(workers_can_be_fewer_and_more),
    cmocka_unit_test(workers_come_and_go_while_records_flow),
    cmocka_unit_test(requests_are_made_while_the_owner_takes_them),
    cmocka_unit_test(a_minute_in_which_no_handler_ends_is_told),
    cmocka_unit_test(an_owner_that_does_not_turn_is_told),
    cmocka_unit_test(a_report_is_exact_when_the_consumer_is_closed),
    cmocka_unit_test(a_handler_that_never_returns_does_not_hold_close_up),
    cmocka_unit_test(drain_handles_what_was_fetched_and_waits_for_no_retry),
    cmocka_unit_test(a_handler_that_stops_the_consumer_is_not_called_again),
    cmocka_unit_test(a_consumer_that_is_dropped_goes_by_itself),
    cmocka_unit_test(who_waits_for_the_start_is_woken_for_it),
    cmocka_unit_test(a_start_that_a_close_ends_wakes_nobody),
    cmocka_unit_test(without_a_broker_close_ends_in_time),
    cmocka_unit_test(what_waits_costs_nothing),
    cmocka_unit_test(handlers_that_outlive_a_revoke_keep_their_keys),
    cmocka_unit_test(close_ends_in_time_in_the_middle_of_a_rebalance),
    cmocka_unit_test(a_partition_waits_for_the_member_that_had_it)
  };
  cmocka_set_test_filter(getenv("STRAND_TEST")); /* one of them, or all */
  return cmocka_run_group_tests(tests, open_all, close_all);
}
