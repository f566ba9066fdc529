/*
** headers.c - see headers.h
*/
#include "lua/worker/headers.h"

#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "core/record.h"
#include "lua/compat.h"

size_t strand_pack_headers (lua_State *L, int list, char *to) {
  size_t count = strand_rawlen(L, list), length = 0, i;
  for (i = 1; i + 1 <= count; i += 2) {
    size_t name_length, value_length = 0;
    const char *name, *value;
    uint32_t lengths[2];
    lua_rawgeti(L, list, (int)i);
    lua_rawgeti(L, list, (int)i + 1);
    name = luaL_checklstring(L, -2, &name_length);
    value = lua_tolstring(L, -1, &value_length); /* NULL for false */
    if (to != NULL) {
      lengths[0] = (uint32_t)name_length;
      lengths[1] = value != NULL ? (uint32_t)value_length
                                 : STRAND_HEADER_ABSENT;
      memcpy(to + length, lengths, sizeof(lengths));
      memcpy(to + length + 8, name, name_length);
      if (value_length > 0)
        memcpy(to + length + 8 + name_length, value, value_length);
    }
    length += 8 + name_length + value_length;
    lua_pop(L, 2);
  }
  return length;
}
