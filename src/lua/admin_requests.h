/*
** admin_requests.h - the methods of core.admin whose answers are replies
**
** Described in lua/strand/admin.lua.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_ADMIN_REQUESTS_H
#define STRAND_LUA_ADMIN_REQUESTS_H

#include <lua.h>

/* Adds them to the type of admins, which is there. */
void strand_open_admin_requests (lua_State *L);

#endif
