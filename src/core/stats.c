/*
** stats.c - what an engine looks like, in numbers and names
*/
#include "core/engine.h"
#include "core/state.h"

void strand_engine_stats_read (const strand_engine *e,
                               strand_engine_stats *out) {
  *out = (strand_engine_stats){
    .partitions = e->partition_count,
    .buffered_records = e->budget.used.buffered_records,
    .buffered_bytes = e->budget.used.buffered_bytes,
    .waiting_records = e->budget.used.waiting_records,
    .waiting_bytes = e->budget.used.waiting_bytes,
    .in_flight = e->in_flight,
    .stale = e->stale,
    .ready = e->ready,
    .retries = e->retry.count,
    .parked = e->waiting.parked,
    .dead_letters = e->waiting.dead_letters,
    .sending = e->waiting.sending,
    .shards = e->shard_count,
    .done = e->done,
    .failed = e->failed,
    .skipped = e->skipped,
    .dead_lettered = e->dead_lettered,
    .stale_dropped = e->stale_dropped,
  };
}

static const char *state_name (partition_state state) {
  static const char *const names[] = { "restoring", "running", "revoking",
                                       "gone" };
  return names[state];
}

void strand_partition_stats_read (const strand_engine *e,
                                  const strand_partition *p, int64_t now_us,
                                  strand_partition_stats *out) {
  const strand_record *first = strand_partition_next(p, NULL);
  *out = (strand_partition_stats){
    .topic = p->topic,
    .index = p->index,
    .epoch = p->epoch,
    .state = state_name(p->state),
    .paused = p->paused,
    .blocked = strand_partition_blocked(p),
    .position = -1,
    .committed = p->committed.offset,
    .committable = -1,
    .highest_done = -1,
    .buffered_records = p->used.buffered_records,
    .buffered_bytes = p->used.buffered_bytes,
    .waiting_records = p->used.waiting_records,
    .waiting_bytes = p->used.waiting_bytes,
    .in_flight = p->in_flight,
    .parked = p->waiting.parked,
    .dead_letters = p->waiting.dead_letters,
    .sending = p->waiting.sending,
    .done = p->done,
    .failed = p->failed,
    .skipped = p->skipped,
    .dead_lettered = p->dead_lettered,
    .metadata_limit = e->metadata.limit,
  };
  if (first != NULL) {
    out->oldest_ms = (uint32_t)(now_us / 1000) - first->polled_ms;
  }
  if (p->offsets == NULL) return;
  out->position = strand_offsets_position(p->offsets);
  out->committable = strand_offsets_committable(p->offsets);
  out->highest_done = strand_offsets_highest(p->offsets);
  out->open = strand_offsets_open(p->offsets);
  out->payload_bound = strand_offsets_bound(p->offsets);
}

const char *strand_record_state (const strand_record *record) {
  const strand_shard *s = record->shard;
  if (s == NULL) return "buffered"; /* no commit covers it yet */
  if (record->flags & STRAND_RECORD_SENDING) return "sending";
  if (record->flags & STRAND_RECORD_WAITING) {
    return record->in.past->waiting == STRAND_WAITING_PARKED ? "parked"
                                                             : "waiting";
  }
  if (strand_shard_keyed(s) && s->head != record) return "behind";
  if (record->flags & STRAND_RECORD_LEASED) return "running";
  return s->state == SHARD_ORPHANED ? "behind" : "buffered";
}
