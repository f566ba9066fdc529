/*
** kafka_handover_test.c - what an owner sees of a slot between a worker's last
** two words on it: 'done' counts all its records, and it has not ended
**
** The test is the worker, so that the moment lasts.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "member/handover.h"
#include "shared/mailbox.h"

#define DEADLINE_US 1000

typedef struct fixture {
  strand_consumer consumer;
  strand_owner owner;
  strand_waker waker;
  strand_assignment assignment;
  strand_snapshot snapshot;
  strand_watchdog watchdog;
  strand_handover handover;
  strand_outbox outbox;
  strand_output_topics output_topics;
  strand_outputs outputs;
  strand_assigned assigned;
  strand_worker_slot *worker_slot;
  int failures; /* that were told */
  int released;
  int unsent; /* dead letters for which there is no memory */
} fixture;

static void count_failures (void *arg, const strand_notice *notice) {
  if (notice->type == STRAND_NOTICE_FAILED) ((fixture *)arg)->failures++;
}

static void count_released (void *arg, const strand_orphan *orphan) {
  (void)orphan;
  ((fixture *)arg)->released++;
}

static bool send_dead_letter (void *arg, strand_partition *p,
                              strand_record *r) {
  (void)p;
  (void)r;
  return --((fixture *)arg)->unsent < 0;
}

static void ignore (void *arg, const strand_orphan *orphan) {
  (void)arg;
  (void)orphan;
}

static void admit_at (fixture *s, strand_partition *p, int64_t offset) {
  strand_record *r = strand_engine_room(s->owner.engine, p, 1);
  r->key_length = 1;
  r->value_length = r->headers_length = 0;
  r->flags |= STRAND_RECORD_KEY;
  r->timestamp_type = STRAND_TIMESTAMP_NONE;
  r->offset = offset;
  r->bytes[0] = 'k';
  assert_int_equal(strand_engine_admit(s->owner.engine, p, r, 1),
                   STRAND_ADDED);
}

/* A consumer whose deadline passed long ago, and one record that a worker has
** just finished. */
static strand_slot *open_fixture (fixture *s, strand_batch_by by) {
  const strand_route_limits limits = {
    .policy = { .attempts = 1, .exhausted = STRAND_OUTCOME_DEAD_LETTER },
    .by = by,
    .batch_size = 1
  };
  strand_engine_config config = { .max_metadata = 4096,
                                  .max_buffered_records = 100,
                                  .max_buffered_bytes = 1u << 20,
                                  .max_waiting_records = 100,
                                  .max_waiting_bytes = 1u << 20,
                                  .routes = &limits,
                                  .route_count = 1,
                                  .arg = s,
                                  .notice = count_failures,
                                  .release = count_released,
                                  .dead_letter = send_dead_letter };
  const strand_route route = { .deadline_us = DEADLINE_US };
  const strand_consumer_config options = { .routes = &route,
                                           .route_count = 1 };
  strand_failure failure;
  strand_engine *engine;
  strand_slot *slot;
  memset(s, 0, sizeof(*s));
  engine = s->owner.engine = strand_engine_new(&config);
  s->owner.consumer = &s->consumer;
  strand_waker_init(&s->waker);
  strand_watchdog_init(&s->watchdog, &s->owner, &s->snapshot);
  s->consumer.staging.limit = 1u << 20;
  s->output_topics = (strand_output_topics){ .owner = &s->owner,
                                             .outbox = &s->outbox };
  strand_outputs_init(&s->outputs, &s->owner, &s->outbox, &s->output_topics,
                      &s->snapshot);
  strand_handover_init(&s->handover, &s->owner, &s->assignment, &s->snapshot,
                       &s->watchdog, &s->outputs, &s->waker, NULL);
  strand_handover_limit(&s->handover, 1);
  if (by != STRAND_BATCH_NONE) strand_handover_widen(&s->handover, 1);
  assert_true(strand_notifier_init(&s->consumer.notifier, true, false));
  assert_true(strand_routes_init(&s->consumer.routes, &options, &failure));
  strand_mailbox_init(&s->consumer.mailbox);
  strand_mailbox_limit(&s->consumer.mailbox, 1, 1);
  s->assigned.partition = strand_engine_assign(engine, "t", 0, 1, 0, NULL, 0);
  strand_list_init(&s->assigned.dead_letters);
  strand_list_init(&s->assigned.outputs);
  strand_partition_set_opaque(s->assigned.partition, &s->assigned);
  assert_int_equal(
    strand_engine_restored(engine, s->assigned.partition, 0, NULL), STRAND_OK);
  admit_at(s, s->assigned.partition, 0);
  strand_handover_post(&s->handover, 1);
  s->worker_slot = strand_mailbox_enter(&s->consumer.mailbox);
  strand_interrupt_open(&s->worker_slot->interrupt);
  assert_true(strand_mailbox_take(&s->consumer.mailbox, s->worker_slot));
  slot = strand_mailbox_claim(&s->consumer.mailbox, s->worker_slot);
  slot->worker_slot = s->worker_slot;
  atomic_store(&slot->began_us, 1);
  atomic_store(&slot->done, 1);
  return slot;
}

static void close_fixture (fixture *s) {
  strand_mailbox *mailbox = &s->consumer.mailbox;
  assert_false(strand_handover_out(&s->handover));
  assert_null(s->watchdog.overdue);
  strand_mailbox_close(mailbox);
  assert_false(strand_mailbox_take(mailbox, s->worker_slot));
  strand_interrupt_close();
  strand_mailbox_leave(mailbox, s->worker_slot);
  strand_handover_free(&s->handover);
  strand_outputs_forget(&s->outputs, &s->assigned, "t", 0);
  strand_outputs_free(&s->outputs);
  assert_int_equal(atomic_load(&s->consumer.staging.bytes), 0);
  strand_engine_free(s->owner.engine);
  strand_mailbox_destroy(mailbox);
  strand_notifier_free(&s->consumer.notifier);
  strand_routes_free(&s->consumer.routes);
}

static void what_is_done_does_not_expire (void **state) {
  fixture s;
  strand_slot *slot = open_fixture(&s, STRAND_BATCH_NONE);
  strand_engine_stats stats;
  (void)state;
  strand_handover_harvest(&s.handover, 1000000);
  strand_engine_stats_read(s.owner.engine, &stats);
  assert_int_equal(stats.done, 1);
  assert_int_equal(stats.failed, 0);
  assert_int_equal(s.failures, 0);
  atomic_store(&slot->state, STRAND_SLOT_ENDED);
  strand_handover_harvest(&s.handover, 1000001);
  close_fixture(&s);
}

/* Its partition goes with the last record. */
static void what_is_done_of_a_revoked_partition_is_let_go (void **state) {
  fixture s;
  strand_slot *slot = open_fixture(&s, STRAND_BATCH_NONE);
  (void)state;
  strand_engine_revoke(s.owner.engine, s.assigned.partition, ignore, NULL);
  strand_handover_harvest(&s.handover, 1000000);
  assert_int_equal(s.released, 1);
  assert_int_equal(s.failures, 0);
  atomic_store(&slot->state, STRAND_SLOT_ENDED);
  strand_handover_harvest(&s.handover, 1000001);
  close_fixture(&s);
}

/* What the record that a worker has just finished produced. */
static strand_staged *produced (fixture *s) {
  strand_staged *staged = NULL;
  assert_non_null(strand_staged_add(&staged, &s->consumer.staging,
                                    &(strand_output){ .topic_length = 0 }));
  return staged;
}

static void leave_produced (fixture *s, const strand_slot *slot) {
  strand_staged_put(strand_slot_staged(s->handover.batches, slot),
                    produced(s));
}

static size_t staged_bytes (fixture *s) {
  return atomic_load(&s->consumer.staging.bytes);
}

/* It is handled, and not done. */
static void what_a_record_produced_is_taken (void **state) {
  fixture s;
  strand_slot *slot = open_fixture(&s, STRAND_BATCH_NONE);
  strand_engine_stats stats;
  (void)state;
  leave_produced(&s, slot);
  strand_handover_harvest(&s.handover, 1000000);
  strand_engine_stats_read(s.owner.engine, &stats);
  assert_int_equal(stats.sending, 1);
  assert_int_equal(stats.done + stats.in_flight, 0);
  assert_false(strand_list_empty(&s.assigned.outputs));
  atomic_store(&slot->state, STRAND_SLOT_ENDED);
  strand_handover_harvest(&s.handover, 1000001);
  assert_true(staged_bytes(&s) > 0);
  close_fixture(&s);
}

static void nothing_is_sent_of_a_revoked_partition (void **state) {
  fixture s;
  strand_slot *slot = open_fixture(&s, STRAND_BATCH_NONE);
  (void)state;
  leave_produced(&s, slot);
  strand_engine_revoke(s.owner.engine, s.assigned.partition, ignore, NULL);
  strand_handover_harvest(&s.handover, 1000000);
  assert_true(strand_list_empty(&s.assigned.outputs));
  assert_int_equal(staged_bytes(&s), 0);
  atomic_store(&slot->state, STRAND_SLOT_ENDED);
  strand_handover_harvest(&s.handover, 1000001);
  close_fixture(&s);
}

/* The worker had put it there, and then found that its time was over. */
static void nothing_is_sent_of_what_has_expired (void **state) {
  fixture s;
  strand_slot *slot = open_fixture(&s, STRAND_BATCH_NONE);
  strand_engine_stats stats;
  (void)state;
  leave_produced(&s, slot);
  atomic_store(&slot->done, STRAND_SLOT_EXPIRED);
  *strand_slot_outcome(s.handover.batches,
                       slot) = (strand_outcome){ .kind = STRAND_OUTCOME_FAILED,
                                                 .delay_us = -1 };
  slot->has_outcome = true;
  atomic_store(&slot->state, STRAND_SLOT_ENDED);
  strand_handover_harvest(&s.handover, 1000000);
  strand_engine_stats_read(s.owner.engine, &stats);
  assert_int_equal(stats.failed, 1);
  assert_int_equal(stats.sending, 0);
  assert_int_equal(staged_bytes(&s), 0);
  close_fixture(&s);
}

/* Of a batch it comes with the outcome. */
static void of_a_batch_only_what_is_done_is_taken (void **state) {
  static const strand_outcome_kind kinds[] = { STRAND_OUTCOME_DONE,
                                               STRAND_OUTCOME_FAILED };
  (void)state;
  for (int i = 0; i < 2; i++) {
    fixture s;
    strand_slot *slot = open_fixture(&s, STRAND_BATCH_PARTITION);
    strand_outcome *v = &slot->call->records.outcomes[0];
    strand_engine_stats stats;
    v->kind = kinds[i];
    v->staged = produced(&s);
    atomic_store(&slot->done, 0);
    slot->has_outcome = true;
    atomic_store(&slot->state, STRAND_SLOT_ENDED);
    strand_handover_harvest(&s.handover, 1000000);
    strand_engine_stats_read(s.owner.engine, &stats);
    assert_int_equal(stats.sending, i == 0);
    assert_int_equal(staged_bytes(&s) > 0, i == 0);
    close_fixture(&s);
  }
}

static void nothing_is_handed_over_while_too_much_is_staged (void **state) {
  fixture s;
  strand_slot *slot = open_fixture(&s, STRAND_BATCH_NONE);
  (void)state;
  atomic_store(&slot->state, STRAND_SLOT_ENDED);
  strand_handover_harvest(&s.handover, 1000000);
  atomic_store(&s.consumer.staging.bytes, s.consumer.staging.limit);
  admit_at(&s, s.assigned.partition, 1);
  strand_handover_post(&s.handover, 1000000);
  assert_false(strand_handover_out(&s.handover));
  atomic_store(&s.consumer.staging.bytes, 0);
  strand_handover_post(&s.handover, 1000000);
  assert_true(strand_handover_out(&s.handover));
  strand_handover_recall(&s.handover);
  strand_handover_harvest(&s.handover, 1000000);
  close_fixture(&s);
}

static strand_outcome *outcome_of (fixture *s, strand_slot *slot) {
  if (slot->call != NULL) return &slot->call->records.outcomes[0];
  return strand_slot_outcome(s->handover.batches, slot);
}

/* Memory runs out in the end of a record whose retry function failed. */
static void a_failed_policy_is_told_once_an_attempt (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_NONE; by <= STRAND_BATCH_PARTITION; by++) {
    fixture s;
    strand_slot *slot = open_fixture(&s, (strand_batch_by)by);
    strand_outcome *v = outcome_of(&s, slot);
    strand_event event;
    s.unsent = 3;
    atomic_store(&slot->done, 0);
    v->kind = STRAND_OUTCOME_FAILED;
    v->delay_us = -1;
    v->policy_problem = strdup("it raised");
    slot->has_outcome = true;
    atomic_store(&slot->state, STRAND_SLOT_ENDED);
    for (int i = 0; i < 4; i++) {
      assert_true(strand_handover_out(&s.handover));
      strand_handover_harvest(&s.handover, 10 + i);
    }
    assert_true(strand_events_pop(s.consumer.notifier.events, &event));
    assert_string_equal(event.type, "policy_failed");
    assert_string_equal(event.topic, "t");
    assert_string_equal(event.reason, "it raised");
    assert_int_equal(event.attempt, 1);
    assert_int_equal(event.key_length, 1);
    strand_event_clear(&event);
    assert_false(strand_events_waiting(s.consumer.notifier.events));
    assert_int_equal(s.failures, 1);
    close_fixture(&s);
  }
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_done_does_not_expire),
    cmocka_unit_test(what_is_done_of_a_revoked_partition_is_let_go),
    cmocka_unit_test(what_a_record_produced_is_taken),
    cmocka_unit_test(nothing_is_sent_of_a_revoked_partition),
    cmocka_unit_test(nothing_is_sent_of_what_has_expired),
    cmocka_unit_test(of_a_batch_only_what_is_done_is_taken),
    cmocka_unit_test(nothing_is_handed_over_while_too_much_is_staged),
    cmocka_unit_test(a_failed_policy_is_told_once_an_attempt),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
