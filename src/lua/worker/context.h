/*
** context.h - the second argument of every handler
**
**   context.worker, .args
**   context:retry(seconds?, reason?), :skip, :dead_letter, :park,
**          :stop(reason?)
**                              outcomes
**   context:produce{...}       sent when the record is done
**   context:stop_consumer()    the consumer finishes after this record
**   context:remaining()        seconds to the deadline, or nil for none
**
** Thread: worker.
*/
#ifndef STRAND_CONTEXT_H
#define STRAND_CONTEXT_H

#include <stdbool.h>

#include <lua.h>

#include "worker/worker.h"

typedef struct strand_context {
  unsigned worker;     /* from 1 */
  bool *stop_consumer; /* of the record's outcome; NULL while there is none */
  strand_task *task;   /* the same */
} strand_context;

/* Pushes the one context of a state, whose args are at 'args'. 'context' must
** live as long as the state does. */
void strand_context_push (lua_State *L, strand_context *context, int args);

#endif
