/*
** engine_test.c - what the engine promises, one claim for each function
**
** Orders that nobody thought of are the simulator's (spec/sim). The engine's
** files are compiled into this test, so that memory can run out anywhere and
** keys can be made to collide.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "failing_alloc.h"

#include "core/offsets.h"
#include "core/siphash.h"
#include "core/state.h"

/* What the tracker needs memory for fails like an allocation. */
#define failing(call) (alloc_fails() ? STRAND_ENOMEM : call)
#define strand_offsets_add(t, offset)                                         \
  (alloc_fails() ? STRAND_ADDED_ENOMEM : (strand_offsets_add)(t, offset))
#define strand_offsets_restore(t, p) failing((strand_offsets_restore)(t, p))
#define strand_offsets_start(t, offset, limit)                                \
  failing((strand_offsets_start)(t, offset, limit))
#define strand_offsets_finish(t, offset)                                      \
  failing((strand_offsets_finish)(t, offset))
#define strand_offsets_unstart(t, offset)                                     \
  failing((strand_offsets_unstart)(t, offset))

static bool keys_collide;
#define strand_siphash(seed, data, length)                                    \
  (keys_collide ? 7 : (strand_siphash)(seed, data, length))

#include "core/engine.c"
#include "core/shards.c"
#include "core/budget.c"
#include "core/chunks.c"
#include "core/dispatch.c"
#include "core/partition.c"
#include "core/revoke.c"
#include "core/outcome.c"
#include "core/gate.c"
#include "core/aside.c"
#include "core/plan.c"
#include "core/retry.c"

#define SECOND INT64_C(1000000)
#define MIB ((size_t)1 << 20)
#define HELD_MAX 16

/* {=== helpers ============================================================ */

static const strand_route_limits route = {
  .policy = { 100000, 1000000, 2, 0, 0, STRAND_VERDICT_PARK }
};

static struct {
  int notices[STRAND_NOTICE_WRITABLE + 1]; /* by type */
  strand_notice last;
  char reason[256];
  int64_t record;
  strand_held held[HELD_MAX];
  char keys[HELD_MAX][64];
  int held_count;
  int visited;
  int letters;
  strand_record *letter; /* the last */
} heard;

static void on_notice (void *arg, const strand_notice *n) {
  size_t length = n->reason_length < 255 ? n->reason_length : 255;
  (void)arg;
  heard.notices[n->type]++;
  heard.last = *n;
  heard.record = n->record == NULL ? -1 : n->record->offset;
  if (length > 0) memcpy(heard.reason, n->reason, length);
  heard.reason[length] = '\0';
}

static void keep_held (const strand_held *held) {
  strand_held *to = &heard.held[heard.held_count];
  assert_true(heard.held_count < HELD_MAX);
  *to = *held;
  to->topic = "t";
  if (held->key_length > 0) {
    memcpy(heard.keys[heard.held_count], held->key, held->key_length);
  }
  to->key = heard.keys[heard.held_count++];
}

static void on_release (void *arg, const strand_held *held) {
  (void)arg;
  keep_held(held);
}

static void on_visit (void *arg, const strand_held *held) {
  (void)arg;
  heard.visited++;
  keep_held(held);
}

static bool on_letter (void *arg, strand_partition *p, strand_record *r) {
  (void)arg;
  assert_ptr_equal(strand_record_partition(r), p);
  if (alloc_fails()) return false;
  heard.letters++;
  heard.letter = r;
  return true;
}

static strand_engine_config plain (strand_ordering ordering) {
  return (strand_engine_config){ .ordering = ordering,
                                 .max_metadata = 4096,
                                 .max_buffered_records = 100000,
                                 .max_buffered_bytes = 64 * MIB,
                                 .max_waiting_records = 100000,
                                 .max_waiting_bytes = 64 * MIB,
                                 .commit_interval_us = 5 * SECOND,
                                 .routes = &route,
                                 .route_count = 1,
                                 .seed = { 1, 2 },
                                 .notice = on_notice,
                                 .release = on_release };
}

static strand_engine *open_with (strand_engine_config config) {
  memset(&heard, 0, sizeof(heard));
  keys_collide = false;
  return strand_engine_new(&config);
}

static strand_engine *open_by (strand_ordering ordering) {
  return open_with(plain(ordering));
}

static strand_partition *assign_held (strand_engine *e, int32_t index,
                                      uint32_t epoch, const strand_held *held,
                                      size_t count) {
  strand_partition *p = strand_engine_assign(e, "t", index, epoch, 0, held,
                                             count);
  assert_non_null(p);
  assert_int_equal(strand_engine_restored(e, p, 0, NULL), STRAND_OK);
  return p;
}

static strand_partition *assign (strand_engine *e, int32_t index) {
  return assign_held(e, index, 1, NULL, 0);
}

static void revoke (strand_engine *e, strand_partition *p) {
  heard.held_count = heard.visited = 0;
  strand_engine_revoke(e, p, on_visit, NULL);
}

/* 'key' NULL: no key. */
static strand_added poll_sized (strand_engine *e, strand_partition *p,
                                int64_t offset, const char *key,
                                size_t value) {
  size_t length = key == NULL ? 0 : strlen(key);
  strand_record *r = strand_engine_room(e, p, length + value);
  if (r == NULL) return STRAND_ADDED_ENOMEM;
  r->flags |= key == NULL ? STRAND_RECORD_VALUE
                          : STRAND_RECORD_VALUE | STRAND_RECORD_KEY;
  r->offset = offset;
  r->key_length = (uint32_t)length;
  r->value_length = (uint32_t)value;
  r->headers_length = 0;
  if (length > 0) memcpy(r->bytes, key, length);
  memset(r->bytes + length, 'v', value);
  return strand_engine_admit(e, p, r, 0);
}

static strand_added poll (strand_engine *e, strand_partition *p,
                          int64_t offset, const char *key) {
  return poll_sized(e, p, offset, key, 10);
}

/* One record for each letter from offset 0 on: its key; '-' has none. */
static void poll_all (strand_engine *e, strand_partition *p,
                      const char *keys) {
  for (int i = 0; keys[i] != '\0'; i++) {
    char key[2] = { keys[i], '\0' };
    assert_int_equal(poll(e, p, i, keys[i] == '-' ? NULL : key), STRAND_ADDED);
  }
}

static strand_lease lease_of (strand_engine *e, size_t most) {
  strand_lease l;
  strand_engine_check(e);
  assert_true(strand_engine_lease(e, most, 0, &l));
  strand_engine_check(e);
  return l;
}

/* The next lease of one record has this offset. */
static strand_lease take_at (strand_engine *e, int64_t offset) {
  strand_lease l = lease_of(e, 1);
  assert_int_equal(l.record->offset, offset);
  return l;
}

static void nothing_starts (strand_engine *e) {
  strand_lease l;
  assert_false(strand_engine_lease(e, 64, 0, &l));
  strand_engine_check(e);
}

static void done_at (strand_engine *e, strand_lease *l, int64_t now) {
  assert_int_equal(strand_engine_done(e, l, l->count, now), STRAND_OK);
  strand_engine_check(e);
}

static void done (strand_engine *e, strand_lease *l) {
  done_at(e, l, 0);
}

static strand_err ended (strand_engine *e, strand_lease *l,
                         strand_verdict_kind kind, int64_t delay,
                         int64_t now) {
  strand_ending ending = { kind, delay, "no", 2 };
  return strand_engine_end(e, l, &ending, now);
}

static void fail_at (strand_engine *e, strand_lease *l, int64_t delay,
                     int64_t now) {
  assert_int_equal(ended(e, l, STRAND_VERDICT_FAILED, delay, now), STRAND_OK);
  strand_engine_check(e);
}

static void back (strand_engine *e, strand_lease *l) {
  assert_int_equal(strand_engine_give_back(e, l), STRAND_OK);
  strand_engine_check(e);
}

static int64_t committable (strand_engine *e, strand_partition *p) {
  strand_partition_stats s;
  strand_partition_stats_read(e, p, 0, &s);
  return s.committable;
}

static int64_t committed (strand_engine *e, strand_partition *p) {
  strand_partition_stats s;
  strand_partition_stats_read(e, p, 0, &s);
  return s.committed;
}

static strand_engine_stats stats (strand_engine *e) {
  strand_engine_stats s;
  strand_engine_stats_read(e, &s);
  return s;
}

static void answer (strand_engine *e, strand_commit *c, strand_answer a,
                    int64_t now) {
  assert_non_null(c);
  strand_engine_commit_answer(e, c, a, now);
  strand_engine_check(e);
}

/* }{=== the order of records ============================================== */

static void records_of_a_key_follow_each_other (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll_all(e, p, "aaa");
  for (int64_t i = 0; i < 3; i++) {
    a = take_at(e, i);
    nothing_starts(e);
    done(e, &a);
  }
  assert_int_equal(committable(e, p), 3);
  strand_engine_free(e);
}

static void keys_run_side_by_side (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a, b, c;
  (void)state;
  poll_all(e, p, "abac");
  a = take_at(e, 0);
  b = take_at(e, 1);
  c = take_at(e, 3);
  nothing_starts(e);
  done(e, &c);
  done(e, &b);
  assert_int_equal(committable(e, p), 0);
  done(e, &a);
  assert_int_equal(committable(e, p), 2);
  a = take_at(e, 2);
  done(e, &a);
  assert_int_equal(committable(e, p), 4);
  strand_engine_free(e);
}

static void a_failed_record_keeps_its_place (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a, b;
  (void)state;
  poll_all(e, p, "aab");
  a = take_at(e, 0);
  fail_at(e, &a, 500, 0);
  b = take_at(e, 2); /* only its own shard waits */
  nothing_starts(e);
  assert_int_equal(poll(e, p, 3, "a"), STRAND_ADDED);
  nothing_starts(e);
  done(e, &b);
  strand_engine_tick(e, 500);
  for (int64_t i = 0; i < 4; i++) {
    if (i == 2) continue;
    a = take_at(e, i);
    assert_int_equal(a.record->attempt, i == 0 ? 2 : 1);
    done(e, &a);
  }
  assert_int_equal(stats(e).waiting_records, 0);
  strand_engine_free(e);
}

static void a_lease_holds_records_that_follow_each_other (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  for (int64_t i = 0; i < 200; i++) poll(e, p, i, i % 2 == 0 ? "a" : "b");
  a = lease_of(e, 1000);
  assert_int_equal(a.count, STRAND_LEASE_RECORDS);
  for (int64_t i = 0; i < a.count; i++, a.record = a.record->behind) {
    assert_int_equal(a.record->offset, i * 2);
  }
  a.record = a.shard->head;
  assert_int_equal(strand_engine_done(e, &a, 3, 0), STRAND_OK);
  assert_int_equal(a.count, STRAND_LEASE_RECORDS - 3);
  assert_int_equal(a.record->offset, 6);
  done(e, &a);
  a = lease_of(e, 2);
  assert_int_equal(a.count, 2);
  assert_int_equal(a.record->offset, 1);
  done(e, &a);
  strand_engine_free(e);
}

static void a_lease_ends_at_its_span (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll(e, p, 0, "a");
  poll(e, p, STRAND_LEASE_SPAN - 1, "a");
  poll(e, p, STRAND_LEASE_SPAN, "a");
  a = lease_of(e, 64);
  assert_int_equal(a.count, 2);
  done(e, &a);
  strand_engine_free(e);
}

static void a_retried_record_comes_alone (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll_all(e, p, "aaa");
  a = lease_of(e, 64);
  assert_int_equal(a.count, 3);
  fail_at(e, &a, 0, 0);
  strand_engine_tick(e, 0);
  a = lease_of(e, 64);
  assert_int_equal(a.count, 1);
  done(e, &a);
  a = lease_of(e, 64);
  assert_int_equal(a.count, 2);
  done(e, &a);
  strand_engine_free(e);
}

static void what_is_given_back_keeps_its_order (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll_all(e, p, "aaaab");
  a = lease_of(e, 64);
  assert_int_equal(strand_engine_done(e, &a, 1, 0), STRAND_OK);
  back(e, &a);
  a = lease_of(e, 64); /* and its turn */
  assert_int_equal(a.record->offset, 1);
  assert_int_equal(a.record->attempt, 1);
  assert_int_equal(a.count, 3);
  done(e, &a);
  strand_engine_free(e);
}

static void a_partition_runs_one_at_a_time (void **state) {
  strand_engine *e = open_by(STRAND_BY_PARTITION);
  strand_partition *p = assign(e, 0), *q = assign(e, 1);
  strand_lease a, b;
  (void)state;
  poll_all(e, p, "ab-c");
  poll_all(e, q, "ab-c");
  for (int64_t i = 0; i < 4; i++) {
    a = take_at(e, i);
    b = take_at(e, i);
    assert_true(a.partition != b.partition);
    nothing_starts(e);
    done(e, &a);
    done(e, &b);
  }
  strand_engine_free(e);
}

static void without_an_order_all_run_at_once (void **state) {
  strand_engine *e = open_by(STRAND_UNORDERED);
  strand_partition *p = assign(e, 0);
  strand_lease l[4];
  (void)state;
  poll_all(e, p, "aaaa");
  for (int64_t i = 0; i < 4; i++) l[i] = take_at(e, i);
  fail_at(e, &l[1], 0, 0);
  back(e, &l[2]);
  back(e, &l[0]);
  strand_engine_tick(e, 0);
  for (int64_t i = 0; i < 3; i++) l[i] = take_at(e, i);
  for (int64_t i = 3; i >= 0; i--) done(e, &l[i]);
  assert_int_equal(committable(e, p), 4);
  strand_engine_free(e);
}

static void an_empty_key_is_a_key_and_none_is_a_shard (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a, b;
  (void)state;
  poll(e, p, 0, "");
  poll(e, p, 1, NULL);
  poll(e, p, 2, "");
  poll(e, p, 3, NULL);
  a = take_at(e, 0);
  b = take_at(e, 1);
  nothing_starts(e);
  done(e, &a);
  done(e, &b);
  a = take_at(e, 2);
  b = take_at(e, 3);
  done(e, &a);
  done(e, &b);
  strand_engine_free(e);
}

static void null_keys_may_be_unordered (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l[3];
  (void)state;
  c.null_key_unordered = true;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "---");
  for (int64_t i = 0; i < 3; i++) l[i] = take_at(e, i);
  for (int64_t i = 0; i < 3; i++) done(e, &l[i]);
  strand_engine_free(e);
}

static void null_keys_and_keys_take_turns (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  int nulls = 0;
  (void)state;
  c.null_key_unordered = true;
  e = open_with(c);
  p = assign(e, 0);
  for (int64_t i = 0; i < 100; i++) {
    char key[8];
    snprintf(key, sizeof(key), "%d", (int)i);
    poll(e, p, i, i < 50 ? NULL : key);
  }
  for (int i = 0; i < 40; i++) {
    l = lease_of(e, 1);
    nulls += !(l.record->flags & STRAND_RECORD_KEY);
    done(e, &l);
  }
  assert_in_range(nulls, 15, 25);
  while (strand_engine_lease(e, 64, 0, &l)) done(e, &l);
  strand_engine_free(e);
}

/* }{=== the ordering key ================================================== */

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

/* }{=== epochs ============================================================ */

/* The same shard, while its handler of the epoch before still runs. */
static void stays_held (strand_ordering ordering, bool null_unordered,
                        const char *keys, strand_held_kind kind) {
  strand_engine_config c = plain(ordering);
  strand_engine *e;
  strand_partition *p;
  strand_lease old, l;
  strand_held held;
  c.null_key_unordered = null_unordered;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, keys);
  old = take_at(e, 0);
  revoke(e, p);
  assert_int_equal(heard.visited, 1);
  assert_int_equal(heard.held[0].kind, kind);
  held = heard.held[0];
  for (uint32_t epoch = 2; epoch <= 3; epoch++) { /* it comes back, twice */
    p = assign_held(e, 0, epoch, &held, 1);
    poll_all(e, p, keys);
    nothing_starts(e);
    if (epoch == 2) strand_engine_revoke(e, p, on_visit, NULL);
  }
  assert_int_equal(heard.visited, 1);
  heard.held_count = 0;
  done(e, &old);
  assert_int_equal(heard.held_count, 1);
  assert_int_equal(heard.held[0].kind, kind);
  assert_int_equal(committable(e, p), 0); /* the old epoch says nothing */
  strand_engine_release(e, &heard.held[0]);
  l = take_at(e, 0);
  done(e, &l);
  assert_int_equal(committable(e, p), 1);
  strand_engine_free(e);
}

static void a_key_stays_held_across_epochs (void **state) {
  (void)state;
  stays_held(STRAND_BY_KEY, false, "a", STRAND_HELD_KEY);
}

static void null_keys_stay_held_across_epochs (void **state) {
  (void)state;
  stays_held(STRAND_BY_KEY, false, "-", STRAND_HELD_NULL);
}

static void a_partition_stays_held_across_epochs (void **state) {
  (void)state;
  stays_held(STRAND_BY_PARTITION, false, "a", STRAND_HELD_PARTITION);
}

static void a_record_stays_held_across_epochs (void **state) {
  (void)state;
  stays_held(STRAND_UNORDERED, false, "a", STRAND_HELD_RECORD);
  stays_held(STRAND_BY_KEY, true, "-", STRAND_HELD_RECORD);
}

static void only_the_held_key_waits (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease old, l;
  strand_held held;
  (void)state;
  poll_all(e, p, "aab");
  old = take_at(e, 0);
  revoke(e, p);
  held = heard.held[0];
  p = assign_held(e, 0, 2, &held, 1);
  poll_all(e, p, "aab");
  l = take_at(e, 2);
  done(e, &l);
  nothing_starts(e);
  heard.held[0].key = "b"; /* another key's release changes nothing */
  strand_engine_release(e, &heard.held[0]);
  nothing_starts(e);
  done(e, &old);
  strand_engine_release(e, &held);
  strand_engine_release(e, &held);
  l = take_at(e, 0);
  done(e, &l);
  strand_engine_free(e);
}

static void a_stale_outcome_counts_for_nothing (void **state) {
  (void)state;
  for (int how = 0; how < 3; how++) {
    strand_engine *e = open_by(STRAND_BY_KEY);
    strand_partition *p = assign(e, 0);
    strand_lease old, l;
    poll_all(e, p, "aaa");
    old = lease_of(e, 3);
    revoke(e, p);
    assert_int_equal(stats(e).stale, 3);
    p = assign_held(e, 0, 2, NULL, 0); /* as if it were another shard */
    poll_all(e, p, "aaa");
    l = lease_of(e, 3);
    heard.held_count = 0;
    if (how == 0) done(e, &old);
    else if (how == 1) back(e, &old);
    else fail_at(e, &old, 0, 0);
    assert_int_equal(heard.held_count, 1);
    assert_int_equal(committable(e, p), 0);
    assert_int_equal(stats(e).done + stats(e).failed, 0);
    assert_int_equal(stats(e).stale_dropped, 3);
    assert_int_equal(stats(e).retries, 0);
    done(e, &l);
    assert_int_equal(committable(e, p), 3);
    strand_engine_free(e);
  }
}

static void a_stale_lease_is_released_by_its_last_record (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease old;
  (void)state;
  poll_all(e, p, "aaa");
  old = lease_of(e, 3);
  revoke(e, p);
  heard.held_count = 0;
  assert_int_equal(strand_engine_done(e, &old, 2, 0), STRAND_OK);
  assert_int_equal(heard.held_count, 0);
  assert_int_equal(strand_engine_done(e, &old, 1, 0), STRAND_OK);
  assert_int_equal(heard.held_count, 1);
  strand_engine_free(e);
}

static void what_is_revoked_leaves_nothing (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aabbcc-");
  l = take_at(e, 0);
  fail_at(e, &l, 100, 0);
  revoke(e, p);
  assert_int_equal(heard.visited, 0);
  assert_true(strand_engine_tick(e, 1000) == INT64_MAX);
  assert_int_equal(stats(e).shards, 0);
  assert_int_equal(stats(e).buffered_bytes + stats(e).waiting_bytes, 0);
  p = strand_engine_assign(e, "t", 0, 2, 0, NULL, 0);
  assert_false(strand_engine_may_read(e, p)); /* restoring */
  strand_engine_revoking(e, p);
  revoke(e, p); /* assigned, then quickly revoked */
  strand_engine_free(e);
}

static void while_revoking_only_what_runs_goes_on (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0), *kept = assign(e, 1);
  strand_lease a, b;
  strand_commit *c;
  (void)state;
  poll_all(e, p, "ab");
  a = take_at(e, 0);
  strand_engine_revoking(e, p);
  assert_false(strand_engine_may_read(e, p));
  assert_true(strand_engine_may_read(e, kept));
  nothing_starts(e);
  poll_all(e, kept, "a");
  b = take_at(e, 0);
  assert_ptr_equal(b.partition, kept);
  done(e, &b);
  done(e, &a);
  nothing_starts(e);
  c = strand_engine_commit(e, 0, p);
  assert_int_equal(c->count, 1);
  assert_int_equal(c->items[0].offset, 1);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p), 1);
  strand_engine_free(e);
}

static void a_paused_partition_starts_nothing_and_commits (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease a;
  (void)state;
  poll_all(e, p, "ab");
  a = take_at(e, 0);
  strand_engine_pause(e, p, true);
  strand_engine_pause(e, p, true);
  assert_false(strand_engine_may_read(e, p));
  nothing_starts(e);
  done(e, &a);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p), 1);
  nothing_starts(e);
  strand_engine_pause(e, p, false);
  assert_true(strand_engine_may_read(e, p));
  a = take_at(e, 1);
  done(e, &a);
  strand_engine_free(e);
}

/* }{=== fairness and budgets ============================================== */

/* Reads as an owner does, from partitions that always have more. */
static void fill (strand_engine *e, strand_partition **p, int64_t *next,
                  int count) {
  for (int i = 0; i < count; i++) {
    if (!strand_engine_may_read(e, p[i])) continue;
    size_t n = strand_engine_read_limit(e, p[i], 1000);
    for (; n > 0; n--) {
      char key[16];
      snprintf(key, sizeof(key), "%d", (int)(next[i] % 50));
      assert_int_equal(poll(e, p[i], next[i]++, key), STRAND_ADDED);
    }
  }
}

static void no_partition_starves_with (strand_ordering ordering,
                                       size_t records, size_t bytes) {
  strand_engine_config c = plain(ordering);
  strand_engine *e;
  strand_partition *p[11];
  int64_t next[11] = { 0 }, least = INT64_MAX, most = 0;
  c.max_buffered_records = records;
  c.max_buffered_bytes = bytes;
  e = open_with(c);
  for (int i = 0; i < 11; i++) p[i] = assign(e, i);
  for (int round = 0; round < 3000; round++) {
    strand_lease l[4];
    int n = 0;
    fill(e, p, next, 11);
    assert_true(stats(e).buffered_records <= records + 11);
    while (n < 4 && strand_engine_lease(e, 3, 0, &l[n])) n++;
    assert_true(n > 0);
    while (n > 0) done(e, &l[--n]);
  }
  for (int i = 0; i < 11; i++) {
    int64_t ended = (int64_t)p[i]->done;
    if (ended < least) least = ended;
    if (ended > most) most = ended;
  }
  assert_true(least > 0);
  assert_true(most <= least * 2);
  strand_engine_free(e);
}

static void eleven_partitions_share_a_small_buffer (void **state) {
  (void)state;
  no_partition_starves_with(STRAND_BY_KEY, 1, 64 * MIB);
  no_partition_starves_with(STRAND_BY_KEY, 22, 64 * MIB);
  no_partition_starves_with(STRAND_BY_KEY, 1000, 64 * MIB);
  no_partition_starves_with(STRAND_BY_KEY, 1000, 5000);
  no_partition_starves_with(STRAND_BY_PARTITION, 22, 64 * MIB);
  no_partition_starves_with(STRAND_UNORDERED, 22, 64 * MIB);
}

/* parallel-consumer.md 6.4, 27. */
static void partitions_are_leased_in_turn (void **state) {
  strand_engine *e = open_by(STRAND_BY_PARTITION);
  strand_lease l[3];
  (void)state;
  for (int i = 0; i < 3; i++) poll_all(e, assign(e, i), "aaa");
  for (int i = 0; i < 3; i++) l[i] = take_at(e, 0);
  assert_true(l[0].partition != l[1].partition
              && l[1].partition != l[2].partition
              && l[0].partition != l[2].partition);
  nothing_starts(e);
  for (int i = 0; i < 3; i++) done(e, &l[i]);
  strand_engine_free(e);
}

static void shards_are_leased_in_turn (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aaaaaab");
  l = lease_of(e, 2);
  done(e, &l);
  l = lease_of(e, 2);
  assert_int_equal(l.record->offset, 6);
  done(e, &l);
  strand_engine_free(e);
}

static void a_quiet_partition_lends_its_share (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *busy, *calm;
  int64_t next = 0;
  (void)state;
  c.max_buffered_records = 100;
  e = open_with(c);
  busy = assign(e, 0);
  calm = assign(e, 1);
  while (strand_engine_may_read(e, busy)) poll(e, busy, next++, "a");
  assert_int_equal(next, 50);
  strand_engine_quiet(e, calm, true);
  while (strand_engine_may_read(e, busy)) poll(e, busy, next++, "a");
  assert_int_equal(next, 100);
  assert_true(strand_engine_may_read(e, calm)); /* it holds nothing */
  assert_int_equal(strand_engine_read_limit(e, calm, 10), 1);
  strand_engine_quiet(e, calm, false);
  while (next > 40) {
    strand_lease l;
    assert_true(strand_engine_lease(e, 10, 0, &l));
    next -= l.count;
    done(e, &l);
  }
  assert_int_equal(strand_engine_read_limit(e, calm, 100), 50);
  assert_int_equal(strand_engine_read_limit(e, busy, 100), 10);
  strand_engine_free(e);
}

static void an_empty_partition_may_take_a_large_record (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p, *q;
  strand_lease l;
  (void)state;
  c.max_buffered_bytes = 100000;
  e = open_with(c);
  p = assign(e, 0);
  q = assign(e, 1);
  assert_int_equal(poll_sized(e, p, 0, "a", 10 * MIB), STRAND_ADDED);
  assert_false(strand_engine_may_read(e, p));
  assert_true(strand_engine_may_read(e, q));
  assert_int_equal(poll_sized(e, q, 0, "a", 10 * MIB), STRAND_ADDED);
  assert_false(strand_engine_may_read(e, q));
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  assert_int_equal(stats(e).buffered_bytes, 0);
  assert_true(strand_engine_may_read(e, p));
  strand_engine_free(e);
}

static void a_full_waiting_share_closes_its_partition_only (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p, *q;
  strand_lease l;
  int64_t next = 0;
  (void)state;
  c.max_waiting_records = 20;
  e = open_with(c);
  p = assign(e, 0);
  q = assign(e, 1);
  poll(e, p, next++, "a");
  l = take_at(e, 0);
  fail_at(e, &l, 5 * SECOND, 0);
  while (next < 99 && strand_engine_may_read(e, p)) poll(e, p, next++, "a");
  assert_int_equal(next, 10);
  assert_true(strand_engine_may_read(e, q));
  strand_engine_look(e, SECOND);
  assert_int_equal(heard.notices[STRAND_NOTICE_BLOCKED], 0);
  strand_engine_look(e, 2 * SECOND);
  strand_engine_look(e, 3 * SECOND);
  assert_int_equal(heard.notices[STRAND_NOTICE_BLOCKED], 1);
  assert_string_equal(heard.reason, "waiting");
  assert_int_equal(heard.record, 0);
  strand_engine_tick(e, 5 * SECOND);
  while (strand_engine_lease(e, 64, 0, &l)) done(e, &l);
  assert_true(strand_engine_may_read(e, p));
  strand_engine_look(e, 6 * SECOND);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNBLOCKED], 1);
  assert_int_equal(stats(e).waiting_records + stats(e).waiting_bytes, 0);
  strand_engine_free(e);
}

static void what_is_set_aside_pins_no_chunk (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  int64_t next = 2;
  (void)state;
  poll(e, p, 0, "bad");
  poll(e, p, 1, "bad");
  while (stats(e).buffered_bytes < 3 * STRAND_CHUNK_MAX) {
    poll_sized(e, p, next++, "good", 1000);
  }
  l = lease_of(e, 64);
  fail_at(e, &l, SECOND, 0);
  while (strand_engine_lease(e, 64, 0, &l)) done(e, &l);
  assert_int_equal(stats(e).waiting_records, 2);
  assert_int_equal(stats(e).buffered_records, 0);
  assert_true(stats(e).buffered_bytes <= STRAND_CHUNK_MAX + 64);
  strand_engine_free(e);
}

static void without_intake_nothing_is_read (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "ab");
  strand_engine_stop_intake(e);
  assert_false(strand_engine_may_read(e, p));
  for (int64_t i = 0; i < 2; i++) {
    l = take_at(e, i);
    done(e, &l);
  }
  assert_false(strand_engine_may_read(e, p));
  strand_engine_free(e);
}

/* }{=== a full payload ==================================================== */

/* Of every two keys one stays unfinished, until nothing more may start. */
static int64_t fill_payload (strand_engine *e, strand_partition *p,
                             strand_lease *kept, int *kept_count) {
  int64_t next = 0;
  *kept_count = 0;
  for (;; next++) {
    strand_lease l;
    char key[16];
    snprintf(key, sizeof(key), "%d", (int)next);
    poll(e, p, next, key);
    if (!strand_engine_lease(e, 1, 0, &l)) return next;
    if (next % 2 == 0) kept[(*kept_count)++] = l;
    else assert_int_equal(strand_engine_done(e, &l, 1, 0), STRAND_OK);
  }
}

static strand_lease kept[4000];

static void a_full_payload_stops_its_partition_only (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p, *q;
  strand_lease l;
  int count;
  (void)state;
  c.max_metadata = 200;
  e = open_with(c);
  p = assign(e, 0);
  fill_payload(e, p, kept, &count);
  nothing_starts(e);
  q = assign(e, 1);
  poll_all(e, q, "a");
  l = take_at(e, 0);
  assert_ptr_equal(l.partition, q);
  done(e, &l);
  strand_engine_look(e, SECOND);
  nothing_starts(e);
  strand_engine_look(e, 3 * SECOND);
  assert_string_equal(heard.reason, "metadata");
  done(e, &kept[0]); /* the lowest: now the payload is shorter */
  l = lease_of(e, 1);
  for (int i = 1; i < count; i++) done(e, &kept[i]);
  done(e, &l);
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 0);
  strand_engine_free(e);
}

/* Found by the benchmark of poison: each attempt of a low record looked like
** progress, so that an event was never told. */
static void what_fails_again_unblocks_no_full_partition (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  int count;
  (void)state;
  c.max_metadata = 200;
  e = open_with(c);
  fill_payload(e, assign(e, 0), kept, &count);
  for (int i = 0; i < count; i++) fail_at(e, &kept[i], SECOND / 4, 0);
  for (int64_t now = SECOND; heard.notices[STRAND_NOTICE_BLOCKED] == 0;
       now += SECOND / 4) {
    assert_true(now <= 3 * SECOND);
    strand_engine_tick(e, now);
    assert_true(strand_engine_lease(e, 1, now, &l));
    fail_at(e, &l, SECOND / 4, now);
    strand_engine_look(e, now);
  }
  assert_string_equal(heard.reason, "metadata");
  assert_int_equal(heard.record, 0);
  c.max_metadata = 4096;
  strand_engine_configure(e, &c);
  while (strand_engine_lease(e, 1, 4 * SECOND, &l)) done(e, &l);
  strand_engine_look(e, 4 * SECOND);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNBLOCKED], 1);
  while (strand_engine_tick(e, 5 * SECOND) <= 5 * SECOND) {
  }
  while (strand_engine_lease(e, 1, 5 * SECOND, &l)) done(e, &l);
  assert_int_equal(stats(e).buffered_records, 0);
  strand_engine_free(e);
}

static void a_higher_limit_lets_a_full_partition_go_on (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  int count;
  (void)state;
  c.max_metadata = 200;
  e = open_with(c);
  fill_payload(e, assign(e, 0), kept, &count);
  nothing_starts(e);
  c.max_metadata = 4096;
  strand_engine_configure(e, &c);
  l = lease_of(e, 1);
  done(e, &l);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

/* Found by reading: only the end of a held shard could let it go on. */
static void a_release_lets_a_full_partition_go_on (void **state) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease old, l;
  strand_held held;
  (void)state;
  c.max_metadata = 0;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "a");
  old = take_at(e, 0);
  revoke(e, p);
  held = heard.held[0];
  p = assign_held(e, 0, 2, &held, 1);
  poll_all(e, p, "ab");
  nothing_starts(e); /* b is not the lowest */
  done(e, &old);
  strand_engine_release(e, &held);
  for (int64_t i = 0; i < 2; i++) {
    l = take_at(e, i);
    done(e, &l);
  }
  strand_engine_free(e);
}

/* }{=== commits =========================================================== */

static void a_plan_is_made_by_value (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l[3];
  strand_commit *c;
  strand_payload payload;
  const char *problem;
  (void)state;
  poll_all(e, p, "abc");
  for (int i = 0; i < 3; i++) l[i] = take_at(e, i);
  done(e, &l[1]);
  c = strand_engine_commit(e, 0, NULL);
  done(e, &l[0]);
  done(e, &l[2]);
  assert_int_equal(c->items[0].offset, 0);
  assert_int_equal(strand_payload_decode(0, c->items[0].metadata,
                                         strlen(c->items[0].metadata),
                                         &payload, &problem),
                   STRAND_OK);
  assert_int_equal(payload.highest, 1);
  assert_int_equal(payload.run_count, 1);
  assert_int_equal(payload.runs[0].last, 0);
  strand_payload_free(&payload);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p), 0);
  assert_true(strand_engine_dirty(e, p));
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->items[0].offset, 3);
  assert_string_equal(c->items[0].metadata, "");
  answer(e, c, STRAND_COMMITTED, 0);
  assert_false(strand_engine_dirty(e, p));
  assert_null(strand_engine_commit(e, 0, NULL));
  strand_engine_free(e);
}

/* Three partitions, each with one record done. */
static strand_engine *three_dirty (strand_partition **p) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_lease l;
  for (int i = 0; i < 3; i++) {
    p[i] = assign(e, i);
    poll_all(e, p[i], "a");
  }
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  return e;
}

static void one_commit_is_in_flight (void **state) {
  strand_partition *p[3];
  strand_engine *e = three_dirty(p);
  strand_commit *c = strand_engine_commit(e, 0, NULL);
  (void)state;
  assert_int_equal(c->count, 3);
  assert_true(strand_engine_committing(e));
  assert_null(strand_engine_commit(e, 0, NULL));
  assert_null(strand_engine_commit(e, 0, p[0]));
  assert_true(strand_engine_commit_due(e, 100 * SECOND) == INT64_MAX);
  for (int i = 0; i < 3; i++) assert_true(strand_engine_dirty(e, p[i]));
  answer(e, c, STRAND_COMMITTED, 0);
  for (int i = 0; i < 3; i++) assert_false(strand_engine_dirty(e, p[i]));
  strand_engine_free(e);
}

static void after_an_unknown_end_commits_go_one_by_one (void **state) {
  strand_partition *p[3];
  strand_engine *e = three_dirty(p);
  (void)state;
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMIT_UNKNOWN, 0);
  for (int i = 0; i < 3; i++) {
    strand_commit *c;
    assert_true(strand_engine_commit_due(e, 0) <= 0);
    c = strand_engine_commit(e, 0, NULL);
    assert_int_equal(c->count, 1);
    assert_ptr_equal(c->items[0].partition, p[i]);
    answer(e, c, STRAND_COMMITTED, 0);
    assert_false(strand_engine_dirty(e, p[i]));
  }
  assert_null(strand_engine_commit(e, 0, NULL));
  strand_engine_free(e);
}

static void a_commit_that_failed_waits_longer_each_time (void **state) {
  strand_partition *p[3];
  strand_engine *e = three_dirty(p);
  int64_t now = 0, last = 0;
  (void)state;
  for (int i = 0; i < 10; i++) {
    int64_t due;
    answer(e, strand_engine_commit(e, now, NULL), STRAND_COMMIT_LATER, now);
    due = strand_engine_commit_due(e, now);
    assert_true(due > now && due - now >= last && due - now <= 5 * SECOND);
    last = due - now;
    now = due;
  }
  answer(e, strand_engine_commit(e, now, NULL), STRAND_COMMITTED, now);
  assert_true(strand_engine_commit_due(e, now) == INT64_MAX
              || strand_engine_commit(e, now, NULL) == NULL);
  strand_engine_free(e);
}

/* A partition whose payload does not fit any more, nor as much of it as the
** last commit told, and one with something to say. */
static strand_engine *unwritable (strand_partition **p, int *count) {
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  c.max_metadata = 400;
  e = open_with(c);
  p[0] = assign(e, 0);
  fill_payload(e, p[0], kept, count);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  done(e, &kept[--*count]);
  p[1] = assign(e, 1);
  poll_all(e, p[1], "a");
  l = take_at(e, 0);
  done(e, &l);
  c.max_metadata = 16;
  strand_engine_configure(e, &c);
  return e;
}

static void what_tells_less_leaves_the_old_commit (void **state) {
  strand_partition *p[2];
  int count;
  strand_engine *e = unwritable(p, &count);
  strand_commit *c = strand_engine_commit(e, 0, NULL);
  strand_lease l;
  (void)state;
  assert_int_equal(c->count, 1);
  assert_ptr_equal(c->items[0].partition, p[1]);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  assert_non_null(strstr(heard.reason, "16 characters of max_metadata"));
  assert_int_equal(heard.record, 0);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p[0]), 0);
  assert_true(strand_engine_dirty(e, p[0]));
  assert_true(strand_partition_unwritable(p[0]));
  assert_null(strand_engine_commit(e, 0, NULL));
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p[0]), committable(e, p[0]));
  assert_int_equal(heard.notices[STRAND_NOTICE_WRITABLE], 1);
  assert_ptr_equal(heard.last.partition, p[0]);
  assert_false(strand_partition_unwritable(p[0]));
  strand_engine_free(e);
}

/* Found by reading: the suspect was tried first, for ever. */
static void an_unwritable_suspect_lets_others_commit (void **state) {
  strand_partition *p[2];
  int count;
  strand_engine_config c = plain(STRAND_BY_KEY);
  strand_engine *e = unwritable(p, &count);
  strand_commit *commit;
  (void)state;
  c.max_metadata = 400;
  strand_engine_configure(e, &c);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMIT_UNKNOWN, 0);
  c.max_metadata = 16;
  strand_engine_configure(e, &c);
  commit = strand_engine_commit(e, 0, NULL);
  assert_int_equal(commit->count, 1);
  assert_ptr_equal(commit->items[0].partition, p[1]);
  answer(e, commit, STRAND_COMMITTED, 0);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

/* How many offsets an item says are done; of those that run, none. */
static int64_t told_by (const strand_commit_item *item) {
  strand_payload payload;
  const char *problem;
  int64_t told;
  size_t r = 0;
  assert_int_equal(strand_payload_decode(item->offset, item->metadata,
                                         strlen(item->metadata), &payload,
                                         &problem),
                   STRAND_OK);
  told = payload.highest + 1;
  for (; r < payload.run_count; r++) {
    told -= payload.runs[r].last - payload.runs[r].first + 1;
  }
  for (int i = 0; i < 4000 && kept[i].partition != NULL; i++) {
    bool open = false;
    for (r = 0; r < payload.run_count; r++) {
      open |= payload.runs[r].first <= kept[i].record->offset
              && payload.runs[r].last >= kept[i].record->offset;
    }
    assert_true(open || kept[i].record->offset > payload.highest);
  }
  strand_payload_free(&payload);
  return told;
}

/* Of 5,000 records about a half is done, in no order: some 860 characters.
** The others run on. */
static void half_do (strand_engine *e, strand_partition *p, int *count) {
  uint32_t random = 1;
  strand_lease l;
  for (int i = 0; i < 5000; i++) {
    char key[16];
    snprintf(key, sizeof(key), "%d", i);
    poll(e, p, i, key);
    if (!strand_engine_lease(e, 1, 0, &l)) return;
    assert_ptr_equal(l.partition, p);
    random = random * 1664525u + 1013904223u;
    if (i == 0 || random >> 31 == 0) kept[(*count)++] = l;
    else done(e, &l);
  }
}

static strand_engine *half_done (strand_partition **p, int *count) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  memset(kept, 0, sizeof(kept));
  *count = 0;
  *p = assign(e, 0);
  half_do(e, *p, count);
  return e;
}

/* Commits until nothing is due, to a broker that takes 'limit' characters.
** Returns how many it refused. */
static int commit_all (strand_engine *e, size_t limit, int64_t now) {
  int refused = 0;
  size_t last = SIZE_MAX;
  strand_commit *c;
  while ((c = strand_engine_commit(e, now, NULL)) != NULL) {
    size_t length = 0;
    for (size_t i = 0; i < c->count; i++) {
      size_t own = strlen(c->items[i].metadata);
      if (own > length) length = own;
    }
    assert_true(refused < 20);
    if (length > limit) {
      if (c->count == 1) {
        assert_true(length < last);
        last = length;
      }
      refused++;
      answer(e, c, STRAND_COMMIT_REFUSED, now);
      assert_int_equal(strand_engine_commit_due(e, now), 0); /* at once */
    }
    else answer(e, c, STRAND_COMMITTED, now);
  }
  return refused;
}

static size_t limit_of (strand_engine *e, strand_partition *p) {
  strand_partition_stats s;
  strand_partition_stats_read(e, p, 0, &s);
  return s.metadata_limit;
}

static void what_does_not_fit_is_told_in_part (void **state) {
  strand_engine_config config = plain(STRAND_BY_KEY);
  strand_partition *p;
  int count;
  strand_engine *e = half_done(&p, &count);
  strand_commit *c;
  (void)state;
  config.max_metadata = 100;
  strand_engine_configure(e, &config);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->count, 1);
  assert_false(c->items[0].whole);
  assert_true(strlen(c->items[0].metadata) > 80);
  assert_true(strlen(c->items[0].metadata) <= 100);
  assert_true(told_by(&c->items[0]) == c->items[0].told);
  assert_true(c->items[0].told > 100);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  assert_false(strand_engine_dirty(e, p)); /* there is no more to tell */
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_WRITABLE], 1);
  assert_int_equal(committed(e, p), committable(e, p));
  strand_engine_free(e);
}

static void a_part_without_memory_is_tried_again (void **state) {
  strand_engine_config config = plain(STRAND_BY_KEY);
  strand_partition *p;
  strand_commit *c;
  int count, failed = 0;
  strand_engine *e = half_done(&p, &count);
  (void)state;
  config.max_metadata = 100;
  strand_engine_configure(e, &config);
  for (;; failed++) {
    fail_alloc(failed);
    c = strand_engine_commit(e, 0, NULL);
    if (c != NULL) break;
    assert_true(alloc_failed);
    assert_true(strand_engine_commit_due(e, 0) < INT64_MAX);
  }
  fail_alloc(-1);
  assert_int_equal(failed, 2); /* the plan, and its text */
  assert_true(told_by(&c->items[0]) == c->items[0].told);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

static void what_the_broker_refuses_is_learnt (void **state) {
  strand_partition *p, *q;
  int count, more;
  strand_engine *e = half_done(&p, &count);
  strand_lease l;
  (void)state;
  assert_in_range(commit_all(e, 200, 0), 3, 6);
  assert_int_equal(committed(e, p), 0);
  assert_in_range(limit_of(e, p), 100, 200);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  assert_non_null(strstr(heard.reason, "the broker refuses"));
  assert_non_null(strstr(heard.reason, "set max_metadata (now 4096)"));
  assert_true(strand_partition_unwritable(p));
  /* What starts from now on fits what it takes. */
  q = assign(e, 1);
  more = count;
  half_do(e, q, &more);
  assert_in_range(more - count, 100, 1000);
  assert_int_equal(commit_all(e, 200, 0), 0);
  assert_false(strand_partition_unwritable(q));
  for (int i = 0; i < more; i++) done(e, &kept[i]);
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  assert_int_equal(commit_all(e, 200, 0), 0);
  assert_int_equal(committed(e, p), committable(e, p));
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 1);
  assert_int_equal(heard.notices[STRAND_NOTICE_WRITABLE], 1);
  strand_engine_free(e);
}

static void a_broker_that_takes_no_metadata_gets_offsets (void **state) {
  strand_partition *p;
  int count;
  strand_engine *e = half_done(&p, &count);
  (void)state;
  done(e, &kept[0]);
  commit_all(e, 0, 0);
  assert_int_equal(committed(e, p), committable(e, p));
  for (int i = 1; i < count; i++) done(e, &kept[i]);
  commit_all(e, 0, 0);
  assert_int_equal(committed(e, p), committable(e, p));
  strand_engine_free(e);
}

/* Which one of several was too long nobody knows. */
static void one_that_is_refused_keeps_no_neighbour (void **state) {
  strand_partition *p, *q;
  int count;
  strand_engine *e = half_done(&p, &count);
  strand_commit *c;
  strand_lease l;
  (void)state;
  q = assign(e, 1);
  poll_all(e, q, "a");
  l = take_at(e, 0);
  done(e, &l);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->count, 2);
  answer(e, c, STRAND_COMMIT_REFUSED, 0);
  assert_int_equal(heard.notices[STRAND_NOTICE_UNWRITABLE], 0);
  assert_int_equal(limit_of(e, p), 4096);
  commit_all(e, 200, 0);
  assert_int_equal(committed(e, q), 1);
  assert_false(strand_partition_unwritable(q));
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

static void longer_metadata_is_tried_again (void **state) {
  strand_engine_config config = plain(STRAND_BY_KEY);
  strand_partition *p;
  int64_t now = SECOND;
  int count;
  strand_engine *e = half_done(&p, &count);
  size_t limit;
  (void)state;
  commit_all(e, 300, now);
  limit = limit_of(e, p);
  strand_engine_look(e, now + STRAND_METADATA_AGAIN_US - 1);
  assert_int_equal(limit_of(e, p), limit);
  assert_null(strand_engine_commit(e, now, NULL));
  now += STRAND_METADATA_AGAIN_US;
  strand_engine_look(e, now);
  assert_int_equal(limit_of(e, p), 2 * limit);
  assert_in_range(commit_all(e, 300, now), 1, 2); /* it still does not */
  assert_in_range(limit_of(e, p), limit, 300);
  strand_engine_look(e, now + STRAND_METADATA_AGAIN_US - 1);
  assert_in_range(limit_of(e, p), limit, 300);
  while (limit_of(e, p) < 4096) { /* somebody has set it right */
    now += STRAND_METADATA_AGAIN_US;
    strand_engine_look(e, now);
    assert_int_equal(commit_all(e, 4096, now), 0);
  }
  assert_false(strand_partition_unwritable(p));
  assert_int_equal(heard.notices[STRAND_NOTICE_WRITABLE], 1);
  config.max_metadata = 4000;
  commit_all(e, 300, now);
  strand_engine_configure(e, &config);
  assert_int_equal(limit_of(e, p), 4000);
  for (int i = 0; i < count; i++) done(e, &kept[i]);
  strand_engine_free(e);
}

static void commits_are_due_by_interval_or_idleness (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  int64_t now = 10 * SECOND;
  (void)state;
  assert_true(strand_engine_commit_due(e, now) == INT64_MAX);
  poll_all(e, p, "aa");
  l = take_at(e, 0);
  done_at(e, &l, now);
  answer(e, strand_engine_commit(e, now, NULL), STRAND_COMMITTED, now);
  l = take_at(e, 1);
  assert_int_equal(strand_engine_commit_due(e, now), now + 5 * SECOND);
  done_at(e, &l, now + SECOND); /* nothing is left: half a second later */
  assert_int_equal(strand_engine_commit_due(e, now),
                   now + SECOND + SECOND / 2);
  now += SECOND + SECOND / 2;
  answer(e, strand_engine_commit(e, now, NULL), STRAND_COMMITTED, now);
  poll(e, p, 2, "a");
  l = take_at(e, 2);
  done_at(e, &l, now); /* one such a second */
  assert_int_equal(strand_engine_commit_due(e, now), now + SECOND);
  strand_engine_free(e);
}

static void an_answer_after_the_revoke_says_nothing (void **state) {
  strand_partition *p[3];
  strand_engine *e = three_dirty(p);
  strand_commit *c = strand_engine_commit(e, 0, NULL);
  (void)state;
  revoke(e, p[1]);
  p[1] = assign_held(e, 1, 2, NULL, 0);
  answer(e, c, STRAND_COMMITTED, 0);
  assert_int_equal(committed(e, p[0]), 1);
  assert_int_equal(committed(e, p[1]), 0);
  strand_engine_free(e);
}

static void a_commit_can_be_hurried (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = strand_engine_assign(e, "t", 0, 1, 0, NULL, 0);
  strand_commit *c;
  (void)state;
  assert_int_equal(strand_engine_restored(e, p, -1, NULL), STRAND_OK);
  assert_int_equal(strand_engine_reach(e, p, 3), STRAND_OK);
  strand_engine_hurry(e);
  assert_int_equal(strand_engine_commit_due(e, SECOND), 0);
  c = strand_engine_commit(e, SECOND, NULL);
  assert_int_equal(c->items[0].offset, 3);
  answer(e, c, STRAND_COMMIT_LATER, SECOND);
  assert_true(strand_engine_commit_due(e, SECOND) > SECOND); /* backs off */
  answer(e, strand_engine_commit(e, 2 * SECOND, NULL), STRAND_COMMITTED,
         2 * SECOND);
  assert_true(strand_engine_commit_due(e, 2 * SECOND) > 2 * SECOND);
  strand_engine_free(e);
}

static void gaps_and_control_records_are_committed (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_commit *c;
  strand_lease l;
  (void)state;
  poll(e, p, 5, "a");
  l = take_at(e, 5);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->items[0].offset, 5);
  answer(e, c, STRAND_COMMITTED, 0);
  done(e, &l);
  assert_int_equal(strand_engine_reach(e, p, 9), STRAND_OK);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->items[0].offset, 9);
  assert_string_equal(c->items[0].metadata, "");
  answer(e, c, STRAND_COMMITTED, 0);
  strand_engine_free(e);
}

/* Restored: 0 to 2 open, 3 to 9 done. */
static strand_partition *restored (strand_engine *e) {
  strand_run run = { 0, 2 };
  strand_payload payload = { 9, &run, 1, "none" };
  strand_partition *p = strand_engine_assign(e, "t", 0, 1, 0, NULL, 0);
  assert_int_equal(strand_engine_restored(e, p, 0, &payload), STRAND_OK);
  return p;
}

static void what_was_done_is_not_run_again (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = restored(e);
  strand_lease l;
  (void)state;
  for (int64_t i = 0; i < 12; i++) {
    assert_int_equal(poll(e, p, i, "a"),
                     i < 3 || i > 9 ? STRAND_ADDED : STRAND_ADDED_DONE);
  }
  assert_int_equal(poll(e, p, 4, "a"), STRAND_ADDED_EARLIER);
  l = lease_of(e, 64);
  assert_int_equal(l.count, 5);
  done(e, &l);
  assert_int_equal(committable(e, p), 12);
  strand_engine_free(e);
}

/* Found by the simulator (seed 1059): nobody was told that a commit is due. */
static void what_was_compacted_away_is_committed (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = restored(e);
  strand_commit *c;
  (void)state;
  assert_int_equal(poll(e, p, 6, "a"), STRAND_ADDED_DONE);
  assert_true(strand_engine_commit_due(e, 0) < INT64_MAX);
  c = strand_engine_commit(e, 0, NULL);
  assert_int_equal(c->items[0].offset, 10);
  answer(e, c, STRAND_COMMITTED, 0);
  strand_engine_free(e);
}

/* }{=== retries =========================================================== */

static void a_retry_is_due_to_the_microsecond (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  l = take_at(e, 0);
  fail_at(e, &l, 10000, 5);
  assert_int_equal(strand_engine_tick(e, 10004), 10005);
  nothing_starts(e);
  assert_true(strand_engine_tick(e, 10005) == INT64_MAX);
  l = take_at(e, 0);
  done(e, &l);
  strand_engine_free(e);
}

static void the_policy_grows_to_its_limit (void **state) {
  static const int64_t delays[] = { 100000, 200000,  400000,
                                    800000, 1000000, 1000000 };
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  int64_t now = 0;
  (void)state;
  poll_all(e, p, "a");
  for (int i = 0; i < 6; i++) {
    l = take_at(e, 0);
    assert_int_equal(l.record->attempt, i + 1);
    fail_at(e, &l, -1, now);
    assert_int_equal(heard.last.delay_us, delays[i]);
    now += delays[i];
    strand_engine_tick(e, now);
  }
  strand_engine_free(e);
}

static void jitter_takes_a_part_at_most (void **state) {
  static const strand_route_limits jitter = {
    .policy = { 100000, 100000, 1, 0.5, 0, STRAND_VERDICT_PARK }
  };
  strand_engine_config config = plain(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  int64_t least = INT64_MAX, most = 0, now = 0;
  (void)state;
  config.routes = &jitter;
  e = open_with(config);
  p = assign(e, 0);
  poll_all(e, p, "a");
  for (int i = 0; i < 200; i++) {
    strand_lease l = take_at(e, 0);
    fail_at(e, &l, -1, now);
    if (heard.last.delay_us < least) least = heard.last.delay_us;
    if (heard.last.delay_us > most) most = heard.last.delay_us;
    now += heard.last.delay_us;
    strand_engine_tick(e, now);
  }
  assert_in_range(least, 50000, 55000);
  assert_in_range(most, 95000, 100000);
  strand_engine_free(e);
}

static void the_reason_of_a_failure_is_kept (void **state) {
  static char text[STRAND_REASON_MAX + 100];
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_partition *p = assign(e, 0);
  const strand_record *r;
  strand_lease l;
  size_t length;
  (void)state;
  memset(text, 'x', sizeof(text));
  poll_all(e, p, "aab");
  l = take_at(e, 0);
  assert_int_equal(
    strand_engine_end(
      e, &l, &(strand_ending){ STRAND_VERDICT_FAILED, 10, text, sizeof(text) },
      0),
    STRAND_OK);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  r = strand_partition_next(p, NULL);
  assert_non_null(strand_record_reason(r, &length));
  assert_int_equal(length, STRAND_REASON_MAX);
  assert_string_equal(strand_record_state(r), "waiting");
  r = strand_partition_next(p, r);
  assert_null(strand_record_reason(r, &length));
  assert_string_equal(strand_record_state(r), "behind");
  r = strand_partition_next(p, r);
  assert_string_equal(strand_record_state(r), "buffered");
  assert_null(strand_partition_next(p, r));
  strand_engine_free(e);
}

/* }{=== how records end =================================================== */

/* What a test needs of routes; the second is without limits. */
static strand_route_limits routes[2];

static strand_engine_config limited (strand_ordering ordering) {
  strand_engine_config c = plain(ordering);
  routes[0] = routes[1] = route;
  c.routes = routes;
  c.route_count = 2;
  c.letter = on_letter;
  return c;
}

static void end_at (strand_engine *e, strand_lease *l,
                    strand_verdict_kind kind, int64_t now) {
  assert_int_equal(ended(e, l, kind, -1, now), STRAND_OK);
  strand_engine_check(e);
}

static void state_is (const strand_partition *p, int64_t offset,
                      const char *state) {
  const strand_record *r = NULL;
  do r = strand_partition_next(p, r);
  while (r != NULL && r->offset < offset);
  if (state == NULL) assert_true(r == NULL || r->offset != offset);
  else {
    assert_non_null(r);
    assert_int_equal(r->offset, offset);
    assert_string_equal(strand_record_state(r), state);
  }
}

/* Everything that is left runs, one after the other. */
static void runs (strand_engine *e, const char *offsets) {
  for (; *offsets != '\0'; offsets++) {
    strand_lease l = take_at(e, *offsets - '0');
    done(e, &l);
  }
  nothing_starts(e);
}

static const struct {
  strand_verdict_kind kind;
  const char *state;
  bool fails;
} asides[] = { { STRAND_VERDICT_FAILED, "waiting", true },
               { STRAND_VERDICT_RETRY, "waiting", true },
               { STRAND_VERDICT_EXHAUSTED, "parked", true },
               { STRAND_VERDICT_PARK, "parked", false },
               { STRAND_VERDICT_DEAD_LETTER, "waiting", false } };

#define ASIDES (sizeof(asides) / sizeof(*asides))

static void what_is_set_aside_holds_its_shard (void **state) {
  (void)state;
  for (size_t i = 0; i < ASIDES * 2; i++) {
    strand_engine *e = open_with(limited(STRAND_BY_KEY));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aab");
    l = lease_of(e, 1 + i / ASIDES); /* alone, and with the next */
    end_at(e, &l, asides[i % ASIDES].kind, 0);
    state_is(p, 0, asides[i % ASIDES].state);
    state_is(p, 1, "behind");
    assert_int_equal(heard.notices[STRAND_NOTICE_FAILED],
                     asides[i % ASIDES].fails);
    runs(e, "2");
    assert_int_equal(poll(e, p, 3, "a"), STRAND_ADDED);
    nothing_starts(e);
    assert_int_equal(stats(e).waiting_records, 3);
    assert_int_equal(committable(e, p), 0);
    strand_engine_free(e);
  }
}

static void without_an_order_only_it_is_set_aside (void **state) {
  (void)state;
  for (size_t i = 0; i < ASIDES; i++) {
    strand_engine *e = open_with(limited(STRAND_UNORDERED));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aab");
    l = take_at(e, 0);
    end_at(e, &l, asides[i].kind, 0);
    state_is(p, 0, asides[i].state);
    assert_int_equal(stats(e).waiting_records, 1);
    runs(e, "12");
    assert_int_equal(committable(e, p), 0);
    strand_engine_free(e);
  }
}

static void what_came_along_was_not_tried (void **state) {
  strand_engine *e = open_with(limited(STRAND_BY_KEY));
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aaa");
  l = lease_of(e, 3);
  assert_int_equal(strand_engine_done(e, &l, 1, 0), STRAND_OK);
  assert_int_equal(ended(e, &l, STRAND_VERDICT_RETRY, 0, 0), STRAND_OK);
  strand_engine_tick(e, 0);
  l = take_at(e, 1);
  assert_int_equal(l.record->attempt, 2);
  done(e, &l);
  l = take_at(e, 2);
  assert_int_equal(l.record->attempt, 1);
  done(e, &l);
  strand_engine_free(e);
}

static void a_skipped_record_is_done_and_its_lease_goes_on (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    strand_engine *e = open_with(limited((strand_ordering)ordering));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aa");
    l = lease_of(e, 2);
    end_at(e, &l, STRAND_VERDICT_SKIP, 0);
    assert_int_equal(committable(e, p), 1);
    assert_int_equal(stats(e).skipped, 1);
    if (ordering == STRAND_UNORDERED) l = take_at(e, 1);
    assert_int_equal(l.count, 1);
    done(e, &l);
    assert_int_equal(stats(e).done, 1);
    assert_int_equal(stats(e).failed, 0);
    strand_engine_free(e);
  }
}

static void a_record_that_stopped_is_as_before (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    strand_engine *e = open_with(limited((strand_ordering)ordering));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aa");
    l = lease_of(e, 2);
    end_at(e, &l, STRAND_VERDICT_STOP, 0);
    assert_int_equal(heard.notices[STRAND_NOTICE_STOP], 0); /* it knows */
    assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 0);
    l = take_at(e, 0);
    assert_int_equal(l.record->attempt, 1);
    done(e, &l);
    runs(e, "1");
    strand_engine_free(e);
  }
}

/* Fails until the policy has had enough: the last time at 'now'. */
static void exhaust (strand_engine *e, int times) {
  for (int i = 1; i <= times; i++) {
    strand_lease l = take_at(e, 0);
    assert_int_equal(l.record->attempt, i);
    fail_at(e, &l, 0, 0);
    strand_engine_tick(e, 0);
  }
}

static strand_partition *exhausted_into (strand_verdict_kind kind,
                                         strand_engine **e) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_partition *p;
  routes[0].policy.attempts = 3;
  routes[0].policy.exhausted = kind;
  *e = open_with(c);
  p = assign(*e, 0);
  poll_all(*e, p, "a");
  exhaust(*e, 3);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 3);
  return p;
}

static void exhausted_attempts_end_by_the_policy (void **state) {
  strand_engine *e;
  strand_partition *p = exhausted_into(STRAND_VERDICT_DEAD_LETTER, &e);
  (void)state;
  assert_int_equal(heard.letters, 1);
  assert_int_equal(stats(e).letters, 1);
  strand_engine_free(e);
  p = exhausted_into(STRAND_VERDICT_PARK, &e);
  assert_int_equal(heard.notices[STRAND_NOTICE_PARKED], 1);
  state_is(p, 0, "parked");
  strand_engine_free(e);
  p = exhausted_into(STRAND_VERDICT_SKIP, &e);
  state_is(p, 0, NULL);
  assert_int_equal(stats(e).skipped, 1);
  strand_engine_free(e);
  p = exhausted_into(STRAND_VERDICT_STOP, &e);
  assert_int_equal(heard.notices[STRAND_NOTICE_STOP], 1);
  state_is(p, 0, "buffered");
  strand_engine_free(e);
}

static void who_asks_for_a_retry_is_never_exhausted (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  (void)state;
  routes[0].policy.attempts = 2;
  e = open_with(c);
  poll_all(e, assign(e, 0), "a");
  for (int i = 1; i < 10; i++) {
    l = take_at(e, 0);
    assert_int_equal(l.record->attempt, i);
    assert_int_equal(ended(e, &l, STRAND_VERDICT_RETRY, 0, 0), STRAND_OK);
    strand_engine_tick(e, 0);
  }
  l = take_at(e, 0);
  fail_at(e, &l, 0, 0); /* the first that counts */
  assert_int_equal(stats(e).retries, 1);
  strand_engine_tick(e, 0);
  l = take_at(e, 0);
  fail_at(e, &l, 0, 0);
  assert_int_equal(stats(e).parked, 1);
  strand_engine_free(e);
}

static void a_dead_letter_without_a_topic_parks (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  (void)state;
  c.letter = NULL;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "a");
  l = take_at(e, 0);
  end_at(e, &l, STRAND_VERDICT_DEAD_LETTER, 0);
  state_is(p, 0, "parked");
  strand_engine_free(e);
}

/* }{=== dead letters ====================================================== */

static strand_engine *send_letter (strand_ordering ordering, bool alone,
                                   strand_partition **p) {
  strand_engine_config c = limited(ordering);
  strand_engine *e;
  strand_lease l;
  c.park_alone = alone;
  e = open_with(c);
  *p = assign(e, 0);
  poll_all(e, *p, "aa");
  l = take_at(e, 0);
  end_at(e, &l, STRAND_VERDICT_DEAD_LETTER, 0);
  assert_int_equal(heard.letters, 1);
  assert_int_equal(heard.letter->offset, 0);
  return e;
}

static void a_letter_is_done_when_it_is_acknowledged (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    strand_partition *p;
    strand_engine *e = send_letter((strand_ordering)ordering, false, &p);
    assert_int_equal(committable(e, p), 0);
    assert_int_equal(strand_engine_lettered(e, heard.letter, 0), STRAND_OK);
    strand_engine_check(e);
    assert_int_equal(heard.notices[STRAND_NOTICE_LETTERED], 1);
    assert_int_equal(stats(e).dead_lettered, 1);
    assert_int_equal(committable(e, p), 1);
    runs(e, "1");
    assert_int_equal(stats(e).waiting_records + stats(e).letters, 0);
    strand_engine_free(e);
  }
}

static void a_letter_that_cannot_be_sent_parks (void **state) {
  (void)state;
  for (int alone = 0; alone <= 1; alone++) {
    for (int ordering = 0; ordering < 3; ordering++) {
      bool holds = !alone && ordering != STRAND_UNORDERED;
      strand_partition *p;
      strand_engine *e = send_letter((strand_ordering)ordering, alone, &p);
      if (ordering != STRAND_UNORDERED) nothing_starts(e);
      assert_int_equal(
        strand_engine_unlettered(e, heard.letter, "too big", 7, 0), STRAND_OK);
      assert_string_equal(heard.reason, "too big");
      assert_int_equal(heard.notices[STRAND_NOTICE_PARKED], 1);
      state_is(p, 0, "parked");
      runs(e, holds ? "" : "1");
      assert_int_equal(committable(e, p), 0);
      strand_engine_free(e);
    }
  }
}

static void a_revoke_leaves_no_letter_and_nothing_parked (void **state) {
  (void)state;
  for (int way = 0; way < 4; way++) {
    strand_partition *p;
    strand_engine *e = send_letter(way / 2 ? STRAND_BY_KEY : STRAND_UNORDERED,
                                   way % 2, &p);
    strand_lease l;
    poll(e, p, 2, "b");
    l = lease_of(e, 1);
    end_at(e, &l, STRAND_VERDICT_PARK, 0);
    revoke(e, p);
    strand_engine_check(e);
    assert_int_equal(heard.visited, 0);
    assert_int_equal(stats(e).letters + stats(e).parked, 0);
    assert_int_equal(stats(e).waiting_records + stats(e).buffered_bytes, 0);
    p = assign_held(e, 0, 2, NULL, 0);
    poll_all(e, p, "abc");
    runs(e, "012"); /* none was done */
    strand_engine_free(e);
  }
}

/* }{=== parked records ==================================================== */

/* Record 0, of key a as the first of 'keys', is parked at its second attempt of
** three. */
static strand_engine *park_first (strand_ordering ordering, bool alone,
                                  const char *keys, strand_partition **p) {
  strand_engine_config c = limited(ordering);
  strand_engine *e;
  strand_lease l;
  c.park_alone = alone;
  routes[0].policy.attempts = 3;
  e = open_with(c);
  *p = assign(e, 0);
  poll(e, *p, 0, "a");
  exhaust(e, 1);
  l = take_at(e, 0);
  for (int i = 1; keys[i] != '\0'; i++) {
    poll(e, *p, i, keys[i] == 'a' ? "a" : "b");
  }
  end_at(e, &l, STRAND_VERDICT_PARK, 0);
  return e;
}

static void resolve (strand_engine *e, strand_partition *p,
                     strand_resolution resolution) {
  assert_int_equal(strand_engine_resolve(e, p, 0, resolution), STRAND_OK);
  strand_engine_check(e);
  assert_int_equal(strand_engine_resolve(e, p, 0, resolution),
                   STRAND_ENOTOPEN);
}

static void a_resolved_record_has_all_its_attempts_again (void **state) {
  (void)state;
  for (int way = 0; way < 6; way++) {
    strand_partition *p;
    strand_engine *e = park_first((strand_ordering)(way / 2), way % 2, "a",
                                  &p);
    nothing_starts(e);
    assert_int_equal(strand_partition_parked(p, 0)->offset, 0);
    assert_null(strand_partition_parked(p, 1));
    resolve(e, p, STRAND_RESOLVE_RETRY);
    for (int i = 0; i < 3; i++) {
      strand_lease l = take_at(e, 0);
      assert_int_equal(l.record->attempt, 3 + i);
      assert_int_equal(stats(e).parked, 0);
      fail_at(e, &l, 0, 0);
      strand_engine_tick(e, 0);
    }
    assert_int_equal(stats(e).parked, 1);
    strand_engine_free(e);
  }
}

static void a_discarded_record_is_done_without_its_handler (void **state) {
  (void)state;
  for (int way = 0; way < 6; way++) {
    strand_partition *p;
    strand_engine *e = park_first((strand_ordering)(way / 2), way % 2, "a",
                                  &p);
    resolve(e, p, STRAND_RESOLVE_DISCARD);
    nothing_starts(e);
    state_is(p, 0, NULL);
    assert_int_equal(committable(e, p), 1);
    assert_int_equal(stats(e).skipped, 1);
    assert_int_equal(stats(e).waiting_records, 0);
    strand_engine_free(e);
  }
}

static void a_parked_record_may_be_sent_by_hand (void **state) {
  (void)state;
  for (int way = 0; way < 6; way++) {
    strand_partition *p;
    strand_engine *e = park_first((strand_ordering)(way / 2), way % 2, "a",
                                  &p);
    resolve(e, p, STRAND_RESOLVE_DEAD_LETTER);
    nothing_starts(e);
    assert_int_equal(heard.letters, 1);
    assert_int_equal(committable(e, p), 0);
    assert_int_equal(strand_engine_lettered(e, heard.letter, 0), STRAND_OK);
    assert_int_equal(committable(e, p), 1);
    assert_int_equal(poll(e, p, 1, "a"), STRAND_ADDED);
    runs(e, "1");
    strand_engine_free(e);
  }
}

static void what_waits_behind_it_follows_in_order (void **state) {
  static const char *const after[] = { "012", "12", "12" };
  (void)state;
  for (int how = 0; how < 3; how++) {
    strand_partition *p;
    strand_engine *e = park_first(STRAND_BY_KEY, false, "aaa", &p);
    nothing_starts(e);
    resolve(e, p, (strand_resolution)how);
    if (how == STRAND_RESOLVE_DEAD_LETTER) {
      nothing_starts(e);
      assert_int_equal(strand_engine_lettered(e, heard.letter, 0), STRAND_OK);
    }
    runs(e, after[how]);
    assert_int_equal(committable(e, p), 3);
    strand_engine_free(e);
  }
}

static void what_is_parked_alone_holds_nothing (void **state) {
  strand_partition *p;
  strand_engine *e = park_first(STRAND_BY_KEY, true, "aab", &p);
  (void)state;
  runs(e, "21");
  assert_int_equal(poll(e, p, 3, "a"), STRAND_ADDED);
  runs(e, "3");
  state_is(p, 0, "parked");
  assert_int_equal(committable(e, p), 0);
  strand_engine_free(e);
}

static void resolved_it_goes_back_among_those_of_its_key (void **state) {
  strand_partition *p;
  strand_engine *e = park_first(STRAND_BY_KEY, true, "aaaa", &p);
  strand_lease l = take_at(e, 1);
  (void)state;
  resolve(e, p, STRAND_RESOLVE_RETRY);
  nothing_starts(e); /* not beside the one that runs */
  fail_at(e, &l, 10, 0);
  nothing_starts(e); /* nor before one that waits */
  strand_engine_tick(e, 10);
  runs(e, "1023");
  assert_int_equal(committable(e, p), 4);
  strand_engine_free(e);
}

static void resolved_it_goes_before_what_has_not_begun (void **state) {
  strand_partition *p;
  strand_engine *e = park_first(STRAND_BY_KEY, true, "aaa", &p);
  (void)state;
  resolve(e, p, STRAND_RESOLVE_RETRY);
  runs(e, "012");
  strand_engine_free(e);
}

static void what_is_parked_fills_the_waiting_share (void **state) {
  (void)state;
  for (int alone = 0; alone <= 1; alone++) {
    strand_engine_config c = limited(STRAND_BY_KEY);
    strand_engine *e;
    strand_partition *p;
    strand_lease l;
    c.park_alone = alone;
    c.max_waiting_records = 2;
    e = open_with(c);
    p = assign(e, 0);
    poll_all(e, p, "ab");
    for (int64_t i = 0; i < 2; i++) {
      assert_true(strand_engine_may_read(e, p));
      l = take_at(e, i);
      end_at(e, &l, STRAND_VERDICT_PARK, 0);
    }
    assert_int_equal(stats(e).waiting_records, 2);
    assert_int_equal(stats(e).buffered_records, 0);
    assert_false(strand_engine_may_read(e, p));
    resolve(e, p, STRAND_RESOLVE_DISCARD);
    nothing_starts(e);
    assert_true(strand_engine_may_read(e, p));
    strand_engine_free(e);
  }
}

/* The payload is so full that not even what is below the frontier may start:
** only the lowest does, and lets the next be the lowest. */
static void a_discard_waits_until_it_may_start (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  int count;
  (void)state;
  c.max_metadata = 200;
  e = open_with(c);
  p = assign(e, 0);
  fill_payload(e, p, kept, &count);
  l = kept[count - 1];
  end_at(e, &l, STRAND_VERDICT_PARK, 0);
  c.max_metadata = 0;
  strand_engine_configure(e, &c);
  assert_int_equal(
    strand_engine_resolve(e, p, (count - 1) * 2, STRAND_RESOLVE_DISCARD),
    STRAND_OK);
  nothing_starts(e);
  state_is(p, (count - 1) * 2, "buffered");
  assert_int_equal(stats(e).skipped, 0);
  for (int i = 0; i < count - 1; i++) done(e, &kept[i]);
  while (strand_engine_lease(e, 1, 0, &l)) done(e, &l);
  assert_int_equal(stats(e).skipped, 1);
  assert_int_equal(stats(e).waiting_records + stats(e).buffered_records, 0);
  strand_engine_free(e);
}

/* }{=== deadlines ========================================================= */

static void a_deadline_is_told_once_and_holds_the_shard (void **state) {
  strand_engine *e = open_with(limited(STRAND_BY_KEY));
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "aa");
  l = lease_of(e, 2);
  for (int i = 0; i < 2; i++) strand_engine_expire(e, &l, "late", 4);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  assert_string_equal(heard.reason, "late");
  assert_int_equal(heard.last.delay_us, -1);
  assert_int_equal(stats(e).failed, 1);
  nothing_starts(e);
  state_is(p, 0, "running");
  assert_int_equal(ended(e, &l, STRAND_VERDICT_DONE, 0, 0), STRAND_OK);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 1);
  assert_int_equal(stats(e).failed, 1);
  nothing_starts(e); /* a DONE with its zeros waits by the policy as well */
  strand_engine_tick(e, 100000);
  l = take_at(e, 0);
  assert_int_equal(l.record->attempt, 2);
  done(e, &l);
  runs(e, "1");
  strand_engine_free(e);
}

static void a_late_result_has_failed_whatever_it_is (void **state) {
  (void)state;
  for (int kind = 0; kind <= STRAND_VERDICT_STOP; kind++) {
    strand_engine *e = open_with(limited(STRAND_BY_KEY));
    strand_partition *p = assign(e, 0);
    strand_lease l;
    poll_all(e, p, "aa");
    l = lease_of(e, 2);
    strand_engine_expire(e, &l, "late", 4);
    assert_int_equal(ended(e, &l, (strand_verdict_kind)kind, 0, 0), STRAND_OK);
    state_is(p, 0, kind == STRAND_VERDICT_EXHAUSTED ? "parked" : "waiting");
    assert_int_equal(stats(e).letters + stats(e).skipped, 0);
    if (kind != STRAND_VERDICT_EXHAUSTED) {
      assert_true(strand_engine_tick(e, 0)
                  == (kind == STRAND_VERDICT_FAILED ? INT64_MAX : 100000));
    }
    strand_engine_free(e);
  }
}

static void each_late_result_is_an_attempt (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  (void)state;
  routes[0].policy.attempts = 3;
  e = open_with(c);
  poll_all(e, assign(e, 0), "a");
  for (int i = 0; i < 3; i++) {
    strand_lease l = take_at(e, 0);
    strand_engine_expire(e, &l, "late", 4);
    end_at(e, &l, STRAND_VERDICT_RETRY, i * SECOND);
    strand_engine_tick(e, (i + 1) * SECOND);
  }
  assert_int_equal(stats(e).parked, 1);
  assert_int_equal(stats(e).failed, 3);
  strand_engine_free(e);
}

/* What the exhausted policy skips leaves its lease to the next, which is in
** time. */
static void a_deadline_is_of_one_record (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease l;
  (void)state;
  routes[0].policy.attempts = 1;
  routes[0].policy.exhausted = STRAND_VERDICT_SKIP;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "aaaa");
  l = lease_of(e, 4);
  assert_int_equal(strand_engine_done(e, &l, 1, 0), STRAND_OK);
  strand_engine_expire(e, &l, "late", 4);
  end_at(e, &l, STRAND_VERDICT_DONE, 0);
  assert_int_equal(l.count, 2);
  assert_int_equal(stats(e).skipped, 1);
  assert_int_equal(strand_engine_done(e, &l, 1, 0), STRAND_OK);
  end_at(e, &l, STRAND_VERDICT_PARK, 0);
  state_is(p, 3, "parked");
  assert_int_equal(stats(e).done, 2);
  assert_int_equal(stats(e).failed, 1);
  strand_engine_free(e);
}

static void a_deadline_of_a_revoked_record_is_nobodys (void **state) {
  strand_engine *e = open_with(limited(STRAND_BY_KEY));
  strand_partition *p = assign(e, 0);
  strand_lease l;
  (void)state;
  poll_all(e, p, "a");
  l = take_at(e, 0);
  revoke(e, p);
  strand_engine_expire(e, &l, "late", 4);
  assert_int_equal(heard.notices[STRAND_NOTICE_FAILED], 0);
  end_at(e, &l, STRAND_VERDICT_FAILED, 0);
  assert_int_equal(stats(e).stale + stats(e).failed, 0);
  strand_engine_free(e);
}

/* }{=== rates and calls =================================================== */

static strand_partition *assign_route (strand_engine *e, int32_t index,
                                       size_t to) {
  strand_partition *p = strand_engine_assign(e, "t", index, 1, to, NULL, 0);
  assert_non_null(p);
  assert_int_equal(strand_engine_restored(e, p, 0, NULL), STRAND_OK);
  return p;
}

/* Records that start within so many seconds, looked for whenever the engine
** says so. */
static size_t started (strand_engine *e, strand_partition *p, int64_t *next,
                       int64_t from, int64_t seconds) {
  size_t count = 0;
  for (int64_t now = from; now <= from + seconds * SECOND;) {
    strand_lease l;
    while (stats(e).buffered_records < 200) poll(e, p, (*next)++, NULL);
    while (strand_engine_lease(e, 64, now, &l)) {
      count += l.count;
      assert_int_equal(strand_engine_done(e, &l, l.count, now), STRAND_OK);
      while (stats(e).buffered_records < 200) poll(e, p, (*next)++, NULL);
    }
    now = strand_engine_gates(e, now);
    strand_engine_tick(e, now);
  }
  return count;
}

static void a_rate_is_kept (bool consumers, double per_second, double burst) {
  strand_engine_config c = limited(STRAND_BY_PARTITION);
  strand_engine *e;
  strand_partition *p;
  int64_t next = 0;
  size_t most = (size_t)(per_second * 10), at_once = (size_t)burst;
  *(consumers ? &c.rate : &routes[0].rate) = (strand_rate){ per_second,
                                                            burst };
  e = open_with(c);
  p = assign(e, 0);
  assert_in_range(started(e, p, &next, 0, 10), most + at_once - 1,
                  most + at_once);
  /* An hour without records saves no more than a burst. */
  assert_in_range(started(e, p, &next, 3600 * SECOND, 10), most + at_once - 1,
                  most + at_once);
  strand_engine_free(e);
}

static void records_start_at_the_rate_and_a_burst (void **state) {
  (void)state;
  for (int consumers = 0; consumers <= 1; consumers++) {
    a_rate_is_kept(consumers, 10, 1);
    a_rate_is_kept(consumers, 300, 7);
    a_rate_is_kept(consumers, 0.5, 3);
    a_rate_is_kept(consumers, 5000, 100);
  }
}

/* It does not lie in wait for each token of a high rate. */
static void a_high_rate_wakes_a_thousand_times_a_second (void **state) {
  strand_engine_config c = limited(STRAND_BY_PARTITION);
  strand_engine *e;
  strand_lease l;
  (void)state;
  c.rate = (strand_rate){ 100000, 1000 };
  e = open_with(c);
  poll_all(e, assign(e, 0), "aaaaaaaa");
  e->bucket.tokens = 0;
  assert_false(strand_engine_lease(e, 64, 0, &l));
  assert_in_range(strand_engine_gates(e, 0), 999, 1001);
  strand_engine_free(e);
}

static void what_goes_back_costs_no_token (void **state) {
  (void)state;
  for (int consumers = 0; consumers <= 1; consumers++) {
    strand_engine_config c = limited(STRAND_BY_KEY);
    strand_engine *e;
    strand_lease l;
    *(consumers ? &c.rate : &routes[0].rate) = (strand_rate){ 0.001, 3 };
    e = open_with(c);
    poll_all(e, assign(e, 0), "aaaa");
    l = lease_of(e, 64);
    assert_int_equal(l.count, 3);
    nothing_starts(e);
    back(e, &l);
    l = lease_of(e, 64);
    assert_int_equal(l.count, 3);
    assert_int_equal(ended(e, &l, STRAND_VERDICT_FAILED, 0, 0), STRAND_OK);
    strand_engine_tick(e, 0);
    l = take_at(e, 0); /* it has cost one, the other two came back */
    done(e, &l);
    l = lease_of(e, 64);
    assert_int_equal(l.count, 1);
    done(e, &l);
    nothing_starts(e);
    strand_engine_free(e);
  }
}

static void a_route_without_tokens_leaves_the_others_alone (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l;
  (void)state;
  routes[0].rate = (strand_rate){ 1, 1 };
  e = open_with(c);
  poll_all(e, assign_route(e, 0, 0), "ab");
  poll_all(e, assign_route(e, 1, 1), "abcdef");
  for (int i = 0; i < 7; i++) {
    l = lease_of(e, 1);
    done(e, &l);
  }
  nothing_starts(e);
  assert_in_range(strand_engine_tick(e, 0), SECOND - 2, SECOND + 2);
  strand_engine_tick(e, SECOND + 2);
  assert_true(strand_engine_lease(e, 1, SECOND + 2, &l));
  assert_int_equal(strand_partition_index(l.partition), 0);
  done(e, &l);
  strand_engine_free(e);
}

static void a_routes_calls_are_limited (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease a, b, other;
  (void)state;
  routes[0].max_in_flight = 2;
  e = open_with(c);
  poll_all(e, assign_route(e, 0, 0), "ab");
  poll_all(e, assign_route(e, 1, 0), "ab");
  poll_all(e, assign_route(e, 2, 1), "a");
  a = lease_of(e, 1);
  b = lease_of(e, 1);
  other = lease_of(e, 1);
  assert_int_equal(strand_partition_index(other.partition), 2);
  nothing_starts(e);
  done(e, &other);
  nothing_starts(e);
  done(e, &a);
  a = lease_of(e, 1);
  nothing_starts(e);
  back(e, &b);
  b = lease_of(e, 1);
  nothing_starts(e);
  fail_at(e, &b, SECOND, 0);
  b = lease_of(e, 1);
  done(e, &a);
  done(e, &b);
  strand_engine_free(e);
}

static void a_stale_call_counts_until_it_ends (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_partition *p;
  strand_lease a, b;
  (void)state;
  routes[0].max_in_flight = 1;
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "a");
  poll_all(e, assign(e, 1), "b");
  a = take_at(e, 0);
  assert_ptr_equal(a.partition, p);
  nothing_starts(e);
  revoke(e, p);
  nothing_starts(e);
  done(e, &a);
  b = take_at(e, 0);
  done(e, &b);
  strand_engine_free(e);
}

static void new_limits_open_the_gates (void **state) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  strand_engine *e;
  strand_lease l[3];
  (void)state;
  routes[0].max_in_flight = 1;
  e = open_with(c);
  poll_all(e, assign(e, 0), "abc");
  l[0] = take_at(e, 0);
  nothing_starts(e);
  routes[0].max_in_flight = 0;
  routes[0].rate = (strand_rate){ 1, 1 };
  strand_engine_configure(e, &c);
  l[1] = take_at(e, 1);
  nothing_starts(e);
  routes[0].rate = (strand_rate){ 0, 0 };
  strand_engine_configure(e, &c);
  l[2] = take_at(e, 2);
  for (int i = 0; i < 3; i++) done(e, &l[i]);
  strand_engine_free(e);
}

/* With one call at a time each partition gets its turn. */
static void partitions_of_a_closed_route_take_turns (void **state) {
  strand_engine_config c = limited(STRAND_BY_PARTITION);
  strand_engine *e;
  int64_t count[3] = { 0 }, next[3] = { 0 };
  strand_partition *p[3];
  (void)state;
  routes[0].max_in_flight = 1;
  e = open_with(c);
  for (int i = 0; i < 3; i++) p[i] = assign(e, i);
  for (int i = 0; i < 300; i++) {
    strand_lease l;
    for (int k = 0; k < 3; k++) poll(e, p[k], next[k]++, "a");
    l = lease_of(e, 1);
    nothing_starts(e);
    count[strand_partition_index(l.partition)]++;
    done(e, &l);
  }
  for (int i = 0; i < 3; i++) assert_in_range(count[i], 90, 110);
  strand_engine_free(e);
}

/* }{=== batches =========================================================== */

static strand_engine *open_batches (strand_ordering ordering,
                                    strand_batch_by by, size_t size,
                                    int64_t linger_us) {
  strand_engine_config c = limited(ordering);
  routes[0].by = by;
  routes[0].batch_size = size;
  routes[0].linger_us = linger_us;
  return open_with(c);
}

static strand_lease batch[64];

/* One call's leases: as many records as it says, in 'batch'. */
static size_t take_batch (strand_engine *e, int64_t now, int *leases) {
  size_t most = routes[0].batch_size, count;
  int n = 0;
  if (!strand_engine_lease(e, most, now, &batch[n])) return *leases = 0;
  for (count = batch[n++].count; count < most; count += batch[n++].count) {
    strand_engine_check(e);
    if (!strand_engine_lease_more(e, &batch[0], most - count, now,
                                  &batch[n])) {
      break;
    }
    assert_true(batch[n].further);
  }
  *leases = n;
  strand_engine_check(e);
  return count;
}

static void done_batch (strand_engine *e, int leases) {
  for (int i = 0; i < leases; i++) done(e, &batch[i]);
}

static void a_mixed_batch_has_one_record_of_a_key (void **state) {
  strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_MIXED, 10, 0);
  int leases;
  (void)state;
  poll_all(e, assign_route(e, 0, 0), "aabac");
  poll_all(e, assign_route(e, 1, 0), "ad");
  poll_all(e, assign_route(e, 2, 1), "x");
  assert_int_equal(take_batch(e, 0, &leases), 5); /* a, b, c and a, d */
  assert_int_equal(leases, 5);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(batch[i].count, 1);
    assert_in_range(strand_partition_index(batch[i].partition), 0, 1);
  }
  strand_lease l = take_at(e, 0); /* of the other route, not of its batch */
  assert_int_equal(strand_partition_index(l.partition), 2);
  done(e, &l);
  nothing_starts(e);
  done_batch(e, leases);
  assert_int_equal(take_batch(e, 0, &leases), 1);
  assert_int_equal(batch[0].record->offset, 1);
  done_batch(e, leases);
  strand_engine_free(e);
}

static void a_batch_is_one_call (void **state) {
  strand_engine_config c = limited(STRAND_UNORDERED);
  strand_engine *e;
  int leases;
  (void)state;
  routes[0].by = STRAND_BATCH_MIXED;
  routes[0].batch_size = 4;
  routes[0].max_in_flight = 1;
  e = open_with(c);
  poll_all(e, assign(e, 0), "aaaaaa");
  assert_int_equal(take_batch(e, 0, &leases), 4);
  nothing_starts(e);
  done_batch(e, leases);
  assert_int_equal(take_batch(e, 0, &leases), 2);
  done_batch(e, leases);
  strand_engine_free(e);
}

static void a_batch_by_key_has_one_key (void **state) {
  strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_KEY, 3, 0);
  int leases;
  (void)state;
  poll_all(e, assign(e, 0), "aabaaca");
  assert_int_equal(take_batch(e, 0, &leases), 3);
  assert_int_equal(leases, 1);
  assert_int_equal(batch[0].record->offset, 0);
  assert_int_equal(batch[0].record->behind->behind->offset, 3);
  done_batch(e, leases);
  assert_int_equal(take_batch(e, 0, &leases), 1);
  assert_int_equal(batch[0].record->offset, 2);
  done_batch(e, leases);
  strand_engine_free(e);
}

static void a_batch_by_partition_has_one_partition (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    strand_engine *e = open_batches((strand_ordering)ordering,
                                    STRAND_BATCH_PARTITION, 100, 0);
    strand_partition *p = assign(e, 0);
    int leases;
    poll_all(e, p, "abcab");
    poll_all(e, assign(e, 1), "d");
    assert_int_equal(take_batch(e, 0, &leases), 5);
    assert_int_equal(leases, ordering == STRAND_BY_KEY         ? 3
                             : ordering == STRAND_BY_PARTITION ? 1
                                                               : 5);
    for (int i = 0; i < leases; i++) {
      assert_ptr_equal(batch[i].partition, p);
    }
    done_batch(e, leases);
    assert_int_equal(take_batch(e, 0, &leases), 1);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void what_failed_in_a_batch_comes_alone (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine *e = open_batches(STRAND_BY_KEY, (strand_batch_by)by, 10,
                                    SECOND);
    strand_partition *p = assign(e, 0);
    int leases;
    size_t left;
    poll_all(e, p, "aaabbc");
    take_batch(e, SECOND, &leases);
    assert_int_equal(batch[0].record->offset, 0);
    fail_at(e, &batch[0], 0, SECOND);
    for (int i = 1; i < leases; i++) done(e, &batch[i]);
    strand_engine_tick(e, SECOND);
    do { /* the retry, before or after what else is there */
      left = take_batch(e, 2 * SECOND, &leases);
      assert_true(left > 0);
      for (int i = 0; i < leases; i++) {
        if (batch[i].record->attempt > 1) assert_int_equal(left, 1);
      }
      left = batch[0].record->attempt;
      done_batch(e, leases);
    } while (left == 1);
    strand_engine_free(e);
  }
}

/* Records that make a batch of three by each, and are less by one. */
static void a_batch_lingers_until_it_is_full (void **state) {
  static const struct {
    strand_ordering ordering;
    strand_batch_by by;
    const char *keys;
    const char *last;
  } ways[] = { { STRAND_BY_KEY, STRAND_BATCH_MIXED, "aab", "c" },
               { STRAND_BY_KEY, STRAND_BATCH_KEY, "aa", "a" },
               { STRAND_BY_KEY, STRAND_BATCH_PARTITION, "aa", "b" },
               { STRAND_BY_PARTITION, STRAND_BATCH_PARTITION, "ab", "c" },
               { STRAND_UNORDERED, STRAND_BATCH_PARTITION, "ab", "c" },
               { STRAND_UNORDERED, STRAND_BATCH_MIXED, "ab", "c" } };
  (void)state;
  for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
    strand_engine *e = open_batches(ways[i].ordering, ways[i].by, 3, SECOND);
    strand_partition *p = assign(e, 0);
    int leases;
    poll_all(e, p, ways[i].keys);
    nothing_starts(e);
    assert_true(strand_engine_gates(e, 0) == SECOND);
    poll(e, p, (int64_t)strlen(ways[i].keys), ways[i].last);
    assert_int_equal(take_batch(e, 0, &leases), 3);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

/* As compaction leaves them: a lease of one key may not be that wide, but each
** of those without an order is a lease of its own. */
static void unordered_records_far_apart_fill_a_batch (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by += 2) {
    strand_engine *e = open_batches(STRAND_UNORDERED, (strand_batch_by)by, 3,
                                    SECOND);
    strand_partition *p = assign(e, 0);
    int leases;
    for (int i = 0; i < 3; i++) {
      nothing_starts(e);
      poll(e, p, (int64_t)i * STRAND_LEASE_SPAN, "a");
    }
    assert_int_equal(take_batch(e, 0, &leases), 3);
    assert_int_equal(leases, 3);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void a_batch_that_is_as_wide_as_it_gets_goes (void **state) {
  (void)state;
  for (int key = 0; key <= 1; key++) { /* other keys may join */
    strand_engine *e = open_batches(key ? STRAND_BY_KEY : STRAND_BY_PARTITION,
                                    STRAND_BATCH_PARTITION, 4, SECOND);
    strand_partition *p = assign(e, 0);
    int leases;
    poll_all(e, p, "aa");
    nothing_starts(e);
    poll(e, p, STRAND_LEASE_SPAN, "a");
    strand_engine_tick(e, 0);
    assert_int_equal(take_batch(e, 0, &leases), key ? 0 : 2);
    done_batch(e, leases);
    nothing_starts(e);
    strand_engine_free(e);
  }
}

static void a_batch_goes_when_its_first_has_lingered (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine *e = open_batches(STRAND_BY_KEY, (strand_batch_by)by, 3,
                                    SECOND);
    int leases;
    poll_all(e, assign(e, 0), "a");
    assert_int_equal(take_batch(e, SECOND - 1, &leases), 0);
    assert_true(strand_engine_tick(e, SECOND - 1) == SECOND);
    assert_int_equal(take_batch(e, SECOND - 1, &leases), 0);
    strand_engine_tick(e, SECOND);
    assert_int_equal(take_batch(e, SECOND, &leases), 1);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void a_batch_does_not_linger_while_the_member_drains (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine *e = open_batches(STRAND_BY_KEY, (strand_batch_by)by, 3,
                                    SECOND);
    int leases;
    poll_all(e, assign(e, 0), "a");
    nothing_starts(e);
    strand_engine_stop_intake(e);
    assert_int_equal(take_batch(e, 0, &leases), 1);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void what_lingers_elsewhere_joins_a_mixed_batch (void **state) {
  (void)state;
  for (int full = 0; full <= 1; full++) {
    strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_MIXED, 6,
                                    SECOND);
    strand_partition *p = assign(e, 0), *q = assign(e, 1);
    int leases;
    poll_all(e, p, "ab");
    nothing_starts(e);
    poll_all(e, q, full ? "abcd" : "abc");
    if (!full) nothing_starts(e);
    strand_engine_tick(e, full ? 0 : SECOND);
    assert_int_equal(take_batch(e, full ? 0 : SECOND, &leases), full ? 6 : 5);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

/* Those of another route, or that run, are no reason to go. */
static void only_what_could_join_makes_a_batch_full (void **state) {
  strand_engine *e = open_batches(STRAND_UNORDERED, STRAND_BATCH_MIXED, 3,
                                  SECOND);
  strand_partition *p = assign_route(e, 0, 0);
  strand_partition *q = assign_route(e, 1, 1);
  strand_lease l;
  int leases;
  (void)state;
  strand_engine_pause(e, q, true);
  poll_all(e, q, "aaaaaaaa");
  poll_all(e, p, "aaa");
  assert_int_equal(take_batch(e, 0, &leases), 3);
  poll(e, p, 3, "a");
  nothing_starts(e);
  strand_engine_pause(e, q, false);
  l = take_at(e, 0);
  assert_ptr_equal(l.partition, q);
  done(e, &l);
  done_batch(e, leases);
  strand_engine_free(e);
}

static void a_record_by_hand_opens_no_batch (void **state) {
  strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_MIXED, 2,
                                  SECOND);
  strand_partition *p = assign(e, 0);
  strand_lease l;
  int leases;
  (void)state;
  poll_all(e, p, "ab");
  take_batch(e, 0, &leases);
  end_at(e, &batch[0], STRAND_VERDICT_PARK, 0);
  done(e, &batch[1]);
  resolve(e, p, STRAND_RESOLVE_DISCARD);
  poll(e, p, 2, "c");
  strand_engine_tick(e, 0);
  assert_false(strand_engine_lease(e, 2, 0, &l));
  assert_int_equal(stats(e).skipped, 1);
  strand_engine_free(e);
}

static strand_engine *open_rated (size_t size, int64_t linger_us,
                                  strand_rate rate, strand_rate all) {
  strand_engine_config c = limited(STRAND_BY_KEY);
  routes[0].by = STRAND_BATCH_MIXED;
  routes[0].batch_size = size;
  routes[0].linger_us = linger_us;
  routes[0].rate = rate;
  c.rate = all;
  return open_with(c);
}

static size_t batch_at (strand_engine *e, int64_t now) {
  int leases;
  size_t count;
  strand_engine_tick(e, now);
  count = take_batch(e, now, &leases);
  done_batch(e, leases);
  return count;
}

static void a_batch_waits_for_the_tokens_of_its_records (void **state) {
  (void)state;
  for (int all = 0; all <= 1; all++) {
    strand_rate rate = { 100, 6 }, none = { 0, 0 };
    strand_engine *e = open_rated(4, 0, all ? none : rate, all ? rate : none);
    poll_all(e, assign(e, 0), "abcdefghij");
    assert_int_equal(batch_at(e, 0), 4);
    assert_int_equal(batch_at(e, 0), 0);
    assert_true(strand_engine_tick(e, 0) == 20000);
    assert_int_equal(batch_at(e, 19999), 0);
    assert_int_equal(batch_at(e, 20000), 4);
    assert_int_equal(batch_at(e, 39999), 0);
    assert_int_equal(batch_at(e, 40000), 2);
    strand_engine_free(e);
  }
}

/* The first is far below the others, as one is that another member held. */
static void far_records_are_waited_for_too (void **state) {
  strand_engine_config c = limited(STRAND_UNORDERED);
  strand_engine *e;
  strand_partition *p;
  (void)state;
  routes[0].by = STRAND_BATCH_MIXED;
  routes[0].batch_size = 2;
  c.rate = (strand_rate){ 100, 2 };
  e = open_with(c);
  p = assign(e, 0);
  poll_all(e, p, "ab");
  assert_int_equal(batch_at(e, 0), 2);
  poll(e, p, 2, "c");
  poll(e, p, 3 + STRAND_LEASE_SPAN, "d");
  assert_int_equal(batch_at(e, 10000), 0);
  assert_int_equal(batch_at(e, 20000), 2);
  strand_engine_free(e);
}

static void a_batch_waits_for_no_more_than_a_second_brings (void **state) {
  (void)state;
  for (int64_t linger = 0; linger <= 3 * SECOND; linger += 3 * SECOND) {
    strand_engine *e = open_rated(9, linger, (strand_rate){ 2, 9 },
                                  (strand_rate){ 0, 0 });
    int64_t wait = linger > 0 ? linger : SECOND;
    poll_all(e, assign(e, 0), "abcdefghijklmnopqrstuvwxyz");
    assert_int_equal(batch_at(e, 0), 9);
    assert_int_equal(batch_at(e, wait - 1), 0);
    assert_int_equal(batch_at(e, wait), 2 * wait / SECOND);
    strand_engine_free(e);
  }
}

static void a_batch_is_full_with_what_the_burst_allows (void **state) {
  strand_engine *e = open_rated(8, SECOND, (strand_rate){ 100, 3 },
                                (strand_rate){ 0, 0 });
  (void)state;
  poll_all(e, assign(e, 0), "abc");
  assert_int_equal(batch_at(e, 0), 3);
  strand_engine_free(e);
}

/* Single records of another route do not take what a batch waits for. */
static void the_first_in_line_gets_the_consumers_tokens (void **state) {
  strand_engine *e = open_rated(4, 0, (strand_rate){ 0, 0 },
                                (strand_rate){ 100, 4 });
  int batches = 0;
  (void)state;
  poll_all(e, assign_route(e, 0, 0), "abcdefgh");
  poll_all(e, assign_route(e, 1, 1), "abcdefghijklmnopqrstuvwxyz");
  for (int64_t now = 0; now < SECOND; now += 1000) {
    size_t count = batch_at(e, now);
    if (count > 0 && strand_partition_index(batch[0].partition) == 0) {
      assert_int_equal(count, 4);
      batches++;
    }
  }
  assert_int_equal(batches, 2);
  strand_engine_free(e);
}

static void a_batch_goes_when_no_more_may_be_read (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine_config c = limited(STRAND_BY_KEY);
    strand_engine *e;
    strand_partition *p, *q;
    int leases;
    routes[0].by = (strand_batch_by)by;
    routes[0].batch_size = 9;
    routes[0].linger_us = SECOND;
    c.max_buffered_records = 4;
    e = open_with(c);
    p = assign(e, 0);
    q = assign(e, 1);
    strand_engine_quiet(e, q, true);
    poll_all(e, p, by == STRAND_BATCH_KEY ? "aaa" : "abc");
    assert_int_equal(batch_at(e, 0), 0);
    assert_false(strand_engine_short(e, q));
    assert_true(strand_engine_short(e, p));
    poll(e, p, 3, by == STRAND_BATCH_KEY ? "a" : "d");
    strand_engine_tick(e, 0);
    assert_int_equal(take_batch(e, 0, &leases), 4);
    poll(e, q, 0, "a"); /* it has nothing, and may always take one */
    assert_int_equal(strand_engine_may_read(e, q), false);
    done_batch(e, leases);
    strand_engine_free(e);
  }
}

static void a_batch_goes_when_its_payload_lets_no_more_start (void **state) {
  (void)state;
  for (int by = STRAND_BATCH_MIXED; by <= STRAND_BATCH_PARTITION; by++) {
    strand_engine_config c = limited(STRAND_BY_KEY);
    strand_engine *e;
    routes[0].by = (strand_batch_by)by;
    routes[0].batch_size = 9;
    routes[0].linger_us = SECOND;
    c.max_metadata = 0;
    e = open_with(c);
    poll_all(e, assign(e, 0), "abc");
    assert_int_equal(batch_at(e, 0), 1);
    assert_int_equal(batch_at(e, 0), 1);
    strand_engine_free(e);
  }
}

static void a_full_batch_of_a_key_passes_what_lingers (void **state) {
  strand_engine *e = open_batches(STRAND_BY_KEY, STRAND_BATCH_KEY, 3, SECOND);
  strand_partition *p = assign(e, 0);
  int leases;
  (void)state;
  poll_all(e, p, "abb");
  nothing_starts(e);
  poll(e, p, 3, "b");
  assert_int_equal(take_batch(e, 0, &leases), 3);
  assert_int_equal(batch[0].record->offset, 1);
  nothing_starts(e);
  assert_int_equal(stats(e).ready, 0);
  done_batch(e, leases);
  poll(e, p, 4, "c");
  poll(e, p, 4 + STRAND_LEASE_SPAN, "c"); /* no lease has both */
  assert_int_equal(take_batch(e, 0, &leases), 1);
  assert_int_equal(batch[0].record->offset, 4);
  done_batch(e, leases);
  nothing_starts(e);
  assert_int_equal(batch_at(e, SECOND), 1);
  strand_engine_free(e);
}

/* }{=== memory runs out =================================================== */

/* Some records end in other ways at first, by their offset, and are done the
** next time. */
static strand_err end_first (strand_engine *e, strand_lease *l,
                             int64_t offset) {
  if (offset % 3 == 0 && l->record->attempt == 1) {
    return ended(e, l, (strand_verdict_kind)(1 + offset / 3 % 6), 0, 0);
  }
  return strand_engine_done(e, l, offset % 7 == 0 ? 1 : l->count, 0);
}

/* Outcomes are tried until they succeed; what is left then goes back. */
static void end_somehow (strand_engine *e, strand_lease *l, int64_t offset) {
  strand_err err;
  do err = end_first(e, l, offset);
  while (err == STRAND_ENOMEM);
  assert_int_equal(err, STRAND_OK);
  while (l->count > 0 && (err = strand_engine_give_back(e, l)) != STRAND_OK) {
    assert_int_equal(err, STRAND_ENOMEM);
  }
}

/* Letters are acknowledged or refused, and what is parked is resolved, as soon
** as memory allows. */
static void resolve_somehow (strand_engine *e, strand_partition *p) {
  const strand_record *r = strand_partition_parked(p, 0);
  strand_record *letter = NULL;
  for (const strand_record *l = NULL;
       letter == NULL && (l = strand_partition_next(p, l)) != NULL;) {
    if (is_aside(l, STRAND_ASIDE_LETTER)) letter = (strand_record *)l;
  }
  if (letter != NULL && letter->offset % 2 == 0) {
    (void)strand_engine_unlettered(e, letter, "no", 2, 0);
  }
  else if (letter != NULL) (void)strand_engine_lettered(e, letter, 0);
  if (r != NULL) {
    (void)strand_engine_resolve(e, p, r->offset,
                                (strand_resolution)(r->offset % 3));
  }
}

/* Everything goes well but for the n-th allocation. False when there is no
** such allocation. */
static bool all_ends_although (strand_ordering ordering, bool alone, long n) {
  bool failed;
  strand_engine_config c = limited(ordering);
  strand_engine *e;
  strand_partition *p;
  strand_run run = { 0, 2 };
  strand_payload payload = { 5, &run, 1, "none" };
  strand_held held = {
    STRAND_HELD_KEY, "t", 0, "a-key-that-is-not-short!!", 25, 0
  };
  strand_lease l;
  int64_t next = 0;
  c.park_alone = alone;
  memset(&heard, 0, sizeof(heard));
  fail_alloc(n);
  while ((e = strand_engine_new(&c)) == NULL)
    ;
  while ((p = strand_engine_assign(e, "t", 0, 1, 0, &held,
                                   ordering == STRAND_BY_KEY))
         == NULL)
    ;
  while (strand_engine_restored(e, p, 0, &payload) != STRAND_OK)
    ;
  for (int round = 0; round < 300 && committable(e, p) < 60; round++) {
    strand_commit *commit;
    if (next < 60) {
      char key[40];
      snprintf(key, sizeof(key), "%d-%s", (int)next % 9,
               next % 2 == 0 ? "" : "and something more than that");
      if (poll(e, p, next, next % 10 == 9 ? NULL : key) != STRAND_ADDED_ENOMEM)
        next++;
    }
    if (strand_engine_lease(e, 3, 0, &l)) end_somehow(e, &l, l.record->offset);
    resolve_somehow(e, p);
    strand_engine_tick(e, 0);
    strand_engine_look(e, round * SECOND);
    commit = strand_engine_commit(e, 0, NULL);
    if (commit != NULL) {
      strand_engine_commit_answer(e, commit, STRAND_COMMITTED, 0);
    }
    strand_engine_check(e);
  }
  failed = alloc_failed;
  fail_alloc(-1);
  assert_int_equal(committable(e, p), 60);
  while (strand_engine_dirty(e, p)) {
    answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  }
  assert_int_equal(committed(e, p), 60);
  strand_engine_free(e);
  return failed;
}

static void one_missing_allocation_loses_nothing (void **state) {
  (void)state;
  for (int ordering = 0; ordering < 3; ordering++) {
    long n = 0;
    while (all_ends_although((strand_ordering)ordering, false, n)) n++;
    assert_true(n > 300); /* each of so many has failed */
    for (n = 0; all_ends_although((strand_ordering)ordering, true, n); n++)
      ;
    assert_true(n > 300);
  }
}

/* Between an end that found no memory and the next try. */
static void a_revoke_finds_a_lease_that_could_not_end (void **state) {
  (void)state;
  for (int way = 0; way < 3 * STRAND_VERDICT_STOP; way++) {
    strand_verdict_kind kind = (strand_verdict_kind)(1 + way / 3);
    bool failed = true;
    for (long n = 0; failed; n++) {
      strand_engine *e = open_with(limited((strand_ordering)(way % 3)));
      strand_partition *p = assign(e, 0);
      strand_lease l;
      poll_all(e, p, "aa");
      l = lease_of(e, 2);
      fail_alloc(n);
      failed = ended(e, &l, kind, 0, 0) != STRAND_OK;
      fail_alloc(-1);
      revoke(e, p);
      assert_int_equal(heard.visited, l.count > 0);
      if (l.count > 0) end_at(e, &l, kind, 0);
      assert_int_equal(stats(e).stale + stats(e).letters, 0);
      strand_engine_free(e);
    }
  }
}

/* Idle, and the only commit finds no memory: it is tried again. */
static void a_commit_without_memory_is_tried_again (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_lease l;
  (void)state;
  poll_all(e, assign(e, 0), "a");
  l = take_at(e, 0);
  done(e, &l);
  for (long n = 0; n < 2; n++) {
    fail_alloc(n);
    assert_null(strand_engine_commit(e, 0, NULL));
    fail_alloc(-1);
    assert_true(strand_engine_commit_due(e, 0) < INT64_MAX);
  }
  answer(e, strand_engine_commit(e, 0, NULL), STRAND_COMMITTED, 0);
  strand_engine_free(e);
}

/* Nothing is in flight whose end would let it try again. */
static void a_start_without_memory_is_tried_again (void **state) {
  strand_engine *e = open_by(STRAND_BY_KEY);
  strand_lease l;
  (void)state;
  poll_all(e, assign(e, 0), "a");
  alloc_none = true;
  assert_false(strand_engine_lease(e, 1, 0, &l));
  alloc_none = false;
  strand_engine_look(e, SECOND);
  l = take_at(e, 0);
  done(e, &l);
  strand_engine_free(e);
}

/* }======================================================================== */

int main (void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(records_of_a_key_follow_each_other),
    cmocka_unit_test(keys_run_side_by_side),
    cmocka_unit_test(a_failed_record_keeps_its_place),
    cmocka_unit_test(a_lease_holds_records_that_follow_each_other),
    cmocka_unit_test(a_lease_ends_at_its_span),
    cmocka_unit_test(a_retried_record_comes_alone),
    cmocka_unit_test(what_is_given_back_keeps_its_order),
    cmocka_unit_test(a_partition_runs_one_at_a_time),
    cmocka_unit_test(without_an_order_all_run_at_once),
    cmocka_unit_test(an_empty_key_is_a_key_and_none_is_a_shard),
    cmocka_unit_test(null_keys_may_be_unordered),
    cmocka_unit_test(null_keys_and_keys_take_turns),
    cmocka_unit_test(a_headers_last_value_orders),
    cmocka_unit_test(colliding_keys_stay_apart),
    cmocka_unit_test(the_table_has_what_was_put_in_and_not_taken_out),
    cmocka_unit_test(many_keys_cost_no_more_than_few),
    cmocka_unit_test(a_key_stays_held_across_epochs),
    cmocka_unit_test(null_keys_stay_held_across_epochs),
    cmocka_unit_test(a_partition_stays_held_across_epochs),
    cmocka_unit_test(a_record_stays_held_across_epochs),
    cmocka_unit_test(only_the_held_key_waits),
    cmocka_unit_test(a_stale_outcome_counts_for_nothing),
    cmocka_unit_test(a_stale_lease_is_released_by_its_last_record),
    cmocka_unit_test(what_is_revoked_leaves_nothing),
    cmocka_unit_test(while_revoking_only_what_runs_goes_on),
    cmocka_unit_test(a_paused_partition_starts_nothing_and_commits),
    cmocka_unit_test(eleven_partitions_share_a_small_buffer),
    cmocka_unit_test(partitions_are_leased_in_turn),
    cmocka_unit_test(shards_are_leased_in_turn),
    cmocka_unit_test(a_quiet_partition_lends_its_share),
    cmocka_unit_test(an_empty_partition_may_take_a_large_record),
    cmocka_unit_test(a_full_waiting_share_closes_its_partition_only),
    cmocka_unit_test(what_is_set_aside_pins_no_chunk),
    cmocka_unit_test(without_intake_nothing_is_read),
    cmocka_unit_test(a_full_payload_stops_its_partition_only),
    cmocka_unit_test(what_fails_again_unblocks_no_full_partition),
    cmocka_unit_test(a_higher_limit_lets_a_full_partition_go_on),
    cmocka_unit_test(a_release_lets_a_full_partition_go_on),
    cmocka_unit_test(a_plan_is_made_by_value),
    cmocka_unit_test(one_commit_is_in_flight),
    cmocka_unit_test(after_an_unknown_end_commits_go_one_by_one),
    cmocka_unit_test(a_commit_that_failed_waits_longer_each_time),
    cmocka_unit_test(what_tells_less_leaves_the_old_commit),
    cmocka_unit_test(an_unwritable_suspect_lets_others_commit),
    cmocka_unit_test(what_does_not_fit_is_told_in_part),
    cmocka_unit_test(a_part_without_memory_is_tried_again),
    cmocka_unit_test(what_the_broker_refuses_is_learnt),
    cmocka_unit_test(a_broker_that_takes_no_metadata_gets_offsets),
    cmocka_unit_test(one_that_is_refused_keeps_no_neighbour),
    cmocka_unit_test(longer_metadata_is_tried_again),
    cmocka_unit_test(commits_are_due_by_interval_or_idleness),
    cmocka_unit_test(an_answer_after_the_revoke_says_nothing),
    cmocka_unit_test(a_commit_can_be_hurried),
    cmocka_unit_test(gaps_and_control_records_are_committed),
    cmocka_unit_test(what_was_done_is_not_run_again),
    cmocka_unit_test(what_was_compacted_away_is_committed),
    cmocka_unit_test(a_retry_is_due_to_the_microsecond),
    cmocka_unit_test(the_policy_grows_to_its_limit),
    cmocka_unit_test(jitter_takes_a_part_at_most),
    cmocka_unit_test(the_reason_of_a_failure_is_kept),
    cmocka_unit_test(what_is_set_aside_holds_its_shard),
    cmocka_unit_test(without_an_order_only_it_is_set_aside),
    cmocka_unit_test(what_came_along_was_not_tried),
    cmocka_unit_test(a_skipped_record_is_done_and_its_lease_goes_on),
    cmocka_unit_test(a_record_that_stopped_is_as_before),
    cmocka_unit_test(exhausted_attempts_end_by_the_policy),
    cmocka_unit_test(who_asks_for_a_retry_is_never_exhausted),
    cmocka_unit_test(a_dead_letter_without_a_topic_parks),
    cmocka_unit_test(a_letter_is_done_when_it_is_acknowledged),
    cmocka_unit_test(a_letter_that_cannot_be_sent_parks),
    cmocka_unit_test(a_revoke_leaves_no_letter_and_nothing_parked),
    cmocka_unit_test(a_resolved_record_has_all_its_attempts_again),
    cmocka_unit_test(a_discarded_record_is_done_without_its_handler),
    cmocka_unit_test(a_parked_record_may_be_sent_by_hand),
    cmocka_unit_test(what_waits_behind_it_follows_in_order),
    cmocka_unit_test(what_is_parked_alone_holds_nothing),
    cmocka_unit_test(resolved_it_goes_back_among_those_of_its_key),
    cmocka_unit_test(resolved_it_goes_before_what_has_not_begun),
    cmocka_unit_test(what_is_parked_fills_the_waiting_share),
    cmocka_unit_test(a_discard_waits_until_it_may_start),
    cmocka_unit_test(a_deadline_is_told_once_and_holds_the_shard),
    cmocka_unit_test(a_late_result_has_failed_whatever_it_is),
    cmocka_unit_test(each_late_result_is_an_attempt),
    cmocka_unit_test(a_deadline_is_of_one_record),
    cmocka_unit_test(a_deadline_of_a_revoked_record_is_nobodys),
    cmocka_unit_test(records_start_at_the_rate_and_a_burst),
    cmocka_unit_test(a_high_rate_wakes_a_thousand_times_a_second),
    cmocka_unit_test(what_goes_back_costs_no_token),
    cmocka_unit_test(a_route_without_tokens_leaves_the_others_alone),
    cmocka_unit_test(a_routes_calls_are_limited),
    cmocka_unit_test(a_stale_call_counts_until_it_ends),
    cmocka_unit_test(new_limits_open_the_gates),
    cmocka_unit_test(partitions_of_a_closed_route_take_turns),
    cmocka_unit_test(a_mixed_batch_has_one_record_of_a_key),
    cmocka_unit_test(a_batch_is_one_call),
    cmocka_unit_test(a_batch_by_key_has_one_key),
    cmocka_unit_test(a_batch_by_partition_has_one_partition),
    cmocka_unit_test(what_failed_in_a_batch_comes_alone),
    cmocka_unit_test(a_batch_lingers_until_it_is_full),
    cmocka_unit_test(unordered_records_far_apart_fill_a_batch),
    cmocka_unit_test(a_batch_that_is_as_wide_as_it_gets_goes),
    cmocka_unit_test(a_batch_goes_when_its_first_has_lingered),
    cmocka_unit_test(a_batch_does_not_linger_while_the_member_drains),
    cmocka_unit_test(what_lingers_elsewhere_joins_a_mixed_batch),
    cmocka_unit_test(only_what_could_join_makes_a_batch_full),
    cmocka_unit_test(a_record_by_hand_opens_no_batch),
    cmocka_unit_test(a_batch_waits_for_the_tokens_of_its_records),
    cmocka_unit_test(far_records_are_waited_for_too),
    cmocka_unit_test(a_batch_waits_for_no_more_than_a_second_brings),
    cmocka_unit_test(a_batch_is_full_with_what_the_burst_allows),
    cmocka_unit_test(the_first_in_line_gets_the_consumers_tokens),
    cmocka_unit_test(a_batch_goes_when_no_more_may_be_read),
    cmocka_unit_test(a_batch_goes_when_its_payload_lets_no_more_start),
    cmocka_unit_test(a_full_batch_of_a_key_passes_what_lingers),
    cmocka_unit_test(one_missing_allocation_loses_nothing),
    cmocka_unit_test(a_revoke_finds_a_lease_that_could_not_end),
    cmocka_unit_test(a_commit_without_memory_is_tried_again),
    cmocka_unit_test(a_start_without_memory_is_tried_again)
  };
  return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
