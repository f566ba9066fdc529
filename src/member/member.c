/*
** member.c - the owner's loop: what was asked, what the helper found, a turn
*/
#include "member/member.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/system.h"
#include "base/thread.h"
#include "kafka/errors.h"

#define POLL_MOST_US 1000000

#ifdef NDEBUG
#define CHECKED false
#else
#define CHECKED true /* the invariants of the parts, after each turn */
#endif

/* A thread of its ends: the last use of it there. */
static void let_go (void *member) {
  strand_member *m = member;
  strand_shared_leave(m->owner.consumer);
  strand_member_unref(m);
}

static void enter (strand_member *m) {
  atomic_fetch_add(&m->refs, 1);
  strand_shared_enter(m->owner.consumer);
}

/*
** Inbox
*/

static void set_share (strand_member *m, const strand_share *share) {
  strand_reader_limit(&m->reader, share->max_ready);
  strand_handover_limit(&m->handover, share->max_ready);
  strand_handover_widen(&m->handover, share->batch_most);
  strand_watchdog_limit(&m->watchdog, share->slow_after_us);
}

static void take_limits (strand_member *m) {
  strand_engine_config config = { 0 };
  strand_share share;
  strand_shares_take(&m->shares, &config, &share);
  set_share(m, &share);
  strand_engine_configure(m->owner.engine, &config);
}

static void take_rules (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  bool recall = false;
  for (size_t i = 0; i < m->assignment.count; i++) {
    strand_partition *p = m->assignment.partitions[i]->partition;
    bool paused;
    if (p == NULL) continue;
    paused = strand_settings_paused(&c->settings, strand_partition_topic(p),
                                    strand_partition_index(p));
    strand_engine_pause(m->owner.engine, p, paused);
    recall = recall || paused;
    atomic_store_explicit(&m->assignment.partitions[i]->stop,
                          paused || m->assignment.partitions[i]->leaving,
                          memory_order_release);
  }
  strand_snapshot_change(&m->snapshot);
  if (recall) strand_handover_recall(&m->handover);
}

static void take_releases (strand_member *m, strand_orphan_entry *releases) {
  while (releases != NULL) {
    strand_orphan_entry *r = releases;
    releases = r->next;
    strand_engine_release(m->owner.engine, &r->orphan);
    free(r);
  }
}

static void take_inbox (strand_member *m, int64_t now_us) {
  strand_consumer *c = m->owner.consumer;
  strand_asked asked = strand_inboxes_take(&c->inboxes, m->owner.index);
  if (asked.limits) take_limits(m);
  if (asked.close) strand_closing_begin(m, now_us);
  if (asked.rules) take_rules(m);
  if (asked.handed_off && m->owner.phase == STRAND_SERVING)
    strand_epoch_take_over(&m->epochs);
  take_releases(m, asked.releases);
  strand_seek_take(&m->seeks, asked.seeks);
  strand_parked_serve(&m->parking, asked.parked, now_us);
  while (asked.commits != NULL) {
    strand_waiter *w = asked.commits;
    asked.commits = w->next;
    strand_committer_wait(&m->committer, w);
  }
}

/*
** What the helper found
*/

/* A new epoch begins where the user wanted the partition to go. */
static void take_seek (strand_member *m, strand_assigned *assigned,
                       const strand_call *call, int64_t now_us) {
  bool again;
  if (!strand_seek_answer(&m->seeks, assigned, call, now_us)) return;
  again = strand_position_is_again(assigned);
  assigned = strand_epoch_seek(&m->epochs, assigned,
                               call->list->elems[0].offset);
  strand_seek_arrived(&m->seeks, assigned, call, again, now_us);
}

/* Of one partition. */
static void take_position (strand_member *m, const strand_call *call,
                           int64_t now_us) {
  const rd_kafka_topic_partition_t *p = &call->list->elems[0];
  strand_assigned *assigned = strand_assignment_find(&m->assignment, p->topic,
                                                     p->partition);
  if (assigned != NULL && assigned->leaving) assigned = NULL;
  if (call->why >= STRAND_WHY_TARGET) take_seek(m, assigned, call, now_us);
  else if (assigned != NULL) {
    strand_position_answer(&m->positions, assigned, call, now_us);
    strand_epoch_reset(&m->epochs, now_us);
  }
}

static void take_topics (strand_member *m, const strand_call *call,
                         int64_t now_us) {
  if (call->err == 0) strand_outage_reached(&m->outage, now_us);
  strand_topics_listed(&m->topics, call, now_us);
}

static void take_answer (strand_member *m, const strand_call *call,
                         int64_t now_us) {
  switch (call->kind) {
    case STRAND_CALL_COMMITTED:
      strand_position_committed(&m->positions, call, now_us);
      return;
    case STRAND_CALL_STARTS:
      strand_starts_answer(&m->starts, call, now_us);
      return;
    case STRAND_CALL_TOPICS: take_topics(m, call, now_us); return;
    case STRAND_CALL_OWNERS:
      strand_topics_owners(&m->topics, call, now_us);
      return;
    case STRAND_CALL_REACH:
      strand_outage_reach(&m->outage, call, now_us);
      return;
    case STRAND_CALL_LEADERS:
      strand_health_leaders(&m->health, call, now_us);
      return;
    case STRAND_CALL_STALLED:
      strand_outbox_stalled(&m->outbox, call, now_us);
      return;
    case STRAND_CALL_DROP: strand_outbox_gone(&m->outbox); return;
    case STRAND_CALL_DESTROY: m->owner.client = NULL; return;
    default: take_position(m, call, now_us);
  }
}

void strand_member_answers (strand_member *m, int64_t now_us) {
  strand_call *call;
  while ((call = strand_helper_answer(m->owner.helper)) != NULL) {
    take_answer(m, call, now_us);
    strand_call_free(call);
    strand_snapshot_change(&m->snapshot);
  }
}

/*
** The loop
*/

static int64_t min64 (int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t poll_every (const strand_member *m) {
  return min64(POLL_MOST_US, m->owner.consumer->settings.max_poll_us / 4);
}

/* Between a handler's stop and the close that comes of it nothing starts: else
** the record that stopped, which is not done, would run again. */
static void hand_over (strand_member *m, int64_t now_us) {
  if (m->owner.phase != STRAND_SERVING
      || !strand_stop_halts(&m->owner.consumer->stop)) {
    strand_handover_post(&m->handover, now_us);
  }
  else strand_handover_halt(&m->handover);
}

static int64_t tick_problems (strand_member *m, int64_t now_us) {
  if (m->owner.phase >= STRAND_LEAVING) return INT64_MAX;
  strand_committer_tick(&m->committer, now_us);
  if (strand_known_errors_tick(&m->known_errors, now_us))
    strand_position_reread(&m->positions);
  return strand_outage_tick(&m->outage, now_us);
}

/* One turn; when the next is due at the latest. */
static int64_t turn (strand_member *m, int64_t now_us) {
  int64_t due = now_us + poll_every(m);
  take_inbox(m, now_us);
  strand_member_answers(m, now_us);
  if (m->owner.queue != NULL) strand_group_serve(&m->group, now_us);
  strand_reassign_serve(&m->reassign, now_us);
  now_us = strand_clock_us(); /* what ended meanwhile did not end before */
  strand_handover_harvest(&m->handover, now_us);
  strand_output_topics_tick(&m->output_topics);
  strand_reports_serve(&m->reports, now_us);
  strand_dead_letters_serve(&m->dead_letters, now_us);
  strand_outputs_serve(&m->outputs, now_us);
  strand_transactions_serve(&m->transactions, now_us);
  if (strand_committer_is_open(&m->committer)) {
    strand_committer_serve(&m->committer, now_us);
    strand_group_advance(&m->group, now_us);
  }
  if (m->owner.phase == STRAND_SERVING) { /* else a retry waits for ever */
    due = min64(due, strand_engine_tick(m->owner.engine, now_us));
  }
  strand_reader_read(&m->reader, now_us);
  strand_epoch_reset(&m->epochs, now_us);
  strand_seek_serve(&m->seeks); /* some wait for what is read */
  hand_over(m, now_us);
  due = min64(due, strand_engine_throttle(m->owner.engine, now_us));
  strand_closing_advance(m, now_us);
  due = min64(due, tick_problems(m, now_us)); /* also when it is busy */
  strand_snapshot_publish(&m->snapshot, now_us);
  strand_notifier_tick(&m->owner.consumer->notifier, now_us);
  if (strand_reader_busy(&m->reader)) return now_us;
  if (m->waker->more && m->owner.queue != NULL) return now_us;
  due = min64(due, strand_position_tick(&m->positions, now_us));
  due = min64(due, strand_starts_tick(&m->starts, now_us));
  due = min64(due, strand_topics_tick(&m->topics, now_us));
  due = min64(due, strand_group_due(&m->group));
  due = min64(due, strand_reports_due(&m->reports, now_us));
  due = min64(due, strand_dead_letters_due(&m->dead_letters, now_us));
  due = min64(due, strand_outputs_due(&m->outputs, now_us));
  due = min64(due, strand_committer_due(&m->committer, now_us));
  due = min64(due, strand_handover_due(&m->handover));
  due = min64(due, strand_closing_due(m));
  return min64(due, strand_snapshot_due(&m->snapshot));
}

static void check_parts (strand_member *m) {
  strand_shared_check_parts(m->owner.consumer);
  strand_waker_check(m->waker);
  strand_assignment_check(&m->assignment);
  strand_snapshot_check(&m->snapshot);
  strand_shares_check(&m->shares);
  strand_known_errors_check(&m->known_errors);
  strand_topics_check(&m->topics);
  strand_outage_check(&m->outage);
  strand_positions_check(&m->positions);
  strand_starts_check(&m->starts);
  strand_reader_check(&m->reader);
  strand_outbox_check(&m->outbox);
  strand_dead_letters_check(&m->dead_letters);
  strand_outputs_check(&m->outputs);
  strand_transactions_check(&m->transactions);
  strand_transactor_check(&m->transactor);
  strand_membership_check(&m->membership);
  strand_seeks_check(&m->seeks);
  strand_problem_check(&m->problem);
  strand_output_topics_check(&m->output_topics);
  strand_reports_check(&m->reports);
  strand_watchdog_check(&m->watchdog);
  strand_handover_check(&m->handover);
  strand_committer_check(&m->committer);
  strand_group_check(&m->group);
  strand_closing_check(m);
}

/* A client that could not be destroyed yet still writes to the waker. */
static void note_clients (strand_member *m) {
  m->waker->lent = m->owner.client != NULL
                   || strand_outbox_has_client(&m->outbox);
}

/* Exactly once it begins with what a dead process left open, while the group is
** joined; no handler starts before that is ended. */
static void start_transactor (strand_member *m) {
  strand_failure failure;
  int error;
  if (!strand_transactions_is_on(&m->transactions)
      || strand_transactor_start(&m->transactor))
    return;
  error = errno;
  strand_fail_thread(&failure, "the thread of the transactions", error);
  strand_shared_end(m->owner.consumer, STRAND_CLOSE_NOW, failure.code,
                    failure.message);
}

/* Handlers that do not return keep the owner, which waits for them: their
** slots and records are its. */
static void *run_owner (void *arg) {
  strand_member *m = arg;
  start_transactor(m);
  strand_topics_subscribe(&m->topics);
  while (m->owner.phase != STRAND_ENDED || strand_handover_out(&m->handover)) {
    int64_t now_us = strand_clock_us(), due;
    atomic_store_explicit(&m->waker->turned_us, now_us, memory_order_relaxed);
    due = turn(m, now_us);
    if (CHECKED) check_parts(m);
    if (m->owner.phase == STRAND_ENDED && !strand_handover_out(&m->handover))
      break;
    if (strand_waker_sleep(m->waker, due > now_us ? due : 0)) {
      strand_reader_wake(&m->reader);
    }
  }
  note_clients(m);
  strand_helper_end(m->owner.helper);
  let_go(m);
  return NULL;
}

static void fail_start (const strand_member *m, strand_failure *failure) {
  int error = errno;
  char what[64];
  snprintf(what, sizeof(what), "a thread of member %u could not start",
           m->owner.index);
  strand_fail_thread(failure, what, error);
}

bool strand_member_start (strand_member *m, strand_failure *failure) {
  pthread_t thread;
  enter(m); /* the helper */
  m->owner.helper = strand_helper_new(m->owner.client, m->waker, let_go, m);
  if (m->owner.helper == NULL) {
    fail_start(m, failure);
    let_go(m);
    return false;
  }
  enter(m); /* the owner */
  atomic_store(&m->waker->turned_us, strand_clock_us());
  if (strand_thread_start(&thread, run_owner, m)) {
    pthread_detach(thread);
    return true;
  }
  fail_start(m, failure);
  strand_helper_end(m->owner.helper);
  m->owner.helper = NULL;
  let_go(m);
  return false;
}

static void dismiss_transactor (strand_member *m) {
  strand_call *call;
  if (!strand_transactions_is_on(&m->transactions)) return;
  call = strand_call_new(STRAND_CALL_DROP, NULL);
  if (call == NULL) return; /* it goes with the member */
  call->arg = strand_transactor_dismiss(&m->transactor);
  strand_helper_leave(m->owner.helper, call);
}

void strand_member_dismiss (strand_member *m) {
  strand_call *call;
  if (m->owner.helper != NULL || m->owner.client == NULL) return;
  call = strand_call_new(STRAND_CALL_DESTROY, NULL);
  if (call == NULL) return; /* it goes with the member */
  enter(m);
  m->owner.helper = strand_helper_new(m->owner.client, m->waker, let_go, m);
  if (m->owner.helper == NULL) {
    let_go(m);
    strand_call_free(call);
    return;
  }
  call->calls = strand_output_topics_leave(&m->output_topics);
  strand_committer_close(&m->committer);
  rd_kafka_queue_destroy(m->owner.queue);
  m->owner.queue = NULL;
  m->owner.client = NULL;
  strand_outbox_leave(&m->outbox); /* else it goes with the member */
  dismiss_transactor(m);
  note_clients(m);
  strand_helper_leave(m->owner.helper, call);
  strand_helper_end(m->owner.helper);
}
