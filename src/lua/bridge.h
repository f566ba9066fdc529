/*
** bridge.h - the bridge (base/bridge.h) as strand.core has it, for nginx
**
**   bridge(folder) -> bridge | nil, message, code
**   bridge:path() -> where to connect
**   bridge:accept() -> true | nil, message, code   after that, once
**   bridge:arm(fd) -> true | nil, message, code    its number is written when
**                     it is readable: four bytes, the lowest first
**   bridge:close()
**
** Thread: lua.
*/
#ifndef STRAND_LUA_BRIDGE_H
#define STRAND_LUA_BRIDGE_H

#include <lua.h>

/* Adds them to the table on top of the stack. */
void strand_open_bridge (lua_State *L);

#endif
