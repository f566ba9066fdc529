/*
** admin_requests.c - see admin_requests.h
*/
#include "lua/admin_requests.h"

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

static int push_reply (lua_State *L, strand_admin_object *self, bool ok,
                       const strand_failure *failure) {
  if (ok) push_tables(L, &self->reply);
  strand_reply_free(&self->reply);
  return ok ? 1 : strand_push_failure(L, failure);
}

/* Where the next is to be put. */
static strand_reply *fresh (strand_admin_object *self) {
  strand_reply_free(&self->reply); /* if pushing it raised */
  return &self->reply;
}

/*
** Arguments
*/

static double timeout_of (lua_State *L, int index) {
  return strand_opt_seconds(L, index, STRAND_ADMIN_TIMEOUT);
}

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

static int admin_describe (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  const char *const *topics;
  size_t count = 0;
  double timeout = timeout_of(L, 3);
  bool ok;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  topics = strand_push_texts(L, 2, "argument 'topics'", &count);
  ok = strand_admin_describe(strand_check_open_admin(L), topics, count,
                             timeout, fresh(self), &failure);
  return push_reply(L, self, ok, &failure);
}

static int admin_configs (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  strand_config_kind kind = kind_of(L, 2);
  const char *const *names;
  size_t count = 0;
  double timeout = timeout_of(L, 4);
  bool ok;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  luaL_checktype(L, 3, LUA_TTABLE);
  names = strand_push_texts(L, 3, "names", &count);
  ok = strand_admin_configs(strand_check_open_admin(L), kind, names, count,
                            timeout, fresh(self), &failure);
  return push_reply(L, self, ok, &failure);
}

static int admin_alter_config (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  strand_config_kind kind = kind_of(L, 2);
  const char *name = strand_check_text(L, 3);
  const strand_property *changes;
  size_t count;
  double timeout = timeout_of(L, 5);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  luaL_checktype(L, 4, LUA_TTABLE);
  changes = push_changes(L, 4, &count);
  return strand_push_done(L,
                          strand_admin_alter_config(strand_check_open_admin(L),
                                                    kind, name, changes, count,
                                                    timeout, &failure),
                          &failure);
}

/*
** Places in topics
*/

static int admin_find_offsets (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  const strand_admin_place *places;
  size_t count;
  double timeout = timeout_of(L, 3);
  bool ok;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  places = push_places(L, 2, &count);
  ok = strand_admin_find_offsets(strand_check_open_admin(L), places, count,
                                 timeout, fresh(self), &failure);
  return push_reply(L, self, ok, &failure);
}

static int admin_delete_records (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  const strand_admin_place *places;
  size_t count;
  double timeout = timeout_of(L, 3);
  bool ok;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  places = push_places(L, 2, &count);
  ok = strand_admin_delete_records(strand_check_open_admin(L), places, count,
                                   timeout, fresh(self), &failure);
  return push_reply(L, self, ok, &failure);
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

static int admin_read (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  const strand_admin_reading reading = check_reading(L, 2);
  double timeout = timeout_of(L, 3);
  bool ok;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  ok = strand_admin_read(strand_check_open_admin(L), &reading, timeout,
                         fresh(self), &failure);
  return push_reply(L, self, ok, &failure);
}

/*
** Groups
*/

static int admin_list_groups (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  double timeout = timeout_of(L, 2);
  bool ok;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  ok = strand_admin_list_groups(strand_check_open_admin(L), timeout,
                                fresh(self), &failure);
  return push_reply(L, self, ok, &failure);
}

static int admin_describe_groups (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  const char *const *groups;
  size_t count = 0;
  double timeout = timeout_of(L, 3);
  bool ok;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  groups = strand_push_texts(L, 2, "argument 'groups'", &count);
  luaL_argcheck(L, count > 0, 2, "names of groups expected");
  ok = strand_admin_describe_groups(strand_check_open_admin(L), groups, count,
                                    timeout, fresh(self), &failure);
  return push_reply(L, self, ok, &failure);
}

typedef bool offsets_request (strand_admin *admin, const char *group,
                              const strand_admin_place *places, size_t count,
                              double timeout, strand_reply *reply,
                              strand_failure *failure);

static int change_offsets (lua_State *L, offsets_request *request) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  const char *group = strand_check_text(L, 2);
  const strand_admin_place *places;
  size_t count;
  double timeout = timeout_of(L, 4);
  bool ok;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  places = push_places(L, 3, &count);
  ok = request(strand_check_open_admin(L), group, places, count, timeout,
               fresh(self), &failure);
  return push_reply(L, self, ok, &failure);
}

static int admin_write_offsets (lua_State *L) {
  return change_offsets(L, strand_admin_write_offsets);
}

static int admin_delete_offsets (lua_State *L) {
  return change_offsets(L, strand_admin_delete_offsets);
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
