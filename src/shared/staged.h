/*
** staged.h - what a handler produced, from its call to the acknowledgement
**
**   worker                              owner
**   an attempt stages its outputs
**     done     -> into the slot --------> hands them over, waits, frees them
**     else     -> frees them
**
** Nothing of an attempt that failed leaves the worker. Bytes are kept until
** the broker has them: what was not delivered is sent again from here.
**
** Invariants:
**   (1) 'bytes' of the staging is what all outputs take that exist; of a
**       record's, what its own take.
**   (2) Outputs of a slot come in the order of its records.
**
** Thread: worker until it is put into a slot, then the owner; the staging is
** any thread's.
*/
#ifndef STRAND_STAGED_H
#define STRAND_STAGED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/engine.h"
#include "kafka/placement.h"
#include "shared/known_topics.h"

/* What handlers of a consumer may produce, and have. */
typedef struct strand_staging {
  /* set before the threads start, and only read */
  size_t limit;       /* bytes; 0: they may not */
  size_t max_message; /* message.max.bytes of the producer */
  bool compressed;    /* batches are: a record may take less than it has */
  strand_partitioner partitioner;

  strand_known_topics topics; /* of outputs */

  /* any thread adds to them; they order nothing */
  _Atomic size_t bytes;    /* staged, and not acknowledged */
  _Atomic uint64_t sent;   /* handed over to the producer */
  _Atomic uint64_t acked;  /* acknowledged by the broker */
  _Atomic uint64_t failed; /* refused for ever */
} strand_staging;

static inline bool strand_staging_is_open (const strand_staging *s) {
  return s->limit > 0;
}
/* What became of outputs so far. */
typedef struct strand_output_counts {
  uint64_t sent;
  uint64_t acked;
  uint64_t failed;
  size_t staged_bytes; /* now */
} strand_output_counts;

strand_output_counts strand_staging_counts (const strand_staging *s);

/* Nothing more is to start until something is acknowledged. */
static inline bool strand_staging_is_full (const strand_staging *s) {
  return s->limit > 0
         && atomic_load_explicit(&s->bytes, memory_order_relaxed) >= s->limit;
}

/* What a client's opaque points to, for all that a member sends: so its
** reports find back. */
typedef struct strand_sent {
  strand_delivery_ticket ticket; /* first: placement.h */
  bool is_output;                /* else a dead letter */
} strand_sent;

struct strand_staged;

/* A record to be sent. */
typedef struct strand_output {
  strand_sent sent; /* first */
  struct strand_output *next;
  struct strand_staged *of;
  int64_t timestamp_ms; /* 0: now */
  int32_t partition;    /* -1: by its key, or 'sent.ticket' */
  uint32_t topic_length;
  uint32_t key_length;
  uint32_t value_length;
  uint32_t headers_length; /* packed, as in core/record.h */
  bool has_key;
  bool has_value;
  /* the owner's */
  bool out;     /* handed over, and not reported */
  bool acked;   /* or was never to be sent */
  bool alone;   /* it was refused among others: nothing else is out with it */
  bool counted; /* as handed over */
  char bytes[]; /* topic, terminated; key, value, headers */
} strand_output;

static inline const char *strand_output_topic (const strand_output *o) {
  return o->bytes;
}
static inline char *strand_output_key (strand_output *o) {
  return o->bytes + o->topic_length + 1;
}
static inline char *strand_output_value (strand_output *o) {
  return strand_output_key(o) + o->key_length;
}
static inline char *strand_output_headers (strand_output *o) {
  return strand_output_value(o) + o->value_length;
}

/* All that one attempt at a record produced. */
typedef struct strand_staged {
  struct strand_staged *next; /* in its slot */
  strand_staging *staging;    /* borrowed; the consumer outlives it */
  strand_output *first;
  strand_output **end;
  size_t bytes;
  uint32_t count;
  uint32_t index; /* of its record in the lease */
  /* the owner's, in outputs.c, or exactly once in transactions.c */
  strand_link link;      /* of all that wait, or of those settled */
  strand_link mine;      /* of its partition's */
  strand_record *record; /* NULL: its partition was revoked */
  strand_output *at;     /* the next to be handed over; NULL: all were */
  uint32_t out;          /* of them, without a report */
  bool acked;            /* transactions.c: it waits for no transaction */
  bool later;            /* ...nor will for a while */
  uint32_t open;         /* not acknowledged */
  const strand_output *refused; /* for ever; NULL: none of them */
  int err;                      /* why, librdkafka's code */
  int64_t awaited_us; /* since then for a partition that is not known; 0: for
                         none (output_topics.h) */
} strand_staged;

/* The first by 'link'. NULL: there is none. */
static inline strand_staged *strand_staged_first (const strand_link *list) {
  if (strand_list_empty(list)) return NULL;
  return strand_list_entry(list->next, strand_staged, link);
}

/* With no output yet. NULL: memory ran out. Thread: any. */
strand_staged *strand_staged_new (strand_staging *staging);
/* Room for an output, whose bytes the caller writes; of 'to', which is made
** when it is NULL. NULL: memory ran out. Thread: worker. */
strand_output *strand_staged_add (strand_staged **to, strand_staging *staging,
                                  const strand_output *lengths);
/* How much one of these lengths takes of max_staged_bytes. */
size_t strand_output_size (const strand_output *lengths);
/* Its first output goes; there is another. Thread: owner. */
void strand_staged_drop_first (strand_staged *staged);
/* Accepts NULL. True: the staging was full, and is not any more: whoever did
** not start anything is to be woken. Thread: any. */
bool strand_staged_free (strand_staged *staged);

/* Where a worker leaves what records of a lease produced, and the owner takes
** it: a list, the newest first. Its 'done' is written after. */
typedef _Atomic(strand_staged *) strand_staged_slot;
/* Thread: worker. */
void strand_staged_put (strand_staged_slot *slot, strand_staged *staged);
/* Adds what was put there behind what is in '*to', the oldest first. Thread:
** owner. */
void strand_staged_take (strand_staged_slot *slot, strand_staged **to);

#endif
