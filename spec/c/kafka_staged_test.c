/*
** kafka_staged_test.c - what crosses from a worker to its owner, and what is
** counted of it
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "shared/staged.h"

#define RECORDS 20000

typedef struct crossing {
  strand_staging staging;
  strand_staged_slot slot;
  _Atomic uint32_t done;
} crossing;

static strand_staged *fixture (strand_staging *staging, uint32_t index) {
  strand_staged *staged = NULL;
  strand_output *o = strand_staged_add(&staged, staging,
                                       &(strand_output){ .topic_length = 3 });
  assert_non_null(o);
  memcpy(o->bytes, "out", 4);
  staged->index = index;
  return staged;
}

/* Of every third record. */
static void *work (void *arg) {
  crossing *c = arg;
  for (uint32_t i = 0; i < RECORDS; i++) {
    if (i % 3 == 0) strand_staged_put(&c->slot, fixture(&c->staging, i));
    atomic_store_explicit(&c->done, i + 1, memory_order_release);
  }
  return NULL;
}

/* What a record produced is there when the record is said to be done, in the
** order of the records, whenever the owner looks. */
static void it_is_there_before_its_record_is_done (void **state) {
  crossing c = { .staging.limit = 1000 };
  strand_staged *taken = NULL;
  uint32_t next = 0, done;
  pthread_t worker;
  (void)state;
  assert_int_equal(pthread_create(&worker, NULL, work, &c), 0);
  do {
    done = atomic_load_explicit(&c.done, memory_order_acquire);
    strand_staged_take(&c.slot, &taken);
    for (; next < done; next += 3) {
      strand_staged *s = taken;
      assert_non_null(s);
      assert_int_equal(s->index, next);
      assert_string_equal(strand_output_topic(s->first), "out");
      taken = s->next;
      strand_staged_free(s);
    }
  } while (done < RECORDS);
  pthread_join(worker, NULL);
  assert_null(taken);
  assert_int_equal(strand_staging_counts(&c.staging).staged_bytes, 0);
}

/* Once for each time that it was full. */
static void who_empties_it_hears_of_it (void **state) {
  size_t size = strand_output_size(&(strand_output){ .topic_length = 3 });
  strand_staging staging = { .limit = 2 * size };
  strand_staged *s[3];
  (void)state;
  assert_false(strand_staging_is_full(&staging));
  for (uint32_t i = 0; i < 3; i++) s[i] = fixture(&staging, i);
  assert_true(strand_staging_is_full(&staging));
  assert_false(strand_staged_free(s[0]));
  assert_true(strand_staging_is_full(&staging));
  assert_true(strand_staged_free(s[1]));
  assert_false(strand_staging_is_full(&staging));
  assert_false(strand_staged_free(s[2]));
  assert_false(strand_staged_free(NULL));
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(it_is_there_before_its_record_is_done),
    cmocka_unit_test(who_empties_it_hears_of_it),
  };
  return cmocka_run_group_tests_name("staged", tests, NULL, NULL);
}
