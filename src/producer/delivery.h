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
  char code[48];        /* "": delivered */
  const char *error;    /* for people; static */
  const char *topic;
  const void *key; /* NULL: null */
  size_t key_length;
  char bytes[];
} strand_delivery;

/* Of a record whose end is not known yet. NULL when memory runs out; free
** gives it back. */
strand_delivery *strand_delivery_open (const char *topic, const void *key,
                                       size_t key_length);
/* What librdkafka reports of it; */
void strand_delivery_fill (strand_delivery *delivery,
                           const rd_kafka_message_t *message);
/* or it did not within the record's own time. */
void strand_delivery_time_out (strand_delivery *delivery);
/* If it was purged, then by the end of its transaction: its code is ABORTED. */
void strand_delivery_abort (strand_delivery *delivery);
/* The first two of these; NULL when memory runs out. */
strand_delivery *strand_delivery_new (const rd_kafka_message_t *message);
/* Nobody takes it: what failed is said in the log. Not what was given up:
** whoever closes says how many. */
void strand_delivery_warn (strand_warnings *warnings,
                           const strand_delivery *delivery);

#endif
