/*
** engine_fixture.h - an engine to try: what it takes, and what it tells
**
** Tests of the engine say what it promises, one claim for each function; orders
** that nobody thought of are the simulator's (spec/sim). The engine's files are
** compiled into each test, so that memory can run out anywhere and keys can be
** made to collide.
**
** Thread: any (tests have one).
*/
#ifndef STRAND_ENGINE_FIXTURE_H
#define STRAND_ENGINE_FIXTURE_H

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
#include "base/siphash.h"
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
#include "core/lease.c"
#include "core/throttle.c"
#include "core/outcome.c"
#include "core/sending.c"
#include "core/waiting.c"
#include "core/commit.c"
#include "core/transacted.c"
#include "core/windows.c"
#include "core/retry.c"

#define SECOND INT64_C(1000000)
#define MIB ((size_t)1 << 20)
#define ORPHANS_MAX 16

static const strand_route_limits route = {
  .policy = { 100000, 1000000, 2, 0, 0, STRAND_OUTCOME_PARK }
};

static struct {
  int notices[STRAND_NOTICE_SKIPPED + 1]; /* by type */
  strand_notice last;
  char reason[256];
  int64_t record;
  strand_orphan orphans[ORPHANS_MAX];
  char keys[ORPHANS_MAX][64];
  int orphan_count;
  int visited;
  int dead_letters;
  strand_record *dead_letter; /* the last */
} heard;

static inline void on_notice (void *arg, const strand_notice *n) {
  size_t length = n->reason_length < 255 ? n->reason_length : 255;
  (void)arg;
  heard.notices[n->type]++;
  heard.last = *n;
  heard.record = n->record == NULL ? -1 : n->record->offset;
  if (length > 0) memcpy(heard.reason, n->reason, length);
  heard.reason[length] = '\0';
}

static inline void keep_orphan (const strand_orphan *orphan) {
  strand_orphan *to = &heard.orphans[heard.orphan_count];
  assert_true(heard.orphan_count < ORPHANS_MAX);
  *to = *orphan;
  to->topic = "t";
  if (orphan->key_length > 0) {
    memcpy(heard.keys[heard.orphan_count], orphan->key, orphan->key_length);
  }
  to->key = heard.keys[heard.orphan_count++];
}

static inline void on_release (void *arg, const strand_orphan *orphan) {
  (void)arg;
  keep_orphan(orphan);
}

static inline void on_visit (void *arg, const strand_orphan *orphan) {
  (void)arg;
  heard.visited++;
  keep_orphan(orphan);
}

static inline bool on_dead_letter (void *arg, strand_partition *p,
                                   strand_record *r) {
  (void)arg;
  assert_ptr_equal(strand_record_partition(r), p);
  if (alloc_fails()) return false;
  heard.dead_letters++;
  heard.dead_letter = r;
  return true;
}

static inline strand_engine_config plain (strand_ordering ordering) {
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

static inline strand_engine *open_with (strand_engine_config config) {
  memset(&heard, 0, sizeof(heard));
  keys_collide = false;
  return strand_engine_new(&config);
}

static inline strand_engine *open_by (strand_ordering ordering) {
  return open_with(plain(ordering));
}

static inline strand_partition *assign_orphans (strand_engine *e,
                                                int32_t index, uint32_t epoch,
                                                const strand_orphan *orphans,
                                                size_t count) {
  strand_partition *p = strand_engine_assign(e, "t", index, epoch, 0, orphans,
                                             count);
  assert_non_null(p);
  assert_int_equal(strand_engine_restored(e, p, 0, NULL), STRAND_OK);
  return p;
}

static inline strand_partition *assign (strand_engine *e, int32_t index) {
  return assign_orphans(e, index, 1, NULL, 0);
}

static inline void revoke (strand_engine *e, strand_partition *p) {
  heard.orphan_count = heard.visited = 0;
  strand_engine_revoke(e, p, on_visit, NULL);
}

/* 'key' NULL: no key. */
static inline strand_added poll_sized (strand_engine *e, strand_partition *p,
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

static inline strand_added poll (strand_engine *e, strand_partition *p,
                                 int64_t offset, const char *key) {
  return poll_sized(e, p, offset, key, 10);
}

/* One record for each letter from offset 0 on: its key; '-' has none. */
static inline void poll_all (strand_engine *e, strand_partition *p,
                             const char *keys) {
  for (int i = 0; keys[i] != '\0'; i++) {
    char key[2] = { keys[i], '\0' };
    assert_int_equal(poll(e, p, i, keys[i] == '-' ? NULL : key), STRAND_ADDED);
  }
}

static inline strand_lease lease_of (strand_engine *e, size_t most) {
  strand_lease l;
  strand_engine_check(e);
  assert_true(strand_engine_lease(e, most, 0, &l));
  strand_engine_check(e);
  return l;
}

/* The next lease of one record has this offset. */
static inline strand_lease take_at (strand_engine *e, int64_t offset) {
  strand_lease l = lease_of(e, 1);
  assert_int_equal(l.record->offset, offset);
  return l;
}

static inline void nothing_starts (strand_engine *e) {
  strand_lease l;
  assert_false(strand_engine_lease(e, 64, 0, &l));
  strand_engine_check(e);
}

static inline void done_at (strand_engine *e, strand_lease *l, int64_t now) {
  assert_int_equal(strand_engine_done(e, l, l->count, now), STRAND_OK);
  strand_engine_check(e);
}

static inline void done (strand_engine *e, strand_lease *l) {
  done_at(e, l, 0);
}

static inline strand_err ended (strand_engine *e, strand_lease *l,
                                strand_outcome_kind kind, int64_t delay,
                                int64_t now) {
  strand_ending ending = { kind, delay, "no", 2 };
  return strand_engine_end(e, l, &ending, now);
}

static inline void fail_at (strand_engine *e, strand_lease *l, int64_t delay,
                            int64_t now) {
  assert_int_equal(ended(e, l, STRAND_OUTCOME_FAILED, delay, now), STRAND_OK);
  strand_engine_check(e);
}

static inline void back (strand_engine *e, strand_lease *l) {
  assert_int_equal(strand_engine_give_back(e, l), STRAND_OK);
  strand_engine_check(e);
}

static inline int64_t committable (strand_engine *e, strand_partition *p) {
  strand_partition_stats s;
  strand_partition_stats_read(e, p, 0, &s);
  return s.committable;
}

static inline int64_t committed (strand_engine *e, strand_partition *p) {
  strand_partition_stats s;
  strand_partition_stats_read(e, p, 0, &s);
  return s.committed;
}

static inline strand_engine_stats stats (strand_engine *e) {
  strand_engine_stats s;
  strand_engine_stats_read(e, &s);
  return s;
}

static inline void answer (strand_engine *e, strand_commit *c, strand_answer a,
                           int64_t now) {
  assert_non_null(c);
  strand_engine_commit_answer(e, c, a, now);
  strand_engine_check(e);
}

/* Of every two keys one stays unfinished, until nothing more may start. */
static inline int64_t fill_payload (strand_engine *e, strand_partition *p,
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

/* What a test needs of routes; the second is without limits. */
static strand_route_limits routes[2];

static inline strand_engine_config limited (strand_ordering ordering) {
  strand_engine_config c = plain(ordering);
  routes[0] = routes[1] = route;
  c.routes = routes;
  c.route_count = 2;
  c.dead_letter = on_dead_letter;
  return c;
}

static inline void end_at (strand_engine *e, strand_lease *l,
                           strand_outcome_kind kind, int64_t now) {
  assert_int_equal(ended(e, l, kind, -1, now), STRAND_OK);
  strand_engine_check(e);
}

static inline void resolve (strand_engine *e, strand_partition *p,
                            strand_resolution resolution) {
  assert_int_equal(strand_engine_resolve(e, p, 0, resolution), STRAND_OK);
  strand_engine_check(e);
  assert_int_equal(strand_engine_resolve(e, p, 0, resolution),
                   STRAND_ENOTOPEN);
}

static inline strand_partition *assign_route (strand_engine *e, int32_t index,
                                              size_t to) {
  strand_partition *p = strand_engine_assign(e, "t", index, 1, to, NULL, 0);
  assert_non_null(p);
  assert_int_equal(strand_engine_restored(e, p, 0, NULL), STRAND_OK);
  return p;
}

static inline void state_is (const strand_partition *p, int64_t offset,
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
static inline void runs (strand_engine *e, const char *offsets) {
  for (; *offsets != '\0'; offsets++) {
    strand_lease l = take_at(e, *offsets - '0');
    done(e, &l);
  }
  nothing_starts(e);
}

/* Fails until the policy has had enough: the last time at 'now'. */
static inline void exhaust (strand_engine *e, int times) {
  for (int i = 1; i <= times; i++) {
    strand_lease l = take_at(e, 0);
    assert_int_equal(l.record->attempt, i);
    fail_at(e, &l, 0, 0);
    strand_engine_tick(e, 0);
  }
}

#endif
