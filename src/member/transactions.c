/*
** transactions.c - see transactions.h
*/
#include "member/transactions.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "member/group_metadata.h"
#include "member/output_record.h"

#define AGAIN_FIRST_US 100000
#define AGAIN_MOST_US 5000000
#define PATIENCE_US 10000000
#define ALONE_MOST 1000
#define CANNOT_TRANSACT "CANNOT_TRANSACT" /* what health() says */
#define CHECKED_MOST 64                   /* of thousands, at each turn */

void strand_transactions_init (strand_transactions *x,
                               const strand_owner *owner,
                               strand_transactor *transactor,
                               strand_outbox *outbox,
                               strand_output_topics *topics,
                               strand_problem *problem,
                               strand_snapshot *snapshot) {
  const strand_transactional *t = &owner->consumer->settings.transactional;
  *x = (strand_transactions){ .owner = owner,
                              .transactor = transactor,
                              .outbox = outbox,
                              .topics = topics,
                              .problem = problem,
                              .snapshot = snapshot,
                              .wait_us = AGAIN_FIRST_US };
  strand_intake_init(&x->intake, t->records, t->interval_us);
  strand_list_init(&x->dead_letters);
  strand_list_init(&x->later);
  strand_list_init(&x->queue);
  strand_list_init(&x->left_out);
  strand_list_init(&x->settled);
}

/*
** Lists
*/

void strand_transactions_drop (strand_transactions *x, strand_staged *s) {
  strand_list_remove(&s->link);
  strand_list_remove(&s->mine);
  strand_shared_unstage(x->owner->consumer, s);
}

static void drop_all (strand_transactions *x, strand_link *list) {
  strand_staged *s;
  while ((s = strand_staged_first(list)) != NULL)
    strand_transactions_drop(x, s);
}

void strand_transactions_free (strand_transactions *x) {
  drop_all(x, &x->dead_letters);
  drop_all(x, &x->later);
  drop_all(x, &x->queue);
  drop_all(x, &x->left_out);
  drop_all(x, &x->settled);
  strand_barred_topics_free(&x->barred);
  if (x->closed == NULL) return;
  for (size_t i = 0; i < x->closed->count; i++)
    strand_transactions_drop(x, x->closed->staged[i]);
  if (!x->out) strand_closed_free(x->closed); /* else the transactor has */
}

static void add (strand_transactions *x, strand_assigned *assigned,
                 strand_staged *s, strand_record *r) {
  s->record = r;
  s->open = s->count;
  strand_list_push(&assigned->outputs, &s->mine);
  if (strand_transactions_refuse_barred(x, s, strand_clock_us())) {
    strand_transactions_turn_away(x, s);
    return;
  }
  strand_list_push(&x->queue, &s->link);
  x->waiting += s->count;
  if (x->since_us == 0) x->since_us = strand_clock_us();
}

strand_err strand_transactions_take (strand_transactions *x,
                                     strand_assigned *assigned,
                                     strand_lease *lease,
                                     strand_staged *staged) {
  strand_record *r = lease->record;
  strand_err err = strand_engine_sent(x->owner->engine, lease);
  if (err == STRAND_OK) add(x, assigned, staged, r);
  return err;
}

/* Its bytes are written when it is closed: the engine has not said all yet. */
bool strand_transactions_take_dead_letter (strand_transactions *x,
                                           strand_partition *p,
                                           strand_record *record) {
  strand_assigned *assigned = strand_partition_opaque(p);
  strand_staged *s = strand_staged_new(&x->owner->consumer->staging);
  if (s == NULL) return false;
  s->record = record;
  strand_list_push(&x->dead_letters, &s->link);
  strand_list_push(&assigned->outputs, &s->mine);
  if (x->since_us == 0) x->since_us = strand_clock_us();
  return true;
}

/* What is closed stays there: the transactor may read it. */
void strand_transactions_forget (strand_transactions *x,
                                 strand_assigned *assigned) {
  while (!strand_list_empty(&assigned->outputs)) {
    strand_staged *s = strand_list_entry(assigned->outputs.next, strand_staged,
                                         mine);
    s->record = NULL;
    strand_list_remove(&s->mine);
    if (s->out > 0) continue;
    if (!s->acked) x->waiting -= s->count;
    strand_transactions_drop(x, s);
  }
  if (!strand_transactions_wait(x)) x->since_us = 0;
}

bool strand_transactions_is_full (const strand_transactions *x) {
  return x->waiting >= x->intake.size
         || !strand_transactor_is_ready(x->transactor);
}

bool strand_transactions_may_begin (const strand_transactions *x) {
  return x->closed == NULL && !x->ended && strand_list_empty(&x->settled)
         && strand_transactor_is_ready(x->transactor);
}

int64_t strand_transactions_from (const strand_transactions *x) {
  return strand_transactions_may_begin(x) ? x->not_before_us : INT64_MAX;
}

/*
** Closing one
*/

static size_t count_of (const strand_link *list) {
  size_t count = 0;
  for (const strand_link *l = list->next; l != list; l = l->next) count++;
  return count;
}

static void enclose (strand_transactions *x, strand_staged *s) {
  strand_list_remove(&s->link);
  s->out = 1;
  s->refused = NULL;
  x->closed->staged[x->closed->count++] = s;
  strand_engine_transact(x->owner->engine, s->record);
}

static size_t intake_of (const strand_transactions *x) {
  size_t size = x->intake.size;
  return x->alone > 0 && size > ALONE_MOST ? ALONE_MOST : size;
}

static long batch_size_of (const strand_transactions *x) {
  return x->alone > 0 ? STRAND_TRANSACTIONS_ALONE
                      : (long)strand_outbox_batch_size(x->outbox);
}

static void wait_again (strand_transactions *x, int64_t now_us) {
  x->not_before_us = now_us + x->wait_us;
  x->wait_us *= 2;
  if (x->wait_us > AGAIN_MOST_US) x->wait_us = AGAIN_MOST_US;
}

/* Each that is closed has a record, so its epoch is the live one. */
bool strand_transactions_close (strand_transactions *x) {
  size_t taken = 0, most = intake_of(x);
  strand_staged *s;
  assert(x->closed == NULL);
  strand_transactions_write_dead_letters(x, strand_clock_us());
  x->closed = strand_closed_new(count_of(&x->left_out) + count_of(&x->queue));
  if (x->closed == NULL) {
    wait_again(x, strand_clock_us());
    return false;
  }
  x->closed->batch_size = batch_size_of(x);
  while ((s = strand_staged_first(&x->left_out)) != NULL) {
    s->acked = false;
    enclose(x, s);
  }
  while ((s = strand_staged_first(&x->queue)) != NULL
         && (taken == 0 || taken + s->count <= most)) {
    taken += s->count;
    enclose(x, s);
  }
  x->waiting -= taken;
  return true;
}

/* They must not hold up the others, nor keep from starting what would make
** room: that is another record of their partition. */
void strand_transactions_commit_made (strand_transactions *x) {
  strand_closed *c = x->closed;
  size_t kept = 0;
  for (size_t i = 0; i < c->count; i++) {
    strand_staged *s = c->staged[i];
    if (strand_record_is_transacted(s->record)) {
      c->staged[kept++] = s;
      continue;
    }
    s->out = 0;
    s->acked = true; /* not counted in 'waiting' */
    strand_list_push(&x->left_out, &s->link);
  }
  c->count = kept;
}

/* Back to the others, in their order: from the last on, before them. */
static void put_back (strand_transactions *x, strand_staged *s) {
  s->out = 0;
  strand_engine_untransact(x->owner->engine, s->record);
  strand_list_push_front(&x->queue, &s->link);
  x->waiting += s->count;
  if (x->since_us == 0) x->since_us = strand_clock_us();
}

static void end_closed (strand_transactions *x) {
  strand_closed_free(x->closed);
  x->closed = NULL;
}

void strand_transactions_reopen (strand_transactions *x) {
  if (x->closed->count > 0) wait_again(x, strand_clock_us());
  for (size_t i = x->closed->count; i-- > 0;)
    put_back(x, x->closed->staged[i]);
  end_closed(x);
}

/* The group's metadata of now: who is not a member any more when it arrives is
** refused by the group. */
bool strand_transactions_send (strand_transactions *x,
                               rd_kafka_topic_partition_list_t *offsets) {
  strand_closed *c = x->closed;
  strand_closed_fill(c, offsets);
  c->group = strand_group_metadata(x->owner);
  if (c->group == NULL) return false;
  x->out = true;
  x->since_us = strand_transactions_wait(x) ? strand_clock_us() : 0;
  strand_transactor_ask(x->transactor, c);
  return true;
}

void strand_transactions_abandon (strand_transactions *x) {
  if (x->out) atomic_store(&x->closed->abandoned, true);
}

void strand_transactions_lose (strand_transactions *x, const char *topic,
                               int32_t index) {
  if (x->out) strand_closed_lose(x->closed, topic, index);
}

/* Of one that was begun. */
static void fit_intake (strand_transactions *x, bool committed,
                        int64_t now_us) {
  const strand_transactional *t = &x->owner->consumer->settings.transactional;
  size_t outputs = strand_closed_outputs(x->closed);
  int64_t took_us = now_us - x->closed->began_us;
  if (committed) strand_intake_committed(&x->intake, outputs, took_us, now_us);
  else if (took_us >= t->timeout_us)
    strand_intake_timed_out(&x->intake, outputs);
}

/*
** The engine is told
*/

static strand_err tell (strand_transactions *x, strand_staged *s,
                        int64_t now_us) {
  strand_engine *e = x->owner->engine;
  bool dead_letter = !s->first->sent.is_output;
  if (s->refused != NULL) {
    return dead_letter ? strand_transactions_refuse_dead_letter(x, s, now_us)
                       : strand_output_record_refused(e, s, now_us);
  }
  return dead_letter ? strand_engine_dead_letter_acked(e, s->record, now_us)
                     : strand_engine_output_acked(e, s->record, now_us);
}

static void tell_engine (strand_transactions *x, int64_t now_us) {
  strand_staged *s;
  while ((s = strand_staged_first(&x->settled)) != NULL) {
    if (tell(x, s, now_us) != STRAND_OK) return; /* no memory: a later turn */
    strand_transactions_drop(x, s);
    strand_snapshot_change(x->snapshot);
  }
}

static void settle (strand_transactions *x, strand_staged *s) {
  s->out = 0;
  s->acked = true;
  strand_list_push(&x->settled, &s->link);
}

static void note_counts (strand_transactions *x, const strand_staged *s,
                         bool done) {
  strand_staging *staging = &x->owner->consumer->staging;
  if (!s->first->sent.is_output) return;
  if (done) {
    atomic_fetch_add_explicit(&staging->sent, s->count, memory_order_relaxed);
    atomic_fetch_add_explicit(&staging->acked, s->count, memory_order_relaxed);
  }
  else atomic_fetch_add_explicit(&staging->failed, 1, memory_order_relaxed);
}

void strand_transactions_turn_away (strand_transactions *x, strand_staged *s) {
  note_counts(x, s, false);
  settle(x, s);
}

/* It was committed. */
static void unbar (strand_transactions *x, const strand_staged *s) {
  const strand_output *o = x->barred.count > 0 ? s->first : NULL;
  for (; o != NULL; o = o->next)
    strand_barred_topics_remove(&x->barred, strand_output_topic(o));
}

/* From the last on, so that what waits again is in its order. */
void strand_transactions_settle (strand_transactions *x, int64_t now_us) {
  strand_closed *c = x->closed;
  for (size_t i = c->count; i-- > 0;) {
    strand_staged *s = c->staged[i];
    if (s->record == NULL) strand_transactions_drop(x, s);
    else if (s->open == 0) {
      note_counts(x, s, true);
      unbar(x, s);
      if (!s->first->sent.is_output) x->later_wait_us = 0;
      s->refused = NULL;
      settle(x, s);
    }
    else if (s->refused != NULL) {
      strand_engine_untransact(x->owner->engine, s->record);
      note_counts(x, s, false);
      settle(x, s);
    }
    else if (s->later) strand_transactions_put_off(x, s);
    else put_back(x, s);
  }
  end_closed(x);
  tell_engine(x, now_us);
}

bool strand_transactions_answer (strand_transactions *x,
                                 const strand_commit *commit,
                                 strand_closed_answer *ended, int64_t now_us) {
  strand_closed *c = x->out ? strand_transactor_take(x->transactor) : NULL;
  if (c == NULL) return false;
  x->out = false;
  strand_closed_answer_read(c, commit, ended);
  strand_transactions_judge(x, c, ended, now_us);
  strand_transactor_expect(x->transactor, batch_size_of(x));
  if (ended->answer != STRAND_COMMITTED
      && strand_error_kind_of(c->answer.err)
           == STRAND_ERROR_METADATA_TOO_LARGE)
    ended->answer = STRAND_COMMIT_REFUSED;
  if (c->began_us > 0)
    fit_intake(x, ended->answer == STRAND_COMMITTED, now_us);
  if (ended->answer == STRAND_COMMITTED) x->wait_us = AGAIN_FIRST_US;
  else if (!ended->reported) wait_again(x, now_us);
  return true;
}

/*
** Turns
*/

/* For health(): from when it is told, until it is over. */
static void publish (strand_transactions *x, const char *reason) {
  strand_failure problem;
  if (reason != NULL) strand_fail(&problem, CANNOT_TRANSACT, "%s", reason);
  strand_problem_set(x->problem, STRAND_PROBLEM_CANNOT_TRANSACT,
                     reason != NULL ? &problem : NULL);
}

/* Rights have an event of their own, which says what is refused. All else, also
** no answer, is of the transactions' coordinator alone: "unreachable" would
** deny that other brokers answer. */
static void tell_wait (const strand_transactions *x, rd_kafka_resp_err_t err,
                       const char *reason) {
  strand_error_kind kind = strand_error_kind_of(err);
  char code[48];
  if (kind == STRAND_ERROR_UNAUTHENTICATED
      || kind == STRAND_ERROR_UNAUTHORIZED) {
    strand_owner_tell(x->owner, "auth_failed",
                      strand_code_of(err, code, sizeof(code)), reason, NULL,
                      -1);
  }
  else strand_owner_tell(x->owner, "error", CANNOT_TRANSACT, reason, NULL, -1);
}

static void tell_outage (strand_transactions *x, int64_t now_us) {
  strand_transaction_answer answer;
  char code[48], reason[400];
  int64_t since_us = strand_transactor_outage(x->transactor, &answer);
  if (since_us == 0) {
    x->outage = (strand_alert){ 0 };
    publish(x, NULL);
    return;
  }
  strand_alert_begin(&x->outage, since_us, PATIENCE_US);
  if (!strand_alert_take_due(&x->outage, now_us)) return;
  snprintf(reason, sizeof(reason), "transactions wait: %s (%s)", answer.reason,
           strand_code_of(answer.err, code, sizeof(code)));
  publish(x, reason); /* before it is told */
  tell_wait(x, answer.err, reason);
}

static void tell_renewed (strand_transactions *x) {
  strand_transaction_answer why;
  unsigned renewals = strand_transactor_renewals(x->transactor, &why);
  strand_event event;
  if (renewals == x->renewals) return;
  x->renewals = renewals;
  event = strand_owner_event(x->owner, "renewed", NULL);
  strand_event_set_reason(&event, why.reason, strlen(why.reason));
  strand_code_of(why.err, event.code, sizeof(event.code));
  strand_owner_emit(x->owner, &event);
}

void strand_transactions_serve (strand_transactions *x, int64_t now_us) {
  strand_failure failure;
  if (!strand_transactions_is_on(x)) return;
  if (!x->ended && strand_transactor_has_ended(x->transactor, &failure)) {
    x->ended = true;
    strand_shared_end(x->owner->consumer, STRAND_CLOSE_NOW, failure.code,
                      failure.message);
  }
  tell_outage(x, now_us);
  tell_renewed(x);
  tell_engine(x, now_us);
}

int64_t strand_transactions_due (const strand_transactions *x) {
  int64_t due;
  if (x->closed != NULL || x->ended) return INT64_MAX;
  if (!strand_transactions_wait(x))
    return strand_list_empty(&x->later) ? INT64_MAX : x->later_us;
  due = x->since_us + x->owner->consumer->settings.transactional.interval_us;
  if (x->waiting >= x->intake.size || x->alone > 0
      || x->owner->phase != STRAND_SERVING)
    due = 0;
  return due < x->not_before_us ? x->not_before_us : due;
}

void strand_transactions_check (const strand_transactions *x) {
  const strand_link *l = x->queue.next;
  size_t waiting = 0, count = 0;
  strand_intake_check(&x->intake);
  strand_barred_topics_check(&x->barred);
  for (; l != &x->queue && count < CHECKED_MOST; l = l->next, count++) {
    const strand_staged *s = strand_list_entry(l, strand_staged, link);
    assert(s->record != NULL && s->out == 0); /* (2) */
    waiting += s->count;
  }
  (void)waiting;
  assert(strand_list_empty(&x->settled)
         || strand_staged_first(&x->settled)->acked);     /* (1) */
  assert(count == CHECKED_MOST || waiting == x->waiting); /* (3) */
  assert(!x->out || x->closed != NULL);
}
