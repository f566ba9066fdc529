/*
** given_record.c - see given_record.h
*/
#include "lua/given_record.h"

#include <string.h>

#include "lua/compat.h"
#include "lua/fields.h"
#include "lua/worker/headers.h"

void strand_given_read (lua_State *L, int flat, strand_given *d) {
  memset(d, 0, sizeof(*d));
  d->topic = strand_field_text(L, flat, "topic");
  luaL_argcheck(L, d->topic != NULL, flat, "a topic expected");
  d->key = strand_field_bytes(L, flat, "key", &d->key_length);
  d->value = strand_field_bytes(L, flat, "value", &d->value_length);
  d->partition = strand_field_count(L, flat, "partition", 0, INT32_MAX);
  d->offset = strand_field_count(L, flat, "offset", 0, STRAND_INT_MAX);
  d->timestamp_ms = strand_field_int64(L, flat, "timestamp_ms", 0);
  d->timestamp_type = (int)strand_field_count(
    L, flat, "timestamp_type", STRAND_TIMESTAMP_NONE, STRAND_TIMESTAMP_APPEND);
  d->attempt = strand_field_count(L, flat, "attempt", 1, UINT16_MAX);
  d->epoch = strand_field_int64(L, flat, "leader_epoch", -1);
  lua_getfield(L, flat, "headers");
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
  }
  d->headers_length = strand_pack_headers(L, lua_gettop(L), NULL);
  luaL_argcheck(L,
                d->key_length <= INT32_MAX && d->value_length <= INT32_MAX
                  && d->headers_length <= INT32_MAX,
                flat, "a record too large");
}

size_t strand_given_length (const strand_given *d) {
  return d->key_length + d->value_length + d->headers_length
         + (d->epoch < 0 ? 0 : STRAND_EPOCH_LENGTH);
}

void strand_given_write (lua_State *L, const strand_given *d, int headers,
                         strand_record *r) {
  int32_t epoch = (int32_t)d->epoch;
  char *at = r->bytes;
  r->offset = d->offset;
  r->timestamp_ms = d->timestamp_ms;
  r->timestamp_type = (uint8_t)d->timestamp_type;
  r->key_length = (uint32_t)d->key_length;
  r->value_length = (uint32_t)d->value_length;
  r->headers_length = (uint32_t)d->headers_length;
  if (d->key != NULL) r->flags |= STRAND_RECORD_KEY;
  if (d->value != NULL) r->flags |= STRAND_RECORD_VALUE;
  if (d->key_length > 0) memcpy(at, d->key, d->key_length);
  at += d->key_length;
  if (d->value_length > 0) memcpy(at, d->value, d->value_length);
  at += d->value_length;
  strand_pack_headers(L, headers, at);
  if (epoch < 0) return;
  r->flags |= STRAND_RECORD_EPOCH;
  memcpy(at + d->headers_length, &epoch, STRAND_EPOCH_LENGTH);
}
