/*
** reason.c - see reason.h
*/
#include "lua/worker/reason.h"

#include "codec/utf8.h"
#include "core/engine.h"
#include "lua/compat.h"
#include "lua/worker/outcome.h"

/* So that of a long message the traceback's first lines are seen too. */
#define MESSAGE_MAX (STRAND_REASON_MAX * 3 / 4)
#define FRAMES_MOST 100 /* above a hook that raises */

/* A table, userdata and so on: what its __tostring says, if that works. */
static void push_object (lua_State *L, int index) {
  const char *problem = "without";
  if (strand_is_alien_outcome(L, index)) {
    lua_pushliteral(L, STRAND_ALIEN_OUTCOME);
    return;
  }
  if (luaL_getmetafield(L, index, "__tostring")) {
    lua_pushvalue(L, index);
    if (lua_pcall(L, 1, 1, 0) == 0 && lua_type(L, -1) == LUA_TSTRING) return;
    lua_pop(L, 1);
    problem = "with a broken";
  }
  lua_pushfstring(L, "(%s value %s __tostring)", luaL_typename(L, index),
                  problem);
}

void strand_push_reason (lua_State *L, int index, size_t max) {
  const char *text;
  size_t length;
  index = strand_absindex(L, index);
  luaL_checkstack(L, 4, "no room for an error's text");
  switch (lua_type(L, index)) {
    case LUA_TSTRING:
    case LUA_TNUMBER: lua_pushvalue(L, index); break;
    case LUA_TBOOLEAN:
      lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
      break;
    case LUA_TNONE:
    case LUA_TNIL: lua_pushliteral(L, "nil"); break;
    default: push_object(L, index);
  }
  text = lua_tolstring(L, -1, &length);
  if (length <= max) return;
  lua_pushlstring(L, text, strand_utf8_cut(text, length, max));
  lua_remove(L, -2);
}

/* Is the function on the top one of those that run? */
static bool is_running (lua_State *L) {
  lua_Debug frame;
  int level;
  bool same = false;
  for (level = 1; !same && level < FRAMES_MOST; level++) {
    if (!lua_getstack(L, level, &frame)) return false;
    lua_getinfo(L, "f", &frame);
    same = lua_rawequal(L, -1, -2);
    lua_pop(L, 1);
  }
  return same;
}

void strand_end_hook (lua_State *L, int gethook) {
  if (lua_gethookmask(L) == 0 || !lua_isfunction(L, gethook)) return;
  luaL_checkstack(L, 6, "hook");
  lua_pushvalue(L, gethook);
  lua_call(L, 0, 1);
  if (lua_isfunction(L, -1) && is_running(L)) lua_sethook(L, NULL, 0, 0);
  lua_pop(L, 1);
}

/* Lines are the handler's up to our own call of it: the last one, where C
** called it; where Lua did, that of xpcall, and all from there on. */
static size_t handlers_lines (const char *text, size_t message,
                              size_t length) {
  const char *own = strstr(text + message, "strand/body.lua:");
  int lines = own != NULL ? 2 : 1;
  if (own != NULL) length = (size_t)(own - text);
  while (lines > 0 && length > message) {
    if (text[--length] == '\n') lines--;
  }
  return length;
}

/* Upvalues: debug.traceback, and debug.gethook or nil. Arguments: the error,
** and the coroutine that died of it, if it is not this one. */
static int traceback (lua_State *L) {
  const char *text;
  size_t length;
  size_t message;
  strand_end_hook(L, lua_upvalueindex(2));
  if (strand_to_outcome(L, 1) != NULL) {
    lua_settop(L, 1);
    return 1;
  }
  lua_settop(L, 2);
  strand_push_reason(L, 1, MESSAGE_MAX);
  message = strand_rawlen(L, -1);
  lua_pushvalue(L, lua_upvalueindex(1));
  if (lua_isthread(L, 2)) lua_pushvalue(L, 2);
  lua_pushvalue(L, 3);
  lua_pushinteger(L, lua_isthread(L, 2) ? 0 : 2);
  lua_call(L, lua_gettop(L) - 4, 1);
  text = lua_tolstring(L, -1, &length);
  if (text == NULL) return 1;
  length = handlers_lines(text, message, length);
  if (length > message) lua_pushlstring(L, text, length);
  return 1;
}

void strand_push_traceback (lua_State *L, bool ends_hooks) {
  strand_push_library(L, "debug");
  lua_getfield(L, -1, "traceback");
  if (ends_hooks) lua_getfield(L, -2, "gethook");
  else lua_pushnil(L);
  lua_remove(L, -3);
  lua_pushcclosure(L, traceback, 2);
}
