/*
** handler_result.h - what a handler gave back, or raised, as an outcome of its
** record
**
**   nothing, true, anything     DONE
**   false, nil and a reason     FAILED
**   an error                    FAILED; one that says it yielded: EXHAUSTED
**   an outcome, in any of these places      that
**   one of another copy of the module       FAILED, saying so
**   made an outcome, and kept it            FAILED, naming it
**
** The outcome must be zeroed (DONE) before. Reasons are cut to
** STRAND_REASON_MAX; one for which there is no memory is left out.
**
** Thread: worker.
*/
#ifndef STRAND_LUA_HANDLER_RESULT_H
#define STRAND_LUA_HANDLER_RESULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lua.h>

#include "worker/worker.h"

/* Replaces what was said before. 'reason' may be NULL. Never raises. */
void strand_outcome_set (strand_outcome *v, strand_outcome_kind kind,
                         int64_t delay_us, const char *reason, size_t length);

/* The handler's two results are on top. 'made' is the name of the outcome that
** it made last, or NULL. Raises only when memory runs out. */
void strand_outcome_from_results (lua_State *L, const char *made,
                                  strand_outcome *v);

/* What lua_pcall left on top, with its status; 'local': of a handler that may
** yield, but not everywhere. Never raises, and allocates nothing in the
** state. */
void strand_outcome_from_error (lua_State *L, int status, bool local,
                                strand_outcome *v);

#endif
