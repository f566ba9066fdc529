/*
** bodies.h - bodies that wait for work, and those that were called for it
**
** With a loop a body that is spawned or woken comes later, when the loop
** resumes it. The adapter that does that may be a user's, so whoever was called
** is awaited: in the heap of sleepers, which a loop leaves to us.
**
**   parked --woken---+--> called --> comes
**     ^              |      |
**   new --spawned----+      +-- twice a second later it has not: late, told
**                           +-- the call raised: failed --a second--> parked
**                                                       (never begun: gone)
**
** One that was called and is collected instead was dropped, which is told too.
**
** Twice, because a loop that was busy for a second may turn to us first.
**
** Invariants:
**   (1) Who is called or failed is in the heap until it is late or comes.
**   (2) 'bodies' counts those that are not gone, and 'unspawned' of them those
**       that failed and have never begun.
**   (3) Who is parked has a coroutine that waits, and no record.
**
** Thread: lua. Calls no Lua.
*/
#ifndef STRAND_LUA_BODIES_H
#define STRAND_LUA_BODIES_H

#include "lua/local/seats.h"

typedef enum strand_body_state {
  STRAND_BODY_RUNS,
  STRAND_BODY_PARKED,
  STRAND_BODY_SLEEPS,
  STRAND_BODY_CALLED, /* by its loop, and has not come */
  STRAND_BODY_FAILED, /* to be called */
  STRAND_BODY_GONE    /* whatever it does comes to nothing */
} strand_body_state;

typedef struct strand_body {
  const char *made; /* first: the name of the outcome its handler made last, or
                       NULL (strand_outcome_watch_thread) */
  strand_sleeper sleeper;
  strand_seats *owner; /* NULL: not yet, or no more */
  uint32_t number;
  int64_t due_us; /* of the sleep that it asked for last */
  strand_body_state state;
  bool begun;        /* it has come once */
  bool leaves;       /* it takes no more records */
  bool missed;       /* it was called, and had not come a while after */
  strand_seat *seat; /* whose handler it runs, or NULL */
  /* Where handlers run in a coroutine inside of the body's: that, which alone
  ** goes on with the body, as long as the body's has resumed it; or NULL. It
  ** keeps the body's. */
  lua_State *inner;
  lua_State *outer;
  struct strand_body *below; /* in 'parked' */
} strand_body;

typedef struct strand_late {
  uint32_t spawned; /* and not begun */
  uint32_t woken;   /* and not resumed */
  uint32_t dropped; /* either of these, and collected */
} strand_late;

/* It waits for work. */
void strand_bodies_park (strand_seats *p, strand_body *body);
/* One that did, and runs; NULL: nobody does. */
strand_body *strand_bodies_unpark (strand_seats *p);
/* Whatever it does from now on comes to nothing. Again: nothing happens. */
void strand_bodies_leave (strand_seats *p, strand_body *body);
/* The same: its coroutine was collected. */
void strand_bodies_drop (strand_seats *p, strand_body *body);

/* May there be one more? */
bool strand_bodies_may_spawn (const strand_seats *p);
/* The loop is about to be asked to resume it. */
void strand_bodies_call (strand_seats *p, strand_body *body);
/* The one that was called last was not: that raised. True: it parks, and is to
** be called again. */
bool strand_bodies_fail (strand_seats *p);
/* It was resumed, asked for or not. */
void strand_bodies_come (strand_seats *p, strand_body *body);
/* Who is late, or was dropped, is counted once; who failed is tried again. */
strand_late strand_bodies_take_late (strand_seats *p, int64_t now_us);

/* Between two turns. */
void strand_bodies_check (const strand_seats *p);

#endif
