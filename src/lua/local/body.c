/*
** body.c - see body.h
*/
#include "lua/local/body.h"

#include <stddef.h>
#include <string.h>

#include "base/fork.h"
#include "lua/compat.h"
#include "lua/worker/handler_result.h"
#include "lua/worker/outcome.h"

#ifdef NDEBUG
#define CHECKED false
#else
#define CHECKED true /* the invariants of seats and bodies, in each turn */
#endif

#define UP(name) lua_upvalueindex(STRAND_NEXT_##name)

static const char dropped[] = "handler was dropped";

const char strand_body_sleeps = 0;

static strand_seats *seats_of (lua_State *L) {
  return lua_touserdata(L, UP(SEATS));
}

/*
** The next record
*/

static void push_call (lua_State *L, strand_seats *p, strand_seat *seat) {
  strand_task *task = &seat->handling.task;
  lua_rawgeti(L, UP(HANDLERS), (int)task->route + 1);
  if (task->many == NULL) {
    strand_current_single(&seat->current, task->record);
    strand_current_push(L, &p->currents, &seat->current, 0, UP(RECORDS));
  }
  else {
    seat->batch.staging = strand_task_staging(task);
    strand_batch_push(L, &seat->batch, task->many, &p->currents,
                      &seat->current, UP(BATCHES), UP(RECORDS));
  }
  if (strand_seats_are_bare(p, task->route)) lua_pushnil(L);
  else strand_seat_push_name(L, seat, UP(CONTEXTS));
}

/* Is it others' turn? */
static bool slice_has_ended (strand_seats *p, const strand_body *body) {
  int64_t now_us = strand_seats_now_us(p);
  strand_loop_watch_turned(p->local.watch, now_us);
  return strand_slice_come(&p->slice, body, now_us);
}

/* The rest comes in the next turn. True: the loop is to be told. */
static bool end_slice (strand_seats *p) {
  if (!strand_slice_end(&p->slice)) return false;
  if (p->asks) return strand_local_note_work(&p->local);
  strand_local_call(&p->local);
  return false;
}

static void give_up_seat (strand_seats *p, strand_body *body) {
  if (body->seat != NULL) strand_seats_put_back(p, body->seat);
  body->seat = NULL;
}

/* Has it a record to begin with, after this? If not, it may be that it gives
** way to others. */
static bool take_seat (lua_State *L, strand_seats *p, strand_body *body,
                       bool *gives_way) {
  bool ended = slice_has_ended(p, body), short_of_memory = false;
  if (ended) give_up_seat(p, body);
  if (body->seat != NULL) return true;
  *gives_way = ended;
  if (ended) return false;
  body->seat = strand_seats_take(p, &short_of_memory);
  if (short_of_memory) luaL_error(L, "not enough memory");
  if (body->seat == NULL) return false;
  body->seat->body = body;
  return true;
}

/* The inner coroutine has run without the body's. */
static bool is_astray (const strand_body *body) {
  return body->inner != NULL && lua_status(body->outer) == LUA_YIELD;
}

bool strand_body_come (lua_State *L, strand_body *body) {
  strand_seats *p = body->owner; /* NULL of one that was collected: gone */
  if (body->state == STRAND_BODY_GONE || p->ended
      || (body->inner != NULL && body->inner != L))
    return false;
  if (body->state != STRAND_BODY_RUNS) strand_bodies_come(p, body);
  return true;
}

strand_body_step strand_body_take (lua_State *L, strand_body *body) {
  strand_seats *p = body->owner;
  bool gives_way = false, tells;
  if (is_astray(body)) {
    give_up_seat(p, body);
    strand_local_call(&p->local);
    return STRAND_BODY_ENDS;
  }
  if (body->leaves) {
    give_up_seat(p, body);
    strand_bodies_leave(p, body);
    strand_local_flush(&p->local);
    strand_local_call(&p->local); /* another may begin */
    return STRAND_BODY_ENDS;
  }
  if (!take_seat(L, p, body, &gives_way)) {
    strand_bodies_park(p, body);
    tells = gives_way && end_slice(p);
    strand_local_flush(&p->local);
    return tells ? STRAND_BODY_TELLS : STRAND_BODY_PARKS;
  }
  body->made = NULL;
  push_call(L, p, body->seat);
  return STRAND_BODY_CALLS;
}

/*
** Without a body
*/

/* done(): number, serial, then as a handler returns. True, or nil and why
** not. */
int strand_body_answer (lua_State *L) {
  strand_seats *p = seats_of(L);
  strand_seat *seat = NULL;
  luaL_checkstack(L, 20, "done");
  if (!p->ended && p->generation == strand_fork_generation()) {
    seat = strand_seats_find(p, (uint32_t)lua_tonumber(L, 1),
                             (uint64_t)lua_tonumber(L, 2));
  }
  if (seat == NULL || seat->answered || !seat->deferred) {
    lua_pushnil(L);
    lua_pushstring(L, p->ended ? "the consumer is closed"
                               : "the record has ended already");
    lua_pushstring(L, p->ended ? "CLOSED" : "ENDED");
    return 3;
  }
  lua_settop(L, 4);
  strand_handler_end_read(L, seat, NULL, STRAND_BODY_RETURNED);
  seat->answered = true;
  if (seat->body == NULL) strand_handler_end_alone(L, p, seat);
  lua_pushboolean(L, 1);
  return 1;
}

static void fail_seat (lua_State *L, strand_seats *p, strand_seat *seat,
                       strand_outcome_kind kind, const char *reason) {
  strand_outcome *v = &seat->handling.task.outcome;
  strand_records *many = seat->handling.task.many;
  uint32_t i;
  strand_outcome_set(v, kind, -1, reason, strlen(reason));
  for (i = 0; many != NULL && i < many->count; i++)
    many->outcomes[i].marked = false;
  strand_handler_end_alone(L, p, seat);
}

/* In a finalizer no Lua is called: so step ends the record. */
static int body_gc (lua_State *L) {
  strand_seats *p = lua_touserdata(L, lua_upvalueindex(1));
  strand_body *body = lua_touserdata(L, 1);
  strand_seat *seat;
  if (body == NULL || body->owner == NULL || p->ended
      || p->generation != strand_fork_generation())
    return 0;
  strand_bodies_drop(p, body);
  seat = body->seat;
  body->owner = NULL;
  body->seat = NULL;
  if (seat != NULL) strand_seats_drop(p, seat);
  strand_local_call(&p->local); /* another may begin */
  return 0;
}

static void end_dropped (lua_State *L, strand_seats *p) {
  strand_seat *seat;
  while ((seat = strand_seats_dropped(p)) != NULL)
    fail_seat(L, p, seat, STRAND_OUTCOME_FAILED, dropped);
}

static strand_late begin_turn (lua_State *L, strand_seats *p) {
  strand_late late = { 0 };
  int64_t now_us = strand_seats_now_us(p);
  strand_slice_begin(&p->slice, now_us);
  if (p->looped) strand_loop_watch_late(p->local.watch, now_us);
  strand_local_answer(&p->local);
  end_dropped(L, p);
  if (p->looped) late = strand_bodies_take_late(p, now_us);
  strand_local_advance(&p->local);
  if (CHECKED) {
    strand_seats_check(p);
    strand_bodies_check(p);
  }
  return late;
}

/* A turn of the loop, or of step, begins: how many bodies are found not to have
** begun though they were spawned, not to have come though woken, and to be gone
** instead. */
int strand_body_serve (lua_State *L) {
  strand_seats *p = seats_of(L);
  strand_late late = { 0 };
  luaL_checkstack(L, 20, "serve");
  if (!p->ended) late = begin_turn(L, p);
  lua_pushnumber(L, late.spawned);
  lua_pushnumber(L, late.woken);
  lua_pushnumber(L, late.dropped);
  return 3;
}

/* Body, message: something of ours has raised in its coroutine. */
int strand_body_abandon (lua_State *L) {
  strand_seats *p = seats_of(L);
  strand_body *body = strand_body_test(L, 1, UP(BODIES));
  strand_seat *seat;
  luaL_checkstack(L, 20, "abandon");
  if (body == NULL || p->ended || body->state == STRAND_BODY_GONE) return 0;
  strand_bodies_leave(p, body);
  strand_local_call(&p->local); /* another may begin */
  seat = body->seat;
  body->seat = NULL;
  if (seat == NULL) return 0;
  lua_settop(L, 2);
  fail_seat(L, p, seat, STRAND_OUTCOME_FAILED,
            lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : dropped);
  return 0;
}

/* Body. */
int strand_body_leave (lua_State *L) {
  strand_seats *p = seats_of(L);
  strand_body *body = strand_body_test(L, 1, UP(BODIES));
  luaL_checkstack(L, 20, "leave");
  if (body == NULL || p->ended || body->state == STRAND_BODY_GONE) return 0;
  body->leaves = true;
  if (body->state == STRAND_BODY_PARKED || body->state == STRAND_BODY_FAILED)
    strand_bodies_leave(p, body);
  return 0;
}

/*
** Without a loop
*/

/* The one that step has resumed last has come back; what it yielded is the
** argument, or what ended it is the second. Its number, when it is of no more
** use; else 0. */
static uint32_t take_resumed (lua_State *L, strand_seats *p) {
  const char *problem = lua_isstring(L, 2) ? lua_tostring(L, 2) : NULL;
  strand_body *body = p->resumed;
  strand_seat *seat;
  p->resumed = NULL;
  if (body == NULL || body->state != STRAND_BODY_RUNS) return 0;
  if (problem == NULL && lua_touserdata(L, 1) == STRAND_SLEEPS
      && body->seat != NULL) {
    body->state = STRAND_BODY_SLEEPS;
    strand_sleepers_add(&p->sleepers, &body->sleeper, body->due_us);
    return 0;
  }
  strand_bodies_leave(p, body);
  seat = body->seat;
  body->seat = NULL;
  if (seat == NULL) return body->number;
  if (problem != NULL) fail_seat(L, p, seat, STRAND_OUTCOME_FAILED, problem);
  else
    fail_seat(L, p, seat, STRAND_OUTCOME_EXHAUSTED, strand_handler_end_bare);
  return body->number;
}

static strand_body *next_to_resume (strand_seats *p, int64_t now_us,
                                    bool *spawns) {
  strand_sleeper *first = strand_sleepers_first(&p->sleepers);
  strand_body *body;
  *spawns = false;
  if (first != NULL && first->due_us <= now_us) {
    strand_sleepers_remove(&p->sleepers, first);
    body = (void *)((char *)first - offsetof(strand_body, sleeper));
    body->state = STRAND_BODY_RUNS;
    return body;
  }
  if (!strand_seats_want_work(p)) return NULL;
  body = strand_bodies_unpark(p);
  *spawns = body == NULL;
  return body;
}

static void end_turn (strand_seats *p) {
  const strand_sleeper *first = strand_sleepers_first(&p->sleepers);
  strand_local_flush(&p->local);
  strand_local_remind(&p->local, first != NULL ? first->due_us : 0);
  if (strand_seats_want_work(p)) strand_local_call(&p->local);
}

/* Arguments: what the one that was resumed last has yielded, and what ended it.
** The number of the body that is to be resumed; 0: a new one; -n: body n has
** yielded for nobody, or was ended, and is to be forgotten; nothing: the slice
** is over, or there is no more to do. */
int strand_body_turn (lua_State *L) {
  strand_seats *p = seats_of(L);
  int64_t now_us;
  strand_body *body = NULL;
  uint32_t forgotten;
  bool spawns = false;
  luaL_checkstack(L, 20, "turn");
  if (p->ended) return 0;
  now_us = strand_seats_now_us(p);
  if (p->resumed != NULL)
    strand_loop_watch_ran(p->local.watch, now_us - p->resumed_us);
  end_dropped(L, p);
  forgotten = take_resumed(L, p);
  if (forgotten > 0) {
    lua_pushnumber(L, -(lua_Number)forgotten);
    return 1;
  }
  if (!strand_slice_come(&p->slice, NULL, now_us))
    body = next_to_resume(p, now_us, &spawns);
  if (body == NULL && !spawns) {
    end_turn(p);
    return 0;
  }
  p->resumed = body;
  p->resumed_us = now_us;
  lua_pushnumber(L, body != NULL ? body->number : 0);
  return 1;
}

/*
** With a loop
*/

/* Argument: how many were woken in this turn of the loop. The number of a body
** that has work, and is to be woken; 0: a new one; nothing: no more. There are
** no more of them than handlers may run: a loop may begin a new one later, and
** who has not begun takes work too. */
int strand_body_wake (lua_State *L) {
  strand_seats *p = seats_of(L);
  uint32_t woken = (uint32_t)lua_tonumber(L, 1);
  strand_body *body;
  if (p->ended) return 0;
  end_dropped(L, p);
  if (!strand_seats_want_work(p)) {
    strand_slice_wake_one(&p->slice);
    strand_local_flush(&p->local);
    return 0;
  }
  if (woken >= p->slice.wake_most) {
    strand_slice_wake_more(&p->slice);
    strand_local_call(&p->local);
    return 0;
  }
  body = strand_bodies_unpark(p);
  if (body == NULL && !strand_bodies_may_spawn(p)) {
    strand_local_flush(&p->local);
    return 0;
  }
  if (body != NULL) strand_bodies_call(p, body);
  lua_pushnumber(L, body != NULL ? body->number : 0);
  return 1;
}

/* The adapter has raised instead. True: the body that was to be woken parks on,
** and is tried again. */
int strand_body_fail (lua_State *L) {
  strand_seats *p = seats_of(L);
  lua_pushboolean(L, !p->ended && strand_bodies_fail(p));
  return 1;
}

/*
** Bodies
*/

void strand_body_open (lua_State *L, strand_seats *p, int anchor) {
  lua_newtable(L);
  lua_pushvalue(L, anchor);
  lua_rawseti(L, -2, 1);
  lua_pushlightuserdata(L, p);
  lua_pushcclosure(L, body_gc, 1);
  lua_setfield(L, -2, "__gc");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
}

void strand_body_new (lua_State *L, strand_seats *p, int metatable) {
  strand_body *body = strand_newuserdata(L, sizeof(*body));
  memset(body, 0, sizeof(*body));
  lua_pushvalue(L, metatable);
  lua_setmetatable(L, -2);
  if (!strand_sleepers_reserve(&p->sleepers, p->bodies + 1))
    luaL_error(L, "not enough memory");
  p->bodies++;
  body->owner = p;
  if (p->looped) strand_bodies_call(p, body);
  else p->resumed = body; /* whoever asked for it resumes it */
}

strand_body *strand_body_test (lua_State *L, int index, int metatable) {
  strand_body *body = lua_touserdata(L, index);
  int same;
  if (body == NULL || !lua_getmetatable(L, index)) return NULL;
  same = lua_rawequal(L, -1, metatable);
  lua_pop(L, 1);
  return same ? body : NULL;
}

int strand_body_enter (lua_State *L) {
  strand_body *body = strand_body_test(L, 1, lua_upvalueindex(1));
  luaL_checktype(L, 2, LUA_TTHREAD);
  luaL_argcheck(L, body != NULL, 1, "a body expected");
  if (lua_isnumber(L, 3) && body->number != 0) {
    lua_pushboolean(L, 0);
    return 1;
  }
  strand_outcome_watch_thread(L, 2, 1);
  if (lua_isnumber(L, 3)) body->number = (uint32_t)lua_tonumber(L, 3);
  body->outer = lua_tothread(L, 4);
  body->inner = body->outer != NULL ? lua_tothread(L, 2) : NULL;
  lua_pushboolean(L, 1);
  return 1;
}

strand_body *strand_body_running (lua_State *L) {
  return strand_outcome_watcher(L); /* nothing else watches coroutines */
}
