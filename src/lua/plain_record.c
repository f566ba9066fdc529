/*
** plain_record.c - see plain_record.h
*/
#include "lua/plain_record.h"

#include <limits.h>
#include <string.h>

#include "kafka/topic_name.h"
#include "lua/compat.h"

#define LATEST 1e12 /* seconds, as the next two in lua/strand/options */
#define EARLIEST 0.001
#define DAY 86400.0

enum { TOPIC, KEY, VALUE, HEADERS, TIMESTAMP, PARTITION, HASH_KEY, TIMEOUT };

static const char *const field_names[STRAND_PLAIN_FIELDS] = {
  [TOPIC] = "topic",
  [KEY] = "key",
  [VALUE] = "value",
  [HEADERS] = "headers",
  [TIMESTAMP] = "timestamp",
  [PARTITION] = "partition",
  [HASH_KEY] = "partition_key",
  [TIMEOUT] = "timeout",
};

strand_plain_names strand_plain_names_of (lua_State *L) {
  static const char anchor = 0;
  strand_plain_names names;
  lua_createtable(L, STRAND_PLAIN_FIELDS, 0);
  for (int i = 0; i < STRAND_PLAIN_FIELDS; i++) {
    lua_pushstring(L, field_names[i]);
    names.names[i] = lua_tostring(L, -1);
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushlightuserdata(L, (void *)&anchor);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX); /* the same strings each time */
  return names;
}

/*
** Fields: each of these looks at what is on top of the stack
*/

static bool read_bytes (lua_State *L, const void **bytes, size_t *length) {
  if (lua_type(L, -1) != LUA_TSTRING) return false;
  *bytes = lua_tolstring(L, -1, length);
  return true;
}

static bool read_topic (lua_State *L, strand_outgoing *record) {
  size_t length;
  const char *name;
  if (lua_type(L, -1) != LUA_TSTRING) return false;
  name = lua_tolstring(L, -1, &length);
  record->topic = name;
  return strand_is_topic_name(name, length);
}

/* Seconds, from 'least' to 'most'. */
static bool read_seconds (lua_State *L, double least, double most,
                          double *seconds) {
  if (lua_type(L, -1) != LUA_TNUMBER) return false;
  *seconds = (double)lua_tonumber(L, -1);
  return *seconds >= least && *seconds <= most;
}

static bool read_timestamp (lua_State *L, strand_outgoing *record) {
  double seconds;
  if (!read_seconds(L, EARLIEST, LATEST, &seconds)) return false;
  record->timestamp_ms = (int64_t)(seconds * 1000 + 0.5);
  return true;
}

static bool read_timeout (lua_State *L, strand_outgoing *record) {
  double seconds;
  if (!read_seconds(L, 0, DAY, &seconds)) return false;
  record->timeout_us = strand_outgoing_timeout_us(seconds);
  return true;
}

static bool read_partition (lua_State *L, strand_outgoing *record) {
  int64_t partition;
  if (!strand_to_int64(L, -1, &partition)) return false;
  if (partition < 0 || partition > INT32_MAX) return false;
  record->partition = (int32_t)partition;
  return true;
}

/*
** Headers
*/

/* The key of a table's entry under the value on top, and that. */
static bool add_header (lua_State *L, int name, strand_plain_record *plain) {
  strand_outgoing_header *h = &plain->headers[plain->record.header_count];
  if (plain->record.header_count == STRAND_PLAIN_HEADERS_MAX) return false;
  if (lua_type(L, name) != LUA_TSTRING) return false;
  h->name = lua_tolstring(L, name, &h->name_length);
  h->value = NULL;
  h->value_length = 0;
  if (strlen(h->name) != h->name_length) return false; /* a zero byte */
  if (!lua_isnil(L, -1) && !read_bytes(L, &h->value, &h->value_length))
    return false;
  plain->record.header_count++;
  return true;
}

/* Those of a map go by their names. */
static void sort_last (strand_plain_record *plain) {
  strand_outgoing_header *headers = plain->headers;
  strand_outgoing_header last = headers[plain->record.header_count - 1];
  size_t at = plain->record.header_count - 1;
  for (; at > 0 && strcmp(headers[at - 1].name, last.name) > 0; at--)
    headers[at] = headers[at - 1];
  headers[at] = last;
}

static bool is_bare_table (lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TTABLE) return false;
  if (!lua_getmetatable(L, index)) return true;
  lua_pop(L, 1);
  return false;
}

/* How many entries the table has; more than 'most' is 'most' and one. */
static size_t entries_of (lua_State *L, int table, size_t most) {
  size_t count = 0;
  lua_pushnil(L);
  while (lua_next(L, table) != 0) {
    lua_pop(L, 1);
    if (++count > most) {
      lua_pop(L, 1);
      break;
    }
  }
  return count;
}

/* { name, value } on top: pops it. */
static bool read_pair (lua_State *L, strand_plain_record *plain) {
  int pair = lua_gettop(L);
  bool read = false;
  if (is_bare_table(L, pair)) {
    lua_rawgeti(L, pair, 1);
    lua_rawgeti(L, pair, 2);
    read = add_header(L, pair + 1, plain)
           && entries_of(L, pair, 2) == (lua_isnil(L, pair + 2) ? 1u : 2u);
  }
  lua_settop(L, pair - 1);
  return read;
}

bool strand_is_plain_list (lua_State *L, int index, size_t *count) {
  if (!is_bare_table(L, index)) return false;
  *count = strand_rawlen(L, index);
  return *count <= INT_MAX && entries_of(L, index, *count) == *count;
}

static bool read_list (lua_State *L, int list, strand_plain_record *plain) {
  size_t count;
  if (!strand_is_plain_list(L, list, &count)) return false;
  if (count > STRAND_PLAIN_HEADERS_MAX) return false;
  for (size_t i = 1; i <= count; i++) {
    lua_rawgeti(L, list, (int)i);
    if (!read_pair(L, plain)) return false;
  }
  return true;
}

static bool read_map (lua_State *L, int map, strand_plain_record *plain) {
  int top = lua_gettop(L);
  lua_pushnil(L);
  while (lua_next(L, map) != 0) {
    if (!add_header(L, top + 1, plain)) {
      lua_settop(L, top);
      return false;
    }
    sort_last(plain);
    lua_pop(L, 1);
  }
  return true;
}

static bool read_headers (lua_State *L, strand_plain_record *plain) {
  int headers = lua_gettop(L);
  if (!is_bare_table(L, headers)) return false;
  plain->record.headers = plain->headers;
  return strand_rawlen(L, headers) > 0 ? read_list(L, headers, plain)
                                       : read_map(L, headers, plain);
}

/*
** Records
*/

static bool read_field (lua_State *L, int field, strand_plain_record *plain) {
  strand_outgoing *record = &plain->record;
  switch (field) {
    case TOPIC: return read_topic(L, record);
    case KEY: return read_bytes(L, &record->key, &record->key_length);
    case VALUE: return read_bytes(L, &record->value, &record->value_length);
    case HEADERS: return read_headers(L, plain);
    case TIMESTAMP: return read_timestamp(L, record);
    case PARTITION: return read_partition(L, record);
    case HASH_KEY:
      return read_bytes(L, &record->hash_key, &record->hash_key_length);
    case TIMEOUT: return read_timeout(L, record);
    default: return false;
  }
}

/* The field that the entry at 'key' is; none: STRAND_PLAIN_FIELDS. A number
** becomes a string there, which is no field's name, and ends the reading. */
static int field_of (lua_State *L, int key, const strand_plain_names *names) {
  const char *name = lua_tostring(L, key);
  int field = 0;
  while (field < STRAND_PLAIN_FIELDS && names->names[field] != name) field++;
  return field;
}

bool strand_plain_record_read (lua_State *L, int index,
                               const strand_plain_names *names,
                               strand_plain_record *plain) {
  int top = lua_gettop(L);
  if (!is_bare_table(L, index)) return false;
  plain->record = (strand_outgoing){ .partition = -1 };
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    if (!read_field(L, field_of(L, top + 1, names), plain)) {
      lua_settop(L, top);
      return false;
    }
    lua_pop(L, 1);
  }
  return plain->record.topic != NULL;
}
