/*
** loader.c - see loader.h
*/
#include "lua/worker/loader.h"

#include <lualib.h>

#include "base/lock.h"
#include "core/engine.h"
#include "lua/compat.h"
#include "lua/worker/reason.h"

/*
** Require
*/

/* Upvalues: the original, package.loaded. What is loaded needs no lock; a
** light userdata is 5.1's mark of a module that is being loaded. */
static int locked_require (lua_State *L) {
  int status;
  luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  lua_rawget(L, lua_upvalueindex(2));
  if (lua_toboolean(L, 2) && lua_type(L, 2) != LUA_TLIGHTUSERDATA) return 1;
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  strand_lock_take_loading();
  status = lua_pcall(L, 1, LUA_MULTRET, 0);
  strand_lock_release_loading();
  if (status != 0) return lua_error(L);
  return lua_gettop(L);
}

static void replace_require (lua_State *L) {
  lua_getglobal(L, "require");
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_pushcclosure(L, locked_require, 2);
  lua_setglobal(L, "require");
}

/*
** Libraries
*/

static int refuse_exit (lua_State *L) {
  return luaL_error(L, "os.exit() in a worker: it would end the whole "
                       "process; context:stop_consumer() ends the consumer");
}

static void set_path (lua_State *L, const char *name,
                      const strand_text *path) {
  if (path == NULL) return;
  lua_pushlstring(L, path->bytes, path->length);
  lua_setfield(L, -2, name);
}

void strand_load_libraries (lua_State *L, const strand_sources *s) {
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  set_path(L, "path", strand_sources_path(s));
  set_path(L, "cpath", strand_sources_cpath(s));
  lua_getglobal(L, "os");
  lua_pushcfunction(L, refuse_exit);
  lua_setfield(L, -2, "exit");
  lua_pop(L, 2);
  replace_require(L);
}

/*
** Code
*/

/* Since 5.2 globals are reached through the upvalue of this name. */
static void set_environment (lua_State *L) {
#if LUA_VERSION_NUM >= 502
  const char *name;
  int i;
  for (i = 1; (name = lua_getupvalue(L, -1, i)) != NULL; i++) {
    lua_pop(L, 1);
    if (strcmp(name, "_ENV") != 0) continue;
    lua_pushglobaltable(L);
    lua_setupvalue(L, -2, i);
  }
#else
  (void)L;
#endif
}

bool strand_load_code (lua_State *L, const strand_text *code,
                       const char *name) {
  if (luaL_loadbuffer(L, code->bytes, code->length, name) != 0) return false;
  set_environment(L);
  return true;
}

static int raise_handler (lua_State *L, const char *name) {
  strand_push_reason(L, -1, STRAND_REASON_MAX);
  return luaL_error(L, "handler '%s': %s", name, lua_tostring(L, -1));
}

static void push_code (lua_State *L, const strand_text *code,
                       const char *name) {
  if (!strand_load_code(L, code, name)) raise_handler(L, name);
}

void strand_load_args (lua_State *L, const strand_sources *s) {
  const strand_text *args = strand_sources_args(s);
  if (args == NULL) {
    lua_pushnil(L);
    return;
  }
  if (luaL_loadbuffer(L, args->bytes, args->length, "=handler_args") != 0)
    lua_error(L);
  lua_call(L, 0, 1);
}

/*
** Modules
*/

/* The field 'name' of the module on top, a function or nil; pushes it. */
static void push_optional (lua_State *L, const char *module,
                           const char *name) {
  lua_getfield(L, -1, name);
  if (!lua_isnil(L, -1) && !lua_isfunction(L, -1))
    luaL_error(L,
               "handler '%s': '%s' of the module is a %s, function "
               "expected",
               module, name, luaL_typename(L, -1));
}

/* Pushes the module's handler, from its value on top: of a table the function
** that the route calls for. */
static void push_handle (lua_State *L, const char *module, bool batch) {
  static const char *const names[] = { "handle", "handle_batch" };
  if (lua_isfunction(L, -1)) {
    lua_pushvalue(L, -1);
    return;
  }
  if (!lua_istable(L, -1))
    luaL_error(L,
               "handler '%s': the module returns %s %s; a function, or a "
               "table with '%s', expected",
               module, lua_isboolean(L, -1) ? "nothing, or a" : "a",
               luaL_typename(L, -1), names[batch]);
  lua_getfield(L, -1, names[batch]);
  if (lua_isfunction(L, -1)) return;
  lua_getfield(L, -2, names[!batch]);
  if (!lua_isnil(L, -1))
    luaL_error(L,
               "handler '%s': the module has a '%s' and no '%s', which is "
               "called %s option 'batch'",
               module, names[!batch], names[batch],
               batch ? "with" : "without");
  luaL_error(L,
             "handler '%s': the module is a table without a function "
             "'%s'",
             module, names[batch]);
}

/* Pushes the value of the module. */
static void push_module (lua_State *L, const char *name) {
  lua_getglobal(L, "require");
  lua_pushstring(L, name);
  if (lua_pcall(L, 1, 1, 0) != 0) raise_handler(L, name);
}

/* Calls the setup on top, and pops it. As of a handler, false, or nil with a
** reason, is a failure. */
static void call_setup (lua_State *L, const char *name, int args) {
  strand_push_traceback(L, false);
  lua_insert(L, -2);
  lua_pushvalue(L, args);
  if (lua_pcall(L, 1, 2, -3) != 0) {
    strand_push_reason(L, -1, STRAND_REASON_MAX);
    luaL_error(L, "handler '%s': error in setup: %s", name,
               lua_tostring(L, -1));
  }
  if (!lua_toboolean(L, -2) && (lua_isboolean(L, -2) || !lua_isnil(L, -1))) {
    if (lua_isnil(L, -1)) lua_pushliteral(L, "it returned false");
    strand_push_reason(L, -1, STRAND_REASON_MAX);
    luaL_error(L, "handler '%s': setup failed: %s", name, lua_tostring(L, -1));
  }
  lua_pop(L, 3); /* the traceback too */
}

/* The module's value is on top. */
static void set_up_module (lua_State *L, const char *name, int args,
                           int teardowns) {
  int place = (int)strand_rawlen(L, teardowns) + 1;
  if (!lua_istable(L, -1)) return;
  push_optional(L, name, "teardown");
  lua_insert(L, -2);
  lua_pushboolean(L, 0); /* its place is there before setup has run */
  lua_rawseti(L, teardowns, place);
  push_optional(L, name, "setup");
  if (lua_isfunction(L, -1)) call_setup(L, name, args);
  else lua_pop(L, 1);
  lua_insert(L, -2);
  if (lua_isnil(L, -1)) lua_pop(L, 1);
  else lua_rawseti(L, teardowns, place);
}

/* Loads what is not yet in the table at 'modules', and pushes the handler. */
static void push_route (lua_State *L, const strand_route_source *route,
                        int modules) {
  const char *name = route->name->bytes;
  if (route->module == NULL) {
    push_code(L, route->code, name);
    return;
  }
  lua_getfield(L, modules, route->module->bytes);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    push_module(L, route->module->bytes);
    lua_pushvalue(L, -1);
    lua_setfield(L, modules, route->module->bytes);
  }
  push_handle(L, name, route->batch);
  lua_remove(L, -2);
}

/* All are loaded before the first is set up. */
static void set_up_modules (lua_State *L, strand_sources *s, int modules,
                            int args, int teardowns) {
  size_t i;
  for (i = 0; i < strand_sources_count(s); i++) {
    const strand_route_source *route = strand_sources_route(s, i);
    if (route->module == NULL) continue;
    lua_getfield(L, modules, route->module->bytes);
    if (!lua_isnil(L, -1))
      set_up_module(L, route->module->bytes, args, teardowns);
    lua_pop(L, 1);
    lua_pushnil(L); /* once */
    lua_setfield(L, modules, route->module->bytes);
  }
}

void strand_load_handlers (lua_State *L, strand_sources *s, int args,
                           int teardowns) {
  int handlers;
  size_t i;
  lua_createtable(L, (int)strand_sources_count(s), 0);
  handlers = lua_gettop(L);
  lua_newtable(L); /* modules by name */
  for (i = 0; i < strand_sources_count(s); i++) {
    push_route(L, strand_sources_route(s, i), handlers + 1);
    lua_rawseti(L, handlers, (int)i + 1);
  }
  set_up_modules(L, s, handlers + 1, args, teardowns);
  lua_settop(L, handlers);
}

void strand_load_policies (lua_State *L, strand_sources *s) {
  size_t i;
  lua_createtable(L, (int)strand_sources_count(s) + 1, 0);
  for (i = 0; i < strand_sources_count(s); i++) {
    const strand_route_source *route = strand_sources_route(s, i);
    if (!route->has_retry) continue;
    if (route->retry_code == NULL) lua_pushboolean(L, 0);
    else push_code(L, route->retry_code, route->name->bytes);
    lua_rawseti(L, -2, (int)i + 1);
  }
}
