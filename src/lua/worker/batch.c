/*
** batch.c - see batch.h
*/
#include "lua/worker/batch.h"

#include <stdlib.h>

#include "core/engine.h"
#include "lua/worker/handler_result.h"
#include "lua/worker/outcome.h"
#include "lua/worker/produce.h"
#include "lua/worker/reason.h"

/* In the metatable: what batches are of which handling, and the batch of each
** one, behind. */
enum { ANCHOR = 1, NUMBERS, FIRST };

/*
** Marks
*/

/* Upvalues: currents, metatable, the method's name. The state of the handling
** whose batch the first argument is, while it runs; else NULL. */
static strand_batch_state *state_of (lua_State *L) {
  const strand_currents *currents = lua_touserdata(L, lua_upvalueindex(1));
  strand_batch_state *state = NULL;
  bool same;
  uint32_t number;
  lua_rawgeti(L, lua_upvalueindex(2), NUMBERS);
  lua_pushvalue(L, 1);
  lua_rawget(L, -2);
  if (!lua_isnumber(L, -1)) return NULL;
  number = (uint32_t)lua_tointeger(L, -1);
  lua_rawgeti(L, lua_upvalueindex(2), FIRST + (int)number);
  same = lua_rawequal(L, 1, -1);
  lua_pop(L, 3);
  if (same && number < currents->count) state = currents->each[number]->batch;
  return state != NULL && state->many != NULL ? state : NULL;
}

static strand_batch_state *check_state (lua_State *L) {
  const char *name = lua_tostring(L, lua_upvalueindex(3));
  strand_batch_state *state;
  if (!lua_istable(L, 1))
    luaL_error(L, "batch:%s() is a method: call it with a colon", name);
  state = state_of(L);
  if (state == NULL) luaL_error(L, "batch used after its handler returned");
  return state;
}

/* The outcome of the record that the first two arguments name. */
static strand_outcome *check_mark (lua_State *L) {
  const strand_batch_state *state = check_state(L);
  const char *name = lua_tostring(L, lua_upvalueindex(3));
  lua_Number i;
  i = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : 0;
  if (!(i >= 1 && i <= state->many->count) || i != (lua_Number)(uint32_t)i)
    luaL_error(L, "batch:%s(i): the number of a record expected, 1 to %d",
               name, (int)state->many->count);
  return &state->many->outcomes[(uint32_t)i - 1];
}

/* Raises nothing. */
static void set_mark (strand_outcome *v, strand_outcome_kind kind,
                      int64_t delay_us, const char *reason, size_t length) {
  free(v->reason);
  v->reason = NULL;
  v->reason_length = 0;
  strand_outcome_set(v, kind, delay_us, reason, length);
  v->marked = true;
}

/* The reason is at 'index': any value, or none. When memory runs out for it
** this raises, and the record has failed: also for a handler that catches
** that, and then returns as if all were done. */
static int mark (lua_State *L, strand_outcome_kind kind, int64_t delay_us,
                 int index) {
  strand_outcome *v = check_mark(L);
  size_t length = 0;
  const char *reason = NULL;
  if (!lua_isnoneornil(L, index)) {
    set_mark(v, STRAND_OUTCOME_FAILED, -1, NULL, 0);
    strand_push_reason(L, index, STRAND_REASON_MAX);
    reason = lua_tolstring(L, -1, &length);
  }
  set_mark(v, kind, delay_us, reason, length);
  return 0;
}

static int batch_done (lua_State *L) {
  set_mark(check_mark(L), STRAND_OUTCOME_DONE, -1, NULL, 0);
  return 0;
}

static int batch_fail (lua_State *L) {
  static const char none[] = "batch:fail() without a reason";
  if (!lua_isnoneornil(L, 3)) return mark(L, STRAND_OUTCOME_FAILED, -1, 3);
  set_mark(check_mark(L), STRAND_OUTCOME_FAILED, -1, none, sizeof(none) - 1);
  return 0;
}

static int batch_retry (lua_State *L) {
  int64_t delay_us = -1;
  if (!lua_isnoneornil(L, 3)) {
    luaL_argcheck(L,
                  lua_type(L, 3) == LUA_TNUMBER
                    && strand_delay_of((double)lua_tonumber(L, 3), &delay_us),
                  3, STRAND_DELAY_SHAPE);
  }
  return mark(L, STRAND_OUTCOME_RETRY, delay_us, 4);
}

static int batch_skip (lua_State *L) {
  return mark(L, STRAND_OUTCOME_SKIP, -1, 3);
}

static int batch_dead_letter (lua_State *L) {
  return mark(L, STRAND_OUTCOME_DEAD_LETTER, -1, 3);
}

static int batch_park (lua_State *L) {
  return mark(L, STRAND_OUTCOME_PARK, -1, 3);
}

static int batch_produce (lua_State *L) {
  strand_outcome *v = check_mark(L);
  const strand_batch_state *state = check_state(L);
  lua_settop(L, 3);
  strand_produce(L, 3, "batch:produce()", &v->staged, state->staging);
  return 0;
}

static const luaL_Reg methods[] = {
  { "done", batch_done },
  { "fail", batch_fail },
  { "retry", batch_retry },
  { "skip", batch_skip },
  { "dead_letter", batch_dead_letter },
  { "park", batch_park },
  { "produce", batch_produce },
  { NULL, NULL },
};

/*
** The batch
*/

/* Pushes a table with weak keys. */
static void push_numbers (lua_State *L) {
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

void strand_batch_open (lua_State *L, const strand_currents *currents,
                        int anchor) {
  const luaL_Reg *method;
  int metatable;
  lua_createtable(L, FIRST, 3);
  metatable = lua_gettop(L);
  if (anchor != 0) lua_pushvalue(L, anchor);
  else lua_pushboolean(L, 0);
  lua_rawseti(L, metatable, ANCHOR);
  push_numbers(L);
  lua_rawseti(L, metatable, NUMBERS);
  lua_pushboolean(L, 0);
  lua_rawseti(L, metatable, FIRST);
  lua_newtable(L);
  for (method = methods; method->name != NULL; method++) {
    lua_pushlightuserdata(L, (void *)currents);
    lua_pushvalue(L, metatable);
    lua_pushstring(L, method->name);
    lua_pushcclosure(L, method->func, 3);
    lua_setfield(L, -2, method->name);
  }
  lua_setfield(L, metatable, "__index");
  lua_pushliteral(L, "strand.Batch");
  lua_setfield(L, metatable, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, metatable, "__metatable");
}

void strand_batch_push (lua_State *L, strand_batch_state *state,
                        strand_records *many, const strand_currents *owner,
                        strand_current *current, int metatable, int records) {
  uint32_t i;
  strand_current_begin(current, many->records, many->count);
  lua_createtable(L, (int)many->count, 0);
  for (i = 0; i < many->count; i++) {
    strand_current_push(L, owner, current, i, records);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_pushvalue(L, metatable);
  lua_setmetatable(L, -2);
  lua_rawgeti(L, metatable, NUMBERS);
  lua_pushvalue(L, -2);
  lua_pushinteger(L, (lua_Integer)current->number);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  lua_pushvalue(L, -1);
  lua_rawseti(L, metatable, FIRST + (int)current->number);
  state->many = many;
}

bool strand_batch_end (strand_batch_state *state, strand_records *many,
                       strand_outcome *whole) {
  bool undone = false;
  uint32_t i;
  state->many = NULL;
  for (i = 0; i < many->count; i++) {
    strand_outcome *v = &many->outcomes[i];
    if (!v->marked)
      strand_outcome_set(v, whole->kind, whole->delay_us, whole->reason,
                         whole->reason_length);
    if (v->kind != STRAND_OUTCOME_DONE) undone = true;
  }
  free(whole->reason);
  whole->reason = NULL;
  whole->reason_length = 0;
  whole->kind = STRAND_OUTCOME_DONE;
  return undone;
}
