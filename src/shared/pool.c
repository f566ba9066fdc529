/*
** pool.c - what the workers of a consumer share
*/
#include "shared/pool.h"

#include <assert.h>

#include "base/clock.h"

bool strand_pool_init (strand_pool *p, const strand_handler *handler) {
  *p = (strand_pool){ .handler = *handler };
  strand_lock_init(&p->lock, STRAND_RANK_LEAF);
  return strand_condition_init(&p->changed);
}

void strand_pool_free (strand_pool *p) {
  p->handler.release(p->handler.config);
  strand_condition_free(&p->changed);
  strand_lock_free(&p->lock);
}

void strand_pool_start (strand_pool *p) {
  atomic_store(&p->ended_us, strand_clock_coarse_us());
}

/*
** Loading
*/

unsigned strand_pool_reserve (strand_pool *p, unsigned count) {
  unsigned first;
  strand_lock_take(&p->lock);
  if (p->loading == 0) p->failure = (strand_failure){ "", "" };
  first = p->made + 1;
  p->made += count;
  p->loading += count;
  strand_lock_release(&p->lock);
  return first;
}

/* Numbers that others have got meanwhile stay as they are. */
void strand_pool_cancel (strand_pool *p, unsigned first, unsigned count) {
  strand_lock_take(&p->lock);
  if (p->made == first + count - 1) p->made -= count;
  p->loading -= count;
  pthread_cond_broadcast(&p->changed);
  strand_lock_release(&p->lock);
}

void strand_pool_tell (strand_pool *p, strand_start_latch *latches,
                       bool open) {
  strand_lock_take(&p->lock);
  for (strand_start_latch *latch = latches; latch != NULL;
       latch = latch->next) {
    latch->open = open;
    latch->decided = true;
  }
  pthread_cond_broadcast(&p->changed);
  strand_lock_release(&p->lock);
}

bool strand_pool_pass (strand_pool *p, strand_start_latch *latch) {
  bool open;
  strand_lock_take(&p->lock);
  while (!latch->decided) strand_lock_wait(&p->lock, &p->changed);
  open = latch->open;
  strand_lock_release(&p->lock);
  return open;
}

/* What fails in one worker fails in all of them: it is told once. */
bool strand_pool_loaded (strand_pool *p, const strand_failure *failure) {
  bool unreported = false;
  strand_lock_take(&p->lock);
  p->loading--;
  if (failure != NULL) {
    unreported = strcmp(failure->message, p->failure.message) != 0;
    if (p->failure.code[0] == '\0') p->failure = *failure;
  }
  pthread_cond_broadcast(&p->changed);
  strand_lock_release(&p->lock);
  return unreported;
}

bool strand_pool_is_loading (strand_pool *p) {
  bool loading;
  strand_lock_take(&p->lock);
  loading = p->loading > 0;
  strand_lock_release(&p->lock);
  return loading;
}

bool strand_pool_wait (strand_pool *p, strand_failure *failure) {
  bool loaded;
  strand_lock_take(&p->lock);
  while (p->loading > 0) strand_lock_wait(&p->lock, &p->changed);
  loaded = p->failure.code[0] == '\0';
  if (!loaded) *failure = p->failure;
  strand_lock_release(&p->lock);
  return loaded;
}

/*
** Serving
*/

void strand_pool_begin (strand_pool *p, int64_t now_us) {
  if (atomic_fetch_add(&p->busy, 1) > 0) return;
  atomic_store_explicit(&p->began_us, now_us, memory_order_relaxed);
}

void strand_pool_ended (strand_pool *p, int64_t now_us) {
  atomic_store_explicit(&p->ended_us, now_us, memory_order_relaxed);
}

void strand_pool_end (strand_pool *p) {
  atomic_fetch_sub(&p->busy, 1);
}

unsigned strand_pool_busy (const strand_pool *p) {
  return atomic_load(&p->busy);
}

int64_t strand_pool_idle_us (const strand_pool *p) {
  return strand_clock_coarse_us() - atomic_load(&p->ended_us);
}

int64_t strand_pool_stuck_us (const strand_pool *p) {
  int64_t ended = atomic_load(&p->ended_us), began = atomic_load(&p->began_us);
  if (atomic_load(&p->busy) == 0) return 0;
  return strand_clock_coarse_us() - (began > ended ? began : ended);
}

void strand_pool_check (strand_pool *p) {
  strand_lock_take(&p->lock);
  assert(p->loading <= p->made); /* (1) */
  assert(p->failure.code[0] != '\0'
         || p->failure.message[0] == '\0'); /* (2) */
  strand_lock_release(&p->lock);
}
