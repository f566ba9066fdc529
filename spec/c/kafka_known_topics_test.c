/*
** kafka_known_topics_test.c - what workers find of topics, and what they ask
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"
#include "shared/known_topics.h"

static strand_known_topic *find (const strand_known_topics *topics,
                                 const char *name) {
  return strand_known_topics_find(topics, name, strlen(name));
}

static void nothing_is_known_of_one_too_many (void **state) {
  strand_known_topics topics = { .count = 0 };
  char name[32];
  (void)state;
  for (int i = 0; i < STRAND_KNOWN_TOPICS_MOST; i++) {
    snprintf(name, sizeof(name), "topic-%d", i);
    assert_non_null(strand_known_topics_add(&topics, name));
    assert_ptr_equal(strand_known_topics_add(&topics, name),
                     find(&topics, name));
  }
  assert_null(strand_known_topics_add(&topics, "another"));
  assert_null(find(&topics, "another"));
  assert_string_equal(find(&topics, "topic-7")->name, "topic-7");
  strand_known_topics_check(&topics);
  strand_known_topics_free(&topics);
}

static void a_number_that_is_not_known_takes_none_away (void **state) {
  strand_known_topics topics = { .count = 0 };
  strand_known_topic *t = strand_known_topics_add(&topics, "t");
  (void)state;
  assert_int_equal(strand_known_topic_partitions(t), 0);
  strand_known_topic_note(t, 3, 0);
  strand_known_topic_note(t, 0, 1000);
  assert_int_equal(strand_known_topic_partitions(t), 3);
  assert_int_equal(strand_known_topic_limit(t), 1000);
  strand_known_topics_check(&topics);
  strand_known_topics_free(&topics);
}

/* A broker that makes topics has none when it is asked first. */
static void a_topic_is_missing_when_it_has_been_for_a_while (void **state) {
  strand_known_topics topics = { .count = 0 };
  strand_known_topic *t = strand_known_topics_add(&topics, "t");
  int64_t now_us = strand_clock_us();
  (void)state;
  strand_known_topic_note_missing(t, true, now_us);
  assert_false(strand_known_topic_is_missing(t));
  strand_known_topic_note_missing(t, false, now_us + 1);
  strand_known_topic_note_missing(t, true, now_us); /* an older answer */
  assert_int_equal(atomic_load(&t->missing_us), 0);
  atomic_store(&t->answered_us, 0);
  strand_known_topic_note_missing(t, true, now_us - 10000000);
  strand_known_topic_note_missing(t, true, now_us);
  assert_true(strand_known_topic_is_missing(t));
  strand_known_topics_check(&topics);
  strand_known_topics_free(&topics);
}

static void what_is_asked_is_taken_once (void **state) {
  strand_known_topics topics = { .count = 0 };
  strand_known_topic *t = strand_known_topics_add(&topics, "t");
  (void)state;
  assert_false(strand_known_topics_take_asked(&topics));
  strand_known_topics_want(&topics, t, 8);
  strand_known_topics_want(&topics, t, 5);
  strand_known_topics_verify(&topics, t);
  assert_true(strand_known_topics_take_asked(&topics));
  assert_false(strand_known_topics_take_asked(&topics));
  assert_int_equal(strand_known_topic_take_wanted(t), 8);
  assert_int_equal(strand_known_topic_take_wanted(t), 0);
  assert_true(strand_known_topic_take_verify(t));
  assert_false(strand_known_topic_take_verify(t));
  strand_known_topics_check(&topics);
  strand_known_topics_free(&topics);
}

/* Two owners add the same ones, and find the same. */
#define OWNERS 2
#define SHARED 300

static struct {
  strand_known_topics topics;
  strand_known_topic *added[OWNERS][SHARED];
} race;

static void *add_all (void *arg) {
  size_t owner = (size_t)(uintptr_t)arg;
  char name[32];
  for (int i = 0; i < SHARED; i++) {
    snprintf(name, sizeof(name), "topic-%d", i);
    race.added[owner][i] = strand_known_topics_add(&race.topics, name);
  }
  return NULL;
}

static void owners_add_a_topic_once (void **state) {
  pthread_t owners[OWNERS];
  (void)state;
  for (size_t i = 0; i < OWNERS; i++)
    assert_true(strand_thread_start(&owners[i], add_all, (void *)i));
  for (size_t i = 0; i < OWNERS; i++) pthread_join(owners[i], NULL);
  for (int i = 0; i < SHARED; i++)
    assert_ptr_equal(race.added[0][i], race.added[1][i]);
  assert_int_equal(atomic_load(&race.topics.count), SHARED);
  strand_known_topics_check(&race.topics);
  strand_known_topics_free(&race.topics);
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(nothing_is_known_of_one_too_many),
    cmocka_unit_test(a_number_that_is_not_known_takes_none_away),
    cmocka_unit_test(a_topic_is_missing_when_it_has_been_for_a_while),
    cmocka_unit_test(what_is_asked_is_taken_once),
    cmocka_unit_test(owners_add_a_topic_once),
  };
  return cmocka_run_group_tests_name("known topics", tests, NULL, NULL);
}
