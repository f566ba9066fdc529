/*
** fatal.c - see fatal.h
*/
#include "producer/fatal.h"

#include <assert.h>

#include "kafka/errors.h"

/* Before another client follows as many that ended soon. */
static int64_t pause_us (int clients) {
  int64_t us = STRAND_FATAL_PAUSE_US;
  if (clients == 0) return 0;
  while (--clients > 0 && us < STRAND_FATAL_PAUSE_MAX_US) us *= 4;
  return us < STRAND_FATAL_PAUSE_MAX_US ? us : STRAND_FATAL_PAUSE_MAX_US;
}

/* Who we are and what the brokers can do is the same for each client. */
static bool is_for_good (rd_kafka_resp_err_t err) {
  switch (err) {
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION: return true;
    default: return strand_error_kind_of(err) == STRAND_ERROR_UNAUTHORIZED;
  }
}

void strand_fatal_took (strand_fatal *f, int64_t now_us) {
  f->calm = now_us - f->opened_us >= STRAND_FATAL_CALM_US;
}

void strand_fatal_begin (strand_fatal *f, rd_kafka_resp_err_t err,
                         const char *text, int64_t now_us) {
  char code[sizeof(f->failure.code)];
  assert(f->state == STRAND_FATAL_NONE);
  f->state = STRAND_FATAL_DRAINING;
  f->err = err;
  strand_fail(&f->failure, strand_code_of(err, code, sizeof(code)), "%s",
              text);
  if (f->calm) f->clients = 0;
  f->since_us = f->due_us = now_us;
  f->renew_us = now_us + pause_us(f->clients);
}

static strand_fatal_step drain (strand_fatal *f, int64_t now_us) {
  if (now_us < f->due_us) return STRAND_FATAL_WAIT;
  f->due_us = now_us + STRAND_FATAL_TICK_US;
  return now_us - f->since_us < STRAND_FATAL_PATIENCE_US
           ? STRAND_FATAL_PURGE
           : STRAND_FATAL_PURGE_ALL;
}

strand_fatal_step strand_fatal_next (strand_fatal *f, int64_t out,
                                     int64_t now_us) {
  if (f->state != STRAND_FATAL_DRAINING) return STRAND_FATAL_WAIT;
  if (out > 0) return drain(f, now_us);
  if (is_for_good(f->err) || f->clients == STRAND_FATAL_CLIENTS) {
    f->state = STRAND_FATAL_ENDED;
    f->due_us = 0;
    return STRAND_FATAL_GIVE_UP;
  }
  if (now_us >= f->renew_us) return STRAND_FATAL_RENEW;
  f->due_us = f->renew_us;
  return STRAND_FATAL_WAIT;
}

void strand_fatal_renewed (strand_fatal *f, int64_t now_us) {
  int clients = f->clients + 1;
  assert(f->state == STRAND_FATAL_DRAINING);
  *f = (strand_fatal){ .opened_us = now_us, .clients = clients };
}

void strand_fatal_postpone (strand_fatal *f, int64_t now_us) {
  assert(f->state == STRAND_FATAL_DRAINING);
  f->clients++;
  f->due_us = f->renew_us = now_us + pause_us(f->clients);
}

void strand_fatal_check (const strand_fatal *f) {
  (void)f;
  assert((f->state == STRAND_FATAL_NONE) == (f->err == 0));        /* (1) */
  assert((f->state == STRAND_FATAL_DRAINING) == (f->due_us != 0)); /* (2) */
  assert(f->clients >= 0 && f->clients <= STRAND_FATAL_CLIENTS);   /* (3) */
}
