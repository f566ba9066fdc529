/*
** kafka_outputs_test.c - which outputs are handed over when, and what becomes
** of their records
**
** The test is librdkafka: it takes what is produced, and reports what it likes.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "member/reports.h"
#include "producer/outgoing.h"

static rd_kafka_resp_err_t take (const strand_outgoing *record,
                                 rd_kafka_headers_t *headers, void *opaque);
#define strand_outgoing_produce(client, record, headers, opaque)              \
  take(record, headers, opaque)

#include "member/outbox.c"
#include "member/outputs.c"

#define TAKEN_MAX 32

static struct {
  strand_output *list[TAKEN_MAX]; /* in the order they were handed over */
  int count;
  int room;                /* then the queue is full */
  rd_kafka_resp_err_t err; /* of the next */
} taken;

static rd_kafka_resp_err_t take (const strand_outgoing *record,
                                 rd_kafka_headers_t *headers, void *opaque) {
  rd_kafka_resp_err_t err = taken.err;
  taken.err = RD_KAFKA_RESP_ERR_NO_ERROR;
  assert_string_equal(record->topic, "out");
  assert_null(headers);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  if (taken.room-- <= 0) return RD_KAFKA_RESP_ERR__QUEUE_FULL;
  taken.list[taken.count++] = opaque;
  return err;
}

typedef struct fixture {
  strand_consumer consumer;
  strand_owner owner;
  strand_waker waker;
  strand_assignment assignment;
  strand_snapshot snapshot;
  strand_outbox outbox;
  strand_output_topics output_topics;
  strand_outputs outputs;
  strand_dead_letters dead_letters; /* none are sent */
  strand_assigned assigned;
  int64_t now_us;
  int parked;
  int failed;
  int partition; /* of outputs, and one more; 0: none is given */
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
  strand_engine_config config = { .max_metadata = 4096,
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
  s->assigned.partition = strand_engine_assign(s->owner.engine, "t", 0, 1, 0,
                                               NULL, 0);
  strand_list_init(&s->assigned.dead_letters);
  strand_list_init(&s->assigned.outputs);
  strand_partition_set_opaque(s->assigned.partition, &s->assigned);
  assert_int_equal(
    strand_engine_restored(s->owner.engine, s->assigned.partition, 0, NULL),
    STRAND_OK);
}

static void admit (fixture *s, int64_t offset) {
  strand_record *r = strand_engine_room(s->owner.engine, s->assigned.partition,
                                        1);
  r->key_length = 1;
  r->value_length = r->headers_length = 0;
  r->flags |= STRAND_RECORD_KEY;
  r->timestamp_type = STRAND_TIMESTAMP_NONE;
  r->offset = offset;
  r->bytes[0] = 'k';
  assert_int_equal(
    strand_engine_admit(s->owner.engine, s->assigned.partition, r, 1),
    STRAND_ADDED);
}

static void open_fixture (fixture *s) {
  strand_failure failure;
  memset(s, 0, sizeof(*s));
  memset(&taken, 0, sizeof(taken));
  taken.room = TAKEN_MAX;
  s->now_us = 1;
  s->consumer.staging.limit = 1u << 20;
  s->consumer.settings.dead_letters.produces = true;
  s->owner.consumer = &s->consumer;
  assert_true(strand_notifier_init(&s->consumer.notifier, true, false));
  assert_true(strand_routes_init(&s->consumer.routes,
                                 &(strand_consumer_config){ 0 }, &failure));
  strand_outbox_init(&s->outbox, &s->owner, &s->waker);
  s->outbox.client = (rd_kafka_t *)s; /* nobody looks into it */
  s->outbox.queue = (rd_kafka_queue_t *)s;
  s->output_topics = (strand_output_topics){ .owner = &s->owner,
                                             .outbox = &s->outbox };
  strand_outputs_init(&s->outputs, &s->owner, &s->outbox, &s->output_topics,
                      &s->snapshot);
  open_engine(s);
}

static void check (fixture *s) {
  strand_reports_check(&(strand_reports){ .outbox = &s->outbox,
                                          .dead_letters = &s->dead_letters,
                                          .outputs = &s->outputs });
  strand_outputs_check(&s->outputs);
  strand_outbox_check(&s->outbox);
  strand_engine_check(s->owner.engine);
  assert_int_equal(s->outbox.out, s->outputs.out);
}

static void serve (fixture *s) {
  strand_outputs_serve(&s->outputs, s->now_us);
  check(s);
}

/* The record at 'offset' was handled, and has produced so many. */
static void handle (fixture *s, int64_t offset, int outputs) {
  strand_staged *staged = NULL;
  strand_lease lease;
  admit(s, offset);
  assert_true(strand_engine_lease(s->owner.engine, 1, s->now_us, &lease));
  assert_int_equal(lease.record->offset, offset);
  for (int i = 0; i < outputs; i++) {
    strand_output *o = strand_staged_add(
      &staged, &s->consumer.staging,
      &(strand_output){ .topic_length = 3, .partition = s->partition - 1 });
    memcpy(o->bytes, "out", 4);
    o->key_length = 0;
  }
  assert_int_equal(
    strand_outputs_take(&s->outputs, &s->assigned, &lease, staged), STRAND_OK);
  serve(s);
}

static void report (fixture *s, int i, rd_kafka_resp_err_t err) {
  strand_outbox_report(&s->outbox, err, s->now_us);
  strand_outputs_report(&s->outputs, taken.list[i], err, false, s->now_us);
  check(s);
}

/* The broker may have written it. */
static void report_maybe (fixture *s, int i, rd_kafka_resp_err_t err) {
  strand_outbox_report(&s->outbox, err, s->now_us);
  strand_outputs_report(&s->outputs, taken.list[i], err, true, s->now_us);
  check(s);
}

/* In the order they were handed over, from the i-th on. */
static void taken_is (int from, const char *offsets) {
  char text[TAKEN_MAX + 1] = "";
  for (int i = from; i < taken.count; i++) {
    const strand_staged *s = taken.list[i]->of;
    text[i - from] = (char)('0' + (int)s->record->offset);
  }
  assert_string_equal(text, offsets);
}

static int64_t committable (fixture *s) {
  strand_partition_stats stats;
  strand_partition_stats_read(s->owner.engine, s->assigned.partition, 0,
                              &stats);
  return stats.committable;
}

static void end_epoch (fixture *s) {
  strand_outputs_forget(&s->outputs, &s->assigned, "t", 0);
  strand_engine_revoke(s->owner.engine, s->assigned.partition, ignore, NULL);
  check(s);
}

static void close_fixture (fixture *s) {
  end_epoch(s);
  strand_outputs_free(&s->outputs);
  assert_int_equal(atomic_load(&s->consumer.staging.bytes), 0);
  strand_engine_free(s->owner.engine);
  strand_notifier_free(&s->consumer.notifier);
  strand_routes_free(&s->consumer.routes);
  strand_lock_free(&s->outbox.lock);
}

static void a_record_is_done_when_all_of_them_are_acknowledged (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 2);
  handle(&s, 1, 1);
  report(&s, 2, RD_KAFKA_RESP_ERR_NO_ERROR);
  report(&s, 0, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  assert_int_equal(committable(&s), 0);
  report(&s, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  assert_int_equal(committable(&s), 2);
  assert_int_equal(atomic_load(&s.consumer.staging.bytes), 0);
  close_fixture(&s);
}

static void a_full_queue_holds_up_what_is_behind (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  taken.room = 1;
  handle(&s, 0, 2);
  handle(&s, 1, 1);
  taken_is(0, "0");
  taken.room = TAKEN_MAX; /* nothing is tried before a report */
  serve(&s);
  taken_is(0, "0");
  report(&s, 0, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  taken_is(1, "01");
  close_fixture(&s);
}

/* One that is alone in the queue and does not fit never will. */
static void what_does_not_fit_in_an_empty_queue_is_refused (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  taken.room = 0;
  handle(&s, 0, 1);
  assert_int_equal(s.parked, 1);
  close_fixture(&s);
}

/* What is behind it waits. */
static void check_unknown_partition (int32_t partition) {
  fixture s;
  open_fixture(&s);
  s.partition = partition + 1;
  taken.err = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
  handle(&s, 0, 1);
  handle(&s, 1, 1);
  taken_is(0, "");
  assert_true(strand_outputs_due(&s.outputs, s.now_us) < INT64_MAX);
  s.now_us += STRAND_ASK_PARTITION_US;
  serve(&s);
  taken_is(0, "01");
  report(&s, 0, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
  report(&s, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  s.now_us += STRAND_AWAIT_PARTITION_US;
  taken.err = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
  serve(&s);
  assert_int_equal(s.parked, 1);
  close_fixture(&s);
}

/* It may just have been added. */
static void an_unknown_partition_is_waited_for_a_while (void **state) {
  (void)state;
  check_unknown_partition(5);
}

/* Of a topic whose partitions librdkafka does not know at that moment. */
static void so_is_one_that_librdkafka_was_to_choose (void **state) {
  (void)state;
  check_unknown_partition(-1);
}

static void what_failed_goes_before_what_is_new (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  for (int i = 0; i < 3; i++) handle(&s, i, 1);
  report(&s, 0, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  handle(&s, 3, 1);
  s.now_us += AGAIN_MOST_US; /* until all is heard of, however long */
  serve(&s);
  taken_is(0, "012");
  report(&s, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  report(&s, 2, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  serve(&s);
  assert_int_equal(taken.count, 3);
  s.now_us = strand_outputs_due(&s.outputs, s.now_us);
  assert_true(s.now_us < INT64_MAX);
  serve(&s);
  taken_is(3, "023");
  close_fixture(&s);
}

static void what_is_acknowledged_is_not_sent_with_what_failed (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 2);
  report(&s, 0, RD_KAFKA_RESP_ERR_NO_ERROR);
  report(&s, 1, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  s.now_us = strand_outputs_due(&s.outputs, s.now_us);
  serve(&s);
  assert_int_equal(taken.count, 3);
  assert_ptr_equal(taken.list[2], taken.list[1]);
  close_fixture(&s);
}

static void of_a_batch_that_was_refused_each_goes_alone (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  for (int i = 0; i < 3; i++) handle(&s, i, 1);
  for (int i = 0; i < 3; i++) {
    report(&s, i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  }
  handle(&s, 3, 1);
  taken_is(3, "0");
  report(&s, 3, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  taken_is(4, "1");
  report(&s, 4, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  serve(&s);
  assert_int_equal(s.parked, 1); /* it is the one */
  taken_is(5, "2");
  report(&s, 5, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  taken_is(6, "3");
  assert_int_equal(committable(&s), 1);
  close_fixture(&s);
}

/* While 0 is out alone, 1 waits to be the next; then 0 has to go again. */
static void what_goes_alone_may_fail_and_go_again (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  for (int i = 0; i < 2; i++) handle(&s, i, 1);
  for (int i = 0; i < 2; i++) {
    report(&s, i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  }
  serve(&s);
  taken_is(2, "0");
  report(&s, 2, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  s.now_us = strand_outputs_due(&s.outputs, s.now_us);
  serve(&s);
  taken_is(3, "0");
  report(&s, 3, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  taken_is(4, "1");
  close_fixture(&s);
}

static void what_goes_alone_goes_again_to_a_new_client (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  for (int i = 0; i < 2; i++) handle(&s, i, 1);
  for (int i = 0; i < 2; i++) {
    report(&s, i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  }
  serve(&s);
  taken_is(2, "0");
  s.outbox.out = 0; /* what strand_outbox_renew does */
  s.outbox.one_alone = s.outbox.full = false;
  strand_outputs_again(&s.outputs, s.now_us);
  check(&s);
  s.now_us = strand_outputs_due(&s.outputs, s.now_us);
  serve(&s);
  taken_is(3, "0");
  close_fixture(&s);
}

static void refuse_batch (fixture *s, int from, int to) {
  for (int i = from; i < to; i++) {
    report(s, i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  }
  serve(s);
}

/* What strand_outbox_renew does, and reports.c. */
static void take_new_client (fixture *s) {
  assert_true(strand_outbox_is_drained(&s->outbox));
  s->outbox.draining = false;
  strand_outputs_regroup(&s->outputs);
  serve(s);
}

static void when_none_was_to_blame_batches_get_smaller (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  s.outbox.conf = rd_kafka_conf_new();
  s.outbox.batch_size = 1000000;
  for (int i = 0; i < 2; i++) handle(&s, i, 1);
  refuse_batch(&s, 0, 2);
  handle(&s, 2, 1);
  taken_is(2, "0");
  report(&s, 2, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  taken_is(3, "1");
  report(&s, 3, RD_KAFKA_RESP_ERR_NO_ERROR);
  assert_int_equal(s.outbox.batch_size, 1000000);
  serve(&s);
  assert_int_equal(taken.count, 4);
  assert_int_equal(s.outbox.batch_size, 500000);
  take_new_client(&s);
  taken_is(4, "2");
  handle(&s, 3, 1);
  refuse_batch(&s, 4, 6);
  taken_is(6, "2");
  report(&s, 6, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  taken_is(7, "3");
  report(&s, 7, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  serve(&s); /* it was this one */
  assert_int_equal(s.parked, 1);
  handle(&s, 4, 1);
  taken_is(8, "4");
  assert_int_equal(s.outbox.batch_size, 500000);
  rd_kafka_conf_destroy(s.outbox.conf);
  close_fixture(&s);
}

/* The limit is learnt while the first of them goes alone. */
static void in_smaller_batches_none_goes_alone (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  s.outbox.conf = rd_kafka_conf_new();
  s.outbox.batch_size = 1000000;
  for (int i = 0; i < 4; i++) handle(&s, i, 1);
  refuse_batch(&s, 0, 4);
  taken_is(4, "0");
  strand_outbox_fit(&s.outbox, "out", 1000);
  report(&s, 4, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  assert_int_equal(taken.count, 5);
  take_new_client(&s);
  taken_is(5, "123");
  assert_int_equal(s.outbox.batch_size, 1000);
  rd_kafka_conf_destroy(s.outbox.conf);
  close_fixture(&s);
}

/* Nothing is sent until all that is out is heard of. */
static void a_limit_that_is_learnt_drains_the_client (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  s.outbox.conf = rd_kafka_conf_new();
  s.outbox.batch_size = 1000000;
  handle(&s, 0, 1);
  strand_outbox_fit(&s.outbox, "out", 1000000);
  handle(&s, 1, 1);
  taken_is(0, "01");
  strand_outbox_fit(&s.outbox, "out", 1000);
  handle(&s, 2, 1);
  assert_int_equal(taken.count, 2);
  report(&s, 0, RD_KAFKA_RESP_ERR_NO_ERROR);
  assert_false(strand_outbox_is_drained(&s.outbox));
  report(&s, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  take_new_client(&s);
  taken_is(2, "2");
  assert_int_equal(s.outbox.batch_size, 1000);
  rd_kafka_conf_destroy(s.outbox.conf);
  close_fixture(&s);
}

static void of_a_refused_record_nothing_more_is_sent (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  taken.room = 1;
  handle(&s, 0, 3);
  handle(&s, 1, 1);
  taken.room = TAKEN_MAX;
  report(&s, 0, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC);
  serve(&s);
  assert_int_equal(s.parked, 1);
  taken_is(1, "1");
  assert_int_equal(atomic_load(&s.consumer.staging.failed), 1);
  close_fixture(&s);
}

static void what_is_out_of_a_refused_record_is_waited_for (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  taken.room = 2;
  handle(&s, 0, 3);
  taken.room = TAKEN_MAX;
  report(&s, 0, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
  serve(&s);
  assert_int_equal(s.parked, 0);
  assert_int_equal(taken.count, 2); /* the third goes nowhere */
  report(&s, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  assert_int_equal(s.parked, 1);
  assert_int_equal(s.failed, 1);
  assert_int_equal(taken.count, 2);
  close_fixture(&s);
}

static void of_what_is_revoked_nothing_more_is_sent (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  taken.room = 2;
  handle(&s, 0, 1);
  handle(&s, 1, 2);
  handle(&s, 2, 1);
  taken.room = TAKEN_MAX;
  end_epoch(&s);
  serve(&s);
  assert_int_equal(taken.count, 2);
  report(&s, 0, RD_KAFKA_RESP_ERR_NO_ERROR);
  report(&s, 1, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  serve(&s);
  assert_int_equal(taken.count, 2);
  assert_int_equal(atomic_load(&s.consumer.staging.bytes), 0);
  strand_engine_free(s.owner.engine);
  open_engine(&s);
  handle(&s, 5, 1);
  taken_is(2, "5");
  close_fixture(&s);
}

static void a_new_client_gets_all_that_was_not_acknowledged (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  for (int i = 0; i < 3; i++) handle(&s, i, 1);
  report(&s, 1, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  s.outbox.out = 0; /* what strand_outbox_renew does */
  strand_outputs_again(&s.outputs, s.now_us);
  check(&s);
  s.now_us = strand_outputs_due(&s.outputs, s.now_us);
  handle(&s, 3, 1);
  taken_is(3, "023");
  close_fixture(&s);
}

/* {=== at most once ======================================================== */

static void open_once (fixture *s) {
  open_fixture(s);
  s->consumer.settings.delivery = STRAND_AT_MOST_ONCE;
}

static void
at_most_once_only_what_was_not_written_is_sent_again (void **state) {
  fixture s;
  (void)state;
  open_once(&s);
  for (int i = 0; i < 3; i++) handle(&s, i, 1);
  report_maybe(&s, 0, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  report(&s, 1, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  report_maybe(&s, 2, RD_KAFKA_RESP_ERR_NO_ERROR);
  serve(&s);
  assert_int_equal(s.failed, 1);
  s.now_us = strand_outputs_due(&s.outputs, s.now_us);
  serve(&s);
  taken_is(3, "1");
  close_fixture(&s);
}

static void at_least_once_what_may_be_written_is_sent_again (void **state) {
  fixture s;
  (void)state;
  open_fixture(&s);
  handle(&s, 0, 1);
  report_maybe(&s, 0, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT);
  s.now_us = strand_outputs_due(&s.outputs, s.now_us);
  serve(&s);
  assert_int_equal(s.failed, 0);
  taken_is(1, "0");
  close_fixture(&s);
}

/* Brokers refuse whole batches: that says that nothing was written. */
static void at_most_once_a_refused_batch_is_taken_apart (void **state) {
  fixture s;
  (void)state;
  open_once(&s);
  handle(&s, 0, 1);
  handle(&s, 1, 1);
  for (int i = 0; i < 2; i++)
    report_maybe(&s, i, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
  serve(&s);
  assert_int_equal(s.failed, 0);
  taken_is(2, "0");
  close_fixture(&s);
}

/* 0 is out, 1 in part, 2 has no room yet. */
static void
at_most_once_a_new_client_gets_what_the_old_one_did_not (void **state) {
  fixture s;
  (void)state;
  open_once(&s);
  taken.room = 2;
  handle(&s, 0, 1);
  handle(&s, 1, 2);
  handle(&s, 2, 1);
  s.outbox.out = 0; /* what strand_outbox_renew does */
  strand_outputs_again(&s.outputs, s.now_us);
  s.outbox.full = false;
  check(&s);
  taken.room = TAKEN_MAX;
  s.now_us = strand_outputs_due(&s.outputs, s.now_us);
  serve(&s);
  assert_int_equal(s.failed, 2);
  taken_is(2, "2");
  close_fixture(&s);
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_record_is_done_when_all_of_them_are_acknowledged),
    cmocka_unit_test(a_full_queue_holds_up_what_is_behind),
    cmocka_unit_test(what_does_not_fit_in_an_empty_queue_is_refused),
    cmocka_unit_test(an_unknown_partition_is_waited_for_a_while),
    cmocka_unit_test(so_is_one_that_librdkafka_was_to_choose),
    cmocka_unit_test(what_failed_goes_before_what_is_new),
    cmocka_unit_test(what_is_acknowledged_is_not_sent_with_what_failed),
    cmocka_unit_test(of_a_batch_that_was_refused_each_goes_alone),
    cmocka_unit_test(what_goes_alone_may_fail_and_go_again),
    cmocka_unit_test(what_goes_alone_goes_again_to_a_new_client),
    cmocka_unit_test(when_none_was_to_blame_batches_get_smaller),
    cmocka_unit_test(in_smaller_batches_none_goes_alone),
    cmocka_unit_test(a_limit_that_is_learnt_drains_the_client),
    cmocka_unit_test(of_a_refused_record_nothing_more_is_sent),
    cmocka_unit_test(what_is_out_of_a_refused_record_is_waited_for),
    cmocka_unit_test(of_what_is_revoked_nothing_more_is_sent),
    cmocka_unit_test(a_new_client_gets_all_that_was_not_acknowledged),
    cmocka_unit_test(at_most_once_only_what_was_not_written_is_sent_again),
    cmocka_unit_test(at_least_once_what_may_be_written_is_sent_again),
    cmocka_unit_test(at_most_once_a_refused_batch_is_taken_apart),
    cmocka_unit_test(at_most_once_a_new_client_gets_what_the_old_one_did_not),
  };
  return cmocka_run_group_tests_name("outputs", tests, NULL, NULL);
}
