/*
** siphash.h - SipHash-1-3 with a 128-bit seed
**
** Shards are found by a hash of bytes that strangers choose; a seeded hash
** keeps a million colliding keys from turning the table into a list.
** Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF".
**
** Thread: any (no state).
*/
#ifndef STRAND_SIPHASH_H
#define STRAND_SIPHASH_H

#include <stdint.h>
#include <string.h>

static inline uint64_t strand_rotl (uint64_t x, int b) {
  return (x << b) | (x >> (64 - b));
}

static inline void strand_sip_round (uint64_t v[4]) {
  v[0] += v[1];
  v[1] = strand_rotl(v[1], 13);
  v[1] ^= v[0];
  v[0] = strand_rotl(v[0], 32);
  v[2] += v[3];
  v[3] = strand_rotl(v[3], 16);
  v[3] ^= v[2];
  v[0] += v[3];
  v[3] = strand_rotl(v[3], 21);
  v[3] ^= v[0];
  v[2] += v[1];
  v[1] = strand_rotl(v[1], 17);
  v[1] ^= v[2];
  v[2] = strand_rotl(v[2], 32);
}

static inline uint64_t strand_siphash (const uint64_t seed[2],
                                       const void *data, size_t length) {
  const unsigned char *p = data;
  uint64_t v[4], word, tail = (uint64_t)length << 56;
  size_t left = length;
  v[0] = seed[0] ^ UINT64_C(0x736f6d6570736575);
  v[1] = seed[1] ^ UINT64_C(0x646f72616e646f6d);
  v[2] = seed[0] ^ UINT64_C(0x6c7967656e657261);
  v[3] = seed[1] ^ UINT64_C(0x7465646279746573);
  for (; left >= 8; left -= 8, p += 8) {
    memcpy(&word, p, 8);
    v[3] ^= word;
    strand_sip_round(v);
    v[0] ^= word;
  }
  for (size_t i = 0; i < left; i++) tail |= (uint64_t)p[i] << (8 * i);
  v[3] ^= tail;
  strand_sip_round(v);
  v[0] ^= tail;
  v[2] ^= 0xff;
  strand_sip_round(v);
  strand_sip_round(v);
  strand_sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
