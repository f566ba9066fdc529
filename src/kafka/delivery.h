/*
** delivery.h - what became of a record that was sent
**
** Thread: lua.
*/
#ifndef STRAND_DELIVERY_H
#define STRAND_DELIVERY_H

#include <stddef.h>
#include <stdint.h>

typedef struct strand_delivery {
  struct strand_delivery *next;
  int32_t partition;
  int64_t offset;
  int64_t timestamp_ms; /* -1: none */
  char code[48];        /* "": delivered */
  const char *error;    /* for people; static */
  const char *topic;
  const void *key; /* NULL: null */
  size_t key_length;
  char bytes[];
} strand_delivery;

#endif
