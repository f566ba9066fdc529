/*
** produce.h - context:produce{...} and batch:produce(i, {...})
**
** The table is that of producer:send, and is checked by the same rules
** (lua/strand/options/producer.lua). Plain ones are read here, at once; any
** other is given to the rules, which raise, or say what it means.
**
** Thread: worker.
*/
#ifndef STRAND_PRODUCE_H
#define STRAND_PRODUCE_H

#include <lua.h>

#include "shared/staged.h"

/* Adds the record in the table at 'index' to what the attempt has produced, or
** raises and adds nothing. 'method' is for messages; a closed staging is one
** of a consumer without a producer. */
void strand_produce (lua_State *L, int index, const char *method,
                     strand_staged **to, strand_staging *staging);

#endif
