/*
** fields.h - fields of tables: read by their names, and set
**
** What is read are the flat, checked tables that lua/strand/options makes.
** What is wrong there is our own mistake; it raises all the same.
**
** Thread: any (each function works on the state that it is given).
*/
#ifndef STRAND_LUA_FIELDS_H
#define STRAND_LUA_FIELDS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lua.h>

#include "lua/compat.h"

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

/* Each of these sets a field of the table on top. */

static inline void strand_set_integer (lua_State *L, const char *name,
                                       int64_t n) {
  strand_push_int64(L, n);
  lua_setfield(L, -2, name);
}

/* Negative: absent. */
static inline void strand_set_optional (lua_State *L, const char *name,
                                        int64_t n) {
  if (n >= 0) strand_set_integer(L, name, n);
}

static inline void strand_set_number (lua_State *L, const char *name,
                                      double n) {
  lua_pushnumber(L, (lua_Number)n);
  lua_setfield(L, -2, name);
}

static inline void strand_set_boolean (lua_State *L, const char *name,
                                       bool is) {
  lua_pushboolean(L, is);
  lua_setfield(L, -2, name);
}

/* NULL or empty: absent. */
static inline void strand_set_text (lua_State *L, const char *name,
                                    const char *text) {
  if (text == NULL || text[0] == '\0') return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

static inline void strand_set_bytes (lua_State *L, const char *name,
                                     const char *bytes, size_t length) {
  lua_pushlstring(L, bytes, length);
  lua_setfield(L, -2, name);
}

#endif
