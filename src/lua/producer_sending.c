/*
** producer_sending.c - see producer_sending.h
*/
#include "lua/producer_sending.h"

#include <stdbool.h>
#include <string.h>

#include "lua/compat.h"
#include "lua/outgoing.h"
#include "lua/producer_object.h"
#include "lua/transactions.h"

/* True, or what kept the record from being sent. */
static int push_sent (lua_State *L, const strand_producer *kafka, bool sent,
                      const strand_failure *failure) {
  if (!sent) return strand_push_send_failure(L, kafka, failure);
  lua_pushboolean(L, 1);
  return 1;
}

/* send(topic, key, value, headers, timestamp, partition, hash_key, id,
** timeout) */
static int producer_send (lua_State *L) {
  strand_outgoing record;
  strand_producer *kafka;
  strand_failure failure;
  int64_t id;
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  lua_settop(L, 10);
  id = strand_read_outgoing(L, &record);
  kafka = strand_check_open_producer(L);
  return push_sent(
    L, kafka, strand_producer_send(kafka, &record, id, &failure), &failure);
}

/* What a method here knows: the producer of Lua's that it was made for, whose
** userdata, and Lua's method of the same name. */
enum { PRODUCER = 1, USERDATA, METHOD };

/* Where it can be sent to as it is nearly always: it is open. NULL: not so. */
static strand_producer_object *open_one (strand_producer_object *self) {
  if (strand_is_forked(self->generation) || self->kafka == NULL) return NULL;
  return strand_producer_is_closed(self->kafka) ? NULL : self;
}

/* The first argument is the producer whose method this is. */
static strand_producer_object *plain_self (lua_State *L) {
  if (!lua_rawequal(L, 1, lua_upvalueindex(PRODUCER))) return NULL;
  return open_one(lua_touserdata(L, lua_upvalueindex(USERDATA)));
}

/* The method of Lua that takes what is not plain, with its arguments. No
** function of the user's is called for a plain producer, and so none yields. */
static int call_checked (lua_State *L) {
  int count = lua_gettop(L);
  lua_pushvalue(L, lua_upvalueindex(METHOD));
  lua_insert(L, 1);
  lua_call(L, count, LUA_MULTRET);
  return lua_gettop(L);
}

static bool read_plain (lua_State *L, const strand_producer_object *self,
                        strand_plain_record *plain) {
  return self != NULL && strand_plain_record_read(L, 2, &self->names, plain);
}

/* There is no transaction to send it in: nothing is done, and the method of
** Lua raises that, with the words it has for it. */
static bool is_misuse (const strand_failure *failure) {
  return strcmp(failure->code, "NO_TRANSACTION") == 0;
}

/* send(producer, record), of Lua's class */
static int send_one (lua_State *L) {
  strand_plain_record plain;
  strand_failure failure;
  strand_producer_object *self = plain_self(L);
  bool sent;
  if (!read_plain(L, self, &plain)) return call_checked(L);
  sent = strand_producer_send(self->kafka, &plain.record, 0, &failure);
  if (!sent && is_misuse(&failure)) return call_checked(L);
  return push_sent(L, self->kafka, sent, &failure);
}

/* send_async_plain(record, id) -> false, with nothing done: something is not
** plain, or misuse; or as send */
static int producer_send_async_plain (lua_State *L) {
  strand_plain_record plain;
  strand_failure failure;
  strand_producer_object *self = open_one(strand_check_any_producer(L));
  int64_t id = strand_check_int64(L, 3);
  bool is_plain = read_plain(L, self, &plain);
  bool sent = is_plain
              && strand_producer_send(self->kafka, &plain.record, id,
                                      &failure);
  if (is_plain && (sent || !is_misuse(&failure)))
    return push_sent(L, self->kafka, sent, &failure);
  lua_pushboolean(L, 0);
  return 1;
}

/* The record at this place in the list, the second argument. */
static bool read_item (lua_State *L, const strand_producer_object *self,
                       int place, strand_plain_record *plain) {
  bool is_plain;
  lua_rawgeti(L, 2, place);
  is_plain = strand_plain_record_read(L, lua_gettop(L), &self->names, plain);
  lua_pop(L, 1); /* the list still holds it */
  return is_plain;
}

/* How many records the list has; -1: not all is plain. */
static int count_plain (lua_State *L, const strand_producer_object *self) {
  strand_plain_record plain;
  size_t count;
  if (!strand_is_plain_list(L, 2, &count)) return -1;
  for (int i = 1; i <= (int)count; i++)
    if (!read_item(L, self, i, &plain)) return -1;
  return (int)count;
}

/* send_batch(producer, list), of Lua's class. What was plain once is so again:
** Lua is not entered. No transaction ends meanwhile: if there is none for one,
** there is none for the first. */
static int send_batch (lua_State *L) {
  strand_plain_record plain;
  strand_failure failure;
  strand_producer_object *self = plain_self(L);
  int count = self != NULL ? count_plain(L, self) : -1;
  int sent = 0, results;
  if (count < 0) return call_checked(L);
  while (sent < count && read_item(L, self, sent + 1, &plain)
         && strand_producer_send(self->kafka, &plain.record, 0, &failure))
    sent++;
  lua_pushinteger(L, sent);
  if (sent == count) return 1;
  if (is_misuse(&failure)) {
    lua_pop(L, 1);
    return call_checked(L);
  }
  results = strand_push_send_failure(L, self->kafka, &failure);
  lua_remove(L, -results); /* its nil: the count is there */
  return results;
}

static int producer_partitions (lua_State *L) {
  strand_failure failure;
  const char *topic = strand_check_text(L, 2);
  int32_t count;
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  count = strand_producer_ask_partitions(strand_check_open_producer(L), topic,
                                         &failure);
  if (count == 0) return strand_push_failure(L, &failure);
  lua_pushinteger(L, count);
  return 1;
}

static const luaL_Reg methods[] = {
  { "send", producer_send },
  { "send_async_plain", producer_send_async_plain },
  { "partitions", producer_partitions },
  { NULL, NULL },
};

/* (producer, userdata, method) -> 'f' as the producer's method */
static int push_method (lua_State *L, lua_CFunction f) {
  luaL_checktype(L, PRODUCER, LUA_TTABLE);
  luaL_checkudata(L, USERDATA, STRAND_PRODUCER_TYPE);
  luaL_checktype(L, METHOD, LUA_TFUNCTION);
  lua_settop(L, METHOD);
  lua_pushcclosure(L, f, METHOD);
  return 1;
}

static int plain_send (lua_State *L) {
  return push_method(L, send_one);
}

static int plain_send_batch (lua_State *L) {
  return push_method(L, send_batch);
}

static const luaL_Reg functions[] = {
  { "plain_send", plain_send },
  { "plain_send_batch", plain_send_batch },
  { NULL, NULL },
};

void strand_open_producer_sending (lua_State *L) {
  strand_addmethods(L, STRAND_PRODUCER_TYPE, methods);
  strand_setfuncs(L, functions);
}
