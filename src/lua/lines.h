/*
** lines.h - the lines of a log, for an object of Lua that takes them
**
** Thread: lua.
*/
#ifndef STRAND_LUA_LINES_H
#define STRAND_LUA_LINES_H

#include <stdbool.h>

#include <lua.h>

#include "base/err.h"
#include "kafka/log.h"

/* All zero: no log. Turning a line into Lua values may raise: so it stands
** here until it has been given, and the next call gives it then. */
typedef struct strand_lines {
  strand_log *log;
  strand_log_line line;
  bool has_line;
} strand_lines;

/* 'taken': by strand_lines_next; else warnings go to stderr. False and a
** failure. */
bool strand_lines_open (strand_lines *lines, bool taken,
                        strand_failure *failure);

/* Twice is fine. */
void strand_lines_close (strand_lines *lines);

/* Pushes level, facility and message, or nothing; how many that is. */
int strand_lines_next (lua_State *L, strand_lines *lines);

/* Pushes these three of a line. */
int strand_push_line (lua_State *L, const strand_log_line *line);

#endif
