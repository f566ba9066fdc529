/*
** outgoing.c - see outgoing.h
*/
#include "lua/outgoing.h"

#include "lua/compat.h"

/* NULL for nil; numbers are written as Lua writes them. The string stays on
** the stack, at the argument's place. */
static const void *opt_bytes (lua_State *L, int index, size_t *length) {
  *length = 0;
  if (lua_isnoneornil(L, index)) return NULL;
  return luaL_checklstring(L, index, length);
}

static int64_t opt_timestamp (lua_State *L, int index) {
  double ms;
  if (lua_isnoneornil(L, index)) return 0;
  ms = (double)luaL_checknumber(L, index) * 1000;
  luaL_argcheck(
    L, ms >= 0.5 && ms <= (double)STRAND_INT_MAX, index,
    "a time of at least 0.001 expected"); /* 0 is librdkafka's now */
  return (int64_t)(ms + 0.5);
}

static int32_t opt_partition (lua_State *L, int index) {
  int64_t partition;
  if (lua_isnoneornil(L, index)) return -1;
  partition = strand_check_int64(L, index);
  luaL_argcheck(L, partition >= 0 && partition <= INT32_MAX, index,
                "a partition from 0 to 2147483647 expected");
  return (int32_t)partition;
}

static const char *header_string (lua_State *L, int list, size_t i,
                                  size_t *length) {
  const char *text;
  lua_rawgeti(L, list, (int)i);
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_argerror(L, list, "strings expected in headers");
  text = lua_tolstring(L, -1, length);
  lua_pop(L, 1); /* the list still holds it */
  return text;
}

/* { name, value or false, name, ... }. Pushes what owns the array. */
static const strand_outgoing_header *push_headers (lua_State *L, int list,
                                                   size_t *count) {
  strand_outgoing_header *headers;
  size_t i;
  *count = 0;
  if (lua_isnoneornil(L, list)) return NULL;
  luaL_checktype(L, list, LUA_TTABLE);
  *count = strand_rawlen(L, list) / 2;
  headers = strand_newuserdata(L, (*count + 1) * sizeof(*headers));
  for (i = 0; i < *count; i++) {
    strand_outgoing_header *h = &headers[i];
    h->name = header_string(L, list, 2 * i + 1, &h->name_length);
    h->value = NULL;
    h->value_length = 0;
    lua_rawgeti(L, list, (int)(2 * i + 2));
    if (lua_toboolean(L, -1))
      h->value = header_string(L, list, 2 * i + 2, &h->value_length);
    lua_pop(L, 1);
  }
  return headers;
}

static int64_t opt_timeout_us (lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return 0;
  return strand_outgoing_timeout_us(strand_opt_seconds(L, index, 0));
}

int64_t strand_read_outgoing (lua_State *L, strand_outgoing *record) {
  int64_t id = lua_toboolean(L, 9) ? strand_check_int64(L, 9) : 0;
  record->topic = strand_check_text(L, 2);
  record->key = opt_bytes(L, 3, &record->key_length);
  record->value = opt_bytes(L, 4, &record->value_length);
  record->timestamp_ms = opt_timestamp(L, 6);
  record->partition = opt_partition(L, 7);
  record->hash_key = opt_bytes(L, 8, &record->hash_key_length);
  record->timeout_us = opt_timeout_us(L, 10);
  record->headers = push_headers(L, 5, &record->header_count);
  return id;
}
