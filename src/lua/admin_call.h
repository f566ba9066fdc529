/*
** admin_call.h - one question of core.admin: its arguments, and the answer
**
** It is asked at once, by who asks; or, for an event loop, by a thread, while
** Lua goes on: so all that it needs is its own. The methods read what Lua
** gives into one on the stack, which borrows, and submit that.
**
** Invariants:
**   (1) Of one admin one is asked at a time.
**
** Protocol:
**   (2) The admin lasts as long as one is: whoever ends it meanwhile leaves
**       that to the thread.
**
** Thread: lua; 'run' is called on a thread of its own, and touches the call
** and its admin alone. A leaf lock of its own.
*/
#ifndef STRAND_LUA_ADMIN_CALL_H
#define STRAND_LUA_ADMIN_CALL_H

#include <stdbool.h>

#include <lua.h>

#include "base/lock.h"
#include "kafka/admin.h"
#include "lua/admin_object.h"

typedef bool strand_admin_run (strand_admin_call *call);
typedef int strand_admin_push (lua_State *L, strand_admin_call *call);

struct strand_admin_call {
  /* arguments; 'count' is that of the list */
  double timeout;
  const char *group;
  const char *name;
  strand_config_kind kind;
  const char *const *texts;
  const strand_new_topic *topics;
  const strand_admin_place *places;
  const strand_property *changes;
  size_t count;
  strand_admin_reading reading;

  /* the answer: written by 'run', read when it has ended */
  bool ok;
  strand_failure failure; /* if not ok */
  strand_reply reply;
  strand_topic_answers answers;
  strand_group_offsets offsets;

  /* its own */
  strand_admin *admin;
  strand_admin_run *run;
  strand_admin_push *push;
  struct strand_admin_block *blocks; /* what its arguments stand in */
  bool no_memory;                    /* for one of these */
  int wake_fd;                       /* a copy; -1: asked at once */
  strand_lock lock;
  unsigned refs;     /* lock */
  bool ended;        /* lock */
  bool closes_admin; /* lock; the thread, at its end */
};

/* The timeout is at the index. */
strand_admin_call strand_admin_call_of (lua_State *L, int timeout);

/* Copies 'call', and asks. What 'push' pushes; or, of an object in an event
** loop, false and a ticket. */
int strand_admin_submit (lua_State *L, strand_admin_object *self,
                         const strand_admin_call *call, strand_admin_run *run,
                         strand_admin_push *push);

/* The object has it no more. Accepts NULL. True: it goes on, and closes the
** admin when it ends. */
bool strand_admin_call_leave (strand_admin_call *call);

/* Adds async, fd, keep, is_busy and answer to the type of admins. */
void strand_open_admin_calls (lua_State *L);

#endif
