/*
** notifier.h - what waits for the lua thread to take, and what tells of it
**
** Events, lines of the log, requests for a token; and the descriptor that is
** readable while one of these waits, or something else of which who owns it
** says so (strand_shared_settle).
**
** Invariants:
**   (1) The descriptors are both there, or both given back.
**
** Thread: any puts in; lua takes. A leaf lock of its own, but to signal none is
** taken: the log does so under its own.
*/
#ifndef STRAND_NOTIFIER_H
#define STRAND_NOTIFIER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/lock.h"
#include "kafka/log.h"
#include "shared/event.h"
#include "shared/loop_watch.h"
#include "shared/warnings.h"

typedef struct strand_notifier {
  /* set by init, and only read */
  strand_events *events;
  strand_log *log;
  strand_warnings *warnings; /* NULL: somebody takes the events */
  bool has_log;              /* somebody takes its lines */

  strand_lock lock;
  int fd; /* lock; an epoll of the next one, and of a timer; -1: given back */
  /* Written to by any thread without the lock. It is given back under it, and
  ** when no thread is left that could. */
  int wake_fd;
  bool held_back;    /* lock; taken by the lua thread, and not given on */
  bool kept_back;    /* lock; the same, maybe for long */
  bool full;         /* lock; no events and lines are taken for now */
  bool token_wanted; /* lock; by a client */
  bool answering;    /* lock; it is being fetched: nobody is told of it */
  /* In local mode: there may be a record to start, or a handler to go on.
  ** Written by any, cleared by lua before it looks. */
  atomic_bool work;
  int timer_fd; /* lua's; in local mode: when the next handler goes on */
  strand_loop_watch watch; /* whether lua comes for it */
} strand_notifier;

/* False: memory ran out; it is to be freed all the same. */
bool strand_notifier_init (strand_notifier *p, bool has_events, bool has_log);
/* Thread: whoever is last. */
void strand_notifier_free (strand_notifier *p);
/* The descriptors: that to signal with, and then that to wait for, which is
** readable for a timer as well. False and a failure. */
bool strand_notifier_open (strand_notifier *p, strand_failure *failure);
bool strand_notifier_watch (strand_notifier *p, int timer_fd,
                            strand_failure *failure);
/* Thread: lua. Nobody takes the lines of the log any more. */
void strand_notifier_mute (strand_notifier *p);
/* No thread is left that could signal. */
void strand_notifier_close (strand_notifier *p);

/* Thread: lua. -1: it was given back. */
int strand_notifier_fd (strand_notifier *p);
/* It becomes readable. From a thread of the consumer. */
void strand_notifier_signal (strand_notifier *p);
/* Thread: lua. It is not readable any more; or is again. */
void strand_notifier_drain (strand_notifier *p);
void strand_notifier_renew (strand_notifier *p);

/* In local mode. There is work for the lua thread: signals, once until it
** looks. */
void strand_notifier_work (strand_notifier *p);
/* Thread: lua. The same, and signals nothing: who calls has lua look. False:
** it is to look already. */
bool strand_notifier_note_work (strand_notifier *p);
/* Thread: lua. It looks now: whether it was told to. */
bool strand_notifier_take_work (strand_notifier *p);
/* Thread: lua. A timer for strand_notifier_remind. False and a failure. */
bool strand_notifier_add_timer (strand_notifier *p, strand_failure *failure);
/* Thread: lua. The descriptor is readable from then on; 0: never. */
void strand_notifier_remind (strand_notifier *p, int64_t due_us);

/* Takes what 'event' owns, and signals. */
void strand_notifier_event (strand_notifier *p, strand_event *event);
/* Says what is left to say of events that nobody takes. */
void strand_notifier_tick (strand_notifier *p, int64_t now_us);

void strand_notifier_want_token (strand_notifier *p, bool wanted);
bool strand_notifier_wants_token (strand_notifier *p);
void strand_notifier_answer_token (strand_notifier *p, bool on);
/* Thread: lua. */
void strand_notifier_hold (strand_notifier *p, bool held);
void strand_notifier_keep (strand_notifier *p, bool kept, bool full);
/* Does something of this wait? */
bool strand_notifier_waits (strand_notifier *p);
/* Between two turns, in debug builds. */
void strand_notifier_check (strand_notifier *p);

#endif
