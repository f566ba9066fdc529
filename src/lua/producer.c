/*
** producer.c - see producer.h
*/
#include "lua/producer.h"

#include <stdbool.h>
#include <stdlib.h>

#include "kafka/clock.h"
#include "kafka/fork.h"
#include "kafka/producer.h"
#include "lua/compat.h"
#include "lua/finalizers.h"
#include "lua/handler.h"
#include "lua/properties.h"

#define PRODUCER "strand.core.Producer"

#define TOPICS_TIMEOUT 2.0 /* seconds */
#define CLOSE_TIMEOUT 1.0

/* Turning what was taken into Lua values may raise: so it stands here until it
** has been given, and the next call gives it then. */
typedef struct producer {
  strand_producer *kafka;   /* NULL: could not be opened */
  strand_delivery *current; /* NULL: none */
  strand_producer_event event;
  strand_log_line line;
  double opened; /* by strand_clock_now */
  bool has_event;
  bool has_line;
  int generation;
  strand_finalizers *finalizers; /* NULL: it is closed */
} producer;

static producer *check_self (lua_State *L) {
  return luaL_checkudata(L, 1, PRODUCER);
}

static int is_forked (const producer *self) {
  return self->generation != strand_fork_generation();
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

static void set_int64 (lua_State *L, const char *name, int64_t n) {
  strand_push_int64(L, n);
  lua_setfield(L, -2, name);
}

static void push_report (lua_State *L, const strand_delivery *report) {
  lua_createtable(L, 0, 7);
  lua_pushstring(L, report->topic);
  lua_setfield(L, -2, "topic");
  if (report->partition >= 0) set_int64(L, "partition", report->partition);
  if (report->offset >= 0) set_int64(L, "offset", report->offset);
  if (report->timestamp_ms >= 0) {
    lua_pushnumber(L, (lua_Number)report->timestamp_ms / 1000);
    lua_setfield(L, -2, "timestamp");
  }
  if (report->key != NULL) {
    lua_pushlstring(L, report->key, report->key_length);
    lua_setfield(L, -2, "key");
  }
  if (report->code[0] == '\0') return;
  lua_pushstring(L, report->error);
  lua_setfield(L, -2, "error");
  lua_pushstring(L, report->code);
  lua_setfield(L, -2, "code");
}

/* ---- sending ------------------------------------------------------------- */

/* NULL for nil; numbers are written as Lua writes them. The string stays on
** the stack, at the argument's place. */
static const void *opt_bytes (lua_State *L, int index, size_t *length) {
  *length = 0;
  if (lua_isnoneornil(L, index)) return NULL;
  return luaL_checklstring(L, index, length);
}

static int64_t opt_timestamp (lua_State *L, int index) {
  double ms;
  if (lua_isnoneornil(L, index)) return 0;
  ms = (double)luaL_checknumber(L, index) * 1000;
  luaL_argcheck(
    L, ms >= 0.5 && ms <= (double)STRAND_INT_MAX, index,
    "a time of at least 0.001 expected"); /* 0 is librdkafka's now */
  return (int64_t)(ms + 0.5);
}

static int32_t opt_partition (lua_State *L, int index) {
  int64_t partition;
  if (lua_isnoneornil(L, index)) return -1;
  partition = strand_check_int64(L, index);
  luaL_argcheck(L, partition >= 0 && partition <= INT32_MAX, index,
                "a partition from 0 to 2147483647 expected");
  return (int32_t)partition;
}

static const char *header_string (lua_State *L, int list, size_t i,
                                  size_t *length) {
  const char *text;
  lua_rawgeti(L, list, (int)i);
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_argerror(L, list, "strings expected in headers");
  text = lua_tolstring(L, -1, length);
  lua_pop(L, 1); /* the list still holds it */
  return text;
}

/* { name, value or false, name, ... }. Pushes what owns the array. */
static const strand_outgoing_header *push_headers (lua_State *L, int list,
                                                   size_t *count) {
  strand_outgoing_header *headers;
  size_t i;
  *count = 0;
  if (lua_isnoneornil(L, list)) return NULL;
  luaL_checktype(L, list, LUA_TTABLE);
  *count = strand_rawlen(L, list) / 2;
  headers = strand_newuserdata(L, (*count + 1) * sizeof(*headers));
  for (i = 0; i < *count; i++) {
    strand_outgoing_header *h = &headers[i];
    h->name = header_string(L, list, 2 * i + 1, &h->name_length);
    h->value = NULL;
    h->value_length = 0;
    lua_rawgeti(L, list, (int)(2 * i + 2));
    if (lua_toboolean(L, -1))
      h->value = header_string(L, list, 2 * i + 2, &h->value_length);
    lua_pop(L, 1);
  }
  return headers;
}

static void read_record (lua_State *L, strand_outgoing *record) {
  record->topic = strand_check_text(L, 2);
  record->key = opt_bytes(L, 3, &record->key_length);
  record->value = opt_bytes(L, 4, &record->value_length);
  record->timestamp_ms = opt_timestamp(L, 6);
  record->partition = opt_partition(L, 7);
  record->hash_key = opt_bytes(L, 8, &record->hash_key_length);
  record->headers = push_headers(L, 5, &record->header_count);
}

/* send(topic, key, value, headers, timestamp, partition, hash_key, watch) */
static int producer_send (lua_State *L) {
  strand_outgoing record;
  strand_failure failure;
  int64_t id = 0;
  int watch;
  if (is_forked(check_self(L))) return strand_push_forked(L);
  lua_settop(L, 9);
  watch = lua_toboolean(L, 9);
  read_record(L, &record);
  if (!strand_producer_send(check_open(L), &record, watch ? &id : NULL,
                            &failure))
    return strand_push_failure(L, &failure);
  if (watch) strand_push_int64(L, id);
  else lua_pushboolean(L, 1);
  return 1;
}

static int producer_partitions (lua_State *L) {
  strand_failure failure;
  const char *topic = strand_check_text(L, 2);
  int32_t count;
  if (is_forked(check_self(L))) return strand_push_forked(L);
  count = strand_producer_ask_partitions(check_open(L), topic, &failure);
  if (count == 0) return strand_push_failure(L, &failure);
  lua_pushinteger(L, count);
  return 1;
}

/* ---- taking -------------------------------------------------------------- */

static int push_lost (lua_State *L, int found) {
  lua_pushnil(L);
  if (found == -1) {
    lua_pushliteral(L, "no record of this producer is waited for by that id");
    lua_pushliteral(L, "UNKNOWN");
  }
  else {
    lua_pushliteral(L, "the producer was closed before the record's report "
                       "came: it may have been delivered");
    lua_pushliteral(L, "CLOSED");
  }
  return 3;
}

static int push_watched (lua_State *L, const strand_delivery *report) {
  if (report->code[0] == '\0') {
    push_report(L, report);
    return 1;
  }
  lua_pushnil(L);
  lua_pushfstring(L, "topic '%s': %s", report->topic, report->error);
  lua_pushstring(L, report->code);
  return 3;
}

/* Pushing the report may raise: so it is dropped after that. */
static int producer_take_watched (lua_State *L) {
  int64_t id = strand_check_int64(L, 2);
  const strand_delivery *report = NULL;
  int found, results;
  if (is_forked(check_self(L))) return strand_push_forked(L);
  found = strand_producer_look_pending(check_kafka(L), id, &report);
  if (found == 0) {
    lua_pushboolean(L, 0);
    return 1;
  }
  results = found < 0 ? push_lost(L, found) : push_watched(L, report);
  strand_producer_drop_pending(check_kafka(L), id);
  return results;
}

static int producer_drop_watched (lua_State *L) {
  int64_t id = strand_check_int64(L, 2);
  if (is_forked(check_self(L))) return strand_push_forked(L);
  strand_producer_drop_pending(check_kafka(L), id);
  return 0;
}

static int producer_next_delivery (lua_State *L) {
  producer *self = check_self(L);
  if (is_forked(self)) return strand_push_forked(L);
  if (self->current == NULL)
    self->current = strand_producer_next_delivery(check_kafka(L));
  if (self->current == NULL) return 0;
  tell_held(self);
  push_report(L, self->current);
  free(self->current);
  self->current = NULL;
  tell_held(self);
  return 1;
}

static void push_event (lua_State *L, const strand_producer_event *event) {
  lua_createtable(L, 0, 7);
  lua_pushstring(L, event->type);
  lua_setfield(L, -2, "type");
  lua_pushnumber(L, (lua_Number)event->time);
  lua_setfield(L, -2, "time");
  lua_pushstring(L, event->code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, event->reason);
  lua_setfield(L, -2, "reason");
  lua_pushboolean(L, event->fatal);
  lua_setfield(L, -2, "fatal");
  if (event->topic[0] == '\0') return;
  lua_pushstring(L, event->topic);
  lua_setfield(L, -2, "topic");
  set_int64(L, "partition", event->partition);
}

static int producer_next_event (lua_State *L) {
  producer *self = check_self(L);
  if (is_forked(self)) return strand_push_forked(L);
  if (!self->has_event)
    self->has_event = strand_producer_next_event(check_kafka(L), &self->event);
  if (!self->has_event) return 0;
  tell_held(self);
  push_event(L, &self->event);
  self->has_event = false;
  tell_held(self);
  return 1;
}

static int producer_next_log (lua_State *L) {
  producer *self = check_self(L);
  if (is_forked(self)) return strand_push_forked(L);
  if (!self->has_line)
    self->has_line = strand_producer_next_log(check_kafka(L), &self->line);
  if (!self->has_line) return 0;
  tell_held(self);
  lua_pushinteger(L, self->line.level);
  lua_pushstring(L, self->line.facility);
  lua_pushstring(L, self->line.text);
  self->has_line = false;
  tell_held(self);
  return 3;
}

static int producer_keep (lua_State *L) {
  if (is_forked(check_self(L))) return strand_push_forked(L);
  strand_producer_keep(check_kafka(L), lua_toboolean(L, 2));
  return 0;
}

/* ---- tokens -------------------------------------------------------------- */

static int producer_oauth_needed (lua_State *L) {
  if (is_forked(check_self(L))) return strand_push_forked(L);
  lua_pushboolean(L, strand_producer_look_oauth(check_kafka(L)));
  return 1;
}

static int producer_oauth_set (lua_State *L) {
  strand_failure failure;
  const strand_token token = strand_check_token(L);
  if (is_forked(check_self(L))) return strand_push_forked(L);
  if (!strand_producer_oauth_set(check_kafka(L), token.value, token.expires_ms,
                                 token.principal, &failure))
    return strand_push_failure(L, &failure);
  lua_pushboolean(L, 1);
  return 1;
}

static int producer_oauth_fail (lua_State *L) {
  const char *message = luaL_checkstring(L, 2);
  if (is_forked(check_self(L))) return strand_push_forked(L);
  strand_producer_oauth_fail(check_kafka(L), message);
  return 0;
}

static int producer_await_topics (lua_State *L) {
  if (is_forked(check_self(L))) return strand_push_forked(L);
  strand_producer_await_topics(check_open(L), TOPICS_TIMEOUT);
  return 0;
}

/* ---- state, flushing, closing -------------------------------------------- */

static int producer_state (lua_State *L) {
  producer *self = check_self(L);
  return strand_push_state(L, is_forked(self),
                           self->kafka == NULL
                             || strand_producer_is_closed(self->kafka));
}

static int producer_fd (lua_State *L) {
  int fd;
  if (is_forked(check_self(L))) return strand_push_forked(L);
  fd = strand_producer_fd(check_kafka(L));
  if (fd < 0) return 0;
  lua_pushinteger(L, fd);
  return 1;
}

static int producer_outstanding (lua_State *L) {
  if (is_forked(check_self(L))) return strand_push_forked(L);
  strand_push_int64(L, strand_producer_outstanding(check_kafka(L)));
  return 1;
}

static int producer_flush_begin (lua_State *L) {
  if (is_forked(check_self(L))) return strand_push_forked(L);
  strand_producer_flush_begin(check_open(L));
  return 0;
}

static int producer_hurry (lua_State *L) {
  if (is_forked(check_self(L))) return strand_push_forked(L);
  strand_producer_hurry(check_kafka(L), lua_toboolean(L, 2));
  return 0;
}

static int producer_stats (lua_State *L) {
  strand_producer_counts counts;
  if (is_forked(check_self(L))) return strand_push_forked(L);
  strand_producer_refresh_counts(check_kafka(L), &counts);
  lua_createtable(L, 0, 10);
  set_int64(L, "sent", counts.records.sent);
  set_int64(L, "delivered", counts.records.delivered);
  set_int64(L, "failed", counts.records.failed);
  set_int64(L, "purged", counts.records.purged);
  set_int64(L, "outstanding", counts.records.outstanding);
  set_int64(L, "undelivered_reports", counts.records.untaken);
  set_int64(L, "events_dropped", counts.events_dropped);
  set_int64(L, "log_dropped", counts.log_dropped);
  set_int64(L, "max_queued_records", counts.max_queued_records);
  set_int64(L, "max_queued_bytes", counts.max_queued_bytes);
  return 1;
}

static void push_close_report (lua_State *L, strand_producer *kafka,
                               double seconds) {
  strand_producer_counts counts;
  strand_producer_refresh_counts(kafka, &counts);
  lua_createtable(L, 0, 6);
  set_int64(L, "sent", counts.records.sent);
  set_int64(L, "delivered", counts.records.delivered);
  set_int64(L, "failed", counts.records.failed);
  /* What even purging gave no report for was not delivered either. */
  set_int64(L, "purged", counts.records.purged + counts.records.outstanding);
  lua_pushnumber(L, (lua_Number)seconds);
  lua_setfield(L, -2, "seconds");
  lua_pushboolean(L, counts.detached);
  lua_setfield(L, -2, "detached");
}

static int producer_close (lua_State *L) {
  producer *self = check_self(L);
  double timeout = strand_opt_seconds(L, 2, CLOSE_TIMEOUT);
  if (is_forked(self)) return strand_push_forked(L);
  strand_producer_close(check_kafka(L), timeout);
  strand_finalizers_leave(&self->finalizers);
  push_close_report(L, self->kafka, strand_clock_now() - self->opened);
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
  if (kafka == NULL || is_forked(self)) return 0;
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
  free(self->current);
  self->current = NULL;
  return 0;
}

/* ---- opening ------------------------------------------------------------- */

/* A list of strings in the field. Pushes what owns the array. */
static const char *const *push_texts (lua_State *L, int table,
                                      const char *name, size_t *count) {
  const char **texts;
  int list;
  size_t i;
  lua_getfield(L, table, name);
  list = lua_gettop(L);
  *count = lua_istable(L, list) ? strand_rawlen(L, list) : 0;
  texts = strand_newuserdata(L, (*count + 1) * sizeof(*texts));
  for (i = 0; i < *count; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "option '%s': strings expected", name);
    texts[i] = strand_check_text(L, lua_gettop(L));
    lua_pop(L, 1); /* the list still holds it */
  }
  lua_remove(L, list);
  return texts;
}

static void read_options (lua_State *L, strand_producer_options *options) {
  memset(options, 0, sizeof(*options));
  options->props = strand_push_properties(L, 1, "kafka", &options->prop_count);
  options->topics = push_texts(L, 1, "topics", &options->topic_count);
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
  { "take_watched", producer_take_watched },
  { "drop_watched", producer_drop_watched },
  { "partitions", producer_partitions },
  { "next_delivery", producer_next_delivery },
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
  { "close", producer_close },
  { "stats", producer_stats },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", producer_gc },
  { "__close", producer_gc },
  { NULL, NULL },
};

void strand_open_producer (lua_State *L) {
  strand_newtype(L, PRODUCER, methods, metamethods);
  lua_pushcfunction(L, producer_open);
  lua_setfield(L, -2, "producer");
}
