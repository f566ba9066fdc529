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

#include "kafka/member.h"

/* Thread: lua. Makes m->letters, when there is a topic for them; connects to
** nothing. False and a failure ("OPTION": a property). 'm' has its client. */
bool strand_letters_open (strand_member *m, strand_failure *failure);
/* Thread: any. Nobody else uses 'm'. Waits for the client, if it is there. */
void strand_letters_free (strand_member *m);

/* The engine's config.letter. */
bool strand_letters_take (void *member, strand_partition *p,
                          strand_record *record);
/* Reports in, letters out, the engine told. */
void strand_letters_serve (strand_member *m, int64_t now_us);
int64_t strand_letters_due (const strand_member *m, int64_t now_us);
/* The answer to what keeps letters from being taken. */
void strand_letters_stalled (strand_member *m, const strand_call *call,
                             int64_t now_us);
/* The partition ends, before the engine hears of it. */
void strand_letters_forget (strand_tag *tag);

/* Nothing is sent or heard any more: the helper destroys the client. False:
** memory ran out; call again. */
bool strand_letters_leave (strand_member *m);
/* One that nobody let go. */
bool strand_letters_have_client (const strand_member *m);
/* One that was left to the helper is destroyed. */
void strand_letters_gone (strand_member *m);
bool strand_letters_are_gone (const strand_member *m);

/* Thread: lua. As for the consumer's own clients; 'm' has letters. */
rd_kafka_resp_err_t strand_letters_token (strand_member *m, const char *token,
                                          int64_t expires_ms,
                                          const char *principal, char *error,
                                          size_t size);
/* Thread: lua. */
void strand_letters_token_fail (strand_member *m, const char *message);

#endif
