/*
** handler.c - see handler.h
*/
#include "lua/worker/handler.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "core/engine.h"
#include "kafka/log.h"
#include "lua/compat.h"
#include "lua/worker/batch.h"
#include "lua/worker/context.h"
#include "lua/worker/handler_result.h"
#include "lua/worker/hook.h"
#include "lua/worker/loader.h"
#include "lua/worker/memory.h"
#include "lua/worker/outcome.h"
#include "lua/worker/reason.h"
#include "lua/worker/record.h"
#include "lua/worker/retry_function.h"
#include "lua/worker/state.h"

/* Of the state's stack, and of the table under slots_key. */
enum {
  SLOT_SERVE = 1, /* calls the handlers */
  SLOT_RETRY,     /* calls the retry function */
  SLOT_PROBE,     /* tells whether memory can be had */
  SLOT_TRACEBACK,
  SLOT_CACHE, /* of the current records */
  SLOT_LAST = SLOT_CACHE,
  SLOT_TEARDOWNS /* only in the table */
};

typedef struct worker {
  lua_State *L;
  strand_memory memory;    /* L's */
  strand_sources *sources; /* borrows: the thread's strand_handler has it */
  strand_context context;
  strand_current current;
  strand_current *each; /* that one */
  strand_currents currents;
  strand_batch_state batch;
  strand_hook hook;
  lua_Hook foreign; /* what setup left: a coverage tool, a profiler */
  int foreign_mask, foreign_count;
  strand_task *task; /* what is handled now */
  bool (*next)(void *arg);
  void *next_arg;
  bool ended; /* next had nothing more */
  strand_retry_function retry;
  const char *made; /* name of the outcome made last, or NULL */
  unsigned opened;  /* producers and the like, in calls */
} worker;

/* A handler may open some, each when it is wanted first; not in each call. */
#define OPENED_MANY 8

static char slots_key; /* their addresses are keys in the registry */
static char worker_key;

/*
** The handler's call
*/

/* Upvalues: as those of call_handlers. */
static void push_subject (lua_State *L, worker *w) {
  if (w->task->many == NULL) {
    strand_current_single(&w->current, w->task->record);
    strand_current_push(L, &w->currents, &w->current, 0, lua_upvalueindex(3));
  }
  else
    strand_batch_push(L, &w->batch, w->task->many, &w->currents, &w->current,
                      lua_upvalueindex(6), lua_upvalueindex(3));
}

/* Upvalues: worker, handlers by route, records' metatable, context, cache,
** batches' metatable. Comes back early with a record that failed, and with
** each batch. */
static int call_handlers (lua_State *L) {
  worker *w = lua_touserdata(L, lua_upvalueindex(1));
  do {
    w->made = NULL;
    lua_rawgeti(L, lua_upvalueindex(2), (int)w->task->route + 1);
    push_subject(L, w);
    lua_pushvalue(L, lua_upvalueindex(4));
    lua_call(L, 2, 2);
    strand_outcome_from_results(L, w->made, &w->task->outcome);
    if (w->task->many != NULL || w->task->outcome.kind != STRAND_OUTCOME_DONE
        || strand_task_expired(w->task))
      return 0;
    lua_settop(L, 0);
    strand_current_end(L, &w->current, lua_upvalueindex(5));
  } while (w->next(w->next_arg));
  w->ended = true;
  return 0;
}

/* Finalizers run, and memory can be had. */
static int probe (lua_State *L) {
  lua_gc(L, LUA_GCCOLLECT, 0);
  strand_newuserdata(L, 65536);
  return 0;
}

/* An error while an error was handled may be for want of memory too. */
static void probe_memory (worker *w, int status) {
  if (status != LUA_ERRMEM && status != LUA_ERRERR) return;
  lua_settop(w->L, SLOT_LAST);
  lua_pushvalue(w->L, SLOT_PROBE);
  w->task->outcome.broken = lua_pcall(w->L, 0, 0, 0) != 0
                            || strand_memory_is_short(&w->memory);
}

static void ask_retry (worker *w, strand_outcome *v, uint32_t index) {
  if (w->task->outcome.broken) return;
  probe_memory(w, strand_retry_function_ask(w->L, &w->retry, &w->current,
                                            w->task->route, v, index,
                                            SLOT_RETRY, SLOT_TRACEBACK));
}

/*
** Serve
*/

/* The call of the batch has ended: so has each of its records. */
static void conclude_batch (worker *w) {
  strand_records *many = w->task->many;
  uint32_t i;
  if (!strand_batch_end(&w->batch, many, &w->task->outcome)) return;
  for (i = 0; i < many->count; i++) {
    ask_retry(w, &many->outcomes[i], i);
    lua_settop(w->L, SLOT_LAST);
  }
}

/* The deadline has passed: whatever the handler said, all have failed. What
** our own hook raised stays as the reason. */
static void fail_late (worker *w) {
  strand_outcome *v = &w->task->outcome;
  strand_records *many = w->task->many;
  char text[STRAND_DEADLINE_TEXT];
  uint32_t i;
  strand_deadline_text(text, w->task->deadline_us);
  if (v->kind != STRAND_OUTCOME_FAILED || v->reason == NULL
      || strstr(v->reason, text) == NULL)
    strand_outcome_set(v, STRAND_OUTCOME_FAILED, -1, text, strlen(text));
  v->delay_us = -1;
  for (i = 0; many != NULL && i < many->count; i++)
    many->outcomes[i].marked = false;
}

/* A hook that a handler set and left might fail all that come after it. */
static void restore_hook (worker *w) {
  if (lua_gethook(w->L) != w->foreign)
    lua_sethook(w->L, w->foreign, w->foreign_mask, w->foreign_count);
}

/* The record failed, or its handler raised; or a batch has ended. */
static void conclude (worker *w, int status) {
  strand_outcome *v = &w->task->outcome;
  restore_hook(w);
  if (status != 0) strand_outcome_from_error(w->L, status, false, v);
  if (strand_task_expired(w->task)) fail_late(w);
  probe_memory(w, status);
  if (w->task->many != NULL) conclude_batch(w);
  else ask_retry(w, v, 0);
  lua_settop(w->L, SLOT_LAST);
  strand_current_end(w->L, &w->current, SLOT_CACHE);
}

/* In a signal handler, at any point of serve. */
static void interrupt (void *state, unsigned what) {
  worker *w = state;
  if (what & STRAND_INTERRUPT_TRACE) strand_task_trace(w->task);
  strand_hook_arm(&w->hook, what);
}

static void check (const worker *w) {
  (void)w;
  assert(lua_gettop(w->L) == SLOT_LAST); /* (2) */
  assert(w->current.count == 0);         /* (3) */
}

static void serve (void *state, strand_task *task, bool (*next)(void *arg),
                   void *arg) {
  worker *w = state;
  check(w);
  w->task = task;
  w->next = next;
  w->next_arg = arg;
  w->ended = false;
  w->context.stop_consumer = &task->outcome.stop_consumer;
  w->context.task = task;
  w->batch.staging = strand_task_staging(task);
  strand_interrupt_serve(interrupt, w);
  while (!w->ended) {
    int status;
    lua_pushvalue(w->L, SLOT_SERVE);
    strand_hook_begin(&w->hook, w->L, task);
    status = lua_pcall(w->L, 0, 0, SLOT_TRACEBACK);
    strand_hook_end(&w->hook, w->L);
    if (w->ended) break;
    conclude(w, status);
    if (task->outcome.broken) break;
    w->ended = !next(arg);
  }
  strand_interrupt_serve(NULL, NULL);
  lua_settop(w->L, SLOT_LAST); /* a hook may raise after the last record */
  w->context.stop_consumer = NULL;
  w->context.task = NULL;
}

/*
** Open and close
*/

/* Upvalues: the worker, and what is at the indexes. */
static void push_closure (lua_State *L, lua_CFunction f, worker *w,
                          const int indexes[5]) {
  int i;
  lua_pushlightuserdata(L, w);
  for (i = 0; i < 5; i++) lua_pushvalue(L, indexes[i]);
  lua_pushcclosure(L, f, 6);
}

/* Of a worker's state there is one handling at a time. Pushes the metatable of
** records and the cache. */
static void open_currents (lua_State *L, worker *w) {
  strand_currents_open(L, &w->currents, 0);
  strand_current_init(&w->current, 0);
  w->current.batch = &w->batch;
  w->each = &w->current;
  w->currents.each = &w->each;
  w->currents.count = 1;
}

/* Pushes a new table, which is then the registry's. */
static void push_slots (lua_State *L) {
  lua_createtable(L, SLOT_TEARDOWNS, 0);
  lua_pushlightuserdata(L, &slots_key);
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

/* The argument is the worker. Leaves what is needed later in the slots. */
static int set_up (lua_State *L) {
  enum {
    WORKER = 1,
    SLOTS,
    TEARDOWNS,
    ARGS,
    CONTEXT,
    METATABLE,
    CACHE,
    BATCHES,
    HANDLERS
  };
  static const int serving[] = { HANDLERS, METATABLE, CONTEXT, CACHE,
                                 BATCHES };
  worker *w = lua_touserdata(L, WORKER);
  lua_pushlightuserdata(L, &worker_key);
  lua_pushlightuserdata(L, w);
  lua_rawset(L, LUA_REGISTRYINDEX);
  strand_load_libraries(L, w->sources);
  strand_hook_open(L, &w->hook);
  push_slots(L);
  lua_newtable(L);
  lua_pushvalue(L, TEARDOWNS);
  lua_rawseti(L, SLOTS, SLOT_TEARDOWNS);
  lua_newtable(L);
  strand_open_outcomes(L);
  lua_pop(L, 1);
  strand_outcome_watch(L, &w->made);
  strand_load_args(L, w->sources);
  strand_context_push(L, &w->context, ARGS);
  open_currents(L, w);
  lua_pushvalue(L, CACHE);
  lua_rawseti(L, SLOTS, SLOT_CACHE);
  strand_batch_open(L, &w->currents, 0);
  strand_push_traceback(L, false);
  lua_rawseti(L, SLOTS, SLOT_TRACEBACK);
  strand_load_handlers(L, w->sources, ARGS, TEARDOWNS);
  strand_retry_function_open(L, &w->retry, w->sources, &w->currents,
                             METATABLE);
  lua_rawseti(L, SLOTS, SLOT_RETRY);
  push_closure(L, call_handlers, w, serving);
  lua_rawseti(L, SLOTS, SLOT_SERVE);
  lua_pushcfunction(L, probe);
  lua_rawseti(L, SLOTS, SLOT_PROBE);
  return 0;
}

/* Last first, as they were set up. A failure ends none of the others. */
static int tear_down (lua_State *L) {
  int i;
  lua_pushlightuserdata(L, &slots_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (!lua_istable(L, 2)) return 0;
  lua_rawgeti(L, 2, SLOT_TEARDOWNS);
  lua_rawgeti(L, 2, SLOT_TRACEBACK);
  if (!lua_istable(L, 3)) return 0;
  for (i = (int)strand_rawlen(L, 3); i > 0; i--) {
    lua_settop(L, 4);
    lua_rawgeti(L, 3, i);
    if (!lua_isfunction(L, -1)) continue;
    if (lua_pcall(L, 0, 0, 4) == 0) continue;
    strand_push_reason(L, -1, STRAND_LOG_TEXT_MAX);
    strand_log_printf(NULL, STRAND_LOG_WARNING, "handler",
                      "error in teardown: %s", lua_tostring(L, -1));
  }
  return 0;
}

static void close_state (void *state) {
  worker *w = state;
  if (w->L != NULL) {
    lua_settop(w->L, 0);
    (void)strand_protect(w->L, tear_down, w);
    lua_close(w->L);
  }
  free(w);
}

static void keep_hook (worker *w) {
  w->foreign = lua_gethook(w->L);
  w->foreign_mask = lua_gethookmask(w->L);
  w->foreign_count = lua_gethookcount(w->L);
}

static void keep_slots (lua_State *L) {
  int slot;
  lua_settop(L, 0);
  lua_pushlightuserdata(L, &slots_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  for (slot = 1; slot <= SLOT_LAST; slot++) lua_rawgeti(L, 1, slot);
  lua_remove(L, 1);
}

static void *open_state (void *config, strand_consumer *consumer,
                         strand_worker_slot *worker_slot,
                         strand_failure *failure) {
  size_t limit = strand_sources_memory(config);
  worker *w = calloc(1, sizeof(*w));
  int status;
  if (w != NULL) w->L = strand_memory_open(&w->memory, limit);
  (void)consumer;
  if (w == NULL || w->L == NULL) {
    strand_state_fail_memory(failure, w != NULL ? limit : 0);
    free(w);
    return NULL;
  }
  w->sources = config;
  w->context.worker = worker_slot->index;
  lua_atpanic(w->L, strand_state_panic);
  status = strand_protect(w->L, set_up, w);
  if (status == 0) {
    keep_slots(w->L);
    keep_hook(w);
    return w;
  }
  if (status == LUA_ERRMEM) strand_state_fail_memory(failure, limit);
  else strand_state_fail_load(w->L, failure);
  close_state(w);
  return NULL;
}

void strand_handler_opened (lua_State *L, const char *what) {
  char text[STRAND_LOG_TEXT_MAX];
  worker *w;
  lua_pushlightuserdata(L, &worker_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  w = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (w == NULL || w->context.task == NULL || ++w->opened < OPENED_MANY
      || !strand_sources_first(w->sources))
    return;
  snprintf(text, sizeof(text),
           "a handler opens one %s after another (%u in"
           " this worker): each has threads and connections of its own. Open"
           " it once, in 'setup'",
           what, w->opened);
  strand_task_warn(w->context.task, text);
}

static void release (void *config) {
  strand_sources_release(config);
}

strand_handler strand_handler_of (lua_State *L, strand_sources *sources) {
  size_t stack = strand_state_stack_bytes(L); /* may raise */
  strand_handler handler = { .config = strand_sources_keep(sources),
                             .open = open_state,
                             .serve = serve,
                             .close = close_state,
                             .release = release,
                             .stack_bytes = stack };
  return handler;
}
