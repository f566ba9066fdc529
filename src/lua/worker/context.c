/*
** context.c - see context.h
*/
#include "lua/worker/context.h"

#include "lua/compat.h"
#include "lua/object.h"
#include "lua/worker/outcome.h"
#include "lua/worker/produce.h"

#define CONTEXT "strand.Context"

static int context_stop_consumer (lua_State *L) {
  strand_context **self = strand_test(L, 1, CONTEXT);
  if (self == NULL)
    return luaL_error(L, "stop_consumer is a method: call it with a colon");
  if ((*self)->stop_consumer == NULL)
    return luaL_error(L, "context:stop_consumer() outside of a handler");
  *(*self)->stop_consumer = true;
  return 0;
}

static int context_remaining (lua_State *L) {
  strand_context **self = strand_test(L, 1, CONTEXT);
  int64_t left_us;
  if (self == NULL)
    return luaL_error(L, "remaining is a method: call it with a colon");
  if ((*self)->task == NULL)
    return luaL_error(L, "context:remaining() outside of a handler");
  if ((*self)->task->deadline_us == 0) {
    lua_pushnil(L);
    return 1;
  }
  left_us = strand_task_left_us((*self)->task);
  lua_pushnumber(L, left_us > 0 ? (lua_Number)left_us / 1e6 : 0);
  return 1;
}

static int context_produce (lua_State *L) {
  static const char name[] = "context:produce()";
  strand_context **self = strand_test(L, 1, CONTEXT);
  strand_task *task;
  if (self == NULL)
    return luaL_error(L, "produce is a method: call it with a colon");
  lua_settop(L, 2);
  task = (*self)->task;
  if (task == NULL) return luaL_error(L, "%s outside of a handler", name);
  if (task->many != NULL)
    return luaL_error(L,
                      "%s in a batch: each output belongs to a record: "
                      "batch:produce(i, {...})",
                      name);
  strand_produce(L, 2, name, &task->outcome.staged, strand_task_staging(task));
  return 0;
}

static int context_newindex (lua_State *L) {
  return luaL_error(L, "the context cannot be changed");
}

/* Upvalue: the method's name. */
static int refuse_local (lua_State *L) {
  return luaL_error(L,
                    "context:%s() is for handlers with workers = 0 or the "
                    "option 'loop': a worker thread waits by whatever "
                    "blocks it",
                    lua_tostring(L, lua_upvalueindex(1)));
}

/* Into the table on top. */
static void set_local (lua_State *L) {
  static const char *const names[] = { "sleep", "defer", NULL };
  int i;
  for (i = 0; names[i] != NULL; i++) {
    lua_pushstring(L, names[i]);
    lua_pushcclosure(L, refuse_local, 1);
    lua_setfield(L, -2, names[i]);
  }
}

static const luaL_Reg methods[] = {
  { "produce", context_produce },
  { "stop_consumer", context_stop_consumer },
  { "remaining", context_remaining },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__newindex", context_newindex },
  { NULL, NULL },
};

void strand_context_push (lua_State *L, strand_context *context, int args) {
  strand_context **self;
  strand_newtype(L, CONTEXT, methods, metamethods);
  luaL_getmetatable(L, CONTEXT);
  lua_getfield(L, -1, "__index");
  strand_open_outcome_methods(L, CONTEXT);
  set_local(L);
  lua_pushinteger(L, (lua_Integer)context->worker);
  lua_setfield(L, -2, "worker");
  lua_pushvalue(L, args);
  lua_setfield(L, -2, "args");
  lua_pop(L, 2);
  self = strand_newuserdata(L, sizeof(*self));
  *self = context;
  strand_settype(L, CONTEXT);
}
