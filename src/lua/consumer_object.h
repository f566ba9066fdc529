/*
** consumer_object.h - the userdata of a consumer
**
** Thread: lua.
*/
#ifndef STRAND_LUA_CONSUMER_OBJECT_H
#define STRAND_LUA_CONSUMER_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include <lua.h>

#include "consumer/consumer.h"
#include "lua/finalizers.h"
#include "lua/local/seats.h"
#include "lua/object.h"
#include "lua/worker/sources.h"

#define STRAND_CONSUMER_TYPE "strand.core.Consumer"

/* What is being turned into Lua values stands here, because that may raise.
** An event or a line that was taken stays until it has been given: the next
** call gives it then. Of the rest the next call, or the end, frees it. */
typedef struct strand_consumer_object {
  strand_consumer *kafka; /* NULL: could not be opened */
  strand_sources *sources;
  strand_seats *seats;  /* of local mode: in a userdata that the registry
                            keeps for us; NULL: none */
  strand_limits limits; /* as configured last */
  unsigned members;
  int generation;
  strand_event event;
  strand_log_line line;
  bool has_event;
  bool has_line;
  strand_stats stats;
  strand_report report;
  strand_finalizers *finalizers; /* NULL: it is closed */
} strand_consumer_object;

/* The first argument. Raises where that is something else. */
strand_consumer_object *strand_check_any_consumer (lua_State *L);
/* The same. NULL in another process; raises also where it was not opened. */
strand_consumer_object *strand_check_consumer (lua_State *L);
/* Raises where that is no number of a partition. */
int32_t strand_check_partition (lua_State *L, int index);

#endif
