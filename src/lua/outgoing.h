/*
** outgoing.h - a record that is sent, from the arguments of send()
**
**   topic, key, value, headers, timestamp, partition, hash_key
**
** from the second argument on; nil where there is none. Headers are a list
** { name, value or false, name, ... }, the time is in seconds.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_OUTGOING_H
#define STRAND_LUA_OUTGOING_H

#include <lua.h>

#include "producer/outgoing.h"

/* Everything is borrowed from the arguments, and from what is pushed beside
** them. Raises on anything that is no record. */
void strand_read_outgoing (lua_State *L, strand_outgoing *record);

#endif
