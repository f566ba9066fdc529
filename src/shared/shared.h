/*
** shared.h - what the threads of one consumer share
**
** Counted: the lua thread, each owner and each worker hold a reference, and
** whoever is last frees it. So a handler that never returns, or a client
** that librdkafka does not let go, may outlive close().
**
** It is made of parts, each with a leaf lock of its own (lock.h), and has none
** beside them: what takes two parts takes one after the other.
**
** Thread: any (each field says who).
*/
#ifndef STRAND_SHARED_H
#define STRAND_SHARED_H

#include <stdatomic.h>

#include "base/clock.h"
#include "shared/inbox.h"
#include "shared/life.h"
#include "shared/mailbox.h"
#include "shared/notifier.h"
#include "shared/pool.h"
#include "shared/routes.h"
#include "shared/settings.h"
#include "shared/staged.h"
#include "shared/stop.h"
#include "shared/tally.h"
#include "shared/ticket.h"

struct strand_member;
typedef struct strand_consumer strand_consumer;

struct strand_consumer {
  atomic_int refs;  /* by who uses it; who is last frees it */
  strand_time time; /* set before the threads start, and only read; a driver,
                       which has none, moves it on */
  struct strand_member **members; /* the lua thread's, as long as it has it */
  bool joined_reported;           /* the lua thread's */
  bool starting;                  /* the lua thread's: handlers are loaded */
  bool threads_made;              /* the same: there is one for each worker */
  strand_failure start_failure;   /* the same: why not */

  strand_settings settings;
  strand_routes routes;
  strand_inboxes inboxes; /* of each member */
  strand_mailbox mailbox;
  strand_pool pool;
  strand_tickets tickets;
  strand_tally tally;
  strand_staging staging;
  strand_stop stop;
  strand_life life;
  strand_notifier notifier;
};

/* Thread: lua. NULL without memory; then 'config->handler' is released. */
strand_consumer *strand_shared_new (const strand_consumer_config *config);
strand_consumer *strand_shared_ref (strand_consumer *c);
void strand_shared_unref (strand_consumer *c);

/* The same for a thread, by who makes it, and by itself at its end. */
void strand_shared_enter (strand_consumer *c);
void strand_shared_leave (strand_consumer *c);

strand_state strand_shared_state (const strand_consumer *c);
/* After something was taken: fd is readable only while more waits. */
void strand_shared_settle (strand_consumer *c);

/* The close begins, or goes on in another mode. Thread: lua. */
void strand_shared_close (strand_consumer *c, strand_close_mode mode,
                          double timeout);
/* What workers may do. How many serve. Thread: lua. */
unsigned strand_shared_limit_workers (strand_consumer *c,
                                      const strand_limits *limits);
/* A member's client is destroyed. Thread: owner. */
void strand_shared_end_member (strand_consumer *c);
/* So many workers have ended, or could not be made. */
void strand_shared_end_workers (strand_consumer *c, unsigned count);

/* A member has an assignment; 'again': it was a member before. */
void strand_shared_joined (strand_consumer *c, bool again);
/* All members have, and none has left since. */
bool strand_shared_all_joined (strand_consumer *c);
/* ...and is none any more. */
void strand_shared_left (strand_consumer *c);

/* Frees what an attempt produced, or nothing (NULL). Members that started
** nothing for it are woken. */
void strand_shared_unstage (strand_consumer *c, strand_staged *staged);

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

/* All parts. Between two turns, in debug builds. */
void strand_shared_check_parts (strand_consumer *c);

#endif
