/*
** signs.h - what librdkafka's requests and connections show
**
** No state that could contradict itself: each word is written by itself.
**
** Thread: any, where nothing else is said.
*/
#ifndef STRAND_SIGNS_H
#define STRAND_SIGNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/waker.h"

#define STRAND_SIGNS_UP 64 /* brokers that come up within a second */

/* Written on librdkafka's threads and read by the owner, each word by itself:
** what is read a moment too early is read again at the next tick. But
** 'tokens' is written by the lua thread, 'probing' by the owner, and the owner
** takes what is in 'up'. */
typedef struct strand_signs {
  strand_waker *waker;        /* the owner's */
  atomic_uint tokens;         /* that the program has given */
  atomic_bool probing;        /* the leaders are asked: that is no sign */
  atomic_uint metadata;       /* answers: librdkafka looked for something */
  atomic_bool joining;        /* the coordinator has not answered JoinGroup */
  _Atomic int64_t join_us;    /* JoinGroup or SyncGroup, sent or answered */
  atomic_uint answers;        /* to JoinGroup, since it was a member */
  _Atomic int64_t found_us;   /* FindCoordinator was answered */
  _Atomic int64_t connect_us; /* a coordinator was known, and dialled */
  atomic_bool coordinator_up;
  _Atomic int64_t heard_us; /* a broker answered, whatever it was */
  atomic_uint ups;          /* connections that came up, */
  _Atomic uint64_t up[STRAND_SIGNS_UP]; /* by address, until taken; 0: free */
  atomic_bool up_more; /* and others that there was no room for */
} strand_signs;

/* Thread: lua. Of the client that will be made with 'conf'. The owner is woken
** when the group's coordinator goes. */
void strand_signs_watch (strand_signs *signs, strand_waker *waker,
                         rd_kafka_conf_t *conf);
/* Is an error's text about the connection to the group's coordinator? */
bool strand_signs_is_coordinator (const char *text);
/* Of a request: its key (the protocol's), whether there was an answer, and
** when. */
void strand_signs_sent (strand_signs *signs, int16_t key, int64_t now_us);
void strand_signs_answered (strand_signs *signs, int16_t key,
                            rd_kafka_resp_err_t err, int64_t now_us);
/* It is a member now. */
void strand_signs_joined (strand_signs *signs);
/* It came up. */
void strand_signs_note (strand_signs *signs, uint64_t broker);
/* The broker that an error's text begins with. */
uint64_t strand_signs_broker (const char *text);
/* Does an error say that there is no token to send? */
bool strand_signs_is_token (const char *text);

#endif
