/*
** record.h - one record between the broker and its end
**
** The bytes of a record (key, value, headers) are copied out of librdkafka
** once, behind the struct, and the message is destroyed at once: a held
** message pins its whole fetch buffer. Records of a partition share chunks,
** so that a record costs no allocation of its own; a chunk is freed when its
** last record is. A record that has to stay (back-off, and all that waits
** behind it) is moved to an allocation of its own, so that it pins no chunk.
**
**   | stage                | owner of the record        | who may read it |
**   |----------------------|----------------------------|-----------------|
**   | polled, in its shard | engine                     | owner           |
**   | leased               | engine; the lease borrows  | owner, worker   |
**   | handled, its outputs under way | engine           | owner           |
**   | done                 | freed by the engine        | nobody          |
**   | back-off, parked, dead letter under way | engine (own allocation)
**                                                       | owner           |
**   | revoked while leased | engine, until the lease ends | owner, worker |
**
** Thread: owner. A worker reads the fields marked 'lease' of the records of
** its lease, which nobody writes meanwhile.
*/
#ifndef STRAND_RECORD_H
#define STRAND_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/list.h"

#define STRAND_CHUNK_MAX (16u * 1024u)
#define STRAND_CHUNK_MIN 1024u

struct strand_partition;
struct strand_shard;

/* Records begin right behind it, so its size is a multiple of theirs. */
typedef struct strand_chunk {
  struct strand_chunk *next; /* in the engine's free list */
  _Alignas(8) uint32_t used;
  uint32_t size;
  uint32_t live; /* records in it; the open chunk counts as one more */
} strand_chunk;

/* Why a record is not done and does not run. */
typedef enum strand_waiting {
  STRAND_WAITING_BACKOFF,
  STRAND_WAITING_PARKED,
  STRAND_WAITING_DEAD_LETTER /* its dead letter is under way */
} strand_waiting;

/* Why it ended so. */
typedef enum strand_cause {
  STRAND_CAUSE_FAILED,
  STRAND_CAUSE_EXHAUSTED, /* and was not to be tried again */
  STRAND_CAUSE_DEADLINE,
  STRAND_CAUSE_ASKED /* the handler wanted it */
} strand_cause;

/* What is known of a record that ended without being done; only records of
** their own allocation have one. */
typedef struct strand_past {
  int64_t first_us; /* engine time of the first such end */
  int64_t last_us;
  uint32_t failures; /* that count in the policy */
  uint8_t waiting;   /* strand_waiting, with STRAND_RECORD_WAITING */
  uint8_t cause;     /* strand_cause */
  uint8_t resolved;  /* was parked: STRAND_RESOLVE_ and what, from 1 */
  uint32_t length;
  char text[]; /* the last reason; not terminated */
} strand_past;

enum {
  STRAND_RECORD_KEY = 1,     /* has a key (which may be empty) */
  STRAND_RECORD_VALUE = 2,   /* has a value */
  STRAND_RECORD_OWN = 4,     /* its own allocation, not in a chunk */
  STRAND_RECORD_CHARGED = 8, /* counted in the waiting budget */
  STRAND_RECORD_LEASED = 16,
  STRAND_RECORD_WAITING = 32, /* see past->waiting */
  STRAND_RECORD_EPOCH = 64,   /* its leader epoch is known */
  STRAND_RECORD_SENDING = 128 /* handled; its outputs are not acknowledged */
};

typedef enum strand_timestamp_type {
  STRAND_TIMESTAMP_NONE = 0,
  STRAND_TIMESTAMP_CREATE,
  STRAND_TIMESTAMP_APPEND
} strand_timestamp_type;

typedef struct strand_record {
  strand_link link;             /* the partition's records by offset */
  struct strand_record *behind; /* lease: next of its shard (all but the
                                    lease's last) */
  struct strand_shard *shard;   /* lease */
  union {
    strand_chunk *chunk;
    strand_past *past; /* STRAND_RECORD_OWN; NULL for none */
  } in;
  int64_t offset;          /* lease */
  int64_t timestamp_ms;    /* lease */
  uint32_t key_length;     /* lease */
  uint32_t value_length;   /* lease */
  uint32_t headers_length; /* lease: packed, see below */
  uint32_t polled_ms;      /* engine time, wraps after 49 days */
  uint16_t attempt;        /* lease: 1 at first; stays at 65,535 */
  uint8_t flags;
  uint8_t timestamp_type : 2; /* lease */
  uint8_t transacted : 1;     /* see transacted.c; never while it is leased */
  char bytes[];               /* lease: key, value, packed headers; then
                                    four bytes of leader epoch, if known */
} strand_record;

static inline const char *strand_record_key (const strand_record *r) {
  return r->bytes;
}

static inline const char *strand_record_value (const strand_record *r) {
  return r->bytes + r->key_length;
}

/* Packed headers: for each its name's length, its value's length (both four
** bytes, native; STRAND_HEADER_ABSENT for no value), name and value. */
#define STRAND_HEADER_ABSENT UINT32_MAX

static inline const char *strand_record_headers (const strand_record *r) {
  return r->bytes + r->key_length + r->value_length;
}

typedef struct strand_header {
  const char *name;
  const char *value; /* NULL when absent */
  uint32_t name_length;
  uint32_t value_length;
} strand_header;

/* Reads the header at '*at' of the packed headers and moves on. False at
** the end. */
static inline int strand_header_next (const char *packed, uint32_t length,
                                      uint32_t *at, strand_header *h) {
  if (*at + 8 > length) return 0;
  memcpy(&h->name_length, packed + *at, 4);
  memcpy(&h->value_length, packed + *at + 4, 4);
  h->name = packed + *at + 8;
  *at += 8 + h->name_length;
  h->value = NULL;
  if (h->value_length == STRAND_HEADER_ABSENT) h->value_length = 0;
  else {
    h->value = packed + *at;
    *at += h->value_length;
  }
  return 1;
}

#define STRAND_EPOCH_LENGTH 4

/* -1 when it is not known. */
static inline int32_t strand_record_epoch (const strand_record *r) {
  int32_t epoch;
  if (!(r->flags & STRAND_RECORD_EPOCH)) return -1;
  memcpy(&epoch, strand_record_headers(r) + r->headers_length, sizeof(epoch));
  return epoch;
}

static inline size_t strand_record_length (const strand_record *r) {
  return (size_t)r->key_length + r->value_length + r->headers_length
         + (r->flags & STRAND_RECORD_EPOCH ? STRAND_EPOCH_LENGTH : 0);
}

/* What the record takes in a chunk, or of its own, with 'length' bytes. */
static inline size_t strand_record_size (size_t length) {
  return (offsetof(strand_record, bytes) + length + 7) & ~(size_t)7;
}

#endif
