/*
** loop_watch.c - see loop_watch.h
*/
#include "shared/loop_watch.h"

void strand_loop_watch_turned (strand_loop_watch *w, int64_t now_us) {
  atomic_store_explicit(&w->turned_us, now_us, memory_order_relaxed);
  if (atomic_load_explicit(&w->reported, memory_order_relaxed))
    atomic_store(&w->reported, false);
}

void strand_loop_watch_late (strand_loop_watch *w, int64_t now_us) {
  int64_t wanted_us = atomic_load_explicit(&w->wanted_us,
                                           memory_order_relaxed);
  if (wanted_us != 0) strand_loop_watch_ran(w, now_us - wanted_us);
}

void strand_loop_watch_wanted (strand_loop_watch *w, int64_t now_us) {
  atomic_store_explicit(&w->wanted_us, now_us, memory_order_relaxed);
}

static int64_t earlier (int64_t a, int64_t b) {
  return b != 0 && b < a ? b : a;
}

int64_t strand_loop_watch_blocked (strand_loop_watch *w, int64_t since_us,
                                   int64_t now_us) {
  int64_t turned_us = atomic_load(&w->turned_us);
  since_us = earlier(since_us, atomic_load(&w->wanted_us));
  since_us = earlier(since_us, atomic_load(&w->due_us));
  if (turned_us > since_us) since_us = turned_us;
  if (now_us - since_us < STRAND_LOOP_BLOCKED_US
      || atomic_exchange(&w->reported, true))
    return 0;
  return now_us - since_us;
}
