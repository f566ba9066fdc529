/*
** producer_results.c - see producer_results.h
*/
#include "lua/producer_results.h"

#include "lua/fields.h"

void strand_push_delivery (lua_State *L, const strand_delivery *delivery) {
  lua_createtable(L, 0, 8);
  strand_set_text(L, "topic", delivery->topic);
  strand_set_optional(L, "partition", delivery->partition);
  strand_set_optional(L, "offset", delivery->offset);
  if (delivery->timestamp_ms >= 0)
    strand_set_number(L, "timestamp", (double)delivery->timestamp_ms / 1000);
  if (delivery->key != NULL)
    strand_set_bytes(L, "key", delivery->key, delivery->key_length);
  if (delivery->latency_us >= 0)
    strand_set_number(L, "latency", (double)delivery->latency_us / 1e6);
  if (delivery->code[0] == '\0') return;
  strand_set_boolean(L, "certain", delivery->certain);
  strand_set_text(L, "error", delivery->error);
  strand_set_text(L, "code", delivery->code);
}

void strand_push_producer_event (lua_State *L,
                                 const strand_producer_event *event) {
  lua_createtable(L, 0, 7);
  strand_set_text(L, "type", event->type);
  strand_set_number(L, "time", event->time);
  strand_set_text(L, "code", event->code);
  lua_pushstring(L, event->reason); /* also an empty one */
  lua_setfield(L, -2, "reason");
  strand_set_boolean(L, "fatal", event->fatal);
  if (event->topic[0] == '\0') return;
  strand_set_text(L, "topic", event->topic);
  strand_set_integer(L, "partition", event->partition);
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
