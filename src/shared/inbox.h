/*
** inbox.h - who has which partition, and what is asked of it
**
** An inbox for each member: what the lua thread and other members ask of it,
** and the waker of its owner. Beside them the ownership of partitions and
** their orphaned shards: so what is for a partition is put where it is.
**
**   lua, other owners                    owner
**   ask, tell, release, hand off    -->  takes all that was asked since
**                                        assign: its own, and the orphans
**
** A release that comes while a member enters a partition, after it was told
** of its orphans, is in its inbox: it takes that one afterwards.
**
** Invariants:
**   (1) The partitions of all members are those of each.
**   (2) A shard that was released is in an inbox, and no orphan.
**
** Thread: any. One leaf lock, which is nobody else's; who was asked is woken
** without it.
*/
#ifndef STRAND_INBOX_H
#define STRAND_INBOX_H

#include "base/lock.h"
#include "base/waker.h"
#include "core/ownership.h"
#include "shared/progress.h"
#include "shared/settings.h"
#include "shared/ticket.h"

/* What waits for a commit of a member. */
typedef struct strand_waiter {
  struct strand_waiter *next;
  strand_ticket *ticket;
  bool committing; /* in the commit that is out */
} strand_waiter;

typedef struct strand_seek_request {
  struct strand_seek_request *next;
  strand_ticket *ticket;
  char *topic;
  int32_t partition;
  strand_seek_kind kind;
  int64_t value;
  bool found; /* where that is is known; it waits for the partition */
} strand_seek_request;

typedef struct strand_parked_request {
  struct strand_parked_request *next;
  strand_ticket *ticket;
  bool resolves; /* else it asks for a page */
  strand_resolution resolution;
  char topic[250];
  int32_t partition;
  int64_t offset;
} strand_parked_request;

/* What was asked since the owner last took it; the newest first. */
typedef struct strand_asked {
  strand_waiter *commits;
  strand_seek_request *seeks;
  strand_orphan_entry *releases; /* of shards whose handlers have returned */
  strand_parked_request *parked;
  bool rules;
  bool handed_off; /* another member gave up what this one has */
  bool limits;
  bool close;
} strand_asked;

typedef struct strand_inbox {
  strand_waker waker;       /* any thread wakes it, its owner sleeps */
  strand_asked asked;       /* lock */
  size_t partitions;        /* lock: that the member has */
  strand_progress progress; /* lua adds, its owner takes */
  char apart[64]; /* from the next one's waker, which its owner writes to */
} strand_inbox;

typedef struct strand_inboxes {
  /* set before any thread runs, and only read */
  strand_inbox *each;
  unsigned count;

  strand_lock lock;
  strand_ownership ownership; /* lock */
  size_t partitions; /* lock: of all members; kept when there are several */
} strand_inboxes;

/* Of 'count' members. False: memory ran out; it is to be freed all the same. */
bool strand_inboxes_init (strand_inboxes *in, unsigned count);
/* Thread: whoever is last. */
void strand_inboxes_free (strand_inboxes *in);
/* Closes the wakers that nobody writes to any more. */
void strand_inboxes_close (strand_inboxes *in);
/* Each owner looks at its inbox. */
void strand_inboxes_wake (strand_inboxes *in);

/* Thread: owner. What was asked of member 'index'. */
strand_asked strand_inboxes_take (strand_inboxes *in, unsigned index);

/* All members get the flags of 'what'. Nobody is woken. */
void strand_inboxes_tell (strand_inboxes *in, strand_asked what);
/* A waiter for each member. Nobody is woken. */
void strand_inboxes_ask_commit (strand_inboxes *in, strand_waiter *waiters);
/* False: nobody has the partition, and the request is the caller's. */
bool strand_inboxes_ask_seek (strand_inboxes *in, strand_seek_request *r);
/* The same; of 'member', or when it is negative of who has the partition. */
bool strand_inboxes_ask_parked (strand_inboxes *in, int member,
                                strand_parked_request *r);

/* What a member is told when it gets a partition. */
typedef struct strand_assign_answer {
  uint32_t epoch;
  bool contested;         /* an earlier member has not given it up */
  strand_orphan *orphans; /* copies; one that is released meanwhile, too */
  size_t orphan_count;
} strand_assign_answer;

/* Thread: owner. Member 'index' has the partition from now on.
** strand_assign_answer_clear frees what comes. STRAND_ENOMEM: it has it not. */
strand_err strand_inboxes_assign (strand_inboxes *in, unsigned index,
                                  const char *topic, int32_t partition,
                                  strand_assign_answer *to);
void strand_assign_answer_clear (strand_assign_answer *a);
/* Thread: owner. It has it no more; who has it now is told. */
void strand_inboxes_hand_off (strand_inboxes *in, unsigned index,
                              const char *topic, int32_t partition);
bool strand_inboxes_contested (strand_inboxes *in, const char *topic,
                               int32_t partition);
/* Thread: owner. A handler of the shard runs on after its partition went.
** STRAND_ENOMEM: it is not remembered. */
strand_err strand_inboxes_add_orphan (strand_inboxes *in,
                                      const strand_orphan *orphan);
/* Thread: owner. It has returned: whoever has its partition now goes on with
** it. */
void strand_inboxes_release (strand_inboxes *in, const strand_orphan *orphan);

/* Thread: owner. The member has so many partitions: that changes each one's
** part of the consumer's budgets, and is told. */
void strand_inboxes_note_partitions (strand_inboxes *in, unsigned index,
                                     size_t partitions);
/* What was told so; kept when there are several. */
size_t strand_inboxes_partitions (strand_inboxes *in, unsigned index);
/* The member's part of them: by the partitions it has. */
double strand_inboxes_part (strand_inboxes *in, unsigned index);
/* Between two turns, in debug builds. */
void strand_inboxes_check (strand_inboxes *in);

#endif
