/*
** consumer.c - see consumer.h
*/
#include "lua/consumer.h"

#include "base/clock.h"
#include "kafka/log.h"
#include "lua/async/handler.h"
#include "lua/compat.h"
#include "lua/consumer_object.h"
#include "lua/consumer_requests.h"
#include "lua/lines.h"
#include "lua/local/binding.h"
#include "lua/options.h"
#include "lua/results.h"
#include "lua/worker/handler.h"

static int push_no_memory (lua_State *L) {
  strand_failure failure;
  strand_fail(&failure, "NO_MEMORY", "not enough memory");
  return strand_push_failure(L, &failure);
}

/*
** Life
*/

static int consumer_open (lua_State *L) {
  strand_consumer_config config;
  strand_failure failure;
  strand_consumer_object *self;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  self = strand_newuserdata(L, sizeof(*self));
  memset(self, 0, sizeof(*self));
  self->generation = strand_fork_generation();
  strand_settype(L, STRAND_CONSUMER_TYPE);
  self->finalizers = strand_finalizers_join(L);
  strand_read_options(L, 1, &config, &self->sources);
  self->limits = config.limits;
  self->members = config.members;
  config.handler = config.has_loops ? strand_async_handler_of(L, self->sources)
                                    : strand_handler_of(L, self->sources);
  self->kafka = strand_consumer_open(&config, &failure);
  if (self->kafka == NULL) {
    strand_finalizers_leave(&self->finalizers);
    return strand_push_failure(L, &failure);
  }
  strand_handler_opened(L, "strand.consumer");
  lua_settop(L, 2);
  return 1;
}

static int consumer_state (lua_State *L) {
  const strand_consumer_object *self = strand_check_any_consumer(L);
  if (strand_is_forked(self->generation)) lua_pushliteral(L, "forked");
  else if (self->kafka == NULL) lua_pushliteral(L, "closed");
  else lua_pushstring(L, strand_consumer_state(self->kafka));
  return 1;
}

/* Arguments: handlers and retry functions by route, args, max_slice. */
static int consumer_local_open (lua_State *L) {
  enum { HANDLERS = 2, RETRIES, ARGS, MAX_SLICE };
  strand_local_options options = { .handlers = HANDLERS,
                                   .retries = RETRIES,
                                   .args = ARGS };
  strand_consumer_object *self = strand_check_consumer(L);
  luaL_checktype(L, HANDLERS, LUA_TTABLE);
  luaL_checktype(L, RETRIES, LUA_TTABLE);
  lua_settop(L, MAX_SLICE);
  if (self == NULL) return strand_push_forked(L);
  luaL_argcheck(L, self->limits.workers == 0 && self->seats == NULL, 1,
                "a new consumer without workers expected");
  options.consumer = self->kafka;
  options.max_slice = luaL_checknumber(L, MAX_SLICE);
  self->seats = strand_local_push(L, &options);
  return 1;
}

/* No handler is the consumer's any more. */
static void end_seats (lua_State *L, strand_consumer_object *self) {
  strand_seats *seats = self->seats;
  self->seats = NULL;
  if (seats == NULL) return;
  strand_seats_end(seats);
  strand_local_forget(L, seats);
}

static int consumer_start_begin (lua_State *L) {
  strand_failure failure;
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  if (self->seats != NULL) strand_local_start(&self->seats->local);
  return strand_push_done(
    L, strand_consumer_start_begin(self->kafka, &failure), &failure);
}

/* true, false: not yet | nil, message, code */
static int consumer_start_done (lua_State *L) {
  strand_failure failure;
  strand_consumer_object *self = strand_check_consumer(L);
  int done;
  if (self == NULL) return strand_push_forked(L);
  done = strand_consumer_start_done(self->kafka, &failure);
  if (done < 0) return strand_push_failure(L, &failure);
  lua_pushboolean(L, done);
  return 1;
}

static int consumer_joined (lua_State *L) {
  strand_failure failure;
  strand_consumer_object *self = strand_check_consumer(L);
  int joined;
  if (self == NULL) return strand_push_forked(L);
  joined = strand_consumer_take_joined(self->kafka, &failure);
  if (joined < 0) return strand_push_failure(L, &failure);
  lua_pushboolean(L, joined);
  return 1;
}

static int consumer_fd (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  int fd;
  if (self == NULL) return strand_push_forked(L);
  fd = strand_consumer_fd(self->kafka);
  if (fd < 0) return 0;
  lua_pushinteger(L, fd);
  return 1;
}

/* In order of strand_close_mode. */
static const char *const modes[] = { "finish", "drain", "now", NULL };

static int consumer_ending (lua_State *L) {
  strand_close_mode mode;
  strand_failure reason;
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  if (!strand_consumer_ending(self->kafka, &mode, &reason)) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushstring(L, modes[mode]);
  lua_pushstring(L, reason.code);
  lua_pushstring(L, reason.message);
  return 3;
}

static int consumer_ending_reported (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_ending_reported(self->kafka);
  return 0;
}

static int consumer_close_begin (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  int mode = luaL_checkoption(L, 2, NULL, modes);
  double timeout = strand_opt_seconds(L, 3, 30);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_close_begin(self->kafka, (strand_close_mode)mode, timeout);
  return 0;
}

static int push_report (lua_State *L, strand_consumer_object *self) {
  strand_report_clear(&self->report);
  if (!strand_consumer_report(self->kafka, &self->report))
    return push_no_memory(L);
  strand_push_report(L, &self->report);
  return 1;
}

static int consumer_close_wait (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  if (self->seats != NULL && !self->seats->ended)
    strand_local_advance(&self->seats->local);
  if (!strand_consumer_close_step(self->kafka)) {
    lua_pushnil(L);
    return 1;
  }
  strand_finalizers_leave(&self->finalizers);
  if (push_report(L, self) != 1) return luaL_error(L, "not enough memory");
  if (self->report.failure.code[0] == '\0') return 1;
  lua_pushstring(L, self->report.failure.message);
  lua_pushstring(L, self->report.failure.code);
  return 3;
}

static int consumer_report (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  return push_report(L, self);
}

/* Nobody hears the report of one that was not closed. */
static void tell_unfinished (strand_consumer *kafka) {
  strand_report report;
  memset(&report, 0, sizeof(report));
  if (strand_consumer_report(kafka, &report) && report.unfinished_total > 0)
    strand_log_printf(NULL, STRAND_LOG_WARNING, "CONSUMER",
                      "a consumer was collected without close(), which waits "
                      "for them: %llu records were not done, and are handled "
                      "again",
                      (unsigned long long)report.unfinished_total);
  strand_report_clear(&report);
}

static void discard (strand_consumer *kafka, double timeout) {
  bool is_open = strcmp(strand_consumer_state(kafka), "closed") != 0;
  strand_consumer_end(kafka, timeout);
  if (is_open) tell_unfinished(kafka);
  strand_consumer_give_up(kafka);
}

static int consumer_gc (lua_State *L) {
  strand_consumer_object *self = strand_check_any_consumer(L);
  strand_consumer *kafka = self->kafka;
  strand_sources *sources = self->sources;
  strand_finalizers *f = self->finalizers;
  if (strand_is_forked(self->generation)) return 0;
  end_seats(L, self);
  self->kafka = NULL;
  self->sources = NULL;
  strand_event_clear(&self->event);
  strand_stats_clear(&self->stats);
  strand_report_clear(&self->report);
  if (kafka != NULL && f != NULL) {
    discard(kafka, strand_finalizers_begin(f, strand_clock_now()));
    strand_finalizers_end(f, strand_clock_now());
  }
  else if (kafka != NULL) strand_consumer_discard(kafka, 0);
  strand_finalizers_leave(&self->finalizers);
  strand_sources_release(sources);
  return 0;
}

static int consumer_tostring (lua_State *L) {
  lua_pushfstring(L, STRAND_CONSUMER_TYPE " (%p)",
                  (void *)strand_check_any_consumer(L));
  return 1;
}

/*
** What is taken
*/

static void tell_held (const strand_consumer_object *self) {
  strand_consumer_hold(self->kafka, self->has_event || self->has_line);
}

static int consumer_next_event (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  if (!self->has_event)
    self->has_event = strand_consumer_next_event(self->kafka, &self->event);
  tell_held(self);
  if (!self->has_event) {
    lua_pushnil(L);
    return 1;
  }
  strand_push_event(L, &self->event);
  strand_event_clear(&self->event);
  self->has_event = false;
  tell_held(self);
  return 1;
}

static int consumer_next_log (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  if (!self->has_line)
    self->has_line = strand_consumer_next_log(self->kafka, &self->line);
  tell_held(self);
  if (!self->has_line) {
    lua_pushnil(L);
    return 1;
  }
  strand_push_line(L, &self->line);
  self->has_line = false;
  tell_held(self);
  return 3;
}

static int consumer_keep (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_keep(self->kafka, lua_toboolean(L, 2), lua_toboolean(L, 4));
  return 0;
}

static int consumer_oauth_needed (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  lua_pushboolean(L, strand_consumer_oauth_needed(self->kafka));
  return 1;
}

static int consumer_oauth_answering (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_oauth_answering(self->kafka, lua_toboolean(L, 2));
  return 0;
}

static int consumer_oauth_set (lua_State *L) {
  strand_failure failure;
  strand_consumer_object *self = strand_check_consumer(L);
  const strand_token token = strand_check_token(L);
  if (self == NULL) return strand_push_forked(L);
  return strand_push_done(L,
                          strand_consumer_oauth_set(self->kafka, token.value,
                                                    token.expires_ms,
                                                    token.principal, &failure),
                          &failure);
}

static int consumer_oauth_fail (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  const char *message = luaL_checkstring(L, 2);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_oauth_fail(self->kafka, message);
  return 0;
}

/*
** Questions
*/

static int read_stats (strand_consumer_object *self, size_t blockers) {
  strand_stats_clear(&self->stats);
  return strand_consumer_stats(self->kafka, blockers, &self->stats);
}

static int consumer_stats (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  if (!read_stats(self, 0)) return push_no_memory(L);
  strand_push_stats(L, &self->stats);
  return 1;
}

static int consumer_assignment (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  if (!read_stats(self, 0)) return push_no_memory(L);
  strand_push_assignment(L, &self->stats);
  return 1;
}

static int consumer_blockers (lua_State *L) {
  strand_consumer_object *self = strand_check_consumer(L);
  int64_t n = strand_check_int64(L, 2);
  luaL_argcheck(L, n >= 0 && n <= 100000, 2, "0 to 100000 expected");
  if (self == NULL) return strand_push_forked(L);
  if (!read_stats(self, (size_t)n)) return push_no_memory(L);
  strand_push_blockers(L, &self->stats);
  return 1;
}

static int consumer_health (lua_State *L) {
  strand_failure problem = { "", "" };
  strand_consumer_object *self = strand_check_consumer(L);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_health(self->kafka, &problem);
  return strand_push_done(L, problem.code[0] == '\0', &problem);
}

/*
** Commands
*/

static int set_paused (lua_State *L, bool paused) {
  strand_failure failure;
  strand_consumer_object *self = strand_check_consumer(L);
  const char *topic = lua_isnoneornil(L, 2) ? NULL : strand_check_text(L, 2);
  int32_t partition = lua_isnoneornil(L, 3) ? -1
                                            : strand_check_partition(L, 3);
  if (self == NULL) return strand_push_forked(L);
  return strand_push_done(
    L, strand_consumer_pause(self->kafka, topic, partition, paused, &failure),
    &failure);
}

static int consumer_pause (lua_State *L) {
  return set_paused(L, true);
}

static int consumer_resume (lua_State *L) {
  return set_paused(L, false);
}

/* retry_code: bytes, false for none any more, nil for no change. Pushes it.
** True when it changes. */
static bool get_retry (lua_State *L, const char **code, size_t *length) {
  *code = NULL;
  *length = 0;
  lua_getfield(L, 2, "retry_code");
  if (lua_type(L, -1) == LUA_TSTRING) *code = lua_tolstring(L, -1, length);
  return !lua_isnil(L, -1);
}

/* What may raise or lack memory comes first, then all of it or nothing. */
static int consumer_configure (lua_State *L) {
  strand_failure failure;
  strand_limits limits, changes;
  strand_text *retry;
  const char *code;
  size_t length;
  bool has_retry;
  strand_consumer_object *self = strand_check_consumer(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  if (self == NULL) return strand_push_forked(L);
  limits = self->limits;
  strand_read_limits(L, 2, &limits);
  changes = limits;
  lua_getfield(L, 2, "workers");
  if (lua_isnil(L, -1)) changes.workers = 0;
  has_retry = get_retry(L, &code, &length);
  if (!strand_text_copy(&retry, code, length)) return push_no_memory(L);
  if (!strand_consumer_configure(self->kafka, &changes, &failure)) {
    strand_text_release(retry);
    return strand_push_failure(L, &failure);
  }
  self->limits = limits;
  if (has_retry) strand_sources_set_retry(self->sources, retry);
  lua_pushboolean(L, 1);
  return 1;
}

static const luaL_Reg methods[] = {
  { "state", consumer_state },
  { "local_open", consumer_local_open },
  { "start_begin", consumer_start_begin },
  { "start_done", consumer_start_done },
  { "joined", consumer_joined },
  { "fd", consumer_fd },
  { "next_event", consumer_next_event },
  { "next_log", consumer_next_log },
  { "keep", consumer_keep },
  { "oauth_needed", consumer_oauth_needed },
  { "oauth_answering", consumer_oauth_answering },
  { "oauth_set", consumer_oauth_set },
  { "oauth_fail", consumer_oauth_fail },
  { "ending", consumer_ending },
  { "ending_told", consumer_ending_reported },
  { "close_begin", consumer_close_begin },
  { "close_wait", consumer_close_wait },
  { "report", consumer_report },
  { "assignment", consumer_assignment },
  { "stats", consumer_stats },
  { "blockers", consumer_blockers },
  { "health", consumer_health },
  { "pause", consumer_pause },
  { "resume", consumer_resume },
  { "configure", consumer_configure },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", consumer_gc },
  { "__tostring", consumer_tostring },
  { NULL, NULL },
};

void strand_open_consumer (lua_State *L) {
  strand_newtype(L, STRAND_CONSUMER_TYPE, methods, metamethods);
  strand_open_consumer_requests(L);
  lua_pushcfunction(L, consumer_open);
  lua_setfield(L, -2, "consumer");
}
