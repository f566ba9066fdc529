/*
** letters.h - a member's dead letters, from the engine's wish to the broker's
** acknowledgement
**
**            take                send            acknowledged, or never will
**   engine --------> READY -----------------> OUT -------------> SETTLED
**                      ^                       |                    |
**                      +------- AGAIN <--------+              the engine is
**                     back-off       it may still be taken          told
**
** Invariants:
**   (1) A letter is in one queue: ready, again, out or settled.
**   (2) Its record is the engine's, and aside, until the engine is told. A
**       letter whose partition is revoked forgets its record: unless it is
**       out it goes at once, else with its report, which changes nothing.
**   (3) What may be sent well later is never given up; what is refused for
**       ever goes back to the engine, which parks the record.
**   (4) That a record is too large, or refused for ever, is believed of one
**       that was sent by itself: brokers refuse whole batches.
**
** Letters under way are records that wait, and count in that budget.
** librdkafka's queue has a second copy of those that are out.
**
** A producer that librdkafka calls fatally broken is replaced, and what it
** had is sent again: maybe twice.
**
** Thread: owner, but for the functions that say otherwise.
*/
#ifndef STRAND_LETTERS_H
#define STRAND_LETTERS_H

#include "kafka/assignment.h"
#include "kafka/helper.h"
#include "kafka/log.h"
#include "kafka/owner.h"
#include "kafka/snapshot.h"
#include "kafka/waker.h"

typedef struct strand_letters strand_letters;

/* Thread: lua. Makes them, when there is a topic for them; connects to nothing.
** False and a failure ("OPTION": a property). The owner has its client. */
bool strand_letters_open (strand_letters **letters, const strand_owner *owner,
                          strand_snapshot *snapshot, strand_waker *waker,
                          strand_opaque *opaque, strand_failure *failure);

/* NULL, where there is no topic for them, is one that has nothing to do. */

/* Thread: any. Nobody else uses them. Waits for the client, if it is there. */
void strand_letters_free (strand_letters *l);

/* The engine's config.letter. */
bool strand_letters_take (strand_letters *l, strand_partition *p,
                          strand_record *record);
/* Reports in, letters out, the engine told. */
void strand_letters_serve (strand_letters *l, int64_t now_us);
int64_t strand_letters_due (const strand_letters *l, int64_t now_us);
/* The answer to what keeps letters from being taken. */
void strand_letters_stalled (strand_letters *l, const strand_call *call,
                             int64_t now_us);
/* The partition ends, before the engine hears of it. */
void strand_letters_forget (strand_tag *tag);

/* Nothing is sent or heard any more: the helper destroys the client. False:
** memory ran out; call again. */
bool strand_letters_leave (strand_letters *l);
/* One that nobody let go. */
bool strand_letters_have_client (const strand_letters *l);
/* One that was left to the helper is destroyed. */
void strand_letters_gone (strand_letters *l);
bool strand_letters_are_gone (const strand_letters *l);

/* Thread: lua. As for the consumer's own clients; not NULL. */
rd_kafka_resp_err_t strand_letters_token (strand_letters *l, const char *token,
                                          int64_t expires_ms,
                                          const char *principal, char *error,
                                          size_t size);
/* Thread: lua. */
void strand_letters_token_fail (strand_letters *l, const char *message);

#endif
