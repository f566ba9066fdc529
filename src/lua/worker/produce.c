/*
** produce.c - see produce.h
*/
#include "lua/worker/produce.h"

#include <stdio.h>
#include <string.h>

#include "kafka/placement.h"
#include "kafka/topic_limit.h"
#include "kafka/topic_name.h"
#include "lua/compat.h"
#include "lua/worker/headers.h"

static char check_key; /* its address is the rules' key in the registry */

typedef struct text {
  const char *bytes; /* NULL: there is none; borrowed from the table */
  size_t length;
} text;

typedef struct fields {
  text topic, key, value, partition_key;
  int64_t timestamp_ms;  /* 0: now */
  int32_t partition;     /* -1: none */
  size_t headers_length; /* packed */
  size_t header_count;
} fields;

/*
** The plain ones
*/

/* The value is on top. False: the rules are to look at it. */
static bool read_text (lua_State *L, text *to) {
  if (lua_type(L, -1) != LUA_TSTRING) return false;
  to->bytes = lua_tolstring(L, -1, &to->length);
  return true;
}

static bool read_partition (lua_State *L, int32_t *to) {
  int64_t n;
  if (lua_type(L, -1) != LUA_TNUMBER || !strand_to_int64(L, -1, &n) || n < 0
      || n > INT32_MAX)
    return false;
  *to = (int32_t)n;
  return true;
}

static bool is_named (const char *name, size_t length, const char *expected) {
  return length == strlen(expected) && memcmp(name, expected, length) == 0;
}

/* Name and value are on top. */
static bool read_field (lua_State *L, fields *f) {
  const char *name;
  size_t length;
  if (lua_type(L, -2) != LUA_TSTRING) return false;
  name = lua_tolstring(L, -2, &length);
  if (is_named(name, length, "topic")) return read_text(L, &f->topic);
  if (is_named(name, length, "key")) return read_text(L, &f->key);
  if (is_named(name, length, "value")) return read_text(L, &f->value);
  if (is_named(name, length, "partition"))
    return read_partition(L, &f->partition);
  if (is_named(name, length, "partition_key"))
    return read_text(L, &f->partition_key);
  return false; /* headers, a time, or what is no field */
}

static bool read_plain (lua_State *L, int index, fields *f) {
  if (lua_type(L, index) != LUA_TTABLE || lua_getmetatable(L, index)) {
    return false;
  }
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    if (!read_field(L, f)) return false;
    lua_pop(L, 1);
  }
  return f->topic.bytes != NULL
         && strand_is_topic_name(f->topic.bytes, f->topic.length);
}

/*
** The rules
*/

/* Pushes their function. */
static void push_check (lua_State *L) {
  lua_pushlightuserdata(L, &check_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "strand.options.producer");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "produce");
  lua_remove(L, -2);
  lua_pushlightuserdata(L, &check_key);
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

static void get_text (lua_State *L, int record, const char *name, text *to) {
  lua_getfield(L, record, name);
  to->bytes = lua_tolstring(L, -1, &to->length);
  lua_pop(L, 1);
}

/* Leaves what the rules make of it, and its headers, on the stack. */
static void read_checked (lua_State *L, int index, fields *f) {
  int64_t partition = -1;
  int record;
  push_check(L);
  lua_pushvalue(L, index);
  lua_call(L, 1, 1);
  record = lua_gettop(L);
  memset(f, 0, sizeof(*f));
  get_text(L, record, "topic", &f->topic);
  get_text(L, record, "key", &f->key);
  get_text(L, record, "value", &f->value);
  get_text(L, record, "partition_key", &f->partition_key);
  lua_getfield(L, record, "timestamp");
  f->timestamp_ms = (int64_t)(lua_tonumber(L, -1) * 1000 + 0.5);
  lua_getfield(L, record, "partition");
  strand_to_int64(L, -1, &partition);
  f->partition = (int32_t)partition;
  lua_pop(L, 2);
  lua_getfield(L, record, "headers");
  if (!lua_istable(L, record + 1)) return;
  f->headers_length = strand_pack_headers(L, record + 1, NULL);
  f->header_count = strand_rawlen(L, record + 1) / 2;
}

/*
** Into the staging
*/

static void refuse_large (lua_State *L, const fields *f,
                          const strand_staging *staging) {
  size_t length = f->key.length + f->value.length;
  char limit[32];
  if (f->headers_length <= INT32_MAX && length <= INT32_MAX
      && (staging->max_message == 0 || length <= staging->max_message))
    return;
  snprintf(limit, sizeof(limit), "%zu", staging->max_message);
  luaL_error(L,
             "topic '%s': the record is larger than 'message.max.bytes' (%s)",
             f->topic.bytes, limit);
}

static int64_t batch_bytes (const fields *f) {
  size_t headers = f->headers_length - 8 * f->header_count;
  return strand_batch_bytes(
    (int64_t)(f->key.length + f->value.length + headers),
    (int64_t)f->header_count);
}

/*
** What is known of the topic. Each of these has it asked for again.
*/

static void refuse_missing (lua_State *L, const fields *f,
                            strand_staging *staging, strand_known_topic *t) {
  if (!strand_known_topic_is_missing(t)) return;
  strand_known_topics_want(&staging->topics, t, 1);
  luaL_error(L, "topic '%s': it does not exist", f->topic.bytes);
}

static void refuse_partition (lua_State *L, const fields *f,
                              strand_staging *staging, strand_known_topic *t) {
  int count = strand_known_topic_partitions(t);
  if (count == 0 || f->partition < count) return;
  strand_known_topics_want(&staging->topics, t, f->partition + 1);
  luaL_error(L, "topic '%s': it has %d partitions, and none is %d",
             f->topic.bytes, count, (int)f->partition);
}

static void refuse_beyond (lua_State *L, const fields *f,
                           strand_staging *staging, strand_known_topic *t) {
  int64_t limit = strand_known_topic_limit(t), bytes = batch_bytes(f);
  char why[120];
  if (limit == 0 || staging->compressed || bytes <= limit) return;
  strand_known_topics_verify(&staging->topics, t);
  snprintf(why, sizeof(why),
           "of %lld bytes, is larger than the topic's 'max.message.bytes' "
           "(%lld)",
           (long long)bytes, (long long)limit);
  luaL_error(L, "topic '%s': the record, %s", f->topic.bytes, why);
}

static void refuse_known (lua_State *L, const fields *f,
                          strand_staging *staging) {
  strand_known_topic *t = strand_known_topics_find(
    &staging->topics, f->topic.bytes, f->topic.length);
  if (t == NULL) return;
  refuse_missing(L, f, staging, t);
  refuse_partition(L, f, staging, t);
  refuse_beyond(L, f, staging, t);
}

static void refuse_many (lua_State *L, size_t bytes,
                         const strand_staging *staging) {
  char limit[32];
  if (bytes <= staging->limit) return;
  snprintf(limit, sizeof(limit), "%zu", staging->limit);
  luaL_error(L, "the record has produced more than 'max_staged_bytes' (%s)",
             limit);
}

static void describe (const fields *f, const strand_staging *staging,
                      strand_output *o) {
  memset(o, 0, sizeof(*o));
  o->sent.is_output = true;
  if (f->partition >= 0) {
    o->sent.ticket.by = STRAND_PLACED_BY_PARTITION;
    o->sent.ticket.where = (uint32_t)f->partition;
  }
  else if (f->partition_key.bytes != NULL)
    strand_placement_hash(staging->partitioner, f->partition_key.bytes,
                          f->partition_key.length, &o->sent.ticket);
  o->timestamp_ms = f->timestamp_ms;
  o->partition = f->partition;
  o->topic_length = (uint32_t)f->topic.length;
  o->key_length = (uint32_t)f->key.length;
  o->value_length = (uint32_t)f->value.length;
  o->headers_length = (uint32_t)f->headers_length;
  o->has_key = f->key.bytes != NULL;
  o->has_value = f->value.bytes != NULL;
}

/* The list of headers, if any, is on top. */
static void fill (lua_State *L, strand_output *o, const fields *f) {
  memcpy(o->bytes, f->topic.bytes, f->topic.length + 1);
  if (f->key.length > 0) {
    memcpy(strand_output_key(o), f->key.bytes, f->key.length);
  }
  if (f->value.length > 0) {
    memcpy(strand_output_value(o), f->value.bytes, f->value.length);
  }
  if (f->headers_length > 0) {
    strand_pack_headers(L, lua_gettop(L), strand_output_headers(o));
  }
}

void strand_produce (lua_State *L, int index, const char *method,
                     strand_staged **to, strand_staging *staging) {
  fields f = { .partition = -1 };
  strand_output lengths, *o;
  int top = lua_gettop(L);
  if (!strand_staging_is_open(staging))
    luaL_error(L, "%s needs the option 'producer' of the consumer", method);
  luaL_checkstack(L, 10, "produce");
  if (!read_plain(L, index, &f)) {
    lua_settop(L, top);
    read_checked(L, index, &f);
  }
  refuse_large(L, &f, staging);
  refuse_known(L, &f, staging);
  describe(&f, staging, &lengths);
  refuse_many(L,
              (*to != NULL ? (*to)->bytes : 0) + strand_output_size(&lengths),
              staging);
  o = strand_staged_add(to, staging, &lengths);
  if (o == NULL) luaL_error(L, "not enough memory");
  fill(L, o, &f);
  lua_settop(L, top);
}
