/*
** consumer.c - see consumer.h
*/
#include "lua/consumer.h"

#include <regex.h>
#include <stdlib.h>

#include "kafka/clock.h"
#include "kafka/consumer.h"
#include "kafka/fork.h"
#include "lua/compat.h"
#include "lua/finalizers.h"
#include "lua/handler.h"
#include "lua/settings.h"
#include "lua/tables.h"

#define CONSUMER "strand.core.Consumer"
#define TICKET "strand.core.Ticket"

/* What is being turned into Lua values stands here, because that may raise.
** An event or a line that was taken stays until it has been given: the next
** call gives it then. Of the rest the next call, or the end, frees it. */
typedef struct consumer {
  strand_consumer *kafka; /* NULL: could not be opened */
  strand_sources *sources;
  strand_limits limits; /* as configured last */
  unsigned members;
  int generation;
  strand_event event;
  strand_log_line line;
  bool has_event;
  bool has_line;
  strand_stats stats;
  strand_report report;
  strand_finalizers *finalizers; /* NULL: it is closed */
} consumer;

typedef struct ticket {
  strand_ticket *kafka; /* NULL: answered or dropped */
  bool lists;           /* the answer is a page of parked records */
  int generation;
} ticket;

static consumer *check_self (lua_State *L) {
  return luaL_checkudata(L, 1, CONSUMER);
}

static int is_forked (const consumer *self) {
  return self->generation != strand_fork_generation();
}

/* NULL in another process. */
static consumer *check_own (lua_State *L) {
  consumer *self = check_self(L);
  if (is_forked(self)) return NULL;
  if (self->kafka == NULL) luaL_error(L, "attempt to use a closed consumer");
  return self;
}

static int push_ok (lua_State *L, int ok, const strand_failure *failure) {
  if (!ok) return strand_push_failure(L, failure);
  lua_pushboolean(L, 1);
  return 1;
}

static int push_no_memory (lua_State *L) {
  strand_failure failure;
  strand_fail(&failure, "NO_MEMORY", "not enough memory");
  return strand_push_failure(L, &failure);
}

/* ---- life ---------------------------------------------------------------- */

static int consumer_open (lua_State *L) {
  strand_consumer_config config;
  strand_failure failure;
  consumer *self;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  self = strand_newuserdata(L, sizeof(*self));
  memset(self, 0, sizeof(*self));
  self->generation = strand_fork_generation();
  strand_settype(L, CONSUMER);
  self->finalizers = strand_finalizers_join(L);
  strand_read_settings(L, 1, &config, &self->sources);
  self->limits = config.limits;
  self->members = config.members;
  config.handler = strand_handler_of(L, self->sources);
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
  const consumer *self = check_self(L);
  if (is_forked(self)) lua_pushliteral(L, "forked");
  else if (self->kafka == NULL) lua_pushliteral(L, "closed");
  else lua_pushstring(L, strand_consumer_state(self->kafka));
  return 1;
}

static int consumer_start (lua_State *L) {
  strand_failure failure;
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  return push_ok(L, strand_consumer_start(self->kafka, &failure), &failure);
}

static int consumer_joined (lua_State *L) {
  strand_failure failure;
  consumer *self = check_own(L);
  int joined;
  if (self == NULL) return strand_push_forked(L);
  joined = strand_consumer_take_joined(self->kafka, &failure);
  if (joined < 0) return strand_push_failure(L, &failure);
  lua_pushboolean(L, joined);
  return 1;
}

static int consumer_fd (lua_State *L) {
  consumer *self = check_own(L);
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
  consumer *self = check_own(L);
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

static int consumer_ending_told (lua_State *L) {
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_ending_told(self->kafka);
  return 0;
}

static int consumer_close_begin (lua_State *L) {
  consumer *self = check_own(L);
  int mode = luaL_checkoption(L, 2, NULL, modes);
  double timeout = strand_opt_seconds(L, 3, 30);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_close_begin(self->kafka, (strand_close_mode)mode, timeout);
  return 0;
}

static int push_report (lua_State *L, consumer *self) {
  strand_report_clear(&self->report);
  if (!strand_consumer_report(self->kafka, &self->report))
    return push_no_memory(L);
  strand_push_report(L, &self->report);
  return 1;
}

static int consumer_close_wait (lua_State *L) {
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
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
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  return push_report(L, self);
}

static int consumer_gc (lua_State *L) {
  consumer *self = check_self(L);
  strand_consumer *kafka = self->kafka;
  strand_sources *sources = self->sources;
  strand_finalizers *f = self->finalizers;
  if (is_forked(self)) return 0;
  self->kafka = NULL;
  self->sources = NULL;
  strand_event_clear(&self->event);
  strand_stats_clear(&self->stats);
  strand_report_clear(&self->report);
  if (kafka != NULL && f != NULL) {
    strand_consumer_discard(kafka,
                            strand_finalizers_begin(f, strand_clock_now()));
    strand_finalizers_end(f, strand_clock_now());
  }
  else if (kafka != NULL) strand_consumer_discard(kafka, 0);
  strand_finalizers_leave(&self->finalizers);
  strand_sources_release(sources);
  return 0;
}

static int consumer_tostring (lua_State *L) {
  lua_pushfstring(L, CONSUMER " (%p)", (void *)check_self(L));
  return 1;
}

/* ---- what is taken ------------------------------------------------------- */

static void tell_held (const consumer *self) {
  strand_consumer_hold(self->kafka, self->has_event || self->has_line);
}

static int consumer_next_event (lua_State *L) {
  consumer *self = check_own(L);
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
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  if (!self->has_line)
    self->has_line = strand_consumer_next_log(self->kafka, &self->line);
  tell_held(self);
  if (!self->has_line) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushinteger(L, self->line.level);
  lua_pushstring(L, self->line.facility);
  lua_pushstring(L, self->line.text);
  self->has_line = false;
  tell_held(self);
  return 3;
}

static int consumer_keep (lua_State *L) {
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_keep(self->kafka, lua_toboolean(L, 2));
  return 0;
}

static int consumer_oauth_needed (lua_State *L) {
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  lua_pushboolean(L, strand_consumer_oauth_needed(self->kafka));
  return 1;
}

static int consumer_oauth_set (lua_State *L) {
  strand_failure failure;
  consumer *self = check_own(L);
  const strand_token token = strand_check_token(L);
  if (self == NULL) return strand_push_forked(L);
  return push_ok(L,
                 strand_consumer_oauth_set(self->kafka, token.value,
                                           token.expires_ms, token.principal,
                                           &failure),
                 &failure);
}

static int consumer_oauth_fail (lua_State *L) {
  consumer *self = check_own(L);
  const char *message = luaL_checkstring(L, 2);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_oauth_fail(self->kafka, message);
  return 0;
}

/* ---- tickets ------------------------------------------------------------- */

/* Pushed before there is anything to own. */
static ticket *push_ticket (lua_State *L) {
  ticket *t = strand_newuserdata(L, sizeof(*t));
  t->kafka = NULL;
  t->lists = false;
  t->generation = strand_fork_generation();
  strand_settype(L, TICKET);
  return t;
}

static int push_made (lua_State *L, const ticket *t,
                      const strand_failure *failure) {
  return t->kafka != NULL ? 1 : strand_push_failure(L, failure);
}

static void drop (ticket *t) {
  strand_ticket *kafka = t->kafka;
  t->kafka = NULL;
  if (kafka != NULL && t->generation == strand_fork_generation())
    strand_consumer_drop(kafka);
}

static int consumer_commit_begin (lua_State *L) {
  strand_failure failure;
  consumer *self = check_own(L);
  ticket *t;
  if (self == NULL) return strand_push_forked(L);
  t = push_ticket(L);
  t->kafka = strand_consumer_commit(self->kafka, &failure);
  return push_made(L, t, &failure);
}

static int64_t check_place (lua_State *L, strand_seek_kind kind) {
  switch (kind) {
    case STRAND_SEEK_OFFSET: return strand_check_int64(L, 5);
    case STRAND_SEEK_TIME: return strand_check_millis(L, 5);
    default: return 0;
  }
}

static int32_t check_partition (lua_State *L, int index) {
  int64_t partition = strand_check_int64(L, index);
  luaL_argcheck(L, partition >= 0 && partition <= INT32_MAX, index,
                "number of a partition expected");
  return (int32_t)partition;
}

static int consumer_seek_begin (lua_State *L) {
  static const char *const kinds[] = { "offset", "time", "earliest", "latest",
                                       NULL };
  strand_failure failure;
  consumer *self = check_own(L);
  const char *topic = strand_check_text(L, 2);
  int32_t partition = check_partition(L, 3);
  strand_seek_kind kind = (strand_seek_kind)luaL_checkoption(L, 4, NULL,
                                                             kinds);
  int64_t value = check_place(L, kind);
  ticket *t;
  if (self == NULL) return strand_push_forked(L);
  t = push_ticket(L);
  t->kafka = strand_consumer_seek(self->kafka, topic, partition, kind, value,
                                  &failure);
  return push_made(L, t, &failure);
}

static int consumer_parked_begin (lua_State *L) {
  strand_failure failure;
  consumer *self = check_own(L);
  int64_t member = strand_check_int64(L, 2);
  const char *topic = strand_check_text(L, 3);
  int32_t partition = check_partition(L, 4);
  int64_t offset = strand_check_int64(L, 5);
  ticket *t;
  if (self == NULL) return strand_push_forked(L);
  luaL_argcheck(L, member >= 0 && member < self->members, 2,
                "number of a member expected");
  t = push_ticket(L);
  t->lists = true;
  t->kafka = strand_consumer_parked(self->kafka, (unsigned)member, topic,
                                    partition, offset, &failure);
  return push_made(L, t, &failure);
}

static int consumer_resolve_begin (lua_State *L) {
  static const char *const what[] = { "retry", "discard", "dead_letter",
                                      NULL };
  static const strand_resolution resolutions[] = {
    STRAND_RESOLVE_RETRY, STRAND_RESOLVE_DISCARD, STRAND_RESOLVE_DEAD_LETTER
  };
  strand_failure failure;
  consumer *self = check_own(L);
  const char *topic = strand_check_text(L, 2);
  int32_t partition = check_partition(L, 3);
  int64_t offset = strand_check_int64(L, 4);
  int resolution = luaL_checkoption(L, 5, NULL, what);
  ticket *t;
  if (self == NULL) return strand_push_forked(L);
  t = push_ticket(L);
  t->kafka = strand_consumer_resolve(self->kafka, topic, partition, offset,
                                     resolutions[resolution], &failure);
  return push_made(L, t, &failure);
}

/* Pushing the answer may raise: so the ticket is dropped after that. */
static int consumer_done (lua_State *L) {
  strand_failure failure;
  consumer *self = check_own(L);
  ticket *t = luaL_checkudata(L, 2, TICKET);
  int done;
  if (self == NULL) return strand_push_forked(L);
  if (t->kafka == NULL) return luaL_error(L, "this request has ended");
  done = strand_ticket_done(t->kafka, &failure);
  if (done > 0 && t->lists)
    strand_push_parked(L, strand_ticket_parked(t->kafka));
  else if (done >= 0) lua_pushboolean(L, done);
  else strand_push_failure(L, &failure);
  if (done != 0) drop(t);
  return done < 0 ? 3 : 1;
}

static int consumer_drop (lua_State *L) {
  ticket *t = luaL_checkudata(L, 2, TICKET);
  if (check_own(L) == NULL) return strand_push_forked(L);
  drop(t);
  return 0;
}

static int ticket_gc (lua_State *L) {
  drop(luaL_checkudata(L, 1, TICKET));
  return 0;
}

/* ---- questions ----------------------------------------------------------- */

static int read_stats (consumer *self, size_t blockers) {
  strand_stats_clear(&self->stats);
  return strand_consumer_stats(self->kafka, blockers, &self->stats);
}

static int consumer_stats (lua_State *L) {
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  if (!read_stats(self, 0)) return push_no_memory(L);
  strand_push_stats(L, &self->stats);
  return 1;
}

static int consumer_assignment (lua_State *L) {
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  if (!read_stats(self, 0)) return push_no_memory(L);
  strand_push_assignment(L, &self->stats);
  return 1;
}

static int consumer_blockers (lua_State *L) {
  consumer *self = check_own(L);
  int64_t n = strand_check_int64(L, 2);
  luaL_argcheck(L, n >= 0 && n <= 100000, 2, "0 to 100000 expected");
  if (self == NULL) return strand_push_forked(L);
  if (!read_stats(self, (size_t)n)) return push_no_memory(L);
  strand_push_blockers(L, &self->stats);
  return 1;
}

static int consumer_health (lua_State *L) {
  strand_failure problem = { "", "" };
  consumer *self = check_own(L);
  if (self == NULL) return strand_push_forked(L);
  strand_consumer_health(self->kafka, &problem);
  return push_ok(L, problem.code[0] == '\0', &problem);
}

/* ---- commands ------------------------------------------------------------ */

static int set_paused (lua_State *L, bool paused) {
  strand_failure failure;
  consumer *self = check_own(L);
  const char *topic = lua_isnoneornil(L, 2) ? NULL : strand_check_text(L, 2);
  int32_t partition = lua_isnoneornil(L, 3) ? -1 : check_partition(L, 3);
  if (self == NULL) return strand_push_forked(L);
  return push_ok(
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
  consumer *self = check_own(L);
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
    free(retry);
    return strand_push_failure(L, &failure);
  }
  self->limits = limits;
  if (has_retry) strand_sources_set_retry(self->sources, retry);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- patterns ------------------------------------------------------------ */

static int core_matches (lua_State *L) {
  regex_t regex;
  const char *pattern = strand_check_text(L, 1);
  const char *topic = strand_check_text(L, 2);
  int status = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
  if (status == REG_ESPACE) return luaL_error(L, "not enough memory");
  if (status != 0) {
    char problem[128];
    regerror(status, &regex, problem, sizeof(problem));
    return luaL_error(L, "pattern '%s': %s", pattern, problem);
  }
  status = regexec(&regex, topic, 0, NULL, 0);
  regfree(&regex);
  if (status == REG_ESPACE) return luaL_error(L, "not enough memory");
  lua_pushboolean(L, status == 0);
  return 1;
}

static const luaL_Reg methods[] = {
  { "state", consumer_state },
  { "start", consumer_start },
  { "joined", consumer_joined },
  { "fd", consumer_fd },
  { "next_event", consumer_next_event },
  { "next_log", consumer_next_log },
  { "keep", consumer_keep },
  { "oauth_needed", consumer_oauth_needed },
  { "oauth_set", consumer_oauth_set },
  { "oauth_fail", consumer_oauth_fail },
  { "ending", consumer_ending },
  { "ending_told", consumer_ending_told },
  { "close_begin", consumer_close_begin },
  { "close_wait", consumer_close_wait },
  { "report", consumer_report },
  { "commit_begin", consumer_commit_begin },
  { "commit_done", consumer_done },
  { "seek_begin", consumer_seek_begin },
  { "seek_done", consumer_done },
  { "parked_begin", consumer_parked_begin },
  { "parked_done", consumer_done },
  { "resolve_begin", consumer_resolve_begin },
  { "resolve_done", consumer_done },
  { "drop", consumer_drop },
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

static const luaL_Reg no_methods[] = {
  { NULL, NULL },
};

static const luaL_Reg ticket_metamethods[] = {
  { "__gc", ticket_gc },
  { NULL, NULL },
};

void strand_open_consumer (lua_State *L) {
  strand_newtype(L, CONSUMER, methods, metamethods);
  strand_newtype(L, TICKET, no_methods, ticket_metamethods);
  lua_pushcfunction(L, consumer_open);
  lua_setfield(L, -2, "consumer");
  lua_pushcfunction(L, core_matches);
  lua_setfield(L, -2, "matches");
}
