/*
** kafka_progress_test.c - the owner sees each mark once, and all of them
**
** One thread marks as the lua thread does, the other takes as an owner does:
** now and then it looks by itself, else it sleeps until it is woken. Under the
** thread sanitizer it is the list's proof: the threads have no other order than
** that of the list, so the word that wakes is relaxed.
*/
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "shared/lease_batch.h"
#include "shared/progress.h"

#define MARKS 64
#define ROUNDS 100000
#define LIMIT_US 60000000

typedef struct marked {
  strand_mark mark; /* first */
  uint32_t written; /* before the mark enters the list */
  atomic_bool listed;
} marked;

static strand_progress progress;
static marked slots[MARKS];
static atomic_uint woken;

static void *mark_slots (void *arg) {
  uint32_t round = 0;
  (void)arg;
  while (round < ROUNDS) {
    marked *s = &slots[round % MARKS];
    if (atomic_load_explicit(&s->listed, memory_order_acquire)) {
      sched_yield();
      continue;
    }
    s->written = ++round;
    atomic_store_explicit(&s->listed, true, memory_order_relaxed);
    if (strand_progress_add(&progress, &s->mark))
      atomic_fetch_add_explicit(&woken, 1, memory_order_relaxed);
    if (round % 97 == 0) sched_yield();
  }
  return NULL;
}

/* How many were there. */
static uint32_t take (uint32_t *highest) {
  strand_mark *mark = strand_progress_take(&progress);
  uint32_t count = 0, below = UINT32_MAX;
  while (mark != NULL) {
    marked *s = (marked *)(void *)mark;
    mark = mark->next;
    assert_true(s->written < below); /* the newest first */
    below = s->written;
    if (s->written > *highest) *highest = s->written;
    atomic_store_explicit(&s->listed, false, memory_order_release);
    count++;
  }
  return count;
}

/* False: nobody wakes it, and marks wait. */
static bool sleep_until (unsigned *seen) {
  int64_t began_us = strand_clock_us();
  unsigned now;
  while ((now = atomic_load_explicit(&woken, memory_order_relaxed)) == *seen) {
    if (strand_clock_us() - began_us > LIMIT_US) return false;
    sched_yield();
  }
  *seen = now;
  return true;
}

static void each_mark_is_taken_once_and_none_is_slept_through (void **state) {
  uint32_t taken = 0, highest = 0, before;
  unsigned seen = 0;
  pthread_t thread;
  (void)state;
  assert_int_equal(pthread_create(&thread, NULL, mark_slots, NULL), 0);
  while (taken < ROUNDS) {
    before = taken;
    taken += take(&highest);
    if (taken == ROUNDS) break;
    if (taken != before) (void)strand_progress_set_polling(&progress, true);
    else if (strand_progress_set_polling(&progress, false))
      assert_true(sleep_until(&seen));
  }
  pthread_join(thread, NULL);
  assert_int_equal(taken, ROUNDS);
  assert_int_equal(highest, ROUNDS);
  assert_null(strand_progress_take(&progress));
}

static void
only_the_first_mark_wakes_an_owner_that_does_not_look (void **state) {
  strand_mark a, b, c;
  strand_progress p = { .first = NULL };
  (void)state;
  assert_false(strand_progress_waits(&p));
  assert_true(strand_progress_add(&p, &a));
  assert_false(strand_progress_add(&p, &b));
  assert_true(strand_progress_waits(&p));
  assert_false(strand_progress_set_polling(&p, false)); /* look now */
  assert_ptr_equal(strand_progress_take(&p), &b);
  assert_ptr_equal(b.next, &a);
  assert_null(a.next);
  assert_true(strand_progress_set_polling(&p, true));
  assert_false(strand_progress_add(&p, &c));
  assert_ptr_equal(strand_progress_take(&p), &c);
  assert_true(strand_progress_set_polling(&p, false));
  assert_true(strand_progress_add(&p, &a));
}

/* Also when it ends after the owner took its mark, and before it has looked. */
static void a_slot_is_in_the_list_once_until_it_is_looked_at (void **state) {
  strand_lease_batch *batch = strand_batch_new(2);
  strand_progress p = { .first = NULL };
  strand_slot *slot;
  strand_mark *mark;
  bool ended;
  (void)state;
  assert_non_null(batch);
  batch->progress = &p;
  atomic_init(&batch->refs, 1);
  slot = &batch->slots[1];
  atomic_init(&slot->state, STRAND_SLOT_READY);
  for (int i = 0; i < 3; i++) {
    assert_true(strand_slot_mark(batch, slot, false));
    assert_false(strand_slot_mark(batch, slot, false));
    mark = strand_progress_take(&p);
    assert_null(mark->next);
    assert_ptr_equal(strand_mark_slot(mark, &ended), slot);
    assert_false(ended);
  }
  assert_true(strand_slot_mark(batch, slot, false));
  mark = strand_progress_take(&p);
  assert_false(strand_slot_mark(batch, slot, true));
  assert_null(strand_progress_take(&p));
  assert_ptr_equal(strand_mark_slot(mark, &ended), slot);
  assert_true(ended);
  strand_lease_batch_unref(batch);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(only_the_first_mark_wakes_an_owner_that_does_not_look),
    cmocka_unit_test(a_slot_is_in_the_list_once_until_it_is_looked_at),
    cmocka_unit_test(each_mark_is_taken_once_and_none_is_slept_through),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
