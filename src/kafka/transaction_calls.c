/*
** transaction_calls.c - see transaction_calls.h
*/
#include "kafka/transaction_calls.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/thread.h"
#include "kafka/log.h"

#define SLICE_MS 1000 /* of a call, at most: how late a stop is seen */
#define BACKOFF_S 0.1 /* after an error that may pass */

/*
** One call
*/

/* Takes 'error'; NULL: it worked. */
static void read_error (rd_kafka_error_t *error,
                        strand_transaction_answer *answer) {
  const char *text;
  memset(answer, 0, sizeof(*answer));
  if (error == NULL) return;
  text = rd_kafka_error_string(error);
  answer->err = rd_kafka_error_code(error);
  answer->is_fatal = rd_kafka_error_is_fatal(error);
  answer->is_abortable = !answer->is_fatal
                         && rd_kafka_error_txn_requires_abort(error);
  answer->is_retriable = !answer->is_fatal && !answer->is_abortable
                         && rd_kafka_error_is_retriable(error);
  strand_log_escape(answer->reason, sizeof(answer->reason), text,
                    strlen(text));
  rd_kafka_error_destroy(error);
}

void strand_transaction_make (rd_kafka_t *client, strand_transaction_call call,
                              int timeout_ms,
                              strand_transaction_answer *answer) {
  rd_kafka_error_t *error = NULL;
  switch (call) {
    case STRAND_TRANSACTION_CALL_NONE: break;
    case STRAND_TRANSACTION_CALL_INIT:
      error = rd_kafka_init_transactions(client, timeout_ms);
      break;
    case STRAND_TRANSACTION_CALL_BEGIN:
      error = rd_kafka_begin_transaction(client);
      break;
    case STRAND_TRANSACTION_CALL_COMMIT:
      error = rd_kafka_commit_transaction(client, timeout_ms);
      break;
    case STRAND_TRANSACTION_CALL_ABORT:
      error = rd_kafka_abort_transaction(client, timeout_ms);
      break;
  }
  read_error(error, answer);
}

void strand_transaction_send_offsets (
  rd_kafka_t *client, const rd_kafka_topic_partition_list_t *offsets,
  const rd_kafka_consumer_group_metadata_t *group, int timeout_ms,
  strand_transaction_answer *answer) {
  read_error(
    rd_kafka_send_offsets_to_transaction(client, offsets, group, timeout_ms),
    answer);
}

/*
** The thread that makes them
*/

struct strand_transaction_calls {
  rd_kafka_t *client;
  int wake_fd;
  bool running; /* of who asks, as 'thread' */
  pthread_t thread;
  strand_lock lock; /* of what follows */
  strand_condition changed;
  bool stopping;
  bool answered;
  strand_transaction_call call; /* NONE: none is out */
  double deadline;
  strand_transaction_answer answer;
};

/* With the lock; by who asks. */
static void check_locked (const strand_transaction_calls *calls) {
  bool out = calls->call != STRAND_TRANSACTION_CALL_NONE;
  assert(!out || calls->running);  /* (2) */
  assert(out || !calls->answered); /* (3) */
  (void)out;
}

/* The same, before one is asked for. */
static void check_none_locked (const strand_transaction_calls *calls) {
  check_locked(calls);
  assert(calls->call == STRAND_TRANSACTION_CALL_NONE); /* (1) */
}

strand_transaction_calls *strand_transaction_calls_new (rd_kafka_t *client,
                                                        int wake_fd) {
  strand_transaction_calls *calls = calloc(1, sizeof(*calls));
  if (calls == NULL) return NULL;
  calls->client = client;
  calls->wake_fd = wake_fd;
  strand_lock_init(&calls->lock, STRAND_RANK_LEAF);
  if (strand_condition_init(&calls->changed)) return calls;
  strand_lock_free(&calls->lock);
  free(calls);
  return NULL;
}

void strand_transaction_calls_stop (strand_transaction_calls *calls) {
  strand_lock_take(&calls->lock);
  calls->stopping = true;
  pthread_cond_broadcast(&calls->changed);
  strand_lock_release(&calls->lock);
}

void strand_transaction_calls_free (strand_transaction_calls *calls) {
  if (calls == NULL) return;
  strand_transaction_calls_stop(calls);
  if (calls->running) pthread_join(calls->thread, NULL);
  strand_condition_free(&calls->changed);
  strand_lock_free(&calls->lock);
  free(calls);
}

/* Called with the lock, and gives it up while it waits for a broker. */
static void make_slice_locked (strand_transaction_calls *calls,
                               strand_transaction_answer *answer) {
  strand_transaction_call call = calls->call;
  int ms = strand_clock_left_ms(calls->deadline);
  strand_lock_release(&calls->lock);
  strand_transaction_make(calls->client, call, ms < SLICE_MS ? ms : SLICE_MS,
                          answer);
  strand_lock_take(&calls->lock);
}

/* An error that comes at once would have it turn as fast as it can. */
static void back_off_locked (strand_transaction_calls *calls) {
  double until = strand_clock_now() + BACKOFF_S;
  while (!calls->stopping
         && strand_lock_wait_until(&calls->lock, &calls->changed, until))
    continue;
}

static void answer_locked (strand_transaction_calls *calls) {
  strand_transaction_answer answer;
  make_slice_locked(calls, &answer);
  while (strand_transaction_kind_of(&answer) == STRAND_TRANSACTION_RETRIABLE
         && !calls->stopping && strand_clock_left_ms(calls->deadline) > 0) {
    if (answer.err != RD_KAFKA_RESP_ERR__TIMED_OUT) back_off_locked(calls);
    make_slice_locked(calls, &answer);
  }
  calls->answer = answer;
  calls->answered = true;
  if (calls->wake_fd >= 0) eventfd_write(calls->wake_fd, 1);
}

static void *run (void *argument) {
  strand_transaction_calls *calls = argument;
  strand_lock_take(&calls->lock);
  while (!calls->stopping) {
    if (calls->call != STRAND_TRANSACTION_CALL_NONE && !calls->answered)
      answer_locked(calls);
    else strand_lock_wait(&calls->lock, &calls->changed);
  }
  strand_lock_release(&calls->lock);
  return NULL;
}

bool strand_transaction_calls_ask (strand_transaction_calls *calls,
                                   strand_transaction_call call,
                                   double deadline) {
  if (!calls->running)
    calls->running = strand_thread_start(&calls->thread, run, calls);
  if (!calls->running) return false;
  strand_lock_take(&calls->lock);
  check_none_locked(calls);
  calls->call = call;
  calls->deadline = deadline;
  check_locked(calls);
  pthread_cond_broadcast(&calls->changed);
  strand_lock_release(&calls->lock);
  return true;
}

bool strand_transaction_calls_take (strand_transaction_calls *calls,
                                    strand_transaction_answer *answer) {
  bool answered;
  strand_lock_take(&calls->lock);
  check_locked(calls);
  answered = calls->answered;
  if (answered) {
    *answer = calls->answer;
    calls->call = STRAND_TRANSACTION_CALL_NONE;
    calls->answered = false;
  }
  strand_lock_release(&calls->lock);
  return answered;
}
