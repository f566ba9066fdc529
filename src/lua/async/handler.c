/*
** handler.c - see handler.h
*/
#include "lua/async/handler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/log.h"
#include "lua/async/callbacks.h"
#include "lua/compat.h"
#include "lua/local/binding.h"
#include "lua/local/body.h"
#include "lua/worker/loader.h"
#include "lua/worker/memory.h"
#include "lua/worker/state.h"

typedef struct async {
  lua_State *L;
  strand_memory memory;    /* L's */
  strand_sources *sources; /* borrows, as the next two, from its thread */
  strand_consumer *consumer;
  strand_worker_slot *worker_slot;
  /* In a userdata that the registry keeps; NULL: not yet. */
  strand_seats *seats;
  const strand_seat *traced; /* between wanted() and traced() */
  char code[32];             /* of what set_up raises; "" is HANDLER */
  bool ended;                /* run: the worker's work is done */
} async;

static char driver_key; /* its address is a key in the registry */

static async *async_of (lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(1));
}

/*
** What lua/strand/async.lua calls
*/

/* Arguments: itself, handlers by route, retry functions (workers have theirs),
** args, max_slice. */
static int local_open (lua_State *L) {
  async *a = async_of(L);
  strand_local_options options = { .consumer = a->consumer,
                                   .worker_slot = a->worker_slot,
                                   .handlers = 2,
                                   .args = 4,
                                   .sources = a->sources };
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 5);
  options.max_slice = luaL_checknumber(L, 5);
  a->seats = strand_local_push(L, &options);
  return 1;
}

static int bell (lua_State *L) {
  lua_pushinteger(L, async_of(L)->worker_slot->bell.fd);
  return 1;
}

static int is_over (lua_State *L) {
  const strand_seats *p = async_of(L)->seats;
  lua_pushboolean(L,
                  p == NULL || p->ended || strand_local_has_ended(&p->local));
  return 1;
}

/* How many leases have begun. */
static int begun (lua_State *L) {
  const strand_seats *p = async_of(L)->seats;
  lua_pushnumber(L, p != NULL ? (lua_Number)p->local.begun : 0);
  return 1;
}

/* So little memory is left that handlers would fail for want of it. */
static int is_short (lua_State *L) {
  const strand_memory *m = &async_of(L)->memory;
  bool is = strand_memory_is_short(m);
  if (is) lua_gc(L, LUA_GCCOLLECT, 0);
  lua_pushboolean(L, is && strand_memory_is_short(m));
  return 1;
}

/* The number of the body whose handler's traceback an owner wants; 0: the
** record waits without one; nothing: none does. */
static int wanted (lua_State *L) {
  async *a = async_of(L);
  const strand_slot *slot = atomic_exchange(&a->worker_slot->traced, NULL);
  const strand_seat *seat = NULL;
  if (slot != NULL && a->seats != NULL && !a->seats->ended)
    seat = strand_seats_at(a->seats, slot);
  if (seat == NULL) return 0;
  a->traced = seat;
  lua_pushnumber(L, seat->body != NULL ? seat->body->number : 0);
  return 1;
}

/* That one, before any handler goes on. */
static int traced (lua_State *L) {
  async *a = async_of(L);
  const strand_handling *h = &a->traced->handling;
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  strand_worker_leave_traceback(a->worker_slot, h->slot, text, length);
  strand_waker_wake(h->batch->waker);
  return 0;
}

static int warn (lua_State *L) {
  strand_log_push(async_of(L)->consumer->notifier.log, STRAND_LOG_WARNING,
                  "handler", luaL_checkstring(L, 1));
  return 0;
}

static const luaL_Reg functions[] = {
  { "local_open", local_open },
  { "bell", bell },
  { "is_over", is_over },
  { "begun", begun },
  { "is_short", is_short },
  { "wanted", wanted },
  { "traced", traced },
  { "warn", warn },
  { "contain", strand_callbacks_contain },
  { NULL, NULL },
};

/*
** Opening
*/

/* Pushes { name, module or func, batch } of a route. */
static void push_route (lua_State *L, const strand_route_source *route) {
  lua_createtable(L, 0, 3);
  lua_pushlstring(L, route->name->bytes, route->name->length);
  lua_setfield(L, -2, "name");
  lua_pushboolean(L, route->batch);
  lua_setfield(L, -2, "batch");
  if (route->module != NULL) {
    lua_pushlstring(L, route->module->bytes, route->module->length);
    lua_setfield(L, -2, "module");
    return;
  }
  if (!strand_load_code(L, route->code, route->name->bytes)) lua_error(L);
  lua_setfield(L, -2, "func");
}

static void push_routes (lua_State *L, strand_sources *s) {
  size_t i;
  lua_newtable(L);
  for (i = 0; i < strand_sources_count(s); i++) {
    push_route(L, strand_sources_route(s, i));
    lua_rawseti(L, -2, (int)i + 1);
  }
}

/* Pushes what async.lua gets. */
static void push_own (lua_State *L, async *a) {
  const luaL_Reg *f;
  lua_newtable(L);
  for (f = functions; f->name != NULL; f++) {
    lua_pushlightuserdata(L, a);
    lua_pushcclosure(L, f->func, 1);
    lua_setfield(L, -2, f->name);
  }
  push_routes(L, a->sources);
  lua_setfield(L, -2, "routes");
  strand_load_args(L, a->sources);
  lua_setfield(L, -2, "args");
  lua_pushstring(L, strand_sources_loop(a->sources)->bytes);
  lua_setfield(L, -2, "loop");
  lua_pushnumber(L, strand_sources_max_slice(a->sources));
  lua_setfield(L, -2, "max_slice");
}

/* The method of the driver's is called; its results are on top. */
static void call_driver (lua_State *L, const char *method, int results) {
  lua_pushlightuserdata(L, &driver_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_getfield(L, -1, method);
  lua_insert(L, -2);
  lua_call(L, 1, results);
}

static int set_up (lua_State *L) {
  async *a = lua_touserdata(L, 1);
  strand_load_libraries(L, a->sources);
  lua_pushlightuserdata(L, &driver_key);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "strand.async");
  lua_call(L, 1, 1);
  push_own(L, a);
  lua_call(L, 1, 1);
  lua_rawset(L, LUA_REGISTRYINDEX);
  call_driver(L, "start", 3);
  if (lua_toboolean(L, -3)) return 0;
  if (lua_type(L, -1) == LUA_TSTRING)
    snprintf(a->code, sizeof(a->code), "%s", lua_tostring(L, -1));
  lua_pop(L, 1);
  return lua_error(L);
}

/* What was set up and has not come to its end. */
static int leave (lua_State *L) {
  lua_pushlightuserdata(L, &driver_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) call_driver(L, "leave", 0);
  return 0;
}

/* What that raises keeps no state from being closed. */
static void tell_left (async *a) {
  const char *problem = "its loop's end has raised";
  if (lua_type(a->L, -1) == LUA_TSTRING) problem = lua_tostring(a->L, -1);
  strand_log_push(a->consumer->notifier.log, STRAND_LOG_WARNING, "handler",
                  problem);
}

static void close_state (void *state) {
  async *a = state;
  if (a->L != NULL) {
    lua_settop(a->L, 0);
    if (a->seats != NULL) strand_seats_fail(a->seats, "its worker has ended");
    if (strand_protect(a->L, leave, a) != 0) tell_left(a);
    if (a->seats != NULL) strand_seats_end(a->seats);
    lua_close(a->L);
  }
  free(a);
}

static void fail (async *a, int status, strand_failure *failure) {
  if (status == LUA_ERRMEM)
    strand_state_fail_memory(failure, strand_sources_memory(a->sources));
  else strand_state_fail_load(a->L, failure);
  if (a->code[0] != '\0' && strcmp(failure->code, "HANDLER") == 0)
    snprintf(failure->code, sizeof(failure->code), "%s", a->code);
}

static void *open_state (void *config, strand_consumer *consumer,
                         strand_worker_slot *worker_slot,
                         strand_failure *failure) {
  size_t limit = strand_sources_memory(config);
  async *a = calloc(1, sizeof(*a));
  int status;
  if (a != NULL) a->L = strand_memory_open(&a->memory, limit);
  if (a == NULL || a->L == NULL) {
    strand_state_fail_memory(failure, a != NULL ? limit : 0);
    free(a);
    return NULL;
  }
  a->sources = config;
  a->consumer = consumer;
  a->worker_slot = worker_slot;
  lua_atpanic(a->L, strand_state_panic);
  status = strand_protect(a->L, set_up, a);
  if (status == 0) return a;
  fail(a, status, failure);
  close_state(a);
  return NULL;
}

/*
** Running
*/

static int run_loop (lua_State *L) {
  async *a = lua_touserdata(L, 1);
  call_driver(L, "run", 2);
  a->ended = lua_toboolean(L, -2);
  if (!a->ended) return lua_error(L);
  return 0;
}

static bool run (void *state, bool *barren, strand_failure *failure) {
  async *a = state;
  int status;
  lua_settop(a->L, 0);
  status = strand_protect(a->L, run_loop, a);
  if (status == 0 && a->ended) return true;
  fail(a, status, failure);
  *barren = a->seats->local.begun == 0;
  strand_seats_fail(a->seats, failure->message);
  return false;
}

static void release (void *config) {
  strand_sources_release(config);
}

strand_handler strand_async_handler_of (lua_State *L,
                                        strand_sources *sources) {
  size_t stack = strand_state_stack_bytes(L); /* may raise */
  strand_handler handler = { .config = strand_sources_keep(sources),
                             .open = open_state,
                             .run = run,
                             .close = close_state,
                             .release = release,
                             .stack_bytes = stack };
  return handler;
}
