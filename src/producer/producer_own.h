/*
** producer_own.h - what a producer has, for its own unit alone
**
** producer.c sends and collects; producer_transaction.c has its transactions.
**
** Thread: lua.
*/
#ifndef STRAND_PRODUCER_OWN_H
#define STRAND_PRODUCER_OWN_H

#include <stdbool.h>

#include "kafka/client.h"
#include "kafka/log.h"
#include "producer/bounds.h"
#include "producer/deliveries.h"
#include "producer/flushing.h"
#include "producer/producer.h"
#include "producer/producer_conf.h"
#include "producer/producer_events.h"
#include "producer/readiness.h"
#include "producer/transaction.h"
#include "producer/unacked.h"

/* What a client is opened with, to be renewed. */
typedef struct strand_producer_renewal {
  rd_kafka_conf_t *conf; /* NULL: without transactions */
  int events;
} strand_producer_renewal;

struct strand_producer {
  strand_client *client; /* NULL: closed */
  strand_log *log;
  strand_producer_limits limits;
  strand_deliveries deliveries;
  strand_producer_events events;
  strand_flushing flushing;
  strand_unacked unacked;
  strand_bounds bounds;
  strand_readiness readiness;
  strand_transaction transaction; /* with renewal.conf */
  strand_producer_renewal renewal;
  bool held;         /* taken, and not given on */
  bool kept;         /* the same, by strand_producer_keep */
  bool oauth_wanted; /* a token is due */
  bool unreachable;  /* all brokers were down, none has reported since */
  bool detached;     /* closed, and librdkafka had not ended in time */
  bool asked;        /* a call of the transaction is out */
};

static inline bool
strand_producer_is_transactional (const strand_producer *p) {
  return p->renewal.conf != NULL;
}

/* producer.c: takes what is there; from the queue until 'deadline' what purging
** makes of all that is outstanding. */
void strand_producer_refresh (strand_producer *p);
void strand_producer_purge (strand_producer *p, double deadline);

/* producer_transaction.c: opens p->client so that it can be renewed. Takes
** 'conf'; 'timeout' is the transaction's. False and a failure. */
bool strand_producer_open_renewable (strand_producer *p, rd_kafka_conf_t *conf,
                                     int events, double timeout,
                                     strand_failure *failure);
/* Whether a record may be sent now. */
bool strand_producer_admit (strand_producer *p, strand_failure *failure);
/* librdkafka did not take a record: is it the transaction's end? */
bool strand_producer_refused (strand_producer *p, rd_kafka_resp_err_t err,
                              strand_failure *failure);
/* A record was not delivered. */
void strand_producer_undelivered (strand_producer *p, rd_kafka_resp_err_t err);

#endif
