/*
** yieldable.h - whether Lua 5.1 could yield here
**
** Later versions and LuaJIT say it themselves (coroutine.isyieldable), or can
** yield nearly everywhere. In 5.1 it is known in the state alone, whose layout
** is looked at: it never changes any more, and is tried before it is believed.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_YIELDABLE_H
#define STRAND_LUA_YIELDABLE_H

#include <lua.h>

/* Adds to the table on top of the stack:
**
**   can_yield() -> boolean   in PUC Lua 5.1, where its layout is as expected */
void strand_open_yieldable (lua_State *L);

#endif
