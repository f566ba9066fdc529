/*
** lines.c - see lines.h
*/
#include "lua/lines.h"

#include "lua/compat.h"

bool strand_lines_open (strand_lines *lines, bool taken,
                        strand_failure *failure) {
  lines->log = strand_log_new(!taken);
  if (lines->log != NULL) return true;
  strand_fail(failure, "NO_MEMORY", "out of memory");
  return false;
}

void strand_lines_close (strand_lines *lines) {
  strand_log_release(lines->log);
  lines->log = NULL;
  lines->has_line = false;
}

int strand_push_line (lua_State *L, const strand_log_line *line) {
  lua_pushinteger(L, line->level);
  lua_pushstring(L, line->facility);
  lua_pushstring(L, line->text);
  return 3;
}

int strand_lines_next (lua_State *L, strand_lines *lines) {
  if (lines->log == NULL) return 0;
  if (!lines->has_line)
    lines->has_line = strand_log_pop(lines->log, &lines->line);
  if (!lines->has_line) return 0;
  strand_push_line(L, &lines->line);
  lines->has_line = false;
  return 3;
}
