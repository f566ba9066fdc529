/*
** hook.h - how a handler that runs too long is interrupted, or asked where it
** is
**
** Nothing is hooked until a signal says so (base/interrupt.h): a count hook
** of 1 is then set on the coroutine that runs, which lua_sethook allows in a
** signal handler of the same thread. The hook
**
**   traces   leaves a traceback with the task, and goes
**   raises   where the task has expired: before each instruction, until the
**            handler has returned; so no pcall of it keeps the error
**   goes     otherwise: a signal that came late does nothing to a later record
**
** A hook of the handler's own (debug.sethook) comes back when ours goes.
**
** PUC Lua's hooks are each a coroutine's: so coroutine.resume and .wrap are
** replaced by the same that note which one runs (7 ns of 80). LuaJIT has one
** for all, but code that it has compiled calls none.
**
** Out of reach: C, a finalizer, a message handler of xpcall after our error.
**
** Thread: worker.
*/
#ifndef STRAND_LUA_HOOK_H
#define STRAND_LUA_HOOK_H

#include <signal.h>
#include <stdatomic.h>

#include <lua.h>

#include "worker/worker.h"

typedef struct strand_hook {
  /* Written by the worker's thread, and read there by its signal handler. */
  lua_State *volatile running; /* NULL outside of a handler */
  /* Bits are set by the signal handler, and taken by the hook, on the same
  ** thread. */
  atomic_uint wanted;
  /* Written by both, one inside the other: the hook is set. */
  volatile sig_atomic_t armed;
  strand_task *task;
  unsigned depth; /* coroutines that resume each other now */
  /* what 'owner' had before ours */
  lua_State *owner;
  lua_Hook theirs;
  int mask;
  int count;
} strand_hook;

/* Into a new state, before any other code is loaded. 'hook' must live as long
** as the state does. Raises only when memory runs out. */
void strand_hook_open (lua_State *L, strand_hook *hook);

/* Around each protected call of handlers. */
void strand_hook_begin (strand_hook *hook, lua_State *L, strand_task *task);
void strand_hook_end (strand_hook *hook, lua_State *L);

/* For STRAND_INTERRUPT_*; in a signal handler. */
void strand_hook_arm (strand_hook *hook, unsigned what);

#endif
