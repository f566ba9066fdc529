/*
** kafka_inbox_test.c - who has a partition, its orphans, and what is put into
** an inbox meanwhile
**
** Between an owner that is told of orphans and its engine that learns of them
** there is no lock: the release that comes in that moment is made there, by the
** name that epochs.c has for the engine's function.
*/
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "../../src/core/ownership.c"
#include "../../src/shared/inbox.c"
#include "member/epochs.h"

static void (*meanwhile)(void);

static strand_partition *assign_later (strand_engine *e, const char *topic,
                                       int32_t index, uint32_t epoch,
                                       size_t route,
                                       const strand_orphan *orphans,
                                       size_t orphan_count) {
  if (meanwhile != NULL) meanwhile();
  return strand_engine_assign(e, topic, index, epoch, route, orphans,
                              orphan_count);
}

#define strand_engine_assign assign_later
#include "../../src/member/epochs.c"
#undef strand_engine_assign

#define ROUNDS 3000
#define THREADS 3

static strand_consumer consumer; /* only what a partition needs to begin */
static strand_owner owner;
static strand_assignment assignment;
static strand_epochs epochs;

static const strand_orphan of_a = { .kind = STRAND_SHARD_KEY,
                                    .topic = "t",
                                    .index = 0,
                                    .key = "a",
                                    .key_length = 1 };

static void ignore_notice (void *arg, const strand_notice *notice) {
  (void)arg;
  (void)notice;
}

static int open_all (void **state) {
  static const strand_route_limits route = { .policy = { .attempts = 1 } };
  const strand_engine_config config = { .routes = &route,
                                        .route_count = 1,
                                        .max_metadata = 4096,
                                        .max_buffered_records = 100,
                                        .max_buffered_bytes = 100000,
                                        .max_waiting_records = 100,
                                        .max_waiting_bytes = 100000,
                                        .notice = ignore_notice };
  const strand_consumer_config options = { .topic_count = 0 };
  (void)state;
  memset(&consumer, 0, sizeof(consumer));
  assert_true(strand_settings_init(&consumer.settings, &options));
  assert_true(strand_inboxes_init(&consumer.inboxes, THREADS));
  owner = (strand_owner){ .consumer = &consumer,
                          .index = 1,
                          .engine = strand_engine_new(&config) };
  assignment = (strand_assignment){ 0 };
  epochs = (strand_epochs){ .owner = &owner, .assignment = &assignment };
  meanwhile = NULL;
  return 0;
}

static int close_all (void **state) {
  (void)state;
  strand_inboxes_check(&consumer.inboxes);
  strand_engine_free(owner.engine);
  for (size_t i = 0; i < assignment.count; i++) free(assignment.partitions[i]);
  strand_assignment_free(&assignment);
  strand_inboxes_free(&consumer.inboxes);
  strand_settings_free(&consumer.settings);
  return 0;
}

/* Member 0 had the partition, and a handler of key "a" runs on. */
static void hold_a (void) {
  strand_assign_answer answer;
  assert_int_equal(
    strand_inboxes_assign(&consumer.inboxes, 0, "t", 0, &answer), STRAND_OK);
  assert_int_equal(answer.epoch, 1);
  assert_int_equal(answer.orphan_count, 0);
  strand_assign_answer_clear(&answer);
  assert_int_equal(strand_inboxes_add_orphan(&consumer.inboxes, &of_a),
                   STRAND_OK);
  strand_inboxes_hand_off(&consumer.inboxes, 0, "t", 0);
}

/* Member 1 gets it, with a record of that key. */
static strand_assigned *enter (void) {
  strand_assigned *assigned = strand_assignment_add(&assignment);
  strand_record *r;
  assert_non_null(assigned);
  assert_true(enter_engine(&epochs, assigned, "t", 0));
  assert_int_equal(
    strand_engine_restored(owner.engine, assigned->partition, 0, NULL),
    STRAND_OK);
  r = strand_engine_room(owner.engine, assigned->partition, 1);
  r->flags |= STRAND_RECORD_KEY;
  r->offset = 0;
  r->key_length = 1;
  r->value_length = r->headers_length = 0;
  r->bytes[0] = 'a';
  assert_int_equal(
    strand_engine_admit(owner.engine, assigned->partition, r, 0),
    STRAND_ADDED);
  return assigned;
}

static bool starts (void) {
  strand_lease lease;
  if (!strand_engine_lease(owner.engine, 1, 0, &lease)) return false;
  assert_int_equal(strand_engine_done(owner.engine, &lease, 1, 0), STRAND_OK);
  return true;
}

/* As the owner does at the begin of each turn. */
static size_t take_releases (void) {
  strand_asked asked;
  size_t count = 0;
  strand_inboxes_check(&consumer.inboxes); /* before it is empty */
  asked = strand_inboxes_take(&consumer.inboxes, owner.index);
  while (asked.releases != NULL) {
    strand_orphan_entry *r = asked.releases;
    asked.releases = r->next;
    strand_engine_release(owner.engine, &r->orphan);
    free(r);
    count++;
  }
  return count;
}

static void what_is_held_does_not_start_before_it_is_released (void **state) {
  (void)state;
  hold_a();
  assert_int_equal(enter()->epoch, 2);
  assert_false(starts());
  assert_int_equal(take_releases(), 0);
  strand_inboxes_release(&consumer.inboxes, &of_a);
  assert_false(starts());
  assert_int_equal(take_releases(), 1);
  assert_true(starts());
}

static void release_a (void) {
  strand_inboxes_release(&consumer.inboxes, &of_a);
}

/* It held the key for ever: neither was it told, nor did it hear. */
static void a_release_while_a_partition_enters_is_in_the_inbox (void **state) {
  (void)state;
  hold_a();
  meanwhile = release_a;
  enter();
  assert_false(starts());
  assert_int_equal(take_releases(), 1);
  assert_true(starts());
}

static void a_release_before_it_is_told_is_nobodys (void **state) {
  (void)state;
  hold_a();
  release_a();
  enter();
  assert_int_equal(take_releases(), 0);
  assert_true(starts());
}

/* Without memory nothing has happened: it can be tried again. */
static void what_finds_no_memory_has_not_begun (void **state) {
  strand_orphan orphan = of_a;
  strand_assign_answer answer;
  int failed = 0;
  (void)state;
  orphan.index = 1; /* which nobody ever had */
  fail_alloc(0);
  assert_int_equal(strand_inboxes_add_orphan(&consumer.inboxes, &orphan),
                   STRAND_ENOMEM);
  assert_int_equal(strand_inboxes_add_orphan(&consumer.inboxes, &orphan),
                   STRAND_OK);
  for (;; failed++) {
    fail_alloc(failed);
    if (strand_inboxes_assign(&consumer.inboxes, 1, "t", 1, &answer)
        == STRAND_OK)
      break;
    assert_true(alloc_failed);
    assert_null(answer.orphans);
    strand_inboxes_release(&consumer.inboxes, &orphan); /* nobody has it */
    assert_int_equal(take_releases(), 0);
    fail_alloc(-1);
    assert_int_equal(strand_inboxes_add_orphan(&consumer.inboxes, &orphan),
                     STRAND_OK);
  }
  fail_alloc(-1);
  assert_int_equal(failed, 2); /* who has it, and what is held */
  assert_int_equal(answer.epoch, 1);
  assert_int_equal(answer.orphan_count, 1);
  strand_inboxes_release(&consumer.inboxes, &orphan); /* copies: they stay */
  assert_string_equal(answer.orphans[0].topic, "t");
  assert_memory_equal(answer.orphans[0].key, "a", 1);
  strand_assign_answer_clear(&answer);
  assert_int_equal(take_releases(), 1);
}

/* Members that get, hold and give up partitions at once: as many as to make the
** table grow. */
static void *take_turns (void *arg) {
  unsigned index = (unsigned)(uintptr_t)arg;
  strand_orphan orphan = of_a;
  for (int i = 0; i < ROUNDS; i++) {
    strand_assign_answer answer;
    strand_asked asked;
    orphan.index = i % 100;
    if (strand_inboxes_assign(&consumer.inboxes, index, "t", orphan.index,
                              &answer)
        != STRAND_OK) {
      return "memory ran out";
    }
    if (answer.epoch == 0) return "there was no epoch";
    for (size_t k = 0; k < answer.orphan_count; k++) {
      if (strcmp(answer.orphans[k].topic, "t") != 0) return "another topic";
      if (answer.orphans[k].key_length != 1) return "another key";
    }
    strand_assign_answer_clear(&answer);
    orphan.offset = (int64_t)index * ROUNDS + i;
    orphan.kind = STRAND_SHARD_RECORD;
    if (strand_inboxes_add_orphan(&consumer.inboxes, &orphan) != STRAND_OK) {
      return "memory ran out";
    }
    strand_inboxes_hand_off(&consumer.inboxes, index, "t", orphan.index);
    strand_inboxes_release(&consumer.inboxes, &orphan);
    asked = strand_inboxes_take(&consumer.inboxes, index);
    while (asked.releases != NULL) {
      strand_orphan_entry *r = asked.releases;
      asked.releases = r->next;
      free(r);
    }
  }
  return NULL;
}

static void members_take_over_from_each_other (void **state) {
  pthread_t threads[THREADS];
  (void)state;
  for (uintptr_t i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, take_turns, (void *)i),
                     0);
  }
  for (int i = 0; i < THREADS; i++) {
    void *what;
    pthread_join(threads[i], &what);
    if (what != NULL) fail_msg("%s", (const char *)what);
  }
  for (unsigned i = 0; i < THREADS; i++) {
    owner.index = i;
    take_releases();
  }
  assert_null(consumer.inboxes.ownership.first); /* all came back */
  for (int p = 0; p < 100; p++) {
    assert_false(strand_inboxes_contested(&consumer.inboxes, "t", p));
  }
}

static void each_member_has_its_part (void **state) {
  (void)state;
  assert_true(strand_inboxes_part(&consumer.inboxes, 2) == 1.0 / THREADS);
  strand_inboxes_note_partitions(&consumer.inboxes, 0, 3);
  strand_inboxes_note_partitions(&consumer.inboxes, 2, 1);
  assert_true(strand_inboxes_part(&consumer.inboxes, 0) == 0.75);
  assert_true(strand_inboxes_part(&consumer.inboxes, 2) == 0.25);
  assert_true(strand_inboxes_part(&consumer.inboxes, 1) == 1.0 / THREADS);
  strand_inboxes_note_partitions(&consumer.inboxes, 0, 0);
  assert_true(strand_inboxes_part(&consumer.inboxes, 2) == 1.0);
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(what_is_held_does_not_start_before_it_is_released),
    spec(a_release_while_a_partition_enters_is_in_the_inbox),
    spec(a_release_before_it_is_told_is_nobodys),
    spec(what_finds_no_memory_has_not_begun),
    spec(members_take_over_from_each_other),
    spec(each_member_has_its_part),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
