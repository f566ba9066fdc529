/*
** kafka_life_test.c - when a consumer is closed, and what goes then
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "shared/life.h"

static strand_life life;

/* Running, with two members and three workers. */
static int open_life (void **state) {
  (void)state;
  assert_true(strand_life_init(&life));
  assert_true(strand_life_open(&life) >= 0);
  assert_true(strand_life_start(&life));
  assert_true(strand_life_hire(&life, 3));
  strand_life_run(&life);
  strand_life_add_member(&life);
  strand_life_add_member(&life);
  return 0;
}

static int close_life (void **state) {
  (void)state;
  strand_life_check(&life);
  strand_life_free(&life);
  return 0;
}

static strand_ended begin (strand_close_mode mode, double timeout) {
  strand_ended ended;
  assert_true(strand_life_close(&life, mode, timeout, &ended));
  return ended;
}

static void it_starts_once (void **state) {
  (void)state;
  assert_false(strand_life_start(&life));
  assert_int_equal(strand_life_state(&life), STRAND_RUNS);
  assert_false(strand_life_unreported(&life)); /* it has no end yet */
}

static void it_is_closed_when_members_and_workers_are_gone (void **state) {
  strand_ended ended;
  (void)state;
  assert_false(begin(STRAND_CLOSE_FINISH, 10).members);
  assert_false(strand_life_end_member(&life).members);
  ended = strand_life_end_workers(&life, 1);
  assert_false(ended.closed);
  ended = strand_life_end_member(&life);
  assert_true(ended.members);
  assert_false(ended.closed);
  assert_false(strand_life_step(&life));
  assert_false(strand_life_end_workers(&life, 1).closed);
  assert_true(strand_life_end_workers(&life, 1).closed);
  assert_true(strand_life_step(&life));
  assert_false(strand_life_close(&life, STRAND_CLOSE_NOW, 1, &ended));
}

/* They may take what it has room for, until the last member has gone. */
static void workers_are_hired_while_a_member_is_left (void **state) {
  (void)state;
  begin(STRAND_CLOSE_DRAIN, 10);
  assert_true(strand_life_hire(&life, 1));
  strand_life_end_member(&life);
  assert_true(strand_life_hire(&life, 1));
  strand_life_end_member(&life);
  assert_false(strand_life_hire(&life, 1));
  assert_true(strand_life_end_workers(&life, 5).closed);
}

static void who_hurries_goes_on_hurrying (void **state) {
  strand_facts facts;
  (void)state;
  begin(STRAND_CLOSE_NOW, 1);
  begin(STRAND_CLOSE_DRAIN, 100);
  strand_life_read(&life, &facts);
  assert_int_equal(facts.mode, STRAND_CLOSE_NOW);
  assert_true(facts.timeout == 1);
  begin(STRAND_CLOSE_FINISH, 0.5);
  strand_life_read(&life, &facts);
  assert_true(facts.timeout == 0.5);
}

/* Half a second, where its deadline is far. */
static void it_waits_a_moment_for_workers_when_it_hurries (void **state) {
  int64_t since_us = strand_clock_us(), took_us;
  strand_facts facts;
  (void)state;
  begin(STRAND_CLOSE_NOW, 60);
  strand_life_end_member(&life);
  strand_life_end_member(&life);
  strand_life_wait(&life, since_us + 20000000);
  took_us = strand_clock_us() - since_us;
  assert_true(took_us >= 500000 && took_us < 10000000);
  assert_true(strand_life_step(&life));
  strand_life_check(&life);
  strand_life_read(&life, &facts);
  assert_true(facts.detached);
  assert_int_equal(facts.workers, 3);
  assert_false(strand_life_end_workers(&life, 3).closed); /* it was */
}

static void its_descriptor_goes_once_told_and_without_threads (void **state) {
  (void)state;
  strand_life_enter(&life);
  begin(STRAND_CLOSE_FINISH, 10);
  strand_life_end_member(&life);
  strand_life_end_member(&life);
  strand_life_end_workers(&life, 3);
  assert_true(strand_life_unreported(&life));
  strand_life_leave(&life);
  assert_false(strand_life_give_back(&life)); /* not told */
  strand_life_enter(&life);
  strand_life_tell(&life);
  assert_false(strand_life_unreported(&life));
  assert_false(strand_life_give_back(&life)); /* a thread is left */
  strand_life_leave(&life);
  assert_true(strand_life_give_back(&life));
  assert_false(strand_life_give_back(&life)); /* it has */
  assert_int_equal(life.timer_fd, -1);
}

static void the_last_commit_is_that_of_the_last_member (void **state) {
  (void)state;
  assert_false(strand_life_commit(&life));
  assert_false(strand_life_all_committed(&life));
  assert_true(strand_life_commit(&life));
  assert_true(strand_life_all_committed(&life));
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_life, close_life)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(it_starts_once),
    spec(it_is_closed_when_members_and_workers_are_gone),
    spec(workers_are_hired_while_a_member_is_left),
    spec(who_hurries_goes_on_hurrying),
    spec(it_waits_a_moment_for_workers_when_it_hurries),
    spec(its_descriptor_goes_once_told_and_without_threads),
    spec(the_last_commit_is_that_of_the_last_member),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
