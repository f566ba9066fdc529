/*
** shared.h - what the threads of one consumer share
**
** Counted: the lua thread, each owner and each worker hold a reference, and
** whoever is last frees it. So a handler that never returns, or a client
** that librdkafka does not let go, may outlive close().
**
** Locks (lock.h): consumer->lock is STRAND_RANK_CONSUMER, the others are
** leaves. What says so below is under it; it is short: no calls out.
**
** Thread: any (each field says who).
*/
#ifndef STRAND_SHARED_H
#define STRAND_SHARED_H

#include <stdatomic.h>

#include "kafka/inbox.h"
#include "kafka/lock.h"
#include "kafka/mailbox.h"
#include "kafka/routes.h"
#include "kafka/settings.h"
#include "kafka/stats.h"
#include "kafka/ticket.h"
#include "kafka/tally.h"
#include "kafka/warnings.h"

struct strand_member;
typedef struct strand_consumer strand_consumer;

typedef enum strand_life {
  STRAND_NEW,
  STRAND_RUNS,
  STRAND_CLOSING,
  STRAND_CLOSED
} strand_life;

struct strand_consumer {
  atomic_int refs;    /* by each thread; who is last frees it */
  atomic_int threads; /* of them, those that run something of it: counted by
                          who makes one, and by itself at its end */
  strand_settings settings;
  strand_routes routes;
  strand_handler handler;
  strand_log *log;
  strand_events *events;
  strand_warnings *warnings;      /* NULL: somebody takes the events */
  struct strand_member **members; /* the lua thread's */
  unsigned member_count;
  strand_inboxes inboxes; /* of each member */
  int fd;                 /* epoll: of the two below */
  int wake_fd;
  int timer_fd; /* armed while closing: when to give up */
  strand_mailbox mailbox;
  strand_tickets tickets;
  strand_tally tally;
  /* Set by any under the lock, read by owners and workers without: something
  ** asked for the end. Seen late it is one more record. */
  atomic_bool halted;
  /* Written by workers, read by any for health() and statistics alone. */
  atomic_uint busy;         /* workers in a handler */
  _Atomic int64_t ended_us; /* coarse: when a record last ended */
  _Atomic int64_t began_us; /* coarse: when the first of 'busy' began */

  strand_lock lock;
  strand_condition changed;
  /* under lock */
  strand_life life;
  bool held_back;   /* taken by the lua thread, and not given on */
  bool kept_back;   /* the same, by strand_consumer_keep */
  unsigned loading; /* workers that open their first state */
  strand_failure load_failure;
  unsigned workers_alive;
  unsigned workers_made;
  bool joined_told;
  bool oauth_wanted;
  bool ending;
  bool ending_told;
  strand_close_mode ending_mode;
  strand_failure ending_reason;
  strand_close_mode close_mode;
  int64_t close_deadline_us;
  double close_timeout;  /* the last one given */
  bool late;             /* a member's close had to leave things undone */
  int64_t give_up_us;    /* close ends then, whatever is left */
  unsigned members_open; /* whose clients are not destroyed */
  unsigned uncommitted;  /* that have not made their last commit */
  bool close_told;
  bool detached;
  int64_t started_us;
  int64_t closed_us;
};

strand_consumer *strand_shared_ref (strand_consumer *c);
void strand_shared_unref (strand_consumer *c);

/* The same for a thread, by who makes it, and by itself at its end. */
void strand_shared_enter (strand_consumer *c);
void strand_shared_leave (strand_consumer *c);

/* What is the operating system's, once the close was told and no thread is
** left that could write to it: called by whoever may be the last of these, and
** does nothing before. What still waits is taken without fd. Under lock. */
void strand_shared_give_back_locked (strand_consumer *c);

strand_life strand_shared_life (const strand_consumer *c);

/* fd becomes readable: something waits to be taken. */
void strand_shared_signal (strand_consumer *c);
/* After something was taken: fd is readable only while more waits. */
void strand_shared_settle (strand_consumer *c);

/* Are all members and workers gone? Then it is closed. When only handlers
** are left, close waits for them until its deadline; in mode NOW for a
** moment, which idle workers need to end. Under lock. */
void strand_shared_closed_locked (strand_consumer *c);
void strand_shared_give_up_locked (strand_consumer *c, int64_t at_us);

/* A member has an assignment; 'again': it was a member before. */
void strand_shared_joined (strand_consumer *c, bool again);
/* All members have, and none has left since. */
bool strand_shared_all_joined (strand_consumer *c);
/* ...and is none any more. */
void strand_shared_left (strand_consumer *c);

/* A client wants a token. */
void strand_shared_want_token (strand_consumer *c);

/* Takes what 'event' owns. */
void strand_shared_event (strand_consumer *c, strand_event *event);

/* The first one counts. No member starts anything from now on, until the
** close that follows says otherwise. */
void strand_shared_end (strand_consumer *c, strand_close_mode mode,
                        const char *code, const char *message);

/* A member has answered. Failure NULL: well. */
void strand_shared_answer (strand_consumer *c, strand_ticket *ticket,
                           const strand_failure *failure);

/* Nobody has it: of a ticket that holds a reference. */
void strand_shared_free_ticket (strand_ticket *ticket);

#endif
