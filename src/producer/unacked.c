/*
** unacked.c - see unacked.h
*/
#include "producer/unacked.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "kafka/placement.h"

static void set_reminder (strand_unacked *u, strand_calls *calls) {
  if (u->reminder_us == u->stall.due_us) return;
  u->reminder_us = u->stall.due_us;
  strand_calls_remind(calls, u->reminder_us);
}

void strand_unacked_init (strand_unacked *u, int linger_ms, int timeout_ms,
                          bool all_acks) {
  u->reminder_us = 0;
  u->reason[0] = '\0';
  strand_stall_init(&u->stall, linger_ms, timeout_ms, all_acks);
}

void strand_unacked_reported (strand_unacked *u,
                              const strand_delivery_end *end) {
  strand_stall_reported(&u->stall, strand_placement_label(end->opaque),
                        end->err, end->topic, end->partition);
}

void strand_unacked_sent (strand_unacked *u, strand_calls *calls, int label,
                          bool alone) {
  if (alone) strand_stall_begin(&u->stall, label, strand_clock_us());
  strand_stall_sent(&u->stall, label);
  set_reminder(u, calls);
}

static void take_answer (strand_unacked *u, strand_calls *calls,
                         strand_producer_events *events, strand_log *log) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err;
  strand_obstacle obstacle;
  if (!strand_calls_take_stalled(calls, &err, &list)) return;
  if (strand_stall_answered(&u->stall, err, list, strand_clock_us(),
                            &obstacle))
    strand_producer_events_tell(events, log, &obstacle);
  if (obstacle.type != NULL)
    snprintf(u->reason, sizeof(u->reason), "%s", obstacle.reason);
  if (list != NULL) rd_kafka_topic_partition_list_destroy(list);
}

const char *strand_unacked_reason (const strand_unacked *u) {
  bool lasts = u->stall.leaders.since_us != 0
               || u->stall.replicas.since_us != 0;
  return lasts ? u->reason : NULL;
}

void strand_unacked_turn (strand_unacked *u, strand_calls *calls,
                          strand_producer_events *events, strand_log *log) {
  if (u->stall.asking) take_answer(u, calls, events, log);
  if (strand_calls_take_reminder(calls)
      && strand_stall_tick(&u->stall, strand_clock_us()))
    u->stall.asking = strand_calls_ask_stalled(calls);
  set_reminder(u, calls);
}

void strand_unacked_move (strand_unacked *u) {
  strand_stall_forget(&u->stall);
  u->reminder_us = 0;
}

void strand_unacked_check (const strand_unacked *u, int64_t outstanding) {
  assert(u->reminder_us == u->stall.due_us);                /* (1) */
  assert(u->stall.out[0] + u->stall.out[1] == outstanding); /* (2) */
  (void)outstanding;
  strand_stall_check(&u->stall);
}
