/*
** transactions.h - a producer's transactions, as Lua calls and values
**
** lua/strand/transactions.lua says what the methods are; 'kafka' is the open
** producer of the userdata at 1. Each returns the number of results.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_TRANSACTIONS_H
#define STRAND_LUA_TRANSACTIONS_H

#include <lua.h>

#include "producer/producer.h"

/* (self, goal, seconds) -> true, false, or nil, message, code, flags */
int strand_transact (lua_State *L, strand_producer *kafka);
/* -> state, whether nothing of it is committed; nothing without transactions */
int strand_push_transaction_state (lua_State *L, const strand_producer *kafka);
/* (self, goal) -> why it is none now, or nothing */
int strand_push_transaction_misuse (lua_State *L,
                                    const strand_producer *kafka);
/* Of a record that was not sent: nil, message, code, and flags if it was for
** its transaction. */
int strand_push_send_failure (lua_State *L, const strand_producer *kafka,
                              const strand_failure *failure);

#endif
