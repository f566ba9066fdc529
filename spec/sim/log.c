/*
** log.c - the partitions' logs, and what is read from them
*/
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define KEY_MAX 48

int log_slot (const part *p, int64_t offset) {
  return (int)(offset - p->base);
}

/* The shard's index in part->busy, or -1 for a record of its own. */
static int shard_of (const world *w, const slot *s) {
  if (w->config.ordering == STRAND_UNORDERED) return -1;
  if (w->config.ordering == STRAND_BY_PARTITION) return w->keys + 1;
  if (s->key != NO_KEY) return (int)s->key;
  return w->config.null_key_unordered ? -1 : w->keys;
}

bool *log_busy (const world *w, const part *p, slot *s) {
  int shard = shard_of(w, s);
  return shard < 0 ? &s->busy : &p->busy[shard];
}

bool log_keyed (const world *w, const slot *s) {
  return shard_of(w, s) >= 0;
}

void log_done (part *p, slot *s) {
  int64_t offset = p->base + (s - p->slots);
  s->finished = true;
  s->state = SLOT_DONE;
  p->inside--;
  if (offset > p->high) p->high = offset;
}

static uint32_t random_size (world *w) {
  bool small = w->faults[FAULT_SMALL];
  if (w->faults[FAULT_BIG] && sim_pick(w, 1000) < (small ? 20 : 2)) {
    w->fault_counts[FAULT_BIG]++;
    return small ? (uint32_t)w->config.max_buffered_bytes + 100
                 : STRAND_CHUNK_MAX + 100;
  }
  return (uint32_t)sim_pick(w, 60);
}

void log_make (world *w, part *p, int count) {
  int *last = malloc((size_t)(w->keys + 2) * sizeof(*last));
  p->slots = calloc((size_t)count, sizeof(slot));
  p->busy = calloc((size_t)w->keys + 2, sizeof(bool));
  p->count = count;
  p->base = sim_chance(w, 50) ? 0 : sim_pick(w, 1 << 30);
  p->committed = -1;
  p->owner = -1;
  p->metadata = NULL;
  for (int k = 0; k < w->keys + 2; k++) last[k] = -1;
  for (int i = 0; i < count; i++) {
    slot *s = &p->slots[i];
    int shard;
    s->before = -1;
    s->exists = !w->faults[FAULT_HOLES] || !sim_chance(w, 10);
    if (!s->exists) {
      w->fault_counts[FAULT_HOLES]++;
      continue;
    }
    s->size = random_size(w);
    s->key = (uint32_t)sim_pick(w, w->keys);
    if (w->faults[FAULT_NULLS] && sim_chance(w, 30)) s->key = NO_KEY;
    shard = shard_of(w, s);
    if (shard < 0) continue;
    s->before = last[shard];
    last[shard] = i;
  }
  free(last);
}

void log_spread (part *p, world *own) {
  int i = 0;
  while ((i += 1 + sim_pick(own, sim_chance(own, 70) ? 20 : 3000))
         < p->count) {
    int end = i + sim_pick(own, 2 * STRAND_LEASE_SPAN);
    for (; i < end && i < p->count; i++) p->slots[i].exists = false;
  }
}

void log_free (part *p) {
  free(p->slots);
  free(p->busy);
  free(p->metadata);
}

void log_grow (world *w, part *p) {
  int left = p->count - p->visible;
  int more = 1 + sim_pick(w, 200);
  p->visible += more < left ? more : left;
}

void log_compact (world *w, part *p) {
  int n = 1 + sim_pick(w, 20);
  if (p->visible < 2) return;
  for (int i = 0; i < n; i++) {
    p->slots[sim_pick(w, p->visible)].exists = false;
  }
}

void log_retain (world *w, part *p) {
  int start = sim_pick(w, p->visible + 1);
  if (p->committed >= 0 && sim_chance(w, 80)) {
    start = log_slot(p, p->committed) + sim_pick(w, 30);
  }
  for (int i = 0; i < start && i < p->visible; i++) p->slots[i].exists = false;
}

/*
** A record's bytes
*/

static uint32_t write_key (uint32_t key, char *out) {
  uint32_t length = key == 0 ? 0 : key % 3 == 0 ? KEY_MAX : 5;
  memset(out, 'k', length);
  if (length > 0) memcpy(out, &key, sizeof(key));
  return length;
}

/* Headers "other" and "h", "h" twice: only the last counts. */
static uint32_t write_headers (uint32_t key, char *out) {
  static const struct {
    uint32_t name, value;
    char text[5];
  } first = { 1, 4, { 'h', 'z', 'z', 'z', 'z' } };
  char *at = out;
  char bytes[KEY_MAX];
  uint32_t name = 1, value;
  memcpy(at, &first, 13);
  at += 13;
  value = key == NO_KEY ? STRAND_HEADER_ABSENT : write_key(key, bytes);
  memcpy(at, &name, 4);
  memcpy(at + 4, &value, 4);
  at[8] = 'h';
  at += 9;
  if (value != STRAND_HEADER_ABSENT) {
    memcpy(at, bytes, value);
    at += value;
  }
  return (uint32_t)(at - out);
}

static strand_record *make_record (world *w, part *p, strand_engine *e,
                                   int i) {
  const slot *s = &p->slots[i];
  char key[KEY_MAX], headers[64 + KEY_MAX];
  uint32_t key_length = 0, headers_length = 0;
  bool has_key = s->key != NO_KEY;
  strand_record *r;
  if (w->config.ordering_header != NULL) {
    headers_length = write_headers(s->key, headers);
    has_key = false;
  }
  else if (has_key) key_length = write_key(s->key, key);
  r = strand_engine_room(e, p->live,
                         (size_t)key_length + s->size + headers_length);
  CHECK(r != NULL, "memory");
  r->flags |= (uint8_t)(STRAND_RECORD_VALUE
                        | (has_key ? STRAND_RECORD_KEY : 0));
  r->offset = p->base + i;
  r->key_length = key_length;
  r->value_length = s->size;
  r->headers_length = headers_length;
  r->timestamp_ms = w->now_us / 1000;
  memcpy(r->bytes, key, key_length);
  memset(r->bytes + key_length, 'v', s->size);
  memcpy(r->bytes + key_length + s->size, headers, headers_length);
  return r;
}

/*
** Reading
*/

static void pass (part *p, int to) {
  for (; p->next < to; p->next++) p->slots[p->next].state = SLOT_DONE;
}

static void admit (world *w, int index, int i) {
  part *p = &w->parts[index];
  slot *s = &p->slots[i];
  strand_engine *e = w->members[p->owner].engine;
  strand_added added = strand_engine_admit(e, p->live, make_record(w, p, e, i),
                                           w->now_us);
  sim_note(w, "read", p->owner, index, p->base + i, added);
  pass(p, i);
  if (s->marked) {
    CHECK(added == STRAND_ADDED_DONE, "I4: offset %lld was marked done",
          (long long)(p->base + i));
  }
  else {
    CHECK(added == STRAND_ADDED, "I3: offset %lld was not done: %d",
          (long long)(p->base + i), (int)added);
    CHECK(s->state == SLOT_AWAY, "I3: offset %lld twice",
          (long long)(p->base + i));
    s->state = SLOT_IN;
    s->attempt = s->failures = 0;
    s->due_us = 0;
    s->polled_us = w->now_us;
    p->inside++;
  }
  p->next = i + 1;
}

static void read_earlier (world *w, int index) {
  part *p = &w->parts[index];
  strand_engine *e = w->members[p->owner].engine;
  int i = p->next == 0 ? 0 : sim_pick(w, p->next);
  if (p->next == 0) return;
  CHECK(strand_engine_admit(e, p->live, make_record(w, p, e, i), w->now_us)
          == STRAND_ADDED_EARLIER,
        "a record came twice");
  sim_note(w, "earlier", p->owner, index, p->base + i, 0);
}

/* The next slot with a record, or p->visible. */
static int next_record (const part *p) {
  int i = p->next;
  while (i < p->visible && !p->slots[i].exists) i++;
  return i;
}

/* 'bytes' is what one read brought, whose size was guessed. A record that does
** not fit into its chunk leaves less room there than it takes in the next:
** chunks are at most twice what is in them. */
static void check_budget (world *w, const strand_engine *e,
                          const strand_engine_stats *before, size_t bytes) {
  size_t most = w->config.max_buffered_records;
  strand_engine_stats now;
  strand_engine_stats_read(e, &now);
  if (most < before->buffered_records + 1) {
    most = before->buffered_records + 1; /* of a partition without any */
  }
  CHECK(now.buffered_records <= most, "I6: %zu records in %zu",
        now.buffered_records, most);
  most = w->config.max_buffered_bytes;
  if (most < before->buffered_bytes) most = before->buffered_bytes;
  CHECK(now.buffered_bytes <= most + 2 * (bytes + STRAND_CHUNK_MAX),
        "I6: %zu bytes in %zu", now.buffered_bytes, most);
}

/* Over the budget only a partition that holds nothing is read, and none
** while its share of what waits is full (I6, I10). */
static void check_room (world *w, int index, const strand_engine_stats *now) {
  const part *p = &w->parts[index];
  const strand_engine_config *c = &w->config;
  strand_partition_stats s;
  size_t n = now->partitions;
  strand_partition_stats_read(w->members[p->owner].engine, p->live, w->now_us,
                              &s);
  CHECK(s.waiting_records == 0
          || ((s.waiting_records + 1) * n <= c->max_waiting_records
              && (s.waiting_bytes + 1) * n <= c->max_waiting_bytes),
        "I6: partition %d: %zu records wait", index, s.waiting_records);
  if (s.buffered_records == 0) return;
  CHECK(now->buffered_records < c->max_buffered_records
          && now->buffered_bytes < c->max_buffered_bytes,
        "I10: partition %d is read with %zu records of %zu, %zu bytes of %zu",
        index, now->buffered_records, c->max_buffered_records,
        now->buffered_bytes, c->max_buffered_bytes);
}

bool log_read (world *w, int index) {
  part *p = &w->parts[index];
  strand_engine *e = p->owner < 0 ? NULL : w->members[p->owner].engine;
  strand_engine_stats before;
  size_t limit, count = 0, bytes = 0;
  int i;
  if (e == NULL || p->live == NULL) return false;
  if (!strand_engine_may_read(e, p->live)) return false;
  CHECK(p->restored && !p->paused && !p->revoking
          && !w->members[p->owner].stopped,
        "I10: partition %d", index);
  strand_engine_stats_read(e, &before);
  check_room(w, index, &before);
  limit = strand_engine_read_limit(e, p->live, (size_t)(1 + sim_pick(w, 60)));
  CHECK(limit > 0, "I10: may be read, but nothing of it");
  for (; count < limit && (i = next_record(p)) < p->visible; count++) {
    bytes += p->slots[i].size + 200;
    admit(w, index, i);
  }
  if (i >= p->visible || count < limit) {
    if (p->next < p->visible) {
      CHECK(strand_engine_reach(e, p->live, p->base + p->visible) == STRAND_OK,
            "memory");
      sim_note(w, "reach", p->owner, index, p->base + p->visible, 0);
      pass(p, p->visible);
    }
    p->drained = true;
  }
  else p->drained = false;
  strand_engine_drained(e, p->live, p->drained);
  check_budget(w, e, &before, bytes);
  if (sim_fault(w, FAULT_EARLIER, 5)) read_earlier(w, index);
  return count > 0;
}

/* A partition that holds nothing may always be read (I10). */
void log_check_intake (world *w, int index) {
  part *p = &w->parts[index];
  const strand_engine *e;
  strand_partition_stats s;
  bool may;
  if (p->live == NULL) return;
  e = w->members[p->owner].engine;
  may = strand_engine_may_read(e, p->live);
  strand_partition_stats_read(e, p->live, w->now_us, &s);
  if (!p->restored || p->paused || p->revoking || w->members[p->owner].stopped)
    CHECK(!may, "I10: %d", index);
  else if (s.buffered_records == 0 && s.waiting_records == 0) {
    CHECK(may, "I10: partition %d holds nothing", index);
  }
  CHECK(s.buffered_records + s.waiting_records == p->inside,
        "I6: partition %d: %zu records are %zu", index,
        s.buffered_records + s.waiting_records, p->inside);
}
