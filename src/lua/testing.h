/*
** testing.h - handlers called as a worker calls them, in the caller's state
**
** What strand.testing (lua/strand/testing.lua) is built on: the record, the
** batch and the reading of results and errors are the worker's own, so that a
** unit test of a handler cannot see other rules.
**
**   testing_record(flat)  -> a record, valid until it is collected
**   testing_call(handler, context, records, batch)
**     -> { { kind, reason, delay }, ... }
**                            'records' is a list; without 'batch' of one
**
** Thread: lua.
*/
#ifndef STRAND_LUA_TESTING_H
#define STRAND_LUA_TESTING_H

#include <lua.h>

/* Adds the functions to the table on top of the stack. */
void strand_open_testing (lua_State *L);

#endif
