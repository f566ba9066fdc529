/*
** transactor.c - see transactor.h
*/
#include "member/transactor.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"
#include "kafka/errors.h"
#include "member/transactor_own.h"

#define SLICE_MS 1000 /* of a call, at most: how late a stop is seen */
#define BACKOFF_MS 100
#define RENEW_FIRST_US 100000
#define RENEW_MOST_US 5000000
#define IDLE_US 60000000

bool strand_transactor_is_stopping (strand_transactor *t) {
  bool stopping;
  strand_lock_take(&t->lock);
  stopping = t->stopping;
  strand_lock_release(&t->lock);
  return stopping;
}

static void destroy_client (strand_transactor *t) {
  rd_kafka_t *client = strand_transactor_client_let_go(&t->client);
  if (client != NULL) rd_kafka_destroy(client);
}

static void serve (strand_transactor *t) {
  while (strand_transactor_client_serve(&t->client, 0)) continue;
}

/*
** Calls
*/

static void note_outage (strand_transactor *t,
                         const strand_transaction_answer *answer) {
  strand_lock_take(&t->lock);
  if (t->outage.err == 0) t->outage_us = strand_clock_us();
  t->outage = *answer;
  strand_lock_release(&t->lock);
}

static void note_recovered (strand_transactor *t) {
  strand_lock_take(&t->lock);
  t->outage.err = RD_KAFKA_RESP_ERR_NO_ERROR;
  strand_lock_release(&t->lock);
}

static int left_ms (int64_t deadline_us, int most) {
  int64_t left = (deadline_us - strand_clock_us()) / 1000;
  return left < 0 ? 0 : left < most ? (int)left : most;
}

/* A wait that a stop ends, by the client's queue. */
static void back_off (strand_transactor *t, int64_t us) {
  int64_t until = strand_clock_us() + us;
  while (strand_clock_us() < until && !strand_transactor_is_stopping(t)) {
    if (t->client.queue != NULL)
      strand_transactor_client_serve(
        &t->client, left_ms(until, STRAND_TRANSACTOR_SERVE_MS));
    else strand_waker_sleep(&t->client.waker, until);
  }
}

/* The call 'which', or with NONE that of the closed transaction's offsets,
** until 'deadline_us': librdkafka resumes one that timed out. */
strand_transaction_kind
strand_transactor_call (strand_transactor *t, strand_transaction_call which,
                        strand_closed *c, int64_t deadline_us,
                        strand_transaction_answer *answer) {
  for (;;) {
    int ms = left_ms(deadline_us, SLICE_MS);
    strand_transaction_kind kind;
    if (which == STRAND_TRANSACTION_CALL_NONE)
      strand_transaction_send_offsets(t->client.handle, c->offsets, c->group,
                                      ms, answer);
    else strand_transaction_make(t->client.handle, which, ms, answer);
    serve(t);
    kind = strand_transaction_kind_of(answer);
    if (kind == STRAND_TRANSACTION_WORKED) note_recovered(t);
    if (kind != STRAND_TRANSACTION_RETRIABLE) return kind;
    note_outage(t, answer);
    if (strand_transactor_is_stopping(t) || strand_clock_us() >= deadline_us)
      return kind;
    if (answer->err != RD_KAFKA_RESP_ERR__TIMED_OUT)
      back_off(t, BACKOFF_MS * 1000);
  }
}

/*
** Renewal
*/

static void end (strand_transactor *t, const char *code, const char *text) {
  strand_lock_take(&t->lock);
  if (!t->ended) strand_fail(&t->failure, code, "%s", text);
  t->ended = true;
  strand_lock_release(&t->lock);
}

static void end_by (strand_transactor *t,
                    const strand_transaction_answer *answer) {
  char code[48];
  end(t, strand_code_of(answer->err, code, sizeof(code)), answer->reason);
}

static bool is_finished (strand_transactor *t) {
  bool ended;
  strand_lock_take(&t->lock);
  ended = t->stopping || t->ended;
  strand_lock_release(&t->lock);
  return ended;
}

/* 'age_us' of the transaction, or -1. */
static void note_fenced (strand_transactor *t, int64_t age_us) {
  if (age_us >= t->client.timeout_us) return; /* the brokers did it */
  if (++t->fenced > STRAND_TRANSACTOR_RENEWALS)
    end(t, "FENCED", "another process uses this transactional_id");
}

void strand_transactor_spend (strand_transactor *t,
                              const strand_transaction_answer *why) {
  t->spent = true;
  strand_lock_take(&t->lock);
  t->why = *why;
  strand_lock_release(&t->lock);
}

/* Both clients must mean the same brokers: a transaction is of one cluster. */
static void compare_clusters (strand_transactor *t) {
  char *mine = rd_kafka_clusterid(t->client.handle, SLICE_MS);
  char *theirs = rd_kafka_clusterid(t->owner->client, SLICE_MS);
  char text[300];
  if (mine != NULL && theirs != NULL) {
    t->same = strcmp(mine, theirs) == 0;
    snprintf(text, sizeof(text),
             "option 'producer.kafka': exactly once needs the consumer's "
             "cluster (%.64s), and this is another (%.64s)",
             theirs, mine);
    if (!t->same) end(t, "CLUSTER", text);
  }
  if (mine != NULL) rd_kafka_mem_free(t->client.handle, mine);
  if (theirs != NULL) rd_kafka_mem_free(t->owner->client, theirs);
}

/* The client gets its id, and what an earlier one left is ended. */
static void introduce (strand_transactor *t) {
  strand_transaction_answer answer;
  strand_transaction_kind kind = strand_transactor_call(
    t, STRAND_TRANSACTION_CALL_INIT, NULL, INT64_MAX, &answer);
  if (kind == STRAND_TRANSACTION_WORKED) {
    t->has_id = true;
    t->since_us = strand_clock_us();
    t->wait_us = RENEW_FIRST_US;
    return;
  }
  if (kind == STRAND_TRANSACTION_RETRIABLE) return; /* it is told to stop */
  strand_transactor_spend(t, &answer);
  if (kind == STRAND_TRANSACTION_FINAL) end_by(t, &answer);
  if (kind == STRAND_TRANSACTION_FENCED) note_fenced(t, -1);
  note_outage(t, &answer);
  back_off(t, t->wait_us);
  t->wait_us = t->wait_us * 2 < RENEW_MOST_US ? t->wait_us * 2 : RENEW_MOST_US;
}

/* It is not spent: its batches are too large for a topic, or smaller than need
** be. */
static void note_resized (strand_transactor *t, long batch_size) {
  t->why = (strand_transaction_answer){
    .err = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
  };
  snprintf(t->why.reason, sizeof(t->why.reason),
           "'batch.size' was %ld, and is %ld now", t->client.batch_size,
           batch_size);
}

static void replace_client (strand_transactor *t, long batch_size) {
  strand_failure failure;
  destroy_client(t);
  strand_lock_take(&t->lock);
  t->renewals++;
  if (!t->spent) note_resized(t, batch_size);
  strand_lock_release(&t->lock);
  if (strand_transactor_client_open(&t->client, batch_size, &failure)) {
    t->spent = t->has_id = false;
    return;
  }
  back_off(t, RENEW_FIRST_US); /* no memory, threads or descriptors */
}

/* There is a client that may begin a transaction. False: none will. */
bool strand_transactor_make_ready (strand_transactor *t, long batch_size) {
  while (!is_finished(t)) {
    bool fits = t->client.handle != NULL && !t->spent
                && t->client.batch_size == batch_size;
    if (fits && t->has_id && t->same) return true;
    if (!fits) replace_client(t, batch_size);
    else if (!t->has_id) introduce(t);
    else compare_clusters(t);
  }
  return false;
}

static void note_ready (strand_transactor *t) {
  strand_lock_take(&t->lock);
  t->ready = true;
  strand_lock_release(&t->lock);
}

/*
** What the group has
*/

static rd_kafka_resp_err_t ask_committed (strand_transactor *t,
                                          rd_kafka_topic_partition_list_t *l) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (l->cnt > 0) err = rd_kafka_committed(t->owner->client, l, SLICE_MS);
  for (int i = 0; err == 0 && i < l->cnt; i++) err = l->elems[i].err;
  return err;
}

/* Of all of them at once; or NULL, and what is in the way is noted. */
static rd_kafka_topic_partition_list_t *ask_once (strand_transactor *t,
                                                  strand_closed *c) {
  rd_kafka_topic_partition_list_t *l = strand_closed_names(c);
  strand_transaction_answer answer = { .err = ask_committed(t, l) };
  if (answer.err == RD_KAFKA_RESP_ERR_NO_ERROR) return l;
  snprintf(answer.reason, sizeof(answer.reason), "committed offsets: %s",
           rd_kafka_err2str(answer.err));
  note_outage(t, &answer);
  rd_kafka_topic_partition_list_destroy(l);
  if (answer.err != RD_KAFKA_RESP_ERR__TIMED_OUT)
    back_off(t, BACKOFF_MS * 1000);
  return NULL;
}

/* NULL: it is told to stop. */
static rd_kafka_topic_partition_list_t *read_committed (strand_transactor *t,
                                                        strand_closed *c) {
  rd_kafka_topic_partition_list_t *l = NULL;
  while (l == NULL && !strand_transactor_is_stopping(t)) l = ask_once(t, c);
  if (l != NULL) note_recovered(t);
  return l;
}

/*
** Its end
*/

/* Where a topic was refused the brokers may have begun no transaction, and to
** end none is fatal: the next client ends what there is. */
bool strand_transactor_abort (strand_transactor *t,
                              const strand_transaction_answer *why) {
  int64_t deadline_us = strand_clock_us() + t->client.timeout_us;
  strand_transaction_answer answer;
  strand_transactor_purge(t, deadline_us);
  if (strand_transactor_is_refused(why)) return false;
  return strand_transactor_call(t, STRAND_TRANSACTION_CALL_ABORT, NULL,
                                deadline_us, &answer)
         == STRAND_TRANSACTION_WORKED;
}

/* A commit whose end is not known: the new client's id ends it, and then the
** group knows. */
static void find_out (strand_transactor *t, strand_closed *c) {
  strand_transactor_spend(t, &c->answer);
  c->end = c->asked ? STRAND_CLOSED_RENEWED : STRAND_CLOSED_ABORTED;
  if (c->asked && strand_transactor_make_ready(t, c->batch_size))
    c->committed = read_committed(t, c);
}

static void conclude (strand_transactor *t, strand_closed *c,
                      strand_transaction_kind kind) {
  int64_t now_us = strand_clock_us();
  switch (kind) {
    case STRAND_TRANSACTION_WORKED:
      c->end = STRAND_CLOSED_COMMITTED;
      if (now_us - t->since_us >= STRAND_TRANSACTOR_CALM_US) t->fenced = 0;
      return;
    case STRAND_TRANSACTION_ABORTABLE:
    case STRAND_TRANSACTION_UNDELIVERED:
      if (c->asked) break; /* the group knows best */
      c->end = STRAND_CLOSED_ABORTED;
      if (!strand_transactor_abort(t, &c->answer)
          || kind == STRAND_TRANSACTION_UNDELIVERED)
        strand_transactor_spend(t, &c->answer);
      strand_transactor_name_refused(t, c);
      return;
    case STRAND_TRANSACTION_FINAL: end_by(t, &c->answer); break;
    case STRAND_TRANSACTION_FENCED:
      note_fenced(t, now_us - c->began_us);
      break;
    default: break;
  }
  find_out(t, c);
}

static strand_closed *next_asked (strand_transactor *t) {
  strand_closed *c;
  strand_lock_take(&t->lock);
  c = t->stopping ? NULL : t->asked;
  strand_lock_release(&t->lock);
  return c;
}

static void check_client (const strand_transactor *t) {
  (void)t;
  assert(!t->spent || t->client.handle == NULL); /* (4) */
}

static void answer (strand_transactor *t, strand_closed *c) {
  check_client(t);
  strand_lock_take(&t->lock);
  if (t->ended && c->end == STRAND_CLOSED_ABORTED)
    c->end = STRAND_CLOSED_ENDED;
  t->asked = NULL;
  t->answered = c;
  t->next_size = -1;
  strand_lock_release(&t->lock);
  strand_waker_wake(t->owners_waker);
}

static void make (strand_transactor *t, strand_closed *c) {
  c->end = STRAND_CLOSED_ABORTED;
  if (strand_transactor_make_ready(t, c->batch_size))
    conclude(t, c, strand_transactor_carry_out(t, c));
  if (t->spent) destroy_client(t); /* (4) */
  answer(t, c);
}

/*
** The thread
*/

/* Before it is asked for a transaction. What the owner learns from an answer
** may be another batch.size: that comes first. */
static bool renew_early (strand_transactor *t) {
  long batch_size;
  strand_lock_take(&t->lock);
  batch_size = t->next_size;
  strand_lock_release(&t->lock);
  if (!t->spent || batch_size < 0 || is_finished(t)) return false;
  strand_transactor_make_ready(t, batch_size);
  return true;
}

static void *run (void *argument) {
  strand_transactor *t = argument;
  if (strand_transactor_make_ready(t, t->client.batch_size)) note_ready(t);
  strand_waker_wake(t->owners_waker);
  while (!strand_transactor_is_stopping(t)) {
    strand_closed *c = next_asked(t);
    if (t->client.handle != NULL) serve(t);
    if (c != NULL) make(t, c);
    else if (!renew_early(t))
      strand_waker_sleep(&t->client.waker, strand_clock_us() + IDLE_US);
  }
  destroy_client(t);
  strand_lock_take(&t->lock);
  t->gone = true;
  strand_lock_release(&t->lock);
  strand_waker_wake(t->owners_waker);
  return NULL;
}

bool strand_transactor_start (strand_transactor *t) {
  t->running = strand_thread_start(&t->thread, run, t);
  return t->running;
}

void strand_transactor_stop (strand_transactor *t) {
  strand_lock_take(&t->lock);
  t->stopping = true;
  strand_lock_release(&t->lock);
  if (t->running) strand_waker_wake(&t->client.waker);
}

bool strand_transactor_join (strand_transactor *t) {
  bool gone;
  if (!t->running) return true;
  strand_lock_take(&t->lock);
  gone = t->gone;
  strand_lock_release(&t->lock);
  if (!gone) return false;
  pthread_join(t->thread, NULL);
  t->running = false;
  return true;
}

/*
** What the owner asks
*/

void strand_transactor_ask (strand_transactor *t, strand_closed *c) {
  strand_lock_take(&t->lock);
  assert(t->asked == NULL && t->answered == NULL); /* (1) */
  t->asked = c;
  strand_lock_release(&t->lock);
  strand_waker_wake(&t->client.waker);
}

strand_closed *strand_transactor_take (strand_transactor *t) {
  strand_closed *c;
  strand_lock_take(&t->lock);
  c = t->answered;
  t->answered = NULL;
  strand_lock_release(&t->lock);
  return c;
}

void strand_transactor_expect (strand_transactor *t, long batch_size) {
  strand_lock_take(&t->lock);
  t->next_size = batch_size;
  strand_lock_release(&t->lock);
  strand_waker_wake(&t->client.waker);
}

bool strand_transactor_is_ready (strand_transactor *t) {
  bool ready;
  strand_lock_take(&t->lock);
  ready = t->ready;
  strand_lock_release(&t->lock);
  return ready;
}

bool strand_transactor_has_ended (strand_transactor *t,
                                  strand_failure *failure) {
  bool ended;
  strand_lock_take(&t->lock);
  ended = t->ended;
  if (ended) *failure = t->failure;
  strand_lock_release(&t->lock);
  return ended;
}

int64_t strand_transactor_outage (strand_transactor *t,
                                  strand_transaction_answer *answer) {
  int64_t since_us = 0;
  strand_lock_take(&t->lock);
  if (t->outage.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    since_us = t->outage_us;
    *answer = t->outage;
  }
  strand_lock_release(&t->lock);
  return since_us;
}

unsigned strand_transactor_renewals (strand_transactor *t,
                                     strand_transaction_answer *why) {
  unsigned renewals;
  strand_lock_take(&t->lock);
  renewals = t->renewals;
  *why = t->why;
  strand_lock_release(&t->lock);
  return renewals;
}

/*
** Opening
*/

void strand_transactor_init (strand_transactor *t, const strand_owner *owner,
                             strand_outbox *outbox, strand_waker *waker) {
  *t = (strand_transactor){ .owner = owner,
                            .owners_waker = waker,
                            .wait_us = RENEW_FIRST_US };
  strand_lock_init(&t->lock, STRAND_RANK_LEAF);
  strand_transactor_client_init(&t->client, owner, outbox);
}

bool strand_transactor_open (strand_transactor *t, strand_failure *failure) {
  return strand_transactor_client_begin(&t->client, failure);
}

void strand_transactor_check (strand_transactor *t) {
  strand_lock_take(&t->lock);
  assert(t->asked == NULL || t->answered == NULL); /* (1) */
  assert(!t->ended || t->failure.code[0] != '\0'); /* (5) */
  assert(t->outage.err == 0 || t->outage_us > 0);  /* (5) */
  strand_lock_release(&t->lock);
}

void strand_transactor_free (strand_transactor *t) {
  assert(!t->running);
  strand_transactor_client_free(&t->client);
  strand_closed_free(t->asked);
  strand_closed_free(t->answered);
  strand_lock_free(&t->lock);
}

rd_kafka_t *strand_transactor_dismiss (strand_transactor *t) {
  return strand_transactor_client_let_go(&t->client);
}
