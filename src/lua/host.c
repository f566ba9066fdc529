/*
** host.c - see host.h
*/
#include "lua/host.h"

#include <stdatomic.h>

#include <lauxlib.h>

#include "lua/compat.h"
#include "lua/finalizers.h"

static char key;

/* Written by whichever thread has a state, read by the same: a number of each
** state that asked, since an address comes again; and that of the owner, 0:
** there is none. */
static atomic_int states;
static atomic_int owner;

static int number_of (lua_State *L) {
  int number;
  lua_pushlightuserdata(L, &key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  number = (int)lua_tonumber(L, -1);
  lua_pop(L, 1);
  if (number != 0) return number;
  number = atomic_fetch_add(&states, 1) + 1;
  lua_pushlightuserdata(L, &key);
  lua_pushnumber(L, number);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return number;
}

static int core_is_first_state (lua_State *L) {
  int first = atomic_load(&owner);
  lua_pushboolean(L, first == 0 || first == number_of(L));
  return 1;
}

static int core_own_process (lua_State *L) {
  int none = 0;
  atomic_compare_exchange_strong(&owner, &none, number_of(L));
  return 0;
}

static int core_finalize_within (lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  strand_finalizers_limit(L, seconds);
  return 0;
}

void strand_open_host (lua_State *L) {
  static const luaL_Reg functions[] = {
    { "is_first_state", core_is_first_state },
    { "own_process", core_own_process },
    { "finalize_within", core_finalize_within },
    { NULL, NULL },
  };
  strand_setfuncs(L, functions);
}
