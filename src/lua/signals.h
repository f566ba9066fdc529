/*
** signals.h - SIGINT and SIGTERM, while a run loop wants them
**
**   core.signals_take()     -> fd | nil, message, code   from now on they are
**                           counted, and make fd readable. Taken already in
**                           this process: nil, message, "CONFLICT"
**   core.signals_read()    -> how many came since; makes fd unreadable
**   core.signals_restore()  the handlers of before; twice is fine
**
** Signals belong to the process, so this has the module's only globals. The
** handler does two things that are safe there: it counts and writes.
**
** Thread: lua (the handler: any thread that has not blocked signals).
*/
#ifndef STRAND_SIGNALS_H
#define STRAND_SIGNALS_H

#include <lua.h>

/* Adds the functions to the table on top of the stack. */
void strand_open_signals (lua_State *L);

#endif
