/*
** hook.c - see hook.h
*/
#include "lua/worker/hook.h"

#include "codec/utf8.h"
#include "core/engine.h"
#include "lua/compat.h"
#include "lua/worker/reason.h"

/* 5.1 does not add a coroutine's C calls to those of who resumed it, and would
** run through the thread's stack. Later versions count to 200 themselves. */
#define DEPTH_MAX 200

static char hook_key;      /* in the registry: the hook, as light userdata */
static char traceback_key; /* debug.traceback, as it was */

/*
** The hook
*/

static void on_count (lua_State *L, lua_Debug *at);

static void set (strand_hook *h, lua_State *L) {
  lua_Hook now = lua_gethook(L);
  if (now != on_count) {
    h->owner = L;
    h->theirs = now;
    h->mask = lua_gethookmask(L);
    h->count = lua_gethookcount(L);
  }
  lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
}

static void arm (strand_hook *h) {
  lua_State *L = h->running;
  if (L == NULL) return;
  h->armed = 1;
  set(h, L);
}

void strand_hook_arm (strand_hook *h, unsigned what) {
  atomic_fetch_or(&h->wanted, what);
  arm(h);
}

/* A signal may come in the middle of it: then all is set again. */
static void disarm (strand_hook *h, lua_State *L) {
  h->armed = 0;
  if (lua_gethook(L) == on_count) {
    if (h->owner == L) lua_sethook(L, h->theirs, h->mask, h->count);
    else lua_sethook(L, NULL, 0, 0);
  }
  if (atomic_load(&h->wanted) != 0) arm(h);
}

/* Its last line is about our own call. */
static void trace (strand_hook *h, lua_State *L) {
  const char *text;
  size_t length;
  lua_pushlightuserdata(L, &traceback_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_pcall(L, 0, 1, 0) == 0 && lua_type(L, -1) == LUA_TSTRING) {
    text = lua_tolstring(L, -1, &length);
    length = strand_utf8_cut(text, length, STRAND_REASON_MAX);
    strand_task_traced(h->task, text, length);
  }
  lua_pop(L, 1);
}

static void end_call (strand_hook *h, lua_State *L, lua_Debug *at) {
  char text[STRAND_DEADLINE_TEXT];
  strand_deadline_text(text, h->task->deadline_us);
  lua_getinfo(L, "Sl", at);
  lua_pushfstring(L, "%s:%d: %s", at->short_src, at->currentline, text);
  lua_error(L);
}

static void on_count (lua_State *L, lua_Debug *at) {
  strand_hook *h;
  unsigned wanted;
  lua_pushlightuserdata(L, &hook_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  h = lua_touserdata(L, -1);
  lua_pop(L, 1);
  wanted = atomic_exchange(&h->wanted, 0);
  if (h->running != NULL) {
    if ((wanted & STRAND_INTERRUPT_TRACE) && strand_task_traceable(h->task))
      trace(h, L);
    if (strand_task_expired(h->task)) end_call(h, L, at);
  }
  disarm(h, L);
}

void strand_hook_begin (strand_hook *h, lua_State *L, strand_task *task) {
  h->task = task;
  h->depth = 0;
  h->running = L;
  if (strand_task_expired(task)) arm(h); /* its signal found nobody here */
}

void strand_hook_end (strand_hook *h, lua_State *L) {
  h->running = NULL;
  atomic_store(&h->wanted, 0);
  if (h->armed) disarm(h, L);
}

/*
** Coroutines
*/

/* As Lua's own auxresume; it raises nothing, so 'running' is always right. */
static int go_on (lua_State *L, lua_State *co, int arguments, int *results) {
#if LUA_VERSION_NUM >= 504
  return lua_resume(co, L, arguments, results);
#else
#if LUA_VERSION_NUM >= 502
  int status = lua_resume(co, L, arguments);
#else
  int status = lua_resume(co, arguments);
  (void)L;
#endif
  *results = lua_gettop(co);
  return status;
#endif
}

static int go_on_watched (strand_hook *h, lua_State *L, lua_State *co,
                          int arguments, int *results) {
  lua_State *before = h->running;
  int status;
  if (before == NULL) return go_on(L, co, arguments, results);
  h->depth++;
  h->running = co;
  if (h->armed) set(h, co);
  status = go_on(L, co, arguments, results);
  h->depth--;
  h->running = before;
  if (h->armed) set(h, before);
  return status;
}

/* How many results are on top; -1: an error is. */
static int run (lua_State *L, lua_State *co, int arguments) {
  strand_hook *h = lua_touserdata(L, lua_upvalueindex(1));
  int status = lua_status(co), results;
  if (status > LUA_YIELD || (status == 0 && lua_gettop(co) == 0)) {
    lua_pushliteral(L, "cannot resume dead coroutine");
    return -1;
  }
  if (h->depth >= DEPTH_MAX) {
    lua_pushliteral(L, "C stack overflow");
    return -1;
  }
  if (!lua_checkstack(co, arguments)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, arguments);
  status = go_on_watched(h, L, co, arguments, &results);
  if (status != 0 && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (lua_checkstack(L, results + 1)) {
    lua_xmove(co, L, results);
    return results;
  }
  lua_pop(co, results);
  lua_pushliteral(L, "too many results to resume");
  return -1;
}

/* Upvalue: the hook. */
static int resume (lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  int results;
  luaL_checktype(L, 1, LUA_TTHREAD);
  results = run(L, co, lua_gettop(L) - 1);
  lua_pushboolean(L, results >= 0);
  if (results < 0) results = 1;
  lua_insert(L, -(results + 1));
  return results + 1;
}

/* Upvalues: the hook, the coroutine. */
static int resume_wrapped (lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(2));
  int results = run(L, co, lua_gettop(L));
  if (results >= 0) return results;
#if LUA_VERSION_NUM >= 504
  if (lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD) {
    lua_resetthread(co); /* closes its variables */
    lua_xmove(co, L, 1);
  }
#endif
  if (lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

/* Upvalue: the hook. */
static int wrap (lua_State *L) {
  lua_State *co;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_pushvalue(L, lua_upvalueindex(1));
  co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, resume_wrapped, 2);
  return 1;
}

/* Into the table on top. */
static void replace (lua_State *L, strand_hook *h, const char *name,
                     lua_CFunction by) {
  lua_pushlightuserdata(L, h);
  lua_pushcclosure(L, by, 1);
  lua_setfield(L, -2, name);
}

void strand_hook_open (lua_State *L, strand_hook *h) {
  bool jit;
  lua_pushlightuserdata(L, &hook_key);
  lua_pushlightuserdata(L, h);
  lua_rawset(L, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(L, &traceback_key);
  strand_push_library(L, "debug");
  lua_getfield(L, -1, "traceback");
  lua_remove(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  strand_push_library(L, "jit");
  jit = lua_istable(L, -1);
  lua_pop(L, 1);
  if (jit) return;
  strand_push_library(L, "coroutine");
  replace(L, h, "resume", resume);
  replace(L, h, "wrap", wrap);
  lua_pop(L, 1);
}
