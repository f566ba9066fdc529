/*
** seats.h - the handlings of a Lua state that has many: of the lua thread in
** local mode, or of a worker with an event loop
**
** A seat is where one lease is worked on: what its record's userdata and its
** context find by their number. A body (body.h) has one while it runs its
** handler; a record whose handler has returned and said that it is done later
** has one without a body.
**
**   free --begin--> held by a body --handler returned--> next record, or free
**                      |                        ^
**                      +--deferred--> waits ----+ (done was called: ready, the
**                      |                           next body takes it)
**                      +--collected--> dropped (serve ends it)
**
** All of it lives in one userdata, which the metatables of records, contexts
** and bodies keep: so it outlives them, also at the end of the Lua state. What
** it has of the consumer is given up once, by strand_seats_end: when the
** consumer's end was told, or when it is collected. After that no record is
** valid, and nothing of the engine's is touched.
**
** Invariants:
**   (1) A seat has a slot exactly while its record is valid, or its first is
**       about to be.
**   (2) A seat that is free, ready or dropped has no body.
**   (3) As many leases run as seats have a slot.
**
** Thread: lua in local mode; else worker.
*/
#ifndef STRAND_LUA_SEATS_H
#define STRAND_LUA_SEATS_H

#include <lua.h>

#include "lua/local/sleepers.h"
#include "lua/local/slice.h"
#include "lua/worker/batch.h"
#include "lua/worker/record.h"
#include "lua/worker/retry_function.h"
#include "worker/local.h"

struct strand_body;

typedef struct strand_seat {
  strand_current current; /* first: what numbers find */
  strand_handling handling;
  strand_batch_state batch;
  struct strand_body *body;
  struct strand_seat *next; /* in the list it is in */
  bool deferred;            /* context:defer() was called */
  bool answered;            /* done() was, before the handler returned */
} strand_seat;

/* A list of seats: first in, first out. */
typedef struct strand_seat_list {
  strand_seat *first;
  strand_seat *last;
} strand_seat_list;

#define STRAND_BARE_ROUTES 64

typedef struct strand_seats {
  strand_local local;
  int generation; /* of the process that opened it */
  bool ended;     /* strand_seats_end was called */
  /* all there are; 'currents' sees them by their numbers */
  strand_seat **each;
  uint32_t count;
  uint32_t capacity;
  strand_currents currents;
  strand_retry_function retry;
  strand_seat_list free;
  strand_seat_list ready;   /* have a record, and no body */
  strand_seat_list dropped; /* whose bodies were collected */
  /* bodies */
  uint32_t bodies;    /* that live */
  uint32_t unspawned; /* of them that their loop could not begin (bodies.h) */
  uint32_t dropped_bodies; /* called, and collected since; to be told */
  struct strand_body *parked;
  struct strand_body *called;  /* last, by the loop, or NULL */
  struct strand_body *resumed; /* by step, and not looked at since */
  int64_t resumed_us;
  strand_sleepers sleepers; /* those that sleep; under a loop, are awaited */
  int64_t timer_us;         /* under a loop: the timer for them; 0: none */
  strand_slice slice;
  uint64_t bare; /* a bit for each route whose handlers take no context, of the
                    first STRAND_BARE_ROUTES */
  bool looped;   /* bodies are a loop's */
  bool asks;     /* and the end of a slice is the body's to tell the loop */
} strand_seats;

/* Into memory of Lua's, zeroed; as strand_local_open. False: memory ran out. */
bool strand_seats_open (strand_seats *p, strand_consumer *c,
                        strand_worker_slot *worker_slot);
/* Whatever is handled has failed for that reason. Calls no Lua. */
void strand_seats_fail (strand_seats *p, const char *reason);
/* See above. Also from a finalizer: calls no Lua. */
void strand_seats_end (strand_seats *p);

/* Of the consumer. */
static inline int64_t strand_seats_now_us (const strand_seats *p) {
  return strand_time_us(&p->local.consumer->time);
}

/* Handlers of this route take no context from now on: none is made for them. Of
** a route above the limit one is made all the same. */
void strand_seats_bare (strand_seats *p, unsigned route);
static inline bool strand_seats_are_bare (const strand_seats *p,
                                          unsigned route) {
  return route < STRAND_BARE_ROUTES && (p->bare >> route & 1) != 0;
}

/* A seat with a record to begin with, of those that wait for a body, or of a
** lease that begins. NULL: there is none, or no room; 'short_of_memory' says
** when it is for want of that. */
strand_seat *strand_seats_take (strand_seats *p, bool *short_of_memory);
/* Is there something to take? If not, an owner tells when there is. */
bool strand_seats_want_work (strand_seats *p);
/* The seat has a record; some body is to go on with it. */
void strand_seats_put (strand_seats *p, strand_seat *seat);
/* The same, before all others: its body gave it up between two records. */
void strand_seats_put_back (strand_seats *p, strand_seat *seat);
/* Its lease has ended. */
void strand_seats_leave (strand_seats *p, strand_seat *seat);
/* Its body is gone; what it ends with is in its task. */
void strand_seats_drop (strand_seats *p, strand_seat *seat);
/* One of those, to be ended; NULL: none. */
strand_seat *strand_seats_dropped (strand_seats *p);

/* The seat of that number while the serial is that of its handling, or
** NULL. */
strand_seat *strand_seats_find (const strand_seats *p, uint32_t number,
                                uint64_t serial);

/* The seat that handles the record of that place, or NULL. */
strand_seat *strand_seats_handling (const strand_seats *p, const char *topic,
                                    int32_t partition, int64_t offset);

/* The same by its slot. */
strand_seat *strand_seats_at (const strand_seats *p, const strand_slot *slot);

/* What Lua holds of a handling, and may find over. */
typedef struct strand_handling_name {
  uint32_t number;
  uint64_t serial;
} strand_handling_name;

/* Pushes that of the seat's. */
void strand_seat_push_name (lua_State *L, const strand_seat *seat,
                            int metatable);

/* With the parts of it, between two turns. */
void strand_seats_check (const strand_seats *p);

#endif
