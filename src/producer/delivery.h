/*
** delivery.h - what became of a record that was sent
**
** Thread: lua.
*/
#ifndef STRAND_DELIVERY_H
#define STRAND_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "shared/warnings.h"

typedef struct strand_delivery {
  struct strand_delivery *next;
  int64_t id; /* of who waits for it; 0: nobody by an id */
  rd_kafka_resp_err_t err;
  bool certain; /* failed, and certainly not written */
  int32_t partition;
  int64_t offset;
  int64_t timestamp_ms; /* -1: none */
  int64_t latency_us;   /* from send to its report; -1: not known */
  const char *code;     /* "": delivered; static, or in 'bytes' */
  const char *error;    /* for people; the same */
  const char *topic;
  const void *key; /* NULL: null */
  size_t key_length;
  char *room; /* in 'bytes', for an error; NULL: it was delivered */
  char bytes[];
} strand_delivery;

/* Of an error's text, with its end, and of its code. */
#define STRAND_DELIVERY_TEXT 200
#define STRAND_DELIVERY_CODE 48

/* How a record ended: borrowed. */
typedef struct strand_delivery_end {
  rd_kafka_resp_err_t err;
  const char *error;  /* for people, static; NULL: librdkafka's words for it */
  const char *detail; /* what is known beside the error; "": nothing */
  bool certain;       /* failed, and certainly not written */
  const char *topic;
  int32_t partition;
  int64_t offset;
  const rd_kafka_message_t *message; /* has its times; NULL: was never sent */
  int64_t latency_us;                /* of one without a message */
  const void *key;                   /* NULL: null */
  size_t key_length;
  size_t size; /* what it took of the queue's bound */
  void *opaque;
} strand_delivery_end;

/* What librdkafka reports. */
strand_delivery_end strand_delivery_end_of (const rd_kafka_message_t *message);

/* Of a record whose end is not known yet. NULL when memory runs out; free
** gives it back. */
strand_delivery *strand_delivery_open (const char *topic, const void *key,
                                       size_t key_length);
/* It has ended; */
void strand_delivery_fill (strand_delivery *delivery,
                           const strand_delivery_end *end);
/* or nothing was reported of it within its own time. 'detail' as above. */
void strand_delivery_time_out (strand_delivery *delivery, const char *detail);
/* If it was purged, then by the end of its transaction: its code is ABORTED. */
void strand_delivery_abort (strand_delivery *delivery);
/* The first two of these; NULL when memory runs out. */
strand_delivery *strand_delivery_new (const strand_delivery_end *end);
/* Nobody takes it: what failed is said in the log. Not what was given up:
** whoever closes says how many. */
void strand_delivery_warn (strand_warnings *warnings,
                           const strand_delivery *delivery);

#endif
