/*
** object.h - what every object of strand.core has: a type, a process that
** opened it, and failures as results
**
** Thread: any (each function works on the state that it is given).
*/
#ifndef STRAND_LUA_OBJECT_H
#define STRAND_LUA_OBJECT_H

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/err.h"
#include "base/fork.h"
#include "lua/compat.h"

/* A metatable in the registry: methods behind __index, metamethods beside
** it, nothing that Lua code can reach or replace. It is there only when it is
** whole: memory may run out in an open of the module, and another come. */
static inline void strand_newtype (lua_State *L, const char *type,
                                   const luaL_Reg *methods,
                                   const luaL_Reg *metamethods) {
  luaL_getmetatable(L, type);
  if (!lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return; /* another open of the module in this state */
  }
  lua_pop(L, 1);
  lua_newtable(L);
  strand_setfuncs(L, metamethods);
  lua_newtable(L);
  strand_setfuncs(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushstring(L, type);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_setfield(L, LUA_REGISTRYINDEX, type);
}

static inline void strand_settype (lua_State *L, const char *type) {
  luaL_getmetatable(L, type);
  lua_setmetatable(L, -2);
}

/* More methods for a type that is there. */
static inline void strand_addmethods (lua_State *L, const char *type,
                                      const luaL_Reg *methods) {
  luaL_getmetatable(L, type);
  lua_getfield(L, -1, "__index");
  strand_setfuncs(L, methods);
  lua_pop(L, 2);
}

/* nil, message, code */
static inline int strand_push_failure (lua_State *L,
                                       const strand_failure *failure) {
  lua_pushnil(L);
  lua_pushstring(L, failure->message);
  lua_pushstring(L, failure->code);
  return 3;
}

/* true, or the failure */
static inline int strand_push_done (lua_State *L, bool done,
                                    const strand_failure *failure) {
  if (!done) return strand_push_failure(L, failure);
  lua_pushboolean(L, 1);
  return 1;
}

/* An object keeps the generation in which it was opened. In a child of that
** process its threads are not there: it is never touched. */
static inline bool strand_is_forked (int generation) {
  return generation != strand_fork_generation();
}

static inline int strand_push_forked (lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "this object was opened in another process");
  lua_pushliteral(L, "FORKED");
  return 3;
}

/* What state() of every object says. */
static inline int strand_push_state (lua_State *L, bool forked, bool closed) {
  lua_pushstring(L, forked ? "forked" : closed ? "closed" : "running");
  return 1;
}

/* What oauth_set() is called with: a token, when it ends in seconds since
** 1970, and, where there is one, its principal. The text is Lua's. */
typedef struct strand_token {
  const char *value;
  int64_t expires_ms;
  const char *principal;
} strand_token;

static inline strand_token strand_check_token (lua_State *L) {
  strand_token token = { NULL, 0, "" };
  token.value = strand_check_text(L, 2);
  token.expires_ms = strand_check_millis(L, 3);
  if (!lua_isnoneornil(L, 4)) token.principal = strand_check_text(L, 4);
  return token;
}

#endif
