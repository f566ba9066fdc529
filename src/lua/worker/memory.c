/*
** memory.c - see memory.h
*/
#include "lua/worker/memory.h"

#include <stdlib.h>

#include <lauxlib.h>

/* Of a block that is none yet, 'old' says which type it will be. What shrinks
** never fails: Lua relies on that. */
static void *take (void *arg, void *block, size_t old, size_t size) {
  strand_memory *m = arg;
  void *moved;
  if (block == NULL) old = 0;
  if (size == 0) {
    free(block);
    m->used -= old;
    return NULL;
  }
  if (size > old && size - old > m->limit - m->used) return NULL;
  moved = realloc(block, size);
  if (moved == NULL) return size <= old ? block : NULL;
  m->used += size - old;
  return moved;
}

lua_State *strand_memory_open (strand_memory *m, size_t limit) {
  m->used = 0;
  m->limit = limit;
  return limit > 0 ? lua_newstate(take, m) : luaL_newstate();
}

bool strand_memory_is_short (const strand_memory *m) {
  return m->limit > 0 && m->limit - m->used < m->limit / 4;
}
