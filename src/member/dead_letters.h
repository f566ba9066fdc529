/*
** dead_letters.h - a member's dead letters, from the engine's wish to the
** broker's acknowledgement
**
**            take                send            acknowledged, or never will
**   engine --------> READY -----------------> OUT -------------> SETTLED
**                      ^                       |                    |
**                      +------- AGAIN <--------+              the engine is
**                     back-off       it may still be taken          told
**
** A record is the engine's, and waits, until the engine is told. A dead letter
** whose partition is revoked forgets its record: unless it is out it goes at
** once, else with its report, which changes nothing.
**
** What may be sent well later is never given up; what is refused for ever goes
** back to the engine, which parks the record. That a record is too large, or
** refused for ever, is believed of one that was sent by itself: brokers refuse
** whole batches.
**
** Letters under way are records that wait, and count in that budget.
** librdkafka's queue has a second copy of those that are out.
**
** Invariants:
**   (1) A letter is in one queue: ready, again, out or settled.
**   (2) One that is not out has its record.
**   (3) Those that are out are counted.
**   (4) Those that are sent again have a time for it.
**
** Thread: owner.
*/
#ifndef STRAND_DEAD_LETTERS_H
#define STRAND_DEAD_LETTERS_H

#include "member/assignment.h"
#include "member/outbox.h"
#include "member/owner.h"
#include "member/snapshot.h"

typedef struct strand_dead_letters {
  /* set by init, and only read */
  const strand_owner *owner;
  strand_outbox *outbox;
  strand_snapshot *snapshot;

  strand_link ready;
  strand_link again;
  strand_link out;
  strand_link settled;
  size_t out_count;
  int64_t again_us; /* INT64_MAX: 'again' is empty */
  int64_t wait_us;
  bool fewer_reported;
} strand_dead_letters;

void strand_dead_letters_init (strand_dead_letters *l,
                               const strand_owner *owner,
                               strand_outbox *outbox,
                               strand_snapshot *snapshot);
void strand_dead_letters_free (strand_dead_letters *l);

/* The engine wants one. False: memory ran out. */
bool strand_dead_letters_take (strand_dead_letters *l, strand_partition *p,
                               strand_record *record);
/* Of one of them. */
void strand_dead_letters_report (strand_dead_letters *l,
                                 const rd_kafka_message_t *report,
                                 int64_t now_us);
/* The client was replaced: no report comes of what is out. */
void strand_dead_letters_again (strand_dead_letters *l, int64_t now_us);
/* Those without a report. */
static inline size_t strand_dead_letters_out (const strand_dead_letters *l) {
  return l->out_count;
}
/* Letters out, the engine told. */
void strand_dead_letters_serve (strand_dead_letters *l, int64_t now_us);
int64_t strand_dead_letters_due (const strand_dead_letters *l, int64_t now_us);
/* The partition ends, before the engine hears of it. */
void strand_dead_letters_forget (strand_dead_letters *l,
                                 strand_assigned *assigned);
/* Between two turns, in debug builds. */
void strand_dead_letters_check (const strand_dead_letters *l);

#endif
