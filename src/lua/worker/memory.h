/*
** memory.h - a Lua state that may take so many bytes, and no more
**
** What passes the limit is "not enough memory" to Lua, an error like another:
** the state goes on. From 5.2 on Lua collects its garbage before it says so;
** 5.1 and LuaJIT do not. Not counted: what C libraries allocate for
** themselves, and LuaJIT's machine code.
**
** Thread: worker.
*/
#ifndef STRAND_LUA_MEMORY_H
#define STRAND_LUA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

typedef struct strand_memory {
  size_t used;
  size_t limit; /* 0: none, and 'used' is not counted */
} strand_memory;

/* 'm' must live as long as the state does. NULL when memory runs out. */
lua_State *strand_memory_open (strand_memory *m, size_t limit);

/* So little is left (after a collection) that the next handler would fail as
** the last one did. */
bool strand_memory_is_short (const strand_memory *m);

#endif
