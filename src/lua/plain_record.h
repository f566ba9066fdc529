/*
** plain_record.h - a record that is sent, from the table that a user gave
**
** The table as nearly all are: of strings and numbers that are right, without
** a metatable. What is not so plain is left to lua/strand/options, which words
** what is wrong with it, or makes it plain.
**
** Nothing is allocated while a table is read, so no finalizer runs that could
** change it: what is read is borrowed from the table, until Lua is entered.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_PLAIN_RECORD_H
#define STRAND_LUA_PLAIN_RECORD_H

#include <stdbool.h>

#include <lua.h>

#include "producer/outgoing.h"

#define STRAND_PLAIN_FIELDS 8
#define STRAND_PLAIN_HEADERS_MAX 16

/* Lua has each short string once: a field is known by where its name is. */
typedef struct strand_plain_names {
  const char *names[STRAND_PLAIN_FIELDS];
} strand_plain_names;

typedef struct strand_plain_record {
  strand_outgoing record;
  strand_outgoing_header headers[STRAND_PLAIN_HEADERS_MAX];
} strand_plain_record;

/* Of the state, which keeps them for as long as it lives. May raise. */
strand_plain_names strand_plain_names_of (lua_State *L);

/* False: it is not plain. The stack is as before. */
bool strand_plain_record_read (lua_State *L, int index,
                               const strand_plain_names *names,
                               strand_plain_record *plain);

/* Is it a table without a metatable, with 'count' entries from 1 on and no
** others? */
bool strand_is_plain_list (lua_State *L, int index, size_t *count);

#endif
