/*
** producer.c - see producer.h
*/
#include "lua/producer.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "lua/compat.h"
#include "lua/fields.h"
#include "lua/finalizers.h"
#include "lua/lines.h"
#include "lua/object.h"
#include "lua/producer_object.h"
#include "lua/producer_results.h"
#include "lua/producer_sending.h"
#include "lua/properties.h"
#include "lua/transactions.h"
#include "lua/worker/handler.h"
#include "producer/producer.h"

#define TOPICS_TIMEOUT 2.0 /* seconds */
#define CLOSE_TIMEOUT 1.0

static void tell_held (const strand_producer_object *self) {
  strand_producer_hold(self->kafka, self->current != NULL || self->has_event
                                      || self->has_line);
}

/*
** Taking
*/

/* In an event loop: the delivery on top of the stack, if coroutines wait for
** it, into the list at 0 of the table at 2. Before it has its report: where it
** raises, that comes again. */
static void add_to_reported (lua_State *L) {
  lua_pushliteral(L, "waiters");
  lua_rawget(L, -2);
  lua_rawgeti(L, 2, 0);
  if (lua_istable(L, -2) && lua_istable(L, -1)) {
    lua_pushvalue(L, -3);
    lua_rawseti(L, -2, (int)strand_rawlen(L, -2) + 1);
  }
  lua_pop(L, 2);
}

/* Gives the report on top of the stack, which has 'id', to who waits for it, in
** the table at 2; false: nobody does. Not by methods: the table is weak. */
static bool hand_over (lua_State *L, int64_t id) {
  bool waits;
  strand_push_int64(L, id);
  lua_rawget(L, 2);
  waits = lua_istable(L, -1);
  if (waits) {
    add_to_reported(L);
    lua_pushliteral(L, "report");
    lua_pushvalue(L, -3);
    lua_rawset(L, -3); /* there is one: nothing is allocated for it */
    strand_push_int64(L, id);
    lua_pushnil(L);
    lua_rawset(L, 2);
  }
  lua_pop(L, 1);
  return waits;
}

static void end_current (strand_producer_object *self) {
  free(self->current);
  self->current = NULL;
  tell_held(self);
}

/* Pushes the next report that is for on_delivery, with the metatable at 3;
** those that somebody waits for are handed over, and counted, 'most' of them.
** False: there is none. */
static bool push_report (lua_State *L, strand_producer_object *self,
                         int64_t *handed, int64_t most) {
  for (;; ++*handed) {
    if (*handed >= most) return false;
    if (self->current == NULL)
      self->current = strand_producer_next_delivery(self->kafka);
    if (self->current == NULL) return false;
    tell_held(self);
    strand_push_delivery(L, self->current);
    lua_pushvalue(L, 3);
    lua_setmetatable(L, -2);
    if (self->current->id == 0) break;
    if (!hand_over(L, self->current->id))
      strand_producer_warn(self->kafka, self->current);
    end_current(self);
    lua_pop(L, 1);
  }
  end_current(self);
  return true;
}

/* next_delivery(by_id, metatable) -> report | nothing */
static int producer_next_delivery (lua_State *L) {
  strand_producer_object *self = strand_check_any_producer(L);
  int64_t handed = 0;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  strand_check_producer(L);
  return push_report(L, self, &handed, INT64_MAX) ? 1 : 0;
}

/* deliver(by_id, metatable, on_delivery, handler, most)
**                      -> called, problem | nil, handed over */
static int producer_deliver (lua_State *L) {
  strand_producer_object *self = strand_check_any_producer(L);
  int64_t most = strand_check_int64(L, 6), served = 0, handed = 0;
  bool failed = false;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 6);
  while (!failed && served + handed < most && self->kafka != NULL
         && push_report(L, self, &handed, most - served)) {
    lua_pushvalue(L, 4);
    lua_insert(L, -2);
    failed = lua_pcall(L, 1, 0, 5) != 0;
    served++;
  }
  if (!failed) lua_pushnil(L);
  strand_push_int64(L, served);
  lua_insert(L, 7);
  strand_push_int64(L, handed);
  return 3;
}

static int producer_next_event (lua_State *L) {
  strand_producer_object *self = strand_check_any_producer(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (!self->has_event)
    self->has_event = strand_producer_next_event(strand_check_producer(L),
                                                 &self->event);
  if (!self->has_event) return 0;
  tell_held(self);
  strand_push_producer_event(L, &self->event);
  self->has_event = false;
  tell_held(self);
  return 1;
}

static int producer_next_log (lua_State *L) {
  strand_producer_object *self = strand_check_any_producer(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (!self->has_line)
    self->has_line = strand_producer_next_log(strand_check_producer(L),
                                              &self->line);
  if (!self->has_line) return 0;
  tell_held(self);
  strand_push_line(L, &self->line);
  self->has_line = false;
  tell_held(self);
  return 3;
}

/* keep(kept, reports, full) */
static int producer_keep (lua_State *L) {
  int64_t reports = strand_check_int64(L, 3);
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_keep(strand_check_producer(L), lua_toboolean(L, 2), reports,
                       lua_toboolean(L, 4));
  return 0;
}

/*
** Tokens
*/

static int producer_oauth_needed (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  lua_pushboolean(L, strand_producer_poll_oauth(strand_check_producer(L)));
  return 1;
}

static int producer_oauth_answering (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_oauth_answering(strand_check_producer(L),
                                  lua_toboolean(L, 2));
  return 0;
}

static int producer_oauth_set (lua_State *L) {
  strand_failure failure;
  const strand_token token = strand_check_token(L);
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  return strand_push_done(
    L,
    strand_producer_oauth_set(strand_check_producer(L), token.value,
                              token.expires_ms, token.principal, &failure),
    &failure);
}

static int producer_oauth_fail (lua_State *L) {
  const char *message = luaL_checkstring(L, 2);
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_oauth_fail(strand_check_producer(L), message);
  return 0;
}

static int producer_await_topics (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_await_topics(strand_check_open_producer(L), TOPICS_TIMEOUT);
  return 0;
}

/*
** State, flushing, closing
*/

static int producer_state (lua_State *L) {
  strand_producer_object *self = strand_check_any_producer(L);
  return strand_push_state(L, strand_is_forked(self->generation),
                           self->kafka == NULL
                             || strand_producer_is_closed(self->kafka));
}

static int producer_fd (lua_State *L) {
  int fd;
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  fd = strand_producer_fd(strand_check_producer(L));
  if (fd < 0) return 0;
  lua_pushinteger(L, fd);
  return 1;
}

static int producer_outstanding (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_push_int64(L, strand_producer_outstanding(strand_check_producer(L)));
  strand_push_int64(L, strand_producer_untaken(strand_check_producer(L)));
  return 2;
}

static int producer_flush_begin (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_flush_begin(strand_check_open_producer(L));
  return 0;
}

static int producer_hurry (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_hurry(strand_check_producer(L), lua_toboolean(L, 2));
  return 0;
}

/* configure(max_queued_records | nil, max_queued_bytes | nil) */
static int producer_configure (lua_State *L) {
  int64_t records = lua_isnoneornil(L, 2) ? 0 : strand_check_int64(L, 2);
  int64_t bytes = lua_isnoneornil(L, 3) ? 0 : strand_check_int64(L, 3);
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_set_bounds(strand_check_open_producer(L), records, bytes);
  lua_pushboolean(L, 1);
  return 1;
}

static int producer_stats (lua_State *L) {
  strand_producer_counts counts;
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_refresh_counts(strand_check_producer(L), &counts);
  strand_push_producer_stats(L, &counts);
  return 1;
}

static int producer_close (lua_State *L) {
  strand_producer_counts counts;
  strand_producer_object *self = strand_check_any_producer(L);
  double timeout = strand_opt_seconds(L, 2, CLOSE_TIMEOUT);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  strand_producer_close(strand_check_producer(L), timeout);
  strand_finalizers_leave(&self->finalizers);
  strand_producer_refresh_counts(self->kafka, &counts);
  strand_push_producer_report(L, &counts, strand_clock_now() - self->opened);
  return 1;
}

/* purge() -> whether nothing is outstanding */
static int producer_purge (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  lua_pushboolean(L, strand_producer_purge_begin(strand_check_producer(L)));
  return 1;
}

static int producer_enter_loop (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_enter_loop(strand_check_producer(L));
  return 0;
}

static int producer_end_begin (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_end_begin(strand_check_producer(L));
  return 0;
}

static int producer_end_done (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  lua_pushboolean(L, strand_producer_end_done(strand_check_producer(L)));
  return 1;
}

/* transact(goal, timeout) */
static int producer_transact (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  return strand_transact(L, strand_check_open_producer(L));
}

static int producer_obstacle (lua_State *L) {
  char text[STRAND_DELIVERY_TEXT];
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  strand_producer_obstacle(strand_check_producer(L), text);
  if (text[0] == '\0') return 0;
  lua_pushstring(L, text);
  return 1;
}

static int producer_transaction_state (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  return strand_push_transaction_state(L, strand_check_open_producer(L));
}

static int producer_transaction_misuse (lua_State *L) {
  if (strand_is_forked(strand_check_any_producer(L)->generation))
    return strand_push_forked(L);
  return strand_push_transaction_misuse(L, strand_check_open_producer(L));
}

static strand_delivery_counts count_records (strand_producer *kafka) {
  strand_producer_counts counts;
  strand_producer_refresh_counts(kafka, &counts);
  return counts.records;
}

/* Of its records how many were given up, in 'share' seconds: what was purged
** before is of transactions that were aborted. */
static int64_t discard (strand_producer *kafka, strand_finalizers *f,
                        double share) {
  int64_t aborted = count_records(kafka).purged;
  double patience = strand_finalizers_patience(f);
  strand_delivery_counts after;
  f->hopeless = !strand_producer_discard(kafka, share, patience);
  after = count_records(kafka);
  return after.purged - aborted + after.outstanding;
}

static int producer_gc (lua_State *L) {
  strand_producer_object *self = strand_check_any_producer(L);
  strand_producer *kafka = self->kafka;
  strand_finalizers *f = self->finalizers;
  if (kafka == NULL || strand_is_forked(self->generation)) return 0;
  self->kafka = NULL;
  if (f != NULL) {
    double share = strand_finalizers_begin(f, strand_clock_now());
    int64_t lost = discard(kafka, f, share);
    strand_finalizers_end(f, strand_clock_now());
    strand_finalizers_say_lost(f, lost);
    strand_finalizers_leave(&self->finalizers);
  }
  strand_producer_free(kafka);
  free(self->current);
  self->current = NULL;
  return 0;
}

/*
** Opening
*/

static void read_options (lua_State *L, strand_producer_options *options) {
  memset(options, 0, sizeof(*options));
  options->props = strand_push_properties(L, 1, "kafka", &options->prop_count);
  lua_getfield(L, 1, "topics");
  options->topics = strand_push_texts(L, lua_gettop(L), "option 'topics'",
                                      &options->topic_count);
  options->partitioner = strand_field_text(L, 1, "partitioner");
  if (options->partitioner != NULL
      && strcmp(options->partitioner, "lua") == 0) {
    options->partitioner = NULL;
    options->topics_timeout = TOPICS_TIMEOUT;
  }
  options->has_oauth = strand_field_boolean(L, 1, "has_oauth");
  if (options->has_oauth) options->topics_timeout = 0; /* await_topics */
  options->max_queued_records = strand_field_count(L, 1, "max_queued_records",
                                                   0, STRAND_INT_MAX);
  options->max_queued_bytes = strand_field_count(L, 1, "max_queued_bytes", 0,
                                                 STRAND_INT_MAX);
  options->transactional_id = strand_field_text(L, 1, "transactional_id");
  options->transaction_timeout = strand_field_number(L, 1,
                                                     "transaction_timeout", 0);
  options->reports_all = strand_field_boolean(L, 1, "has_on_delivery");
  options->keeps_log = strand_field_boolean(L, 1, "has_log");
}

static int producer_open (lua_State *L) {
  strand_producer_options options;
  strand_failure failure;
  strand_producer_object *self;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  read_options(L, &options);
  self = strand_newuserdata(L, sizeof(*self));
  memset(self, 0, sizeof(*self));
  self->generation = strand_fork_generation();
  self->opened = strand_clock_now();
  strand_settype(L, STRAND_PRODUCER_TYPE);
  self->names = strand_plain_names_of(L);
  self->finalizers = strand_finalizers_join(L);
  self->kafka = strand_producer_open(&options, &failure);
  if (self->kafka == NULL) {
    strand_finalizers_leave(&self->finalizers);
    return strand_push_failure(L, &failure);
  }
  strand_handler_opened(L, "strand.producer");
  return 1;
}

static const luaL_Reg methods[] = {
  { "state", producer_state },
  { "fd", producer_fd },
  { "next_event", producer_next_event },
  { "next_log", producer_next_log },
  { "keep", producer_keep },
  { "oauth_needed", producer_oauth_needed },
  { "oauth_answering", producer_oauth_answering },
  { "oauth_set", producer_oauth_set },
  { "oauth_fail", producer_oauth_fail },
  { "await_topics", producer_await_topics },
  { "outstanding", producer_outstanding },
  { "flush_begin", producer_flush_begin },
  { "hurry", producer_hurry },
  { "configure", producer_configure },
  { "transact", producer_transact },
  { "obstacle", producer_obstacle },
  { "transaction_state", producer_transaction_state },
  { "transaction_misuse", producer_transaction_misuse },
  { "enter_loop", producer_enter_loop },
  { "purge", producer_purge },
  { "end_begin", producer_end_begin },
  { "end_done", producer_end_done },
  { "close", producer_close },
  { "stats", producer_stats },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", producer_gc },
  { "__close", producer_gc },
  { NULL, NULL },
};

/* Into the table on top; with the names of a report's fields. */
static void add_method (lua_State *L, const char *name, lua_CFunction f) {
  strand_push_delivery_names(L);
  lua_pushcclosure(L, f, STRAND_DELIVERY_NAMES);
  lua_setfield(L, -2, name);
}

static void add_taking (lua_State *L) {
  luaL_getmetatable(L, STRAND_PRODUCER_TYPE);
  lua_getfield(L, -1, "__index");
  add_method(L, "next_delivery", producer_next_delivery);
  add_method(L, "deliver", producer_deliver);
  lua_pop(L, 2);
}

void strand_open_producer (lua_State *L) {
  strand_newtype(L, STRAND_PRODUCER_TYPE, methods, metamethods);
  add_taking(L);
  strand_open_producer_sending(L);
  lua_pushcfunction(L, producer_open);
  lua_setfield(L, -2, "producer");
}
