/*
** ticket.h - what the lua thread has asked for, and owners answer
**
**   lua                                owners
**   new, with so many to answer   -->  each answers once
**   asks whether it is done       <--  the last makes it an answer
**   drops it                           of one that was dropped before, the
**                                      last that answers is told, and frees it
**
** Invariants:
**   (1) Those that are answered and not dropped are counted.
**   (2) Nobody answers, or asks for, one that was answered by all and dropped.
**
** Thread: any. A lock of its own for all tickets of a consumer.
*/
#ifndef STRAND_TICKET_H
#define STRAND_TICKET_H

#include <stdbool.h>

#include "base/err.h"
#include "base/lock.h"
#include "shared/stats.h"

struct strand_consumer;

/* Of one consumer. */
typedef struct strand_tickets {
  strand_lock lock;
  unsigned answers; /* lock: tickets answered and not dropped */
} strand_tickets;

typedef struct strand_ticket {
  strand_tickets *of;
  struct strand_consumer *consumer; /* counted by who made it, or NULL */
  unsigned waiting;                 /* members that have not answered; lock */
  bool dropped;                     /* nobody asks; lock */
  strand_failure failure;           /* the first; lock */
  strand_parked *parked; /* written before the answer, which it is */
} strand_ticket;

typedef enum strand_answered {
  STRAND_ANSWER_OF_SOME, /* others are still to answer */
  STRAND_ANSWER_WAITS,   /* it was the last: somebody asks for it */
  STRAND_ANSWER_UNWANTED /* it was the last, and nobody does: to be freed */
} strand_answered;

void strand_tickets_init (strand_tickets *t);
void strand_tickets_free (strand_tickets *t);
/* Is there an answer that was not asked for? */
bool strand_tickets_waiting (strand_tickets *t);

/* With 'waiting' members to answer. NULL without memory. */
strand_ticket *strand_ticket_new (strand_tickets *of, unsigned waiting);
void strand_ticket_free (strand_ticket *ticket);
/* By one of them. Failure NULL: well. */
strand_answered strand_ticket_answer (strand_ticket *ticket,
                                      const strand_failure *failure);
/* 1: done; 0: goes on; -1 and a failure. */
int strand_ticket_done (strand_ticket *ticket, strand_failure *failure);
/* Nobody asks for it any more. True: all have answered, it is to be freed. */
bool strand_ticket_give_up (strand_ticket *ticket);
bool strand_ticket_is_given_up (strand_ticket *ticket);
/* Of one that asked for parked records and is done; owned by it. NULL: there
** are no more. */
const strand_parked *strand_ticket_parked (const strand_ticket *ticket);

#endif
