/*
** results.h - what a consumer tells, as Lua tables
**
** lua/strand/types.lua describes the tables. Each function pushes one, and
** may raise when memory runs out: what is read is owned by the userdata.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_RESULTS_H
#define STRAND_LUA_RESULTS_H

#include <lua.h>

#include "consumer/consumer.h"

void strand_push_event (lua_State *L, const strand_event *event);
void strand_push_stats (lua_State *L, const strand_stats *stats);
void strand_push_assignment (lua_State *L, const strand_stats *stats);
void strand_push_blockers (lua_State *L, const strand_stats *stats);
/* The list is empty for NULL. */
void strand_push_parked (lua_State *L, const strand_parked *first);
void strand_push_report (lua_State *L, const strand_report *report);

#endif
