/*
** shards_test.c - keys, and the table that finds their shards
*/
#include "engine_fixture.h"

/* {=== the ordering key ================================================== */

static char *put_header (char *at, const char *name, const char *value) {
  uint32_t length = (uint32_t)strlen(name);
  uint32_t size = value == NULL ? STRAND_HEADER_ABSENT
                                : (uint32_t)strlen(value);
  memcpy(at, &length, 4);
  memcpy(at + 4, &size, 4);
  memcpy(at + 8, name, length);
  if (value != NULL) memcpy(at + 8 + length, value, size);
  return at + 8 + length + (value == NULL ? 0 : size);
}

/* A record with header "id" of that value, "other" between, and "id" again.*/
static void poll_header (strand_engine *e, strand_partition *p, int64_t offset,
                         const char *first, const char *last, bool twice) {
  char headers[128], *at = put_header(headers, "id", first);
  strand_record *r;
  at = put_header(at, "other", "x");
  if (twice) at = put_header(at, "id", last);
  r = strand_engine_room(e, p, (size_t)(at - headers));
  r->offset = offset;
  r->key_length = r->value_length = 0;
  r->headers_length = (uint32_t)(at - headers);
  memcpy(r->bytes, headers, r->headers_length);
  assert_int_equal(strand_engine_admit(e, p, r, 0), STRAND_ADDED);
}

static void a_headers_last_value_orders (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l[3];
  (void)state;
  c.ordering_header = "id";
  e = open_with(c);
  p = assign(e, 0);
  poll_header(e, p, 0, "a", "b", true);
  poll_header(e, p, 1, "b", NULL, false); /* behind 0 */
  poll_header(e, p, 2, "a", NULL, false);
  poll_header(e, p, 3, "a", NULL, true); /* absent: no key */
  poll(e, p, 4, "a");                    /* no header: no key, behind 3 */
  l[0] = take_at(e, 0);
  l[1] = take_at(e, 2);
  l[2] = take_at(e, 3);
  nothing_starts(e);
  for (int i = 0; i < 3; i++) done(e, &l[i]);
  while (strand_engine_lease(e, 64, 0, &l[0])) done(e, &l[0]);
  assert_int_equal(committable(e, p), 5);
  strand_engine_free(e);
}

static void colliding_keys_stay_apart (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p;
  strand_lease l[26];
  (void)state;
  keys_collide = true;
  p = assign(e, 0);
  poll_all(e, p, "abcdefghijklmnopqrstuvwxyz");
  for (int64_t i = 0; i < 26; i++) l[i] = take_at(e, i);
  for (int64_t i = 0; i < 26; i++) done(e, &l[(i * 7) % 26]);
  assert_int_equal(stats(e).shards, 0);
  strand_engine_free(e);
}

#define TABLE_KEYS 1500

static struct {
  uint64_t seed;
  uint64_t hash[TABLE_KEYS];
  strand_shard *shard[TABLE_KEYS]; /* NULL: not in the table */
  size_t count;
} model;

static uint64_t pick (uint64_t below) {
  model.seed ^= model.seed << 13;
  model.seed ^= model.seed >> 7;
  model.seed ^= model.seed << 17;
  return (model.seed >> 11) % below;
}

/* Crowded at the table's end, so that probes go on at its begin; or at one
** place; or anywhere. */
static uint64_t crowded_hash (void) {
  switch (pick(3)) {
    case 0: return UINT64_MAX - pick(16);
    case 1: return pick(4) << 32 | pick(40);
    default: return pick(UINT64_MAX);
  }
}

static void check_key (const strand_partition *p, int i) {
  assert_ptr_equal(look_up(p, model.hash[i], (const char *)&i, sizeof(i)),
                   model.shard[i]);
}

static void toggle_key (strand_partition *p, int i) {
  if (model.shard[i] != NULL) {
    strand_shard_free(model.shard[i]);
    model.shard[i] = NULL;
    model.count--;
    return;
  }
  model.hash[i] = crowded_hash();
  model.shard[i] = new_keyed(p, model.hash[i], (const char *)&i, sizeof(i));
  assert_true(model.shard[i] != NULL || alloc_failed || alloc_none);
  model.count += model.shard[i] != NULL;
}

/* A table that cannot grow takes what it has room for; one that cannot shrink
** stays. */
static void change_table (strand_partition *p, bool fill, bool failing) {
  int i = (int)pick(TABLE_KEYS);
  if (fill != (model.shard[i] == NULL) && pick(16) > 0) return;
  if (failing && pick(3) == 0) fail_alloc(0);
  toggle_key(p, i);
  fail_alloc(-1);
  check_key(p, i);
  assert_int_equal(p->keys.count, model.count);
  assert_true(model.count < p->keys.size);
}

static void go_through_table (bool failing) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  memset(&model, 0, sizeof(model));
  model.seed = UINT64_C(0x9E3779B97F4A7C15);
  for (int step = 0; step < 60000; step++) {
    alloc_none = failing && step / 6000 == 2; /* until it is full */
    change_table(p, step / 6000 % 2 == 0, failing);
    if (step % 100 > 0) continue;
    for (int i = 0; i < TABLE_KEYS; i++) check_key(p, i);
  }
  for (int i = 0; i < TABLE_KEYS; i++) {
    if (model.shard[i] != NULL && i % 50 > 0) toggle_key(p, i);
  }
  for (int i = 0; i < TABLE_KEYS; i++) check_key(p, i);
  assert_true(p->keys.size <= TABLE_KEPT);
  strand_engine_free(e); /* with what is still in it */
}

static void the_table_has_what_was_put_in_and_not_taken_out (void **state) {
  (void)state;
  go_through_table(false);
  go_through_table(true);
}

/* CPU time of a record, in ns, with that many keys of a record each. */
static double cost_of (int64_t keys) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  clock_t begun = clock();
  int64_t offset = 0, rounds = 400000 / keys;
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  c.max_buffered_records = 1000000;
  e = open_with(c);
  p = assign(e, 0);
  for (int64_t r = 0; r < rounds; r++) {
    for (int64_t i = 0; i < keys; i++) {
      char key[32];
      snprintf(key, sizeof(key), "%d", (int)i);
      poll(e, p, offset++, key);
    }
    while (strand_engine_lease(e, 64, 0, &l)) {
      assert_int_equal(strand_engine_done(e, &l, l.count, 0), STRAND_OK);
    }
  }
  strand_engine_free(e);
  return (double)(clock() - begun) * 1e9 / CLOCKS_PER_SEC
         / (double)(rounds * keys);
}

static void many_keys_cost_no_more_than_few (void **state) {
  double few = cost_of(1000), many = cost_of(100000);
  (void)state;
  printf("figure engine_record_ns_1000_keys %.0f\n", few);
  printf("figure engine_record_ns_100000_keys %.0f\n", many);
  assert_true(many < few * 20); /* a scan would be 100 times as much */
}

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_headers_last_value_orders),
    cmocka_unit_test(colliding_keys_stay_apart),
    cmocka_unit_test(the_table_has_what_was_put_in_and_not_taken_out),
    cmocka_unit_test(many_keys_cost_no_more_than_few),
  };
  return cmocka_run_group_tests_name("shards", tests, NULL, NULL);
}
