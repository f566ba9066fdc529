/*
** producer_results.h - what a producer tells, as Lua tables
**
** lua/strand/types.lua describes the tables. Each function may raise when
** memory runs out: what is read is owned by the userdata.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_PRODUCER_RESULTS_H
#define STRAND_LUA_PRODUCER_RESULTS_H

#include <lua.h>

#include "producer/producer.h"

/* How many strings strand_push_delivery has as the first upvalues of the C
** function that calls it; pushes them. Names are so made once, and not for each
** report. */
#define STRAND_DELIVERY_NAMES 9
void strand_push_delivery_names (lua_State *L);

/* Each of these pushes one table. */
void strand_push_delivery (lua_State *L, const strand_delivery *delivery);
void strand_push_producer_event (lua_State *L,
                                 const strand_producer_event *event);
void strand_push_producer_stats (lua_State *L,
                                 const strand_producer_counts *counts);
/* Of one that was open for so long. */
void strand_push_producer_report (lua_State *L,
                                  const strand_producer_counts *counts,
                                  double seconds);

#endif
