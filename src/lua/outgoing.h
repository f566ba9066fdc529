/*
** outgoing.h - a record that is sent, from the arguments of send()
**
**   topic, key, value, headers, timestamp, partition, hash_key, id, timeout
**
** from the second argument on; nil where there is none. Headers are a list
** { name, value or false, name, ... }, times are in seconds.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_OUTGOING_H
#define STRAND_LUA_OUTGOING_H

#include <stdint.h>

#include <lua.h>

#include "producer/outgoing.h"

/* Everything is borrowed from the arguments, and from what is pushed beside
** them. Raises on anything that is no record. Returns the id; 0: none. */
int64_t strand_read_outgoing (lua_State *L, strand_outgoing *record);

#endif
