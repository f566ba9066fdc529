/*
** admin.c - see admin.h
*/
#include "lua/admin.h"

#include <unistd.h>

#include "base/clock.h"
#include "lua/admin_call.h"
#include "lua/admin_object.h"
#include "lua/admin_requests.h"
#include "lua/compat.h"
#include "lua/fields.h"
#include "lua/object.h"
#include "lua/properties.h"
#include "lua/worker/handler.h"

/* { [topic] = true or { message, code } } */
static void push_answers (lua_State *L, const strand_topic_answers *answers) {
  size_t i;
  lua_createtable(L, 0, (int)answers->count);
  for (i = 0; i < answers->count; i++) {
    const strand_topic_answer *answer = &answers->list[i];
    if (answer->failure.code[0] == '\0') lua_pushboolean(L, 1);
    else {
      lua_createtable(L, 0, 2);
      strand_set_text(L, "message", answer->failure.message);
      strand_set_text(L, "code", answer->failure.code);
    }
    lua_setfield(L, -2, answer->topic);
  }
}

/* true | nil, message, code, answers where there are some */
static int push_result (lua_State *L, strand_admin_call *call) {
  if (call->ok) {
    lua_pushboolean(L, 1);
    return 1;
  }
  strand_push_failure(L, &call->failure);
  if (call->answers.count == 0) return 3;
  push_answers(L, &call->answers);
  return 4;
}

/* { topic, partitions, replication, config } on top of the stack. Pushes what
** owns the topic's settings below it. */
static void read_topic (lua_State *L, strand_new_topic *topic) {
  int at = lua_gettop(L);
  int64_t partitions;
  int64_t replication;
  if (!lua_istable(L, at)) luaL_error(L, "list of topics expected");
  topic->name = strand_field_text(L, at, "topic");
  partitions = strand_field_int64(L, at, "partitions", 1);
  replication = strand_field_int64(L, at, "replication", -1);
  if (topic->name == NULL) luaL_error(L, "option 'topic': required");
  if (partitions < 1 || partitions > 100000 || replication < -1
      || replication == 0 || replication > 32767)
    luaL_error(L, "topic '%s': numbers out of range", topic->name);
  topic->partitions = (int)partitions;
  topic->replication = (int)replication;
  topic->config = strand_push_properties(L, at, "config",
                                         &topic->config_count);
  lua_insert(L, at);
}

/* Pushes what owns the array and everything in it. */
static const strand_new_topic *push_topics (lua_State *L, int list,
                                            size_t *count) {
  strand_new_topic *topics;
  int owners;
  size_t i;
  luaL_checktype(L, list, LUA_TTABLE);
  *count = strand_rawlen(L, list);
  topics = strand_newuserdata(L, (*count + 1) * sizeof(*topics));
  lua_createtable(L, (int)*count, 0);
  owners = lua_gettop(L);
  for (i = 0; i < *count; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    read_topic(L, &topics[i]);
    lua_pop(L, 1);
    lua_rawseti(L, owners, (int)i + 1);
  }
  return topics;
}

static bool create_topics (strand_admin_call *c) {
  return strand_admin_create_topics(c->admin, c->topics, c->count, c->timeout,
                                    &c->answers, &c->failure);
}

static bool create_partitions (strand_admin_call *c) {
  return strand_admin_create_partitions(c->admin, c->topics, c->count,
                                        c->timeout, &c->answers, &c->failure);
}

static bool delete_topics (strand_admin_call *c) {
  return strand_admin_delete_topics(c->admin, c->texts, c->count, c->timeout,
                                    &c->answers, &c->failure);
}

static int request_topics (lua_State *L, strand_admin_run *request) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 3);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  call.topics = push_topics(L, 2, &call.count);
  return strand_admin_submit(L, self, &call, request, push_result);
}

static int admin_create_topics (lua_State *L) {
  return request_topics(L, create_topics);
}

static int admin_create_partitions (lua_State *L) {
  return request_topics(L, create_partitions);
}

static int admin_delete_topics (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 3);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  call.texts = strand_push_texts(L, 2, "argument 'topics'", &call.count);
  return strand_admin_submit(L, self, &call, delete_topics, push_result);
}

static void push_offset (lua_State *L, const strand_group_offset *offset) {
  lua_createtable(L, 0, 4);
  strand_set_text(L, "topic", offset->topic);
  strand_set_integer(L, "partition", offset->partition);
  strand_set_integer(L, "offset", offset->offset);
  strand_set_bytes(L, "metadata", offset->metadata, offset->metadata_size);
}

static bool group_offsets (strand_admin_call *c) {
  return strand_admin_group_offsets(c->admin, c->group, c->texts, c->count,
                                    c->timeout, &c->offsets, &c->failure);
}

static int push_offsets (lua_State *L, strand_admin_call *call) {
  const strand_group_offsets *offsets = &call->offsets;
  if (!call->ok) return strand_push_failure(L, &call->failure);
  lua_createtable(L, (int)offsets->count, 0);
  for (size_t i = 0; i < offsets->count; i++) {
    push_offset(L, &offsets->list[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  return 1;
}

static int admin_group_offsets (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 4);
  call.group = strand_check_text(L, 2);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  call.texts = strand_push_texts(L, 3, "argument 'topics'", &call.count);
  return strand_admin_submit(L, self, &call, group_offsets, push_offsets);
}

static int admin_state (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  return strand_push_state(L, strand_is_forked(self->generation),
                           self->kafka == NULL);
}

static int admin_next_log (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  return strand_lines_next(L, &self->lines);
}

static int admin_oauth_needed (lua_State *L) {
  if (strand_is_forked(strand_check_admin(L)->generation))
    return strand_push_forked(L);
  lua_pushboolean(L, strand_admin_poll_oauth(strand_check_open_admin(L)));
  return 1;
}

static int admin_oauth_set (lua_State *L) {
  strand_failure failure;
  const strand_token token = strand_check_token(L);
  if (strand_is_forked(strand_check_admin(L)->generation))
    return strand_push_forked(L);
  return strand_push_done(L,
                          strand_admin_oauth_set(strand_check_open_admin(L),
                                                 token.value, token.expires_ms,
                                                 token.principal, &failure),
                          &failure);
}

static int admin_oauth_fail (lua_State *L) {
  const char *message = luaL_checkstring(L, 2);
  if (strand_is_forked(strand_check_admin(L)->generation))
    return strand_push_forked(L);
  strand_admin_oauth_fail(strand_check_open_admin(L), message);
  return 0;
}

static void end (strand_admin_object *self, double timeout) {
  strand_admin *kafka = self->kafka;
  strand_admin_call *call = self->call;
  self->kafka = NULL;
  self->call = NULL;
  if (!strand_admin_call_leave(call)) strand_admin_close(kafka, timeout);
  if (self->fd >= 0) close(self->fd);
  self->fd = -1;
  strand_finalizers_leave(&self->finalizers);
}

/* Its client ends, in a second at most; then close has nothing to wait for. */
static bool end_client (strand_admin_call *c) {
  strand_admin_end(c->admin, STRAND_ADMIN_END);
  return true;
}

/* end_begin() -> as a method that asks: close() follows */
static int admin_end_begin (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_admin_call call = strand_admin_call_of(L, 2);
  int pushed;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  pushed = strand_admin_submit(L, self, &call, end_client, push_result);
  self->ending = !lua_isnil(L, -pushed); /* else it was not even begun */
  return pushed;
}

/* close() and __close. */
static int admin_close (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  end(self, STRAND_ADMIN_END);
  lua_pushboolean(L, 1);
  return 1;
}

static int admin_gc (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  strand_finalizers *finalizers = self->finalizers;
  if (strand_is_forked(self->generation)) return 0;
  if (finalizers != NULL) {
    double share = strand_finalizers_begin(finalizers, strand_clock_now());
    end(self, share < STRAND_ADMIN_END ? share : STRAND_ADMIN_END);
    strand_finalizers_end(finalizers, strand_clock_now());
  }
  strand_lines_close(&self->lines);
  return 0;
}

static int admin_open (lua_State *L) {
  strand_failure failure;
  const strand_property *props;
  size_t count;
  strand_admin_object *self;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  props = strand_push_properties(L, 1, "kafka", &count);
  self = strand_newuserdata(L, sizeof(*self));
  memset(self, 0, sizeof(*self));
  self->fd = -1;
  self->generation = strand_fork_generation();
  strand_settype(L, STRAND_ADMIN_TYPE);
  if (!strand_lines_open(&self->lines, strand_field_boolean(L, 1, "has_log"),
                         &failure))
    return strand_push_failure(L, &failure);
  self->finalizers = strand_finalizers_join(L);
  self->kafka = strand_admin_open(props, count, self->lines.log,
                                  strand_field_boolean(L, 1, "has_oauth"),
                                  &failure);
  if (self->kafka == NULL) {
    strand_finalizers_leave(&self->finalizers);
    return strand_push_failure(L, &failure);
  }
  strand_handler_opened(L, "strand.admin");
  return 1;
}

static const luaL_Reg methods[] = {
  { "state", admin_state },
  { "create_topics", admin_create_topics },
  { "create_partitions", admin_create_partitions },
  { "delete_topics", admin_delete_topics },
  { "group_offsets", admin_group_offsets },
  { "next_log", admin_next_log },
  { "oauth_needed", admin_oauth_needed },
  { "oauth_set", admin_oauth_set },
  { "oauth_fail", admin_oauth_fail },
  { "end_begin", admin_end_begin },
  { "close", admin_close },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", admin_gc },
  { "__close", admin_close },
  { NULL, NULL },
};

void strand_open_admin (lua_State *L) {
  strand_newtype(L, STRAND_ADMIN_TYPE, methods, metamethods);
  strand_open_admin_requests(L);
  strand_open_admin_calls(L);
  lua_pushcfunction(L, admin_open);
  lua_setfield(L, -2, "admin");
}
