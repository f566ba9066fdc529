/*
** packed_headers.c - see packed_headers.h
*/
#include "member/packed_headers.h"

#include <stdint.h>
#include <string.h>

#include "core/record.h"

size_t strand_packed_headers (const rd_kafka_headers_t *headers, char *to) {
  const char *name;
  const void *value;
  size_t length = 0, size;
  for (size_t i = 0;
       rd_kafka_header_get_all(headers, i, &name, &value, &size) == 0; i++) {
    uint32_t lengths[2] = { (uint32_t)strlen(name), (uint32_t)size };
    if (value == NULL) {
      lengths[1] = STRAND_HEADER_ABSENT;
      size = 0;
    }
    if (to != NULL) {
      memcpy(to + length, lengths, sizeof(lengths));
      memcpy(to + length + 8, name, lengths[0]);
      if (size > 0) memcpy(to + length + 8 + lengths[0], value, size);
    }
    length += 8 + lengths[0] + size;
  }
  return length;
}
