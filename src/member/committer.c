/*
** committer.c - commits to the group, one at a time, and what a failed one
** means
**
** Never two unanswered: librdkafka retries by itself, and an older commit
** that it repeats can overtake a newer one, both reported as successes.
** Nothing is clean before the broker's answer. After an error that is not
** the whole request's, librdkafka's errors for single partitions are not
** true: the engine then commits each alone.
*/
#include "member/committer.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "member/partition_names.h"

#define REVOKE_COMMITS_MOST 3 /* tried inside one rebalance */

void strand_committer_init (strand_committer *t, const strand_owner *owner,
                            const strand_membership *membership,
                            const strand_join_watch *join_watch,
                            const strand_health *health,
                            strand_problem *problem,
                            strand_snapshot *snapshot) {
  *t = (strand_committer){ .owner = owner,
                           .membership = membership,
                           .join_watch = join_watch,
                           .health = health,
                           .problem = problem,
                           .snapshot = snapshot };
}

void strand_committer_open (strand_committer *t, strand_waker *waker) {
  static const uint64_t one = 1;
  t->queue = rd_kafka_queue_new(t->owner->client);
  rd_kafka_queue_io_event_enable(t->queue, waker->queue_fd, &one, sizeof(one));
}

void strand_committer_close (strand_committer *t) {
  if (t->queue != NULL) rd_kafka_queue_destroy(t->queue);
  t->queue = NULL;
}

static void answer_waiters (strand_committer *t, bool out_only,
                            const strand_failure *failure) {
  strand_waiter **at = &t->waiters, *w;
  while ((w = *at) != NULL) {
    if (out_only && !w->committing) {
      at = &w->next;
      continue;
    }
    *at = w->next;
    strand_shared_answer(t->owner->consumer, w->ticket, failure);
    free(w);
  }
}

/* For health(). */
static void publish (strand_committer *t, int64_t now_us) {
  const strand_alert *failing = &t->failing;
  bool fails = strand_alert_is_due(failing, now_us);
  strand_failure problem;
  if (fails) {
    strand_fail(&problem, "COMMIT_FAILS", "commits fail for %.0f s: %s",
                (double)(now_us - failing->since_us) / 1e6, t->cause.text);
  }
  strand_problem_set(t->problem, STRAND_PROBLEM_COMMIT_FAILS,
                     fails ? &problem : NULL);
  strand_unwritable_publish(&t->unwritable, t->owner, t->problem, now_us);
}

static void note_alert (strand_committer *t, rd_kafka_resp_err_t err,
                        int64_t now_us) {
  strand_alert *failing = &t->failing;
  bool later = strand_error_is_later(err);
  strand_alert_begin(failing, now_us, later ? STRAND_ALERT_PATIENCE_US : 0);
  if (!later && failing->tell_us > now_us) failing->tell_us = now_us;
  strand_heard_note(&t->cause, err, rd_kafka_err2str(err));
  publish(t, now_us); /* before the event is told */
}

/* When something is to be committed: INT64_MAX when there is nothing. */
static int64_t due_of (const strand_committer *t, int64_t now_us) {
  int64_t due = strand_engine_commit_due(t->owner->engine, now_us), other;
  if (t->transactions == NULL) return due;
  other = strand_transactions_due(t->transactions);
  return due < other ? due : other;
}

/* The same, when it can be sent as well: nobody turns round until then. */
static int64_t send_due_of (const strand_committer *t, int64_t now_us) {
  int64_t due = due_of(t, now_us), from;
  if (t->transactions == NULL || due == INT64_MAX) return due;
  from = strand_transactions_from(t->transactions);
  return due < from ? from : due;
}

bool strand_committer_is_blocked (const strand_committer *t, int64_t now_us) {
  if (strand_engine_commit_blocked(t->owner->engine, now_us)) return true;
  return t->transactions != NULL
         && strand_transactions_may_begin(t->transactions)
         && now_us < strand_transactions_from(t->transactions);
}

/* What failed is not there any more: it was revoked, or done without. */
void strand_committer_tick (strand_committer *t, int64_t now_us) {
  if (t->failing.since_us != 0 && t->commit == NULL
      && due_of(t, 0) == INT64_MAX) {
    t->failing = (strand_alert){ 0 };
  }
  publish(t, now_us);
}

static rd_kafka_topic_partition_list_t *list_of (const strand_commit *c) {
  rd_kafka_topic_partition_list_t *list;
  list = rd_kafka_topic_partition_list_new((int)c->count);
  for (size_t i = 0; i < c->count; i++) {
    const strand_commit_item *item = &c->items[i];
    rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(
      list, strand_partition_topic(item->partition),
      strand_partition_index(item->partition));
    p->offset = item->offset;
    p->metadata_size = strlen(item->metadata);
    p->metadata = p->metadata_size > 0 ? strdup(item->metadata) : NULL;
    if (p->metadata == NULL && p->metadata_size > 0) {
      rd_kafka_topic_partition_list_destroy(list);
      return NULL; /* never an offset without its payload */
    }
  }
  return list;
}

/*
** What failed, and for which partitions
*/

static void describe (const strand_commit *commit, const char *code,
                      const char *text, strand_failure *failure) {
  strand_partition_names n = { .count = 0 };
  for (size_t i = 0; i < commit->count; i++) {
    strand_partition_names_add(&n, commit->items[i].partition);
  }
  if (commit->count == 1) {
    strand_fail(failure, code, "commit of %s: %s",
                strand_partition_names_end(&n), text);
    return;
  }
  strand_fail(failure, code, "commit of %zu partitions (%s): %s",
              commit->count, strand_partition_names_end(&n), text);
}

static void tell_failed (strand_committer *t, const strand_commit *commit,
                         const strand_failure *failure) {
  strand_event event = strand_owner_event(t->owner, "commit_failed", NULL);
  if (commit->count == 1) {
    strand_partition *p = commit->items[0].partition;
    strand_event_set_topic(&event, strand_partition_topic(p),
                           strand_partition_index(p));
    event.offset = commit->items[0].offset;
  }
  snprintf(event.code, sizeof(event.code), "%s", failure->code);
  strand_event_set_reason(&event, failure->message, strlen(failure->message));
  strand_owner_emit(t->owner, &event);
}

/*
** Answers
*/

/* Those of a commit that failed go one by one now, and a text that was too
** long comes again half as long: a revoke does not give up meanwhile. */
static void go_on (strand_committer *t, int64_t now_us) {
  t->commit = NULL;
  if (due_of(t, now_us) == 0) {
    t->tries = 0;
  }
  for (strand_waiter *w = t->waiters; w != NULL; w = w->next) {
    w->committing = false; /* the next one may do it */
  }
}

/* Refused for its length alone: the engine learns from it, and says so. */
static bool is_learnt (const strand_committer *t, strand_answer answer) {
  const strand_commit *commit = t->commit;
  if (answer != STRAND_COMMIT_REFUSED) return false;
  return t->transactions != NULL
         || (commit->count == 1 && commit->items[0].metadata[0] != '\0');
}

static void take_failure (strand_committer *t, strand_answer answer,
                          const strand_failure *failure, int64_t now_us) {
  bool learnt = is_learnt(t, answer);
  bool final = t->transactions == NULL && answer != STRAND_COMMIT_LATER
               && t->commit->count == 1 && !learnt;
  if (!learnt) tell_failed(t, t->commit, failure);
  t->failure = *failure;
  strand_tally_commit_failed(&t->owner->consumer->tally);
  strand_engine_commit_answer(t->owner->engine, t->commit, answer, now_us);
  if (final) answer_waiters(t, true, failure);
  go_on(t, now_us);
}

static strand_answer answer_of (rd_kafka_resp_err_t err) {
  if (strand_error_is_later(err)) return STRAND_COMMIT_LATER;
  return strand_error_kind_of(err) == STRAND_ERROR_METADATA_TOO_LARGE
           ? STRAND_COMMIT_REFUSED
           : STRAND_COMMIT_UNKNOWN;
}

static void take_error (strand_committer *t, rd_kafka_resp_err_t err,
                        int64_t now_us) {
  strand_failure failure;
  char code[sizeof(failure.code)];
  describe(t->commit, strand_code_of(err, code, sizeof(code)),
           rd_kafka_err2str(err), &failure);
  /* no commit is taken before it has joined again, however often it tries */
  t->must_rejoin = strand_error_kind_of(err) == STRAND_ERROR_LEFT_BEHIND;
  note_alert(t, err, now_us);
  take_failure(t, answer_of(err), &failure, now_us);
}

static void take_success (strand_committer *t, int64_t now_us) {
  t->failure.code[0] = '\0';
  t->must_rejoin = false;
  strand_tally_commit(&t->owner->consumer->tally, t->commit);
  strand_engine_commit_answer(t->owner->engine, t->commit, STRAND_COMMITTED,
                              now_us);
  t->failing = (strand_alert){ 0 };
  publish(t, now_us);
  strand_health_committed(t->health, now_us);
  if (strand_engine_commit_due(t->owner->engine, now_us) > 0) {
    strand_failure unwritable;
    answer_waiters(t, true,
                   strand_unwritable_find(t->owner, &unwritable) ? &unwritable
                                                                 : NULL);
  }
  go_on(t, now_us);
}

static rd_kafka_resp_err_t error_of (rd_kafka_event_t *event) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err = rd_kafka_event_error(event);
  list = rd_kafka_event_topic_partition_list(event);
  for (int i = 0; err == 0 && list != NULL && i < list->cnt; i++) {
    err = list->elems[i].err;
  }
  return err;
}

/* In a transaction, which takes 'list'. */
static void send_in_transaction (strand_committer *t,
                                 rd_kafka_topic_partition_list_t *list,
                                 int64_t now_us) {
  strand_failure failure;
  if (strand_transactions_send(t->transactions, list)) return;
  strand_transactions_reopen(t->transactions);
  describe(t->commit, "UNKNOWN_MEMBER_ID", "the member has left the group",
           &failure);
  take_failure(t, STRAND_COMMIT_LATER, &failure, now_us);
}

/* t->commit, to the broker. */
static void send_commit (strand_committer *t, int64_t now_us) {
  rd_kafka_topic_partition_list_t *list = list_of(t->commit);
  rd_kafka_resp_err_t err;
  if (list == NULL) {
    strand_failure failure;
    describe(t->commit, "NO_MEMORY", "memory ran out", &failure);
    if (t->transactions != NULL) strand_transactions_reopen(t->transactions);
    take_failure(t, STRAND_COMMIT_LATER, &failure, now_us);
    return;
  }
  if (t->transactions != NULL) {
    send_in_transaction(t, list, now_us);
    return;
  }
  err = rd_kafka_commit_queue(t->owner->client, list, t->queue, NULL, NULL);
  rd_kafka_topic_partition_list_destroy(list);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) take_error(t, err, now_us);
}

static bool may_send (const strand_committer *t) {
  if (t->transactions != NULL
      && !strand_transactions_may_begin(t->transactions))
    return false;
  return t->commit == NULL && !t->membership->fatal && t->owner->client != NULL
         && !strand_join_watch_joins(t->join_watch);
}

/* False: none was made. */
static bool make_and_send (strand_committer *t, int64_t now_us) {
  if (t->transactions != NULL && !strand_transactions_close(t->transactions))
    return false;
  t->commit = strand_engine_commit(t->owner->engine, now_us, NULL);
  if (t->transactions != NULL)
    strand_transactions_commit_made(t->transactions);
  if (t->commit == NULL) {
    if (t->transactions != NULL) strand_transactions_reopen(t->transactions);
    return false;
  }
  for (strand_waiter *w = t->waiters; w != NULL; w = w->next) {
    w->committing = true;
  }
  send_commit(t, now_us);
  strand_snapshot_change(t->snapshot);
  return true;
}

bool strand_committer_send (strand_committer *t, int64_t now_us) {
  return may_send(t) && make_and_send(t, now_us);
}

static bool has_uncommitted (const strand_committer *t) {
  for (const strand_waiter *w = t->waiters; w != NULL; w = w->next) {
    if (!w->committing) return true;
  }
  return false;
}

bool strand_committer_starved (const strand_committer *t) {
  if (t->transactions != NULL
      && strand_transactions_have_ended(t->transactions))
    return false;
  return t->commit == NULL && due_of(t, 0) < INT64_MAX;
}

/* No commit was made: because all is committed, memory ran out, or what is
** done does not fit. */
static void answer_uncommitted (strand_committer *t) {
  static const strand_failure no_memory = { "NO_MEMORY", "memory ran out" };
  strand_failure unwritable;
  const strand_failure *failure = NULL;
  if (strand_committer_starved(t)) failure = &no_memory;
  else if (strand_unwritable_find(t->owner, &unwritable))
    failure = &unwritable;
  answer_waiters(t, false, failure);
}

/* A commit that somebody waits for does not wait for its interval; but one
** that failed does wait for its back-off. */
static void serve_waiters (strand_committer *t, int64_t now_us) {
  if (t->commit != NULL || !has_uncommitted(t)) return;
  if (t->membership->fatal) {
    static const strand_failure fatal = { "FATAL", "the member has failed" };
    answer_waiters(t, false, &fatal);
    return;
  }
  if (strand_committer_is_blocked(t, now_us)) return;
  if (!strand_committer_starved(t)) answer_uncommitted(t);
  else if (may_send(t) && !make_and_send(t, now_us)) answer_uncommitted(t);
}

/* A member that ends commits once, at the last; but one that drains, at most
** once, before each window. */
static bool commits_when_due (const strand_committer *t) {
  strand_phase phase = t->owner->phase;
  return phase == STRAND_SERVING
         || (phase == STRAND_ENDING
             && (strand_engine_awaits_commit(t->owner->engine)
                 || (t->transactions != NULL
                     && strand_transactions_due(t->transactions)
                          < INT64_MAX)));
}

/* The transaction's answer is that of its commit. */
static void serve_transaction (strand_committer *t, int64_t now_us) {
  strand_closed_answer ended;
  strand_failure failure;
  char code[sizeof(failure.code)];
  if (t->commit == NULL
      || !strand_transactions_answer(t->transactions, t->commit, &ended,
                                     now_us))
    return;
  if (ended.answer == STRAND_COMMITTED) take_success(t, now_us);
  else if (ended.reported) {
    strand_engine_commit_answer(t->owner->engine, t->commit, ended.answer,
                                now_us);
    go_on(t, now_us);
    t->tries = 0;
  }
  else {
    describe(t->commit, strand_code_of(ended.err, code, sizeof(code)),
             ended.reason, &failure);
    note_alert(t, ended.err, now_us);
    t->must_rejoin = strand_error_kind_of(ended.err)
                     == STRAND_ERROR_LEFT_BEHIND;
    take_failure(t, ended.answer, &failure, now_us);
  }
  strand_transactions_settle(t->transactions, now_us);
  strand_snapshot_change(t->snapshot);
}

void strand_committer_serve (strand_committer *t, int64_t now_us) {
  rd_kafka_event_t *event;
  while ((event = rd_kafka_queue_poll(t->queue, 0)) != NULL) {
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT
        && t->commit != NULL) {
      rd_kafka_resp_err_t err = error_of(event);
      if (err == RD_KAFKA_RESP_ERR_NO_ERROR) take_success(t, now_us);
      else take_error(t, err, now_us);
      strand_snapshot_change(t->snapshot);
    }
    rd_kafka_event_destroy(event);
  }
  if (t->transactions != NULL) serve_transaction(t, now_us);
  serve_waiters(t, now_us);
  if (commits_when_due(t) && send_due_of(t, now_us) <= now_us) {
    strand_committer_send(t, now_us);
  }
}

/*
** In a rebalance
*/

void strand_committer_abandon (strand_committer *t) {
  if (t->transactions != NULL) strand_transactions_abandon(t->transactions);
}

void strand_committer_begin_revoke (strand_committer *t) {
  t->must_rejoin = false;
  t->tries = 0;
}

bool strand_committer_serve_revoke (strand_committer *t, int64_t now_us) {
  if (t->must_rejoin) return false;
  if (strand_committer_is_out(t)) return true; /* another's, or ours */
  if (strand_engine_commit_blocked(t->owner->engine, now_us)) return true;
  return t->tries++ < REVOKE_COMMITS_MOST && strand_committer_send(t, now_us);
}

/*
** At the end
*/

bool strand_committer_waits (const strand_committer *t) {
  return strand_join_watch_joins(t->join_watch) && due_of(t, 0) < INT64_MAX;
}

void strand_committer_forgive (strand_committer *t) {
  if (!strand_unwritable_find(t->owner, &t->failure))
    t->failure.code[0] = '\0';
}

void strand_committer_wait (strand_committer *t, strand_waiter *waiter) {
  waiter->committing = false;
  waiter->next = t->waiters;
  t->waiters = waiter;
}

int64_t strand_committer_due (const strand_committer *t, int64_t now_us) {
  int64_t due = INT64_MAX;
  if (t->commit != NULL || t->membership->fatal
      || strand_join_watch_joins(t->join_watch)) {
    return INT64_MAX;
  }
  if (commits_when_due(t) || t->owner->phase == STRAND_COMMITTING
      || has_uncommitted(t)) {
    due = send_due_of(t, now_us);
  }
  return due;
}

void strand_committer_end (strand_committer *t) {
  static const strand_failure closed = { "CLOSED", "the consumer is closed" };
  if (t->commit != NULL) {
    strand_fail(&t->failure, "TIMED_OUT",
                "the last commit was not answered in time");
    strand_engine_commit_answer(t->owner->engine, t->commit,
                                STRAND_COMMIT_LATER, strand_clock_us());
    t->commit = NULL;
  }
  answer_waiters(t, false, &closed);
  if (t->failure.code[0] == '\0') return;
  strand_tally_fail(&t->owner->consumer->tally, &t->failure);
}

void strand_committer_check (const strand_committer *t) {
  assert(t->commit == NULL || t->queue != NULL); /* (1) */
  for (const strand_waiter *w = t->waiters; w != NULL; w = w->next) {
    assert(!w->committing || t->commit != NULL); /* (2) */
  }
}
