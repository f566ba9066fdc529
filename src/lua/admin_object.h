/*
** admin_object.h - the userdata of core.admin, for the files that give it
** methods
**
** What C allocates for an answer is a call's (admin_call.h) until it has become
** Lua values: making them may raise.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_ADMIN_OBJECT_H
#define STRAND_LUA_ADMIN_OBJECT_H

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "kafka/admin.h"
#include "lua/finalizers.h"
#include "lua/lines.h"

#define STRAND_ADMIN_TYPE "strand.core.Admin"
#define STRAND_ADMIN_TIMEOUT 30.0 /* seconds, unless the caller says another */

typedef struct strand_admin_call strand_admin_call;

typedef struct strand_admin_object {
  strand_admin *kafka;     /* NULL: closed */
  bool ending;             /* by end_begin: nothing is asked any more */
  strand_admin_call *call; /* the last that a thread was to ask; NULL: none */
  int fd;                  /* readable for an answer; -1: no event loop */
  strand_lines lines;      /* last as long as the object */
  int generation;
  strand_finalizers *finalizers; /* NULL: it is closed */
} strand_admin_object;

static inline strand_admin_object *strand_check_admin (lua_State *L) {
  return luaL_checkudata(L, 1, STRAND_ADMIN_TYPE);
}

/* Raises for one that is closed. */
static inline strand_admin *strand_check_open_admin (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  if (self->kafka == NULL || self->ending)
    luaL_error(L, "attempt to use a closed admin");
  return self->kafka;
}

#endif
