/*
** life.h - a consumer's life, from its start to the end of its close
**
**   NEW -- start --> RUNS -- close --> CLOSING -- members and workers are
**     gone, or its time is over --> CLOSED -- told --> what is the operating
**     system's goes, once no thread is left that could write to it
**
** When only handlers are left, a close waits for them until its deadline; in
** mode NOW for a moment, which idle workers need to end.
**
** Invariants:
**   (1) Closed with a member or a worker left is detached.
**   (2) Only the end of what is closed is told, and what is the operating
**       system's goes after that.
**
** Thread: any. A leaf lock of its own.
*/
#ifndef STRAND_LIFE_H
#define STRAND_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/lock.h"
#include "shared/settings.h"

typedef enum strand_state {
  STRAND_NEW,
  STRAND_RUNS,
  STRAND_CLOSING,
  STRAND_CLOSED
} strand_state;

typedef struct strand_facts {
  strand_state state;
  strand_close_mode mode; /* of the close */
  int64_t deadline_us;    /* of the close */
  double timeout;         /* of the close: the last one given */
  bool late;              /* a member had to leave things undone */
  bool detached;          /* it was over before all had ended */
  unsigned members;       /* whose clients are not destroyed */
  unsigned uncommitted;   /* that have not made their last commit */
  unsigned workers;       /* threads that have not ended */
  int64_t started_us;     /* 0: not yet */
  int64_t closed_us;      /* 0: not yet */
} strand_facts;

typedef struct strand_life {
  strand_lock lock;
  strand_condition changed;
  /* under lock */
  strand_facts facts;
  int64_t give_up_us; /* the close ends then, whatever is left */
  int timer_fd;       /* armed for that; -1: given back */
  unsigned threads;   /* that run something of the consumer */
  bool reported;
  bool given_back;
} strand_life;

/* False: it could not be made. */
bool strand_life_init (strand_life *l);
/* Thread: whoever is last. */
void strand_life_free (strand_life *l);
/* The timer of its close; -1 and errno. */
int strand_life_open (strand_life *l);

strand_state strand_life_state (strand_life *l);
void strand_life_read (strand_life *l, strand_facts *to);

/* Thread: lua. Once: false when it began before. */
bool strand_life_start (strand_life *l);
/* Thread: lua. Its handlers are loaded. */
void strand_life_run (strand_life *l);

/* Thread: lua. A member begins; or does not, after all. */
void strand_life_add_member (strand_life *l);
void strand_life_drop_member (strand_life *l);
/* A member has made its last commit. True: all have. */
bool strand_life_commit (strand_life *l);
bool strand_life_all_committed (strand_life *l);
/* A member's time is over, and something was still to be done. */
void strand_life_be_late (strand_life *l);

/* 'count' more workers, before they are made. False: they would find nothing
** to do. */
bool strand_life_hire (strand_life *l, unsigned count);

/* What ended, and what of it: for who asked. */
typedef struct strand_ended {
  bool members; /* none is left */
  bool closed;  /* the consumer is, now */
} strand_ended;

/* Thread: lua. The close begins, or goes on in another mode. False: it is
** closed already. */
bool strand_life_close (strand_life *l, strand_close_mode mode, double timeout,
                        strand_ended *ended);
/* Thread: owner. A client is destroyed. */
strand_ended strand_life_end_member (strand_life *l);
/* So many workers have ended, or could not be made. */
strand_ended strand_life_end_workers (strand_life *l, unsigned count);

/* Thread: lua. True: it is closed; what is left after its time is detached. */
bool strand_life_step (strand_life *l);
/* Thread: lua. Waits until it is closed, gives up, or the time has come. */
void strand_life_wait (strand_life *l, int64_t until_us);
/* Thread: lua. Its end was told. */
void strand_life_tell (strand_life *l);
/* It is closed, and that was not told. */
bool strand_life_unreported (strand_life *l);

/* A thread runs something of the consumer, from before it is made. */
void strand_life_enter (strand_life *l);
void strand_life_leave (strand_life *l);
/* True, once: its end was told, and no thread is left. The timer is gone. */
bool strand_life_give_back (strand_life *l);
/* Between two turns, in debug builds. */
void strand_life_check (strand_life *l);

#endif
