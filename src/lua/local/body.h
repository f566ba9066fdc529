/*
** body.h - the coroutines that run handlers
**
** A body is a coroutine of Lua's (lua/strand/bodies.lua), which is reused from
** record to record (run.h): what its handler gave or raised becomes the outcome
** of the record it had, whoever resumed it, and it gets the next. Records of a
** lease are one body's, in their order.
**
** Where handlers run in a coroutine inside of the body's, which looks at what
** they yield, somebody may hold one that the body has left, or resume one that
** waits: that ends then, and of the latter the handler's end counts.
**
** Its userdata lives as long as its coroutine, and no longer: when that is
** collected, dropped by its loop, the userdata is, and the record has failed.
**
** Without a loop strand_body_turn says whom to resume: those whose sleep is
** over, then as many as there is work for, until the slice is over. With one
** strand_body_wake says whom the loop is to wake.
**
** A body that has yielded and neither parks nor sleeps has yielded for nobody:
** its record has failed.
**
** Thread: lua in local mode; else worker.
*/
#ifndef STRAND_LUA_BODY_H
#define STRAND_LUA_BODY_H

#include <lua.h>

#include "lua/local/handler_end.h"

/* What context:sleep() yields without a loop, so that what stands between the
** handler and step passes it on. */
#define STRAND_SLEEPS ((void *)&strand_body_sleeps)
extern const char strand_body_sleeps;

/* Pushes the metatable of bodies, which keeps what is at 'anchor'. */
void strand_body_open (lua_State *L, strand_seats *p, int anchor);
/* Pushes a new body, whose metatable is at 'metatable'. */
void strand_body_new (lua_State *L, strand_seats *p, int metatable);
/* The same as at 'index', or NULL. */
strand_body *strand_body_test (lua_State *L, int index, int metatable);
/* The body of the coroutine that runs, or NULL. */
strand_body *strand_body_running (lua_State *L);
/* Upvalue: as in strand_body_new. Arguments: body, coroutine, number or nil,
** the coroutine around it or nil: it runs that body's handlers, as long as that
** one has resumed it. False: it had a number before, and nothing has
** changed. */
int strand_body_enter (lua_State *L);

/*
** With STRAND_NEXT_COUNT upvalues
*/

typedef enum strand_body_step {
  STRAND_BODY_CALLS, /* handler, record and context were pushed */
  STRAND_BODY_PARKS, /* until it is woken */
  STRAND_BODY_TELLS, /* the same, and first has the loop turn to us again */
  STRAND_BODY_ENDS
} strand_body_step;

/* It runs, after whatever it waited for. False: it ends. */
bool strand_body_come (lua_State *L, strand_body *body);
/* What it does now. May raise for want of memory. */
strand_body_step strand_body_take (lua_State *L, strand_body *body);

/* Number, serial, what a handler gives. */
int strand_body_answer (lua_State *L);
int strand_body_abandon (lua_State *L); /* body, message: its coroutine ends */
int strand_body_leave (lua_State *L);   /* body: takes no more, and ends */
int strand_body_serve (lua_State *L);   /* first in each turn */
int strand_body_turn (lua_State *L);
int strand_body_wake (lua_State *L);
int strand_body_fail (lua_State *L); /* what wake asked for has raised */

/* Without a loop: until then. It sleeps when what it yields for that,
** STRAND_SLEEPS, arrives at step: where Lua cannot yield it does not. */
static inline void strand_body_sleep (strand_body *body, int64_t due_us) {
  body->due_us = due_us;
}

#endif
