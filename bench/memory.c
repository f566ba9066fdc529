/*
** memory.c - what the engine takes to remember, without Kafka, Lua, threads
**
** Prints, a line each:
**   behind_running   bytes a buffered record beyond its key and value, of
**                    1,000,000 records behind one of their key that runs
**   behind_failed    the same behind one that failed and waits for its retry
**   other_keys       the same, of 10,000 other keys, behind one that runs
**   tracking_bytes   all of a partition's tracker with 10,000,000 records
**                    done above one that is not
**   engine_growth    of all the engine meanwhile, after the first 10,000:
**                    it keeps shards and chunks to use them again
**   payload_chars    of the commit, after 4,000 more came, of which a random
**                    half is done
** Memory is what glibc's allocator has given out, mallinfo2, its own words
** beside each piece included.
*/
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"

#define BUFFERED 1000000
#define DONE 10000000
#define KEYS 10000
#define WINDOW 64 /* DONE is a multiple */
#define MORE 4000
#define VALUE 100
#define YEAR_US (INT64_C(365) * 86400 * 1000000)

static const strand_route_limits route = {
  .policy = { YEAR_US, YEAR_US, 1, 0, 0, STRAND_OUTCOME_PARK }
};

static void die (const char *what) {
  fprintf(stderr, "memory: %s\n", what);
  exit(1);
}

static void on_notice (void *arg, const strand_notice *notice) {
  (void)arg;
  if (notice->type != STRAND_NOTICE_FAILED) die("a partition was blocked");
}

static void on_release (void *arg, const strand_orphan *orphan) {
  (void)arg;
  (void)orphan;
}

static strand_partition *open_engine (strand_engine **e) {
  const strand_engine_config config = { .ordering = STRAND_BY_KEY,
                                        .max_metadata = 4096,
                                        .max_buffered_records = 2 * BUFFERED,
                                        .max_buffered_bytes = (size_t)1 << 30,
                                        .max_waiting_records = 2 * BUFFERED,
                                        .max_waiting_bytes = (size_t)1 << 30,
                                        .commit_interval_us = YEAR_US,
                                        .routes = &route,
                                        .route_count = 1,
                                        .seed = { 1, 2 },
                                        .notice = on_notice,
                                        .release = on_release };
  strand_partition *p = NULL;
  *e = strand_engine_new(&config);
  if (*e != NULL) p = strand_engine_assign(*e, "t", 0, 1, 0, NULL, 0);
  if (p == NULL || strand_engine_restored(*e, p, 0, NULL)) die("open");
  return p;
}

/* Returns the bytes of its key and value. */
static size_t poll_one (strand_engine *e, strand_partition *p, int64_t offset,
                        const char *key) {
  size_t length = strlen(key);
  strand_record *r = strand_engine_room(e, p, length + VALUE);
  if (r == NULL) die("no memory");
  r->flags |= STRAND_RECORD_KEY | STRAND_RECORD_VALUE;
  r->offset = offset;
  r->key_length = (uint32_t)length;
  r->value_length = VALUE;
  r->headers_length = 0;
  memcpy(r->bytes, key, length);
  memset(r->bytes + length, 'v', VALUE);
  if (strand_engine_admit(e, p, r, 0) != STRAND_ADDED) die("not admitted");
  return length + VALUE;
}

static size_t poll_key (strand_engine *e, strand_partition *p,
                        int64_t offset) {
  char key[32];
  snprintf(key, sizeof(key), "key-%lld", (long long)(offset % KEYS));
  return poll_one(e, p, offset, key);
}

/* Record 0, which never ends. */
static strand_lease start_stuck (strand_engine *e, strand_partition *p) {
  strand_lease stuck;
  poll_one(e, p, 0, "stuck");
  if (!strand_engine_lease(e, 1, 0, &stuck)) die("nothing to lease");
  return stuck;
}

static size_t allocated (void) {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

static const strand_ending failed = { STRAND_OUTCOME_FAILED, -1, "no", 2 };

enum behind { BEHIND_RUNNING, BEHIND_FAILED, OTHER_KEYS };

static double bytes_per_record (enum behind behind) {
  strand_engine *e;
  strand_partition *p = open_engine(&e);
  strand_lease stuck = start_stuck(e, p);
  size_t before, bytes = 0;
  double per_record;
  if (behind == BEHIND_FAILED && strand_engine_end(e, &stuck, &failed, 0))
    die("fail");
  before = allocated();
  for (int64_t i = 1; i <= BUFFERED; i++) {
    bytes += behind == OTHER_KEYS ? poll_key(e, p, i)
                                  : poll_one(e, p, i, "stuck");
  }
  per_record = (double)(allocated() - before - bytes) / BUFFERED;
  if (behind != BEHIND_FAILED && strand_engine_give_back(e, &stuck))
    die("give back");
  strand_engine_free(e);
  return per_record;
}

/* 'count' records come, each of another key, and start. */
static strand_lease *start_keys (strand_engine *e, strand_partition *p,
                                 int64_t offset, size_t count) {
  static strand_lease leases[KEYS];
  size_t started = 0;
  for (size_t i = 0; i < count; i++) poll_key(e, p, offset + (int64_t)i);
  while (started < KEYS && strand_engine_lease(e, 1, 0, &leases[started])) {
    started++;
  }
  if (started != count) die("not every key could start");
  return leases;
}

/* One record of each key comes and is done, the last first. */
static void handle_keys (strand_engine *e, strand_partition *p,
                         int64_t offset) {
  strand_lease *leases = start_keys(e, p, offset, KEYS);
  for (size_t i = KEYS; i-- > 0;) {
    if (strand_engine_done(e, &leases[i], 1, 0)) die("done");
  }
}

static uint64_t scramble (uint64_t x) { /* splitmix64 */
  x += UINT64_C(0x9e3779b97f4a7c15);
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}

/* 'MORE' records come; the even draws of a fixed sequence end. */
static void handle_half (strand_engine *e, strand_partition *p,
                         int64_t offset) {
  strand_lease *leases = start_keys(e, p, offset, MORE);
  for (size_t i = 0; i < MORE; i++) {
    if (scramble(i) % 2 == 0 && strand_engine_done(e, &leases[i], 1, 0))
      die("done");
  }
}

static size_t payload_chars (strand_engine *e, strand_partition *p) {
  strand_commit *commit = strand_engine_commit(e, 0, p);
  if (commit == NULL || commit->count != 1) die("no commit");
  if (commit->items[0].offset != 0) die("the stuck record is committed");
  return strlen(commit->items[0].metadata);
}

/* Records of one window start in order and end the last first. */
static void track_window (strand_offsets *t, int64_t offset) {
  for (int64_t i = 0; i < WINDOW; i++) {
    if (strand_offsets_add(t, offset + i) != STRAND_ADDED
        || strand_offsets_start(t, offset + i, 4096))
      die("track");
  }
  for (int64_t i = WINDOW; i-- > 0;) {
    if (strand_offsets_finish(t, offset + i)) die("finish");
  }
}

static size_t tracking_bytes (void) {
  void *volatile first = malloc(1); /* glibc makes its own tables now */
  size_t before = allocated(), bytes;
  strand_offsets *t = strand_offsets_new(0);
  if (t == NULL || strand_offsets_add(t, 0) != STRAND_ADDED
      || strand_offsets_start(t, 0, 4096))
    die("track");
  for (int64_t i = 0; i < DONE; i += WINDOW) track_window(t, 1 + i);
  if (strand_offsets_committable(t) != 0) die("the stuck record is done");
  bytes = allocated() - before;
  free(first);
  strand_offsets_free(t);
  return bytes;
}

/* The engine is left to the end of the process: its leases are out. */
static void stay_stuck (void) {
  strand_engine *e;
  strand_partition *p = open_engine(&e);
  size_t before;
  start_stuck(e, p);
  handle_keys(e, p, 1);
  before = allocated();
  for (int64_t i = KEYS; i < DONE; i += KEYS) handle_keys(e, p, 1 + i);
  printf("engine_growth %lld\n", (long long)allocated() - (long long)before);
  handle_half(e, p, 1 + DONE);
  printf("payload_chars %zu\n", payload_chars(e, p));
}

/* The tracker comes first: glibc counts what it keeps for later as given out,
** and would hide what is taken of that. */
int main (void) {
  printf("tracking_bytes %zu\n", tracking_bytes());
  printf("behind_running %.2f\n", bytes_per_record(BEHIND_RUNNING));
  printf("behind_failed %.2f\n", bytes_per_record(BEHIND_FAILED));
  printf("other_keys %.2f\n", bytes_per_record(OTHER_KEYS));
  stay_stuck();
  return 0;
}
