/*
** admin_client.h - a client that is asked, and waited for
**
** An answer of librdkafka's admin API comes on a queue. Each request gets a
** new one: the answer to an earlier request, which was given up, may still
** come, and must not be taken for this one's.
**
** Invariants:
**   (1) Only a client that is open has a queue of answers.
**   (2) What is open is read: it has a queue of events.
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_CLIENT_H
#define STRAND_ADMIN_CLIENT_H

#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "kafka/client.h"
#include "kafka/log.h"

/* All 0: none. */
typedef struct strand_admin_client {
  strand_client *client;     /* NULL: none */
  rd_kafka_queue_t *answers; /* to the last request; NULL: there was none */
} strand_admin_client;

/* Takes 'conf', also on failure: then false, and it is to be closed as one
** that is open. 'log' is kept; 'events' as of strand_client_open. */
bool strand_admin_client_open (strand_admin_client *c, rd_kafka_type_t kind,
                               rd_kafka_conf_t *conf, strand_log *log,
                               int events, strand_failure *failure);

/* What librdkafka does not end in 'timeout' seconds goes on in the
** background. Twice is fine. */
void strand_admin_client_close (strand_admin_client *c, double timeout);

/* librdkafka allows a request no more, and no less than 1. */
#define STRAND_ADMIN_REQUEST_MS 3600000

/* What the next request is sent with, to c->answers: it ends by itself after
** 'ms'. The caller's; NULL and a failure. */
rd_kafka_AdminOptions_t *
strand_admin_client_request (strand_admin_client *c,
                             rd_kafka_admin_op_t operation, int ms,
                             strand_failure *failure);

/* The same for one that ends at the deadline. */
rd_kafka_AdminOptions_t *
strand_admin_client_request_until (strand_admin_client *c,
                                   rd_kafka_admin_op_t operation,
                                   double deadline, strand_failure *failure);

/* Its answer, the caller's; NULL and a failure. 'what' is for messages. */
rd_kafka_event_t *strand_admin_client_wait (strand_admin_client *c, int ms,
                                            const char *what,
                                            strand_failure *failure);

/* The same for one that ends at the deadline by itself. */
rd_kafka_event_t *strand_admin_client_wait_until (strand_admin_client *c,
                                                  double deadline,
                                                  const char *what,
                                                  strand_failure *failure);

/* The same for one that ends with its client, which is first: of a request to
** a coordinator that has timed out librdkafka (2.0 to 2.15) drops a reference
** twice as soon as the coordinator is connected, and that ends the process.
** It is sent with STRAND_ADMIN_REQUEST_MS. */
rd_kafka_event_t *strand_admin_client_wait_first (strand_admin_client *c,
                                                  double deadline,
                                                  const char *what,
                                                  strand_failure *failure);

/* What a call of librdkafka says that waits by itself. When no broker
** answered in time, the cause is told. False, and the failure. */
bool strand_admin_client_fail (const strand_admin_client *c,
                               rd_kafka_resp_err_t err, const char *what,
                               strand_failure *failure);

/* There is time to ask again: waits until then. */
bool strand_admin_client_pause (double deadline);

/* The same, after a failure that says that a group's coordinator moves, or has
** just started. */
bool strand_admin_client_again (const strand_failure *failure,
                                double deadline);

/* False and a failure: it is a mock cluster, and what can be done 'instead';
** or no broker has said so in time. Then it is known at once. */
bool strand_admin_client_is_real (const strand_admin_client *c,
                                  double deadline, const char *what,
                                  const char *instead,
                                  strand_failure *failure);

/* False, and the failure. */
bool strand_admin_no_memory (strand_failure *failure);

/* Between two requests, in debug builds. */
void strand_admin_client_check (const strand_admin_client *c);

#endif
