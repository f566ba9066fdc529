/*
** handler_end.h - what a handler gave or raised becomes the outcome of its
** record
**
** Thread: lua in local mode; else worker.
*/
#ifndef STRAND_LUA_HANDLER_END_H
#define STRAND_LUA_HANDLER_END_H

#include <lua.h>

#include "lua/local/bodies.h"

/* Upvalues of 'next' and of what ends a seat without a body. */
enum {
  STRAND_NEXT_SEATS = 1,
  STRAND_NEXT_BODIES,   /* their metatable */
  STRAND_NEXT_HANDLERS, /* by route */
  STRAND_NEXT_RECORDS,  /* their metatable */
  STRAND_NEXT_CACHE,
  STRAND_NEXT_BATCHES,  /* their metatable */
  STRAND_NEXT_CONTEXTS, /* their metatable */
  STRAND_NEXT_RETRY,    /* asks the retry functions */
  STRAND_NEXT_TRACEBACK,
  STRAND_NEXT_COUNT = STRAND_NEXT_TRACEBACK
};

/* How a handler ended. */
typedef enum strand_body_end {
  STRAND_BODY_RETURNED, /* its two results are on top */
  STRAND_BODY_RAISED,   /* the error is */
  STRAND_BODY_YIELDED   /* for nobody */
} strand_body_end;

/* Why a record has failed whose handler has yielded for nobody. */
extern const char strand_handler_end_bare[];

/*
** With STRAND_NEXT_COUNT upvalues
*/

/* The handler of a body's record, which it has, has ended. May raise for want
** of memory. */
void strand_handler_end (lua_State *L, strand_body *body, strand_body_end how);
/* Into the outcome of a seat's record; 'made' as in handler_result.h. Raises
** only when memory runs out. */
void strand_handler_end_read (lua_State *L, strand_seat *seat,
                              const char *made, strand_body_end how);
/* The outcome of a seat without a body is there. Never raises. */
void strand_handler_end_alone (lua_State *L, strand_seats *p,
                               strand_seat *seat);

#endif
