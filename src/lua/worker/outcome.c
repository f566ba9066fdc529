/*
** outcome.c - see outcome.h
*/
#include "lua/worker/outcome.h"

#include <stdio.h>

#include "codec/utf8.h"
#include "lua/compat.h"
#include "lua/object.h"

#define OUTCOME "strand.Outcome"

static const char *const names[] = {
  [STRAND_OUTCOME_RETRY] = "retry",
  [STRAND_OUTCOME_SKIP] = "skip",
  [STRAND_OUTCOME_DEAD_LETTER] = "dead_letter",
  [STRAND_OUTCOME_PARK] = "park",
  [STRAND_OUTCOME_STOP] = "stop"
};

static char watch_key;   /* its address is a key in the registry, */
static char threads_key; /* as this one's: of watchers by coroutine */
static char tag;         /* and this one's is in each outcome */

bool strand_delay_of (double seconds, int64_t *delay_us) {
  if (!(seconds >= 0 && seconds <= STRAND_DELAY_MAX)) return false;
  *delay_us = (int64_t)(seconds * 1e6 + 0.5);
  return true;
}

static const char **watcher (lua_State *L) {
  const char **made;
  lua_pushlightuserdata(L, &watch_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  made = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return made;
}

static void tell_watcher (lua_State *L, strand_outcome_kind kind) {
  const char **made = strand_outcome_watcher(L);
  if (made == NULL) made = watcher(L);
  if (made != NULL) *made = names[kind];
}

static int push_outcome (lua_State *L, strand_outcome_kind kind,
                         int64_t delay_us, int index) {
  size_t length = 0;
  const char *reason = luaL_optlstring(L, index, NULL, &length);
  strand_outcome_object *outcome;
  if (reason != NULL)
    length = strand_utf8_cut(reason, length, STRAND_REASON_MAX);
  tell_watcher(L, kind); /* first: without memory for it nothing is done */
  outcome = strand_newuserdata(L, sizeof(*outcome) + length);
  outcome->tag = &tag;
  outcome->kind = kind;
  outcome->has_reason = reason != NULL;
  outcome->delay_us = delay_us;
  outcome->length = length;
  if (reason != NULL) memcpy(outcome->reason, reason, length);
  strand_settype(L, OUTCOME);
  return 1;
}

/* 'index' is that of the first argument. */
static int make (lua_State *L, strand_outcome_kind kind, int index) {
  int64_t delay_us = -1;
  if (kind != STRAND_OUTCOME_RETRY)
    return push_outcome(L, kind, delay_us, index);
  if (!lua_isnoneornil(L, index)) {
    luaL_argcheck(
      L,
      lua_type(L, index) == LUA_TNUMBER
        && strand_delay_of((double)lua_tonumber(L, index), &delay_us),
      index, STRAND_DELAY_SHAPE);
  }
  return push_outcome(L, kind, delay_us, index + 1);
}

/* Upvalue: the kind. */
static int make_plain (lua_State *L) {
  return make(L, (strand_outcome_kind)lua_tointeger(L, lua_upvalueindex(1)),
              1);
}

/* The type by its name, or its metatable, is at 'type'. */
static bool is_of (lua_State *L, int index, int type) {
  bool same;
  if (lua_type(L, type) == LUA_TSTRING)
    return strand_test(L, index, lua_tostring(L, type)) != NULL;
  if (!lua_isuserdata(L, index) || !lua_getmetatable(L, index)) return false;
  same = lua_rawequal(L, -1, type);
  lua_pop(L, 1);
  return same;
}

/* Upvalues: the kind, and the type of 'self'. */
static int make_method (lua_State *L) {
  strand_outcome_kind kind = (strand_outcome_kind)lua_tointeger(
    L, lua_upvalueindex(1));
  if (!is_of(L, 1, lua_upvalueindex(2)))
    luaL_error(L, "%s is a method: call it with a colon", names[kind]);
  return make(L, kind, 2);
}

static int outcome_tostring (lua_State *L) {
  const strand_outcome_object *self = strand_to_outcome(L, 1);
  char delay[48] = "";
  if (self == NULL) return luaL_argerror(L, 1, "an outcome expected");
  if (self->delay_us >= 0)
    snprintf(delay, sizeof(delay), " after %.14g s",
             (double)self->delay_us / 1e6);
  lua_pushfstring(L, "%s (%s%s", OUTCOME, names[self->kind], delay);
  lua_pushstring(L, self->has_reason ? ": " : "");
  lua_pushlstring(L, self->reason, self->length);
  lua_pushliteral(L, ")");
  lua_concat(L, 4);
  return 1;
}

/* The same answer for the same reason. */
static int outcome_eq (lua_State *L) {
  const strand_outcome_object *a = strand_to_outcome(L, 1);
  const strand_outcome_object *b = strand_to_outcome(L, 2);
  lua_pushboolean(L, a != NULL && b != NULL && a->kind == b->kind
                       && a->delay_us == b->delay_us
                       && a->has_reason == b->has_reason
                       && a->length == b->length
                       && memcmp(a->reason, b->reason, a->length) == 0);
  return 1;
}

static const luaL_Reg no_methods[] = {
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__tostring", outcome_tostring },
  { "__eq", outcome_eq },
  { NULL, NULL },
};

void strand_open_outcomes (lua_State *L) {
  int kind;
  strand_newtype(L, OUTCOME, no_methods, metamethods);
  for (kind = STRAND_OUTCOME_RETRY; kind <= STRAND_OUTCOME_STOP; kind++) {
    lua_pushinteger(L, kind);
    lua_pushcclosure(L, make_plain, 1);
    lua_setfield(L, -2, names[kind]);
  }
}

/* What 'self' is known by is on top, and is taken; below it the table. */
static void open_methods (lua_State *L) {
  int kind;
  for (kind = STRAND_OUTCOME_RETRY; kind <= STRAND_OUTCOME_STOP; kind++) {
    lua_pushinteger(L, kind);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, make_method, 2);
    lua_setfield(L, -3, names[kind]);
  }
  lua_pop(L, 1);
}

void strand_open_outcome_methods (lua_State *L, const char *type) {
  lua_pushstring(L, type);
  open_methods(L);
}

void strand_open_outcome_methods_of (lua_State *L, int metatable) {
  lua_pushvalue(L, metatable);
  open_methods(L);
}

/* Nothing else of this size can begin with the tag's address. */
const strand_outcome_object *strand_to_outcome (lua_State *L, int index) {
  const strand_outcome_object *outcome;
  if (lua_type(L, index) != LUA_TUSERDATA) return NULL;
  outcome = lua_touserdata(L, index);
  if (strand_rawlen(L, index) < sizeof(*outcome) || outcome->tag != &tag)
    return NULL;
  return outcome;
}

/* Two copies in one state share the types: they have one name. */
bool strand_is_alien_outcome (lua_State *L, int index) {
  return strand_test(L, index, OUTCOME) != NULL
         && strand_to_outcome(L, index) == NULL;
}

const char *strand_outcome_maker (lua_State *L, int index) {
  lua_CFunction f = lua_tocfunction(L, index);
  const char *name = NULL;
  if (f != make_plain && f != make_method) return NULL;
  if (lua_getupvalue(L, index, 1) != NULL) {
    name = names[lua_tointeger(L, -1)];
    lua_pop(L, 1);
  }
  return name;
}

const char **strand_outcome_watch (lua_State *L, const char **made) {
  const char **before = watcher(L);
  lua_pushlightuserdata(L, &watch_key);
  lua_pushlightuserdata(L, (void *)made);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return before;
}

/*
** By coroutine
*/

static bool push_threads (lua_State *L) {
  lua_pushlightuserdata(L, &threads_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

static void make_threads (lua_State *L) {
  lua_pushlightuserdata(L, &threads_key);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void strand_outcome_watch_thread (lua_State *L, int thread, int watcher) {
  thread = strand_absindex(L, thread);
  watcher = strand_absindex(L, watcher);
  if (!push_threads(L)) {
    make_threads(L);
    push_threads(L);
  }
  lua_pushvalue(L, thread);
  lua_pushvalue(L, watcher);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

void *strand_outcome_watcher (lua_State *L) {
  void *watcher;
  if (!push_threads(L)) return NULL;
  lua_pushthread(L);
  lua_rawget(L, -2);
  watcher = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return watcher;
}
