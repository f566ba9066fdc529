/*
** headers.h - a record's headers, packed as core/record.h has them
**
** Thread: any (each call works on the state that it is given).
*/
#ifndef STRAND_LUA_HEADERS_H
#define STRAND_LUA_HEADERS_H

#include <stddef.h>

#include <lua.h>

/* Of the flat list name, value or false, name, ... that lua/strand/options has
** checked, the bytes that they take packed; 'to' gets them, unless it is NULL.
** What a call without 'to' has taken raises nothing. */
size_t strand_pack_headers (lua_State *L, int list, char *to);

#endif
