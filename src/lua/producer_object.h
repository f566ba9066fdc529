/*
** producer_object.h - the userdata of a producer
**
** Thread: lua.
*/
#ifndef STRAND_LUA_PRODUCER_OBJECT_H
#define STRAND_LUA_PRODUCER_OBJECT_H

#include <stdbool.h>

#include <lua.h>

#include "lua/finalizers.h"
#include "lua/object.h"
#include "lua/plain_record.h"
#include "producer/producer.h"

#define STRAND_PRODUCER_TYPE "strand.core.Producer"

/* Turning what was taken into Lua values may raise: so it stands here until it
** has been given, and the next call gives it then. */
typedef struct strand_producer_object {
  strand_producer *kafka;   /* NULL: could not be opened */
  strand_delivery *current; /* NULL: none */
  strand_producer_event event;
  strand_log_line line;
  double opened; /* by strand_clock_now */
  bool has_event;
  bool has_line;
  int generation;
  strand_plain_names names;
  strand_finalizers *finalizers; /* NULL: it is closed */
} strand_producer_object;

/* The first argument. Raises where that is something else; */
strand_producer_object *strand_check_any_producer (lua_State *L);
/* also where it could not be opened; */
strand_producer *strand_check_producer (lua_State *L);
/* and where it was closed. */
strand_producer *strand_check_open_producer (lua_State *L);

#endif
