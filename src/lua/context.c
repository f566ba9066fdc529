/*
** context.c - see context.h
*/
#include "lua/context.h"

#include "lua/compat.h"
#include "lua/outcome.h"

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

static int context_newindex (lua_State *L) {
  return luaL_error(L, "the context cannot be changed");
}

/* Upvalue: the method's name. */
static int comes_later (lua_State *L) {
  return luaL_error(L, "context:%s() comes with a later release",
                    lua_tostring(L, lua_upvalueindex(1)));
}

/* Into the table on top. */
static void set_later (lua_State *L) {
  static const char *const names[] = { "produce", "sleep", "defer",
                                       "remaining", NULL };
  int i;
  for (i = 0; names[i] != NULL; i++) {
    lua_pushstring(L, names[i]);
    lua_pushcclosure(L, comes_later, 1);
    lua_setfield(L, -2, names[i]);
  }
}

static const luaL_Reg methods[] = {
  { "stop_consumer", context_stop_consumer },
  { NULL, NULL }
};

static const luaL_Reg metamethods[] = {
  { "__newindex", context_newindex },
  { NULL, NULL }
};

void strand_context_push (lua_State *L, strand_context *context, int args) {
  strand_context **self;
  strand_newtype(L, CONTEXT, methods, metamethods);
  luaL_getmetatable(L, CONTEXT);
  lua_getfield(L, -1, "__index");
  strand_open_outcome_methods(L, CONTEXT);
  set_later(L);
  lua_pushinteger(L, (lua_Integer)context->worker);
  lua_setfield(L, -2, "worker");
  lua_pushvalue(L, args);
  lua_setfield(L, -2, "args");
  lua_pop(L, 2);
  self = strand_newuserdata(L, sizeof(*self));
  *self = context;
  strand_settype(L, CONTEXT);
}
