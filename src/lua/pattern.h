/*
** pattern.h - core.matches(pattern, topic) -> boolean
**
** POSIX extended regular expressions, as librdkafka has them. Raises on one
** that is none.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_PATTERN_H
#define STRAND_LUA_PATTERN_H

#include <lua.h>

/* Adds 'matches' to the table on top of the stack. */
void strand_open_pattern (lua_State *L);

#endif
