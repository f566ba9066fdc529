/*
** kafka_placement_test.c - each name places a key where librdkafka's own
** partitioner of that name does; what has no key is spread
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/c11_threads.h"
#include "kafka/placement.h"

#define COUNTS 8
#define KEYS 10000
#define LONGEST 40

typedef int32_t partitioner (const rd_kafka_topic_t *, const void *, size_t,
                             int32_t, void *, void *);

static const int32_t counts[COUNTS] = { 1, 2, 3, 7, 11, 50, 1000, 4097 };

/* What a NULL key and an empty one are: those that are spread have no place of
** their own. */
static const struct {
  const char *name;
  partitioner *of_librdkafka;
  bool null_is_spread;
  bool empty_is_spread;
} names[] = {
  { "murmur2", rd_kafka_msg_partitioner_murmur2, false, false },
  { "murmur2_random", rd_kafka_msg_partitioner_murmur2_random, true, false },
  { "consistent", rd_kafka_msg_partitioner_consistent, false, false },
  { "consistent_random", rd_kafka_msg_partitioner_consistent_random, true,
    true },
  { "fnv1a", rd_kafka_msg_partitioner_fnv1a, false, false },
  { "fnv1a_random", rd_kafka_msg_partitioner_fnv1a_random, true, false },
};
#define NAMES (sizeof(names) / sizeof(names[0]))

static rd_kafka_t *client;
static rd_kafka_topic_t *topic; /* of no broker: each partition is away */

static int open_topic (void **state) {
  char errstr[200];
  (void)state;
  client = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), errstr,
                        sizeof(errstr));
  if (client == NULL) return -1;
  topic = rd_kafka_topic_new(client, "t", NULL);
  return topic != NULL ? 0 : -1;
}

static int close_topic (void **state) {
  (void)state;
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(client);
  return 0;
}

/* The same each time: xorshift. */
static uint64_t next_random (void) {
  static uint64_t x = 0x9e3779b97f4a7c15u;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

static size_t random_key (unsigned char key[LONGEST]) {
  size_t length = next_random() % LONGEST + 1;
  for (size_t i = 0; i < length; i++) key[i] = (unsigned char)next_random();
  return length;
}

static strand_placement placement_of (const char *name) {
  strand_placement placement;
  memset(&placement, 0, sizeof(placement));
  assert_true(strand_partitioner_find(name, &placement.which));
  return placement;
}

/* By the key itself, and by the same bytes as a partition key of a record that
** has another key. */
static int32_t place (strand_placement *placement, const void *key,
                      size_t length, int32_t count, bool as_partition_key) {
  strand_topic_place of = { .placement = placement };
  strand_delivery_ticket record = { .by = STRAND_PLACED_BY_KEY };
  if (as_partition_key) {
    strand_placement_hash(placement->which, key, length, &record);
    key = "other";
    length = 5;
  }
  return strand_placement_place(topic, key, length, count, &of,
                                strand_placement_opaque(&record));
}

static void check_key (size_t which, const void *key, size_t length) {
  strand_placement placement = placement_of(names[which].name);
  for (size_t i = 0; i < COUNTS; i++) {
    int32_t expected = names[which].of_librdkafka(topic, key, length,
                                                  counts[i], NULL, NULL);
    assert_int_equal(place(&placement, key, length, counts[i], false),
                     expected);
    if (key == NULL) continue; /* no partition key is not one of NULL */
    assert_int_equal(place(&placement, key, length, counts[i], true),
                     expected);
  }
}

static void keys_are_placed_as_librdkafka_places_them (void **state) {
  static const char *const texts[] = {
    "a",
    "order-17",
    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8e\x88",
    "kafka",
    "\xff\xfe\x80",
    "12345678901234567890123456789012345678901234567890"
  };
  (void)state;
  for (size_t which = 0; which < NAMES; which++) {
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
      check_key(which, texts[i], strlen(texts[i]));
    }
    check_key(which, "a\0b\0", 4);
    check_key(which, "\0", 1);
    for (int i = 0; i < KEYS; i++) {
      unsigned char key[LONGEST];
      size_t length = random_key(key);
      check_key(which, key, length);
    }
  }
}

/* Each partition gets its share: of one that a hash picked, one gets all. */
static void check_spread (strand_placement *placement, const void *key,
                          bool as_partition_key) {
  int hits[7] = { 0 };
  for (int i = 0; i < 7000; i++) {
    size_t length = key != NULL ? strlen(key) : 0;
    int32_t at = place(placement, key, length, 7, as_partition_key);
    assert_in_range(at, 0, 6);
    hits[at]++;
  }
  for (int i = 0; i < 7; i++) assert_in_range(hits[i], 500, 1500);
}

static void null_and_empty_keys_are_spread_or_placed (void **state) {
  (void)state;
  for (size_t which = 0; which < NAMES; which++) {
    strand_placement placement = placement_of(names[which].name);
    if (names[which].null_is_spread) check_spread(&placement, NULL, false);
    else check_key(which, NULL, 0);
    if (!names[which].empty_is_spread) {
      check_key(which, "", 0);
      continue;
    }
    check_spread(&placement, "", false);
    check_spread(&placement, "", true);
  }
}

static void random_spreads_whatever_it_is_given (void **state) {
  strand_placement placement = placement_of("random");
  (void)state;
  check_spread(&placement, NULL, false);
  check_spread(&placement, "", false);
  check_spread(&placement, "order-17", false);
  check_spread(&placement, "order-17", true);
}

static void a_partition_that_was_picked_stays (void **state) {
  strand_placement placement = placement_of("murmur2_random");
  strand_topic_place *of = strand_placement_add(&placement);
  strand_delivery_ticket record = { .by = STRAND_PLACED_BY_PARTITION,
                                    .where = 2147483647 };
  (void)state;
  assert_int_equal(strand_placement_place(topic, "k", 1, 3, of,
                                          strand_placement_opaque(&record)),
                   2147483647);
  record.where = 0;
  assert_int_equal(strand_placement_place(topic, "k", 1, 3, of,
                                          strand_placement_opaque(&record)),
                   0);
  strand_placement_free(&placement);
}

/* Whichever way a record is placed; more or fewer than before. */
static void the_count_is_noted_and_a_change_told_once (void **state) {
  strand_placement placement = placement_of("murmur2_random");
  strand_topic_place *of = strand_placement_add(&placement);
  strand_delivery_ticket record = { .by = STRAND_PLACED_BY_PARTITION };
  static const int32_t seen[] = { 3, 5, 2 };
  (void)state;
  assert_int_equal(strand_topic_place_count(of), 0);
  assert_false(strand_placement_changed(&placement));
  for (size_t i = 0; i < 3; i++) {
    record.by = (strand_placed_by)(STRAND_PLACED_BY_HASH + i);
    for (int twice = 0; twice < 2; twice++)
      strand_placement_place(topic, "k", 1, seen[i], of,
                             strand_placement_opaque(&record));
    assert_int_equal(strand_topic_place_count(of), seen[i]);
    assert_true(strand_placement_changed(&placement));
    assert_false(strand_placement_changed(&placement));
  }
  strand_placement_free(&placement);
  assert_null(placement.first);
}

/* All that have none share one: a number there would be another topic's. */
static void a_topic_without_a_place_notes_nothing (void **state) {
  strand_placement placement = placement_of("murmur2_random");
  strand_delivery_ticket record = { .by = STRAND_PLACED_BY_PARTITION };
  (void)state;
  placement.shared.placement = &placement;
  strand_placement_place(topic, "k", 1, 3, &placement.shared,
                         strand_placement_opaque(&record));
  assert_int_equal(strand_topic_place_count(&placement.shared), 0);
  assert_false(strand_placement_changed(&placement));
  strand_placement_check(&placement);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(keys_are_placed_as_librdkafka_places_them),
    cmocka_unit_test(null_and_empty_keys_are_spread_or_placed),
    cmocka_unit_test(random_spreads_whatever_it_is_given),
    cmocka_unit_test(a_partition_that_was_picked_stays),
    cmocka_unit_test(the_count_is_noted_and_a_change_told_once),
    cmocka_unit_test(a_topic_without_a_place_notes_nothing)
  };
  return cmocka_run_group_tests(tests, open_topic, close_topic);
}
