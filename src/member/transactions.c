/*
** transactions.c - see transactions.h
*/
#include "member/transactions.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "member/staged_letter.h"

#define AGAIN_FIRST_US 100000
#define AGAIN_MOST_US 5000000
#define PATIENCE_US 10000000
#define INTAKE_LEAST 100
#define ALONE 1 /* batch_size: each output is a batch */
#define BATCH_FIRST 500000
#define BATCH_LEAST 1000
#define CHECKED_MOST 64 /* of thousands, at each turn */

void strand_transactions_init (strand_transactions *x,
                               const strand_owner *owner,
                               strand_transactor *transactor,
                               const strand_outbox *outbox,
                               strand_snapshot *snapshot) {
  *x = (strand_transactions){
    .owner = owner,
    .transactor = transactor,
    .outbox = outbox,
    .snapshot = snapshot,
    .intake = owner->consumer->settings.transactional.records,
    .wait_us = AGAIN_FIRST_US
  };
  strand_list_init(&x->letters);
  strand_list_init(&x->queue);
  strand_list_init(&x->aside);
  strand_list_init(&x->settled);
}

/*
** Lists
*/

static strand_staged *first_of (const strand_link *list) {
  if (strand_list_empty(list)) return NULL;
  return strand_list_entry(list->next, strand_staged, link);
}

static void drop (strand_transactions *x, strand_staged *s) {
  strand_list_remove(&s->link);
  strand_list_remove(&s->mine);
  strand_shared_unstage(x->owner->consumer, s);
}

static void drop_all (strand_transactions *x, strand_link *list) {
  strand_staged *s;
  while ((s = first_of(list)) != NULL) drop(x, s);
}

void strand_transactions_free (strand_transactions *x) {
  drop_all(x, &x->letters);
  drop_all(x, &x->queue);
  drop_all(x, &x->aside);
  drop_all(x, &x->settled);
  if (x->closed == NULL) return;
  for (size_t i = 0; i < x->closed->count; i++) drop(x, x->closed->staged[i]);
  if (!x->out) strand_closed_free(x->closed); /* else the transactor has */
}

static void add (strand_transactions *x, strand_assigned *assigned,
                 strand_staged *s, strand_record *r) {
  s->record = r;
  s->open = s->count;
  strand_list_push(&x->queue, &s->link);
  strand_list_push(&assigned->outputs, &s->mine);
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
bool strand_transactions_take_letter (strand_transactions *x,
                                      strand_partition *p,
                                      strand_record *record) {
  strand_assigned *assigned = strand_partition_opaque(p);
  strand_staged *s = strand_staged_new(&x->owner->consumer->staging);
  if (s == NULL) return false;
  s->record = record;
  strand_list_push(&x->letters, &s->link);
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
    drop(x, s);
  }
  if (!strand_transactions_wait(x)) x->since_us = 0;
}

bool strand_transactions_is_full (const strand_transactions *x) {
  return x->waiting >= x->intake || !strand_transactor_is_ready(x->transactor);
}

bool strand_transactions_may_begin (const strand_transactions *x) {
  return x->closed == NULL && !x->over
         && strand_transactor_is_ready(x->transactor);
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

/* It was read from where it would go: that is no place for it. */
static bool park_returned (strand_transactions *x, strand_staged *s) {
  static const char why[] =
    "it comes from the dead letter topic, where this group had sent it";
  char reason[STRAND_REASON_MAX];
  size_t length = strand_dead_letter_excuse(reason, s->record, why);
  if (strand_engine_dead_letter_refused(x->owner->engine, s->record, reason,
                                        length, strand_clock_us())
      != STRAND_OK)
    return false;
  drop(x, s);
  return true;
}

static bool write_letter (strand_transactions *x, strand_staged *s) {
  if (strand_dead_letter_returns(x->outbox->config, x->outbox->group,
                                 s->record))
    return park_returned(x, s);
  if (!strand_staged_letter(s, x->outbox, STRAND_CUT_NOTHING)) return false;
  s->open = s->count;
  strand_list_remove(&s->link);
  strand_list_push(&x->queue, &s->link);
  x->waiting += s->count;
  return true;
}

static void write_letters (strand_transactions *x) {
  strand_staged *s;
  while ((s = first_of(&x->letters)) != NULL && write_letter(x, s)) continue;
}

static size_t intake_of (const strand_transactions *x) {
  return x->batch_size == ALONE && x->intake > INTAKE_LEAST ? INTAKE_LEAST
                                                            : x->intake;
}

/* Each that is closed has a record, so its epoch is the live one. */
void strand_transactions_close (strand_transactions *x) {
  size_t taken = 0, most = intake_of(x);
  strand_staged *s;
  assert(x->closed == NULL);
  write_letters(x);
  x->closed = strand_closed_new(count_of(&x->aside) + count_of(&x->queue));
  if (x->closed == NULL) return;
  x->closed->batch_size = x->batch_size;
  while ((s = first_of(&x->aside)) != NULL) {
    s->acked = false;
    enclose(x, s);
  }
  while ((s = first_of(&x->queue)) != NULL
         && (taken == 0 || taken + s->count <= most)) {
    taken += s->count;
    enclose(x, s);
  }
  x->waiting -= taken;
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
  if (x->closed == NULL) return;
  for (size_t i = x->closed->count; i-- > 0;)
    put_back(x, x->closed->staged[i]);
  end_closed(x);
}

/* The commit had no room to tell of their partition. */
static void leave_out (strand_transactions *x) {
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
    strand_list_push(&x->aside, &s->link);
  }
  c->count = kept;
}

#define MAGIC "CGMDv2:" /* librdkafka's own, before the generation */

/* A member that has no id, or no generation, is fenced by nothing. */
static bool is_member (const strand_owner *o,
                       const rd_kafka_consumer_group_metadata_t *group) {
  char *id = rd_kafka_memberid(o->client);
  bool member = id != NULL && id[0] != '\0';
  const void *bytes = NULL;
  size_t size = 0;
  int32_t generation = 0;
  rd_kafka_error_t *error;
  if (id != NULL) rd_kafka_mem_free(o->client, id);
  error = rd_kafka_consumer_group_metadata_write(group, (void **)&bytes,
                                                 &size);
  if (error != NULL) {
    rd_kafka_error_destroy(error);
    return member;
  }
  if (size >= sizeof(MAGIC) - 1 + sizeof(generation)
      && memcmp(bytes, MAGIC, sizeof(MAGIC) - 1) == 0)
    memcpy(&generation, (const char *)bytes + sizeof(MAGIC) - 1,
           sizeof(generation));
  rd_kafka_mem_free(NULL, (void *)(uintptr_t)bytes);
  return member && generation >= 0;
}

/* The group's metadata of now: who is not a member any more when it arrives is
** refused by the group. */
bool strand_transactions_send (strand_transactions *x,
                               rd_kafka_topic_partition_list_t *offsets) {
  strand_closed *c = x->closed;
  c->offsets = offsets;
  c->group = rd_kafka_consumer_group_metadata(x->owner->client);
  if (c->group == NULL || !is_member(x->owner, c->group)) return false;
  leave_out(x);
  x->out = true;
  x->since_us = strand_transactions_wait(x) ? strand_clock_us() : 0;
  strand_transactor_ask(x->transactor, c);
  return true;
}

void strand_transactions_abandon (strand_transactions *x) {
  if (x->out) atomic_store(&x->closed->abandoned, true);
}

/*
** The answer
*/

/* What the group has covers the record. A payload that cannot be read says
** nothing. */
static bool is_covered (const rd_kafka_topic_partition_t *p, int64_t offset) {
  const char *problem = NULL;
  strand_payload payload = { 0 };
  bool covered;
  if (p->offset < 0) return false;
  if (offset < p->offset) return true;
  if (p->metadata_size == 0
      || strand_payload_decode(p->offset, p->metadata, p->metadata_size,
                               &payload, &problem)
           != STRAND_OK)
    return false;
  covered = offset <= payload.highest;
  for (size_t i = 0; covered && i < payload.run_count; i++) {
    covered = offset < payload.runs[i].first || offset > payload.runs[i].last;
  }
  strand_payload_free(&payload);
  return covered;
}

static const rd_kafka_topic_partition_t *find (const strand_closed *c,
                                               const strand_partition *p) {
  return rd_kafka_topic_partition_list_find(
    c->committed, strand_partition_topic(p), strand_partition_index(p));
}

static bool has_item (const strand_closed *c, const strand_commit_item *item) {
  const rd_kafka_topic_partition_t *p = find(c, item->partition);
  return p != NULL && p->offset == item->offset
         && p->metadata_size == strlen(item->metadata)
         && (p->metadata_size == 0
             || memcmp(p->metadata, item->metadata, p->metadata_size) == 0);
}

/* A transaction is taken as a whole: one of its partitions says it of all. */
static bool was_committed (const strand_closed *c,
                           const strand_commit *commit) {
  for (size_t i = 0; i < commit->count; i++) {
    if (has_item(c, &commit->items[i])) return true;
  }
  return false;
}

static void mark_done (strand_closed *c) {
  for (size_t i = 0; i < c->count; i++) c->staged[i]->open = 0;
}

static void mark_covered (strand_closed *c) {
  for (size_t i = 0; i < c->count; i++) {
    strand_staged *s = c->staged[i];
    const rd_kafka_topic_partition_t *p =
      s->record == NULL ? NULL : find(c, strand_record_partition(s->record));
    if (p != NULL && is_covered(p, s->record->offset)) s->open = 0;
  }
}

static void take_renewed (strand_closed *c, const strand_commit *commit,
                          strand_closed_answer *ended) {
  ended->answer = STRAND_COMMIT_ABORTED;
  if (c->committed == NULL) return;
  if (was_committed(c, commit)) {
    ended->answer = STRAND_COMMITTED;
    mark_done(c);
  }
  else mark_covered(c);
}

static void describe (const strand_closed *c, strand_closed_answer *ended) {
  ended->err = c->answer.err;
  snprintf(ended->reason, sizeof(ended->reason), "transaction: %s: %s",
           c->step != NULL ? c->step : "no client",
           c->answer.reason[0] != '\0' ? c->answer.reason
                                       : rd_kafka_err2str(c->answer.err));
}

/* One that took longer than the interval is followed by a smaller one. */
static void fit_intake (strand_transactions *x, int64_t now_us) {
  const strand_transactional *t = &x->owner->consumer->settings.transactional;
  size_t least = t->records < INTAKE_LEAST ? t->records : INTAKE_LEAST;
  if (now_us - x->closed->began_us > t->interval_us) x->intake /= 2;
  else x->intake *= 2;
  if (x->intake < least) x->intake = least;
  if (x->intake > t->records) x->intake = t->records;
}

static void wait_again (strand_transactions *x, int64_t now_us) {
  x->not_before_us = now_us + x->wait_us;
  x->wait_us *= 2;
  if (x->wait_us > AGAIN_MOST_US) x->wait_us = AGAIN_MOST_US;
}

/*
** Outputs that were refused
*/

/* Believed at once of a topic or partition that is not there or not allowed;
** else of one that was alone in its batch: brokers refuse whole ones. */
static bool is_believed (const strand_closed *c, const strand_staged *s) {
  rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)s->err;
  bool letter = !s->refused->sent.is_output;
  if (s->refused->alone || err == RD_KAFKA_RESP_ERR__QUEUE_FULL) return true;
  if (!letter
      && (strand_error_kind_of(err) == STRAND_ERROR_MISSING
          || err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED))
    return true;
  return strand_error_is_final(err) && c->batch_size == ALONE;
}

/* Others of its batch may be to blame: each is sent alone, and where none is
** refused then, batches are smaller from now on. */
static void suspect (strand_transactions *x, const strand_staged *s) {
  if (strand_error_is_final((rd_kafka_resp_err_t)s->err))
    x->batch_size = ALONE;
}

/* What it has failed of is known: the records end, or it goes otherwise. */
static bool judge (strand_transactions *x, const strand_closed *c,
                   strand_staged *s) {
  if (s->refused == NULL) return false;
  if (is_believed(c, s)) return true;
  suspect(x, s);
  s->refused = NULL;
  return false;
}

static void learn_batch (strand_transactions *x, const strand_closed *c,
                         bool refused) {
  if (c->batch_size != ALONE) return;
  x->batch_size = x->learnt;
  if (refused) return; /* that one was to blame */
  x->learnt = x->learnt == 0 ? BATCH_FIRST : x->learnt / 2;
  if (x->learnt < BATCH_LEAST) x->learnt = BATCH_LEAST;
  x->batch_size = x->learnt;
}

/*
** The engine is told
*/

static strand_err tell_refused (strand_transactions *x, strand_staged *s,
                                int64_t now_us) {
  char reason[400]; /* all of it is ASCII */
  snprintf(reason, sizeof(reason), "output to topic '%s' refused: %s",
           strand_output_topic(s->refused),
           rd_kafka_err2str((rd_kafka_resp_err_t)s->err));
  return strand_engine_output_refused(x->owner->engine, &s->record, reason,
                                      strlen(reason), now_us);
}

static strand_err tell_letter_refused (strand_transactions *x,
                                       const strand_staged *s,
                                       int64_t now_us) {
  char reason[STRAND_REASON_MAX];
  size_t length = strand_dead_letter_excuse(
    reason, s->record, rd_kafka_err2str((rd_kafka_resp_err_t)s->err));
  return strand_engine_dead_letter_refused(x->owner->engine, s->record, reason,
                                           length, now_us);
}

static strand_err tell (strand_transactions *x, strand_staged *s,
                        int64_t now_us) {
  strand_engine *e = x->owner->engine;
  bool letter = !s->first->sent.is_output;
  if (s->refused != NULL) {
    return letter ? tell_letter_refused(x, s, now_us)
                  : tell_refused(x, s, now_us);
  }
  return letter ? strand_engine_dead_letter_acked(e, s->record, now_us)
                : strand_engine_output_acked(e, s->record, now_us);
}

static void tell_engine (strand_transactions *x, int64_t now_us) {
  strand_staged *s;
  while ((s = first_of(&x->settled)) != NULL) {
    if (tell(x, s, now_us) != STRAND_OK) return; /* no memory: a later turn */
    drop(x, s);
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

/* From the last on, so that what waits again is in its order. */
void strand_transactions_settle (strand_transactions *x, int64_t now_us) {
  strand_closed *c = x->closed;
  for (size_t i = c->count; i-- > 0;) {
    strand_staged *s = c->staged[i];
    if (s->record == NULL) drop(x, s);
    else if (s->open == 0) {
      note_counts(x, s, true);
      s->refused = NULL;
      settle(x, s);
    }
    else if (s->refused != NULL) {
      strand_engine_untransact(x->owner->engine, s->record);
      note_counts(x, s, false);
      settle(x, s);
    }
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
  *ended = (strand_closed_answer){ .answer = STRAND_COMMIT_ABORTED };
  x->out = false;
  describe(c, ended);
  if (c->end == STRAND_CLOSED_COMMITTED) {
    ended->answer = STRAND_COMMITTED;
    mark_done(c);
  }
  else if (c->end == STRAND_CLOSED_RENEWED) take_renewed(c, commit, ended);
  for (size_t i = 0; ended->answer != STRAND_COMMITTED && i < c->count; i++)
    if (c->staged[i]->open > 0) ended->told |= judge(x, c, c->staged[i]);
  learn_batch(x, c, ended->told);
  ended->told |= x->batch_size == ALONE;
  if (ended->answer != STRAND_COMMITTED
      && strand_error_kind_of(c->answer.err)
           == STRAND_ERROR_METADATA_TOO_LARGE)
    ended->answer = STRAND_COMMIT_REFUSED;
  if (ended->answer == STRAND_COMMITTED) {
    fit_intake(x, now_us);
    x->wait_us = AGAIN_FIRST_US;
  }
  else if (!ended->told) wait_again(x, now_us);
  return true;
}

/*
** Turns
*/

static void tell_trouble (strand_transactions *x, int64_t now_us) {
  strand_transaction_answer answer;
  char code[48], reason[400];
  int64_t since_us = strand_transactor_trouble(x->transactor, &answer);
  strand_error_kind kind;
  if (since_us == 0) {
    x->trouble = (strand_alert){ 0 };
    return;
  }
  strand_alert_begin(&x->trouble, since_us, PATIENCE_US);
  if (!strand_alert_take_due(&x->trouble, now_us)) return;
  kind = strand_error_kind_of(answer.err);
  snprintf(reason, sizeof(reason), "transactions wait: %s", answer.reason);
  strand_owner_tell(
    x->owner,
    kind == STRAND_ERROR_UNAUTHENTICATED || kind == STRAND_ERROR_UNAUTHORIZED
      ? "auth_failed"
    : kind == STRAND_ERROR_UNREACHABLE ? "unreachable"
                                       : "error",
    strand_code_of(answer.err, code, sizeof(code)), reason, NULL, -1);
}

static void tell_renewed (strand_transactions *x) {
  static const char reason[] = "the producer of the transactions was replaced";
  unsigned renewals = strand_transactor_renewals(x->transactor);
  strand_event event;
  if (renewals == x->renewals) return;
  x->renewals = renewals;
  event = strand_owner_event(x->owner, "renewed", NULL);
  strand_event_set_reason(&event, reason, sizeof(reason) - 1);
  strand_owner_emit(x->owner, &event);
}

void strand_transactions_serve (strand_transactions *x, int64_t now_us) {
  strand_failure failure;
  if (!strand_transactions_is_on(x)) return;
  if (!x->over && strand_transactor_is_over(x->transactor, &failure)) {
    x->over = true;
    strand_shared_end(x->owner->consumer, STRAND_CLOSE_NOW, failure.code,
                      failure.message);
  }
  tell_trouble(x, now_us);
  tell_renewed(x);
  tell_engine(x, now_us);
}

int64_t strand_transactions_due (const strand_transactions *x,
                                 int64_t now_us) {
  int64_t due;
  (void)now_us;
  if (x->closed != NULL || !strand_transactions_wait(x) || x->over)
    return INT64_MAX;
  due = x->since_us + x->owner->consumer->settings.transactional.interval_us;
  if (x->waiting >= x->intake || x->batch_size == ALONE) due = 0;
  return due < x->not_before_us ? x->not_before_us : due;
}

void strand_transactions_check (const strand_transactions *x) {
  const strand_link *l = x->queue.next;
  size_t waiting = 0, count = 0;
  for (; l != &x->queue && count < CHECKED_MOST; l = l->next, count++) {
    const strand_staged *s = strand_list_entry(l, strand_staged, link);
    assert(s->record != NULL && s->out == 0); /* (2) */
    waiting += s->count;
  }
  (void)waiting;
  assert(count == CHECKED_MOST || waiting == x->waiting); /* (3) */
  assert(!x->out || x->closed != NULL);
}
