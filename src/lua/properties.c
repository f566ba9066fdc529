/*
** properties.c - see properties.h
*/
#include "lua/properties.h"

#include <stdbool.h>
#include <string.h>

#include "lua/compat.h"

static const char *text_at (lua_State *L, int pair, int i, const char *name) {
  size_t length = 0;
  const char *text = NULL;
  lua_rawgeti(L, pair, i);
  if (lua_type(L, -1) == LUA_TSTRING) text = lua_tolstring(L, -1, &length);
  if (text == NULL || strlen(text) != length)
    luaL_error(L, "option '%s': pairs of strings expected", name);
  lua_pop(L, 1); /* the pair still holds it */
  return text;
}

const strand_property *strand_push_properties (lua_State *L, int table,
                                               const char *name,
                                               size_t *count) {
  strand_property *list;
  int at;
  size_t i;
  lua_getfield(L, table, name);
  at = lua_gettop(L);
  if (!lua_istable(L, at) && !lua_isnil(L, at))
    luaL_error(L, "option '%s': table expected", name);
  *count = lua_istable(L, at) ? strand_rawlen(L, at) : 0;
  list = strand_newuserdata(L, (*count + 1) * sizeof(*list));
  for (i = 0; i < *count; i++) {
    lua_rawgeti(L, at, (int)i + 1);
    if (!lua_istable(L, -1))
      luaL_error(L, "option '%s': pairs of strings expected", name);
    list[i].name = text_at(L, lua_gettop(L), 1, name);
    list[i].value = text_at(L, lua_gettop(L), 2, name);
    lua_pop(L, 1);
  }
  lua_remove(L, at);
  return list;
}

const char *const *strand_push_texts (lua_State *L, int list, const char *what,
                                      size_t *count) {
  const char **texts;
  size_t i;
  *count = 0;
  if (lua_isnoneornil(L, list)) return NULL;
  if (!lua_istable(L, list))
    luaL_error(L, "%s: list of strings expected", what);
  *count = strand_rawlen(L, list);
  texts = strand_newuserdata(L, (*count + 1) * sizeof(*texts));
  for (i = 0; i < *count; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "%s: list of strings expected", what);
    texts[i] = strand_check_text(L, lua_gettop(L));
    lua_pop(L, 1); /* the list still holds it */
  }
  return texts;
}

static int property_refusal (lua_State *L) {
  bool consumer = strcmp(luaL_checkstring(L, 1), "consumer") == 0;
  lua_pushstring(
    L, strand_conf_refusal(consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER,
                           luaL_checkstring(L, 2)));
  return 1; /* nil for NULL */
}

static int property_is_secret (lua_State *L) {
  lua_pushboolean(L, strand_conf_is_secret(luaL_checkstring(L, 1)));
  return 1;
}

static const luaL_Reg functions[] = {
  { "property_refusal", property_refusal },
  { "property_is_secret", property_is_secret },
  { NULL, NULL },
};

void strand_open_properties (lua_State *L) {
  strand_setfuncs(L, functions);
}
