/*
** kafka_mailbox_test.c - each slot is claimed once or recalled, and nobody
** sleeps while there is work that it may do
**
** Owners post, spread and recall as handover.c does, workers take and claim
** as worker.c does, and the limits change under them. Under the thread
** sanitizer it is the mailbox's proof: so nobody waits here by what would put
** the threads in order in the mailbox's place.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "shared/mailbox.h"

#define OWNERS 2
#define WORKERS 20 /* more than are woken in one round */
#define ROUNDS 6000
#define STEP (OWNERS * ROUNDS / (2 * WORKERS)) /* rounds until a limit grows */
#define LIMIT 60 /* seconds that a batch may take */

typedef struct owner {
  strand_mailbox *mailbox;
  uint64_t seed;
  strand_lease_batch *batch;
  atomic_int runs[STRAND_LEASE_BATCH_SLOTS];
  atomic_uint looks; /* risen by workers, who wake the owner by it */
  int wrong;
} owner;

typedef struct worker {
  strand_mailbox *mailbox;
  strand_worker_slot *worker_slot;
  int wrong;
} worker;

static atomic_int running, most, stuck;
static atomic_uint rounds; /* of all owners */

/*
** Relaxed, and by the kernel alone: no order between the threads that the
** thread sanitizer would take for the mailbox's. Where a processor may show
** the word before what was written ahead of it, a wake is missed and costs the
** 0.1 s.
*/
static void wake_by (atomic_uint *word) {
  atomic_fetch_add_explicit(word, 1, memory_order_relaxed);
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void sleep_while (atomic_uint *word, unsigned value) {
  struct timespec limit = { .tv_nsec = 100000000 };
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &limit, NULL, 0);
}

static unsigned read_of (atomic_uint *word) {
  return atomic_load_explicit(word, memory_order_relaxed);
}

static uint64_t pick (owner *o, uint64_t below) {
  o->seed ^= o->seed << 13;
  o->seed ^= o->seed >> 7;
  o->seed ^= o->seed << 17;
  return (o->seed >> 11) % below;
}

static bool take_batch (worker *w) {
  if (strand_mailbox_take_now(w->mailbox, w->worker_slot)) return true;
  if (w->worker_slot->batch != NULL) w->wrong++;
  return strand_mailbox_take(w->mailbox, w->worker_slot);
}

static owner *owner_of (worker *w) {
  return (owner *)(void *)w->worker_slot->batch->waker;
}

static void run_slot (worker *w, strand_slot *slot) {
  owner *o = owner_of(w);
  ptrdiff_t i = slot - w->worker_slot->batch->slots;
  if (atomic_fetch_add(&running, 1) >= atomic_load(&most)) w->wrong++;
  if (atomic_fetch_add(&o->runs[i], 1) != 0) w->wrong++;
  if (i % 64 == 0) sched_yield();
  atomic_fetch_sub(&running, 1);
  slot->has_outcome = i % 3 == 0;
  atomic_store_explicit(&slot->state, STRAND_SLOT_ENDED, memory_order_release);
}

static void *work (void *arg) {
  worker *w = arg;
  while (take_batch(w)) {
    int64_t begun = strand_clock_us();
    uint32_t slots = 0;
    strand_slot *slot;
    for (; (slot = strand_mailbox_claim(w->mailbox, w->worker_slot));
         slots++) {
      run_slot(w, slot);
    }
    wake_by(&owner_of(w)->looks);
    strand_mailbox_took(w->mailbox, slots, strand_clock_us() - begun);
  }
  strand_mailbox_leave(w->mailbox, w->worker_slot);
  return NULL;
}

/* As a worker with an event loop, which waits for its bell alone. */
static void *work_when_called (void *arg) {
  worker *w = arg;
  strand_worker_slot *own = w->worker_slot;
  struct pollfd readable = { .fd = own->bell.fd, .events = POLLIN };
  strand_mailbox_enter_called(w->mailbox, own, NULL);
  for (;;) {
    strand_slot *slot;
    while ((slot = strand_mailbox_next(w->mailbox, own)) != NULL) {
      owner *o = owner_of(w);
      run_slot(w, slot);
      wake_by(&o->looks);
    }
    if (own->ends) break;
    poll(&readable, 1, -1);
    strand_bell_answer(&own->bell);
    if (strand_mailbox_want_next(w->mailbox, own) && own->ends) w->wrong++;
  }
  strand_mailbox_give_back(w->mailbox, own);
  strand_mailbox_leave(w->mailbox, own);
  return NULL;
}

static void post (owner *o) {
  strand_lease_batch *batch = strand_batch_new(STRAND_LEASE_BATCH_SLOTS);
  assert_non_null(batch);
  batch->waker = (strand_waker *)(void *)o;
  batch->count = 1 + (uint32_t)pick(o, STRAND_LEASE_BATCH_SLOTS);
  atomic_init(&batch->refs, 1);
  atomic_init(&batch->cursor, 0);
  for (uint32_t i = 0; i < batch->count; i++) {
    atomic_init(&batch->slots[i].state, STRAND_SLOT_READY);
    atomic_init(&o->runs[i], 0);
  }
  o->batch = batch;
  strand_mailbox_post(o->mailbox, batch);
}

/* Those before 'first' ran, with what they wrote; the others never will. */
static bool ended (owner *o, uint32_t first) {
  for (uint32_t i = 0; i < first; i++) {
    strand_slot *slot = &o->batch->slots[i];
    if (atomic_load_explicit(&slot->state, memory_order_acquire)
        != STRAND_SLOT_ENDED)
      return false;
    if (slot->has_outcome != (i % 3 == 0)) o->wrong++;
  }
  return true;
}

static void check_runs (owner *o, uint32_t first) {
  for (uint32_t i = 0; i < o->batch->count; i++) {
    if (atomic_load(&o->runs[i]) != (i < first)) o->wrong++;
  }
}

/* Whether they have, in time. */
static bool wait_for_end (owner *o, uint32_t first) {
  double deadline = strand_clock_now() + LIMIT;
  unsigned look = read_of(&o->looks);
  while (!ended(o, first)) {
    if (strand_clock_now() > deadline) return false;
    sleep_while(&o->looks, look);
    look = read_of(&o->looks);
  }
  return true;
}

static void *own (void *arg) {
  owner *o = arg;
  for (int round = 0; round < ROUNDS && !atomic_load(&stuck); round++) {
    uint32_t first;
    post(o);
    first = o->batch->count;
    if (pick(o, 4) > 0) strand_mailbox_spread(o->mailbox);
    if (pick(o, 4) == 0) first = strand_lease_batch_recall(o->batch);
    if (wait_for_end(o, first)) check_runs(o, first);
    else atomic_store(&stuck, 1);
    strand_lease_batch_unref(o->batch);
    wake_by(&rounds);
  }
  return NULL;
}

/* The limit may only grow: one that falls takes effect with the next claim. */
static void raise_limits (strand_mailbox *m) {
  for (unsigned n = 1; n <= WORKERS; n++) {
    atomic_store(&most, (int)n);
    strand_mailbox_limit(m, n, WORKERS);
    for (unsigned done;
         (done = read_of(&rounds)) < n * STEP && !atomic_load(&stuck);)
      sleep_while(&rounds, done);
  }
}

static void raise_nothing (strand_mailbox *m) {
  atomic_store(&most, WORKERS);
  strand_mailbox_limit(m, UINT_MAX, WORKERS);
}

static void run_all (void *(*worker_main)(void *),
                     void (*limit)(strand_mailbox *m)) {
  static owner owners[OWNERS];
  static worker workers[WORKERS];
  pthread_t owns[OWNERS], works[WORKERS];
  strand_failure failure;
  strand_mailbox m;
  strand_mailbox_init(&m);
  atomic_store(&most, 1);
  atomic_store(&rounds, 0);
  m.wanted = m.serving = WORKERS;
  if (limit == raise_nothing) limit(&m);
  for (int i = 0; i < WORKERS; i++) {
    workers[i].mailbox = &m;
    workers[i].worker_slot = strand_mailbox_enter(&m);
    assert_non_null(workers[i].worker_slot);
    assert_true(strand_bell_open(&workers[i].worker_slot->bell, &failure));
    assert_int_equal(pthread_create(&works[i], NULL, worker_main, &workers[i]),
                     0);
  }
  for (int i = 0; i < OWNERS; i++) {
    owners[i].mailbox = &m;
    owners[i].seed = UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)i;
    assert_int_equal(pthread_create(&owns[i], NULL, own, &owners[i]), 0);
  }
  if (limit != raise_nothing) limit(&m);
  for (int i = 0; i < OWNERS; i++) pthread_join(owns[i], NULL);
  strand_mailbox_close(&m);
  for (int i = 0; i < WORKERS; i++) pthread_join(works[i], NULL);
  assert_int_equal(m.active + m.idle + m.serving, 0);
  assert_null(m.called);
  strand_mailbox_destroy(&m);
  assert_int_equal(atomic_load(&stuck), 0);
  for (int i = 0; i < OWNERS; i++) assert_int_equal(owners[i].wrong, 0);
  for (int i = 0; i < WORKERS; i++) assert_int_equal(workers[i].wrong, 0);
}

static void every_slot_runs_once_or_is_recalled (void **state) {
  (void)state;
  run_all(work, raise_limits);
}

static void so_it_does_by_workers_that_are_called (void **state) {
  (void)state;
  run_all(work_when_called, raise_nothing);
}

static strand_worker_slot *enter_called (strand_mailbox *m) {
  strand_worker_slot *worker_slot = strand_mailbox_enter(m);
  assert_non_null(worker_slot);
  strand_mailbox_enter_called(m, worker_slot, NULL);
  return worker_slot;
}

/* Since it was asked last. */
static bool was_called (strand_worker_slot *worker_slot) {
  return atomic_exchange(&worker_slot->bell.rung, false);
}

static void leave_called (strand_mailbox *m, strand_worker_slot *worker_slot) {
  strand_mailbox_give_back(m, worker_slot);
  strand_mailbox_leave(m, worker_slot);
}

static strand_lease_batch *post_two (strand_mailbox *m) {
  strand_lease_batch *batch = strand_batch_new(STRAND_LEASE_BATCH_SLOTS);
  assert_non_null(batch);
  *batch = (strand_lease_batch){ .count = 2 };
  atomic_init(&batch->refs, 1);
  strand_mailbox_post(m, batch);
  return batch;
}

static strand_slot *claim (strand_mailbox *m,
                           strand_worker_slot *worker_slot) {
  strand_slot *slot;
  assert_true(strand_mailbox_take(m, worker_slot));
  slot = strand_mailbox_claim(m, worker_slot);
  assert_non_null(slot);
  slot->worker_slot = worker_slot;
  return slot;
}

/* One worker, one in flight: with the lost one there are two. */
static void a_lost_worker_leaves_its_place_until_it_comes_back (void **state) {
  strand_mailbox m;
  strand_worker_slot *lost, *spare;
  strand_lease_batch *batch;
  strand_slot *slot;
  (void)state;
  strand_mailbox_init(&m);
  m.wanted = m.serving = 1;
  lost = strand_mailbox_enter(&m);
  spare = strand_mailbox_enter(&m);
  batch = post_two(&m);
  slot = claim(&m, lost);
  assert_int_equal(strand_mailbox_lose(&m, batch, slot), 1);
  assert_int_equal(strand_mailbox_lose(&m, batch, slot), 0);
  assert_int_equal(strand_mailbox_lost(&m), 1);
  assert_int_equal(m.active + m.serving, 0);
  m.serving++;
  assert_ptr_equal(claim(&m, spare), &batch->slots[1]);
  assert_int_equal(m.active, 1);
  atomic_store(&slot->state, STRAND_SLOT_ENDED);
  assert_null(strand_mailbox_claim(&m, lost)); /* it comes back first */
  assert_false(strand_mailbox_take(&m, lost)); /* one too many */
  assert_int_equal(strand_mailbox_lost(&m), 0);
  assert_int_equal(m.active, 1);
  assert_int_equal(m.serving, 1);
  m.closed = true;
  assert_false(strand_mailbox_take(&m, spare));
  assert_int_equal(m.active + m.serving, 0);
  strand_mailbox_leave(&m, lost);
  strand_mailbox_leave(&m, spare);
  strand_lease_batch_unref(batch);
  strand_mailbox_destroy(&m);
}

/* Said of a slot that has ended, or whose worker holds another batch. */
static void who_has_come_back_is_not_lost (void **state) {
  strand_mailbox m;
  strand_worker_slot *worker_slot;
  strand_lease_batch *first, *second;
  strand_slot *slot;
  (void)state;
  strand_mailbox_init(&m);
  m.wanted = m.serving = 1;
  worker_slot = strand_mailbox_enter(&m);
  first = post_two(&m);
  slot = claim(&m, worker_slot);
  atomic_store(&slot->state, STRAND_SLOT_ENDED);
  assert_int_equal(strand_mailbox_lose(&m, first, slot), 0);
  slot = strand_mailbox_claim(&m, worker_slot);
  slot->worker_slot = worker_slot;
  second = post_two(&m);
  assert_ptr_not_equal(claim(&m, worker_slot), slot);
  assert_int_equal(strand_mailbox_lose(&m, first, slot), 0);
  strand_mailbox_interrupt(&m, first, slot, 1); /* to nobody */
  assert_int_equal(m.active, 1);
  m.closed = true;
  assert_false(strand_mailbox_take(&m, worker_slot));
  strand_mailbox_leave(&m, worker_slot);
  strand_lease_batch_unref(first);
  strand_lease_batch_unref(second);
  strand_mailbox_destroy(&m);
}

/* Once for what it did not find; not while it has something to claim. */
static void who_found_nothing_is_called_once (void **state) {
  strand_mailbox m;
  strand_worker_slot *slot;
  strand_lease_batch *batch;
  (void)state;
  strand_mailbox_init(&m);
  m.wanted = m.serving = 1;
  slot = enter_called(&m);
  assert_null(strand_mailbox_next(&m, slot));
  assert_false(was_called(slot));
  batch = post_two(&m);
  assert_true(was_called(slot));
  assert_non_null(strand_mailbox_next(&m, slot));
  strand_lease_batch_unref(batch);
  batch = post_two(&m);
  assert_false(was_called(slot));
  strand_mailbox_limit(&m, 1, 1); /* it has to know */
  assert_true(was_called(slot));
  for (int i = 0; i < 3; i++) assert_non_null(strand_mailbox_next(&m, slot));
  assert_false(strand_mailbox_want_next(&m, slot));
  assert_int_equal(m.idle, 1);
  assert_false(was_called(slot));
  strand_mailbox_close(&m);
  assert_true(was_called(slot));
  assert_null(strand_mailbox_next(&m, slot));
  assert_true(slot->ends);
  assert_int_equal(m.serving + m.idle, 0);
  leave_called(&m, slot);
  strand_lease_batch_unref(batch);
  strand_mailbox_destroy(&m);
}

/* Of a worker that is called, in no batch that it holds. */
static void open_slot (strand_slot *slot, strand_worker_slot *worker_slot) {
  memset(slot, 0, sizeof(*slot));
  atomic_init(&slot->state, STRAND_SLOT_READY);
  slot->worker_slot = worker_slot;
}

/* Its worker may have left since, and its place be another's. */
static void a_slot_that_has_ended_loses_nobody (void **state) {
  strand_mailbox m;
  strand_worker_slot *own;
  strand_slot slot;
  (void)state;
  strand_mailbox_init(&m);
  m.wanted = m.serving = 1;
  m.max_in_flight = UINT_MAX;
  own = enter_called(&m);
  open_slot(&slot, own);
  atomic_store(&slot.state, STRAND_SLOT_ENDED | STRAND_SLOT_MARKED);
  leave_called(&m, own);
  assert_ptr_equal(enter_called(&m), own);
  assert_int_equal(strand_mailbox_lose_worker(&m, &slot), 0);
  assert_int_equal(strand_mailbox_lost(&m), 0);
  assert_int_equal(m.serving, 1);
  leave_called(&m, own);
  strand_mailbox_destroy(&m);
}

/* Set between two answers, with nobody to ring. */
static void a_bell_calls_at_its_time (void **state) {
  strand_failure failure;
  strand_bell bell;
  struct pollfd readable;
  (void)state;
  strand_bell_init(&bell);
  assert_true(strand_bell_open(&bell, &failure));
  readable = (struct pollfd){ .fd = bell.fd, .events = POLLIN };
  strand_bell_remind(&bell, strand_clock_us() + 1000);
  assert_int_equal(poll(&readable, 1, LIMIT * 1000), 1);
  strand_bell_close(&bell);
}

/* One that comes too late is for nobody. */
static void a_traceback_is_its_own_slots (void **state) {
  strand_mailbox m;
  strand_worker_slot *own;
  strand_traceback *t;
  strand_slot late, slot;
  (void)state;
  strand_mailbox_init(&m);
  own = enter_called(&m);
  open_slot(&late, own);
  open_slot(&slot, own);
  assert_null(strand_worker_take_traceback(&slot));
  strand_worker_leave_traceback(own, &late, "late", 4);
  assert_null(strand_worker_take_traceback(&slot));
  strand_worker_leave_traceback(own, &late, "late", 4);
  strand_worker_leave_traceback(own, &slot, "where", 5);
  t = strand_worker_take_traceback(&slot);
  assert_non_null(t);
  assert_string_equal(t->text, "where");
  free(t);
  assert_null(strand_worker_take_traceback(&late));
  leave_called(&m, own);
  strand_mailbox_destroy(&m);
}

/* It is called for nothing while it is lost. Back again it is one too many. */
static void a_lost_loop_leaves_its_place_until_it_comes_back (void **state) {
  strand_mailbox m;
  strand_worker_slot *lost, *spare;
  strand_lease_batch *batch;
  strand_slot slot;
  (void)state;
  strand_mailbox_init(&m);
  m.wanted = m.serving = 1;
  m.max_in_flight = UINT_MAX;
  lost = enter_called(&m);
  open_slot(&slot, lost);
  assert_null(strand_mailbox_next(&m, lost));
  assert_int_equal(strand_mailbox_lose_worker(&m, &slot), 1);
  assert_int_equal(strand_mailbox_lose_worker(&m, &slot), 0);
  assert_int_equal(m.idle + m.serving, 0);
  batch = post_two(&m);
  assert_false(was_called(lost));
  strand_mailbox_serve(&m, 1);
  spare = enter_called(&m);
  assert_non_null(strand_mailbox_next(&m, spare));
  assert_false(strand_mailbox_want_next(&m, lost));
  assert_true(lost->ends && !spare->ends);
  assert_int_equal(strand_mailbox_lost(&m), 0);
  assert_int_equal(m.serving, 1);
  assert_int_equal(strand_mailbox_lose_worker(&m, &slot), 0); /* it ends */
  assert_non_null(strand_mailbox_next(&m, spare));
  leave_called(&m, lost);
  leave_called(&m, spare);
  assert_int_equal(m.active, 0);
  strand_lease_batch_unref(batch);
  strand_mailbox_destroy(&m);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_lost_worker_leaves_its_place_until_it_comes_back),
    cmocka_unit_test(who_has_come_back_is_not_lost),
    cmocka_unit_test(who_found_nothing_is_called_once),
    cmocka_unit_test(a_slot_that_has_ended_loses_nobody),
    cmocka_unit_test(a_bell_calls_at_its_time),
    cmocka_unit_test(a_traceback_is_its_own_slots),
    cmocka_unit_test(a_lost_loop_leaves_its_place_until_it_comes_back),
    cmocka_unit_test(every_slot_runs_once_or_is_recalled),
    cmocka_unit_test(so_it_does_by_workers_that_are_called),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
