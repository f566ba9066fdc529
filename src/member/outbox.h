/*
** outbox.h - the producer of a member's dead letters and of its handlers'
** outputs: its client, what is out, and what keeps that from being taken
**
** A client that librdkafka calls fatally broken is replaced; what was out is
** not heard of, and is sent again: maybe twice. One whose batches are larger
** than a topic takes is replaced as well, since librdkafka takes batch.size
** when a client is opened, and never after; nothing is out then.
**
** Invariants:
**   (1) Where there is a client there is its queue; calls only with one.
**   (2) It is full only while something is out: a report empties it.
**   (3) What is to be out alone is.
**
** While one waits to be out alone nothing else is sent, so that it gets there.
**
** Thread: owner, but for the functions that say otherwise.
*/
#ifndef STRAND_OUTBOX_H
#define STRAND_OUTBOX_H

#include "base/lock.h"
#include "base/waker.h"
#include "kafka/alert.h"
#include "kafka/calls.h"
#include "kafka/helper.h"
#include "kafka/log.h"
#include "kafka/placement.h"
#include "member/owner.h"
#include "producer/outgoing.h"

typedef struct strand_outbox {
  /* set by init and open, and only read */
  const strand_owner *owner;
  strand_waker *waker;
  const strand_dead_letters_config *config;
  strand_placement placement;
  rd_kafka_conf_t *conf; /* to make a client of */
  char *group;
  bool all_acks; /* the copies count */

  strand_lock lock;   /* who changes 'client' has it, and the lua thread
                         while it uses it */
  rd_kafka_t *client; /* NULL: left, or none could be made */
  rd_kafka_queue_t *queue;
  strand_calls *calls; /* what is asked of topics of outputs; NULL: nothing */
  int64_t batch_size;  /* of the client, or of the one that is to come; exactly
                          once of the transactor's */
  size_t out;          /* records without a report */
  bool one_alone;      /* what is out is to be out alone */
  const void *next_alone; /* who is to be out so: an opaque, or NULL */
  bool full;              /* librdkafka's queue, until the next report */
  bool broken;            /* the client is to be replaced */
  bool draining;          /* the same, when nothing is out: nothing is sent */
  bool left;         /* nothing is sent or heard any more; exactly once never:
                          the transactor has a client of its own, of 'conf' */
  bool asking;       /* the helper asks what is in the way */
  unsigned dropping; /* clients that the helper is to destroy */
  int64_t heard_us;  /* the last report, or when there was none to come */
  rd_kafka_resp_err_t unreachable_err;
  strand_alert unreachable; /* no broker */
  strand_alert missing;     /* no topic */
  strand_alert refused;     /* credentials */
  strand_alert failing;     /* anything else */
} strand_outbox;

/* Thread: lua. */
void strand_outbox_init (strand_outbox *o, const strand_owner *owner,
                         strand_waker *waker);
/* Thread: any. Is there a topic for dead letters, or may handlers produce? */
static inline bool strand_outbox_is_wanted (const strand_outbox *o) {
  return o->config->topic != NULL || o->config->produces;
}
/* It sends and hears. */
static inline bool strand_outbox_is_open (const strand_outbox *o) {
  return strand_outbox_is_wanted(o) && !o->left;
}
/* Thread: lua. Makes the client, when it is wanted, or exactly once what one is
** made of; connects to nothing. False
** and a failure ("OPTION": a property). The owner has its client. */
bool strand_outbox_open (strand_outbox *o, strand_opaque *opaque,
                         strand_failure *failure);
/* Thread: any. Nobody else uses it. Waits for the client, if it is there. */
void strand_outbox_free (strand_outbox *o);
/* Thread: lua. What conf.c says of properties, said of these. */
void strand_outbox_name_option (strand_failure *failure);

/* Nothing is sent or heard any more: the helper destroys the client. False:
** memory ran out; call again. */
bool strand_outbox_leave (strand_outbox *o);
/* A client that nobody let go. */
bool strand_outbox_has_client (const strand_outbox *o);
/* One that was left to the helper is destroyed: are all? */
void strand_outbox_gone (strand_outbox *o);
bool strand_outbox_is_gone (const strand_outbox *o);
/* A broken one is replaced, or one that is drained; nothing is out after it.
** False: memory ran out. */
bool strand_outbox_renew (strand_outbox *o);
/* The topic (NULL: some) takes no larger batches: if there may be such, the
** client is drained, to be replaced by one with a smaller batch.size; that is
** told. Exactly once the transactor's next client has it. */
void strand_outbox_fit (strand_outbox *o, const char *topic, int64_t bytes);
static inline int64_t strand_outbox_batch_size (const strand_outbox *o) {
  return o->batch_size;
}
/* Its client is to be replaced, and nothing is out: call
** strand_outbox_renew. */
static inline bool strand_outbox_is_drained (const strand_outbox *o) {
  return o->draining && o->out == 0;
}

/* Thread: lua. As for the consumer's own clients. */
rd_kafka_resp_err_t strand_outbox_token (strand_outbox *o, const char *token,
                                         int64_t expires_ms,
                                         const char *principal, char *error,
                                         size_t size);
/* Thread: lua. */
void strand_outbox_token_fail (strand_outbox *o, const char *message);

/* librdkafka's queue is full until the next report. */
static inline bool strand_outbox_is_full (const strand_outbox *o) {
  return o->full;
}
/* Its client is to be replaced: call strand_outbox_renew. */
static inline bool strand_outbox_is_broken (const strand_outbox *o) {
  return o->broken;
}
/* Records without a report. */
static inline size_t strand_outbox_count (const strand_outbox *o) {
  return o->out;
}
/* May the record of 'opaque' be sent now? 'alone': nothing else is out while
** it is. */
bool strand_outbox_has_room (const strand_outbox *o, bool alone,
                             const void *opaque);
/* It is to be out alone, and has no room: it is the next, if none is. */
void strand_outbox_await_alone (strand_outbox *o, const void *opaque);
/* It is not sent any more: others may be. */
void strand_outbox_waive (strand_outbox *o, const void *opaque);
/* Takes 'headers' (NULL: none). 'topic', of this client: placed by the ticket
** in the opaque (placement.h); NULL: by the record's name. Its report comes
** with 'opaque', which begins with a strand_sent (staged.h). */
rd_kafka_resp_err_t
strand_outbox_send (strand_outbox *o, rd_kafka_topic_t *topic,
                    const strand_outgoing *record, rd_kafka_headers_t *headers,
                    bool alone, void *opaque, int64_t now_us);
/* The next event, which may have reports; NULL: there is none. The caller
** destroys it. */
rd_kafka_event_t *strand_outbox_poll (strand_outbox *o, int64_t now_us);
/* A report has come. */
void strand_outbox_report (strand_outbox *o, rd_kafka_resp_err_t err,
                           int64_t now_us);
/* What was not sent for this reason is sent again. */
void strand_outbox_hear (strand_outbox *o, rd_kafka_resp_err_t err,
                         int64_t now_us);
/* The answer to what keeps records from being taken. */
void strand_outbox_stalled (strand_outbox *o, const strand_call *call,
                            int64_t now_us);
/* Tells that no report comes. */
void strand_outbox_tick (strand_outbox *o, int64_t now_us);
int64_t strand_outbox_due (const strand_outbox *o);
/* Between two turns, in debug builds. */
void strand_outbox_check (const strand_outbox *o);

#endif
