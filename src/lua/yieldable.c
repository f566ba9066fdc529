/*
** yieldable.c - see yieldable.h
*/
#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "lua/yieldable.h"

#include <stdbool.h>

#if LUA_VERSION_NUM == 501

#include <dlfcn.h>
#include <string.h>

#include <lauxlib.h>

/* lua_State of 5.1 up to what is looked at: lstate.h. */
typedef struct state {
  void *next;
  unsigned char tt, marked, status;
  void *pointers[9];
  int sizes[2];
  unsigned short c_calls;      /* how many are nested */
  unsigned short base_c_calls; /* when the coroutine was resumed */
} state;

static const state *state_of (lua_State *L) {
  return (const state *)(const void *)L;
}

static bool can_yield (lua_State *L) {
  return state_of(L)->c_calls <= state_of(L)->base_c_calls;
}

static int core_can_yield (lua_State *L) {
  lua_pushboolean(L, can_yield(L));
  return 1;
}

/* At the base of a coroutine it can, and one call of C above it cannot. */
static int try_there (lua_State *L) {
  bool at_base = can_yield(L);
  bool nested;
  lua_pushcfunction(L, core_can_yield);
  lua_call(L, 0, 1);
  nested = lua_toboolean(L, -1);
  lua_pushboolean(L, at_base && !nested
                       && state_of(L)->c_calls == state_of(L)->base_c_calls);
  return 1;
}

/* LuaJIT's state is another. */
static bool is_luajit (lua_State *L) {
  bool is;
  lua_getglobal(L, "jit");
  is = !lua_isnil(L, -1);
  lua_pop(L, 1);
  return is;
}

static bool is_as_expected (lua_State *L) {
  lua_State *thread = lua_newthread(L);
  bool is;
  lua_pushcfunction(thread, try_there);
  is = lua_resume(thread, 0) == 0 && lua_toboolean(thread, -1);
  lua_pop(L, 1);
  return is;
}

/* LuaJIT knows; but nginx puts another 'coroutine' in its library's place, and
** the module may have been compiled with the headers of PUC Lua. */
static int (*ask_luajit)(lua_State *L);

static int luajit_can_yield (lua_State *L) {
  lua_pushboolean(L, ask_luajit(L));
  return 1;
}

static bool find_luajits (void) {
  void *found = dlsym(RTLD_DEFAULT, "lua_isyieldable");
  if (found != NULL) memcpy(&ask_luajit, &found, sizeof(found));
  return found != NULL;
}

void strand_open_yieldable (lua_State *L) {
  bool luajit = is_luajit(L);
  if (luajit ? !find_luajits() : !is_as_expected(L)) return;
  lua_pushcfunction(L, luajit ? luajit_can_yield : core_can_yield);
  lua_setfield(L, -2, "can_yield");
}

#else

void strand_open_yieldable (lua_State *L) {
  (void)L;
}

#endif
