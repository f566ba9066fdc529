/*
** client.h - librdkafka's client, and how it ends
**
** Everything that librdkafka and its threads may still touch while a client
** is being destroyed: it outlives the strand_producer that opened it when
** destroying takes longer than anybody wants to wait.
**
** Thread: lua opens and ends; a thread of its own destroys.
*/
#ifndef STRAND_CLIENT_H
#define STRAND_CLIENT_H

#include <pthread.h>
#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "base/lock.h"
#include "kafka/calls.h"
#include "kafka/log.h"
#include "kafka/placement.h"
#include "kafka/transaction_calls.h"

typedef struct strand_client {
  strand_opaque opaque; /* first: what rd_kafka_opaque gives */
  strand_placement placement;
  strand_log_cause cause; /* why no broker answers */
  rd_kafka_t *handle;
  rd_kafka_queue_t *queue; /* reports and errors */
  strand_calls *calls;
  strand_transaction_calls *transaction; /* NULL: without transactions */
  int wake_fd;      /* a copy: the producer closes its own */
  strand_lock lock; /* of the two below */
  strand_condition changed;
  bool ended;
  bool abandoned;
  pthread_t ender; /* who ends it waits for this one, or lets it go */
} strand_client;

/* Without a handle. 'log' is kept; 'fd' is an eventfd that gets readable when
** 'queue' has something, or -1. NULL and a failure. */
strand_client *strand_client_new (strand_log *log, int fd,
                                  strand_failure *failure);

/* Takes 'conf', also on failure: false and the failure. 'events': those of
** RD_KAFKA_EVENT_... that somebody reads from 'queue'. */
bool strand_client_open (strand_client *client, rd_kafka_type_t kind,
                         rd_kafka_conf_t *conf, int events,
                         strand_failure *failure);

/* An open one with a transactional.id. False when memory runs out. */
bool strand_client_open_transactions (strand_client *client);

/* For SASL OAUTHBEARER. False and a failure ("OAUTH") when librdkafka refuses
** it. */
bool strand_client_token (strand_client *client, const char *token,
                          int64_t expires_ms, const char *principal,
                          strand_failure *failure);

/* Takes the client, open or not. Waits for its end, at most until 'deadline'
** (clock.h); false when it goes on in the background. */
bool strand_client_end (strand_client *client, double deadline);

/* The same in two: it ends in a thread, and 'fd' gets readable when it has.
** False: it has ended, and is gone. */
bool strand_client_end_begin (strand_client *client);
bool strand_client_has_ended (strand_client *client);
/* Takes the client. As strand_client_end. */
bool strand_client_end_wait (strand_client *client, double deadline);

#endif
