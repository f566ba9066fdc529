/*
** recovery.c - a producer whose client is at its end gets another one; see
** fatal.h
**
** Nothing is sent twice: what the old client had is reported by it. What is
** sent meanwhile is kept (deferred.h) until the new one is there, and so goes
** after all of that.
*/
#include <stdio.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "producer/producer_own.h"

bool strand_recovery_noted (strand_producer *p) {
  char text[512];
  rd_kafka_resp_err_t err;
  if (p->transactional) return false;
  if (p->fatal.state != STRAND_FATAL_NONE)
    return p->fatal.state == STRAND_FATAL_DRAINING;
  err = rd_kafka_fatal_error(p->client->handle, text, sizeof(text));
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return false;
  strand_fatal_begin(&p->fatal, err, text, strand_clock_us());
  strand_deferred_hold(&p->deferred);
  strand_producer_set_timer(p);
  return true;
}

bool strand_recovery_is_due (const strand_producer *p) {
  return p->fatal.state == STRAND_FATAL_DRAINING
         && strand_clock_us() >= p->fatal.due_us;
}

bool strand_recovery_admits (const strand_producer *p,
                             strand_failure *failure) {
  const strand_failure *cause = &p->fatal.failure;
  if (p->fatal.state != STRAND_FATAL_ENDED) return true;
  strand_fail(failure, cause->code, "the producer is at its end: %s",
              cause->message);
  return false;
}

void strand_recovery_explain (strand_producer *p, strand_delivery_end *end) {
  if (strand_error_kind_of(end->err) != STRAND_ERROR_PURGED
      || !strand_recovery_noted(p))
    return;
  end->err = p->fatal.err;
  end->detail = end->certain ? "given up with the client, not sent"
                             : "given up with the client; it may be written";
}

static void purge (strand_producer *p, int also) {
  rd_kafka_purge(p->client->handle, RD_KAFKA_PURGE_F_QUEUE
                                      | RD_KAFKA_PURGE_F_NON_BLOCKING | also);
}

static void renew (strand_producer *p) {
  strand_failure failure, cause = p->fatal.failure;
  strand_client *client = strand_renewal_client(p, &failure);
  if (client == NULL) {
    strand_fatal_postpone(&p->fatal, strand_clock_us());
    strand_log_printf(p->log, STRAND_LOG_WARNING, "strand",
                      "the producer's client cannot be replaced now: %s",
                      failure.message);
    return;
  }
  strand_deferred_move(&p->deferred, client->calls);
  strand_renewal_take(p, client, 0); /* the old one ends by itself */
  strand_fatal_renewed(&p->fatal, strand_clock_us());
  strand_deferred_release(&p->deferred);
  strand_producer_events_renewed(&p->events, p->log, &cause);
  strand_producer_refresh(p); /* what was kept is sent */
}

static void give_up (strand_producer *p) {
  strand_deferred_release(&p->deferred);
  strand_producer_events_ended(&p->events, p->log, &p->fatal.failure);
  strand_placing_give_up(p, p->fatal.err);
  strand_producer_refresh(p);
}

void strand_recovery_turn (strand_producer *p) {
  if (p->fatal.state != STRAND_FATAL_DRAINING) return;
  switch (strand_fatal_next(&p->fatal, p->bounds.records - p->deferred.count,
                            strand_clock_us())) {
    case STRAND_FATAL_PURGE: purge(p, 0); break;
    case STRAND_FATAL_PURGE_ALL: purge(p, RD_KAFKA_PURGE_F_INFLIGHT); break;
    case STRAND_FATAL_RENEW: renew(p); break;
    case STRAND_FATAL_GIVE_UP: give_up(p); break;
    default: break;
  }
  strand_fatal_check(&p->fatal);
  strand_producer_set_timer(p);
}
