/*
** kafka_sweep.c - a consumer on the mock cluster, and each allocation, thread
** and descriptor that it does not get
**
** A call that says NO_MEMORY, NO_THREAD or NO_DESCRIPTORS, whichever it was,
** left nothing behind, and may be made again; what
** the owner's thread could not get is tried again by itself. Whatever failed,
** all records are handled, committed, and the close ends in time.
*/
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdbool.h>
#include <time.h>

static _Thread_local bool spared; /* a question of the test's own */
#define SWEEP_OUR_MALLOC (!spared && sweep_fails())
#include "../support/sweep.h"
#include "../support/start.h"

#include "base/clock.h"
#include "consumer/consumer.h"
#include "kafka/mock.h"
#include "shared/mailbox.h"

#include <librdkafka/rdkafka.h>

#define PARTITIONS 2
#define RECORDS 20 /* of each partition */
#define PATIENCE 30.0
#define PARKED 3 /* the offset that is, once, of each partition */
#define HELD 3   /* records that it holds back, of its key, with itself */
#define POLICY                                                                \
  { 1000, 60000000, 2, 0.5, 0, STRAND_OUTCOME_PARK }

static struct {
  char group[16]; /* of the attempt: the mock is slow to forget a member */
  strand_mock *mock;
  const char *servers;
  sem_t released;
  bool batches;
} world;

/* ---- handlers ------------------------------------------------------------ */

static void handle (const strand_record *r, strand_outcome *v) {
  if (r->attempt == 1 && r->offset % 5 == 0) {
    v->kind = STRAND_OUTCOME_FAILED;
    v->delay_us = 1000;
    return;
  }
  if (r->offset % 7 == 0) v->kind = STRAND_OUTCOME_DEAD_LETTER;
  else if (r->offset == PARKED && r->attempt == 1) {
    v->kind = STRAND_OUTCOME_PARK;
  }
}

static void handle_task (strand_task *task) {
  strand_records *many = task->many;
  if (many == NULL) handle(task->record, &task->outcome);
  for (uint32_t i = 0; many != NULL && i < many->count; i++) {
    handle(many->records[i], &many->outcomes[i]);
  }
}

static void serve_records (void *state, strand_task *task,
                           bool (*next)(void *arg), void *arg) {
  (void)state;
  do handle_task(task);
  while (!task->outcome.broken && next(arg));
}

static void *open_state (void *config, strand_consumer *consumer,
                         strand_worker_slot *worker_slot, strand_failure *f) {
  (void)consumer;
  (void)worker_slot;
  (void)f;
  return config;
}

static void close_state (void *state) {
  (void)state;
}

static void release (void *config) {
  (void)config;
  sem_post(&world.released);
}

static void wait_released (void) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 20;
  while (sem_timedwait(&world.released, &until) != 0) {
    sweep_must(errno == EINTR);
  }
}

/* ---- the world ----------------------------------------------------------- */

static void set (rd_kafka_conf_t *conf, const char *name, const char *value) {
  char error[256];
  sweep_must(rd_kafka_conf_set(conf, name, value, error, sizeof(error)) == 0);
}

static rd_kafka_t *client (rd_kafka_type_t kind) {
  char error[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *rk;
  set(conf, "bootstrap.servers", world.servers);
  if (kind == RD_KAFKA_CONSUMER) set(conf, "group.id", world.group);
  else set(conf, "linger.ms", "0");
  rk = rd_kafka_new(kind, conf, error, sizeof(error));
  sweep_must(rk != NULL);
  return rk;
}

static void fill (void) {
  rd_kafka_t *rk = client(RD_KAFKA_PRODUCER);
  for (int i = 0; i < PARTITIONS * RECORDS; i++) {
    char key[32];
    int length = snprintf(key, sizeof(key), "a key that is long: %d", i % 7);
    sweep_must(rd_kafka_producev(
                 rk, RD_KAFKA_V_TOPIC("t"),
                 RD_KAFKA_V_PARTITION(i % PARTITIONS),
                 RD_KAFKA_V_KEY(key, (size_t)length), RD_KAFKA_V_VALUE("v", 1),
                 RD_KAFKA_V_HEADER("order", key, length),
                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)
               == 0);
  }
  sweep_must(rd_kafka_flush(rk, 20000) == 0);
  rd_kafka_destroy(rk);
}

static void open_world (void) {
  strand_failure failure;
  sem_init(&world.released, 0, 0);
  world.mock = strand_mock_open(1, NULL, &failure);
  sweep_must(world.mock != NULL);
  world.servers = strand_mock_bootstrap(world.mock);
  sweep_must(strand_mock_create_topic(world.mock, "t", PARTITIONS, &failure));
  sweep_must(strand_mock_create_topic(world.mock, "dead", 2, &failure));
  fill();
}

static void check_committed (void) {
  rd_kafka_t *rk = client(RD_KAFKA_CONSUMER);
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  for (int i = 0; i < PARTITIONS; i++) {
    rd_kafka_topic_partition_list_add(list, "t", i);
  }
  sweep_must(rd_kafka_committed(rk, list, 20000) == 0);
  for (int i = 0; i < PARTITIONS; i++) {
    if (list->elems[i].offset != RECORDS) {
      fprintf(stderr, "partition %d: committed %d\n", i,
              (int)list->elems[i].offset);
    }
    sweep_must(list->elems[i].offset == RECORDS);
  }
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_destroy(rk);
}

/* ---- the scenario -------------------------------------------------------- */

/* The code says what is lacking, and a lack of something else is not blamed. */
static void must_be_known (const strand_failure *failure) {
  const char *code = atomic_load(&sweep_code);
  if (code != NULL && strcmp(failure->code, code) == 0) return;
  fprintf(stderr, "code '%s': %s\n", failure->code, failure->message);
  _exit(1);
}

/* librdkafka now and then leaves a seek without an answer, for 5 s. strand
** goes on trying by itself. */
static bool is_late (const strand_failure *failure) {
  return strcmp(failure->code, "TIMED_OUT") == 0;
}

/* It is not parked yet, or not any more. */
static bool is_early (const strand_failure *failure) {
  return strcmp(failure->code, "NOT_ASSIGNED") == 0
         || strcmp(failure->code, "NOT_PARKED") == 0;
}

static const strand_limits limits = { .workers = 2,
                                      .max_in_flight = 2,
                                      .max_ready = 64,
                                      .max_buffered_records = 1000,
                                      .max_buffered_bytes = 1u << 20,
                                      .max_waiting_records = 1000,
                                      .max_waiting_bytes = 1u << 20,
                                      .commit_interval_us = 100000,
                                      .revoke_grace_us = 1000000 };

static strand_consumer *try_open (void) {
  const char *topic = "t";
  strand_property props[] = {
    { "bootstrap.servers", world.servers },
    { "group.id", world.group },
    { "fetch.wait.max.ms", "10" },
    { "session.timeout.ms", "6000" } /* until the mock forgets a member */
  };
  strand_property dead_letters[] = { { "bootstrap.servers", world.servers } };
  strand_route routes[] = { { .topic = "^t",
                              .limits = { .policy = POLICY,
                                          .batch_size = 5,
                                          .max_in_flight = 1,
                                          .by = world.batches
                                                  ? STRAND_BATCH_PARTITION
                                                  : STRAND_BATCH_NONE } },
                            { .limits.policy = POLICY, .own_retry = true } };
  strand_consumer_config c = { .kafka = props,
                               .kafka_count = sizeof(props) / sizeof(props[0]),
                               .topics = &topic,
                               .topic_count = 1,
                               .members = 1,
                               .ordering = STRAND_BY_KEY,
                               .ordering_header = "order",
                               .max_metadata = 4096,
                               .dead_letters = { .topic = "dead",
                                                 .kafka = dead_letters,
                                                 .kafka_count = 1,
                                                 .same_partition = true,
                                                 .max_reason = 100 },
                               .limits = limits,
                               .routes = routes,
                               .route_count = 2,
                               .handler = { .config = &world,
                                            .open = open_state,
                                            .serve = serve_records,
                                            .close = close_state,
                                            .release = release } };
  strand_failure failure = { "", "" };
  strand_consumer *k = strand_consumer_open(&c, &failure);
  if (k == NULL) {
    must_be_known(&failure);
    wait_released();
  }
  return k;
}

static void drop (strand_consumer *k) {
  strand_consumer_discard(k, 5);
  wait_released();
}

/* Started, at the second attempt at the latest. */
static strand_consumer *open_consumer (void) {
  for (int attempt = 0; attempt < 2; attempt++) {
    strand_failure failure = { "", "" };
    strand_consumer *k = try_open();
    if (k == NULL) continue;
    if (start_consumer(k, &failure)) return k;
    must_be_known(&failure);
    drop(k);
  }
  return NULL;
}

static void serve (strand_consumer *k) {
  struct pollfd fd = { strand_consumer_fd(k), POLLIN, 0 };
  strand_event event;
  poll(&fd, 1, 20);
  while (strand_consumer_next_event(k, &event)) {
    /* nothing is wrong with it */
    sweep_must(strcmp(event.type, "metadata_unreadable") != 0);
    strand_event_clear(&event);
  }
}

/* True when it was carried out. */
static bool answer (strand_consumer *k, strand_ticket *ticket) {
  double deadline = strand_clock_now() + PATIENCE;
  strand_failure failure = { "", "" };
  int done;
  while ((done = strand_ticket_done(ticket, &failure)) == 0) {
    sweep_must(strand_clock_now() < deadline);
    serve(k);
  }
  strand_consumer_drop(ticket);
  if (done < 0 && !is_late(&failure) && !is_early(&failure)) {
    must_be_known(&failure);
  }
  return done > 0;
}

static void commit (strand_consumer *k) {
  strand_failure failure = { "", "" };
  strand_ticket *ticket = strand_consumer_commit(k, &failure);
  if (ticket == NULL) must_be_known(&failure);
  else answer(k, ticket);
}

/* True when the records of partition 0 come once more: one that failed has
** moved nothing. */
static bool seek (strand_consumer *k) {
  strand_failure failure = { "", "" };
  strand_ticket *ticket = strand_consumer_seek(k, "t", 0, STRAND_SEEK_OFFSET,
                                               0, &failure);
  if (ticket != NULL) return answer(k, ticket);
  must_be_known(&failure);
  return false;
}

static unsigned workers_of (strand_consumer *k) {
  strand_stats stats = { .partitions = NULL };
  unsigned workers;
  spared = true;
  if (!strand_consumer_stats(k, 0, &stats)) sweep_must(false);
  spared = false;
  workers = stats.workers;
  strand_stats_clear(&stats);
  return workers;
}

/* All of it, or nothing: what it says is what there is. */
static void raise_workers (strand_consumer *k) {
  strand_failure failure = { "", "" };
  strand_limits more = limits;
  double deadline = strand_clock_now() + PATIENCE;
  more.workers += 3;
  if (!strand_consumer_configure(k, &more, &failure)) {
    must_be_known(&failure);
    more.workers = limits.workers;
  }
  while (workers_of(k) != more.workers) {
    sweep_must(strand_clock_now() < deadline);
    serve(k);
  }
}

static void pause_and_resume (strand_consumer *k) {
  strand_failure failure = { "", "" };
  for (int paused = 1; paused >= 0; paused--) {
    if (!strand_consumer_pause(k, "t", 0, paused, &failure)) {
      must_be_known(&failure);
      sweep_must(atomic_load(&sweep_lasts)
                 || strand_consumer_pause(k, "t", 0, paused, &failure));
    }
  }
}

static void ask (strand_consumer *k) {
  strand_stats stats = { .partitions = NULL };
  strand_report report = { .unfinished = NULL };
  strand_failure problem;
  if (strand_consumer_stats(k, 10, &stats)) strand_stats_clear(&stats);
  if (strand_consumer_report(k, &report)) strand_report_clear(&report);
  strand_consumer_health(k, &problem);
}

static void close_in (strand_consumer *k, double timeout) {
  double began = strand_clock_now();
  strand_consumer_close_begin(k, STRAND_CLOSE_FINISH, timeout);
  while (!strand_consumer_close_step(k)) {
    sweep_must(strand_clock_now() - began < timeout + 2);
    serve(k);
  }
  ask(k);
}

/* As a program does that lists what is parked, and has it tried again. */
static void resolve_parked (strand_consumer *k) {
  strand_failure failure = { "", "" };
  strand_ticket *ticket = strand_consumer_parked(k, 0, "", 0, 0, &failure);
  if (ticket == NULL) must_be_known(&failure);
  else answer(k, ticket);
  for (int i = 0; i < PARTITIONS; i++) {
    ticket = strand_consumer_resolve(k, "t", i, PARKED, STRAND_RESOLVE_RETRY,
                                     &failure);
    if (ticket != NULL) answer(k, ticket);
    else if (!is_early(&failure)) must_be_known(&failure);
  }
}

/* So many records are done, and all that was read is, up to the end. */
static bool is_settled (strand_consumer *k, uint64_t count, size_t *parked) {
  strand_stats stats = { .partitions = NULL };
  size_t settled = 0;
  uint64_t done;
  bool known;
  spared = true;
  known = strand_consumer_stats(k, 10, &stats);
  spared = false;
  *parked = known ? stats.engine.parked : 0;
  done = known ? stats.engine.done + stats.engine.dead_lettered : 0;
  if (!known) return false;
  for (size_t i = 0; i < stats.partition_count; i++) {
    const strand_partition_stats *p = &stats.partitions[i].stats;
    if (p->position == RECORDS && p->open == 0) settled++;
  }
  strand_stats_clear(&stats);
  return settled == PARTITIONS && done >= count;
}

/* False: an owner without memory for what it must not forget (an assignment,
** an orphaned shard) asked for the end. */
static bool all_is_handled (strand_consumer *k, uint64_t count) {
  double deadline = strand_clock_now() + PATIENCE;
  strand_close_mode mode;
  strand_failure reason;
  size_t parked;
  while (!is_settled(k, count, &parked)) {
    sweep_must(strand_clock_now() < deadline);
    serve(k);
    if (parked > 0) resolve_parked(k);
    if (!strand_consumer_ending(k, &mode, &reason)) continue;
    must_be_known(&reason);
    return false;
  }
  ask(k);
  return true;
}

static bool all_is_asked (strand_consumer *k) {
  raise_workers(k);
  pause_and_resume(k);
  commit(k);
  return !seek(k) || all_is_handled(k, PARTITIONS * RECORDS + RECORDS);
}

static void one_of (bool batches, long n) {
  strand_consumer *k;
  bool complete = false;
  world.batches = batches;
  open_world();
  sweep_arm(n, false);
  for (int attempt = 0; attempt < 2 && !complete; attempt++) {
    snprintf(world.group, sizeof(world.group), "g%d", attempt);
    k = open_consumer();
    sweep_must(k != NULL);
    complete = all_is_handled(k, PARTITIONS * RECORDS) && all_is_asked(k);
    close_in(k, 10);
    drop(k);
  }
  sweep_must(complete);
  sweep_disarm();
  check_committed();
  strand_mock_close(world.mock);
}

static void one_fails (long n) {
  one_of(false, n);
}

static void one_with_batches (long n) {
  one_of(true, n);
}

static uint64_t handled_by (strand_consumer *k, size_t *parked) {
  strand_stats stats = { .partitions = NULL };
  uint64_t done;
  spared = true;
  sweep_must(strand_consumer_stats(k, 0, &stats));
  spared = false;
  done = stats.engine.done + stats.engine.dead_lettered;
  *parked = stats.engine.parked;
  strand_stats_clear(&stats);
  return done;
}

/* All is done but what is parked, and what it holds back: the commits have
** metadata. */
static void leave_parked (void) {
  strand_consumer *k = open_consumer();
  double deadline = strand_clock_now() + PATIENCE;
  size_t parked = 0;
  sweep_must(k != NULL);
  while (handled_by(k, &parked) < PARTITIONS * (RECORDS - HELD)
         || parked < PARTITIONS) {
    sweep_must(strand_clock_now() < deadline);
    serve(k);
  }
  close_in(k, 10);
  drop(k);
}

/* What is done is found again, and not done once more. */
static void one_of_a_restart (long n) {
  bool complete = false;
  size_t parked;
  world.batches = false;
  snprintf(world.group, sizeof(world.group), "g");
  open_world();
  leave_parked();
  sweep_arm(n, false);
  for (int attempt = 0; attempt < 2 && !complete; attempt++) {
    strand_consumer *k = open_consumer();
    sweep_must(k != NULL);
    complete = all_is_handled(k, PARTITIONS * HELD);
    sweep_must(handled_by(k, &parked) <= PARTITIONS * HELD);
    close_in(k, 10);
    drop(k);
  }
  sweep_must(complete);
  sweep_disarm();
  check_committed();
  strand_mock_close(world.mock);
}

/* All may stand still, but the close ends; with memory again, what it left in
** the background ends too. */
static void all_fail (long n) {
  strand_consumer *k;
  double until = strand_clock_now() + 6; /* past the join */
  snprintf(world.group, sizeof(world.group), "g");
  open_world();
  sweep_arm(n, true);
  k = open_consumer();
  while (k != NULL && strand_clock_now() < until
         && !atomic_load(&sweep_failed)) {
    serve(k);
  }
  if (k != NULL) {
    ask(k);
    pause_and_resume(k);
    commit(k);
    close_in(k, 1);
  }
  sweep_disarm();
  if (k != NULL) drop(k);
  strand_mock_close(world.mock);
}

int main (int argc, char **argv) {
  const sweep_plan plans[] = {
    { "one of a consumer", one_fails, 1, 1 },
    { "one of a consumer with batches", one_with_batches, 2, 1 },
    { "one of a consumer that is back", one_of_a_restart, 1, 1 },
    { "all from one on, of a consumer", all_fail, 3, 1 },
  };
  return sweep_all(plans, sizeof(plans) / sizeof(plans[0]),
                   argc > 1 ? argv[1] : NULL);
}
