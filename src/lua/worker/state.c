/*
** state.c - see state.h
*/
#include "lua/worker/state.h"

#include <stdio.h>
#include <string.h>

#include "base/system.h"
#include "kafka/log.h"
#include "lua/compat.h"

int strand_state_panic (lua_State *L) {
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                    : "no text";
  strand_log_printf(NULL, 0, "handler",
                    "a worker's Lua state failed outside "
                    "of any call: %s",
                    text);
  return 0; /* and Lua aborts */
}

/* Lines of Lua's messages become one. */
static void one_line (char *to, size_t size, const char *text) {
  size_t i = 0;
  while (*text != '\0' && i < size - 2) {
    size_t blank = strspn(text, "\r\n\t");
    text += blank;
    if (blank > 0 && i > 0 && *text != '\0') {
      if (to[i - 1] != ':') to[i++] = ';';
      to[i++] = ' ';
    }
    else to[i++] = *text++;
  }
  to[i] = '\0';
}

void strand_state_fail_memory (strand_failure *failure, size_t limit) {
  static const char text[] = "not enough memory for a worker's Lua state";
  if (limit == 0) strand_fail(failure, "NO_MEMORY", "%s", text);
  else {
    strand_fail(failure, "NO_MEMORY", "%s (option 'worker_memory': %llu)",
                text, (unsigned long long)limit);
  }
}

/* A module that cannot be opened is not found, says Lua. */
void strand_state_fail_load (lua_State *L, strand_failure *failure) {
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                    : "no text";
  char line[sizeof(failure->message)];
  bool open = strand_system_has(1, 0, "a handler's module", failure);
  one_line(line, sizeof(line), text);
  if (open) strand_fail(failure, "HANDLER", "%s", line);
  else {
    char why[sizeof(failure->message)];
    snprintf(why, sizeof(why), "%s", failure->message);
    snprintf(failure->message, sizeof(failure->message), "%.150s; %.350s", why,
             line);
  }
}

/* LuaJIT lets C call Lua and back without counting, and needs 128 MiB (of
** addresses, not of memory) to say "stack overflow" instead of crashing;
** PUC Lua counts, and is safe with the system's default. */
size_t strand_state_stack_bytes (lua_State *L) {
  bool jit;
  strand_push_library(L, "jit");
  jit = lua_istable(L, -1);
  lua_pop(L, 1);
  return jit ? (size_t)128 << 20 : 0;
}
