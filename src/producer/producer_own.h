/*
** producer_own.h - what a producer has, for its own unit alone
**
** sending.c queues records; placing.c knows where they go, and keeps those
** that cannot yet; producer.c collects and closes; producer_transaction.c has
** the transactions; renewal.c replaces the client, and recovery.c has that done
** when it is at its end.
**
** Thread: lua.
*/
#ifndef STRAND_PRODUCER_OWN_H
#define STRAND_PRODUCER_OWN_H

#include <stdbool.h>

#include "kafka/client.h"
#include "kafka/log.h"
#include "producer/bounds.h"
#include "producer/deferred.h"
#include "producer/deliveries.h"
#include "producer/fatal.h"
#include "producer/flushing.h"
#include "producer/producer.h"
#include "producer/producer_conf.h"
#include "producer/producer_events.h"
#include "producer/readiness.h"
#include "producer/topic_watch.h"
#include "producer/transaction.h"
#include "producer/unacked.h"

/* What a client is opened with, to be renewed. */
typedef struct strand_producer_renewal {
  rd_kafka_conf_t *conf; /* owned; NULL: it was not opened */
  int events;            /* RD_KAFKA_EVENT_... that are read */
} strand_producer_renewal;

struct strand_producer {
  strand_client *client; /* NULL: closed */
  strand_client *ending; /* was the last one, and has not ended; NULL: none */
  strand_log *log;
  strand_producer_limits limits;
  strand_deliveries deliveries;
  strand_producer_events events;
  strand_flushing flushing;
  strand_unacked unacked;
  strand_bounds bounds;
  strand_readiness readiness;
  strand_topic_watch watch;
  strand_deferred deferred;       /* its records are in the bounds, too */
  strand_fatal fatal;             /* if it is not transactional */
  strand_transaction transaction; /* if it is transactional */
  strand_producer_renewal renewal;
  bool transactional;
  bool held; /* taken, and not given on */
  bool kept; /* the same, by strand_producer_keep */
  int64_t kept_reports;
  bool full;             /* the same: no events and lines are taken for now */
  bool oauth_wanted;     /* a token is due */
  bool answering;        /* ...and being fetched */
  bool unreachable;      /* all brokers were down, none has reported since */
  bool purging;          /* it is being closed */
  int64_t purged_before; /* counted then; with 'purging' */
  bool detached;         /* closed, and librdkafka had not ended in time */
  bool in_loop;          /* an event loop's: nothing waits */
  bool asked;            /* a call of the transaction is out */
};

/* producer.c: takes what is there; from the queue until 'deadline' what purging
** makes of all that is outstanding. */
void strand_producer_refresh (strand_producer *p);
/* The same, with another client, maybe: nobody holds what is of the old one. */
void strand_producer_serve (strand_producer *p);
void strand_producer_purge (strand_producer *p, double deadline);
/* Something may have been taken, or come. */
void strand_producer_tell_waiting (strand_producer *p);
/* Why no broker answers, if that is so: what librdkafka said last of a
** connection; "" otherwise. */
void strand_producer_cause (strand_producer *p,
                            char text[STRAND_DELIVERY_TEXT]);
/* A flush ends with the last report, whoever collects it. */
void strand_producer_update_flushing (strand_producer *p);
/* The first of the records' own times, or of other steps, may be another. */
void strand_producer_set_timer (strand_producer *p);
/* A record that was sent has ended. */
void strand_producer_ended (strand_producer *p,
                            const strand_delivery_end *end);

/* placing.c: where the record goes. The topic, and 'ticket' is filled but for
** its label; NULL and a failure. */
strand_cached_topic *strand_placing_begin (strand_producer *p,
                                           const strand_outgoing *record,
                                           strand_delivery_ticket *ticket,
                                           strand_failure *failure);
/* Queues it in librdkafka; or here, where its partition is not known. Takes
** 'headers' when it worked. */
rd_kafka_resp_err_t strand_placing_produce (strand_producer *p,
                                            strand_cached_topic *topic,
                                            const strand_outgoing *record,
                                            rd_kafka_headers_t *headers,
                                            void *opaque);
/* librdkafka said this of a record that was to be sent. */
void strand_placing_refused (strand_producer *p, strand_cached_topic *topic,
                             rd_kafka_resp_err_t err);
/* What is known beside the error of a record that has ended: to
** end->detail, in 'text'. */
void strand_placing_explain (strand_producer *p, strand_delivery_end *end,
                             char text[STRAND_DELIVERY_TEXT]);
/* What is known to keep records of a topic from being acknowledged; "":
** nothing. */
void strand_placing_obstacle (strand_producer *p, const char *topic,
                              char text[STRAND_DELIVERY_TEXT]);
/* Something may have been answered, or seen; records that were kept go on, or
** end. */
void strand_placing_turn (strand_producer *p, int64_t now_us);
/* The record whose own time is over first, by now: if it is kept, it ends. */
bool strand_placing_expire (strand_producer *p, int64_t now_us);
/* The client or the transaction ends: what is kept is given up; */
void strand_placing_purge (strand_producer *p);
/* or the producer is at its end, with this error. */
void strand_placing_give_up (strand_producer *p, rd_kafka_resp_err_t err);

/* renewal.c: opens p->client, so that it can be replaced. Takes 'conf'. False
** and a failure. */
bool strand_renewal_open (strand_producer *p, rd_kafka_conf_t *conf,
                          int events, strand_failure *failure);
/* Another client with the same settings, in which p->client's topics are known
** in the same order. NULL and a failure. */
strand_client *strand_renewal_client (const strand_producer *p,
                                      strand_failure *failure);
/* It takes the place of the old one, which ends, in the background if that
** takes longer than 'seconds'. The old one has nothing queued, what is overdue
** neither: so no report is lost with it, and no order breaks. What was had of
** it, topics too, is gone then. */
void strand_renewal_take (strand_producer *p, strand_client *client,
                          double seconds);

/* strand sets batch.size, the user does not. */
bool strand_renewal_owns_batch_size (const strand_producer_options *options);
/* A topic wants a smaller batch.size, and nothing is queued: then another
** client is opened with that. */
void strand_renewal_turn (strand_producer *p);

/* recovery.c: the client is at its end, and another one will follow: until then
** what is sent is kept. */
bool strand_recovery_noted (strand_producer *p);
/* Something is to be done for that, by a turn. */
bool strand_recovery_is_due (const strand_producer *p);
/* False and a failure: no other one follows, and nothing can be sent. */
bool strand_recovery_admits (const strand_producer *p,
                             strand_failure *failure);
/* A record that librdkafka gave up by itself: to end->detail and its error. */
void strand_recovery_explain (strand_producer *p, strand_delivery_end *end);
/* Then there may be another client. */
void strand_recovery_turn (strand_producer *p);

/* producer_transaction.c: whether a record may be sent now. */
bool strand_producer_admit (strand_producer *p, strand_failure *failure);
/* librdkafka did not take a record: is it the transaction's end? */
bool strand_producer_refused (strand_producer *p, rd_kafka_resp_err_t err,
                              strand_failure *failure);
/* A record was not delivered; or was never given to librdkafka. */
void strand_producer_undelivered (strand_producer *p,
                                  const strand_delivery_end *end);
void strand_producer_unsent (strand_producer *p,
                             const strand_delivery_end *end);

#endif
