/*
** partitioner_test.c - keys go where Kafka's Java client puts them
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/partitioner.h"

#define VECTORS "spec/support/murmur2-vectors.tsv"
#define COUNTS 10

static const int32_t counts[COUNTS] = { 1, 2, 3, 4, 7, 11, 12, 50, 100, 1000 };

/* "-", "616263" or "1000*61" (see the file's head). The caller frees. */
static unsigned char *read_key (const char *text, size_t *length) {
  unsigned int byte;
  unsigned long times;
  unsigned char *key;
  size_t i;
  if (sscanf(text, "%lu*%2x", &times, &byte) == 2) {
    key = malloc(times);
    memset(key, (int)byte, times);
    *length = times;
    return key;
  }
  *length = *text == '-' ? 0 : strlen(text) / 2;
  key = malloc(*length + 1);
  for (i = 0; i < *length; i++) {
    sscanf(text + 2 * i, "%2x", &byte);
    key[i] = (unsigned char)byte;
  }
  return key;
}

static void check_line (char *line) {
  uint32_t hash = 1;
  size_t length;
  int i;
  char *rest = line;
  unsigned char *key = read_key(strsep(&rest, "\t"), &length);
  int32_t expected = (int32_t)strtol(strsep(&rest, "\t"), NULL, 10);
  assert_int_equal((int32_t)strand_murmur2(key, length), expected);
  assert_true(strand_partitioner_hash(STRAND_PARTITIONER_MURMUR2_RANDOM, key,
                                      length, &hash));
  for (i = 0; i < COUNTS; i++)
    assert_int_equal(strand_partitioner_place(hash, counts[i]),
                     strtol(strsep(&rest, "\t"), NULL, 10));
  free(key);
}

static void murmur2_places_every_key_as_java_does (void **state) {
  char line[512];
  int lines = 0;
  FILE *file = fopen(VECTORS, "r");
  (void)state;
  assert_non_null(file);
  while (fgets(line, sizeof(line), file) != NULL) {
    if (line[0] == '#') continue;
    check_line(line);
    lines++;
  }
  fclose(file);
  assert_true(lines >= 100);
}

static uint32_t hash_of (strand_partitioner which, const char *key) {
  uint32_t hash = 0;
  assert_true(strand_partitioner_hash(which, key, strlen(key), &hash));
  return hash;
}

/* 0xcbf43926 is CRC-32's check value; the hashes of fnv1a are those of
** librdkafka's own test against Sarama. */
static void crc32_and_fnv1a_are_librdkafkas (void **state) {
  (void)state;
  assert_int_equal(hash_of(STRAND_PARTITIONER_CONSISTENT, "123456789"),
                   0xcbf43926u);
  assert_int_equal(hash_of(STRAND_PARTITIONER_CONSISTENT, ""), 0);
  assert_int_equal(hash_of(STRAND_PARTITIONER_FNV1A, "kafka"), 0xd33c4e1);
  assert_int_equal(hash_of(STRAND_PARTITIONER_FNV1A, "giberish123456789"),
                   0x77a58295);
}

static void only_random_partitioners_spread_absent_keys (void **state) {
  uint32_t hash;
  (void)state;
  assert_false(strand_partitioner_hash(STRAND_PARTITIONER_MURMUR2_RANDOM, NULL,
                                       0, &hash));
  assert_false(
    strand_partitioner_hash(STRAND_PARTITIONER_FNV1A_RANDOM, NULL, 0, &hash));
  assert_false(strand_partitioner_hash(STRAND_PARTITIONER_CONSISTENT_RANDOM,
                                       "", 0, &hash));
  assert_false(
    strand_partitioner_hash(STRAND_PARTITIONER_RANDOM, "a", 1, &hash));
  assert_true(
    strand_partitioner_hash(STRAND_PARTITIONER_MURMUR2_RANDOM, "", 0, &hash));
  assert_true(
    strand_partitioner_hash(STRAND_PARTITIONER_MURMUR2, NULL, 0, &hash));
  assert_int_equal(hash, strand_murmur2("", 0) & 0x7fffffffu);
}

static void names_are_librdkafkas (void **state) {
  strand_partitioner which;
  (void)state;
  assert_true(strand_partitioner_find("murmur2_random", &which));
  assert_int_equal(which, STRAND_PARTITIONER_MURMUR2_RANDOM);
  assert_true(strand_partitioner_find("random", &which));
  assert_false(strand_partitioner_find("murmur", &which));
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(murmur2_places_every_key_as_java_does),
    cmocka_unit_test(crc32_and_fnv1a_are_librdkafkas),
    cmocka_unit_test(only_random_partitioners_spread_absent_keys),
    cmocka_unit_test(names_are_librdkafkas)
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
