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
#include "lua/outgoing.h"
#include "lua/plain_record.h"
#include "lua/producer_results.h"
#include "lua/properties.h"
#include "lua/worker/handler.h"
#include "producer/producer.h"

#define PRODUCER "strand.core.Producer"

#define TOPICS_TIMEOUT 2.0 /* seconds */
#define CLOSE_TIMEOUT 1.0

/* Turning what was taken into Lua values may raise: so it stands here until it
** has been given, and the next call gives it then. */
typedef struct producer {
  strand_producer *kafka;   /* NULL: could not be opened */
  strand_delivery *current; /* NULL: none */
  strand_delivery *last;    /* given, and maybe nobody waits for it */
  strand_producer_event event;
  strand_log_line line;
  double opened; /* by strand_clock_now */
  bool has_event;
  bool has_line;
  int generation;
  strand_plain_names names;
  strand_finalizers *finalizers; /* NULL: it is closed */
} producer;

static producer *check_self (lua_State *L) {
  return luaL_checkudata(L, 1, PRODUCER);
}

static strand_producer *check_kafka (lua_State *L) {
  producer *self = check_self(L);
  if (self->kafka == NULL) luaL_error(L, "attempt to use a closed producer");
  return self->kafka;
}

static strand_producer *check_open (lua_State *L) {
  strand_producer *kafka = check_kafka(L);
  if (strand_producer_is_closed(kafka))
    luaL_error(L, "attempt to use a closed producer");
  return kafka;
}

static void tell_held (const producer *self) {
  strand_producer_hold(self->kafka, self->current != NULL || self->has_event
                                      || self->has_line);
}

/*
** Sending
*/

/* send(topic, key, value, headers, timestamp, partition, hash_key, id,
** timeout) */
static int producer_send (lua_State *L) {
  strand_outgoing record;
  strand_failure failure;
  int64_t id;
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  lua_settop(L, 10);
  id = strand_read_outgoing(L, &record);
  return strand_push_done(
    L, strand_producer_send(check_open(L), &record, id, &failure), &failure);
}

/* The userdata of a producer of Lua's, the first argument, that is as it is
** nearly always: open, and asks no function of the user's where a record goes.
** Then it stands there as 'plain'. */
static producer *plain_self (lua_State *L) {
  producer *self;
  if (lua_type(L, 1) != LUA_TTABLE) return NULL;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_rawget(L, 1);
  self = lua_touserdata(L, -1);
  if (self == NULL || !lua_getmetatable(L, -1)) return NULL;
  if (!lua_rawequal(L, -1, lua_upvalueindex(2))) return NULL;
  lua_pop(L, 2); /* the table still holds it */
  if (strand_is_forked(self->generation) || self->kafka == NULL) return NULL;
  return strand_producer_is_closed(self->kafka) ? NULL : self;
}

static int push_not_plain (lua_State *L) {
  lua_pushboolean(L, 0);
  return 1;
}

/* send_plain(producer, record, id | nil) -> false, with nothing done:
** something is not plain; or as send */
static int send_plain (lua_State *L) {
  strand_plain_record plain;
  strand_failure failure;
  int64_t id = lua_isnoneornil(L, 3) ? 0 : strand_check_int64(L, 3);
  producer *self = plain_self(L);
  if (self == NULL || !strand_plain_record_read(L, 2, &self->names, &plain))
    return push_not_plain(L);
  return strand_push_done(
    L, strand_producer_send(self->kafka, &plain.record, id, &failure),
    &failure);
}

/* The record at this place in the list, the second argument. */
static bool read_item (lua_State *L, const producer *self, int place,
                       strand_plain_record *plain) {
  bool is_plain;
  lua_rawgeti(L, 2, place);
  is_plain = strand_plain_record_read(L, lua_gettop(L), &self->names, plain);
  lua_pop(L, 1); /* the list still holds it */
  return is_plain;
}

/* How many records the list has; -1: not all is plain. */
static int count_plain (lua_State *L, const producer *self) {
  strand_plain_record plain;
  size_t count;
  if (!strand_is_plain_list(L, 2, &count)) return -1;
  for (int i = 1; i <= (int)count; i++)
    if (!read_item(L, self, i, &plain)) return -1;
  return (int)count;
}

/* send_batch_plain(producer, list) -> false, with nothing done; or n; or n,
** message, code. What was plain once is so again: Lua is not entered. */
static int send_batch_plain (lua_State *L) {
  strand_plain_record plain;
  strand_failure failure;
  producer *self = plain_self(L);
  int count = self != NULL ? count_plain(L, self) : -1;
  int sent = 0;
  if (count < 0) return push_not_plain(L);
  while (sent < count && read_item(L, self, sent + 1, &plain)
         && strand_producer_send(self->kafka, &plain.record, 0, &failure))
    sent++;
  lua_pushinteger(L, sent);
  if (sent == count) return 1;
  lua_pushstring(L, failure.message);
  lua_pushstring(L, failure.code);
  return 3;
}

static int producer_partitions (lua_State *L) {
  strand_failure failure;
  const char *topic = strand_check_text(L, 2);
  int32_t count;
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  count = strand_producer_ask_partitions(check_open(L), topic, &failure);
  if (count == 0) return strand_push_failure(L, &failure);
  lua_pushinteger(L, count);
  return 1;
}

/*
** Taking
*/

static void drop (strand_delivery **report) {
  free(*report);
  *report = NULL;
}

/* -> report, id (of who waits for it; 0) | nothing */
static int producer_next_delivery (lua_State *L) {
  producer *self = check_self(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (self->current == NULL)
    self->current = strand_producer_next_delivery(check_kafka(L));
  if (self->current == NULL) return 0;
  tell_held(self);
  strand_push_delivery(L, self->current);
  strand_push_int64(L, self->current->id);
  drop(&self->last);
  self->last = self->current;
  self->current = NULL;
  tell_held(self);
  return 2;
}

/* That one: nobody waits for it any more. */
static int producer_unclaimed (lua_State *L) {
  producer *self = check_self(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (self->last != NULL) strand_producer_warn(check_kafka(L), self->last);
  drop(&self->last);
  return 0;
}

static int producer_next_event (lua_State *L) {
  producer *self = check_self(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (!self->has_event)
    self->has_event = strand_producer_next_event(check_kafka(L), &self->event);
  if (!self->has_event) return 0;
  tell_held(self);
  strand_push_producer_event(L, &self->event);
  self->has_event = false;
  tell_held(self);
  return 1;
}

static int producer_next_log (lua_State *L) {
  producer *self = check_self(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (!self->has_line)
    self->has_line = strand_producer_next_log(check_kafka(L), &self->line);
  if (!self->has_line) return 0;
  tell_held(self);
  strand_push_line(L, &self->line);
  self->has_line = false;
  tell_held(self);
  return 3;
}

static int producer_keep (lua_State *L) {
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  strand_producer_keep(check_kafka(L), lua_toboolean(L, 2));
  return 0;
}

/*
** Tokens
*/

static int producer_oauth_needed (lua_State *L) {
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  lua_pushboolean(L, strand_producer_poll_oauth(check_kafka(L)));
  return 1;
}

static int producer_oauth_set (lua_State *L) {
  strand_failure failure;
  const strand_token token = strand_check_token(L);
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  return strand_push_done(
    L,
    strand_producer_oauth_set(check_kafka(L), token.value, token.expires_ms,
                              token.principal, &failure),
    &failure);
}

static int producer_oauth_fail (lua_State *L) {
  const char *message = luaL_checkstring(L, 2);
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  strand_producer_oauth_fail(check_kafka(L), message);
  return 0;
}

static int producer_await_topics (lua_State *L) {
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  strand_producer_await_topics(check_open(L), TOPICS_TIMEOUT);
  return 0;
}

/*
** State, flushing, closing
*/

static int producer_state (lua_State *L) {
  producer *self = check_self(L);
  return strand_push_state(L, strand_is_forked(self->generation),
                           self->kafka == NULL
                             || strand_producer_is_closed(self->kafka));
}

static int producer_fd (lua_State *L) {
  int fd;
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  fd = strand_producer_fd(check_kafka(L));
  if (fd < 0) return 0;
  lua_pushinteger(L, fd);
  return 1;
}

static int producer_outstanding (lua_State *L) {
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  strand_push_int64(L, strand_producer_outstanding(check_kafka(L)));
  return 1;
}

static int producer_flush_begin (lua_State *L) {
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  strand_producer_flush_begin(check_open(L));
  return 0;
}

static int producer_hurry (lua_State *L) {
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  strand_producer_hurry(check_kafka(L), lua_toboolean(L, 2));
  return 0;
}

/* configure(max_queued_records | nil, max_queued_bytes | nil) */
static int producer_configure (lua_State *L) {
  int64_t records = lua_isnoneornil(L, 2) ? 0 : strand_check_int64(L, 2);
  int64_t bytes = lua_isnoneornil(L, 3) ? 0 : strand_check_int64(L, 3);
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  strand_producer_set_bounds(check_open(L), records, bytes);
  lua_pushboolean(L, 1);
  return 1;
}

static int producer_stats (lua_State *L) {
  strand_producer_counts counts;
  if (strand_is_forked(check_self(L)->generation))
    return strand_push_forked(L);
  strand_producer_refresh_counts(check_kafka(L), &counts);
  strand_push_producer_stats(L, &counts);
  return 1;
}

static int producer_close (lua_State *L) {
  strand_producer_counts counts;
  producer *self = check_self(L);
  double timeout = strand_opt_seconds(L, 2, CLOSE_TIMEOUT);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  strand_producer_close(check_kafka(L), timeout);
  strand_finalizers_leave(&self->finalizers);
  strand_producer_refresh_counts(self->kafka, &counts);
  strand_push_producer_report(L, &counts, strand_clock_now() - self->opened);
  return 1;
}

static int64_t undelivered (strand_producer *kafka) {
  strand_producer_counts counts;
  strand_producer_refresh_counts(kafka, &counts);
  return counts.records.purged + counts.records.outstanding;
}

static int producer_gc (lua_State *L) {
  producer *self = check_self(L);
  strand_producer *kafka = self->kafka;
  strand_finalizers *f = self->finalizers;
  if (kafka == NULL || strand_is_forked(self->generation)) return 0;
  self->kafka = NULL;
  if (f != NULL) {
    double share = strand_finalizers_begin(f, strand_clock_now());
    double patience = strand_finalizers_patience(f);
    f->hopeless = !strand_producer_discard(kafka, share, patience);
    strand_finalizers_end(f, strand_clock_now());
    strand_finalizers_say_lost(f, undelivered(kafka));
    strand_finalizers_leave(&self->finalizers);
  }
  strand_producer_free(kafka);
  drop(&self->current);
  drop(&self->last);
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
  options->reports_all = strand_field_boolean(L, 1, "has_on_delivery");
  options->keeps_log = strand_field_boolean(L, 1, "has_log");
}

static int producer_open (lua_State *L) {
  strand_producer_options options;
  strand_failure failure;
  producer *self;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  read_options(L, &options);
  self = strand_newuserdata(L, sizeof(*self));
  memset(self, 0, sizeof(*self));
  self->generation = strand_fork_generation();
  self->opened = strand_clock_now();
  strand_settype(L, PRODUCER);
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
  { "send", producer_send },
  { "partitions", producer_partitions },
  { "next_delivery", producer_next_delivery },
  { "unclaimed", producer_unclaimed },
  { "next_event", producer_next_event },
  { "next_log", producer_next_log },
  { "keep", producer_keep },
  { "oauth_needed", producer_oauth_needed },
  { "oauth_set", producer_oauth_set },
  { "oauth_fail", producer_oauth_fail },
  { "await_topics", producer_await_topics },
  { "outstanding", producer_outstanding },
  { "flush_begin", producer_flush_begin },
  { "hurry", producer_hurry },
  { "configure", producer_configure },
  { "close", producer_close },
  { "stats", producer_stats },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", producer_gc },
  { "__close", producer_gc },
  { NULL, NULL },
};

/* core.NAME, with what it knows a producer by. */
static void set_plain (lua_State *L, const char *name, lua_CFunction f) {
  lua_pushliteral(L, "plain");
  luaL_getmetatable(L, PRODUCER);
  lua_pushcclosure(L, f, 2);
  lua_setfield(L, -2, name);
}

void strand_open_producer (lua_State *L) {
  strand_newtype(L, PRODUCER, methods, metamethods);
  set_plain(L, "send_plain", send_plain);
  set_plain(L, "send_batch_plain", send_batch_plain);
  lua_pushcfunction(L, producer_open);
  lua_setfield(L, -2, "producer");
}
