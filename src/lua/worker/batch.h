/*
** batch.h - the batch as a handler sees it: an array of records with methods
**
**   batch:fail(i, reason)   batch:retry(i, seconds, reason)   batch:done(i)
**   batch:skip(i, reason)   batch:dead_letter(i, reason)
**   batch:park(i, reason)
**   batch:produce(i, {...})    sent when record i is done
**
** A mark is the record's outcome; the last one counts. Records without a mark
** get what the call as a whole ends with: done, a failure, an outcome.
**
** The array is a plain table, fresh for each call: #batch, ipairs and
** table.sort work in every Lua. Its methods know it by identity, and only
** until the handler has returned: a table with weak keys says which handling
** it was made for, and each handling has one batch.
**
** Thread: worker.
*/
#ifndef STRAND_LUA_BATCH_H
#define STRAND_LUA_BATCH_H

#include "lua/worker/record.h"
#include "worker/worker.h"

/* One handling: 'batch' of its current records. */
typedef struct strand_batch_state {
  strand_records *many;    /* of the call that runs, or NULL */
  strand_staging *staging; /* of what it produces */
} strand_batch_state;

/* Pushes the metatable of this state's batches. 'currents' must live as long as
** the Lua state does, or what is at 'anchor', as in strand_currents_open. */
void strand_batch_open (lua_State *L, const strand_currents *currents,
                        int anchor);

/* Pushes the batch, whose records are the current ones from now on. The
** metatables may be upvalues. */
void strand_batch_push (lua_State *L, strand_batch_state *state,
                        strand_records *many, const strand_currents *owner,
                        strand_current *current, int metatable, int records);

/* The call, which perhaps never began, has ended like that: so do the records
** without a mark. Takes what 'whole' owns, and leaves it DONE. Never raises.
** True when some record is not done. */
bool strand_batch_end (strand_batch_state *state, strand_records *many,
                       strand_outcome *whole);

#endif
