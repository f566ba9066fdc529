/*
** flushing.c - see flushing.h
*/
#include "producer/flushing.h"

#include <assert.h>

#define LINGER_MS 100 /* a flush of all waits so long, without a thread */

void strand_flushing_init (strand_flushing *f, int linger_ms) {
  *f = (strand_flushing){ .linger_ms = linger_ms };
}

void strand_flushing_begin (strand_flushing *f) {
  f->all = true;
}

void strand_flushing_end (strand_flushing *f) {
  f->all = false;
}

void strand_flushing_hurry (strand_flushing *f, bool on) {
  if (on) f->hurried++;
  else if (f->hurried > 0) f->hurried--;
}

void strand_flushing_update (strand_flushing *f, strand_calls *calls,
                             int64_t outstanding) {
  bool on = outstanding > 0
            && ((f->all && f->linger_ms > LINGER_MS)
                || (f->hurried > 0 && f->linger_ms > 0));
  if (outstanding == 0) f->all = false;
  if (on != f->hastens) f->hastens = strand_calls_flush(calls, on);
}

void strand_flushing_move (strand_flushing *f) {
  f->hastens = false;
}

void strand_flushing_check (const strand_flushing *f, int64_t outstanding) {
  bool wanted = f->all || f->hurried > 0;
  assert(!f->hastens || (wanted && outstanding > 0)); /* (1) */
  assert(!f->all || outstanding > 0);                 /* (2) */
  (void)wanted, (void)outstanding;
}
