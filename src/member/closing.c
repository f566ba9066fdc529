/*
** closing.c - a member's way to its end: the phases of owner.h
*/
#include <assert.h>

#include "base/clock.h"
#include "member/member.h"

#define CLOSE_MARGIN_US 1000000  /* of the timeout, kept for the commit */
#define LEAVE_MOST_US 500000     /* past the timeout, for leaving */
#define DESTROY_MOST_US 65000000 /* past it, until the client is destroyed */

static void begin_ending (strand_member *m, int64_t now_us) {
  int64_t timeout = m->closing.deadline_us - now_us;
  int64_t margin = timeout / 4 < CLOSE_MARGIN_US ? timeout / 4
                                                 : CLOSE_MARGIN_US;
  m->closing.limit_us = m->closing.deadline_us - margin;
  if (m->closing.mode == STRAND_CLOSE_NOW) m->closing.limit_us = now_us;
  m->owner.phase = STRAND_ENDING;
  atomic_store(&m->owner.ending, true);
  strand_engine_stop_intake(m->owner.engine);
  if (m->closing.mode != STRAND_CLOSE_DRAIN) {
    strand_epoch_leave_all(&m->epochs);
  }
}

void strand_closing_begin (strand_member *m, int64_t now_us) {
  strand_facts facts;
  strand_life_read(&m->owner.consumer->life, &facts);
  m->closing.mode = facts.mode;
  m->closing.deadline_us = facts.deadline_us;
  if (m->owner.phase <= STRAND_ENDING) begin_ending(m, now_us);
  strand_group_limit(&m->group, m->closing.limit_us, m->closing.deadline_us);
}

/* Asked after all that may start was handed over: so a member that drains
** has nothing left when nothing is in flight, or waits for a rate, or for a
** commit before it may start. */
static bool still_runs (const strand_member *m, int64_t now_us) {
  strand_engine_stats stats;
  strand_engine_stats_read(m->owner.engine, &stats);
  if (stats.ready > 0 && m->closing.mode == STRAND_CLOSE_DRAIN
      && (strand_staging_is_full(&m->owner.consumer->staging)
          || strand_outputs_is_full(&m->outputs)))
    return true; /* they wait for acknowledgements, maybe another member's */
  return stats.in_flight > 0 || stats.dead_letters > 0 || stats.sending > 0
         || strand_engine_throttle(m->owner.engine, now_us) < INT64_MAX
         || strand_engine_awaits_commit(m->owner.engine);
}

static void begin_leaving (strand_member *m) {
  rd_kafka_error_t *error;
  strand_snapshot_stop(&m->snapshot);
  m->owner.phase = STRAND_LEAVING;
  strand_helper_hurry(m->owner.helper);
  error = rd_kafka_consumer_close_queue(m->owner.client, m->owner.queue);
  if (error != NULL && !m->membership.fatal) { /* which was told */
    strand_health_error(&m->health, rd_kafka_error_code(error),
                        rd_kafka_error_string(error), NULL, -1,
                        strand_clock_us());
  }
  if (error != NULL) {
    rd_kafka_error_destroy(error);
    m->closing.cannot_leave = true;
  }
}

static void drop_all (strand_member *m) {
  strand_committer_end(&m->committer);
  for (size_t i = m->assignment.count; i-- > 0;) {
    if (i < m->assignment.count
        && m->assignment.partitions[i]->partition != NULL) {
      strand_epoch_lose(&m->epochs, m->assignment.partitions[i]);
      strand_epoch_end(&m->epochs, m->assignment.partitions[i]);
    }
  }
  strand_shares_change(&m->shares);
  strand_committer_close(&m->committer);
}

static void begin_destroying (strand_member *m) {
  strand_call *call = strand_call_new(STRAND_CALL_DESTROY, NULL);
  if (call == NULL || !strand_outbox_leave(&m->outbox)) {
    strand_call_free(call);
    return; /* the next turn tries again */
  }
  strand_snapshot_publish_now(&m->snapshot, strand_clock_us());
  drop_all(m);
  strand_transactor_stop(&m->transactor);
  m->owner.phase = STRAND_DESTROYING;
  m->closing.destroying = call;
}

/* A client that has not left its group turns a core round for as long as it is
** destroyed (librdkafka 2.0.2). A coordinator that hangs makes that a minute:
** so long the request to leave has to be answered, by default. Without one a
** client may never leave (a commit waits for it), and is destroyed at once. */
static bool may_destroy (const strand_member *m, int64_t now_us) {
  return m->closing.cannot_leave || rd_kafka_consumer_closed(m->owner.client)
         || !atomic_load(&m->signs.coordinator_up)
         || now_us >= m->closing.deadline_us + DESTROY_MOST_US;
}

static void destroy_client (strand_member *m) {
  rd_kafka_queue_destroy(m->owner.queue);
  m->owner.queue = NULL;
  m->closing.destroying->calls = strand_output_topics_leave(&m->output_topics);
  strand_helper_leave(m->owner.helper, m->closing.destroying);
  m->closing.destroying = NULL;
}

static void note_closed (strand_member *m) {
  m->owner.phase = STRAND_ENDED;
  strand_shared_end_member(m->owner.consumer);
}

/* Sends what is in no commit yet. True: it waits for an answer, or memory. */
static bool commit_rest (strand_member *m, int64_t now_us) {
  if (m->membership.fatal) return false;
  if (strand_committer_is_out(&m->committer)) return true;
  if (strand_committer_is_blocked(&m->committer, now_us)) return true;
  if (strand_committer_waits(&m->committer)) return true;
  return strand_committer_send(&m->committer, now_us)
         || strand_committer_starved(&m->committer);
}

static void note_last_commit (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  strand_committer_forgive(&m->committer);
  m->closing.last_commit = true;
  if (strand_life_commit(&c->life)) strand_inboxes_wake(&c->inboxes);
}

/* Its time is over, and something was still to be done. */
static void note_late (strand_member *m) {
  strand_life_be_late(&m->owner.consumer->life);
}

static void end_handlers (strand_member *m, int64_t now_us) {
  bool runs = still_runs(m, now_us);
  if (runs && now_us < m->closing.limit_us) return;
  if (runs && m->closing.mode != STRAND_CLOSE_NOW) note_late(m);
  strand_epoch_leave_all(&m->epochs);
  strand_handover_cut(&m->handover);
  m->owner.phase = STRAND_COMMITTING;
}

/* A member that leaves makes the group rebalance, and the others' commits
** are then refused: so none leaves before all have committed. */
static void end_commits (strand_member *m, int64_t now_us) {
  if (!m->closing.last_commit && !commit_rest(m, now_us)) note_last_commit(m);
  if (!m->closing.last_commit
      || !strand_life_all_committed(&m->owner.consumer->life)) {
    if (now_us < m->closing.deadline_us) return;
    if (!m->closing.last_commit) note_late(m);
  }
  begin_leaving(m);
}

void strand_closing_advance (strand_member *m, int64_t now_us) {
  if (m->owner.phase == STRAND_ENDING && !m->membership.rebalancing) {
    end_handlers(m, now_us);
  }
  if (m->owner.phase == STRAND_COMMITTING && !m->membership.rebalancing) {
    end_commits(m, now_us);
  }
  if (m->owner.phase == STRAND_LEAVING && !m->membership.rebalancing
      && (m->closing.cannot_leave || rd_kafka_consumer_closed(m->owner.client)
          || now_us >= m->closing.deadline_us + LEAVE_MOST_US)) {
    begin_destroying(m);
  }
  /* the transactor may be in a call of the consumer's client */
  if (m->closing.destroying != NULL && may_destroy(m, now_us)
      && strand_transactor_join(&m->transactor))
    destroy_client(m);
  if (m->owner.phase == STRAND_DESTROYING && m->owner.client == NULL
      && strand_outbox_is_gone(&m->outbox))
    note_closed(m);
}

int64_t strand_closing_due (const strand_member *m) {
  switch (m->owner.phase) {
    case STRAND_ENDING: return m->closing.limit_us;
    case STRAND_COMMITTING: return m->closing.deadline_us;
    case STRAND_LEAVING: return m->closing.deadline_us + LEAVE_MOST_US;
    case STRAND_DESTROYING:
      if (m->closing.destroying != NULL)
        return m->closing.deadline_us + DESTROY_MOST_US;
      return INT64_MAX;
    default: return INT64_MAX;
  }
}

void strand_closing_check (const strand_member *m) {
  const strand_closing *c = &m->closing;
  strand_phase phase = m->owner.phase;
  (void)c;
  (void)phase;
  assert(atomic_load(&m->owner.ending) == (phase != STRAND_SERVING)); /* (1) */
  assert(c->destroying == NULL || phase == STRAND_DESTROYING);        /* (2) */
  assert(!c->last_commit || phase >= STRAND_COMMITTING);              /* (3) */
}
