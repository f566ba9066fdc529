/*
** kafka_notifier_test.c - the descriptor is readable while something waits,
** and goes whole
*/
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/notifier.h"

static strand_notifier notifier;
static int timer_fd;

static int open_all (void **state) {
  strand_failure failure;
  (void)state;
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  assert_true(timer_fd >= 0);
  assert_true(strand_notifier_init(&notifier, true, true));
  strand_notifier_check(&notifier);
  assert_true(strand_notifier_open(&notifier, &failure));
  assert_true(strand_notifier_watch(&notifier, timer_fd, &failure));
  strand_notifier_check(&notifier);
  return 0;
}

static int close_all (void **state) {
  (void)state;
  strand_notifier_close(&notifier);
  strand_notifier_check(&notifier);
  strand_notifier_free(&notifier);
  close(timer_fd);
  return 0;
}

static bool is_readable (void) {
  struct pollfd fd = { strand_notifier_fd(&notifier), POLLIN, 0 };
  return poll(&fd, 1, 0) == 1;
}

static void it_is_readable_until_it_is_drained (void **state) {
  (void)state;
  assert_false(is_readable());
  strand_notifier_signal(&notifier);
  assert_true(is_readable());
  strand_notifier_drain(&notifier);
  assert_false(is_readable());
  strand_notifier_renew(&notifier);
  assert_true(is_readable());
}

static void an_event_makes_it_readable (void **state) {
  strand_event event = strand_event_of("assigned", 0);
  (void)state;
  assert_false(strand_notifier_waits(&notifier));
  strand_notifier_event(&notifier, &event);
  assert_true(is_readable() && strand_notifier_waits(&notifier));
  assert_true(strand_events_pop(notifier.events, &event));
  strand_event_clear(&event);
  assert_false(strand_notifier_waits(&notifier));
}

static void an_event_too_many_drops_the_oldest (void **state) {
  strand_event event;
  (void)state;
  for (int i = 0; i <= STRAND_EVENTS_MAX; i++) {
    event = strand_event_of("assigned", i);
    strand_event_set_topic(&event, "t", 0);
    strand_events_push(notifier.events, &event);
  }
  assert_int_equal(strand_events_dropped(notifier.events), 1);
  assert_true(strand_events_pop(notifier.events, &event));
  assert_int_equal(event.member, 1);
  strand_event_clear(&event);
}

static void it_is_not_readable_for_what_nobody_takes_now (void **state) {
  strand_event event = strand_event_of("assigned", 0);
  (void)state;
  strand_notifier_event(&notifier, &event);
  strand_notifier_keep(&notifier, false, true);
  assert_false(strand_notifier_waits(&notifier));
  strand_notifier_want_token(&notifier, true);
  assert_true(strand_notifier_waits(&notifier));
  strand_notifier_answer_token(&notifier, true); /* it is being fetched */
  assert_false(strand_notifier_waits(&notifier));
  strand_notifier_answer_token(&notifier, false);
  assert_true(strand_notifier_waits(&notifier));
  strand_notifier_want_token(&notifier, false);
  strand_notifier_keep(&notifier, false, false);
  assert_true(strand_notifier_waits(&notifier));
}

static void the_timer_makes_it_readable (void **state) {
  const struct itimerspec soon = { .it_value.tv_nsec = 1 };
  struct pollfd fd = { strand_notifier_fd(&notifier), POLLIN, 0 };
  (void)state;
  timerfd_settime(timer_fd, 0, &soon, NULL);
  assert_int_equal(poll(&fd, 1, 20000), 1);
}

/* What a program took before, and a later one of another owner, is not written
** to. */
static void what_was_given_back_is_nobodys (void **state) {
  (void)state;
  strand_notifier_close(&notifier);
  strand_notifier_check(&notifier);
  assert_int_equal(strand_notifier_fd(&notifier), -1);
  strand_notifier_renew(&notifier);
  strand_notifier_drain(&notifier);
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(it_is_readable_until_it_is_drained),
    spec(an_event_makes_it_readable),
    spec(an_event_too_many_drops_the_oldest),
    spec(it_is_not_readable_for_what_nobody_takes_now),
    spec(the_timer_makes_it_readable),
    spec(what_was_given_back_is_nobodys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
