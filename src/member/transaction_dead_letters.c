/*
** transaction_dead_letters.c - dead letters in transactions
**
** One that cannot be taken yet (its topic is missing) would have each
** transaction aborted, and all outputs wait for it: so it waits apart.
*/
#include "base/clock.h"
#include "kafka/errors.h"
#include "member/staged_dead_letter.h"
#include "member/transactions.h"

#define LATER_FIRST_US 2000000
#define LATER_MOST_US 30000000

/* It was read from where it would go: that is no place for it. */
static bool park_returned (strand_transactions *x, strand_staged *s) {
  char reason[STRAND_REASON_MAX];
  size_t length = strand_dead_letter_excuse(reason, s->record,
                                            STRAND_DEAD_LETTER_RETURNED);
  if (strand_engine_dead_letter_refused(x->owner->engine, s->record, reason,
                                        length, strand_clock_us())
      != STRAND_OK)
    return false;
  strand_transactions_drop(x, s);
  return true;
}

/* Its topic was missing just now: it goes there with those that wait. */
static bool waits_too (const strand_transactions *x, int64_t now_us) {
  return now_us < x->later_us && !strand_list_empty(&x->later);
}

static bool write_dead_letter (strand_transactions *x, strand_staged *s,
                               int64_t now_us) {
  if (strand_dead_letter_returns(x->outbox->config, x->outbox->group,
                                 s->record))
    return park_returned(x, s);
  if (!strand_staged_dead_letter(s, x->outbox->config, x->outbox->group,
                                 STRAND_CUT_NOTHING,
                                 &x->owner->consumer->time))
    return false;
  s->open = s->count;
  strand_list_remove(&s->link);
  if (strand_transactions_refuse_barred(x, s, now_us)) {
    strand_transactions_turn_away(x, s);
    return true;
  }
  if (waits_too(x, now_us)) {
    s->acked = true; /* not counted in 'waiting' */
    strand_list_push(&x->later, &s->link);
    return true;
  }
  strand_list_push(&x->queue, &s->link);
  x->waiting += s->count;
  return true;
}

void strand_transactions_write_dead_letters (strand_transactions *x,
                                             int64_t now_us) {
  strand_staged *s;
  while ((s = strand_staged_first(&x->dead_letters)) != NULL
         && write_dead_letter(x, s, now_us))
    continue;
  if (now_us < x->later_us) return;
  while ((s = strand_staged_first(&x->later)) != NULL) {
    s->later = s->acked = false;
    strand_list_remove(&s->link);
    strand_list_push(&x->queue, &s->link);
    x->waiting += s->count;
  }
}

void strand_transactions_put_off (strand_transactions *x, strand_staged *s) {
  strand_engine_untransact(x->owner->engine, s->record);
  s->out = 0;
  s->acked = true; /* not counted in 'waiting' */
  strand_list_push(&x->later, &s->link);
}

/* Once for all that were in one transaction. */
static void wait_longer (strand_transactions *x, int64_t now_us) {
  if (now_us < x->later_us) return;
  if (x->later_wait_us < LATER_FIRST_US) x->later_wait_us = LATER_FIRST_US;
  x->later_us = now_us + x->later_wait_us;
  x->later_wait_us *= 2;
  if (x->later_wait_us > LATER_MOST_US) x->later_wait_us = LATER_MOST_US;
}

/* Once: the dead letter topic has fewer partitions than a source. */
static void tell_fewer (strand_transactions *x, const strand_staged *s) {
  if (x->fewer_reported) return;
  x->fewer_reported = true;
  strand_owner_tell(
    x->owner, "error", "UNKNOWN_PARTITION", STRAND_DEAD_LETTER_BY_KEY,
    x->outbox->config->topic,
    strand_partition_index(strand_record_partition(s->record)));
}

static void tell_later (strand_transactions *x, rd_kafka_resp_err_t err,
                        int64_t now_us) {
  strand_error_kind kind = strand_error_kind_of(err);
  char code[48], reason[300];
  strand_alert_begin(&x->missing, now_us, 0);
  if (!strand_alert_take_due(&x->missing, now_us)) return;
  snprintf(reason, sizeof(reason), "dead letters wait: %s",
           rd_kafka_err2str(err));
  strand_owner_tell(x->owner,
                    kind == STRAND_ERROR_MISSING        ? "topic_missing"
                    : kind == STRAND_ERROR_UNAUTHORIZED ? "auth_failed"
                                                        : "error",
                    strand_code_of(err, code, sizeof(code)), reason,
                    x->outbox->config->topic, -1);
}

bool strand_transactions_judge_dead_letter (strand_transactions *x,
                                            strand_staged *s, bool believed,
                                            int64_t now_us) {
  rd_kafka_resp_err_t err = (rd_kafka_resp_err_t)s->err;
  if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
      && s->first->partition >= 0) {
    tell_fewer(x, s);
    s->first->partition = -1;
  }
  else if (believed) {
    if (strand_error_kind_of(err) != STRAND_ERROR_TOO_LARGE
        || !strand_staged_dead_letter_cut(s, x->outbox))
      return true;
  }
  else {
    tell_later(x, err, now_us);
    s->later = true;
    wait_longer(x, now_us);
  }
  s->refused = NULL;
  return false;
}

strand_err strand_transactions_refuse_dead_letter (strand_transactions *x,
                                                   const strand_staged *s,
                                                   int64_t now_us) {
  char reason[STRAND_REASON_MAX];
  size_t length = strand_dead_letter_excuse(
    reason, s->record, rd_kafka_err2str((rd_kafka_resp_err_t)s->err));
  return strand_engine_dead_letter_refused(x->owner->engine, s->record, reason,
                                           length, now_us);
}
