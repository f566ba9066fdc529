/*
** kafka_output_topics_test.c - which client is asked of the topics that a
** member's outputs go to
**
** Without a broker: what is asked is not answered.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "member/output_topics.h"

#include "../support/c11_threads.h"

static strand_consumer consumer;
static strand_owner owner;
static strand_waker waker;
static strand_outbox outbox;
static strand_output_topics topics;

static int open_all (void **state) {
  char errstr[256];
  (void)state;
  memset(&consumer, 0, sizeof(consumer));
  consumer.settings.dead_letters.produces = true;
  waker.fd = -1;
  owner = (strand_owner){ .consumer = &consumer };
  owner.client = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, errstr, sizeof(errstr));
  return owner.client != NULL ? 0 : -1;
}

/* As member/opening.c does. */
static void open_topics (strand_guarantee delivery) {
  consumer.settings.delivery = delivery;
  strand_outbox_init(&outbox, &owner, &waker);
  topics = (strand_output_topics){ .owner = &owner, .outbox = &outbox };
  strand_output_topics_open(&topics, &waker);
  strand_output_topics_check(&topics);
}

/* As a member does that ends: the calls go first, the places last. */
static int close_all (void **state) {
  (void)state;
  strand_calls_free(strand_output_topics_leave(&topics));
  strand_output_topics_check(&topics);
  rd_kafka_destroy(owner.client);
  strand_output_topics_free(&topics);
  strand_outbox_free(&outbox);
  strand_known_topics_free(&consumer.staging.topics);
  return 0;
}

static void use (const char *name) {
  strand_output_topics_use(&topics, name);
  strand_output_topics_check(&topics);
}

static void its_own_client_is_asked_exactly_once (void **state) {
  (void)state;
  open_topics(STRAND_EXACTLY_ONCE);
  assert_non_null(topics.calls);
  use("out");
  assert_non_null(strand_calls_topics(topics.calls));
  assert_non_null(topics.placement.first);
}

/* The outbox has one: here none yet. */
static void its_own_client_is_not_asked_otherwise (void **state) {
  (void)state;
  open_topics(STRAND_AT_LEAST_ONCE);
  use("out");
  assert_null(topics.calls);
  assert_null(topics.placement.first);
  open_topics(STRAND_AT_MOST_ONCE);
  assert_null(topics.calls);
}

static void without_outputs_nothing_is_asked (void **state) {
  (void)state;
  consumer.settings.dead_letters.produces = false;
  open_topics(STRAND_EXACTLY_ONCE);
  assert_null(topics.calls);
  use("out");
  assert_null(topics.placement.first);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)

int main (void) {
  const struct CMUnitTest tests[] = {
    TEST(its_own_client_is_asked_exactly_once),
    TEST(its_own_client_is_not_asked_otherwise),
    TEST(without_outputs_nothing_is_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
