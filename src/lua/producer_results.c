/*
** producer_results.c - see producer_results.h
*/
#include "lua/producer_results.h"

#include "lua/fields.h"

enum { TOPIC = 1, PARTITION, OFFSET, TIMESTAMP, KEY, LATENCY, CERTAIN };
enum { ERROR = CERTAIN + 1, CODE };

void strand_push_delivery_names (lua_State *L) {
  static const char *const names[STRAND_DELIVERY_NAMES] = {
    [TOPIC - 1] = "topic",     [PARTITION - 1] = "partition",
    [OFFSET - 1] = "offset",   [TIMESTAMP - 1] = "timestamp",
    [KEY - 1] = "key",         [LATENCY - 1] = "latency",
    [CERTAIN - 1] = "certain", [ERROR - 1] = "error",
    [CODE - 1] = "code",
  };
  luaL_checkstack(L, STRAND_DELIVERY_NAMES, "too many names");
  for (int i = 0; i < STRAND_DELIVERY_NAMES; i++) lua_pushstring(L, names[i]);
}

static void push_name (lua_State *L, int name) {
  lua_pushvalue(L, lua_upvalueindex(name));
}

static void set_number (lua_State *L, int name, double n) {
  push_name(L, name);
  lua_pushnumber(L, (lua_Number)n);
  lua_rawset(L, -3);
}

/* Negative: absent. */
static void set_optional (lua_State *L, int name, int64_t n) {
  if (n < 0) return;
  push_name(L, name);
  strand_push_int64(L, n);
  lua_rawset(L, -3);
}

static void set_text (lua_State *L, int name, const char *text) {
  push_name(L, name);
  lua_pushstring(L, text);
  lua_rawset(L, -3);
}

static void set_failure (lua_State *L, const strand_delivery *delivery) {
  push_name(L, CERTAIN);
  lua_pushboolean(L, delivery->certain);
  lua_rawset(L, -3);
  set_text(L, ERROR, delivery->error);
  set_text(L, CODE, delivery->code);
}

void strand_push_delivery (lua_State *L, const strand_delivery *delivery) {
  lua_createtable(L, 0, 8);
  set_text(L, TOPIC, delivery->topic);
  set_optional(L, PARTITION, delivery->partition);
  set_optional(L, OFFSET, delivery->offset);
  if (delivery->timestamp_ms >= 0)
    set_number(L, TIMESTAMP, (double)delivery->timestamp_ms / 1000);
  if (delivery->key != NULL) {
    push_name(L, KEY);
    lua_pushlstring(L, delivery->key, delivery->key_length);
    lua_rawset(L, -3);
  }
  if (delivery->latency_us >= 0)
    set_number(L, LATENCY, (double)delivery->latency_us / 1e6);
  if (delivery->code[0] != '\0') set_failure(L, delivery);
}

void strand_push_producer_event (lua_State *L,
                                 const strand_producer_event *event) {
  lua_createtable(L, 0, 8);
  strand_set_text(L, "type", event->type);
  strand_set_number(L, "time", event->time);
  if (event->code[0] != '\0') strand_set_text(L, "code", event->code);
  lua_pushstring(L, event->reason); /* also an empty one */
  lua_setfield(L, -2, "reason");
  strand_set_boolean(L, "fatal", event->fatal);
  if (event->topic[0] == '\0') return;
  strand_set_text(L, "topic", event->topic);
  strand_set_optional(L, "partition", event->partition);
  if (event->partitions > 0)
    strand_set_integer(L, "partitions", event->partitions);
  if (event->limit > 0) strand_set_integer(L, "limit", event->limit);
}

void strand_push_producer_stats (lua_State *L,
                                 const strand_producer_counts *counts) {
  const strand_delivery_counts *records = &counts->records;
  lua_createtable(L, 0, 12);
  strand_set_integer(L, "sent", records->sent);
  strand_set_integer(L, "delivered", records->delivered);
  strand_set_integer(L, "failed", records->failed);
  strand_set_integer(L, "purged", records->purged);
  strand_set_integer(L, "outstanding", records->outstanding);
  strand_set_integer(L, "undelivered_reports", records->untaken);
  strand_set_integer(L, "overdue", records->overdue);
  strand_set_integer(L, "late", records->late);
  strand_set_integer(L, "events_dropped", counts->events_dropped);
  strand_set_integer(L, "log_dropped", counts->log_dropped);
  strand_set_integer(L, "max_queued_records", counts->max_queued_records);
  strand_set_integer(L, "max_queued_bytes", counts->max_queued_bytes);
}

void strand_push_producer_report (lua_State *L,
                                  const strand_producer_counts *counts,
                                  double seconds) {
  const strand_delivery_counts *records = &counts->records;
  lua_createtable(L, 0, 6);
  strand_set_integer(L, "sent", records->sent);
  strand_set_integer(L, "delivered", records->delivered);
  strand_set_integer(L, "failed", records->failed);
  /* What even purging gave no report for was not delivered either. */
  strand_set_integer(L, "purged", records->purged + records->outstanding);
  strand_set_number(L, "seconds", seconds);
  strand_set_boolean(L, "detached", counts->detached);
}
