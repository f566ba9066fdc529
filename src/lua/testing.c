/*
** testing.c - see testing.h
*/
#include "lua/testing.h"

#include <stdlib.h>

#include "core/engine.h"
#include "lua/compat.h"
#include "lua/given_record.h"
#include "lua/object.h"
#include "lua/worker/batch.h"
#include "lua/worker/handler_result.h"
#include "lua/worker/outcome.h"
#include "lua/worker/reason.h"
#include "lua/worker/record.h"

#define FIXTURE "strand.testing.Stage"
#define CALL "strand.testing.Call"
#define ANCHOR 1 /* in a metatable of records: what they live in */

#define BUDGET ((size_t)1 << 40)

/*
** A record without a broker
*/

/* An engine with one partition, which holds one record. */
typedef struct fixture {
  strand_engine *engine;
  strand_partition *partition;
  const strand_record *record;
  strand_current current;
  strand_current *each; /* that one */
  strand_currents currents;
} fixture;

static void no_notice (void *arg, const strand_notice *notice) {
  (void)arg, (void)notice;
}

static void no_release (void *arg, const strand_orphan *orphan) {
  (void)arg, (void)orphan;
}

static int fixture_gc (lua_State *L) {
  fixture *self = lua_touserdata(L, 1);
  if (self->partition != NULL)
    strand_engine_revoke(self->engine, self->partition, no_release, NULL);
  self->partition = NULL;
  if (self->engine != NULL) strand_engine_free(self->engine);
  self->engine = NULL;
  return 0;
}

static strand_engine *open_engine (void) {
  strand_route_limits route = { 0 };
  strand_engine_config config = { 0 };
  route.policy.exhausted = STRAND_OUTCOME_PARK;
  config.ordering = STRAND_UNORDERED;
  config.max_buffered_records = config.max_buffered_bytes = BUDGET;
  config.max_waiting_records = config.max_waiting_bytes = BUDGET;
  config.routes = &route;
  config.route_count = 1;
  config.notice = no_notice;
  config.release = no_release;
  return strand_engine_new(&config);
}

/* False: memory ran out. What was made is the fixture's. */
static bool fill (lua_State *L, fixture *self, const strand_given *d,
                  int headers) {
  strand_partition *p;
  strand_record *r;
  self->engine = open_engine();
  if (self->engine == NULL) return false;
  p = strand_engine_assign(self->engine, d->topic, (int32_t)d->partition, 1, 0,
                           NULL, 0);
  self->partition = p;
  if (p == NULL
      || strand_engine_restored(self->engine, p, -1, NULL) != STRAND_OK)
    return false;
  r = strand_engine_room(self->engine, p, strand_given_length(d));
  if (r == NULL) return false;
  strand_given_write(L, d, headers, r);
  if (strand_engine_admit(self->engine, p, r, 0) != STRAND_ADDED) return false;
  r->attempt = (uint16_t)d->attempt;
  self->record = r;
  return true;
}

static int testing_record (lua_State *L) {
  enum { FLAT = 1, HEADERS, OWNER, METATABLE };
  strand_given d = { 0 };
  fixture *self;
  luaL_checktype(L, FLAT, LUA_TTABLE);
  lua_settop(L, FLAT);
  strand_given_read(L, FLAT, &d);
  self = strand_newuserdata(L, sizeof(*self));
  memset(self, 0, sizeof(*self));
  strand_settype(L, FIXTURE);
  strand_currents_open(L, &self->currents, OWNER);
  strand_current_init(&self->current, 0);
  self->each = &self->current;
  self->currents.each = &self->each;
  self->currents.count = 1;
  if (!fill(L, self, &d, HEADERS)) return luaL_error(L, "not enough memory");
  strand_current_single(&self->current, self->record);
  strand_current_push(L, &self->currents, &self->current, 0, METATABLE);
  return 1;
}

/*
** The call
*/

typedef struct call {
  strand_current current;
  strand_current *each; /* that one */
  strand_currents currents;
  strand_batch_state batch;
  strand_records many;
  strand_task task;
  const char *made;
  strand_outcome *outcomes; /* of a batch; else the task's is used */
  const strand_record *records[];
} call;

static void free_reason (strand_outcome *v) {
  free(v->reason);
  v->reason = NULL;
}

static int call_gc (lua_State *L) {
  call *self = lua_touserdata(L, 1);
  uint32_t i;
  free_reason(&self->task.outcome);
  for (i = 0; self->outcomes != NULL && i < self->many.count; i++)
    free_reason(&self->outcomes[i]);
  free(self->outcomes);
  self->outcomes = NULL;
  return 0;
}

/* Only records of ours have a fixture in their metatable. */
static const strand_record *check_record (lua_State *L, int list, int i) {
  const fixture *owner = NULL;
  lua_rawgeti(L, list, i);
  if (lua_isuserdata(L, -1) && lua_getmetatable(L, -1)) {
    lua_rawgeti(L, -1, ANCHOR);
    owner = strand_test(L, -1, FIXTURE);
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
  luaL_argcheck(L, owner != NULL && owner->record != NULL, list,
                "records of strand.testing.record expected");
  return owner->record;
}

/* Pushes it, with the records of the list. */
static call *new_call (lua_State *L, int list, bool batch) {
  size_t count = strand_rawlen(L, list), i;
  call *self;
  luaL_argcheck(L, count >= 1 && count <= 100000 && (batch || count == 1),
                list, "a list of records expected");
  self = strand_newuserdata(L,
                            sizeof(*self) + count * sizeof(self->records[0]));
  memset(self, 0, sizeof(*self));
  strand_settype(L, CALL);
  for (i = 0; i < count; i++)
    self->records[i] = check_record(L, list, (int)i + 1);
  self->task.record = self->records[0];
  if (!batch) return self;
  self->outcomes = calloc(count, sizeof(*self->outcomes));
  if (self->outcomes == NULL) luaL_error(L, "not enough memory");
  self->many.count = (uint32_t)count;
  self->many.records = self->records;
  self->many.outcomes = self->outcomes;
  self->task.many = &self->many;
  return self;
}

/* Arguments: the call, handler, context, records' metatable, batches'. */
static int enter (lua_State *L) {
  call *self = lua_touserdata(L, 1);
  lua_pushvalue(L, 2);
  if (self->task.many == NULL) {
    strand_current_single(&self->current, self->task.record);
    strand_current_push(L, &self->currents, &self->current, 0, 4);
  }
  else
    strand_batch_push(L, &self->batch, &self->many, &self->currents,
                      &self->current, 5, 4);
  lua_pushvalue(L, 3);
  lua_call(L, 2, 2);
  strand_outcome_from_results(L, self->made, &self->task.outcome);
  return 0;
}

static void push_outcome (lua_State *L, const strand_outcome *v) {
  static const char *const kinds[] = { "done",  "failed", "exhausted",
                                       "retry", "skip",   "dead_letter",
                                       "park",  "stop" };
  lua_createtable(L, 0, 3);
  lua_pushstring(L, kinds[v->kind]);
  lua_setfield(L, -2, "kind");
  if (v->reason != NULL) {
    lua_pushlstring(L, v->reason, v->reason_length);
    lua_setfield(L, -2, "reason");
  }
  if (v->delay_us < 0 || v->kind != STRAND_OUTCOME_RETRY) return;
  lua_pushnumber(L, (lua_Number)v->delay_us / 1e6);
  lua_setfield(L, -2, "delay");
}

static void push_outcomes (lua_State *L, const call *self) {
  uint32_t i;
  lua_newtable(L);
  if (self->task.many == NULL) {
    push_outcome(L, &self->task.outcome);
    lua_rawseti(L, -2, 1);
    return;
  }
  for (i = 0; i < self->many.count; i++) {
    push_outcome(L, &self->outcomes[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

/* A state without 'debug' has no tracebacks: then 0. */
static int push_traceback (lua_State *L) {
  bool found;
  strand_push_library(L, "debug");
  found = lua_istable(L, -1);
  lua_pop(L, 1);
  if (!found) {
    lua_pushnil(L);
    return 0;
  }
  strand_push_traceback(L, false);
  return lua_gettop(L);
}

static int testing_call (lua_State *L) {
  enum {
    HANDLER = 1,
    CONTEXT,
    RECORDS,
    BATCH,
    PRODUCE,
    OWNER,
    METATABLE,
    CACHE,
    BATCHES,
    TRACEBACK
  };
  const char **before;
  call *self;
  int traceback, status;
  luaL_checktype(L, HANDLER, LUA_TFUNCTION);
  luaL_checktype(L, RECORDS, LUA_TTABLE);
  luaL_checktype(L, PRODUCE, LUA_TFUNCTION);
  lua_settop(L, PRODUCE);
  self = new_call(L, RECORDS, lua_toboolean(L, BATCH));
  strand_currents_open(L, &self->currents, OWNER);
  strand_current_init(&self->current, 0);
  self->each = &self->current;
  self->currents.each = &self->each;
  self->currents.count = 1;
  self->current.batch = &self->batch;
  strand_batch_open(L, &self->currents, OWNER);
  lua_getfield(L, BATCHES, "__index"); /* what is produced, the test takes */
  lua_pushvalue(L, PRODUCE);
  lua_setfield(L, -2, "produce");
  lua_pop(L, 1);
  traceback = push_traceback(L);
  lua_pushcfunction(L, enter);
  lua_pushvalue(L, OWNER);
  lua_pushvalue(L, HANDLER);
  lua_pushvalue(L, CONTEXT);
  lua_pushvalue(L, METATABLE);
  lua_pushvalue(L, BATCHES);
  before = strand_outcome_watch(L, &self->made);
  status = lua_pcall(L, 5, 0, traceback);
  strand_outcome_watch(L, before); /* the key is there: allocates nothing */
  if (status != 0)
    strand_outcome_from_error(L, status, false, &self->task.outcome);
  if (self->task.many != NULL)
    strand_batch_end(&self->batch, &self->many, &self->task.outcome);
  strand_current_end(L, &self->current, CACHE);
  lua_settop(L, TRACEBACK);
  push_outcomes(L, self);
  return 1;
}

/*
** Opening
*/

static const luaL_Reg no_methods[] = {
  { NULL, NULL },
};

static const luaL_Reg fixture_metamethods[] = {
  { "__gc", fixture_gc },
  { NULL, NULL },
};

static const luaL_Reg call_metamethods[] = {
  { "__gc", call_gc },
  { NULL, NULL },
};

static const luaL_Reg functions[] = {
  { "testing_record", testing_record },
  { "testing_call", testing_call },
  { NULL, NULL },
};

void strand_open_testing (lua_State *L) {
  strand_newtype(L, FIXTURE, no_methods, fixture_metamethods);
  strand_newtype(L, CALL, no_methods, call_metamethods);
  strand_setfuncs(L, functions);
}
