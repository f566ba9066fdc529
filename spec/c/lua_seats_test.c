/*
** lua_seats_test.c - the handlings of local mode and the bodies that run them,
** without Lua code: an owner's batch in the mailbox, seats taken and left
**
** Which body handles which record is in spec/local_spec.lua and loops_spec.lua.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing_alloc.h"
#include "../../src/lua/local/seats.c"

#include "base/clock.h"
#include "lua/local/bodies.h"
#include "lua/local/body.h"

#define MANY 200
#define SECOND INT64_C(1000000)

static strand_consumer *consumer;
static strand_seats seats;
static strand_progress progress;
static strand_lease_batch *batch;
static strand_record records[2 * MANY];
static atomic_bool stop;

static void release (void *config) {
  (void)config;
}

static int open_seats (void **state) {
  const strand_consumer_config config = { .limits = { .max_in_flight = MANY },
                                          .handler = { .release = release } };
  (void)state;
  consumer = strand_shared_new(&config);
  assert_non_null(consumer);
  strand_mailbox_limit(&consumer->mailbox, MANY, 1);
  seats = (strand_seats){ 0 };
  progress = (strand_progress){ .first = NULL };
  memset(records, 0, sizeof(records));
  atomic_store(&stop, false);
  atomic_store(&progress.polling, true); /* so that nobody is woken */
  batch = NULL;
  assert_true(strand_seats_open(&seats, consumer, NULL));
  return 0;
}

static int close_seats (void **state) {
  (void)state;
  if (!seats.ended) strand_seats_check(&seats);
  strand_seats_end(&seats);
  strand_seats_end(&seats); /* once is enough */
  assert_int_equal(strand_pool_busy(&consumer->pool), 0);
  if (batch != NULL) {
    strand_lease_batch_recall(batch);
    strand_mailbox_close(&consumer->mailbox);
    strand_lease_batch_unref(batch);
  }
  strand_shared_unref(consumer);
  return 0;
}

/* Leases of two records each. */
static void post (uint32_t count) {
  batch = strand_batch_new(count);
  assert_non_null(batch);
  batch->count = count;
  batch->progress = &progress;
  atomic_init(&batch->refs, 1);
  atomic_init(&batch->cursor, 0);
  for (uint32_t i = 0; i < count; i++) {
    strand_slot *slot = &batch->slots[i];
    memset(slot, 0, sizeof(*slot));
    records[2 * i].behind = &records[2 * i + 1];
    slot->first = &records[2 * i];
    slot->count = 2;
    slot->stop = &stop;
  }
  strand_mailbox_post(&consumer->mailbox, batch);
}

static strand_seat *take (void) {
  bool short_of_memory = false;
  strand_seat *seat = strand_seats_take(&seats, &short_of_memory);
  assert_false(short_of_memory);
  strand_seats_check(&seats);
  return seat;
}

static void a_seat_has_a_lease_until_its_last_record (void **state) {
  strand_seat *seat;
  (void)state;
  post(1);
  assert_true(strand_seats_want_work(&seats));
  seat = take();
  assert_ptr_equal(seat->handling.task.record, &records[0]);
  assert_int_equal(seats.local.running, 1);
  assert_null(take());
  assert_false(strand_seats_want_work(&seats));
  assert_true(strand_local_next(&seats.local, &seat->handling));
  assert_ptr_equal(seat->handling.task.record, &records[1]);
  assert_false(strand_local_next(&seats.local, &seat->handling));
  strand_seats_leave(&seats, seat);
  strand_seats_check(&seats);
  assert_int_equal(seats.local.running, 0);
  assert_int_equal(atomic_load(&batch->slots[0].done), 2);
}

static void no_more_run_than_may (void **state) {
  strand_seat *first;
  (void)state;
  post(5);
  strand_local_limit(&seats.local, 2);
  first = take();
  assert_non_null(first);
  assert_non_null(take());
  assert_null(take());
  assert_false(strand_seats_want_work(&seats));
  strand_local_end(&seats.local, &first->handling);
  strand_seats_leave(&seats, first);
  assert_ptr_equal(take(), first); /* the last one is warm */
  assert_null(take());
  strand_local_limit(&seats.local, 3);
  assert_non_null(take());
}

/* They count as running, and go before what has not begun. */
static void who_waits_for_a_body_is_first (void **state) {
  strand_seat *a, *b, *c;
  (void)state;
  post(4);
  strand_local_limit(&seats.local, 3);
  a = take();
  b = take();
  c = take();
  strand_seats_put(&seats, a);
  strand_seats_put(&seats, b);
  strand_seats_put_back(&seats, c);
  assert_true(strand_seats_want_work(&seats));
  assert_ptr_equal(take(), c);
  assert_ptr_equal(take(), a);
  assert_ptr_equal(take(), b);
  assert_null(take());
}

static void what_was_dropped_is_there_to_be_ended (void **state) {
  strand_seat *a, *b;
  (void)state;
  post(2);
  a = take();
  b = take();
  strand_seats_drop(&seats, a);
  strand_seats_drop(&seats, b);
  assert_true(strand_seats_want_work(&seats));
  assert_null(take());
  assert_ptr_equal(strand_seats_dropped(&seats), a);
  assert_ptr_equal(strand_seats_dropped(&seats), b);
  assert_null(strand_seats_dropped(&seats));
}

static void a_handling_is_found_by_its_own_name_alone (void **state) {
  strand_seat *seat;
  uint64_t serial;
  (void)state;
  post(1);
  seat = take();
  strand_current_single(&seat->current, seat->handling.task.record);
  serial = seat->current.serial;
  assert_ptr_equal(strand_seats_find(&seats, 0, serial), seat);
  assert_null(strand_seats_find(&seats, 0, serial + 1));
  assert_null(strand_seats_find(&seats, 1, serial));
  strand_seats_end(&seats);
  assert_null(strand_seats_find(&seats, 0, serial));
}

/* The n-th allocation fails, for every n that there is. */
static void without_memory_for_a_seat_its_lease_waits (void **state) {
  uint32_t begun = 0, failures = 0;
  (void)state;
  post(MANY);
  while (begun < MANY) {
    bool short_of_memory = false;
    strand_seat *seat;
    fail_alloc(0);
    seat = strand_seats_take(&seats, &short_of_memory);
    fail_alloc(-1);
    assert_null(seat);
    assert_true(short_of_memory);
    assert_int_equal(seats.count, begun);
    strand_seats_check(&seats);
    failures++;
    fail_alloc(1); /* where the table grows, the seat itself */
    seat = strand_seats_take(&seats, &short_of_memory);
    fail_alloc(-1);
    if (seat == NULL) seat = take();
    assert_ptr_equal(seat->handling.task.record, &records[2 * begun]);
    begun++;
    strand_seats_check(&seats);
  }
  assert_int_equal(failures, MANY);
  assert_null(take());
}

static void what_runs_at_the_end_goes_back_unstarted (void **state) {
  (void)state;
  post(3);
  take();
  take();
  strand_seats_end(&seats);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(atomic_load(&batch->slots[i].done), 0);
    assert_true(atomic_load(&batch->slots[i].state) & STRAND_SLOT_ENDED);
  }
  assert_int_equal(strand_lease_batch_unclaimed(batch), 1);
}

/* Its handler's coroutine may still be resumed, by a finalizer: it finds
** nothing. */
static void what_fails_with_its_loop_has_no_record_any_more (void **state) {
  strand_seat *seat;
  uint64_t serial;
  (void)state;
  post(2);
  seat = take();
  strand_current_single(&seat->current, seat->handling.task.record);
  serial = seat->current.serial;
  strand_seats_fail(&seats, "the event loop has ended");
  assert_null(strand_seats_find(&seats, 0, serial));
  strand_seats_check(&seats);
  assert_true(batch->slots[0].has_outcome);
  assert_true(atomic_load(&batch->slots[0].state) & STRAND_SLOT_ENDED);
  assert_string_equal(batch->outcomes[0].reason, "the event loop has ended");
  free(batch->outcomes[0].reason);
}

/* What waits for a body has been seen by no handler. */
static void what_no_handler_has_seen_goes_back (void **state) {
  strand_seat *seat;
  (void)state;
  post(1);
  seat = take();
  assert_true(strand_local_next(&seats.local, &seat->handling));
  strand_seats_put(&seats, seat);
  strand_seats_fail(&seats, "the event loop has ended");
  strand_seats_check(&seats);
  assert_null(take());
  assert_int_equal(atomic_load(&batch->slots[0].done), 1);
  assert_true(atomic_load(&batch->slots[0].state) & STRAND_SLOT_ENDED);
  assert_false(batch->slots[0].has_outcome);
}

/* Its members are gone already, as when what runs is of a partition that was
** taken away: no turn comes by itself after that. */
static void end_last_of_a_closed_one (bool halted) {
  strand_seat *a, *b;
  post(2);
  strand_local_start(&seats.local);
  a = take();
  b = take();
  if (halted) strand_local_halt(&seats.local);
  strand_mailbox_close(&consumer->mailbox);
  strand_local_answer(&seats.local);
  strand_local_advance(&seats.local);
  strand_local_end(&seats.local, &a->handling);
  strand_seats_leave(&seats, a);
  assert_null(take());
  assert_false(strand_notifier_take_work(&consumer->notifier));
  strand_local_end(&seats.local, &b->handling);
  strand_seats_leave(&seats, b);
  assert_true(strand_notifier_take_work(&consumer->notifier));
  strand_local_advance(&seats.local);
  assert_null(take());
  assert_false(strand_notifier_take_work(&consumer->notifier)); /* once */
}

static void who_ends_last_of_a_closed_one_asks_for_a_turn (void **state) {
  (void)state;
  end_last_of_a_closed_one(false);
}

static void who_ends_last_of_a_halted_one_asks_for_a_turn (void **state) {
  (void)state;
  end_last_of_a_closed_one(true);
}

/* ---- bodies ---------------------------------------------------------------
** */

static strand_body bodies[3];

static void add_bodies (uint32_t count) {
  memset(bodies, 0, sizeof(bodies));
  for (int i = 0; i < 3; i++) bodies[i].owner = &seats;
  assert_true(strand_sleepers_reserve(&seats.sleepers, count));
  seats.bodies = count;
  seats.looped = true;
}

static strand_late late_at (int64_t seconds) {
  strand_late late = strand_bodies_take_late(&seats, strand_clock_us()
                                                       + seconds * SECOND);
  strand_seats_check(&seats);
  strand_bodies_check(&seats);
  return late;
}

static void bodies_are_as_many_as_handlers_may_run (void **state) {
  (void)state;
  add_bodies(2);
  strand_local_limit(&seats.local, 2);
  assert_false(strand_bodies_may_spawn(&seats));
  strand_local_limit(&seats.local, 3);
  assert_true(strand_bodies_may_spawn(&seats));
  strand_bodies_leave(&seats, &bodies[0]);
  strand_bodies_leave(&seats, &bodies[0]);
  assert_int_equal(seats.bodies, 1);
}

static void who_comes_in_time_is_not_late (void **state) {
  strand_late late;
  (void)state;
  add_bodies(2);
  strand_bodies_call(&seats, &bodies[0]);
  strand_bodies_call(&seats, &bodies[1]);
  strand_bodies_come(&seats, &bodies[0]);
  assert_int_equal(bodies[0].state, STRAND_BODY_RUNS);
  late = late_at(0);
  assert_int_equal(late.spawned, 0);
  late = late_at(1); /* the loop may have been busy */
  assert_int_equal(late.spawned, 0);
  late = late_at(3);
  assert_int_equal(late.spawned, 1);
  late = late_at(9); /* told once */
  assert_int_equal(late.spawned + late.woken, 0);
  assert_null(strand_sleepers_first(&seats.sleepers));
  strand_bodies_come(&seats, &bodies[1]);
  strand_bodies_park(&seats, &bodies[1]);
  assert_ptr_equal(strand_bodies_unpark(&seats), &bodies[1]);
  strand_bodies_call(&seats, &bodies[1]);
  late_at(2);
  late = late_at(4);
  assert_int_equal(late.spawned, 0);
  assert_int_equal(late.woken, 1);
}

static void what_could_not_be_woken_parks_again (void **state) {
  (void)state;
  add_bodies(1);
  strand_bodies_park(&seats, &bodies[0]);
  strand_bodies_call(&seats, strand_bodies_unpark(&seats));
  assert_true(strand_bodies_fail(&seats));
  assert_false(strand_bodies_fail(&seats)); /* once */
  assert_null(strand_bodies_unpark(&seats));
  late_at(0);
  assert_null(strand_bodies_unpark(&seats));
  late_at(2);
  assert_ptr_equal(strand_bodies_unpark(&seats), &bodies[0]);
  assert_null(strand_sleepers_first(&seats.sleepers));
}

static void what_could_not_be_spawned_makes_room_later (void **state) {
  (void)state;
  add_bodies(1);
  strand_bodies_call(&seats, &bodies[0]);
  assert_true(strand_bodies_fail(&seats));
  assert_false(strand_bodies_may_spawn(&seats)); /* nor any other, for now */
  late_at(2);
  assert_true(strand_bodies_may_spawn(&seats));
  assert_int_equal(bodies[0].state, STRAND_BODY_GONE);
  assert_int_equal(seats.bodies, 0);
}

/* Its loop has resumed it all the same. */
static void who_comes_though_that_failed_runs (void **state) {
  (void)state;
  add_bodies(2);
  strand_bodies_call(&seats, &bodies[0]);
  strand_bodies_come(&seats, &bodies[0]);
  assert_false(strand_bodies_fail(&seats));
  strand_bodies_call(&seats, &bodies[1]);
  assert_true(strand_bodies_fail(&seats));
  strand_bodies_come(&seats, &bodies[1]);
  assert_int_equal(bodies[1].state, STRAND_BODY_RUNS);
  assert_true(strand_bodies_may_spawn(&seats));
  late_at(5);
  assert_int_equal(seats.bodies, 2);
}

static void who_was_dropped_is_told_once (void **state) {
  (void)state;
  add_bodies(3);
  strand_bodies_call(&seats, &bodies[0]);
  strand_bodies_come(&seats, &bodies[0]);
  strand_bodies_drop(&seats, &bodies[0]); /* it came before */
  assert_int_equal(late_at(0).dropped, 0);
  strand_bodies_call(&seats, &bodies[1]);
  strand_bodies_drop(&seats, &bodies[1]);
  assert_int_equal(late_at(0).dropped, 1);
  assert_int_equal(late_at(0).dropped, 0);
  strand_bodies_call(&seats, &bodies[2]);
  late_at(2);
  assert_int_equal(late_at(4).spawned, 1);
  strand_bodies_drop(&seats, &bodies[2]); /* it was told as late */
  assert_int_equal(late_at(4).dropped, 0);
  assert_int_equal(seats.bodies, 0);
}

static void who_leaves_is_in_no_list (void **state) {
  (void)state;
  add_bodies(3);
  for (int i = 0; i < 3; i++) strand_bodies_park(&seats, &bodies[i]);
  strand_bodies_leave(&seats, &bodies[1]);
  assert_ptr_equal(strand_bodies_unpark(&seats), &bodies[2]);
  strand_bodies_call(&seats, &bodies[2]);
  strand_bodies_leave(&seats, &bodies[2]);
  assert_false(strand_bodies_fail(&seats));
  assert_ptr_equal(strand_bodies_unpark(&seats), &bodies[0]);
  assert_null(strand_bodies_unpark(&seats));
  assert_int_equal(seats.bodies, 1);
}

/* As Lua does: with the body at 'index', whose metatable is below it; 0:
** without any. */
static void call (lua_State *L, lua_CFunction f, int index) {
  lua_settop(L, index);
  for (int i = 1; i <= STRAND_NEXT_COUNT; i++) {
    if (i == STRAND_NEXT_SEATS) lua_pushlightuserdata(L, &seats);
    else if (i == STRAND_NEXT_BODIES && index > 0) lua_pushvalue(L, index - 1);
    else lua_pushnil(L);
  }
  lua_pushcclosure(L, f, STRAND_NEXT_COUNT);
  if (index > 0) lua_pushvalue(L, index);
  assert_int_equal(lua_pcall(L, index > 0 ? 1 : 0, 1, 0), 0);
}

static int take_step (lua_State *L) {
  lua_pushnumber(L, strand_body_take(L, lua_touserdata(L, 1)));
  return 1;
}

static void who_is_to_leave_takes_no_other (void **state) {
  lua_State *L = luaL_newstate();
  strand_body *body;
  (void)state;
  assert_non_null(L);
  add_bodies(0);
  lua_newtable(L);
  strand_body_new(L, &seats, 1);
  body = lua_touserdata(L, 2);
  strand_bodies_come(&seats, body);
  call(L, strand_body_leave, 2);
  assert_int_equal(body->state, STRAND_BODY_RUNS); /* on, until its end */
  call(L, take_step, 2);
  assert_int_equal((int)lua_tonumber(L, -1), STRAND_BODY_ENDS);
  assert_int_equal(seats.bodies, 0);
  lua_close(L);
}

/* A turn of the loop, or of step. */
static void serve (void) {
  lua_State *L = luaL_newstate();
  assert_non_null(L);
  call(L, strand_body_serve, 0);
  lua_close(L);
}

/* So long there has been work, when the turn comes. -> longest_slice */
static int64_t longest_after (int64_t seconds) {
  strand_loop_watch *watch = &consumer->notifier.watch;
  strand_loop_watch_wanted(watch, strand_clock_us() - seconds * SECOND);
  serve();
  return atomic_load(&watch->longest_us) / SECOND;
}

static void a_late_turn_of_a_loop_is_kept (void **state) {
  (void)state;
  add_bodies(0);
  assert_int_equal(longest_after(1000), 1000);
  assert_int_equal(longest_after(10), 1000);
  strand_notifier_note_work(&consumer->notifier);
  serve();
  assert_int_equal(atomic_load(&consumer->notifier.watch.wanted_us), 0);
}

/* There only handlers count, as long as they do not wait. */
static void a_late_turn_without_a_loop_is_not (void **state) {
  (void)state;
  add_bodies(0);
  seats.looped = false;
  assert_int_equal(longest_after(1000), 0);
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_seats, close_seats)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(a_seat_has_a_lease_until_its_last_record),
    spec(no_more_run_than_may),
    spec(who_waits_for_a_body_is_first),
    spec(what_was_dropped_is_there_to_be_ended),
    spec(a_handling_is_found_by_its_own_name_alone),
    spec(without_memory_for_a_seat_its_lease_waits),
    spec(what_runs_at_the_end_goes_back_unstarted),
    spec(what_no_handler_has_seen_goes_back),
    spec(who_ends_last_of_a_closed_one_asks_for_a_turn),
    spec(who_ends_last_of_a_halted_one_asks_for_a_turn),
    spec(what_fails_with_its_loop_has_no_record_any_more),
    spec(bodies_are_as_many_as_handlers_may_run),
    spec(who_comes_in_time_is_not_late),
    spec(what_could_not_be_woken_parks_again),
    spec(what_could_not_be_spawned_makes_room_later),
    spec(who_comes_though_that_failed_runs),
    spec(who_was_dropped_is_told_once),
    spec(who_leaves_is_in_no_list),
    spec(who_is_to_leave_takes_no_other),
    spec(a_late_turn_of_a_loop_is_kept),
    spec(a_late_turn_without_a_loop_is_not),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
