/*
** transactions.c - see transactions.h
*/
#include "lua/transactions.h"

#include <string.h>

#include "base/clock.h"
#include "lua/compat.h"
#include "lua/fields.h"
#include "lua/object.h"

/* In the order of strand_transaction_goal; NULL ends it. */
static const char *const goals[] = { "begin", "commit", "abort", "end", NULL };

/* In the order of strand_transaction_state. */
static const char *const states[] = { "idle",       "open",   "flushing",
                                      "committing", "failed", "aborting",
                                      "over" };

static int push_error (lua_State *L, const strand_transaction_error *error) {
  strand_push_failure(L, &error->failure);
  lua_createtable(L, 0, 4);
  strand_set_boolean(L, "retriable", error->is_retriable);
  strand_set_boolean(L, "abortable", error->is_abortable);
  strand_set_boolean(L, "fatal", error->is_fatal);
  strand_set_boolean(L, "certain", error->is_certain);
  return 4;
}

static strand_transaction_goal check_goal (lua_State *L) {
  return (strand_transaction_goal)luaL_checkoption(L, 2, NULL, goals);
}

int strand_transact (lua_State *L, strand_producer *kafka) {
  strand_transaction_goal goal = check_goal(L);
  double deadline = strand_clock_now() + strand_opt_seconds(L, 3, 0);
  strand_transaction_error error;
  int result;
  if (strand_producer_transaction(kafka) == NULL)
    return luaL_error(L, "the producer has no transactions");
  result = strand_producer_transact(kafka, goal, deadline, &error);
  if (result < 0) return push_error(L, &error);
  lua_pushboolean(L, result);
  return 1;
}

int strand_push_transaction_state (lua_State *L,
                                   const strand_producer *kafka) {
  const strand_transaction *t = strand_producer_transaction(kafka);
  if (t == NULL) return 0;
  lua_pushstring(L, states[t->state]);
  lua_pushboolean(L, t->error.failure.code[0] == '\0' || t->error.is_certain);
  return 2;
}

int strand_push_transaction_misuse (lua_State *L,
                                    const strand_producer *kafka) {
  const strand_transaction *t = strand_producer_transaction(kafka);
  const char *text = t == NULL ? "option 'transactional_id' is required for it"
                               : strand_transaction_misuse(t, check_goal(L));
  if (text == NULL) return 0;
  lua_pushstring(L, text);
  return 1;
}

int strand_push_send_failure (lua_State *L, const strand_producer *kafka,
                              const strand_failure *failure) {
  const strand_transaction *t = strand_producer_transaction(kafka);
  if (t != NULL && strand_transaction_is_aborted(t)
      && strcmp(t->error.failure.code, failure->code) == 0)
    return push_error(L, &t->error);
  return strand_push_failure(L, failure);
}
