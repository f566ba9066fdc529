/*
** ticket.c - what the lua thread has asked for, and owners answer
*/
#include "shared/ticket.h"

#include <assert.h>
#include <stdlib.h>

void strand_tickets_init (strand_tickets *t) {
  t->answers = 0;
  strand_lock_init(&t->lock, STRAND_RANK_LEAF);
}

void strand_tickets_free (strand_tickets *t) {
  strand_lock_free(&t->lock);
}

bool strand_tickets_waiting (strand_tickets *t) {
  bool some;
  strand_lock_take(&t->lock);
  some = t->answers > 0;
  strand_lock_release(&t->lock);
  return some;
}

strand_ticket *strand_ticket_new (strand_tickets *of, unsigned waiting) {
  strand_ticket *ticket = calloc(1, sizeof(*ticket));
  if (ticket == NULL) return NULL;
  ticket->of = of;
  ticket->waiting = waiting;
  return ticket;
}

void strand_ticket_free (strand_ticket *ticket) {
  strand_parked_free(ticket->parked);
  free(ticket);
}

const strand_parked *strand_ticket_parked (const strand_ticket *ticket) {
  return ticket->parked;
}

/* With the lock; by who answers, or asks. */
static void check_locked (const strand_ticket *ticket) {
  bool answered = ticket->waiting == 0;
  assert(!answered || ticket->dropped || ticket->of->answers > 0); /* (1) */
  assert(!answered || !ticket->dropped);                           /* (2) */
  (void)answered;
}

strand_answered strand_ticket_answer (strand_ticket *ticket,
                                      const strand_failure *failure) {
  strand_tickets *of = ticket->of;
  strand_answered answered = STRAND_ANSWER_OF_SOME;
  strand_lock_take(&of->lock);
  check_locked(ticket);
  assert(ticket->waiting > 0);
  if (failure != NULL && ticket->failure.code[0] == '\0') {
    ticket->failure = *failure;
  }
  if (--ticket->waiting == 0 && ticket->dropped) {
    answered = STRAND_ANSWER_UNWANTED;
  }
  else if (ticket->waiting == 0) {
    answered = STRAND_ANSWER_WAITS;
    of->answers++;
  }
  strand_lock_release(&of->lock);
  return answered;
}

int strand_ticket_done (strand_ticket *ticket, strand_failure *failure) {
  int done = 0;
  strand_lock_take(&ticket->of->lock);
  check_locked(ticket);
  if (ticket->waiting == 0) {
    done = ticket->failure.code[0] == '\0' ? 1 : -1;
    *failure = ticket->failure;
  }
  strand_lock_release(&ticket->of->lock);
  return done;
}

bool strand_ticket_give_up (strand_ticket *ticket) {
  strand_tickets *of = ticket->of;
  bool answered;
  strand_lock_take(&of->lock);
  check_locked(ticket);
  assert(!ticket->dropped);
  ticket->dropped = true;
  answered = ticket->waiting == 0;
  if (answered) of->answers--;
  strand_lock_release(&of->lock);
  return answered;
}

bool strand_ticket_is_given_up (strand_ticket *ticket) {
  bool dropped;
  strand_lock_take(&ticket->of->lock);
  dropped = ticket->dropped;
  strand_lock_release(&ticket->of->lock);
  return dropped;
}
