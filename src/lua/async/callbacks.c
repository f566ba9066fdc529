/*
** callbacks.c - see callbacks.h
*/
#define _GNU_SOURCE /* dladdr, RTLD_DEFAULT */
#include "lua/async/callbacks.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#include "lua/compat.h"

/* As luv.h has them. */
typedef int (*luv_caller)(lua_State *L, int arguments, int results, int flags);
typedef void (*luv_setter)(lua_State *L, luv_caller caller);

enum { HANDLER = 1, FAILED }; /* in the table under functions_key */

static char functions_key; /* its address is a key in the registry */

/* Allocates nothing: it is no protected call. */
static void push_function (lua_State *L, int which) {
  lua_pushlightuserdata(L, &functions_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_rawgeti(L, -1, which);
  lua_remove(L, -2);
}

/* The function and its arguments are on top. How many results are then; less
** than 0: it has raised. */
static int call_back (lua_State *L, int arguments, int results, int flags) {
  int function = lua_gettop(L) - arguments, status;
  (void)flags; /* of luv's own threads */
  push_function(L, HANDLER);
  lua_insert(L, function);
  status = lua_pcall(L, arguments, results, function);
  lua_remove(L, function);
  if (status == 0)
    return results == LUA_MULTRET ? lua_gettop(L) - function + 1 : results;
  push_function(L, FAILED);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 0, 0) != 0) lua_pop(L, 1); /* out of memory */
  return -status;
}

/* Of the library that 'of' is from; NULL: it has no such function. */
static luv_setter find_setter (lua_CFunction of) {
  static const char name[] = "luv_set_callback";
  Dl_info info;
  void *library, *symbol;
  if (of == NULL || dladdr((void *)(uintptr_t)of, &info) == 0
      || info.dli_fname == NULL)
    return NULL;
  library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  symbol = dlsym(library != NULL ? library : RTLD_DEFAULT, name);
  if (library != NULL) dlclose(library);
  return (luv_setter)(uintptr_t)symbol;
}

int strand_callbacks_contain (lua_State *L) {
  luv_setter set = find_setter(lua_tocfunction(L, 1));
  luaL_checktype(L, 2, LUA_TFUNCTION);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_settop(L, 3);
  lua_pushlightuserdata(L, &functions_key);
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, HANDLER);
  lua_pushvalue(L, 3);
  lua_rawseti(L, -2, FAILED);
  lua_rawset(L, LUA_REGISTRYINDEX);
  if (set != NULL) set(L, call_back);
  lua_pushboolean(L, set != NULL);
  return 1;
}
