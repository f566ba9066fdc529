/*
** binding.c - see binding.h
*/
#include "lua/local/binding.h"

#include <string.h>

#include "lua/compat.h"
#include "lua/local/body.h"
#include "lua/local/context.h"
#include "lua/local/run.h"
#include "lua/worker/reason.h"

/* On the stack while it is made. */
typedef struct indexes {
  int seats;
  int bodies;
  int contexts;
  int functions; /* the table that is made */
} indexes;

static strand_seats *seats_of (lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(2));
}

/* Upvalues of these: the metatable of bodies, the seats. */
static int new_body (lua_State *L) {
  strand_body_new(L, seats_of(L), lua_upvalueindex(1));
  return 1;
}

/* Bodies are a loop's from now on, which wakes them. True: and 'next' says when
** it is to turn to us again. */
static int use_loop (lua_State *L) {
  strand_seats *p = seats_of(L);
  p->looped = true;
  p->asks = lua_toboolean(L, 1);
  strand_slice_share(&p->slice, p->asks);
  return 0;
}

/* Route, from 0: its handler has no second argument. */
static int set_bare (lua_State *L) {
  strand_seats_bare(seats_of(L), (unsigned)lua_tonumber(L, 1));
  return 0;
}

/* It could not be told so: the descriptor tells it. */
static int recall (lua_State *L) {
  const strand_seats *p = seats_of(L);
  if (!p->ended) strand_local_recall(&p->local);
  return 0;
}

static int set_limit (lua_State *L) {
  strand_seats *p = seats_of(L);
  if (p->ended) return 0;
  strand_local_limit(&p->local, (size_t)lua_tonumber(L, 1));
  strand_local_call(&p->local); /* there may be room */
  return 0;
}

static int halt (lua_State *L) {
  strand_seats *p = seats_of(L);
  if (!p->ended) strand_local_halt(&p->local);
  return 0;
}

/* Coroutines that handle a record now, and bodies that live. */
static int count (lua_State *L) {
  const strand_seats *p = seats_of(L);
  lua_pushnumber(L, p->ended ? 0 : (lua_Number)p->local.running);
  lua_pushnumber(L, (lua_Number)p->bodies);
  return 2;
}

/* Does a handler of the consumer run in this coroutine? */
static int inside (lua_State *L) {
  const strand_body *body = strand_body_running(L);
  lua_pushboolean(L, body != NULL && body->owner == seats_of(L));
  return 1;
}

/* Topic, partition, offset. The number of the body whose handler has that
** record now; 0: the record waits without one; nothing: it has ended. */
static int holder (lua_State *L) {
  const strand_seats *p = seats_of(L);
  const strand_seat *seat;
  const char *topic = lua_tostring(L, 1);
  if (p->ended || topic == NULL) return 0;
  seat = strand_seats_handling(p, topic, (int32_t)lua_tonumber(L, 2),
                               (int64_t)lua_tonumber(L, 3));
  if (seat == NULL) return 0;
  lua_pushnumber(L, seat->body != NULL ? seat->body->number : 0);
  return 1;
}

/* The numbers of bodies whose handlers have passed their deadline. */
static int overdue (lua_State *L) {
  const strand_seats *p = seats_of(L);
  int n = 0;
  uint32_t i;
  lua_newtable(L);
  for (i = 0; !p->ended && i < p->count; i++) {
    const strand_seat *seat = p->each[i];
    if (seat->body == NULL || !strand_task_expired(&seat->handling.task))
      continue;
    lua_pushnumber(L, (lua_Number)seat->body->number);
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

static int end_all (lua_State *L) {
  strand_seats_end(seats_of(L));
  return 0;
}

/* A message handler: the error as it is. Upvalue: debug.gethook. */
static int unhook (lua_State *L) {
  lua_settop(L, 1);
  strand_end_hook(L, lua_upvalueindex(1));
  return 1;
}

static const luaL_Reg next_functions[] = {
  { "next", strand_body_next },
  { "answer", strand_body_answer },
  { "serve", strand_body_serve },
  { "turn", strand_body_turn },
  { "wake", strand_body_wake },
  { "fail", strand_body_fail },
  { "abandon", strand_body_abandon },
  { "leave", strand_body_leave },
#if STRAND_RUNS_IN_C
  { "run", strand_body_run },
  { "relay", strand_body_relay },
#endif
  { NULL, NULL },
};

static const luaL_Reg body_functions[] = {
  { "body", new_body },  { "enter", strand_body_enter }, { "loop", use_loop },
  { "recall", recall },  { "limit", set_limit },         { "count", count },
  { "inside", inside },  { "holder", holder },           { "halt", halt },
  { "finish", end_all }, { "overdue", overdue },         { "bare", set_bare },
  { NULL, NULL },
};

static const luaL_Reg context_functions[] = {
  { "defer", strand_local_context_defer },
  { "check_sleep", strand_local_context_check },
  { NULL, NULL },
};

/* Each with what is at the indexes as upvalues. */
static void add (lua_State *L, int table, const luaL_Reg *functions,
                 const int *upvalues, int upvalue_count) {
  int i;
  for (; functions->name != NULL; functions++) {
    for (i = 0; i < upvalue_count; i++) lua_pushvalue(L, upvalues[i]);
    lua_pushcclosure(L, functions->func, upvalue_count);
    lua_setfield(L, table, functions->name);
  }
}

/* Methods of contexts that are Lua's come into this. */
static void add_methods (lua_State *L, const indexes *at) {
  lua_getfield(L, at->contexts, "__index");
  lua_setfield(L, at->functions, "methods");
}

/* Pushes what asks them. */
static void open_retry (lua_State *L, strand_seats *p,
                        const strand_local_options *options, int records) {
  unsigned routes = (unsigned)strand_rawlen(L, options->handlers);
  if (options->sources == NULL)
    strand_retry_function_use(L, &p->retry, routes, &p->currents,
                              options->retries, records);
  else
    strand_retry_function_open(L, &p->retry, options->sources, &p->currents,
                               records);
}

strand_seats *strand_local_push (lua_State *L,
                                 const strand_local_options *options) {
  int upvalues[STRAND_NEXT_COUNT];
  indexes at;
  strand_seats *p;
  unsigned worker = options->worker_slot != NULL ? options->worker_slot->index
                                                 : 0;
  luaL_checkstack(L, 40, "local mode");
  lua_newtable(L);
  at.functions = lua_gettop(L);
  p = strand_newuserdata(L, sizeof(*p));
  memset(p, 0, sizeof(*p));
  at.seats = lua_gettop(L);
  p->ended = true; /* until it has the consumer */
  strand_slice_init(&p->slice, (int64_t)(options->max_slice * 1e6));
  strand_body_open(L, p, at.seats);
  at.bodies = lua_gettop(L);
  strand_currents_open(L, &p->currents, at.seats);
  upvalues[STRAND_NEXT_RECORDS - 1] = lua_gettop(L) - 1;
  upvalues[STRAND_NEXT_CACHE - 1] = lua_gettop(L);
  strand_batch_open(L, &p->currents, at.seats);
  upvalues[STRAND_NEXT_BATCHES - 1] = lua_gettop(L);
  strand_local_context_open(L, p, at.seats, options->args, worker);
  at.contexts = lua_gettop(L);
  open_retry(L, p, options, upvalues[STRAND_NEXT_RECORDS - 1]);
  upvalues[STRAND_NEXT_RETRY - 1] = lua_gettop(L);
  strand_push_traceback(L, true);
  upvalues[STRAND_NEXT_TRACEBACK - 1] = lua_gettop(L);
  upvalues[STRAND_NEXT_SEATS - 1] = at.seats;
  upvalues[STRAND_NEXT_BODIES - 1] = at.bodies;
  upvalues[STRAND_NEXT_HANDLERS - 1] = options->handlers;
  upvalues[STRAND_NEXT_CONTEXTS - 1] = at.contexts;
  add(L, at.functions, next_functions, upvalues, STRAND_NEXT_COUNT);
  add(L, at.functions, body_functions, (int[]){ at.bodies, at.seats }, 2);
  add(L, at.functions, context_functions, (int[]){ at.contexts, at.seats }, 2);
  add_methods(L, &at);
  strand_push_traceback(L, true);
  lua_setfield(L, at.functions, "traceback");
  strand_push_library(L, "debug");
  lua_getfield(L, -1, "gethook");
  lua_pushcclosure(L, unhook, 1);
  lua_setfield(L, at.functions, "unhook");
  lua_pushlightuserdata(L, STRAND_SLEEPS);
  lua_setfield(L, at.functions, "SLEEPS");
  lua_settop(L, at.seats);
  lua_pushlightuserdata(L, p);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  if (!strand_seats_open(p, options->consumer, options->worker_slot)) {
    strand_local_forget(L, p);
    luaL_error(L, "not enough memory");
  }
  p->ended = false;
  return p;
}

void strand_local_forget (lua_State *L, strand_seats *p) {
  lua_pushlightuserdata(L, p);
  lua_pushnil(L);
  lua_rawset(L, LUA_REGISTRYINDEX);
}
