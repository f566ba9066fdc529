/*
** kafka_transactions_test.c - exactly once: what goes into which transaction,
** and what becomes of it
**
** The test is the transactor, and the group.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <string.h>

#include "member/group_metadata.h"
#include "member/staged_dead_letter.h"
#include "member/transactor.h"

static struct {
  strand_closed *asked;
  strand_closed *answered;
  bool member;       /* of the group */
  int room;          /* so many the engine has memory for */
  long expected;     /* batch.size of the next client */
  int64_t outage_us; /* since when something is in its way: */
  rd_kafka_resp_err_t outage;
} there;

static strand_err tell_acked (strand_engine *e, strand_record *record,
                              int64_t now_us) {
  if (there.room-- <= 0) return STRAND_ENOMEM;
  return strand_engine_output_acked(e, record, now_us);
}

static void ask (strand_closed *c) {
  assert_null(there.asked);
  there.asked = c;
}

static strand_closed *take (void) {
  strand_closed *c = there.answered;
  there.answered = NULL;
  return c;
}

#define strand_engine_output_acked(e, r, now_us) tell_acked(e, r, now_us)
#define strand_transactor_ask(t, c) ask(c)
#define strand_transactor_take(t) take()
#define strand_transactor_expect(t, size) (there.expected = (size))
#define strand_transactor_is_ready(t) true
#define strand_transactor_has_ended(t, failure) false
#define strand_transactor_outage(t, answer)                                   \
  (snprintf((answer)->reason, sizeof((answer)->reason), "no coordinator"),    \
   (answer)->err = there.outage, there.outage_us)
#define strand_transactor_renewals(t, why) ((why)->err = 0, 0)
#define strand_group_metadata(owner)                                          \
  (there.member ? rd_kafka_consumer_group_metadata_new("g") : NULL)

#include "member/transactions.c"

#define OWN 1000000 /* batch.size, as it is set */
#define ALONE STRAND_TRANSACTIONS_ALONE

typedef struct fixture {
  strand_consumer consumer;
  strand_owner owner;
  strand_assignment assignment;
  strand_snapshot snapshot;
  strand_outbox outbox;
  strand_output_topics topics;
  strand_problem problem;
  strand_transactions x;
  strand_assigned assigned[2];
  strand_commit *commit; /* in the transaction that is out */
  int64_t now_us;
  int parked;
  int failed;
} fixture;

static void hear (void *arg, const strand_notice *notice) {
  fixture *s = arg;
  if (notice->type == STRAND_NOTICE_PARKED) s->parked++;
  if (notice->type == STRAND_NOTICE_FAILED) s->failed++;
}

static void ignore (void *arg, const strand_orphan *orphan) {
  (void)arg;
  (void)orphan;
}

static void open_engine (fixture *s) {
  static const strand_route_limits limits = {
    .policy = { .attempts = 1, .exhausted = STRAND_OUTCOME_PARK }
  };
  strand_engine_config config = { .delivery = STRAND_EXACTLY_ONCE,
                                  .max_metadata = 4096,
                                  .max_buffered_records = 100,
                                  .max_buffered_bytes = 1u << 20,
                                  .max_waiting_records = 100,
                                  .max_waiting_bytes = 1u << 20,
                                  .routes = &limits,
                                  .route_count = 1,
                                  .arg = s,
                                  .notice = hear,
                                  .release = ignore };
  s->owner.engine = strand_engine_new(&config);
  for (int i = 0; i < 2; i++) {
    strand_assigned *a = &s->assigned[i];
    a->partition = strand_engine_assign(s->owner.engine, "t", i, 1, 0, NULL,
                                        0);
    strand_list_init(&a->dead_letters);
    strand_list_init(&a->outputs);
    strand_partition_set_opaque(a->partition, a);
    assert_int_equal(
      strand_engine_restored(s->owner.engine, a->partition, 0, NULL),
      STRAND_OK);
  }
}

static void open_fixture (fixture *s) {
  strand_failure failure;
  memset(s, 0, sizeof(*s));
  memset(&there, 0, sizeof(there));
  there.member = true;
  there.room = INT_MAX;
  s->now_us = 1;
  s->consumer.staging.limit = 1u << 20;
  s->consumer.settings.delivery = STRAND_EXACTLY_ONCE;
  s->consumer.settings.transactional.records = 10;
  s->consumer.settings.transactional.interval_us = 500000;
  s->consumer.settings.transactional.timeout_us = 10000000;
  s->owner.consumer = &s->consumer;
  strand_problem_init(&s->problem);
  s->outbox.owner = &s->owner;
  s->outbox.batch_size = OWN;
  assert_true(strand_notifier_init(&s->consumer.notifier, true, false));
  assert_true(strand_routes_init(&s->consumer.routes,
                                 &(strand_consumer_config){ 0 }, &failure));
  s->topics = (strand_output_topics){ .owner = &s->owner,
                                      .outbox = &s->outbox };
  strand_transactions_init(&s->x, &s->owner, NULL, &s->outbox, &s->topics,
                           &s->problem, &s->snapshot);
  open_engine(s);
}

static void check (fixture *s) {
  strand_transactions_check(&s->x);
  strand_engine_check(s->owner.engine);
}

static strand_lease start (fixture *s, int partition, int64_t offset) {
  strand_partition *p = s->assigned[partition].partition;
  strand_record *r = strand_engine_room(s->owner.engine, p, 1);
  strand_lease lease;
  r->key_length = 1;
  r->value_length = r->headers_length = 0;
  r->flags |= STRAND_RECORD_KEY;
  r->timestamp_type = STRAND_TIMESTAMP_NONE;
  r->offset = offset;
  r->bytes[0] = (char)('a' + offset);
  assert_int_equal(strand_engine_admit(s->owner.engine, p, r, 1),
                   STRAND_ADDED);
  assert_true(strand_engine_lease(s->owner.engine, 1, s->now_us, &lease));
  assert_int_equal(lease.record->offset, offset);
  return lease;
}

/* The record was handled, and has produced so many of so many bytes. */
static void handle_to (fixture *s, const char *topic, int partition,
                       int64_t offset, int outputs, uint32_t bytes) {
  strand_lease lease = start(s, partition, offset);
  strand_staged *staged = NULL;
  for (int i = 0; i < outputs; i++) {
    strand_output *o = strand_staged_add(
      &staged, &s->consumer.staging,
      &(strand_output){ .sent.is_output = true,
                        .topic_length = 3,
                        .value_length = bytes,
                        .partition = -1 });
    memcpy(o->bytes, topic, 4);
  }
  assert_int_equal(
    strand_transactions_take(&s->x, &s->assigned[partition], &lease, staged),
    STRAND_OK);
  check(s);
}

static void handle_large (fixture *s, int partition, int64_t offset,
                          int outputs, uint32_t bytes) {
  handle_to(s, "out", partition, offset, outputs, bytes);
}

static void handle (fixture *s, int partition, int64_t offset, int outputs) {
  handle_large(s, partition, offset, outputs, 0);
}

/* As the committer does. */
static bool plan (fixture *s) {
  assert_true(strand_transactions_close(&s->x));
  s->commit = strand_engine_commit(s->owner.engine, s->now_us, NULL);
  strand_transactions_commit_made(&s->x);
  if (s->commit == NULL) {
    strand_transactions_reopen(&s->x);
    check(s);
    return false;
  }
  if (strand_transactions_send(&s->x, rd_kafka_topic_partition_list_new(1))) {
    check(s);
    return true;
  }
  strand_transactions_reopen(&s->x);
  strand_engine_commit_answer(s->owner.engine, s->commit, STRAND_COMMIT_LATER,
                              s->now_us);
  check(s);
  return false;
}

static strand_answer answer (fixture *s, strand_closed_end end,
                             rd_kafka_resp_err_t err) {
  strand_closed_answer a;
  there.answered = there.asked;
  there.asked = NULL;
  there.answered->end = end;
  there.answered->answer.err = err;
  there.answered->began_us = s->now_us;
  assert_true(strand_transactions_answer(&s->x, s->commit, &a, s->now_us));
  strand_engine_commit_answer(s->owner.engine, s->commit, a.answer, s->now_us);
  strand_transactions_settle(&s->x, s->now_us);
  check(s);
  return a.answer;
}

static void commits (fixture *s) {
  assert_int_equal(answer(s, STRAND_CLOSED_COMMITTED, 0), STRAND_COMMITTED);
}

/* What is in the transaction that is out, in its order. */
static void holds (const char *offsets) {
  char text[32] = "";
  for (size_t i = 0; i < there.asked->count; i++)
    text[i] = (char)('0' + (int)there.asked->staged[i]->record->offset);
  assert_string_equal(text, offsets);
}

/* What the group has of a partition, when it is asked. */
static void has (int partition, int64_t offset, const char *metadata) {
  rd_kafka_topic_partition_t *p;
  if (there.asked->committed == NULL)
    there.asked->committed = rd_kafka_topic_partition_list_new(2);
  p = rd_kafka_topic_partition_list_add(there.asked->committed, "t",
                                        partition);
  p->offset = offset;
  p->metadata_size = strlen(metadata);
  p->metadata = p->metadata_size > 0 ? strdup(metadata) : NULL;
}

static int64_t committable (fixture *s, int partition) {
  strand_partition_stats stats;
  strand_partition_stats_read(s->owner.engine,
                              s->assigned[partition].partition, 0, &stats);
  return stats.committable;
}

static void end_epoch (fixture *s, int partition) {
  strand_assigned *a = &s->assigned[partition];
  if (a->partition == NULL) return;
  strand_transactions_forget(&s->x, a);
  strand_engine_revoke(s->owner.engine, a->partition, ignore, NULL);
  a->partition = NULL;
  check(s);
}

static void close_fixture (fixture *s) {
  end_epoch(s, 0);
  end_epoch(s, 1);
  strand_transactions_free(&s->x);
  assert_int_equal(atomic_load(&s->consumer.staging.bytes), 0);
  strand_engine_free(s->owner.engine);
  strand_routes_free(&s->consumer.routes);
  strand_notifier_free(&s->consumer.notifier);
  strand_problem_free(&s->problem);
}

/* {=== what goes where ===================================================== */

static void what_waits_is_done_when_it_is_committed (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 2);
  handle(&s, 0, 1, 1);
  assert_true(plan(&s));
  holds("01");
  assert_int_equal(committable(&s, 0), 0);
  commits(&s);
  assert_int_equal(committable(&s, 0), 2);
  assert_int_equal(atomic_load(&s.consumer.staging.bytes), 0);
  assert_int_equal(strand_staging_counts(&s.consumer.staging).acked, 3);
  close_fixture(&s);
}

static void what_comes_meanwhile_is_in_the_next (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  assert_true(plan(&s));
  handle(&s, 0, 1, 1);
  holds("0");
  assert_int_equal(strand_transactions_due(&s.x), INT64_MAX);
  commits(&s);
  assert_int_equal(committable(&s, 0), 1);
  assert_true(plan(&s));
  holds("1");
  commits(&s);
  close_fixture(&s);
}

static void one_takes_no_more_than_its_records (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  for (int i = 0; i < 4; i++) handle(&s, 0, i, 4);
  assert_true(strand_transactions_is_full(&s.x));
  assert_int_equal(strand_transactions_due(&s.x), 0);
  assert_true(plan(&s));
  holds("01");
  commits(&s);
  assert_true(plan(&s));
  holds("23");
  commits(&s);
  close_fixture(&s);
}

/* Whatever it holds: a record goes whole. */
static void one_record_may_be_more_than_that (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 12);
  assert_true(plan(&s));
  holds("0");
  commits(&s);
  close_fixture(&s);
}

/* The commit says nothing of it: it would be produced twice. */
static void what_the_plan_leaves_out_is_not_sent (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  handle(&s, 1, 1, 1);
  assert_true(strand_transactions_close(&s.x));
  strand_engine_untransact(s.owner.engine, s.x.closed->staged[1]->record);
  s.commit = strand_engine_commit(s.owner.engine, s.now_us, NULL);
  strand_transactions_commit_made(&s.x);
  assert_true(
    strand_transactions_send(&s.x, rd_kafka_topic_partition_list_new(1)));
  holds("0");
  commits(&s);
  assert_true(plan(&s));
  holds("1");
  commits(&s);
  close_fixture(&s);
}

static void nothing_goes_out_of_who_is_no_member (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  there.member = false;
  handle(&s, 0, 0, 1);
  assert_false(plan(&s));
  assert_null(there.asked);
  there.member = true;
  assert_true(plan(&s));
  holds("0");
  commits(&s);
  close_fixture(&s);
}

/* }======================================================================== */

/* {=== ends ================================================================ */

static void what_was_aborted_comes_again_before_what_came_since (void **s_) {
  fixture s;
  (void)s_;
  open_fixture(&s);
  for (int i = 0; i < 3; i++) handle(&s, 0, i, 1);
  assert_true(plan(&s));
  handle(&s, 0, 3, 1);
  assert_int_equal(
    answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
    STRAND_COMMIT_ABORTED);
  assert_int_equal(committable(&s, 0), 0);
  assert_true(strand_transactions_due(&s.x) > s.now_us);
  assert_true(plan(&s));
  holds("0123");
  commits(&s);
  assert_int_equal(committable(&s, 0), 4);
  close_fixture(&s);
}

static void what_is_revoked_is_in_no_later_one (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  handle(&s, 1, 0, 1);
  assert_true(plan(&s));
  handle(&s, 0, 1, 1);
  end_epoch(&s, 0);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
  assert_true(plan(&s));
  assert_int_equal(there.asked->count, 1);
  assert_int_equal(s.commit->count, 1);
  commits(&s);
  assert_int_equal(committable(&s, 1), 1);
  close_fixture(&s);
}

/* The bytes are the transactor's: they go with its answer. */
static void what_is_out_outlives_its_partition (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  assert_true(plan(&s));
  end_epoch(&s, 0);
  assert_true(atomic_load(&s.consumer.staging.bytes) > 0);
  strand_transactions_abandon(&s.x);
  assert_true(atomic_load(&there.asked->abandoned));
  commits(&s);
  assert_int_equal(atomic_load(&s.consumer.staging.bytes), 0);
  close_fixture(&s);
}

static void after_an_unknown_end_the_group_says_that_it_is_done (void **s_) {
  fixture s;
  (void)s_;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  handle(&s, 1, 0, 1);
  assert_true(plan(&s));
  has(0, 1, "");
  has(1, 1, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0), STRAND_COMMITTED);
  assert_int_equal(committable(&s, 0) + committable(&s, 1), 2);
  assert_int_equal(s.x.waiting, 0);
  close_fixture(&s);
}

static void after_an_unknown_end_the_group_says_that_it_is_not (void **s_) {
  fixture s;
  (void)s_;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  assert_true(plan(&s));
  has(0, 0, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0),
                   STRAND_COMMIT_ABORTED);
  assert_int_equal(committable(&s, 0), 0);
  assert_true(plan(&s));
  holds("0");
  commits(&s);
  close_fixture(&s);
}

/* Only above the committed offset. */
static void a_payload_says_it_too (void **state) {
  fixture s;
  strand_lease low;
  char metadata[64];
  (void)state;
  open_fixture(&s);
  low = start(&s, 0, 0);
  handle(&s, 0, 1, 1);
  assert_true(plan(&s));
  assert_int_equal(s.commit->items[0].offset, 0);
  snprintf(metadata, sizeof(metadata), "%s", s.commit->items[0].metadata);
  has(0, 0, metadata);
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0), STRAND_COMMITTED);
  assert_int_equal(s.x.waiting, 0);
  assert_int_equal(strand_engine_done(s.owner.engine, &low, 1, 1), STRAND_OK);
  assert_int_equal(committable(&s, 0), 2);
  close_fixture(&s);
}

/* Whoever has done it: that is not sent again, and all else is, of another
** partition too. */
static void of_an_aborted_one_what_the_group_covers_is_done (void **state) {
  fixture s;
  strand_lease low;
  char metadata[64];
  (void)state;
  open_fixture(&s);
  low = start(&s, 0, 0);
  handle(&s, 0, 1, 1);
  handle(&s, 1, 1, 1);
  assert_true(plan(&s));
  snprintf(metadata, sizeof(metadata), "%s", s.commit->items[0].metadata);
  assert_string_not_equal(metadata, "");
  has(0, 0, metadata);
  has(1, 0, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0),
                   STRAND_COMMIT_ABORTED);
  assert_int_equal(s.x.waiting, 1);
  assert_int_equal(strand_engine_done(s.owner.engine, &low, 1, 1), STRAND_OK);
  assert_int_equal(committable(&s, 0), 2);
  assert_true(plan(&s));
  holds("1");
  commits(&s);
  assert_int_equal(committable(&s, 1), 2);
  close_fixture(&s);
}

/* A gap that was read behind an open record makes a partition dirty, and its
** item says what the group had before. */
static void an_item_that_says_nothing_new_proves_nothing (void **state) {
  fixture s;
  strand_lease low;
  (void)state;
  open_fixture(&s);
  low = start(&s, 0, 0);
  strand_engine_reach(s.owner.engine, s.assigned[0].partition, 5);
  handle(&s, 1, 0, 1);
  assert_true(plan(&s));
  assert_int_equal(s.commit->count, 2);
  assert_int_equal(s.commit->items[0].offset, 0);
  has(0, 0, "");
  has(1, RD_KAFKA_OFFSET_INVALID, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0),
                   STRAND_COMMIT_ABORTED);
  assert_int_equal(committable(&s, 1), 0);
  assert_int_equal(s.x.waiting, 1);
  assert_int_equal(strand_engine_done(s.owner.engine, &low, 1, 1), STRAND_OK);
  close_fixture(&s);
}

/* The offset is what it was, and the payload that says so is not there. */
static void an_offset_alone_does_not_prove_it (void **state) {
  fixture s;
  strand_lease low;
  (void)state;
  open_fixture(&s);
  low = start(&s, 0, 0);
  handle(&s, 0, 1, 1);
  assert_true(plan(&s));
  assert_int_equal(s.commit->items[0].offset, 0);
  has(0, 0, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0),
                   STRAND_COMMIT_ABORTED);
  assert_int_equal(s.x.waiting, 1);
  assert_int_equal(strand_engine_done(s.owner.engine, &low, 1, 1), STRAND_OK);
  close_fixture(&s);
}

/* It went on there: that says nothing of what is still ours. */
static void what_another_has_moved_does_not_refute_it (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  handle(&s, 1, 0, 1);
  assert_true(plan(&s));
  end_epoch(&s, 0);
  has(0, 9, "");
  has(1, 1, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0), STRAND_COMMITTED);
  assert_int_equal(committable(&s, 1), 1);
  close_fixture(&s);
}

/* A seek, or a topic that was made anew: the partition begins there, and the
** group has what an earlier epoch has told. */
static void begin_again (fixture *s, int partition, int64_t offset) {
  strand_assigned *a = &s->assigned[partition];
  end_epoch(s, partition);
  a->partition = strand_engine_assign(s->owner.engine, "t", partition, 2, 0,
                                      NULL, 0);
  strand_partition_set_opaque(a->partition, a);
  assert_int_equal(
    strand_engine_rebased(s->owner.engine, a->partition, offset), STRAND_OK);
}

/* What it had before a seek is no proof that what was sought was sent. */
static void what_the_group_had_before_a_seek_proves_nothing (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  begin_again(&s, 0, 5);
  for (int i = 5; i < 8; i++) handle(&s, 0, i, 1);
  assert_true(plan(&s));
  holds("");
  has(0, 8, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0),
                   STRAND_COMMIT_ABORTED);
  assert_true(plan(&s));
  holds("");
  assert_int_equal(s.commit->items[0].offset, 5);
  has(0, 5, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0), STRAND_COMMITTED);
  assert_int_equal(committable(&s, 0), 5);
  assert_true(plan(&s));
  holds("567");
  assert_int_equal(s.commit->items[0].offset, 8);
  has(0, 5, "");
  assert_int_equal(answer(&s, STRAND_CLOSED_RENEWED, 0),
                   STRAND_COMMIT_ABORTED);
  assert_true(plan(&s));
  holds("567");
  commits(&s);
  assert_int_equal(committable(&s, 0), 8);
  close_fixture(&s);
}

static void nobody_has_looked_so_nothing_is_done (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  assert_true(plan(&s));
  answer(&s, STRAND_CLOSED_RENEWED, RD_KAFKA_RESP_ERR__TIMED_OUT);
  assert_int_equal(committable(&s, 0), 0);
  assert_int_equal(s.x.waiting, 1);
  close_fixture(&s);
}

/* It is looked at again and again: the pause grows all the same. */
static void after_ends_that_fail_there_is_a_pause (void **state) {
  fixture s;
  int64_t pause_us = 0;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  for (int i = 0; i < 3; i++) {
    assert_true(plan(&s));
    answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
    assert_true(strand_transactions_from(&s.x) - s.now_us > pause_us);
    pause_us = strand_transactions_from(&s.x) - s.now_us;
  }
  assert_true(plan(&s));
  assert_int_equal(strand_transactions_from(&s.x), INT64_MAX);
  commits(&s);
  close_fixture(&s);
}

/* The engine does not know yet what was committed: the next commit would say
** less than that. */
static void what_is_not_told_yet_comes_before_the_next (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  handle(&s, 0, 1, 1);
  assert_true(plan(&s));
  there.room = 1;
  commits(&s);
  assert_false(strand_transactions_may_begin(&s.x));
  there.room = INT_MAX;
  strand_transactions_serve(&s.x, s.now_us);
  assert_true(strand_transactions_may_begin(&s.x));
  assert_int_equal(committable(&s, 0), 2);
  close_fixture(&s);
}

static void health_is (fixture *s, const char *code) {
  strand_failure problem;
  strand_transactions_serve(&s->x, s->now_us);
  strand_problem_get(&s->problem, &problem);
  assert_string_equal(problem.code, code);
}

/* The only event. */
static void event_is (fixture *s, const char *type, const char *code) {
  strand_event event;
  assert_true(strand_events_pop(s->consumer.notifier.events, &event));
  assert_string_equal(event.type, type);
  assert_string_equal(event.code, code);
  strand_event_clear(&event);
  assert_false(strand_events_pop(s->consumer.notifier.events, &event));
}

static void what_stands_in_the_way_for_long_is_a_problem (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  health_is(&s, "");
  there.outage_us = s.now_us;
  there.outage = RD_KAFKA_RESP_ERR__TIMED_OUT;
  s.now_us += PATIENCE_US - 1;
  health_is(&s, "");
  s.now_us++;
  health_is(&s, "CANNOT_TRANSACT");
  event_is(&s, "error", "CANNOT_TRANSACT");
  s.now_us++;
  health_is(&s, "CANNOT_TRANSACT");
  there.outage_us = 0;
  health_is(&s, "");
  there.outage_us = s.now_us;
  there.outage = RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
  health_is(&s, "");
  s.now_us += PATIENCE_US;
  health_is(&s, "CANNOT_TRANSACT");
  event_is(&s, "auth_failed", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED");
  close_fixture(&s);
}

/* }======================================================================== */

/* {=== refused ============================================================= */

static void refuse (size_t i, rd_kafka_resp_err_t err) {
  strand_staged *staged = there.asked->staged[i];
  staged->refused = staged->first;
  staged->err = err;
}

static void write_dead_letters_of (fixture *s) {
  s->consumer.settings.dead_letters.topic = "dead";
  s->outbox.config = &s->consumer.settings.dead_letters;
  s->outbox.group = (char *)(uintptr_t) "g";
}

/* What waits first is one. */
static void is_dead_letter (fixture *s) {
  strand_staged_first(&s->x.queue)->first->sent.is_output = false;
}

static void
one_that_is_refused_is_left_out_and_the_rest_goes_again (void **s_) {
  fixture s;
  (void)s_;
  open_fixture(&s);
  for (int i = 0; i < 3; i++) handle(&s, 0, i, 1);
  assert_true(plan(&s));
  refuse(1, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 1);
  assert_true(plan(&s));
  holds("02");
  commits(&s);
  assert_int_equal(committable(&s, 0), 1);
  close_fixture(&s);
}

/* It may just have been added, or not be known at that moment. */
static void an_unknown_partition_is_waited_for_a_while (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  assert_true(plan(&s));
  for (int i = 0; i < 2; i++) {
    refuse(0, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
    answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
    assert_int_equal(s.parked, 0);
    assert_true(plan(&s));
    holds("0");
    assert_int_equal(there.asked->batch_size, OWN);
  }
  s.now_us += STRAND_AWAIT_PARTITION_US;
  refuse(0, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 1);
  handle(&s, 0, 1, 1); /* which is not waited for again */
  assert_true(plan(&s));
  refuse(0, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 2);
  close_fixture(&s);
}

/* In between it was known, and what failed the transaction was another. */
static void one_that_is_unknown_long_after_is_waited_for_anew (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  for (int i = 0; i < 2; i++) {
    assert_true(plan(&s));
    refuse(0, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
    answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
    assert_int_equal(s.parked, 0);
    s.now_us += 2 * STRAND_AWAIT_PARTITION_US + 1;
  }
  close_fixture(&s);
}

/* Of several, none begins the others' time anew. */
static void unknown_partitions_are_waited_for_at_the_same_time (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle_to(&s, "out", 0, 0, 1, 0);
  handle_to(&s, "two", 0, 1, 1, 0);
  for (int i = 0; i < 2; i++) {
    assert_true(plan(&s));
    holds("01");
    s.now_us += i * STRAND_AWAIT_PARTITION_US;
    refuse(0, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
    refuse(1, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
    answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
    assert_int_equal(s.parked, i * 2);
  }
  close_fixture(&s);
}

static void of_a_batch_each_goes_alone_before_that_is_believed (void **s_) {
  fixture s;
  (void)s_;
  open_fixture(&s);
  for (int i = 0; i < 2; i++) handle_large(&s, 0, i, 1, (uint32_t)i);
  assert_true(plan(&s));
  assert_int_equal(there.asked->batch_size, OWN);
  for (size_t i = 0; i < 2; i++)
    refuse(i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 0);
  assert_true(plan(&s));
  holds("01");
  assert_int_equal(there.asked->batch_size, 1);
  refuse(1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 1);
  assert_true(plan(&s));
  holds("0");
  assert_int_equal(there.asked->batch_size, OWN);
  commits(&s);
  close_fixture(&s);
}

static void where_none_is_to_blame_batches_get_smaller (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  for (int i = 0; i < 2; i++) handle(&s, 0, i, 1);
  assert_true(plan(&s));
  refuse(0, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_true(plan(&s));
  commits(&s);
  assert_int_equal(s.parked, 0);
  handle(&s, 0, 2, 1);
  assert_true(plan(&s));
  assert_true(there.asked->batch_size > 1
              && there.asked->batch_size < 1000000);
  commits(&s);
  close_fixture(&s);
}

static void one_that_may_be_taken_later_is_not_refused (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  assert_true(plan(&s));
  refuse(0, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  assert_int_equal(s.parked, 0);
  assert_true(plan(&s));
  assert_int_equal(there.asked->batch_size, OWN);
  holds("0");
  commits(&s);
  close_fixture(&s);
}

/* That proves nothing of what a batch may hold. */
static void what_fails_otherwise_says_nothing_of_batches (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 0, 1);
  assert_true(plan(&s));
  refuse(0, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  for (int i = 0; i < 3; i++) {
    assert_true(plan(&s));
    assert_int_equal(there.asked->batch_size, 1);
    answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION);
    assert_true(strand_transactions_due(&s.x) > s.now_us);
  }
  assert_true(plan(&s));
  refuse(0, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 1);
  handle(&s, 0, 1, 1);
  assert_true(plan(&s));
  assert_int_equal(there.asked->batch_size, OWN);
  commits(&s);
  close_fixture(&s);
}

/* One that was cut is to blame, and batches are as before. */
static void a_dead_letter_that_is_cut_says_nothing_of_batches (void **s_) {
  fixture s;
  (void)s_;
  open_fixture(&s);
  write_dead_letters_of(&s);
  handle(&s, 0, 0, 1);
  is_dead_letter(&s);
  for (int i = 0; i < 2; i++) {
    assert_true(plan(&s));
    assert_int_equal(there.asked->batch_size, i == 0 ? OWN : ALONE);
    refuse(0, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  }
  assert_true(plan(&s));
  assert_int_equal(there.asked->batch_size, OWN);
  assert_int_equal(there.asked->staged[0]->index, STRAND_CUT_REASON);
  there.asked->staged[0]->first->sent.is_output = true; /* as it was taken */
  commits(&s);
  close_fixture(&s);
}

/* Its topic is missing: each that it is in would fail, and so would one that
** another one is in meanwhile. */
static void a_dead_letter_without_a_topic_holds_up_nothing_else (void **s_) {
  fixture s;
  int64_t pause_us;
  (void)s_;
  open_fixture(&s);
  s.now_us = strand_clock_us();
  write_dead_letters_of(&s);
  handle(&s, 0, 0, 1);
  is_dead_letter(&s);
  handle(&s, 0, 1, 1);
  assert_true(plan(&s));
  refuse(0, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(strand_transactions_due(&s.x), s.x.since_us + 500000);
  assert_true(plan(&s));
  holds("1");
  commits(&s);
  pause_us = strand_transactions_due(&s.x) - s.now_us;
  s.x.later_us = 0; /* it is over */
  assert_true(plan(&s));
  holds("0");
  refuse(0, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_true(strand_transactions_due(&s.x) - s.now_us > pause_us);
  assert_int_equal(s.parked, 0);
  close_fixture(&s);
}

/* Nothing had room beside it in its batch. */
static void one_that_fills_a_batch_is_to_blame_at_once (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  strand_outbox_fit(&s.outbox, "out", 5000);
  handle(&s, 0, 0, 1);
  handle_large(&s, 0, 1, 1, 5000);
  handle(&s, 0, 2, 1);
  assert_true(plan(&s));
  assert_int_equal(there.asked->batch_size, 5000);
  refuse(1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 1);
  assert_int_equal(there.expected, 5000);
  assert_true(strand_transactions_from(&s.x) <= s.now_us);
  assert_true(plan(&s));
  holds("02");
  assert_int_equal(there.asked->batch_size, 5000);
  commits(&s);
  close_fixture(&s);
}

/* The limit that was read may have been lowered since. */
static void one_that_fills_no_batch_is_not_believed (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  strand_outbox_fit(&s.outbox, "out", 5000);
  for (int i = 0; i < 2; i++) handle_large(&s, 0, i, 1, 2000);
  assert_true(plan(&s));
  for (size_t i = 0; i < 2; i++)
    refuse(i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 0);
  assert_int_equal(there.expected, ALONE);
  assert_true(plan(&s));
  holds("01");
  commits(&s);
  assert_int_equal(there.expected, 2500);
  close_fixture(&s);
}

/* Smaller batches are tried first: their client is needed anyway. */
static void a_limit_that_is_learnt_meanwhile_saves_the_search (void **s_) {
  fixture s;
  (void)s_;
  open_fixture(&s);
  for (int i = 0; i < 2; i++) handle_large(&s, 0, i, 1, 2000);
  assert_true(plan(&s));
  strand_outbox_fit(&s.outbox, "out", 3000);
  for (size_t i = 0; i < 2; i++)
    refuse(i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 0);
  assert_int_equal(there.expected, 3000);
  assert_true(strand_transactions_from(&s.x) <= s.now_us);
  assert_true(plan(&s));
  holds("01");
  commits(&s);
  assert_int_equal(there.expected, 3000);
  close_fixture(&s);
}

/* Each would cost a client. */
static void what_is_as_large_is_refused_with_it (void **state) {
  static const uint32_t bytes[] = { 3000, 5000, 9000, 4999 };
  fixture s;
  (void)state;
  open_fixture(&s);
  strand_outbox_fit(&s.outbox, "out", 2000);
  for (int i = 0; i < 4; i++) handle_large(&s, 0, i, 1, bytes[i]);
  assert_true(plan(&s));
  refuse(1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 2);
  assert_true(plan(&s));
  holds("03");
  commits(&s);
  close_fixture(&s);
}

/* It may take less room than another of as many bytes. */
static void what_is_compressed_is_refused_by_itself (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  s.consumer.staging.compressed = true;
  strand_outbox_fit(&s.outbox, "out", 2000);
  for (int i = 0; i < 2; i++) handle_large(&s, 0, i, 1, 5000);
  assert_true(plan(&s));
  refuse(0, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 1);
  assert_true(plan(&s));
  holds("1");
  commits(&s);
  close_fixture(&s);
}

/* Nobody says what the limit is: what was refused alone does. */
static void one_search_is_enough_for_a_limit (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle_large(&s, 0, 0, 1, 6000);
  handle(&s, 0, 1, 1);
  handle_large(&s, 0, 2, 1, 7000);
  assert_true(plan(&s));
  for (size_t i = 0; i < 3; i++)
    refuse(i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_true(plan(&s));
  assert_int_equal(there.asked->batch_size, ALONE);
  refuse(0, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 2);
  handle_large(&s, 0, 3, 1, 6000);
  assert_true(plan(&s));
  holds("13");
  assert_in_range(there.asked->batch_size, 6000, 6100);
  refuse(1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 3);
  assert_true(plan(&s));
  holds("1");
  commits(&s);
  close_fixture(&s);
}

/* One takes no more than a thousand alone: it may be in the next. */
static void a_search_goes_through_all_of_them (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  s.x.intake.size = s.x.intake.most = 2 * ALONE_MOST;
  handle(&s, 0, 0, ALONE_MOST);
  handle(&s, 0, 1, 1);
  assert_true(plan(&s));
  refuse(1, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_true(plan(&s));
  holds("0");
  commits(&s);
  assert_true(plan(&s));
  holds("1");
  assert_int_equal(there.asked->batch_size, ALONE);
  refuse(0, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(s.parked, 1);
  assert_int_equal(there.expected, OWN);
  close_fixture(&s);
}

/* The topic "bad" may not be written to, and the first record is for it. */
static void refuse_bad (fixture *s) {
  assert_true(plan(s));
  refuse(0, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  answer(s, STRAND_CLOSED_ABORTED,
         RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
}

/* What is in the same transaction, and what waits for the next. */
static void a_topic_that_refuses_ends_all_that_is_for_it (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  s.now_us = strand_clock_us();
  handle_to(&s, "bad", 0, 0, 1, 0);
  handle(&s, 0, 1, 1);
  handle_to(&s, "bad", 0, 2, 2, 0);
  assert_true(plan(&s));
  handle_to(&s, "bad", 0, 3, 2, 0);
  handle(&s, 0, 4, 1);
  refuse(0, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  answer(&s, STRAND_CLOSED_ABORTED,
         RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  assert_int_equal(s.parked, 3);
  assert_int_equal(strand_staging_counts(&s.consumer.staging).failed, 3);
  assert_true(strand_transactions_from(&s.x) <= s.now_us); /* no pause */
  assert_true(plan(&s));
  holds("14");
  commits(&s);
  assert_int_equal(s.x.waiting, 0);
  close_fixture(&s);
}

static void for_a_while_nothing_more_is_sent_there (void **state) {
  fixture s;
  int64_t pause_us;
  (void)state;
  open_fixture(&s);
  s.now_us = strand_clock_us();
  handle_to(&s, "bad", 0, 0, 1, 0);
  refuse_bad(&s);
  pause_us = s.x.barred.first->until_us - s.now_us;
  handle_to(&s, "bad", 0, 1, 1, 0);
  strand_transactions_serve(&s.x, s.now_us);
  assert_int_equal(s.parked, 2);
  assert_false(strand_transactions_wait(&s.x));
  s.x.barred.first->until_us = 0; /* it is over */
  handle_to(&s, "bad", 0, 2, 1, 0);
  refuse_bad(&s);
  assert_int_equal(s.parked, 3);
  assert_true(s.x.barred.first->until_us - s.now_us > pause_us);
  close_fixture(&s);
}

static void what_a_topic_takes_again_is_sent_from_then_on (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  s.now_us = strand_clock_us();
  handle_to(&s, "bad", 0, 0, 1, 0);
  refuse_bad(&s);
  s.x.barred.first->until_us = 0;
  handle_to(&s, "bad", 0, 1, 1, 0);
  assert_true(plan(&s));
  commits(&s);
  assert_int_equal(s.x.barred.count, 0);
  handle_to(&s, "bad", 0, 2, 1, 0);
  assert_true(plan(&s));
  holds("2");
  commits(&s);
  assert_int_equal(s.parked, 1);
  close_fixture(&s);
}

static void topics_that_refuse_are_remembered_up_to_a_limit (void **state) {
  strand_barred_topics b = { 0 };
  char name[16];
  (void)state;
  for (int i = 0; i <= STRAND_BARRED_TOPICS; i++) {
    snprintf(name, sizeof(name), "t%d", i);
    strand_barred_topics_add(&b, name, i);
    strand_barred_topics_check(&b);
  }
  assert_int_equal(b.count, STRAND_BARRED_TOPICS);
  assert_false(strand_barred_topics_has(&b, "t0", STRAND_BARRED_TOPICS));
  assert_true(strand_barred_topics_has(&b, "t1", STRAND_BARRED_TOPICS));
  assert_false(strand_barred_topics_has(&b, "t1", STRAND_BARRED_FIRST_US + 1));
  strand_barred_topics_free(&b);
}

/* There is no record to make a smaller one of. */
static void a_dead_letter_whose_record_is_gone_is_not_cut (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  write_dead_letters_of(&s);
  handle(&s, 0, 0, 1);
  is_dead_letter(&s);
  s.x.alone = 1;
  assert_true(plan(&s));
  end_epoch(&s, 0);
  refuse(0, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  answer(&s, STRAND_CLOSED_ABORTED, RD_KAFKA_RESP_ERR__INCONSISTENT);
  assert_int_equal(atomic_load(&s.consumer.staging.bytes), 0);
  close_fixture(&s);
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_waits_is_done_when_it_is_committed),
    cmocka_unit_test(what_comes_meanwhile_is_in_the_next),
    cmocka_unit_test(one_takes_no_more_than_its_records),
    cmocka_unit_test(one_record_may_be_more_than_that),
    cmocka_unit_test(what_the_plan_leaves_out_is_not_sent),
    cmocka_unit_test(nothing_goes_out_of_who_is_no_member),
    cmocka_unit_test(what_was_aborted_comes_again_before_what_came_since),
    cmocka_unit_test(what_is_revoked_is_in_no_later_one),
    cmocka_unit_test(what_is_out_outlives_its_partition),
    cmocka_unit_test(after_an_unknown_end_the_group_says_that_it_is_done),
    cmocka_unit_test(after_an_unknown_end_the_group_says_that_it_is_not),
    cmocka_unit_test(a_payload_says_it_too),
    cmocka_unit_test(of_an_aborted_one_what_the_group_covers_is_done),
    cmocka_unit_test(an_item_that_says_nothing_new_proves_nothing),
    cmocka_unit_test(an_offset_alone_does_not_prove_it),
    cmocka_unit_test(what_another_has_moved_does_not_refute_it),
    cmocka_unit_test(what_the_group_had_before_a_seek_proves_nothing),
    cmocka_unit_test(nobody_has_looked_so_nothing_is_done),
    cmocka_unit_test(after_ends_that_fail_there_is_a_pause),
    cmocka_unit_test(what_is_not_told_yet_comes_before_the_next),
    cmocka_unit_test(what_stands_in_the_way_for_long_is_a_problem),
    cmocka_unit_test(one_that_is_refused_is_left_out_and_the_rest_goes_again),
    cmocka_unit_test(an_unknown_partition_is_waited_for_a_while),
    cmocka_unit_test(one_that_is_unknown_long_after_is_waited_for_anew),
    cmocka_unit_test(unknown_partitions_are_waited_for_at_the_same_time),
    cmocka_unit_test(of_a_batch_each_goes_alone_before_that_is_believed),
    cmocka_unit_test(where_none_is_to_blame_batches_get_smaller),
    cmocka_unit_test(one_that_may_be_taken_later_is_not_refused),
    cmocka_unit_test(what_fails_otherwise_says_nothing_of_batches),
    cmocka_unit_test(a_dead_letter_that_is_cut_says_nothing_of_batches),
    cmocka_unit_test(a_dead_letter_without_a_topic_holds_up_nothing_else),
    cmocka_unit_test(one_that_fills_a_batch_is_to_blame_at_once),
    cmocka_unit_test(one_that_fills_no_batch_is_not_believed),
    cmocka_unit_test(a_limit_that_is_learnt_meanwhile_saves_the_search),
    cmocka_unit_test(what_is_as_large_is_refused_with_it),
    cmocka_unit_test(what_is_compressed_is_refused_by_itself),
    cmocka_unit_test(one_search_is_enough_for_a_limit),
    cmocka_unit_test(a_search_goes_through_all_of_them),
    cmocka_unit_test(a_topic_that_refuses_ends_all_that_is_for_it),
    cmocka_unit_test(for_a_while_nothing_more_is_sent_there),
    cmocka_unit_test(what_a_topic_takes_again_is_sent_from_then_on),
    cmocka_unit_test(topics_that_refuse_are_remembered_up_to_a_limit),
    cmocka_unit_test(a_dead_letter_whose_record_is_gone_is_not_cut),
  };
  return cmocka_run_group_tests_name("transactions", tests, NULL, NULL);
}
