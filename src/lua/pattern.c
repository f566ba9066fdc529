/*
** pattern.c - see pattern.h
*/
#include "lua/pattern.h"

#include <regex.h>

#include "lua/compat.h"

static int core_matches (lua_State *L) {
  regex_t regex;
  const char *pattern = strand_check_text(L, 1);
  const char *topic = strand_check_text(L, 2);
  int status = regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB);
  if (status == REG_ESPACE) return luaL_error(L, "not enough memory");
  if (status != 0) {
    char problem[128];
    regerror(status, &regex, problem, sizeof(problem));
    return luaL_error(L, "pattern '%s': %s", pattern, problem);
  }
  status = regexec(&regex, topic, 0, NULL, 0);
  regfree(&regex);
  if (status == REG_ESPACE) return luaL_error(L, "not enough memory");
  lua_pushboolean(L, status == 0);
  return 1;
}

void strand_open_pattern (lua_State *L) {
  lua_pushcfunction(L, core_matches);
  lua_setfield(L, -2, "matches");
}
