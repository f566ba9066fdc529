/*
** options.h - a consumer's flat table of options
** (lua/strand/options/consumer.lua), for C
**
** What is borrowed is borrowed from the flat table, and from what is pushed
** beside it. Everything is read before anything is opened, and may raise:
** what is owned meanwhile are the sources, which the userdata has.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_OPTIONS_H
#define STRAND_LUA_OPTIONS_H

#include <lua.h>

#include "consumer/consumer.h"
#include "lua/worker/sources.h"

/* Pushes what owns the arrays of 'config'. The flat table is at 'flat', the
** new sources come to '*sources'. All but 'handler' is set. */
void strand_read_options (lua_State *L, int flat,
                          strand_consumer_config *config,
                          strand_sources **sources);

/* Those of 'limits' that the flat table has. */
void strand_read_limits (lua_State *L, int flat, strand_limits *limits);

#endif
