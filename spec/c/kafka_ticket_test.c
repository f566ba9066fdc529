/*
** kafka_ticket_test.c - a ticket is freed once, by who is last: the lua thread
** that drops it, or the owner that answers
*/
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/ticket.h"

#define ROUNDS 2000
#define OWNERS 3

static strand_tickets tickets;

static int open_tickets (void **state) {
  (void)state;
  strand_tickets_init(&tickets);
  return 0;
}

static int close_tickets (void **state) {
  (void)state;
  assert_false(strand_tickets_waiting(&tickets));
  strand_tickets_free(&tickets);
  return 0;
}

static void it_is_done_when_all_have_answered (void **state) {
  const strand_failure first = { "FIRST", "" }, second = { "SECOND", "" };
  strand_ticket *t = strand_ticket_new(&tickets, 3);
  strand_failure failure;
  (void)state;
  assert_int_equal(strand_ticket_answer(t, &first), STRAND_ANSWER_OF_SOME);
  assert_int_equal(strand_ticket_answer(t, &second), STRAND_ANSWER_OF_SOME);
  assert_int_equal(strand_ticket_done(t, &failure), 0);
  assert_false(strand_tickets_waiting(&tickets));
  assert_int_equal(strand_ticket_answer(t, NULL), STRAND_ANSWER_WAITS);
  assert_true(strand_tickets_waiting(&tickets));
  assert_int_equal(strand_ticket_done(t, &failure), -1);
  assert_string_equal(failure.code, "FIRST");
  assert_true(strand_ticket_give_up(t));
  strand_ticket_free(t);
}

static void one_that_is_dropped_before_is_the_answers (void **state) {
  strand_ticket *t = strand_ticket_new(&tickets, 2);
  (void)state;
  assert_false(strand_ticket_is_given_up(t));
  assert_false(strand_ticket_give_up(t));
  assert_true(strand_ticket_is_given_up(t));
  assert_int_equal(strand_ticket_answer(t, NULL), STRAND_ANSWER_OF_SOME);
  assert_int_equal(strand_ticket_answer(t, NULL), STRAND_ANSWER_UNWANTED);
  strand_ticket_free(t);
}

static void *answer (void *ticket) {
  if (strand_ticket_answer(ticket, NULL) == STRAND_ANSWER_UNWANTED) {
    strand_ticket_free(ticket);
  }
  return NULL;
}

/* A sanitizer sees it when both free it, or neither. */
static void both_at_once_free_it_once (void **state) {
  (void)state;
  for (int i = 0; i < ROUNDS; i++) {
    strand_ticket *t = strand_ticket_new(&tickets, OWNERS);
    pthread_t owners[OWNERS];
    for (int k = 0; k < OWNERS; k++) {
      assert_int_equal(pthread_create(&owners[k], NULL, answer, t), 0);
    }
    if (strand_ticket_give_up(t)) strand_ticket_free(t);
    for (int k = 0; k < OWNERS; k++) pthread_join(owners[k], NULL);
    assert_false(strand_tickets_waiting(&tickets));
  }
}

#define spec(f) cmocka_unit_test_setup_teardown(f, open_tickets, close_tickets)

int main (void) {
  const struct CMUnitTest tests[] = {
    spec(it_is_done_when_all_have_answered),
    spec(one_that_is_dropped_before_is_the_answers),
    spec(both_at_once_free_it_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
