/*
** retry_function.c - see retry_function.h
*/
#include "lua/worker/retry_function.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "lua/compat.h"
#include "lua/worker/loader.h"
#include "lua/worker/outcome.h"
#include "lua/worker/reason.h"

/* Of the default policy (lua/strand/options/handling.lua). */
#define DEFAULT_ATTEMPTS 10

/* The consumer's retry function may have been changed. */
static void refresh (lua_State *L, strand_retry_function *r, int functions) {
  strand_text *code;
  int at = (int)r->consumer;
  unsigned version;
  bool loaded;
  if (r->sources == NULL
      || strand_sources_retry_version(r->sources) == r->version)
    return;
  luaL_checkstack(L, 4, "no room for the retry function");
  code = strand_sources_retry(r->sources, &version);
  if (code == NULL) {
    lua_pushnil(L);
    loaded = true;
  }
  else loaded = strand_load_code(L, code, "retry");
  strand_text_release(code);
  if (!loaded) lua_error(L);
  lua_rawseti(L, functions, at);
  r->version = version;
}

/* Pushes the retry function that applies to the route. */
static int push_function (lua_State *L, strand_retry_function *r,
                          int functions) {
  lua_rawgeti(L, functions, (int)r->route + 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_rawgeti(L, functions, (int)r->consumer);
  }
  return lua_isfunction(L, -1);
}

/* The default policy applies, with its limit too: it has none of its own
** beside a function. */
static void set_problem (strand_retry_function *r, const char *text) {
  strand_outcome *v = r->asked;
  free(v->policy_problem);
  v->policy_problem = strdup(text);
  v->delay_us = -1;
  if (v->kind == STRAND_OUTCOME_FAILED
      && r->current->records[r->index]->attempt >= DEFAULT_ATTEMPTS)
    v->kind = STRAND_OUTCOME_EXHAUSTED;
}

static void read_delay (lua_State *L, strand_retry_function *r) {
  strand_outcome *v = r->asked;
  if (lua_isnil(L, -1)) {
    v->kind = STRAND_OUTCOME_EXHAUSTED;
    return;
  }
  if (lua_type(L, -1) == LUA_TNUMBER
      && strand_delay_of((double)lua_tonumber(L, -1), &v->delay_us))
    return;
  if (lua_type(L, -1) == LUA_TSTRING) lua_pushliteral(L, "a string");
  else strand_push_reason(L, -1, 64);
  lua_pushfstring(
    L, "the retry function returned %s: " STRAND_DELAY_SHAPE ", or nil",
    lua_tostring(L, -1));
  set_problem(r, lua_tostring(L, -1));
}

/* Upvalues: itself, retry functions by route and then the consumer's,
** records' metatable. */
static int call (lua_State *L) {
  strand_retry_function *r = lua_touserdata(L, lua_upvalueindex(1));
  strand_outcome *v = r->asked;
  assert(r->index < r->current->count);
  refresh(L, r, lua_upvalueindex(2));
  if (!push_function(L, r, lua_upvalueindex(2))) return 0;
  lua_pushinteger(L, r->current->records[r->index]->attempt);
  lua_pushlstring(L, v->reason != NULL ? v->reason : "", v->reason_length);
  strand_current_push(L, r->owner, r->current, r->index, lua_upvalueindex(3));
  lua_call(L, 3, 1);
  read_delay(L, r);
  return 0;
}

int strand_retry_function_ask (lua_State *L, strand_retry_function *r,
                               const strand_current *current, unsigned route,
                               strand_outcome *v, uint32_t index, int function,
                               int traceback) {
  char text[STRAND_REASON_MAX + 1];
  const char *problem = NULL;
  int status;
  if ((v->kind != STRAND_OUTCOME_FAILED && v->kind != STRAND_OUTCOME_RETRY)
      || v->delay_us >= 0)
    return 0;
  r->asked = v;
  r->current = current;
  r->index = index;
  r->route = route;
  lua_pushvalue(L, function);
  status = lua_pcall(L, 0, 0, traceback);
  if (status == 0) return 0;
  if (lua_type(L, -1) == LUA_TSTRING) problem = lua_tostring(L, -1);
  snprintf(text, sizeof(text), "the retry function failed: %s",
           problem != NULL ? problem : "it raised an outcome");
  set_problem(r, text);
  return status;
}

void strand_retry_function_open (lua_State *L, strand_retry_function *r,
                                 strand_sources *sources,
                                 const strand_currents *owner, int metatable) {
  int functions;
  r->sources = sources;
  r->owner = owner;
  r->consumer = (unsigned)strand_sources_count(sources) + 1;
  lua_pushlightuserdata(L, r);
  strand_load_policies(L, sources);
  functions = lua_gettop(L);
  refresh(L, r, functions);
  lua_pushvalue(L, metatable);
  lua_pushcclosure(L, call, 3);
}

void strand_retry_function_use (lua_State *L, strand_retry_function *r,
                                unsigned routes, const strand_currents *owner,
                                int functions, int metatable) {
  r->sources = NULL;
  r->owner = owner;
  r->consumer = routes + 1;
  lua_pushlightuserdata(L, r);
  lua_pushvalue(L, functions);
  lua_pushvalue(L, metatable);
  lua_pushcclosure(L, call, 3);
}
