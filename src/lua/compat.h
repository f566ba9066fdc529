/*
** compat.h - one way to say it in Lua 5.1, 5.2, 5.3, 5.4 and LuaJIT
**
** Names of our own, because LuaJIT has some of 5.2's and others do not. Also
** what every binding needs: types, failures, whole numbers, flat tables.
**
** Thread: any (each function works on the state that it is given).
*/
#ifndef STRAND_COMPAT_H
#define STRAND_COMPAT_H

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "core/err.h"

/* Exact in a double, and so in every Lua. */
#define STRAND_INT_MAX ((int64_t)1 << 53)

/* One symbol is exported, whatever the compiler is told to hide. */
#if defined(__GNUC__)
#define STRAND_EXPORT __attribute__((visibility("default")))
#else
#define STRAND_EXPORT
#endif

static inline size_t strand_rawlen (lua_State *L, int index) {
#if LUA_VERSION_NUM >= 502
  return lua_rawlen(L, index);
#else
  return lua_objlen(L, index);
#endif
}

static inline int strand_absindex (lua_State *L, int index) {
  return index > 0 || index <= LUA_REGISTRYINDEX ? index
                                                 : lua_gettop(L) + index + 1;
}

static inline void *strand_newuserdata (lua_State *L, size_t size) {
#if LUA_VERSION_NUM >= 504
  return lua_newuserdatauv(L, size, 0);
#else
  return lua_newuserdata(L, size);
#endif
}

/* Calls 'f' with one light userdata, protected from the start: 5.1 allocates
** for the function itself. As lua_pcall, with no results. */
static inline int strand_protect (lua_State *L, lua_CFunction f,
                                  void *argument) {
#if LUA_VERSION_NUM >= 502
  lua_pushcfunction(L, f);
  lua_pushlightuserdata(L, argument);
  return lua_pcall(L, 1, 0, 0);
#else
  return lua_cpcall(L, f, argument);
#endif
}

/* Pushes a library of Lua's, or what else 'require' would give, or nil. Not by
** its global, which a program may guard or take away. */
static inline void strand_push_library (lua_State *L, const char *name) {
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, name);
  lua_remove(L, -2);
}

/* Into the table on top of the stack. */
static inline void strand_setfuncs (lua_State *L, const luaL_Reg *functions) {
  for (; functions->name != NULL; functions++) {
    lua_pushcfunction(L, functions->func);
    lua_setfield(L, -2, functions->name);
  }
}

/* NULL when the value is no userdata of this type. */
static inline void *strand_test (lua_State *L, int index, const char *type) {
  void *self = lua_touserdata(L, index);
  int same;
  if (self == NULL || !lua_getmetatable(L, index)) return NULL;
  luaL_getmetatable(L, type);
  same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same ? self : NULL;
}

/* A metatable in the registry: methods behind __index, metamethods beside
** it, nothing that Lua code can reach or replace. */
static inline void strand_newtype (lua_State *L, const char *type,
                                   const luaL_Reg *methods,
                                   const luaL_Reg *metamethods) {
  if (!luaL_newmetatable(L, type)) {
    lua_pop(L, 1);
    return; /* another open of the module in this state */
  }
  strand_setfuncs(L, metamethods);
  lua_newtable(L);
  strand_setfuncs(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushstring(L, type);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

static inline void strand_settype (lua_State *L, const char *type) {
  luaL_getmetatable(L, type);
  lua_setmetatable(L, -2);
}

/* nil, message, code */
static inline int strand_push_failure (lua_State *L,
                                       const strand_failure *failure) {
  lua_pushnil(L);
  lua_pushstring(L, failure->message);
  lua_pushstring(L, failure->code);
  return 3;
}

static inline int strand_push_forked (lua_State *L) {
  lua_pushnil(L);
  lua_pushliteral(L, "this object was opened in another process");
  lua_pushliteral(L, "FORKED");
  return 3;
}

/* What state() of every object says. */
static inline int strand_push_state (lua_State *L, int forked, int closed) {
  lua_pushstring(L, forked ? "forked" : closed ? "closed" : "running");
  return 1;
}

static inline void strand_push_int64 (lua_State *L, int64_t n) {
#if LUA_VERSION_NUM >= 503
  lua_pushinteger(L, (lua_Integer)n);
#else
  lua_pushnumber(L, (lua_Number)n);
#endif
}

/* Is the value a whole number that fits? Strings are none. */
static inline int strand_to_int64 (lua_State *L, int index, int64_t *n) {
  lua_Number number;
  if (lua_type(L, index) != LUA_TNUMBER) return 0;
#if LUA_VERSION_NUM >= 503
  if (lua_isinteger(L, index)) {
    *n = (int64_t)lua_tointeger(L, index);
    return 1;
  }
#endif
  number = lua_tonumber(L, index);
  if (!(number >= -(lua_Number)STRAND_INT_MAX
        && number <= (lua_Number)STRAND_INT_MAX))
    return 0;
  *n = (int64_t)number;
  return (lua_Number)*n == number;
}

static inline int64_t strand_check_int64 (lua_State *L, int index) {
  int64_t n = 0;
  if (!strand_to_int64(L, index, &n))
    luaL_argerror(L, index, "whole number expected");
  return n;
}

/* Of seconds since 1970. */
static inline int64_t strand_check_millis (lua_State *L, int index) {
  double ms = (double)luaL_checknumber(L, index) * 1000;
  luaL_argcheck(L, ms >= 0 && ms <= (double)STRAND_INT_MAX, index,
                "seconds since 1970 expected");
  return (int64_t)(ms + 0.5);
}

/* Seconds of at most a year; absent: 'otherwise'. */
static inline double strand_opt_seconds (lua_State *L, int index,
                                         double otherwise) {
  double seconds;
  if (lua_isnoneornil(L, index)) return otherwise;
  seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0 && seconds <= 366 * 86400.0, index,
                "seconds expected, from 0 to a year");
  return seconds;
}

/* A C string: no zero bytes inside, for what C passes on as text. */
static inline const char *strand_check_text (lua_State *L, int index) {
  size_t length;
  const char *text = luaL_checklstring(L, index, &length);
  luaL_argcheck(L, strlen(text) == length, index, "a zero byte inside");
  return text;
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

/* Fields of the flat, checked tables that lua/strand/options makes. What is
** wrong there is our own mistake; it raises all the same. */

static inline int64_t strand_field_int64 (lua_State *L, int table,
                                          const char *name,
                                          int64_t otherwise) {
  int64_t n = otherwise;
  lua_getfield(L, table, name);
  if (!lua_isnil(L, -1) && !strand_to_int64(L, -1, &n))
    luaL_error(L, "option '%s': whole number expected", name);
  lua_pop(L, 1);
  return n;
}

/* From 0 to 'most': what C computes with stays whole. The bounds that a user
** is told of are narrower, and stand in lua/strand/options. */
static inline int64_t strand_field_count (lua_State *L, int table,
                                          const char *name, int64_t otherwise,
                                          int64_t most) {
  int64_t n = strand_field_int64(L, table, name, otherwise);
  if (n < 0 || n > most) luaL_error(L, "option '%s': out of range", name);
  return n;
}

static inline double strand_field_number (lua_State *L, int table,
                                          const char *name, double otherwise) {
  double n = otherwise;
  lua_getfield(L, table, name);
  if (lua_type(L, -1) == LUA_TNUMBER) n = (double)lua_tonumber(L, -1);
  else if (!lua_isnil(L, -1))
    luaL_error(L, "option '%s': number expected", name);
  lua_pop(L, 1);
  return n;
}

static inline int strand_field_boolean (lua_State *L, int table,
                                        const char *name) {
  int is;
  lua_getfield(L, table, name);
  is = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return is;
}

/* Borrowed from the table; NULL when absent. */
static inline const char *strand_field_bytes (lua_State *L, int table,
                                              const char *name,
                                              size_t *length) {
  const char *text = NULL;
  lua_getfield(L, table, name);
  if (lua_type(L, -1) == LUA_TSTRING) text = lua_tolstring(L, -1, length);
  else if (!lua_isnil(L, -1))
    luaL_error(L, "option '%s': string expected", name);
  lua_pop(L, 1);
  return text;
}

static inline const char *strand_field_text (lua_State *L, int table,
                                             const char *name) {
  size_t length = 0;
  const char *text = strand_field_bytes(L, table, name, &length);
  if (text != NULL && strlen(text) != length)
    luaL_error(L, "option '%s': a zero byte inside", name);
  return text;
}

#endif
