/*
** kafka_transactor_test.c - exactly once: which calls a transaction is made of,
** and what follows when one of them fails
**
** The test is librdkafka and the clock: each call is noted, and answered by a
** script. The transactor's thread is not started.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "member/transactor_own.h"

#define SCRIPT_MAX 16
#define OUT_MAX 64
#define TIMEOUT_US 10000000

typedef struct line {
  const char *call;
  int times;
  strand_transaction_answer answer;
} line;

static struct {
  char calls[2000];
  line script[SCRIPT_MAX];
  int lines;
  strand_output *out[OUT_MAX]; /* sent, and not reported */
  int out_count;
  const rd_kafka_consumer_group_metadata_t *group; /* of the close */
  int64_t committed;
  strand_closed *revoked; /* loses its partition while that is asked for */
  int64_t now_us;
  int64_t slow_us; /* what each call takes */
  bool silent;     /* nothing is reported */
  bool refuses;    /* topic "x": no partition of it may be added */
  bool flies;      /* what is out comes back into the queue, after a purge */
} there;

static void note (const char *call) {
  if (there.calls[0] != '\0') strcat(there.calls, " ");
  strcat(there.calls, call);
}

/* Each of the next 'times' calls of that name is answered so. */
static void script (const char *call, int times, rd_kafka_resp_err_t err,
                    char word) {
  there.script[there.lines++] = (line){ call,
                                        times,
                                        { .err = err,
                                          .is_fatal = word == 'f',
                                          .is_abortable = word == 'a',
                                          .is_retriable = word == 'r' } };
}

static strand_transaction_answer answer_of (const char *call) {
  for (int i = 0; i < there.lines; i++) {
    line *l = &there.script[i];
    if (l->times == 0 || strcmp(l->call, call) != 0) continue;
    l->times--;
    return l->answer;
  }
  return (strand_transaction_answer){ 0 };
}

static void calls_are (const char *calls) {
  assert_string_equal(there.calls, calls);
  there.calls[0] = '\0';
}

/*
** The client
*/

static bool open_client (strand_transactor_client *c, long batch_size) {
  note("open");
  c->handle = (rd_kafka_t *)&there;
  c->queue = (rd_kafka_queue_t *)&there;
  c->batch_size = batch_size;
  return true;
}

static rd_kafka_t *let_go (strand_transactor_client *c) {
  rd_kafka_t *handle = c->handle;
  c->handle = NULL;
  c->queue = NULL;
  there.out_count = 0;
  return handle;
}

static rd_kafka_resp_err_t send_output (strand_output *output) {
  strand_transaction_answer a = answer_of("send");
  note("send");
  if (a.err == 0) there.out[there.out_count++] = output;
  return a.err;
}

/* What it has fails the transaction, and no output is reported. */
static bool has_refused (void) {
  for (int i = 0; there.refuses && i < there.out_count; i++)
    if (strcmp(strand_output_topic(there.out[i]), "x") == 0) return true;
  return false;
}

static void purge (void) {
  if (there.flies) there.silent = true;
  else there.out_count = 0;
  there.flies = false;
}

/* The oldest is reported. */
static bool serve_client (strand_transactor_client *c, int ms) {
  strand_transaction_answer a;
  strand_output *output = there.out[0];
  if (there.out_count == 0 || there.silent || has_refused() || ms == 0) {
    there.now_us += (int64_t)ms * 1000;
    return false;
  }
  memmove(&there.out[0], &there.out[1],
          (size_t)--there.out_count * sizeof(there.out[0]));
  a = answer_of("report");
  if (a.err == 0) return true;
  c->failed = true;
  output->of->refused = output;
  output->of->err = a.err;
  return true;
}

static void make_call (strand_transaction_call which, int ms,
                       strand_transaction_answer *answer) {
  static const char *const names[] = { "none", "init", "begin", "commit",
                                       "abort" };
  note(names[which]);
  there.now_us += there.slow_us;
  *answer = answer_of(names[which]);
  if (which == STRAND_TRANSACTION_CALL_BEGIN && answer->err == 0
      && has_refused())
    *answer = (strand_transaction_answer){
      .err = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, .is_abortable = true
    };
  if (answer->err == RD_KAFKA_RESP_ERR__TIMED_OUT)
    there.now_us += (int64_t)ms * 1000;
}

static void offsets_call (const rd_kafka_topic_partition_list_t *offsets,
                          const rd_kafka_consumer_group_metadata_t *group,
                          strand_transaction_answer *answer) {
  note("offsets");
  assert_int_equal(offsets->cnt, 1);
  assert_ptr_equal(group, there.group);
  assert_int_equal(there.out_count, 0);
  *answer = answer_of("offsets");
}

static rd_kafka_resp_err_t
committed_call (rd_kafka_topic_partition_list_t *list) {
  note("committed");
  if (there.revoked != NULL) strand_closed_lose(there.revoked, "t", 0);
  for (int i = 0; i < list->cnt; i++) list->elems[i].offset = there.committed;
  return answer_of("committed").err;
}

#define strand_clock_us() there.now_us
#define strand_waker_sleep(w, until) (there.now_us = (until))
#define strand_waker_wake(w) (void)(w)
#define strand_transactor_client_open(c, size, failure)                       \
  ((void)(failure), open_client(c, size))
#define strand_transactor_client_let_go(c) let_go(c)
#define strand_transactor_client_serve(c, ms) serve_client(c, ms)
#define strand_outgoing_produce(client, record, headers, output)              \
  ((void)(t), (void)(record), (void)(headers), send_output(output))
#define strand_transaction_make(client, which, ms, answer)                    \
  ((void)(t), make_call(which, ms, answer))
#define strand_transaction_send_offsets(client, offsets, group, ms, answer)   \
  offsets_call(offsets, group, answer)
#define rd_kafka_committed(client, list, ms)                                  \
  ((void)(client), committed_call(list))
#define rd_kafka_consumer_group_metadata(client)                              \
  ((const rd_kafka_consumer_group_metadata_t *)&there)
#define rd_kafka_outq_len(client) ((void)(client), there.out_count)
#define rd_kafka_purge(client, how) ((void)t, purge())
#define rd_kafka_clusterid(client, ms) strdup("c")
#define rd_kafka_mem_free(client, p) free(p)
#define rd_kafka_destroy(client) note("destroy")

#include "member/closed.c"
#include "member/refused_topic.c"
#include "member/transactor.c"

/*
** Transactions
*/

typedef struct fixture {
  strand_consumer consumer;
  strand_owner owner;
  strand_transactor t;
  strand_closed *c;
} fixture;

static void open_fixture (fixture *s) {
  memset(s, 0, sizeof(*s));
  memset(&there, 0, sizeof(there));
  there.now_us = 1;
  s->owner.consumer = &s->consumer;
  s->owner.client = (rd_kafka_t *)s;
  strand_lock_init(&s->t.lock, STRAND_RANK_LEAF);
  s->t.owner = &s->owner;
  s->t.client.timeout_us = TIMEOUT_US;
  s->t.wait_us = RENEW_FIRST_US;
}

static void end_transaction (fixture *s) {
  if (s->c == NULL) return;
  for (size_t i = 0; i < s->c->count; i++) strand_staged_free(s->c->staged[i]);
  strand_closed_free(s->c);
  s->c = NULL;
  s->t.answered = NULL;
}

static void close_fixture (fixture *s) {
  end_transaction(s);
  strand_lock_free(&s->t.lock);
}

/* Another is closed: a record with so many outputs. */
static void close_one (fixture *s, int outputs) {
  rd_kafka_topic_partition_list_t *offsets;
  strand_staged *staged = NULL;
  end_transaction(s);
  for (int i = 0; i < outputs; i++) {
    strand_output *o = strand_staged_add(
      &staged, &s->consumer.staging,
      &(strand_output){ .topic_length = 3, .partition = -1 });
    memcpy(o->bytes, "out", 4);
  }
  s->c = strand_closed_new(1);
  offsets = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(offsets, "t", 0)->offset = 7;
  strand_closed_fill(s->c, offsets);
  s->c->group = rd_kafka_consumer_group_metadata_new("g");
  there.group = s->c->group;
  if (staged != NULL) s->c->staged[s->c->count++] = staged;
}

/* It is made, all of it. */
static strand_closed_end makes (fixture *s) {
  s->t.asked = s->c;
  make(&s->t, s->c);
  strand_transactor_check(&s->t);
  assert_ptr_equal(s->t.answered, s->c);
  assert_int_equal(there.out_count, 0);
  return s->c->end;
}

/* There is a client with an id. */
static void open_ready (fixture *s) {
  open_fixture(s);
  assert_true(strand_transactor_make_ready(&s->t, 0));
  calls_are("open init");
}

/* {=== as it goes ========================================================== */

static void offsets_follow_what_is_acknowledged (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 3);
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("begin send send send offsets commit");
  close_one(&s, 0);
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("begin offsets commit");
  close_fixture(&s);
}

/* The group's metadata is of the close, whatever has changed since: that is
** what fences who has lost a partition. */
static void a_call_that_is_made_again_is_the_same (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 1);
  script("offsets", 2, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 'r');
  script("commit", 2, RD_KAFKA_RESP_ERR__TIMED_OUT, 'r');
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("begin send offsets offsets offsets commit commit commit");
  close_fixture(&s);
}

static void what_is_given_up_sends_no_offsets (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 1);
  atomic_store(&s.c->abandoned, true);
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send begin abort destroy"); /* the second asks why */
  assert_string_equal(s.c->answer.reason, "its partitions were lost");
  close_fixture(&s);
}

/* }======================================================================== */

/* {=== an end that is not known ============================================ */

/* Only a new client's id ends what the old one may have asked for. */
static void it_is_looked_for_behind_a_new_client (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 1);
  script("commit", 10, RD_KAFKA_RESP_ERR__TIMED_OUT, 'r');
  there.committed = 42;
  assert_int_equal(makes(&s), STRAND_CLOSED_RENEWED);
  assert_non_null(strstr(there.calls, "commit destroy open init committed"));
  assert_null(strstr(there.calls, "abort"));
  assert_int_equal(s.c->committed->cnt, 1);
  assert_int_equal(s.c->committed->elems[0].offset, 42);
  there.calls[0] = '\0';
  close_one(&s, 1);
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("begin send offsets commit");
  close_fixture(&s);
}

/* A client that is lost in the commit has asked for it, too. */
static void a_lost_client_may_have_committed (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 1);
  script("commit", 1, RD_KAFKA_RESP_ERR__FENCED, 'f');
  assert_int_equal(makes(&s), STRAND_CLOSED_RENEWED);
  calls_are("begin send offsets commit destroy open init committed");
  close_fixture(&s);
}

/* Nor does an error prove that it was not taken. */
static void a_commit_that_is_refused_is_looked_for (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 0);
  script("commit", 1, RD_KAFKA_RESP_ERR__INCONSISTENT, 'a');
  assert_int_equal(makes(&s), STRAND_CLOSED_RENEWED);
  calls_are("begin offsets commit destroy open init committed");
  close_fixture(&s);
}

static void it_is_asked_for_until_it_is_stable (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 0);
  script("commit", 1, RD_KAFKA_RESP_ERR__FATAL, 'f');
  script("init", 1, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 'r');
  script("committed", 2, RD_KAFKA_RESP_ERR__TIMED_OUT, ' ');
  assert_int_equal(makes(&s), STRAND_CLOSED_RENEWED);
  calls_are("begin offsets commit destroy open init init "
            "committed committed committed");
  assert_non_null(s.c->committed);
  close_fixture(&s);
}

/* Its next owner may hold the offset back until its own transaction ends. */
static void what_is_revoked_meanwhile_is_not_asked_for (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 0);
  there.revoked = s.c;
  script("commit", 1, RD_KAFKA_RESP_ERR__FATAL, 'f');
  script("committed", 10, RD_KAFKA_RESP_ERR__TIMED_OUT, ' ');
  assert_int_equal(makes(&s), STRAND_CLOSED_RENEWED);
  calls_are("begin offsets commit destroy open init committed");
  assert_int_equal(s.c->committed->cnt, 0);
  close_fixture(&s);
}

/* What was never asked to be committed was not. */
static void before_the_commit_there_is_nothing_to_look_for (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 0);
  script("offsets", 1, RD_KAFKA_RESP_ERR__FATAL, 'f');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin offsets destroy");
  close_one(&s, 0);
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("open init begin offsets commit");
  close_fixture(&s);
}

/* Its outputs are the owner's again: no client may report them any more, nor
** ask where they go. */
static void what_is_answered_is_in_no_client (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 3);
  script("send", 2, 0, ' ');
  script("send", 1, RD_KAFKA_RESP_ERR__FATAL, 'f');
  script("begin", 1, 0, ' ');
  script("begin", 1, RD_KAFKA_RESP_ERR__FENCED, 'f');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send send send begin destroy");
  close_fixture(&s);
}

/* }======================================================================== */

/* {=== aborts ============================================================== */

static void what_the_group_refuses_keeps_its_client (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 1);
  script("offsets", 1, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, 'a');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send offsets abort");
  close_one(&s, 1);
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("begin send offsets commit");
  close_fixture(&s);
}

/* Its next transaction would fail: OUT_OF_ORDER_SEQUENCE_NUMBER. */
static void a_failed_delivery_costs_the_client (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 2);
  script("report", 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ' ');
  script("begin", 1, 0, ' ');
  script("begin", 1, RD_KAFKA_RESP_ERR__INCONSISTENT, 'a');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send send begin abort destroy");
  assert_ptr_equal(s.c->staged[0]->refused, s.c->staged[0]->first);
  close_one(&s, 1);
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("open init begin send offsets commit");
  close_fixture(&s);
}

/* It comes back after the purge, and is not sent in a transaction that has
** failed. */
static void what_was_in_flight_is_not_waited_for (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 2);
  there.flies = true;
  script("report", 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ' ');
  script("begin", 1, 0, ' ');
  script("begin", 1, RD_KAFKA_RESP_ERR__INCONSISTENT, 'a');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send send begin abort destroy");
  assert_true(there.now_us < TIMEOUT_US / 10);
  close_fixture(&s);
}

/* A partition that may not be added: no record of it is reported before its
** own time is over. */
static void one_that_has_failed_is_not_waited_for (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 1);
  there.silent = true;
  script("begin", 1, 0, ' ');
  script("begin", 2, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 'a');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send begin begin destroy"); /* no abort: it may be fatal */
  assert_true(there.now_us < TIMEOUT_US / 10);
  close_fixture(&s);
}

/* Others: a record that produces to each of these topics. */
static void add_record (fixture *s, const char *topics) {
  strand_staged *staged = NULL;
  for (; *topics != '\0'; topics++) {
    strand_output *o = strand_staged_add(
      &staged, &s->consumer.staging,
      &(strand_output){ .topic_length = 1, .partition = -1 });
    memcpy(o->bytes, (char[]){ *topics, '\0' }, 2);
  }
  s->c->staged[s->c->count++] = staged;
}

/* Of so many records, that fail: no topic may be written to, or one. */
static void close_refused (fixture *s, const char *const *records,
                           size_t count) {
  end_transaction(s);
  s->c = strand_closed_new(count);
  s->c->offsets = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(s->c->offsets, "t", 0)->offset = 7;
  s->c->group = rd_kafka_consumer_group_metadata_new("g");
  there.group = s->c->group;
  for (size_t i = 0; i < count; i++) add_record(s, records[i]);
  there.refuses = true;
}

static void refused_are (const fixture *s, const char *topics) {
  for (size_t i = 0; i < s->c->count; i++) {
    const strand_staged *staged = s->c->staged[i];
    char topic = staged->refused == NULL
                   ? '.'
                   : strand_output_topic(staged->refused)[0];
    assert_int_equal(topic, topics[i]);
    if (staged->refused != NULL)
      assert_int_equal(staged->err,
                       RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  }
}

static void one_topic_alone_is_the_one_that_is_refused (void **state) {
  static const char *const records[] = { "x", "x" };
  fixture s;
  (void)state;
  open_ready(&s);
  close_refused(&s, records, 2);
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send send begin begin destroy");
  refused_are(&s, "xx");
  close_fixture(&s);
}

/* Who is refused has a client of its own to be replaced. */
static void of_several_topics_each_is_tried_alone (void **state) {
  static const char *const records[] = { "a", "ax", "b", "x" };
  fixture s;
  (void)state;
  open_ready(&s);
  close_refused(&s, records, 4);
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send send send send send begin begin destroy "
            "open init begin send abort begin send begin begin destroy "
            "open init begin send abort");
  refused_are(&s, ".x.x");
  assert_int_equal(s.c->answer.err,
                   RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  close_fixture(&s);
}

/* What cannot be found out is left to the next transaction. */
static void a_trial_that_fails_otherwise_blames_nobody (void **state) {
  static const char *const records[] = { "a", "x" };
  fixture s;
  (void)state;
  open_ready(&s);
  close_refused(&s, records, 2);
  script("begin", 3, 0, ' ');
  script("begin", 1, RD_KAFKA_RESP_ERR__FENCED, 'f');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  refused_are(&s, "..");
  assert_null(s.t.client.handle);
  close_fixture(&s);
}

/* A report has named it. */
static void what_is_named_is_not_looked_for (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 2);
  script("report", 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ' ');
  script("begin", 1, 0, ' ');
  script("begin", 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 'a');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  calls_are("begin send send begin destroy");
  close_fixture(&s);
}

/* The group's topic is no output's. */
static void what_the_offsets_are_refused_is_no_output (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 1);
  script("offsets", 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 'a');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  assert_null(s.c->staged[0]->refused);
  close_fixture(&s);
}

static void an_abort_that_fails_costs_the_client (void **state) {
  fixture s;
  (void)state;
  open_ready(&s);
  close_one(&s, 0);
  script("offsets", 1, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, 'a');
  script("abort", 1, RD_KAFKA_RESP_ERR__STATE, ' ');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  close_one(&s, 0);
  there.calls[0] = '\0';
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("open init begin offsets commit");
  close_fixture(&s);
}

/* The owner may learn another batch.size of its answer: two clients in place of
** one. */
static void a_spent_client_is_replaced_by_the_one_that_is_needed (void **s_) {
  fixture s;
  (void)s_;
  open_ready(&s);
  close_one(&s, 1);
  script("report", 1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ' ');
  assert_int_equal(makes(&s), STRAND_CLOSED_ABORTED);
  there.calls[0] = '\0';
  assert_false(renew_early(&s.t));
  calls_are("");
  strand_transactor_expect(&s.t, 5000);
  assert_true(renew_early(&s.t));
  assert_false(renew_early(&s.t));
  calls_are("open init");
  assert_int_equal(s.t.client.batch_size, 5000);
  close_one(&s, 0);
  s.c->batch_size = 5000;
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("begin offsets commit");
  close_fixture(&s);
}

static void another_batch_size_is_a_reason (void **state) {
  fixture s;
  strand_transaction_answer why;
  (void)state;
  open_ready(&s);
  close_one(&s, 0);
  s.c->batch_size = 5000;
  assert_int_equal(makes(&s), STRAND_CLOSED_COMMITTED);
  calls_are("destroy open init begin offsets commit");
  assert_int_equal(strand_transactor_renewals(&s.t, &why), 2);
  assert_int_equal(why.err, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  assert_string_equal(why.reason, "'batch.size' was 0, and is 5000 now");
  close_fixture(&s);
}

/* }======================================================================== */

/* {=== another process with its id ========================================= */

static strand_closed_end is_fenced (fixture *s) {
  close_one(s, 0);
  script("commit", 1, RD_KAFKA_RESP_ERR__FENCED, 'f');
  return makes(s);
}

static void two_do_not_fence_each_other_for_ever (void **state) {
  fixture s;
  strand_failure failure;
  (void)state;
  open_ready(&s);
  for (int i = 0; i < STRAND_TRANSACTOR_RENEWALS; i++) {
    assert_int_equal(is_fenced(&s), STRAND_CLOSED_RENEWED);
    assert_false(strand_transactor_has_ended(&s.t, &failure));
  }
  is_fenced(&s);
  assert_null(s.c->committed);
  assert_true(strand_transactor_has_ended(&s.t, &failure));
  assert_string_equal(failure.code, "FENCED");
  close_fixture(&s);
}

/* The brokers fence who is too slow: nobody else has its id. */
static void its_own_time_is_no_other_process (void **state) {
  fixture s;
  strand_failure failure;
  (void)state;
  open_ready(&s);
  there.slow_us = TIMEOUT_US;
  for (int i = 0; i < 2 * STRAND_TRANSACTOR_RENEWALS; i++)
    assert_int_equal(is_fenced(&s), STRAND_CLOSED_RENEWED);
  assert_false(strand_transactor_has_ended(&s.t, &failure));
  close_fixture(&s);
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(offsets_follow_what_is_acknowledged),
    cmocka_unit_test(a_call_that_is_made_again_is_the_same),
    cmocka_unit_test(what_is_given_up_sends_no_offsets),
    cmocka_unit_test(it_is_looked_for_behind_a_new_client),
    cmocka_unit_test(a_lost_client_may_have_committed),
    cmocka_unit_test(a_commit_that_is_refused_is_looked_for),
    cmocka_unit_test(it_is_asked_for_until_it_is_stable),
    cmocka_unit_test(what_is_revoked_meanwhile_is_not_asked_for),
    cmocka_unit_test(before_the_commit_there_is_nothing_to_look_for),
    cmocka_unit_test(what_is_answered_is_in_no_client),
    cmocka_unit_test(what_the_group_refuses_keeps_its_client),
    cmocka_unit_test(a_failed_delivery_costs_the_client),
    cmocka_unit_test(what_was_in_flight_is_not_waited_for),
    cmocka_unit_test(one_that_has_failed_is_not_waited_for),
    cmocka_unit_test(one_topic_alone_is_the_one_that_is_refused),
    cmocka_unit_test(of_several_topics_each_is_tried_alone),
    cmocka_unit_test(a_trial_that_fails_otherwise_blames_nobody),
    cmocka_unit_test(what_is_named_is_not_looked_for),
    cmocka_unit_test(what_the_offsets_are_refused_is_no_output),
    cmocka_unit_test(an_abort_that_fails_costs_the_client),
    cmocka_unit_test(a_spent_client_is_replaced_by_the_one_that_is_needed),
    cmocka_unit_test(another_batch_size_is_a_reason),
    cmocka_unit_test(two_do_not_fence_each_other_for_ever),
    cmocka_unit_test(its_own_time_is_no_other_process),
  };
  return cmocka_run_group_tests_name("transactor", tests, NULL, NULL);
}
