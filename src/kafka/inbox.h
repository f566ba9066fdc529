/*
** inbox.h - what the lua thread and other members ask of a member
**
** One for each member, of the consumer's: who puts something in holds the
** consumer's lock, and wakes the owner after it.
**
** Thread: any.
*/
#ifndef STRAND_INBOX_H
#define STRAND_INBOX_H

#include "core/held.h"
#include "kafka/waker.h"

/* The handler of a held shard has returned. */
typedef struct strand_release {
  struct strand_release *next;
  strand_held held; /* owns its strings */
} strand_release;

/* What was asked since the owner last took it. */
typedef struct strand_asked {
  struct strand_waiter *commits;
  struct strand_seek_request *seeks;
  strand_release *releases;
  struct strand_parked_request *parked;
  bool rules;
  bool yields; /* another member gave up what this one has */
  bool limits;
  bool close;
} strand_asked;

typedef struct strand_inbox {
  /* The owner's. Set when it is made, before any thread runs, and not changed
  ** after: it is read without the lock. */
  strand_waker *waker;
  strand_asked asked; /* under the consumer's lock */
} strand_inbox;

#endif
