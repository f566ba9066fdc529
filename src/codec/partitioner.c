/*
** partitioner.c - see partitioner.h
*/
#include "codec/partitioner.h"

#include <string.h>

static const struct {
  const char *name;
  strand_partitioner which;
} names[] = { { "murmur2_random", STRAND_PARTITIONER_MURMUR2_RANDOM },
              { "murmur2", STRAND_PARTITIONER_MURMUR2 },
              { "consistent_random", STRAND_PARTITIONER_CONSISTENT_RANDOM },
              { "consistent", STRAND_PARTITIONER_CONSISTENT },
              { "fnv1a_random", STRAND_PARTITIONER_FNV1A_RANDOM },
              { "fnv1a", STRAND_PARTITIONER_FNV1A },
              { "random", STRAND_PARTITIONER_RANDOM } };

int strand_partitioner_find (const char *name, strand_partitioner *which) {
  size_t i;
  for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
    if (strcmp(names[i].name, name) == 0) {
      *which = names[i].which;
      return 1;
    }
  return 0;
}

#define MIX 0x5bd1e995u

uint32_t strand_murmur2 (const void *key, size_t length) {
  const unsigned char *at = key;
  size_t left = length;
  uint32_t h = 0x9747b28cu ^ (uint32_t)length;
  for (; left >= 4; left -= 4, at += 4) {
    uint32_t k = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16
                 | (uint32_t)at[3] << 24;
    k *= MIX;
    k ^= k >> 24;
    k *= MIX;
    h *= MIX;
    h ^= k;
  }
  if (left >= 3) h ^= (uint32_t)at[2] << 16;
  if (left >= 2) h ^= (uint32_t)at[1] << 8;
  if (left >= 1) {
    h ^= at[0];
    h *= MIX;
  }
  h ^= h >> 13;
  h *= MIX;
  return h ^ h >> 15;
}

/* Four bits at a time: small, and fast enough for keys. */
static uint32_t crc32_of (const unsigned char *at, size_t length) {
  static const uint32_t table[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
    0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
    0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c
  };
  uint32_t crc = 0xffffffffu;
  for (; length > 0; length--, at++) {
    crc = table[(crc ^ *at) & 15] ^ crc >> 4;
    crc = table[(crc ^ (uint32_t)*at >> 4) & 15] ^ crc >> 4;
  }
  return ~crc;
}

static uint32_t fnv1a_of (const unsigned char *at, size_t length) {
  uint32_t h = 0x811c9dc5u;
  for (; length > 0; length--, at++) h = (h ^ *at) * 0x01000193u;
  return h & 0x80000000u ? 0u - h : h; /* Sarama's absolute value */
}

int strand_partitioner_hash (strand_partitioner which, const void *key,
                             size_t length, uint32_t *hash) {
  if (key == NULL) length = 0;
  switch (which) {
    case STRAND_PARTITIONER_MURMUR2_RANDOM:
      if (key == NULL) return 0;
      /* fall through */
    case STRAND_PARTITIONER_MURMUR2:
      *hash = strand_murmur2(key, length) & 0x7fffffffu; /* toPositive */
      return 1;
    case STRAND_PARTITIONER_CONSISTENT_RANDOM:
      if (length == 0) return 0; /* librdkafka spreads empty keys, too */
      /* fall through */
    case STRAND_PARTITIONER_CONSISTENT:
      *hash = crc32_of(key, length);
      return 1;
    case STRAND_PARTITIONER_FNV1A_RANDOM:
      if (key == NULL) return 0;
      /* fall through */
    case STRAND_PARTITIONER_FNV1A: *hash = fnv1a_of(key, length); return 1;
    case STRAND_PARTITIONER_RANDOM: break;
  }
  return 0;
}

int32_t strand_partitioner_place (uint32_t hash, int32_t count) {
  return (int32_t)(hash % (uint32_t)count);
}
