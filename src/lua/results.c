/*
** results.c - see results.h
*/
#include "lua/results.h"

#include "lua/compat.h"
#include "lua/fields.h"
#include "lua/worker/record.h"

void strand_push_event (lua_State *L, const strand_event *event) {
  lua_createtable(L, 0, 8);
  strand_set_text(L, "type", event->type);
  strand_set_number(L, "time", event->time);
  strand_set_optional(L, "member", event->member);
  strand_set_text(L, "topic", event->topic);
  strand_set_optional(L, "partition", event->partition);
  strand_set_optional(L, "offset", event->offset);
  strand_set_optional(L, "to", event->to);
  strand_set_optional(L, "epoch", event->epoch);
  strand_set_optional(L, "attempt", event->attempt);
  if (event->delay >= 0) strand_set_number(L, "delay", event->delay);
  if (event->seconds >= 0) strand_set_number(L, "seconds", event->seconds);
  if (event->key != NULL)
    strand_set_bytes(L, "key", event->key, event->key_length);
  strand_set_text(L, "reason", event->reason);
  strand_set_text(L, "code", event->code);
}

/*
** Partitions
*/

static int64_t difference (int64_t upper, int64_t lower) {
  if (upper < 0 || lower < 0) return -1;
  return upper > lower ? upper - lower : 0;
}

/* Records that are not done: those that were read, and those behind. */
static int64_t true_lag (const strand_partition_snapshot *partition) {
  int64_t behind = difference(partition->end, partition->stats.position);
  return behind < 0 ? -1 : behind + (int64_t)partition->stats.open;
}

/* Pushes what assignment() says of a partition. */
static void push_assigned (lua_State *L,
                           const strand_partition_snapshot *partition) {
  const strand_partition_stats *p = &partition->stats;
  lua_createtable(L, 0, 32);
  strand_set_text(L, "topic", partition->topic);
  strand_set_integer(L, "partition", p->index);
  strand_set_integer(L, "epoch", p->epoch);
  strand_set_integer(L, "member", partition->member);
  strand_set_text(L, "state", p->state);
  strand_set_boolean(L, "paused", p->paused);
  strand_set_text(L, "blocked", p->blocked);
  strand_set_optional(L, "position", p->position);
  strand_set_optional(L, "committed", p->committed);
  strand_set_optional(L, "end_offset", partition->end);
  strand_set_optional(L, "lag", difference(partition->end, p->committed));
  strand_set_optional(L, "true_lag", true_lag(partition));
  strand_set_optional(L, "highest_done", p->highest_done);
  strand_set_integer(L, "open", (int64_t)p->open);
  strand_set_integer(L, "parked", (int64_t)p->parked);
  if (p->open > 0) strand_set_number(L, "oldest_age", p->oldest_ms / 1000.0);
}

static void push_partition (lua_State *L,
                            const strand_partition_snapshot *partition) {
  const strand_partition_stats *p = &partition->stats;
  push_assigned(L, partition);
  strand_set_integer(L, "done", (int64_t)p->done);
  strand_set_integer(L, "failed", (int64_t)p->failed);
  strand_set_integer(L, "skipped", (int64_t)p->skipped);
  strand_set_integer(L, "dead_lettered", (int64_t)p->dead_lettered);
  strand_set_integer(L, "letters", (int64_t)p->dead_letters);
  strand_set_integer(L, "sending", (int64_t)p->sending);
  strand_set_integer(L, "leased", (int64_t)p->in_flight);
  strand_set_integer(L, "buffered_records", (int64_t)p->buffered_records);
  strand_set_integer(L, "buffered_bytes", (int64_t)p->buffered_bytes);
  strand_set_integer(L, "waiting_records", (int64_t)p->waiting_records);
  strand_set_integer(L, "waiting_bytes", (int64_t)p->waiting_bytes);
  strand_set_integer(L, "metadata_bound", (int64_t)p->payload_bound);
  strand_set_integer(L, "metadata_limit", (int64_t)p->metadata_limit);
  if (p->metadata_limit > 0)
    strand_set_number(L, "metadata_share",
                      (double)p->payload_bound / (double)p->metadata_limit);
}

void strand_push_assignment (lua_State *L, const strand_stats *stats) {
  size_t i;
  lua_createtable(L, (int)stats->partition_count, 0);
  for (i = 0; i < stats->partition_count; i++) {
    push_assigned(L, &stats->partitions[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

/*
** Stats
*/

/* In flight are the handlers that run now; ready is what was handed over and
** has not started: the two that max_in_flight and max_ready bound. */
static void set_running (lua_State *L, const strand_stats *stats) {
  size_t leased = stats->engine.in_flight;
  strand_set_integer(L, "in_flight", stats->busy);
  strand_set_integer(
    L, "ready", leased > stats->busy ? (int64_t)(leased - stats->busy) : 0);
}

static void set_engine (lua_State *L, const strand_engine_stats *e) {
  strand_set_integer(L, "done", (int64_t)e->done);
  strand_set_integer(L, "failed", (int64_t)e->failed);
  strand_set_integer(L, "skipped", (int64_t)e->skipped);
  strand_set_integer(L, "dead_lettered", (int64_t)e->dead_lettered);
  strand_set_integer(L, "retries", (int64_t)e->retries);
  strand_set_integer(L, "parked", (int64_t)e->parked);
  strand_set_integer(L, "letters", (int64_t)e->dead_letters);
  strand_set_integer(L, "sending", (int64_t)e->sending);
  strand_set_integer(L, "shards", (int64_t)e->shards);
  strand_set_integer(L, "stale", (int64_t)e->stale);
  strand_set_integer(L, "stale_dropped", (int64_t)e->stale_dropped);
  strand_set_integer(L, "buffered_records", (int64_t)e->buffered_records);
  strand_set_integer(L, "buffered_bytes", (int64_t)e->buffered_bytes);
  strand_set_integer(L, "waiting_records", (int64_t)e->waiting_records);
  strand_set_integer(L, "waiting_bytes", (int64_t)e->waiting_bytes);
}

static void set_outputs (lua_State *L, const strand_output_counts *outputs) {
  strand_set_integer(L, "outputs_sent", (int64_t)outputs->sent);
  strand_set_integer(L, "outputs_acknowledged", (int64_t)outputs->acked);
  strand_set_integer(L, "outputs_failed", (int64_t)outputs->failed);
}

void strand_push_stats (lua_State *L, const strand_stats *stats) {
  size_t i;
  lua_createtable(L, 0, 32);
  set_engine(L, &stats->engine);
  set_running(L, stats);
  set_outputs(L, &stats->outputs);
  strand_set_integer(L, "staged_bytes", (int64_t)stats->outputs.staged_bytes);
  strand_set_integer(L, "members", stats->members);
  strand_set_integer(L, "workers", stats->workers);
  strand_set_integer(L, "workers_lost", stats->lost);
  strand_set_number(L, "idle", stats->idle);
  strand_set_number(L, "longest_slice", stats->longest_slice);
  strand_set_integer(L, "commits", (int64_t)stats->commits);
  strand_set_integer(L, "commits_failed", (int64_t)stats->commits_failed);
  strand_set_integer(L, "rebalances", (int64_t)stats->rebalances);
  strand_set_integer(L, "events_dropped", (int64_t)stats->events_dropped);
  strand_set_integer(L, "logs_dropped", (int64_t)stats->logs_dropped);
  strand_set_integer(L, "prefetch_bytes", (int64_t)stats->prefetch_bytes);
  lua_createtable(L, (int)stats->partition_count, 0);
  for (i = 0; i < stats->partition_count; i++) {
    push_partition(L, &stats->partitions[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, "partitions");
}

/*
** Blockers
*/

static void push_blocker (lua_State *L, const strand_blocker *b) {
  lua_createtable(L, 0, 9);
  strand_push_record_id(L, b->topic, b->partition, b->offset);
  lua_setfield(L, -2, "id");
  strand_set_text(L, "topic", b->topic);
  strand_set_integer(L, "partition", b->partition);
  strand_set_integer(L, "offset", b->offset);
  if (b->has_key) strand_set_bytes(L, "key", b->key, b->key_length);
  strand_set_number(L, "age", b->age);
  strand_set_integer(L, "attempts", b->attempts);
  if (b->reason_length > 0)
    strand_set_bytes(L, "reason", b->reason, b->reason_length);
  strand_set_text(L, "state", b->state);
}

void strand_push_blockers (lua_State *L, const strand_stats *stats) {
  size_t i;
  lua_createtable(L, (int)stats->blocker_count, 0);
  for (i = 0; i < stats->blocker_count; i++) {
    push_blocker(L, &stats->blockers[i]);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

/*
** Parked records
*/

static void push_parked (lua_State *L, const strand_parked *p) {
  strand_push_record(L, p->record, p->topic, p->partition);
  strand_set_integer(L, "attempts", p->record->attempt);
  strand_set_number(L, "first_failure", p->first_failure);
  strand_set_number(L, "last_failure", p->last_failure);
  strand_set_number(L, "since", p->since);
  if (p->reason_length > 0)
    strand_set_bytes(L, "reason", p->reason, p->reason_length);
}

void strand_push_parked (lua_State *L, const strand_parked *first) {
  int i = 0;
  lua_newtable(L);
  for (; first != NULL; first = first->next) {
    push_parked(L, first);
    lua_rawseti(L, -2, ++i);
  }
}

/*
** The report
*/

static void set_places (lua_State *L, const char *name,
                        const strand_place *places, size_t count) {
  size_t i;
  lua_createtable(L, (int)count, 0);
  for (i = 0; i < count; i++) {
    lua_createtable(L, 0, 4);
    strand_set_text(L, "topic", places[i].topic);
    strand_set_integer(L, "partition", places[i].partition);
    strand_set_integer(L, "offset", places[i].offset);
    strand_set_text(L, "state", places[i].state);
    lua_rawseti(L, -2, (int)i + 1);
  }
  lua_setfield(L, -2, name);
}

void strand_push_report (lua_State *L, const strand_report *report) {
  lua_createtable(L, 0, 14);
  set_outputs(L, &report->outputs);
  strand_set_integer(L, "done", (int64_t)report->done);
  strand_set_integer(L, "failed", (int64_t)report->failed);
  strand_set_integer(L, "skipped", (int64_t)report->skipped);
  strand_set_integer(L, "dead_lettered", (int64_t)report->dead_lettered);
  strand_set_integer(L, "parked", (int64_t)report->parked);
  strand_set_integer(L, "lost", (int64_t)report->lost);
  strand_set_number(L, "seconds", report->seconds);
  strand_set_boolean(L, "detached", report->detached);
  set_places(L, "unfinished", report->unfinished, report->unfinished_count);
  strand_set_integer(L, "unfinished_total", (int64_t)report->unfinished_total);
  set_places(L, "committed", report->committed, report->committed_count);
}
