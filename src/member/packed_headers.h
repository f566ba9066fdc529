/*
** packed_headers.h - librdkafka's headers, packed as core/record.h has them
**
** Thread: any (no state).
*/
#ifndef STRAND_PACKED_HEADERS_H
#define STRAND_PACKED_HEADERS_H

#include <stddef.h>

#include <librdkafka/rdkafka.h>

/* The bytes that they take; 'to' gets them, unless it is NULL. */
size_t strand_packed_headers (const rd_kafka_headers_t *headers, char *to);

#endif
