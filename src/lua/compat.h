/*
** compat.h - one way to say it in Lua 5.1, 5.2, 5.3, 5.4 and LuaJIT
**
** Names of our own, because LuaJIT has some of 5.2's and others do not. Also
** whole numbers, times and texts as arguments.
**
** Thread: any (each function works on the state that it is given).
*/
#ifndef STRAND_COMPAT_H
#define STRAND_COMPAT_H

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

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

#endif
