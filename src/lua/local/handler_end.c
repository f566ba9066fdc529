/*
** handler_end.c - see handler_end.h
*/
#include "lua/local/handler_end.h"

#include <string.h>

#include "lua/worker/handler_result.h"
#include "lua/worker/outcome.h"

#define UP(name) lua_upvalueindex(STRAND_NEXT_##name)

const char strand_handler_end_bare[] =
  "the handler yielded, and nobody was to resume it: "
  "coroutine.yield() is not for handlers "
  "(context:sleep(), or what the loop has for waiting)";

/* What our deadline's own words are not in. */
static void fail_late (strand_seat *seat) {
  strand_task *task = &seat->handling.task;
  char text[STRAND_DEADLINE_TEXT];
  uint32_t i;
  strand_deadline_text(text, task->deadline_us);
  strand_outcome_set(&task->outcome, STRAND_OUTCOME_FAILED, -1, text,
                     strlen(text));
  for (i = 0; task->many != NULL && i < task->many->count; i++)
    task->many->outcomes[i].marked = false;
}

static void ask_retry (lua_State *L, strand_seats *p, strand_seat *seat,
                       strand_outcome *v, uint32_t index) {
  int top;
  if (v->kind == STRAND_OUTCOME_DONE) return; /* as most are */
  top = lua_gettop(L);
  lua_pushvalue(L, UP(TRACEBACK));
  strand_retry_function_ask(L, &p->retry, &seat->current,
                            seat->handling.task.route, v, index, UP(RETRY),
                            top + 1);
  lua_settop(L, top);
}

static void conclude_batch (lua_State *L, strand_seats *p, strand_seat *seat) {
  strand_records *many = seat->handling.task.many;
  uint32_t i;
  if (!strand_batch_end(&seat->batch, many, &seat->handling.task.outcome))
    return;
  for (i = 0; i < many->count; i++)
    ask_retry(L, p, seat, &many->outcomes[i], i);
}

/* Its outcome is in its task. True: it has the lease's next record. Never
** raises. */
static bool end_record (lua_State *L, strand_seats *p, strand_seat *seat) {
  strand_task *task = &seat->handling.task;
  if (strand_task_expired(task)) fail_late(seat);
  if (task->many != NULL) conclude_batch(L, p, seat);
  else ask_retry(L, p, seat, &task->outcome, 0);
  strand_current_end(L, &seat->current, UP(CACHE));
  seat->deferred = seat->answered = false;
  return strand_local_next(&p->local, &seat->handling);
}

void strand_handler_end_alone (lua_State *L, strand_seats *p,
                               strand_seat *seat) {
  if (end_record(L, p, seat)) strand_seats_put(p, seat);
  else strand_seats_leave(p, seat);
  strand_local_flush(&p->local);
  if (strand_seats_want_work(p)) strand_local_call(&p->local);
}

void strand_handler_end_read (lua_State *L, strand_seat *seat,
                              const char *made, strand_body_end how) {
  strand_outcome *v = &seat->handling.task.outcome;
  switch (how) {
    case STRAND_BODY_RETURNED: strand_outcome_from_results(L, made, v); break;
    case STRAND_BODY_RAISED:
      strand_outcome_from_error(L, LUA_ERRRUN, true, v);
      break;
    case STRAND_BODY_YIELDED:
      strand_outcome_set(v, STRAND_OUTCOME_EXHAUSTED, -1,
                         strand_handler_end_bare,
                         strlen(strand_handler_end_bare));
      break;
  }
}

void strand_handler_end (lua_State *L, strand_body *body,
                         strand_body_end how) {
  strand_seats *p = body->owner;
  strand_seat *seat = body->seat;
  bool waits;
  if (!seat->answered) strand_handler_end_read(L, seat, body->made, how);
  waits = seat->deferred && !seat->answered
          && seat->handling.task.outcome.kind == STRAND_OUTCOME_DONE;
  if (!waits && end_record(L, p, seat)) return;
  body->seat = NULL;
  if (waits) seat->body = NULL;
  else strand_seats_leave(p, seat);
}
