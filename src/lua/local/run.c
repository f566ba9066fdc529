/*
** run.c - see run.h
*/
#include "lua/local/run.h"

#include "lua/compat.h"
#include "lua/local/body.h"
#include "lua/worker/outcome.h"

#define UP(name) lua_upvalueindex(STRAND_NEXT_##name)

int strand_body_next (lua_State *L) {
  strand_body *body = strand_body_test(L, 1, UP(BODIES));
  bool ended = lua_gettop(L) > 1;
  luaL_checkstack(L, 20, "next");
  if (body == NULL || !strand_body_come(L, body)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  if (body->seat != NULL && ended) {
    bool returned = lua_toboolean(L, 2);
    strand_body_end how = lua_isnil(L, 2) ? STRAND_BODY_YIELDED
                                          : STRAND_BODY_RAISED;
    lua_settop(L, returned ? 4 : 3);
    strand_handler_end(L, body, returned ? STRAND_BODY_RETURNED : how);
  }
  lua_settop(L, 1);
  switch (strand_body_take(L, body)) {
    case STRAND_BODY_CALLS: return 3;
    case STRAND_BODY_PARKS: return 0;
    case STRAND_BODY_TELLS:
      lua_pushnil(L);
      lua_pushboolean(L, 1);
      return 2;
    default: lua_pushboolean(L, 0); return 1;
  }
}

#if STRAND_RUNS_IN_C

/*
** Handlers
*/

/* Of its frame. */
enum { BODY = 1, PARK, OUTER, TRACEBACK, WAITER, FRAME = WAITER };

/* What it has done before it goes on. */
enum { BEGUN, HANDLED, PARKED };

/* The stack is not made larger for one that gave nothing. */
static void conclude (lua_State *L, strand_body *body, int status) {
  if (status != LUA_OK && status != LUA_YIELD) {
    luaL_checkstack(L, 20, "run");
    strand_handler_end(L, body, STRAND_BODY_RAISED);
    return;
  }
  if (!lua_isnil(L, -1) || !lua_isnil(L, -2)) luaL_checkstack(L, 20, "run");
  strand_handler_end(L, body, STRAND_BODY_RETURNED);
}

static int go_on (lua_State *L, int status, lua_KContext done) {
  strand_body *body = lua_touserdata(L, BODY);
  for (;;) {
    strand_body_step step;
    if (!strand_body_come(L, body)) return 0;
    if (done == HANDLED) conclude(L, body, status);
    else if (done == PARKED) lua_replace(L, WAITER);
    else if (body->seat != NULL)
      strand_handler_end(L, body, STRAND_BODY_YIELDED);
    lua_settop(L, FRAME);
    step = strand_body_take(L, body);
    if (step == STRAND_BODY_ENDS) return 0;
    if (step != STRAND_BODY_CALLS) { /* no loop under which bodies are run here
                                     ** has STRAND_BODY_TELLS */
      done = PARKED;
      lua_pushvalue(L, PARK);
      lua_pushnumber(L, body->number);
      lua_pushvalue(L, WAITER);
      lua_callk(L, 2, 1, done, go_on);
    }
    else {
      done = HANDLED;
      status = lua_pcallk(L, 2, 2, TRACEBACK, done, go_on);
    }
  }
}

int strand_body_run (lua_State *L) {
  luaL_argcheck(L, strand_body_test(L, BODY, UP(BODIES)) != NULL, BODY,
                "a body expected");
  lua_settop(L, OUTER);
  lua_pushvalue(L, UP(TRACEBACK));
  lua_pushnil(L);
  return go_on(L, LUA_OK, BEGUN);
}

/*
** Relay
*/

/* Upvalues of a relay. Its frame has nothing but what passes through, because
** some loops look for what was yielded at the bottom of a frame: so it yields
** by itself, and there is none of coroutine.yield's to be read again. */
enum {
  RELAY_BODY = 1,
  RELAY_MARKER,
  RELAY_PARK,
  RELAY_COROUTINES,
  RELAY_RUN,
  RELAY_INNER,
  RELAY_COUNT = RELAY_INNER
};

/* Replaces the one that there is, and is ready to be resumed with the
** arguments that are counted. */
static int new_inner (lua_State *L, strand_body *body) {
  lua_State *inner;
  lua_settop(L, 0);
  luaL_checkstack(L, 20, "relay");
  inner = lua_newthread(L);
  lua_pushvalue(L, lua_upvalueindex(RELAY_BODY));
  strand_outcome_watch_thread(L, 1, 2);
  lua_pushvalue(L, 1);
  lua_rawseti(L, lua_upvalueindex(RELAY_COROUTINES),
              (lua_Integer)body->number);
  lua_pushvalue(L, lua_upvalueindex(RELAY_RUN));
  lua_insert(L, 2);
  lua_pushvalue(L, lua_upvalueindex(RELAY_PARK));
  lua_pushthread(L);
  lua_xmove(L, inner, 4);
  lua_replace(L, lua_upvalueindex(RELAY_INNER));
  body->inner = inner;
  body->outer = L;
  return 3;
}

static int resume (lua_State *L, lua_State *inner, int count, int *results) {
#if LUA_VERSION_NUM >= 504
  return lua_resume(inner, L, count, results);
#else
  int status = lua_resume(inner, L, count);
  *results = lua_gettop(inner);
  return status;
#endif
}

/* What it is resumed with goes to the inner one, but for a new one, which has
** what it needs. */
static int relay_on (lua_State *L, int status, lua_KContext is_new) {
  strand_body *body = lua_touserdata(L, lua_upvalueindex(RELAY_BODY));
  (void)status;
  for (;;) {
    int count = is_new ? new_inner(L, body) : lua_gettop(L);
    lua_State *inner = body->inner;
    int ended, results = 0;
    if (!is_new) {
      if (lua_status(inner) != LUA_YIELD || !lua_checkstack(inner, count))
        return luaL_error(L, "the handler's coroutine was resumed by others");
      lua_xmove(L, inner, count);
    }
    ended = resume(L, inner, count, &results);
    if (ended == LUA_OK) return 0;
    if (ended != LUA_YIELD) {
      lua_xmove(inner, L, 1);
      return lua_error(L);
    }
    luaL_checkstack(L, results, "relay");
    lua_xmove(inner, L, results);
    is_new = results == 0
             || !lua_rawequal(L, 1, lua_upvalueindex(RELAY_MARKER));
    if (!is_new) return lua_yieldk(L, results, 0, relay_on);
  }
}

static int begin_relay (lua_State *L) {
  return relay_on(L, LUA_OK, 1);
}

int strand_body_relay (lua_State *L) {
  luaL_argcheck(L, strand_body_test(L, RELAY_BODY, UP(BODIES)) != NULL,
                RELAY_BODY, "a body expected");
  lua_settop(L, RELAY_COUNT);
  lua_pushcclosure(L, begin_relay, RELAY_COUNT);
  return 1;
}

#endif
