/*
** admin_requests.c - see admin_requests.h
*/
#include "lua/admin_requests.h"

#include "lua/admin_call.h"
#include "lua/admin_object.h"
#include "lua/compat.h"
#include "lua/fields.h"
#include "lua/object.h"
#include "lua/properties.h"

/*
** Replies
*/

static void push_value (lua_State *L, const strand_reply *reply,
                        const strand_reply_item *item) {
  switch (item->kind) {
    case STRAND_REPLY_INTEGER:
      strand_push_int64(L, item->value.integer);
      break;
    case STRAND_REPLY_NUMBER:
      lua_pushnumber(L, (lua_Number)item->value.number);
      break;
    case STRAND_REPLY_FLAG:
      lua_pushboolean(L, item->value.integer != 0);
      break;
    default:
      lua_pushlstring(L, reply->bytes + item->value.bytes.at,
                      item->value.bytes.length);
  }
}

/* The value on top of the stack, into the table below it. */
static void put (lua_State *L, const char *name, int *next) {
  if (name != NULL) lua_setfield(L, -2, name);
  else lua_rawseti(L, -2, ++*next);
}

/* Pushes the one table that it is. */
static void push_tables (lua_State *L, const strand_reply *reply) {
  const char *names[STRAND_REPLY_DEPTH + 1]; /* of the open tables */
  int next[STRAND_REPLY_DEPTH + 1] = { 0 };  /* how long they are as lists */
  unsigned depth = 0;
  luaL_checkstack(L, STRAND_REPLY_DEPTH + 2, NULL);
  for (size_t i = 0; i < reply->count; i++) {
    const strand_reply_item *item = &reply->items[i];
    if (item->kind == STRAND_REPLY_OPEN) {
      lua_newtable(L);
      names[++depth] = item->name;
      next[depth] = 0;
    }
    else if (item->kind != STRAND_REPLY_CLOSE) {
      push_value(L, reply, item);
      put(L, item->name, &next[depth]);
    }
    else if (--depth > 0) put(L, names[depth + 1], &next[depth]);
  }
}

static int push_reply (lua_State *L, strand_admin_call *call) {
  if (!call->ok) return strand_push_failure(L, &call->failure);
  push_tables(L, &call->reply);
  return 1;
}

static int push_done (lua_State *L, strand_admin_call *call) {
  return strand_push_done(L, call->ok, &call->failure);
}

/*
** Arguments
*/

static strand_config_kind kind_of (lua_State *L, int index) {
  static const char *const kinds[] = { "topic", "broker", NULL };
  return luaL_checkoption(L, index, NULL, kinds) == 0 ? STRAND_CONFIG_TOPIC
                                                      : STRAND_CONFIG_BROKER;
}

static void read_place (lua_State *L, strand_admin_place *place) {
  int at = lua_gettop(L);
  if (!lua_istable(L, at)) luaL_error(L, "list of places expected");
  place->topic = strand_field_text(L, at, "topic");
  if (place->topic == NULL) luaL_error(L, "option 'topic': required");
  place->partition = (int32_t)strand_field_count(L, at, "partition", 0,
                                                 INT32_MAX);
  place->at = strand_field_int64(L, at, "at", 0);
}

/* A list of { topic, partition, at }. Pushes what owns the array; its strings
** are borrowed from the list. */
static const strand_admin_place *push_places (lua_State *L, int list,
                                              size_t *count) {
  strand_admin_place *places;
  luaL_checktype(L, list, LUA_TTABLE);
  *count = strand_rawlen(L, list);
  luaL_argcheck(L, *count < INT32_MAX, list, "too long");
  places = strand_newuserdata(L, (*count + 1) * sizeof(*places));
  for (size_t i = 0; i < *count; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    read_place(L, &places[i]);
    lua_pop(L, 1);
  }
  return places;
}

/* { set = { { name, value }, ... }, unset = { name, ... } }. Pushes what owns
** the array, and what its strings are borrowed from. */
static const strand_property *push_changes (lua_State *L, int table,
                                            size_t *count) {
  size_t set_count;
  size_t unset_count = 0;
  const strand_property *set = strand_push_properties(L, table, "set",
                                                      &set_count);
  const char *const *unset;
  strand_property *changes;
  lua_getfield(L, table, "unset");
  unset = strand_push_texts(L, lua_gettop(L), "unset", &unset_count);
  *count = set_count + unset_count;
  changes = strand_newuserdata(L, (*count + 1) * sizeof(*changes));
  for (size_t i = 0; i < set_count; i++) changes[i] = set[i];
  for (size_t i = 0; i < unset_count; i++)
    changes[set_count + i] = (strand_property){ unset[i], NULL };
  return changes;
}

/*
** Topics and settings
*/

static bool describe (strand_admin_call *c) {
  return strand_admin_describe(c->admin, c->texts, c->count, c->timeout,
                               &c->reply, &c->failure);
}

static int admin_describe (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 3);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  call.texts = strand_push_texts(L, 2, "argument 'topics'", &call.count);
  return strand_admin_submit(L, self, &call, describe, push_reply);
}

static bool describe_configs (strand_admin_call *c) {
  return strand_admin_configs(c->admin, c->kind, c->texts, c->count,
                              c->timeout, &c->reply, &c->failure);
}

static int admin_configs (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 4);
  call.kind = kind_of(L, 2);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  luaL_checktype(L, 3, LUA_TTABLE);
  call.texts = strand_push_texts(L, 3, "names", &call.count);
  return strand_admin_submit(L, self, &call, describe_configs, push_reply);
}

static bool alter_config (strand_admin_call *c) {
  return strand_admin_alter_config(c->admin, c->kind, c->name, c->changes,
                                   c->count, c->timeout, &c->failure);
}

static int admin_alter_config (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 5);
  call.kind = kind_of(L, 2);
  call.name = strand_check_text(L, 3);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  luaL_checktype(L, 4, LUA_TTABLE);
  call.changes = push_changes(L, 4, &call.count);
  return strand_admin_submit(L, self, &call, alter_config, push_done);
}

/*
** Places in topics
*/

static bool find_offsets (strand_admin_call *c) {
  return strand_admin_find_offsets(c->admin, c->places, c->count, c->timeout,
                                   &c->reply, &c->failure);
}

static bool delete_records (strand_admin_call *c) {
  return strand_admin_delete_records(c->admin, c->places, c->count, c->timeout,
                                     &c->reply, &c->failure);
}

static int ask_places (lua_State *L, strand_admin_run *request) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 3);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  call.places = push_places(L, 2, &call.count);
  return strand_admin_submit(L, self, &call, request, push_reply);
}

static int admin_find_offsets (lua_State *L) {
  return ask_places(L, find_offsets);
}

static int admin_delete_records (lua_State *L) {
  return ask_places(L, delete_records);
}

static strand_admin_reading check_reading (lua_State *L, int table) {
  strand_admin_reading reading;
  luaL_checktype(L, table, LUA_TTABLE);
  reading.topic = strand_field_text(L, table, "topic");
  if (reading.topic == NULL) luaL_error(L, "option 'topic': required");
  reading.partition = (int32_t)strand_field_count(L, table, "partition", 0,
                                                  INT32_MAX);
  reading.offset = strand_field_count(L, table, "offset", 0, INT64_MAX);
  reading.end = strand_field_count(L, table, "end", 0, INT64_MAX);
  reading.records = strand_field_count(L, table, "records", 1, INT32_MAX);
  reading.bytes = strand_field_count(L, table, "bytes", 1, INT64_MAX);
  return reading;
}

static bool read_records (strand_admin_call *c) {
  return strand_admin_read(c->admin, &c->reading, c->timeout, &c->reply,
                           &c->failure);
}

static int admin_read (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 3);
  call.reading = check_reading(L, 2);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  return strand_admin_submit(L, self, &call, read_records, push_reply);
}

/*
** Groups
*/

static bool list_groups (strand_admin_call *c) {
  return strand_admin_list_groups(c->admin, c->timeout, &c->reply,
                                  &c->failure);
}

static int admin_list_groups (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 2);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  return strand_admin_submit(L, self, &call, list_groups, push_reply);
}

static bool describe_groups (strand_admin_call *c) {
  return strand_admin_describe_groups(c->admin, c->texts, c->count, c->timeout,
                                      &c->reply, &c->failure);
}

static int admin_describe_groups (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 3);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  call.texts = strand_push_texts(L, 2, "argument 'groups'", &call.count);
  luaL_argcheck(L, call.count > 0, 2, "names of groups expected");
  return strand_admin_submit(L, self, &call, describe_groups, push_reply);
}

static bool write_offsets (strand_admin_call *c) {
  return strand_admin_write_offsets(c->admin, c->group, c->places, c->count,
                                    c->timeout, &c->reply, &c->failure);
}

static bool delete_offsets (strand_admin_call *c) {
  return strand_admin_delete_offsets(c->admin, c->group, c->places, c->count,
                                     c->timeout, &c->reply, &c->failure);
}

static int change_offsets (lua_State *L, strand_admin_run *request) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 4);
  call.group = strand_check_text(L, 2);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  call.places = push_places(L, 3, &call.count);
  return strand_admin_submit(L, self, &call, request, push_reply);
}

static int admin_write_offsets (lua_State *L) {
  return change_offsets(L, write_offsets);
}

static int admin_delete_offsets (lua_State *L) {
  return change_offsets(L, delete_offsets);
}

static const luaL_Reg methods[] = {
  { "describe", admin_describe },
  { "configs", admin_configs },
  { "alter_config", admin_alter_config },
  { "find_offsets", admin_find_offsets },
  { "delete_records", admin_delete_records },
  { "read", admin_read },
  { "list_groups", admin_list_groups },
  { "describe_groups", admin_describe_groups },
  { "write_offsets", admin_write_offsets },
  { "delete_offsets", admin_delete_offsets },
  { NULL, NULL },
};

void strand_open_admin_requests (lua_State *L) {
  strand_addmethods(L, STRAND_ADMIN_TYPE, methods);
}
