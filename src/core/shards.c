#include <assert.h>
#include <stdlib.h>

#include "base/siphash.h"
#include "core/engine.h"
#include "core/state.h"

#define TABLE_MIN 64
#define TABLE_KEPT 1024 /* a larger one shrinks */
#define FREE_SHARDS_MAX 1024

/*
** The table of a partition: key -> shard
**
** Open addressing with linear probing, half full at most. An entry has the
** hash beside the shard, so that looking for a key touches no shard of
** another: each would be a miss of the cache.
*/

static uint64_t hash_key (const strand_partition *p, const char *key,
                          uint32_t length) {
  return strand_siphash(p->engine->config.seed, key, length);
}

static void put_in (strand_table *t, strand_shard *s) {
  size_t mask = t->size - 1, i = s->hash & mask;
  while (t->entries[i].shard != NULL) i = (i + 1) & mask;
  t->entries[i] = (strand_entry){ s->hash, s };
}

/* What follows moves up, so that no probe ends too early. */
static void take_out (strand_table *t, const strand_shard *s) {
  strand_entry *entries = t->entries;
  size_t mask = t->size - 1, hole = s->hash & mask, i;
  while (entries[hole].shard != s) hole = (hole + 1) & mask;
  for (i = (hole + 1) & mask; entries[i].shard != NULL; i = (i + 1) & mask) {
    if (((i - entries[i].hash) & mask) < ((i - hole) & mask)) continue;
    entries[hole] = entries[i];
    hole = i;
  }
  entries[hole].shard = NULL;
  t->count--;
}

static strand_err resize (strand_table *t, size_t size) {
  strand_table was = *t;
  strand_entry *entries = calloc(size, sizeof(*entries));
  if (entries == NULL) return STRAND_ENOMEM;
  t->entries = entries;
  t->size = size;
  for (size_t i = 0; i < was.size; i++) {
    if (was.entries[i].shard != NULL) put_in(t, was.entries[i].shard);
  }
  free(was.entries);
  return STRAND_OK;
}

/* Room for one more, and one entry that stays free. */
static strand_err make_room (strand_table *t) {
  if (t->count * 2 < t->size) return STRAND_OK;
  if (resize(t, t->size == 0 ? TABLE_MIN : t->size * 2) == STRAND_OK) {
    return STRAND_OK;
  }
  return t->count + 1 < t->size ? STRAND_OK : STRAND_ENOMEM;
}

static strand_shard *look_up (const strand_partition *p, uint64_t hash,
                              const char *key, uint32_t length) {
  const strand_table *t = &p->keys;
  strand_shard *s;
  if (t->size == 0) return NULL;
  for (size_t i = hash & (t->size - 1); (s = t->entries[i].shard) != NULL;
       i = (i + 1) & (t->size - 1)) {
    if (t->entries[i].hash == hash && s->key_length == length
        && memcmp(s->key, key, length) == 0)
      return s;
  }
  return NULL;
}

void strand_shard_forget (strand_shard *s) {
  strand_partition *p = s->partition;
  strand_table *t = &p->keys;
  if (p->whole == s) p->whole = NULL;
  else if (p->nulls == s) p->nulls = NULL;
  else if (p->detached == s) p->detached = NULL;
  else if (p->state != PARTITION_GONE) {
    take_out(t, s);
    if (t->size > TABLE_KEPT && t->count < t->size / 16) {
      (void)resize(t, t->size / 4);
    }
  }
}

void strand_shards_each (strand_partition *p,
                         void (*visit)(strand_shard *s, void *arg),
                         void *arg) {
  if (p->whole != NULL) visit(p->whole, arg);
  if (p->nulls != NULL) visit(p->nulls, arg);
  if (p->detached != NULL) visit(p->detached, arg);
  for (size_t i = 0; i < p->keys.size; i++) {
    if (p->keys.entries[i].shard != NULL) visit(p->keys.entries[i].shard, arg);
  }
}

void strand_shards_clear (strand_partition *p,
                          void (*visit)(strand_shard *s, void *arg),
                          void *arg) {
  assert(p->state == PARTITION_GONE);
  strand_shards_each(p, visit, arg);
  free(p->keys.entries);
  p->keys = (strand_table){ NULL, 0, 0 };
}

static strand_shard *new_shard (strand_partition *p, strand_shard_kind kind) {
  strand_engine *e = p->engine;
  strand_shard *s = e->free_shards;
  if (s != NULL) {
    e->free_shards = s->next_free;
    e->free_count--;
  }
  else if ((s = malloc(sizeof(*s))) == NULL) return NULL;
  memset(s, 0, offsetof(strand_shard, small));
  s->kind = (uint8_t)kind;
  s->state = SHARD_EMPTY;
  s->partition = p;
  s->key = s->small;
  strand_list_init(&s->ready);
  e->shard_count++;
  return s;
}

static void release_shard (strand_engine *e, strand_shard *s) {
  if (s->key != s->small) free((char *)(uintptr_t)s->key);
  e->shard_count--;
  if (e->free_count >= FREE_SHARDS_MAX) {
    free(s);
    return;
  }
  s->next_free = e->free_shards;
  e->free_shards = s;
  e->free_count++;
}

void strand_shard_free (strand_shard *s) {
  assert(s->head == NULL || s->state == SHARD_STALE);
  assert(strand_list_empty(&s->ready));
  if (s->state != SHARD_STALE) strand_shard_forget(s);
  release_shard(s->partition->engine, s);
}

strand_shard *strand_shard_detached (strand_partition *p) {
  if (p->detached == NULL) p->detached = new_shard(p, STRAND_SHARD_RECORD);
  return p->detached;
}

static strand_shard *new_keyed (strand_partition *p, uint64_t hash,
                                const char *key, uint32_t length) {
  strand_shard *s;
  char *copy = NULL;
  if (make_room(&p->keys) != STRAND_OK) return NULL;
  if (length > SHARD_INLINE_KEY && (copy = malloc(length)) == NULL) {
    return NULL;
  }
  s = new_shard(p, STRAND_SHARD_KEY);
  if (s == NULL) {
    free(copy);
    return NULL;
  }
  if (copy != NULL) s->key = copy;
  memcpy((char *)(uintptr_t)s->key, key, length);
  s->key_length = length;
  s->hash = hash;
  put_in(&p->keys, s);
  p->keys.count++;
  return s;
}

/*
** Which shard a record belongs to
*/

/* The ordering key: the record's own, or a header's last value. */
static const char *ordering_key (const strand_engine *e,
                                 const strand_record *r, uint32_t *length) {
  const char *name = e->config.ordering_header, *key = NULL;
  strand_header h;
  uint32_t at = 0;
  size_t name_length;
  if (name == NULL) {
    *length = r->key_length;
    return r->flags & STRAND_RECORD_KEY ? strand_record_key(r) : NULL;
  }
  name_length = strlen(name);
  while (
    strand_header_next(strand_record_headers(r), r->headers_length, &at, &h)) {
    if (h.name_length != name_length || memcmp(h.name, name, name_length) != 0)
      continue;
    key = h.value;
    *length = h.value_length;
  }
  return key;
}

static strand_shard **special (strand_partition *p, strand_shard_kind *kind,
                               bool null_key) {
  const strand_engine_config *c = &p->engine->config;
  if (c->ordering == STRAND_BY_KEY && !null_key) return NULL;
  if (c->ordering == STRAND_BY_KEY) {
    *kind = c->null_key_unordered ? STRAND_SHARD_RECORD : STRAND_SHARD_NULL;
    return &p->nulls;
  }
  *kind = c->ordering == STRAND_UNORDERED ? STRAND_SHARD_RECORD
                                          : STRAND_SHARD_PARTITION;
  return &p->whole;
}

strand_shard *strand_shard_get (strand_partition *p, const strand_record *r) {
  uint32_t length = 0;
  const char *key = NULL;
  strand_shard_kind kind = STRAND_SHARD_KEY;
  strand_shard **slot, *s;
  uint64_t hash;
  if (p->engine->config.ordering == STRAND_BY_KEY) {
    key = ordering_key(p->engine, r, &length);
  }
  slot = special(p, &kind, key == NULL);
  if (slot != NULL) {
    if (*slot == NULL) *slot = new_shard(p, kind);
    return *slot;
  }
  hash = hash_key(p, key, length);
  s = look_up(p, hash, key, length);
  return s != NULL ? s : new_keyed(p, hash, key, length);
}

strand_shard *strand_shard_find_orphan (strand_partition *p,
                                        const strand_orphan *h) {
  if (h->kind == STRAND_SHARD_KEY) {
    return look_up(p, hash_key(p, h->key, h->key_length), h->key,
                   h->key_length);
  }
  return h->kind == STRAND_SHARD_NULL ? p->nulls : p->whole;
}

strand_shard *strand_shard_add_orphan (strand_partition *p,
                                       const strand_orphan *h) {
  strand_shard *s;
  if (h->kind == STRAND_SHARD_KEY) {
    s = new_keyed(p, hash_key(p, h->key, h->key_length), h->key,
                  h->key_length);
  }
  else {
    s = new_shard(p, h->kind);
    if (h->kind == STRAND_SHARD_NULL) p->nulls = s;
    else p->whole = s;
  }
  if (s != NULL) s->state = SHARD_ORPHANED;
  return s;
}

void strand_shard_describe (const strand_shard *s, const strand_record *r,
                            strand_orphan *orphan) {
  *orphan = (strand_orphan){ 0 };
  orphan->kind = (strand_shard_kind)s->kind;
  orphan->topic = s->partition->topic;
  orphan->index = s->partition->index;
  orphan->key = s->key;
  orphan->key_length = s->key_length;
  orphan->offset = r != NULL ? r->offset : -1;
}

/*
** The ready lists
*/

void strand_shard_ready (strand_shard *s, bool front) {
  assert(s->head != NULL && strand_list_empty(&s->ready));
  if (strand_linger_wants(s)) strand_linger_enter(s);
  else strand_shard_enlist(s, front);
}

void strand_shard_unready (strand_shard *s, shard_state to) {
  assert(!strand_list_empty(&s->ready));
  strand_list_remove(&s->ready);
  if (s->state == SHARD_READY) {
    s->partition->ready_count--;
    s->partition->engine->ready--;
  }
  s->state = (uint8_t)to;
  strand_partition_runnable(s->partition);
}

/*
** The records of a shard
*/

void strand_shard_append (strand_shard *s, strand_record *r) {
  r->shard = s;
  r->behind = NULL;
  if (s->head == NULL) s->head = r;
  else s->tail->behind = r;
  s->tail = r;
  s->count++;
}

void strand_shard_insert (strand_shard *s, strand_record *r) {
  strand_record **at = &s->head;
  while (*at != NULL && (*at)->offset < r->offset) at = &(*at)->behind;
  r->behind = *at;
  *at = r;
  if (r->behind == NULL) s->tail = r;
  s->count++;
}

void strand_shard_reenter (strand_shard *s, strand_record *r) {
  strand_record **at = &s->head;
  uint32_t before = s->leased + (s->state == SHARD_WAITING);
  for (; before > 0; before--) at = &(*at)->behind;
  while (*at != NULL && (*at)->offset < r->offset) at = &(*at)->behind;
  r->shard = s;
  r->behind = *at;
  *at = r;
  if (r->behind == NULL) s->tail = r;
  s->count++;
  if (s->state == SHARD_EMPTY) strand_shard_ready(s, false);
  else strand_linger_leave(s); /* a batch ends before what failed */
}

void strand_shard_go_on (strand_shard *s) {
  s->failing = false;
  s->state = SHARD_EMPTY;
  if (s->head != NULL) strand_shard_ready(s, false);
  else strand_shard_free(s);
}

strand_record *strand_shard_pop (strand_shard *s) {
  strand_record *r = s->head;
  s->head = r->behind;
  if (s->head == NULL) s->tail = NULL;
  s->count--;
  return r;
}

/* 'r', which follows 'before' in its failing shard, waits: it leaves its
** chunk and is counted as waiting. With no room in that budget, or no memory,
** it stays where it is, and is counted where it was. */
void strand_shard_wait (strand_shard *s, strand_record *before,
                        strand_record *r) {
  strand_partition *p = s->partition;
  long size;
  if (r->flags & STRAND_RECORD_CHARGED) return;
  if (strand_budget_waiting_full(p)) return;
  if (!(r->flags & STRAND_RECORD_OWN)) {
    r = strand_record_move(p, r, before);
    if (r == NULL) return;
  }
  size = (long)strand_record_size(strand_record_length(r));
  strand_budget_charge(p, false, -1, -size);
  strand_budget_charge(p, true, 1, size);
  r->flags |= STRAND_RECORD_CHARGED;
}
