/*
** handler_result.c - see handler_result.h
*/
#include "lua/worker/handler_result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "codec/utf8.h"
#include "core/engine.h"
#include "lua/compat.h"
#include "lua/worker/outcome.h"
#include "lua/worker/reason.h"

static void set_reason (strand_outcome *v, const char *text, size_t length) {
  length = strand_utf8_cut(text, length, STRAND_REASON_MAX);
  free(v->reason);
  v->reason = malloc(length + 1);
  v->reason_length = v->reason != NULL ? length : 0;
  if (v->reason == NULL) return;
  memcpy(v->reason, text, length);
  v->reason[length] = '\0';
}

void strand_outcome_set (strand_outcome *v, strand_outcome_kind kind,
                         int64_t delay_us, const char *reason, size_t length) {
  v->kind = kind;
  v->delay_us = delay_us;
  if (reason != NULL) set_reason(v, reason, length);
}

static void fail (strand_outcome *v, const char *text, size_t length) {
  strand_outcome_set(v, STRAND_OUTCOME_FAILED, -1, text, length);
}

static void apply (strand_outcome *v, const strand_outcome_object *o) {
  strand_outcome_set(v, o->kind, o->delay_us, o->has_reason ? o->reason : NULL,
                     o->length);
}

static void fail_alien (strand_outcome *v) {
  fail(v, STRAND_ALIEN_OUTCOME, sizeof(STRAND_ALIEN_OUTCOME) - 1);
}

static void fail_dropped (strand_outcome *v, const char *name) {
  char text[64];
  snprintf(text, sizeof(text), "%s() was called but not returned", name);
  fail(v, text, strlen(text));
}

/* "return strand.skip" */
static void fail_uncalled (strand_outcome *v, const char *name) {
  char text[64];
  snprintf(text, sizeof(text), "%s was returned but not called", name);
  fail(v, text, strlen(text));
}

/* false, or nil and a reason; the reason is on top. */
static void read_failure (lua_State *L, strand_outcome *v) {
  const strand_outcome_object *outcome = strand_to_outcome(L, -1);
  const char *text;
  size_t length;
  if (outcome != NULL) {
    apply(v, outcome);
    return;
  }
  if (lua_isnil(L, -1)) lua_pushliteral(L, "the handler returned false");
  else strand_push_reason(L, -1, STRAND_REASON_MAX);
  text = lua_tolstring(L, -1, &length);
  fail(v, text, length);
}

void strand_outcome_from_results (lua_State *L, const char *made,
                                  strand_outcome *v) {
  const strand_outcome_object *outcome;
  bool none = lua_isnil(L, -2);
  if (none && lua_isnil(L, -1)) { /* as most do: nothing else is looked at */
    if (made != NULL) fail_dropped(v, made);
    return;
  }
  if (none || !lua_toboolean(L, -2)) {
    read_failure(L, v);
    return;
  }
  outcome = strand_to_outcome(L, -2);
  if (outcome != NULL) apply(v, outcome);
  else if (strand_is_alien_outcome(L, -2)) fail_alien(v);
  else if (strand_outcome_maker(L, -2) != NULL)
    fail_uncalled(v, strand_outcome_maker(L, -2));
  else if (made != NULL) fail_dropped(v, made);
}

/* Lua's wordings differ, but all have this in them. */
static bool is_yield (const char *text) {
  return strstr(text, "attempt to yield") != NULL;
}

/* Trying again would yield again. */
static void exhaust_yield (strand_outcome *v, bool local, const char *text) {
  static const char in_thread[] = "a handler in a worker thread cannot yield "
                                  "(use workers = 0)";
  static const char in_local[] = "the handler cannot yield there";
  char longer[STRAND_REASON_MAX + 1];
  snprintf(longer, sizeof(longer), "%s: %s", local ? in_local : in_thread,
           text);
  strand_outcome_set(v, STRAND_OUTCOME_EXHAUSTED, -1, longer, strlen(longer));
}

/* LuaJIT leaves no room for a traceback when the stack overflows in compiled
** code (how often the size of a frame says), and then has no other words. */
#define BY_LUA "error in error handling"
#ifdef LUA_JITLIBNAME
#define UNHANDLED                                                             \
  BY_LUA " (LuaJIT says so of a stack overflow in compiled code, too)"
#else
#define UNHANDLED BY_LUA
#endif

void strand_outcome_from_error (lua_State *L, int status, bool local,
                                strand_outcome *v) {
  const strand_outcome_object *outcome = strand_to_outcome(L, -1);
  const char *text = NULL;
  size_t length;
  if (outcome != NULL) {
    apply(v, outcome);
    return;
  }
  if (lua_type(L, -1) == LUA_TSTRING) text = lua_tolstring(L, -1, &length);
  if (text == NULL || strcmp(text, BY_LUA) == 0) {
    text = UNHANDLED;
    length = sizeof(UNHANDLED) - 1;
  }
  if (status == LUA_ERRRUN && is_yield(text)) exhaust_yield(v, local, text);
  else fail(v, text, length);
}
