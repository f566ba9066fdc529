/*
** partitioner.h - which partition a key belongs to
**
** A record of a key must go where every other producer of that key sends
** it, or the key's order is lost. So these are exact copies of what others
** do: murmur2 of Kafka's Java client, and librdkafka's crc32 ("consistent")
** and fnv1a (Sarama's, which takes the absolute value).
**
** The hash is separate from the placement: strand hashes a partition key
** when a record is sent, and the number of partitions may be known later.
**
** Thread: any (no state).
*/
#ifndef STRAND_PARTITIONER_H
#define STRAND_PARTITIONER_H

#include <stddef.h>
#include <stdint.h>

/* The _random ones spread records without a key, the others put all of them
** where the empty key goes. */
typedef enum strand_partitioner {
  STRAND_PARTITIONER_MURMUR2_RANDOM,
  STRAND_PARTITIONER_MURMUR2,
  STRAND_PARTITIONER_CONSISTENT_RANDOM,
  STRAND_PARTITIONER_CONSISTENT,
  STRAND_PARTITIONER_FNV1A_RANDOM,
  STRAND_PARTITIONER_FNV1A,
  STRAND_PARTITIONER_RANDOM
} strand_partitioner;

/* 0 for a name that is none of librdkafka's. */
int strand_partitioner_find (const char *name, strand_partitioner *which);

/* 0 when records with this key are spread, and there is no hash. A NULL key
** is an absent one; an empty key is not NULL. */
int strand_partitioner_hash (strand_partitioner which, const void *key,
                             size_t length, uint32_t *hash);

/* 'count' > 0. */
int32_t strand_partitioner_place (uint32_t hash, int32_t count);

/* Utils.murmur2 of Kafka's Java client; the sign bit is still there. */
uint32_t strand_murmur2 (const void *key, size_t length);

#endif
