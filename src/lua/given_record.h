/*
** given_record.h - a record that a test gives, as the engine's
**
** Thread: lua.
*/
#ifndef STRAND_LUA_GIVEN_RECORD_H
#define STRAND_LUA_GIVEN_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "core/record.h"

/* What a flat record says (lua/strand/options/testing.lua), its strings
** borrowed from the table. */
typedef struct strand_given {
  const char *topic, *key, *value;
  size_t key_length, value_length, headers_length;
  int64_t partition, offset, timestamp_ms, attempt, epoch;
  int timestamp_type;
} strand_given;

/* The table is at 'flat'. Pushes the list of headers. Raises. */
void strand_given_read (lua_State *L, int flat, strand_given *d);
/* How long the bytes of the record are. */
size_t strand_given_length (const strand_given *d);
/* Into one of that length; the list of headers is at 'headers'. Raises
** nothing. */
void strand_given_write (lua_State *L, const strand_given *d, int headers,
                         strand_record *r);

#endif
