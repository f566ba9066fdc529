/*
** unacked.c - see unacked.h
*/
#include "producer/unacked.h"

#include <assert.h>

#include "kafka/clock.h"

static void set_reminder (strand_unacked *u, strand_calls *calls) {
  if (u->reminder_us == u->stall.due_us) return;
  u->reminder_us = u->stall.due_us;
  strand_calls_remind(calls, u->reminder_us);
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
  if (list != NULL) rd_kafka_topic_partition_list_destroy(list);
}

void strand_unacked_turn (strand_unacked *u, strand_calls *calls,
                          strand_producer_events *events, strand_log *log) {
  if (u->stall.asking) take_answer(u, calls, events, log);
  if (strand_calls_take_reminder(calls)
      && strand_stall_tick(&u->stall, strand_clock_us()))
    u->stall.asking = strand_calls_ask_stalled(calls);
  set_reminder(u, calls);
}

void strand_unacked_check (const strand_unacked *u) {
  assert(u->reminder_us == u->stall.due_us); /* (1) */
  strand_stall_check(&u->stall);
}
