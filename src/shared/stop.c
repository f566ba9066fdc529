/*
** stop.c - what asks for the end of a consumer, and its reason
*/
#include "shared/stop.h"

#include <assert.h>

void strand_stop_init (strand_stop *s) {
  *s = (strand_stop){ .asked = false };
  strand_lock_init(&s->lock, STRAND_RANK_LEAF);
}

void strand_stop_free (strand_stop *s) {
  strand_lock_free(&s->lock);
}

bool strand_stop_ask (strand_stop *s, strand_close_mode mode, const char *code,
                      const char *message) {
  bool first;
  strand_lock_take(&s->lock);
  first = !s->asked;
  if (first) {
    s->asked = true;
    s->mode = mode;
    strand_fail(&s->reason, code, "%s", message);
    atomic_store(&s->halted, true);
  }
  strand_lock_release(&s->lock);
  return first;
}

bool strand_stop_is_asked (strand_stop *s, strand_failure *reason) {
  bool asked;
  strand_lock_take(&s->lock);
  asked = s->asked;
  if (asked) *reason = s->reason;
  strand_lock_release(&s->lock);
  return asked;
}

bool strand_stop_waits (strand_stop *s, strand_close_mode *mode,
                        strand_failure *reason) {
  bool waits;
  strand_lock_take(&s->lock);
  waits = s->asked && !s->reported;
  *mode = s->mode;
  *reason = s->reason;
  strand_lock_release(&s->lock);
  return waits;
}

void strand_stop_tell (strand_stop *s) {
  strand_lock_take(&s->lock);
  s->reported = s->asked;
  strand_lock_release(&s->lock);
}

void strand_stop_check (strand_stop *s) {
  strand_lock_take(&s->lock);
  assert(strand_stop_halts(s) == s->asked); /* (1) */
  assert(!s->reported || s->asked);         /* (2) */
  strand_lock_release(&s->lock);
}
