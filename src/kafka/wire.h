/*
** wire.h - what a record's bytes say where they were received
**
** Thread: any.
*/
#ifndef STRAND_WIRE_H
#define STRAND_WIRE_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a message with this key and value, as librdkafka gave them, has no
** headers for certain. False: ask librdkafka. */
bool strand_wire_no_headers (const void *key, size_t key_length,
                             const void *value, size_t value_length);

#endif
