/*
** context.c - see context.h
*/
#include "lua/local/context.h"

#include "lua/compat.h"
#include "lua/local/body.h"
#include "lua/worker/outcome.h"
#include "lua/worker/produce.h"

#define SLEEP_MOST 86400.0 /* seconds */

typedef strand_handling_name context;

enum { METATABLE = 1, SEATS };

static strand_seats *seats_of (lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(SEATS));
}

static const context *check_context (lua_State *L, const char *method) {
  const context *self = lua_touserdata(L, 1);
  int same = 0;
  if (self != NULL && lua_getmetatable(L, 1)) {
    same = lua_rawequal(L, -1, lua_upvalueindex(METATABLE));
    lua_pop(L, 1);
  }
  if (!same) luaL_error(L, "%s is a method: call it with a colon", method);
  return self;
}

static strand_seat *check_seat (lua_State *L, const char *method) {
  const context *self = check_context(L, method);
  strand_seat *seat = strand_seats_find(seats_of(L), self->number,
                                        self->serial);
  if (seat == NULL)
    luaL_error(L, "context:%s() after its handler returned", method);
  return seat;
}

static int context_stop_consumer (lua_State *L) {
  strand_seat *seat = check_seat(L, "stop_consumer");
  seat->handling.task.outcome.stop_consumer = true;
  return 0;
}

static int context_remaining (lua_State *L) {
  const strand_task *task = &check_seat(L, "remaining")->handling.task;
  int64_t left_us;
  if (task->deadline_us == 0) {
    lua_pushnil(L);
    return 1;
  }
  left_us = strand_task_left_us(task);
  lua_pushnumber(L, left_us > 0 ? (lua_Number)left_us / 1e6 : 0);
  return 1;
}

static int context_produce (lua_State *L) {
  strand_seat *seat = check_seat(L, "produce");
  strand_task *task = &seat->handling.task;
  lua_settop(L, 2);
  if (task->many != NULL)
    return luaL_error(L, "context:produce() in a batch: each output belongs "
                         "to a record: batch:produce(i, {...})");
  strand_produce(L, 2, "context:produce()", &task->outcome.staged,
                 strand_task_staging(task));
  return 0;
}

/* The body whose handler this is, in the coroutine that it began in. */
static strand_body *check_body (lua_State *L) {
  strand_seat *seat = check_seat(L, "sleep");
  strand_body *body = strand_body_running(L);
  if (body == NULL || body != seat->body)
    luaL_error(L, "context:sleep() in a coroutine of the handler's own");
  return body;
}

static double check_seconds (lua_State *L) {
  double seconds = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : -1;
  luaL_argcheck(L, seconds >= 0 && seconds <= SLEEP_MOST, 2,
                "seconds expected, from 0 to 86400 (a day)");
  return seconds;
}

/* Without a loop. */
static int context_sleep (lua_State *L) {
  strand_body *body = check_body(L);
  double seconds = check_seconds(L);
  strand_body_sleep(body, strand_seats_now_us(seats_of(L))
                            + (int64_t)(seconds * 1e6));
  lua_pushlightuserdata(L, STRAND_SLEEPS);
  return lua_yield(L, 1);
}

int strand_local_context_check (lua_State *L) {
  check_body(L);
  check_seconds(L);
  return 0;
}

int strand_local_context_defer (lua_State *L) {
  strand_seat *seat = check_seat(L, "defer");
  if (seat->deferred)
    return luaL_error(L, "context:defer() was called before");
  seat->deferred = true;
  lua_pushnumber(L, (lua_Number)seat->current.number);
  lua_pushnumber(L, (lua_Number)seat->current.serial);
  return 2;
}

static int context_newindex (lua_State *L) {
  return luaL_error(L, "the context cannot be changed");
}

static const luaL_Reg methods[] = {
  { "produce", context_produce },
  { "stop_consumer", context_stop_consumer },
  { "remaining", context_remaining },
  { "sleep", context_sleep },
  { NULL, NULL },
};

void strand_local_context_open (lua_State *L, strand_seats *p, int anchor,
                                int args, unsigned worker) {
  const luaL_Reg *method;
  int metatable;
  lua_newtable(L);
  metatable = lua_gettop(L);
  lua_pushvalue(L, anchor);
  lua_rawseti(L, metatable, 1);
  lua_newtable(L);
  for (method = methods; method->name != NULL; method++) {
    lua_pushvalue(L, metatable);
    lua_pushlightuserdata(L, p);
    lua_pushcclosure(L, method->func, 2);
    lua_setfield(L, -2, method->name);
  }
  strand_open_outcome_methods_of(L, metatable);
  lua_pushinteger(L, (int)worker);
  lua_setfield(L, -2, "worker");
  lua_pushvalue(L, args);
  lua_setfield(L, -2, "args");
  lua_setfield(L, metatable, "__index");
  lua_pushcfunction(L, context_newindex);
  lua_setfield(L, metatable, "__newindex");
  lua_pushliteral(L, "strand.Context");
  lua_setfield(L, metatable, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, metatable, "__metatable");
}
