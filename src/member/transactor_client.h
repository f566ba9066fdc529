/*
** transactor_client.h - the transactor's client, and what it tells
**
** Thread: any; that of the transactor, and lua before that runs. Lua gives
** tokens at any time: a mutex for the pointer.
*/
#ifndef STRAND_TRANSACTOR_CLIENT_H
#define STRAND_TRANSACTOR_CLIENT_H

#include "base/lock.h"
#include "base/waker.h"
#include "member/outbox.h"

typedef struct strand_transactor_client {
  /* set by init and open, and only read */
  const strand_owner *owner;
  const strand_outbox *outbox; /* its conf */
  char *id;                    /* owned */
  int64_t timeout_us;          /* of a transaction */

  strand_waker waker; /* of the transactor: the client has something */
  strand_lock lock;   /* who changes 'handle' has it, and lua while it uses
                         it */
  rd_kafka_t *handle; /* NULL: none could be made, or it is let go */
  rd_kafka_queue_t *queue;
  bool failed;     /* a delivery, since that was cleared */
  long batch_size; /* as it was opened with */
} strand_transactor_client;

/* Thread: lua. */
void strand_transactor_client_init (strand_transactor_client *c,
                                    const strand_owner *owner,
                                    const strand_outbox *outbox);
/* Thread: lua. The first; connects to nothing. False and a failure. */
bool strand_transactor_client_begin (strand_transactor_client *c,
                                     strand_failure *failure);
/* Another. There is none. */
bool strand_transactor_client_open (strand_transactor_client *c,
                                    long batch_size, strand_failure *failure);
/* Whoever gets it destroys it; NULL: there is none. What it has is purged: it
** must not ask for a place of records whose opaques are gone. */
rd_kafka_t *strand_transactor_client_let_go (strand_transactor_client *c);
/* An event of it, which is waited for at most so long. False: there was
** none. */
bool strand_transactor_client_serve (strand_transactor_client *c, int ms);
/* Thread: any, whoever is last. */
void strand_transactor_client_free (strand_transactor_client *c);

/* Thread: lua. As for the consumer's own clients. */
rd_kafka_resp_err_t
strand_transactor_client_token (strand_transactor_client *c, const char *token,
                                int64_t expires_ms, const char *principal,
                                char *error, size_t size);
/* Thread: lua. */
void strand_transactor_client_token_fail (strand_transactor_client *c,
                                          const char *message);

#endif
