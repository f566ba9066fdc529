/*
** stop.h - what asks for the end of a consumer, and its reason
**
** Invariants:
**   (1) Nothing is handed over once somebody has asked.
**   (2) Only what was asked for can be told.
**
** Thread: any. A leaf lock of its own.
*/
#ifndef STRAND_STOP_H
#define STRAND_STOP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/lock.h"
#include "shared/settings.h"

typedef struct strand_stop {
  /* Written under the lock, read by owners without: seen late it is one more
  ** record. */
  atomic_bool halted;
  strand_lock lock;
  bool asked;             /* lock */
  bool reported;          /* lock */
  strand_close_mode mode; /* lock; of who asked first, as the reason */
  strand_failure reason;  /* lock */
} strand_stop;

void strand_stop_init (strand_stop *s);
/* Thread: whoever is last. */
void strand_stop_free (strand_stop *s);

/* True: nobody has before. */
bool strand_stop_ask (strand_stop *s, strand_close_mode mode, const char *code,
                      const char *message);
static inline bool strand_stop_halts (const strand_stop *s) {
  return atomic_load(&s->halted);
}
/* True, and the reason: somebody has asked. */
bool strand_stop_is_asked (strand_stop *s, strand_failure *reason);
/* True, its mode and its reason: that was not told yet. */
bool strand_stop_waits (strand_stop *s, strand_close_mode *mode,
                        strand_failure *reason);
void strand_stop_tell (strand_stop *s);
/* Between two turns, in debug builds. */
void strand_stop_check (strand_stop *s);

#endif
