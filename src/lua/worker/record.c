/*
** record.c - see record.h
*/
#include "lua/worker/record.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/engine.h"

/* Of the cache: bytes, and what costs more than a look into it. */
enum { SLOT_KEY = 1, SLOT_VALUE, SLOT_HEADERS, SLOT_ID, SLOTS = SLOT_ID };

/* "topic/partition/offset" at its longest */
#define ID_MAX (250 + 12 + 21)

static const char *const names[STRAND_FIELD_COUNT] = {
  "key",          "value",     "offset",  "topic", "partition",
  "headers",      "timestamp", "attempt", "id",    "timestamp_type",
  "leader_epoch", "header",    "copy"
};

static strand_current *current_of (const strand_record_userdata *self) {
  return self->number < self->owner->count ? self->owner->each[self->number]
                                           : NULL;
}

/* NULL when its handler has returned. */
static const strand_record *record_of (const strand_record_userdata *self) {
  const strand_current *current = current_of(self);
  uint64_t index;
  if (current == NULL) return NULL;
  index = self->serial - current->serial;
  return index < current->count ? current->records[index] : NULL;
}

static const strand_record *check_valid (lua_State *L,
                                         const strand_record_userdata *self) {
  const strand_record *r = record_of(self);
  if (r == NULL) luaL_error(L, "record used after its handler returned");
  return r;
}

/* Upvalue 1: the metatable. */
static const strand_record_userdata *check_record (lua_State *L,
                                                   const char *method) {
  const strand_record_userdata *self = lua_touserdata(L, 1);
  if (self == NULL || !lua_getmetatable(L, 1))
    luaL_error(L, "record:%s() is a method: call it with a colon", method);
  if (!lua_rawequal(L, -1, lua_upvalueindex(1)))
    luaL_error(L, "record:%s() is a method: call it with a colon", method);
  lua_pop(L, 1);
  return self;
}

static const strand_record *check_self (lua_State *L, const char *method) {
  return check_valid(L, check_record(L, method));
}

/*
** Values
*/

static int push_bytes (lua_State *L, const strand_record *r, int flag,
                       const char *bytes, uint32_t length) {
  if (r->flags & flag) lua_pushlstring(L, bytes, length);
  else lua_pushnil(L);
  return 1;
}

void strand_push_headers (lua_State *L, const char *packed, uint32_t length) {
  strand_header h;
  uint32_t at = 0;
  int i = 0;
  lua_newtable(L);
  while (strand_header_next(packed, length, &at, &h)) {
    lua_createtable(L, 2, 0);
    lua_pushlstring(L, h.name, h.name_length);
    lua_rawseti(L, -2, 1);
    if (h.value != NULL) {
      lua_pushlstring(L, h.value, h.value_length);
      lua_rawseti(L, -2, 2);
    }
    lua_rawseti(L, -2, ++i);
  }
}

static int push_headers (lua_State *L, const strand_record *r) {
  strand_push_headers(L, strand_record_headers(r), r->headers_length);
  return 1;
}

void strand_push_record_id (lua_State *L, const char *topic, int32_t partition,
                            int64_t offset) {
  char id[ID_MAX + 1];
  snprintf(id, sizeof(id), "%s/%" PRId32 "/%" PRId64, topic, partition,
           offset);
  lua_pushstring(L, id);
}

static int push_timestamp (lua_State *L, const strand_record *r) {
  if (r->timestamp_type == STRAND_TIMESTAMP_NONE) lua_pushnil(L);
  else lua_pushnumber(L, (lua_Number)r->timestamp_ms / 1000);
  return 1;
}

static int push_timestamp_type (lua_State *L, const strand_record *r) {
  switch (r->timestamp_type) {
    case STRAND_TIMESTAMP_CREATE: lua_pushliteral(L, "create"); break;
    case STRAND_TIMESTAMP_APPEND: lua_pushliteral(L, "append"); break;
    default: lua_pushnil(L);
  }
  return 1;
}

static int push_leader_epoch (lua_State *L, const strand_record *r) {
  int32_t epoch = strand_record_epoch(r);
  if (epoch < 0) lua_pushnil(L);
  else lua_pushinteger(L, epoch);
  return 1;
}

/* All but what its partition knows. */
static int push_own (lua_State *L, const strand_record *r,
                     strand_field field) {
  switch (field) {
    case STRAND_FIELD_KEY:
      return push_bytes(L, r, STRAND_RECORD_KEY, strand_record_key(r),
                        r->key_length);
    case STRAND_FIELD_VALUE:
      return push_bytes(L, r, STRAND_RECORD_VALUE, strand_record_value(r),
                        r->value_length);
    case STRAND_FIELD_OFFSET: strand_push_int64(L, r->offset); return 1;
    case STRAND_FIELD_HEADERS: return push_headers(L, r);
    case STRAND_FIELD_TIMESTAMP: return push_timestamp(L, r);
    case STRAND_FIELD_ATTEMPT: lua_pushinteger(L, r->attempt); return 1;
    case STRAND_FIELD_TIMESTAMP_TYPE: return push_timestamp_type(L, r);
    case STRAND_FIELD_LEADER_EPOCH: return push_leader_epoch(L, r);
    default: lua_pushnil(L); return 1;
  }
}

static int push_field (lua_State *L, const strand_record *r,
                       strand_field field) {
  const strand_partition *p = strand_record_partition(r);
  switch (field) {
    case STRAND_FIELD_TOPIC:
      lua_pushstring(L, strand_partition_topic(p));
      return 1;
    case STRAND_FIELD_PARTITION:
      lua_pushinteger(L, strand_partition_index(p));
      return 1;
    case STRAND_FIELD_ID:
      strand_push_record_id(L, strand_partition_topic(p),
                            strand_partition_index(p), r->offset);
      return 1;
    default: return push_own(L, r, field);
  }
}

void strand_push_record (lua_State *L, const strand_record *r,
                         const char *topic, int32_t partition) {
  int field;
  lua_createtable(L, 0, STRAND_FIELD_COUNT);
  for (field = 0; field < STRAND_FIELD_HEADER; field++) {
    push_own(L, r, (strand_field)field);
    lua_setfield(L, -2, names[field]);
  }
  lua_pushstring(L, topic);
  lua_setfield(L, -2, names[STRAND_FIELD_TOPIC]);
  lua_pushinteger(L, partition);
  lua_setfield(L, -2, names[STRAND_FIELD_PARTITION]);
  strand_push_record_id(L, topic, partition, r->offset);
  lua_setfield(L, -2, names[STRAND_FIELD_ID]);
}

/*
** Methods
*/

static int record_header (lua_State *L) {
  const strand_record *r = check_self(L, "header");
  size_t length;
  const char *name = luaL_checklstring(L, 2, &length);
  strand_header h;
  strand_header last = { NULL, NULL, 0, 0 };
  uint32_t at = 0;
  while (
    strand_header_next(strand_record_headers(r), r->headers_length, &at, &h)) {
    if (h.name_length == length && memcmp(h.name, name, length) == 0) last = h;
  }
  if (last.value == NULL) lua_pushnil(L);
  else lua_pushlstring(L, last.value, last.value_length);
  return 1;
}

static int record_copy (lua_State *L) {
  const strand_record *r = check_self(L, "copy");
  const strand_partition *p = strand_record_partition(r);
  strand_push_record(L, r, strand_partition_topic(p),
                     strand_partition_index(p));
  return 1;
}

/*
** Metamethods
*/

static strand_field field_of (lua_State *L, const strand_currents *currents) {
  const char *name = lua_tostring(L, 2); /* that of a number is no field */
  int field;
  for (field = 0; field < STRAND_FIELD_COUNT; field++) {
    if (currents->names[field] == name) break;
  }
  return (strand_field)field;
}

/* 0: the field is not cached. */
static int slot_of (strand_field field) {
  switch (field) {
    case STRAND_FIELD_KEY: return SLOT_KEY;
    case STRAND_FIELD_VALUE: return SLOT_VALUE;
    case STRAND_FIELD_HEADERS: return SLOT_HEADERS;
    case STRAND_FIELD_ID: return SLOT_ID;
    default: return 0;
  }
}

static int push_cached (lua_State *L, strand_current *current,
                        strand_field field, int slot) {
  int cache = lua_upvalueindex(1);
  int at = (int)current->number * SLOTS + slot;
  if (current->cached & 1u << slot) {
    lua_rawgeti(L, cache, at);
    return 1;
  }
  push_field(L, current->records[0], field);
  lua_pushvalue(L, -1);
  lua_rawseti(L, cache, at);
  current->cached |= 1u << slot;
  return 1;
}

/* Upvalue 5: the currents. Nothing else of this size can begin with their
** address: that is quicker to see than the metatable. debug.getmetatable hands
** __index out. */
static const strand_record_userdata *check_shape (lua_State *L) {
  const strand_record_userdata *self = lua_touserdata(L, 1);
  if (self == NULL || strand_rawlen(L, 1) != sizeof(*self)
      || self->owner != lua_touserdata(L, lua_upvalueindex(5)))
    luaL_error(L, "a record expected");
  return self;
}

/* Upvalues: cache, header, copy, names, currents. */
static int record_index (lua_State *L) {
  const strand_record_userdata *self = check_shape(L);
  const strand_record *r = check_valid(L, self);
  strand_field field = field_of(L, self->owner);
  strand_current *current = self->owner->each[self->number];
  int slot = current->count == 1 ? slot_of(field) : 0;
  if (slot != 0) return push_cached(L, current, field, slot);
  if (field == STRAND_FIELD_HEADER || field == STRAND_FIELD_COPY) {
    lua_pushvalue(L, lua_upvalueindex(2 + (field - STRAND_FIELD_HEADER)));
    return 1;
  }
  return push_field(L, r, field);
}

static int record_newindex (lua_State *L) {
  return luaL_error(L, "a record cannot be changed");
}

/* Upvalue: the metatable. debug.getmetatable hands this out. */
static int record_tostring (lua_State *L) {
  const strand_record_userdata *self = check_record(L, "__tostring");
  const strand_record *r = record_of(self);
  if (r == NULL) {
    lua_pushliteral(L, "strand.Record (its handler has returned)");
    return 1;
  }
  push_field(L, r, STRAND_FIELD_ID);
  lua_pushfstring(L, "strand.Record (%s)", lua_tostring(L, -1));
  return 1;
}

/*
** The current records
*/

/* Pushes a table that keeps the names alive. */
static void push_names (lua_State *L, strand_currents *currents) {
  int field;
  lua_createtable(L, STRAND_FIELD_COUNT, 0);
  for (field = 0; field < STRAND_FIELD_COUNT; field++) {
    lua_pushstring(L, names[field]);
    currents->names[field] = lua_tostring(L, -1);
    lua_rawseti(L, -2, field + 1);
  }
}

static void push_method (lua_State *L, int metatable, lua_CFunction method) {
  lua_pushvalue(L, metatable);
  lua_pushcclosure(L, method, 1);
}

void strand_currents_open (lua_State *L, strand_currents *currents,
                           int anchor) {
  int metatable;
  currents->each = NULL;
  currents->count = 0;
  lua_newtable(L);
  metatable = lua_gettop(L);
  if (anchor != 0) {
    lua_pushvalue(L, anchor);
    lua_rawseti(L, metatable, 1);
  }
  lua_createtable(L, SLOTS, 0);
  lua_pushvalue(L, -1);
  push_method(L, metatable, record_header);
  push_method(L, metatable, record_copy);
  push_names(L, currents);
  lua_pushlightuserdata(L, currents);
  lua_pushcclosure(L, record_index, 5);
  lua_setfield(L, metatable, "__index");
  lua_pushcfunction(L, record_newindex);
  lua_setfield(L, metatable, "__newindex");
  push_method(L, metatable, record_tostring);
  lua_setfield(L, metatable, "__tostring");
  lua_pushliteral(L, "strand.Record");
  lua_setfield(L, metatable, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, metatable, "__metatable");
}

/* Writing false to the cache's slots allocates nothing: they are there. */
void strand_current_end (lua_State *L, strand_current *current, int cache) {
  int slot;
  current->serial += current->count;
  current->count = 0;
  if (current->cached == 0) return;
  for (slot = 1; slot <= SLOTS; slot++) {
    if (!(current->cached & 1u << slot)) continue;
    lua_pushboolean(L, 0);
    lua_rawseti(L, cache, (int)current->number * SLOTS + slot);
  }
  current->cached = 0;
}
