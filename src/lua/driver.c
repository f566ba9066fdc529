/*
** driver.c - see driver.h
*/
#include "lua/driver.h"

#include <stdlib.h>
#include <string.h>

#include "consumer/consumer.h"
#include "consumer/driver.h"
#include "lua/compat.h"
#include "lua/fields.h"
#include "lua/given_record.h"
#include "lua/lines.h"
#include "lua/local/binding.h"
#include "lua/object.h"
#include "lua/options.h"
#include "lua/results.h"
#include "lua/worker/handler.h"
#include "lua/worker/record.h"

#define TYPE "strand.core.Driver"

/* What is being turned into Lua values stands here, because that may raise. */
typedef struct object {
  strand_driver *driver; /* NULL: it is closed */
  strand_sources *sources;
  strand_seats *seats; /* the registry keeps them for us; or NULL */
  strand_event event;
  strand_driver_note note;
} object;

static object *check_any (lua_State *L) {
  return luaL_checkudata(L, 1, TYPE);
}

static object *check (lua_State *L) {
  object *self = check_any(L);
  luaL_argcheck(L, self->driver != NULL, 1, "an open driver expected");
  return self;
}

static int no_memory (lua_State *L) {
  return luaL_error(L, "not enough memory");
}

/*
** Life
*/

static int driver_open (lua_State *L) {
  strand_consumer_config config;
  strand_failure failure;
  const char *group = luaL_checkstring(L, 2);
  double wall = luaL_checknumber(L, 3);
  object *self;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 3);
  self = strand_newuserdata(L, sizeof(*self));
  memset(self, 0, sizeof(*self));
  strand_settype(L, TYPE);
  strand_read_options(L, 1, &config, &self->sources);
  config.handler = strand_handler_of(L, self->sources);
  self->driver = strand_driver_open(&config, group, (int64_t)(wall * 1e6),
                                    &failure);
  if (self->driver == NULL) return strand_push_failure(L, &failure);
  lua_settop(L, 4);
  return 1;
}

static int driver_close (lua_State *L) {
  object *self = check_any(L);
  strand_seats *seats = self->seats;
  strand_driver *driver = self->driver;
  self->seats = NULL;
  self->driver = NULL;
  if (seats != NULL) {
    strand_seats_end(seats);
    strand_local_forget(L, seats);
  }
  strand_driver_close(driver);
  strand_event_clear(&self->event);
  free(self->note.reason);
  self->note.reason = NULL;
  strand_sources_release(self->sources);
  self->sources = NULL;
  return 0;
}

static int driver_local_open (lua_State *L) {
  enum { HANDLERS = 2, RETRIES, ARGS, MAX_SLICE };
  strand_local_options options = { .handlers = HANDLERS,
                                   .retries = RETRIES,
                                   .args = ARGS };
  object *self = check(L);
  luaL_checktype(L, HANDLERS, LUA_TTABLE);
  luaL_checktype(L, RETRIES, LUA_TTABLE);
  luaL_argcheck(L, self->seats == NULL, 1, "a new driver expected");
  lua_settop(L, MAX_SLICE);
  options.consumer = strand_driver_consumer(self->driver);
  options.max_slice = luaL_checknumber(L, MAX_SLICE);
  self->seats = strand_local_push(L, &options);
  self->seats->local.obeys = true;
  return 1;
}

/*
** Records in
*/

static size_t check_number (lua_State *L, int index) {
  return (size_t)luaL_checknumber(L, index) - 1;
}

/* topic, partition -> its number, or nothing: no route takes it */
static int driver_assign (lua_State *L) {
  object *self = check(L);
  int number = strand_driver_assign(self->driver, luaL_checkstring(L, 2),
                                    (int32_t)luaL_checknumber(L, 3));
  if (number == -2) return no_memory(L);
  if (number < 0) return 0;
  lua_pushnumber(L, number + 1);
  return 1;
}

/* number, flat record -> whether it could be read now */
static int driver_feed (lua_State *L) {
  enum { NUMBER = 2, FLAT, HEADERS };
  object *self = check(L);
  size_t number = check_number(L, NUMBER);
  strand_given given;
  strand_record *r;
  bool may = strand_driver_may_feed(self->driver, number);
  lua_settop(L, FLAT);
  if (may) {
    strand_given_read(L, FLAT, &given);
    r = strand_driver_room(self->driver, number, strand_given_length(&given));
    if (r == NULL) return no_memory(L);
    strand_given_write(L, &given, HEADERS, r);
    if (strand_driver_feed(self->driver, number, r) != STRAND_ADDED)
      return no_memory(L);
  }
  lua_pushboolean(L, may);
  return 1;
}

static int driver_drained (lua_State *L) {
  object *self = check(L);
  strand_driver_drained(self->driver, check_number(L, 2), lua_toboolean(L, 3));
  return 0;
}

/*
** The time
*/

static int driver_turn (lua_State *L) {
  object *self = check(L);
  if (!strand_driver_turn(self->driver)) return no_memory(L);
  return 0;
}

/* seconds since it was opened: the limit -> "moved", "limit" or "nothing" */
static int driver_advance (lua_State *L) {
  static const char *const names[] = { "moved", "limit", "nothing" };
  object *self = check(L);
  const strand_sleeper *first = NULL;
  int64_t limit_us = (int64_t)(luaL_checknumber(L, 2) * 1e6);
  if (self->seats != NULL)
    first = strand_sleepers_first(&self->seats->sleepers);
  lua_pushstring(
    L, names[strand_driver_advance(
         self->driver, first != NULL ? first->due_us : INT64_MAX, limit_us)]);
  return 1;
}

static int driver_seconds (lua_State *L) {
  lua_pushnumber(L,
                 (lua_Number)strand_driver_elapsed_us(check(L)->driver) / 1e6);
  return 1;
}

static int driver_halt (lua_State *L) {
  strand_driver_halt(check(L)->driver);
  return 0;
}

static int driver_commit (lua_State *L) {
  strand_driver_commit(check(L)->driver);
  return 0;
}

/*
** What comes of it
*/

static void push_output (lua_State *L, const strand_output *from) {
  strand_output *o = (strand_output *)(uintptr_t)from;
  lua_createtable(L, 0, 6);
  strand_set_text(L, "topic", strand_output_topic(o));
  if (o->has_key)
    strand_set_bytes(L, "key", strand_output_key(o), o->key_length);
  if (o->has_value)
    strand_set_bytes(L, "value", strand_output_value(o), o->value_length);
  strand_set_optional(L, "partition", o->partition);
  if (o->timestamp_ms != 0)
    strand_set_number(L, "timestamp", (double)o->timestamp_ms / 1e3);
  if (o->headers_length > 0) {
    strand_push_headers(L, strand_output_headers(o), o->headers_length);
    lua_setfield(L, -2, "headers");
  }
}

/* number of the partition, offset, list of what was sent */
static int push_sent (lua_State *L, const strand_driver_sent *sent) {
  const strand_output *o;
  int n = 0;
  lua_pushnumber(L, (lua_Number)sent->partition + 1);
  strand_push_int64(L, sent->offset);
  lua_newtable(L);
  for (o = sent->first; o != NULL; o = o->next) {
    push_output(L, o);
    lua_rawseti(L, -2, ++n);
  }
  return 3;
}

static int driver_next_outputs (lua_State *L) {
  object *self = check(L);
  strand_driver_sent sent;
  if (!strand_driver_next_outputs(self->driver, &sent)) return 0;
  return push_sent(L, &sent);
}

static int driver_next_dead_letter (lua_State *L) {
  object *self = check(L);
  strand_driver_sent sent;
  int found = strand_driver_next_dead_letter(self->driver, &sent);
  if (found < 0) return no_memory(L);
  return found ? push_sent(L, &sent) : 0;
}

static const char *name_of (strand_notice_type type) {
  switch (type) {
    case STRAND_NOTICE_FAILED: return "failed";
    case STRAND_NOTICE_LOST: return "lost";
    case STRAND_NOTICE_PARKED: return "parked";
    case STRAND_NOTICE_DEAD_LETTERED: return "dead_lettered";
    case STRAND_NOTICE_SKIPPED: return "skipped";
    default: return "other";
  }
}

/* { type, number of the partition, offset, attempt, seconds, delay, reason } */
static int driver_next_note (lua_State *L) {
  object *self = check(L);
  strand_driver_note *n = &self->note;
  free(n->reason);
  n->reason = NULL;
  if (!strand_driver_next_note(self->driver, n)) return 0;
  lua_createtable(L, 0, 7);
  strand_set_text(L, "type", name_of(n->type));
  strand_set_integer(L, "number", (int64_t)n->partition + 1);
  strand_set_integer(L, "offset", n->offset);
  strand_set_integer(L, "attempt", n->attempt);
  strand_set_number(L, "seconds", (double)n->at_us / 1e6);
  if (n->delay_us >= 0)
    strand_set_number(L, "delay", (double)n->delay_us / 1e6);
  if (n->reason != NULL)
    strand_set_bytes(L, "reason", n->reason, n->reason_length);
  return 1;
}

static int driver_next_event (lua_State *L) {
  object *self = check(L);
  strand_consumer *c = strand_driver_consumer(self->driver);
  strand_event_clear(&self->event);
  if (!strand_consumer_next_event(c, &self->event)) return 0;
  self->event.time = strand_time_wall(&c->time);
  strand_push_event(L, &self->event);
  return 1;
}

/* level, facility, message */
static int driver_next_log (lua_State *L) {
  strand_log_line line;
  strand_consumer *c = strand_driver_consumer(check(L)->driver);
  return strand_consumer_next_log(c, &line) ? strand_push_line(L, &line) : 0;
}

/* code and message, when a handler has stopped the consumer */
static int driver_stopped (lua_State *L) {
  object *self = check(L);
  strand_close_mode mode;
  strand_failure reason;
  if (!strand_consumer_ending(strand_driver_consumer(self->driver), &mode,
                              &reason))
    return 0;
  lua_pushstring(L, reason.code);
  lua_pushstring(L, reason.message);
  return 2;
}

/* number of a partition -> { offset, state, offset, state, ... } */
static int driver_left (lua_State *L) {
  object *self = check(L);
  size_t number = check_number(L, 2);
  const strand_record *r = NULL;
  int n = 0;
  lua_newtable(L);
  while ((r = strand_driver_next_left(self->driver, number, r)) != NULL) {
    strand_push_int64(L, r->offset);
    lua_rawseti(L, -2, ++n);
    lua_pushstring(L, strand_record_state(r));
    lua_rawseti(L, -2, ++n);
  }
  return 1;
}

/* number of a partition -> offset, metadata of its last commit */
static int driver_committed (lua_State *L) {
  object *self = check(L);
  const char *metadata;
  int64_t offset = strand_driver_committed(self->driver, check_number(L, 2),
                                           &metadata);
  if (offset < 0) return 0;
  strand_push_int64(L, offset);
  lua_pushstring(L, metadata);
  return 2;
}

static int driver_stats (lua_State *L) {
  strand_engine_stats stats;
  strand_driver_stats(check(L)->driver, &stats);
  lua_createtable(L, 0, 5);
  strand_set_integer(L, "done", (int64_t)stats.done);
  strand_set_integer(L, "failed", (int64_t)stats.failed);
  strand_set_integer(L, "skipped", (int64_t)stats.skipped);
  strand_set_integer(L, "dead_lettered", (int64_t)stats.dead_lettered);
  strand_set_integer(L, "parked", (int64_t)stats.parked);
  return 1;
}

/*
** Opening
*/

static const luaL_Reg methods[] = {
  { "local_open", driver_local_open },
  { "assign", driver_assign },
  { "feed", driver_feed },
  { "drained", driver_drained },
  { "turn", driver_turn },
  { "advance", driver_advance },
  { "seconds", driver_seconds },
  { "halt", driver_halt },
  { "commit", driver_commit },
  { "next_outputs", driver_next_outputs },
  { "next_letter", driver_next_dead_letter },
  { "next_note", driver_next_note },
  { "next_event", driver_next_event },
  { "next_log", driver_next_log },
  { "stopped", driver_stopped },
  { "left", driver_left },
  { "committed", driver_committed },
  { "stats", driver_stats },
  { "close", driver_close },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", driver_close },
  { NULL, NULL },
};

static const luaL_Reg functions[] = {
  { "driver", driver_open },
  { NULL, NULL },
};

void strand_open_driver (lua_State *L) {
  strand_newtype(L, TYPE, methods, metamethods);
  strand_setfuncs(L, functions);
}
