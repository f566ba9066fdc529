/*
** outcome.c - see outcome.h
*/
#include "lua/outcome.h"

#include "core/engine.h"
#include "lua/compat.h"
#include "lua/reason.h"

#define OUTCOME "strand.Outcome"

static const char *const names[] = { "retry", "stop" };

static char watch_key; /* its address is the key in the registry */

bool strand_delay_of (double seconds, int64_t *delay_us) {
  if (!(seconds >= 0)) return false;
  if (seconds * 1e6 >= (double)STRAND_DELAY_MAX_US)
    *delay_us = STRAND_DELAY_MAX_US;
  else
    *delay_us = (int64_t)(seconds * 1e6 + 0.5);
  return true;
}

static void tell_watcher (lua_State *L, strand_outcome_kind kind) {
  const char **made;
  lua_pushlightuserdata(L, &watch_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  made = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (made != NULL) *made = names[kind];
}

static int push_outcome (lua_State *L, strand_outcome_kind kind,
                         int64_t delay_us, int index) {
  size_t length = 0;
  const char *reason = luaL_optlstring(L, index, NULL, &length);
  strand_outcome *outcome;
  if (reason != NULL) length = strand_cut(reason, length, STRAND_REASON_MAX);
  outcome = strand_newuserdata(L, sizeof(*outcome) + length);
  outcome->kind = kind;
  outcome->has_reason = reason != NULL;
  outcome->delay_us = delay_us;
  outcome->length = length;
  if (reason != NULL) memcpy(outcome->reason, reason, length);
  strand_settype(L, OUTCOME);
  tell_watcher(L, kind);
  return 1;
}

/* 'index' is that of the first argument. */
static int make_retry (lua_State *L, int index) {
  int64_t delay_us = -1;
  if (!lua_isnoneornil(L, index)) {
    luaL_argcheck(L, lua_type(L, index) == LUA_TNUMBER &&
                  strand_delay_of((double)lua_tonumber(L, index), &delay_us),
                  index, "seconds expected, 0 or more");
  }
  return push_outcome(L, STRAND_OUTCOME_RETRY, delay_us, index + 1);
}

static int core_retry (lua_State *L) {
  return make_retry(L, 1);
}

static int core_stop (lua_State *L) {
  return push_outcome(L, STRAND_OUTCOME_STOP, -1, 1);
}

/* Upvalue: the type of 'self'. */
static void check_self (lua_State *L, strand_outcome_kind kind) {
  const char *type = lua_tostring(L, lua_upvalueindex(1));
  if (strand_test(L, 1, type) == NULL)
    luaL_error(L, "%s is a method: call it with a colon", names[kind]);
}

static int method_retry (lua_State *L) {
  check_self(L, STRAND_OUTCOME_RETRY);
  return make_retry(L, 2);
}

static int method_stop (lua_State *L) {
  check_self(L, STRAND_OUTCOME_STOP);
  return push_outcome(L, STRAND_OUTCOME_STOP, -1, 2);
}

static int outcome_tostring (lua_State *L) {
  const strand_outcome *self = luaL_checkudata(L, 1, OUTCOME);
  lua_pushfstring(L, "%s (%s)", OUTCOME, names[self->kind]);
  return 1;
}

static const luaL_Reg functions[] = {
  { "retry", core_retry },
  { "stop", core_stop },
  { NULL, NULL }
};

static const luaL_Reg no_methods[] = { { NULL, NULL } };

static const luaL_Reg metamethods[] = {
  { "__tostring", outcome_tostring },
  { NULL, NULL }
};

void strand_open_outcomes (lua_State *L) {
  strand_newtype(L, OUTCOME, no_methods, metamethods);
  strand_setfuncs(L, functions);
}

void strand_open_outcome_methods (lua_State *L, const char *type) {
  lua_pushstring(L, type);
  lua_pushcclosure(L, method_retry, 1);
  lua_setfield(L, -2, "retry");
  lua_pushstring(L, type);
  lua_pushcclosure(L, method_stop, 1);
  lua_setfield(L, -2, "stop");
}

const strand_outcome *strand_to_outcome (lua_State *L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA) return NULL;
  return strand_test(L, index, OUTCOME);
}

void strand_outcome_watch (lua_State *L, const char **made) {
  lua_pushlightuserdata(L, &watch_key);
  lua_pushlightuserdata(L, (void *)made);
  lua_rawset(L, LUA_REGISTRYINDEX);
}
